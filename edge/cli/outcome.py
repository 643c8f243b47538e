"""``lanepulse outcome``: what a search found, in a terminal; the booth page does the same."""

from __future__ import annotations

import os
import typing
from typing import Any

import click

from edge.cli.main import DONE, NO
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, tell
from edge.control import ask
from edge.records.outcome import CHECKS, By, CheckState, OutcomeRefused, Reason, SealState, Technique, press_of

_SECURED = f"One check of the schedule, CHECK=STATE; checks: {', '.join(CHECKS)}."
_SEAL = f"One seal, its number as it stands there, NUMBER=STATE; states: {', '.join(typing.get_args(SealState))}."


def _choice(words: Any) -> click.Choice[str]:
    return click.Choice([str(word) for word in typing.get_args(words)])


@click.command(
    "outcome",
    epilog="\b\nExamples:\n  lanepulse outcome 01JQ0F7Y3W8V5R2M9K4T6B1N0D --searched physical --nobody\n"
    "  lanepulse outcome 01JQ0F7Y3W8V5R2M9K4T6B1N0D --searched dog --people 2 --where 'rear' --secured locks=broken\n"
    "  lanepulse outcome 01JQ0F7Y3W8V5R2M9K4T6B1N0D --searched physical --nobody --seal 'EU 4471 902=broken'",
)
@click.argument("passage")
@click.option("--searched", "technique", type=_choice(Technique), help="What found it, or was used last.")
@click.option("--not-searched", is_flag=True, help="Nobody looked inside.")
@click.option("--nobody", is_flag=True, help="Searched, and nobody was found.")
@click.option("--people", type=click.IntRange(1), help="How many were found.")
@click.option("--where", help="Where they were.")
@click.option("--minutes", type=click.FloatRange(0, 1440), help="How long the search took.")
@click.option("--by", type=_choice(By), help="Who searched: a kind, never a name.")
@click.option("--secured", multiple=True, metavar="CHECK=STATE", help=_SECURED)
@click.option("--seal", "seals", multiple=True, metavar="NUMBER=STATE", help=_SEAL)
@click.option("--override", "reason", type=_choice(Reason), help="The prompt was not followed, and why.")
@click.option("--officer", help="Who enters it: an id, never a name.")
@click.option("--corrects", type=click.IntRange(1), help="The row of the record that this one corrects.")
@click.option("--undo", is_flag=True, help="Take the record given by --corrects back.")
@click.option("--dry-run", is_flag=True, help="Judge it, and record nothing.")
@common
def command(settings: Settings, passage: str, dry_run: bool, **given: Any) -> int:
    """Record what a search of PASSAGE found, also when it was nothing. Exit 1 if an outcome stands already."""
    document = _press(passage, given)
    try:
        press_of(document)
    except OutcomeRefused as refused:
        raise click.UsageError(str(refused)) from None
    answer = None if dry_run else ask(settings.places().control_socket, {"do": "outcome"} | document)
    if settings.json:
        say_json({"press": document, "recorded": not dry_run, **(answer or {})})
    elif answer is None:
        say(f"{passage}: would be recorded")
    else:
        _say(passage, answer)
    return DONE if answer is None or answer["answer"] in ("recorded", "again") else NO


def _press(passage: str, given: dict[str, Any]) -> dict[str, Any]:
    """Raises click.UsageError."""
    if given["undo"]:
        outcome = None
    else:
        if given["not_searched"] == (given["technique"] is not None):
            raise click.UsageError("give either --searched TECHNIQUE or --not-searched")
        if given["technique"] and given["nobody"] == (given["people"] is not None):
            raise click.UsageError("searched: give either --nobody or --people N")
        outcome = {
            "searched": not given["not_searched"],
            "technique": given["technique"],
            "found": None if given["not_searched"] else not given["nobody"],
            "people": given["people"],
            "where": given["where"],
            "minutes": given["minutes"],
            "by": given["by"] or "officer",
            "secured": dict(_secured(given["secured"])),
            "seals": list(_seals(given["seals"])),
            "response": "overridden" if given["reason"] else None,
            "reason": given["reason"],
        }
    key = f"cli-{os.urandom(12).hex()}"
    return {
        "passage_id": passage,
        "key": key,
        "outcome": outcome,
        "corrects": given["corrects"],
        "officer": given["officer"],
    }


def _secured(pairs: tuple[str, ...]) -> typing.Iterator[tuple[str, str]]:
    for pair in pairs:
        check, equals, state = pair.partition("=")
        if not equals or state not in typing.get_args(CheckState):
            states = ", ".join(typing.get_args(CheckState))
            raise click.UsageError(f"--secured {pair[:60]}: give CHECK=STATE; states: {states}")
        yield check, state


def _seals(pairs: tuple[str, ...]) -> typing.Iterator[dict[str, str]]:
    for pair in pairs:
        number, equals, state = pair.rpartition("=")  # a number may hold one
        if not equals or not number.strip() or state not in typing.get_args(SealState):
            states = ", ".join(typing.get_args(SealState))
            raise click.UsageError(f"--seal {pair[:60]}: give NUMBER=STATE; states: {states}")
        yield {"number": number, "state": state}


def _say(passage: str, answer: dict[str, Any]) -> None:
    record = answer["record"]
    if answer["answer"] in ("recorded", "again"):
        say(f"{passage}: recorded as row {record['sequence']}, revision {record['revision']}")
        return
    if record is None:
        tell(f"{passage}: not recorded: no record stands that could be corrected")
        return
    who = record["officer"] or record["via"]
    tell(
        f"{passage}: not recorded: row {record['sequence']} stands since {record['entered_utc']}, entered by {who}; "
        f"to correct it give --corrects {record['sequence']}"
    )
