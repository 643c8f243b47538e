"""``lanepulse context``: what a person says of the vehicle in the lane. It is recorded with who said it."""

from __future__ import annotations

import typing
from typing import Any

import click

from edge.cli.main import DONE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json
from edge.config import ContextTable
from edge.control import ask
from fusion.passage import BodyType


def _words(field: str) -> list[str]:
    """The words that are allowed for a field of the context."""
    annotation = ContextTable.model_fields[field].annotation
    return [str(word) for word in BodyType] if annotation is BodyType else [*map(str, typing.get_args(annotation))]


def _word_options(function: Any) -> Any:
    for field in reversed(ContextTable.model_fields):
        name = f"--{field.replace('_', '-')}"
        function = click.option(name, field, type=click.Choice(_words(field)))(function)
    return function


@click.command(
    "context",
    epilog="\b\nExamples:\n  lanepulse context 01JQ0F7Y3W8V5R2M9K4T6B1N0D --engine off --driver out\n"
    "  lanepulse context current --cargo produce --dry-run",
)
@click.argument("passage")
@_word_options
@click.option("--sealed-for-s", type=click.FloatRange(0, 31_536_000), help="Seconds since the load space was open.")
@click.option("--plate", "plates", multiple=True, metavar="TEXT", help="A number plate as it is read; up to 4.")
@click.option("--dry-run", is_flag=True, help="Print what would be said, and say nothing.")
@common
def command(settings: Settings, passage: str, dry_run: bool, **words: Any) -> int:
    """Say what is known of PASSAGE, or of the `current` one. What is not given stays as it is."""
    said = {field: word for field, word in words.items() if word not in (None, ())}
    if not said:
        raise click.UsageError(f"nothing said; give at least one of {', '.join((*ContextTable.model_fields, 'plate'))}")
    socket = settings.places().control_socket
    before = None
    if passage == "current":
        before = ask(socket, {"do": "status"}).get("passage")
        if before is None:
            raise click.UsageError("no vehicle is in the lane; give a passage's id")
        passage = before["passage_id"]
    answer = None
    if not dry_run:
        answer = ask(socket, {"do": "context", "passage_id": passage, "context": said})
    if settings.json:
        say_json({"passage_id": passage, "context": said, "recorded": not dry_run, "answer": answer})
    else:
        verb = "would be recorded" if dry_run else "recorded"
        say(f"{passage}: {verb}: {', '.join(f'{field} {word}' for field, word in said.items())}")
    return DONE
