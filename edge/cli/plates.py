"""``lanepulse plates``: what stood on the vehicle. Looking is recorded like writing."""

from __future__ import annotations

import re
from typing import Any

import click

from edge.cli.main import DONE, NO
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell
from edge.referral.words import NO_TRAILER

_FORM = "[COUNTRY:]TEXT"


@click.group("plates")
def command() -> None:
    """Plates of passages. They have a time to live, and who looks at them is recorded."""


@command.command(
    "set",
    epilog="\b\nExamples:\n  lanepulse plates set 01JQ0F7Y3W8V5R2M9K4T6B1N0D --tractor F:AB-123-CD --trailer PL:WX902\n"
    "  lanepulse plates set 01JQ0F7Y3W8V5R2M9K4T6B1N0D --tractor 'GB:AB12 CDE' --trailer none",
)
@click.argument("passage")
@click.option("--tractor", required=True, metavar=_FORM, help="As read; the country as on the vehicle.")
@click.option("--trailer", required=True, metavar=_FORM, help=f"As read, or {NO_TRAILER!r} for a rigid lorry.")
@click.option("--officer", help="Who enters it: an id, never a name.")
@common
def set_plates(settings: Settings, passage: str, tractor: str, trailer: str, officer: str | None) -> int:
    """Record the plates of PASSAGE. A later entry replaces an earlier one."""
    from edge.referral.control import record

    plates = [_plate(tractor, "tractor")] + ([] if trailer == NO_TRAILER else [_plate(trailer, "trailer")])
    words = {"passage_id": passage, "plates": plates, "no_trailer": trailer == NO_TRAILER, "officer": officer}
    sequence = record(settings.places(), "plates", words)
    say_json({"passage_id": passage, "row": sequence}) if settings.json else say(
        f"{passage}: plates are row {sequence}"
    )
    return DONE


@command.command(
    "show",
    epilog="\b\nExamples:\n  lanepulse plates show 01JQ0F7Y3W8V5R2M9K4T6B1N0D --purpose 'penalty team asked'\n"
    "  lanepulse plates show 01JQ0F7Y3W8V5R2M9K4T6B1N0D --purpose 'case R-17' --json",
)
@click.argument("passage")
@click.option("--purpose", required=True, help="Why you look; it is recorded.")
@click.option("--officer", help="Who looks: an id, never a name.")
@common
def show(settings: Settings, passage: str, purpose: str, officer: str | None) -> int:
    """The plates of PASSAGE. Exit 1 if none were recorded, or they have expired."""
    from edge.journal.read import reading
    from edge.referral.control import record
    from edge.referral.plates import plates_of

    places = settings.places()
    look = {"what": "plates show", "purpose": purpose, "passages": [passage], "count": 1, "officer": officer}
    record(places, "access", look)
    with reading(places.journal) as reader:
        found = plates_of(reader, passage)
    if found is None or found.plates is None:
        tell(f"{passage}: {'no plates were recorded' if found is None else 'its plates have expired'}")
        return NO
    if settings.json:
        say_json({"passage_id": passage, "row": found.sequence, "plates": list(found.plates)})
    else:
        say_table(("POSITION", "COUNTRY", "PLATE"), [(p["position"], p["country"], p["text"]) for p in found.plates])
    return DONE


@command.command(
    "find",
    epilog="\b\nExamples:\n  lanepulse plates find AB-123-CD --purpose 'driver asks for his record'\n"
    "  lanepulse plates find AB123CD --purpose 'request 2026-17' --json",
)
@click.argument("text")
@click.option("--purpose", required=True, help="Why you look; it is recorded.")
@click.option("--officer", help="Who looks: an id, never a name.")
@common
def find(settings: Settings, text: str, purpose: str, officer: str | None) -> int:
    """Passages with this plate. Look-alikes (O and 0) are offered, marked `maybe`. Exit 1 if there is none."""
    from edge.journal.read import reading
    from edge.referral.control import record
    from edge.referral.plates import passages_with

    places = settings.places()
    with reading(places.journal) as reader:
        found = list(passages_with(reader, [text]))
    passages = [match.passage_id for match in found]
    look = {"what": "plates find", "purpose": purpose, "passages": passages[:1000], "count": len(passages)}
    record(places, "access", look | {"officer": officer})
    rows: list[dict[str, Any]] = [
        {"passage_id": m.passage_id, "same": m.same.value, "position": m.position, "seen_utc": m.seen_utc}
        for m in found
    ]
    if settings.json:
        say_json({"found": rows})
    elif rows:
        say_table(("PASSAGE", "SAME", "POSITION", "SEEN"), [tuple(row.values()) for row in rows])
    else:
        say("no passage with this plate, or its plates have expired")
    return DONE if rows else NO


def _plate(given: str, position: str) -> dict[str, Any]:
    country, colon, text = given.partition(":")
    if not colon:
        return {"text": given, "country": None, "position": position}
    if not re.fullmatch("[A-Za-z]{1,3}", country):
        raise click.UsageError(f"--{position} {given[:40]}: give {_FORM}, the country in one to three letters")
    return {"text": text, "country": country.upper(), "position": position}
