"""``lanepulse radiographs``: scans that are of no passage that the lane knows, and a person's word for one of them."""

from __future__ import annotations

import click

from edge.cli.main import DONE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table
from edge.control import ask


@click.group("radiographs")
def command() -> None:
    """Scans that fit no passage: kept, shown, never guessed."""


@command.command(
    "list",
    epilog="\b\nExamples:\n  lanepulse radiographs list\n  lanepulse radiographs list --json | jq '.kept[].cause'",
)
@common
def list_radiographs(settings: Settings) -> int:
    """Radiographs that joined no passage, with the cause. Exit 3 if no lane is running."""
    answer = ask(settings.places().control_socket, {"do": "radiographs"})
    if settings.json:
        say_json(answer)
        return DONE
    if not answer["kept"]:
        say("every radiograph has its passage")
        return DONE
    rows = [(one["arrived_utc"], one["device"], one["cause"], one["status"], one["object"]) for one in answer["kept"]]
    say_table(("ARRIVED", "DEVICE", "CAUSE", "STATUS", "RADIOGRAPH"), rows)
    say("\nA person who knows the vehicle says so: lanepulse radiographs join RADIOGRAPH PASSAGE")
    return DONE


@command.command(
    "join",
    epilog="\b\nExample:\n  lanepulse radiographs join 01770000000000000000-9f…-c4….dcs 01JQ0F7Y3W8V5R2M9K4T6B1N0D",
)
@click.argument("radiograph")
@click.argument("passage")
@click.option("--dry-run", is_flag=True, help="Print what would be said, and say nothing.")
@common
def join(settings: Settings, radiograph: str, passage: str, dry_run: bool) -> int:
    """Say that RADIOGRAPH is of PASSAGE, which has ended. It is recorded with who said it, and makes a new revision."""
    request = {"do": "radiograph", "object": radiograph, "passage_id": passage}
    answer = None if dry_run else ask(settings.places().control_socket, request)
    if settings.json:
        say_json({"object": radiograph, "passage_id": passage, "joined": not dry_run, "answer": answer})
    else:
        say(f"{radiograph}: {'would be joined' if dry_run else 'joined'} to passage {passage}")
    return DONE
