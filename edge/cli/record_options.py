"""The options of every command that asks the record, and what they stand for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.options import Settings
from edge.cli.output import tell

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from edge.records.asked import Asked
    from edge.records.relations import Record

FILTERS = ("body_type", "wind", "cargo", "shelter", "by", "technique", "advice")
MENDS = "install the extra: pip install 'lanepulse[{extra}]'"


@dataclass(frozen=True, slots=True)
class Question:
    """Which record, which part of it, and whose hours count."""

    lake: Path | None
    lanes: tuple[str, ...]
    since: date | None
    until: date | None
    zone: str
    where: Mapping[str, str]

    def said(self) -> list[str]:
        """The question in words, for the head of an answer."""
        lanes = ", ".join(self.lanes) or "all lanes"
        period = f"from {self.since or 'the beginning'} to {self.until or 'the end'} ({self.zone})"
        words = "".join(f"; only {name} {word}" for name, word in sorted(self.where.items()))
        return [f"{lanes}, {period}{words}"]


def questions(*, period: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Gives a command a `Question` as its second argument; without ``period`` it chooses its own time."""

    def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in (*(_PERIOD if period else ()), *_WHICH):
            function = option(function)

        @functools.wraps(function)
        def wrapped(settings: Settings, *args: Any, lake: Path | None, lanes: tuple[str, ...], **options: Any) -> Any:
            for lane in lanes:
                if lane.count("/") != 1:
                    raise click.UsageError(f"--of {lane[:60]}: give SITE/LANE, for example calais/3")
            moments = (options.pop("since", None), options.pop("until", None))
            since, until = (None if moment is None else moment.date() for moment in moments)
            zone, where = options.pop("zone"), _words(options.pop("where", ()))
            return function(settings, Question(lake, lanes, since, until, zone, where), *args, **options)

        return wrapped

    return decorated


_WHICH = (
    click.option("--zone", default="UTC", show_default=True, help="Whose hours and days: Europe/London."),
    click.option("--of", "lanes", multiple=True, metavar="SITE/LANE", help="Only this lane; may be given again."),
    click.option("--lake", type=click.Path(path_type=Path, file_okay=False), help="Ask this lake, and no journal."),
)
_PERIOD = (
    click.option("--where", multiple=True, metavar="NAME=WORD", help=f"Only such: {', '.join(FILTERS)}."),
    click.option("--until", type=click.DateTime(["%Y-%m-%d"]), help="Last day, by the place's clock."),
    click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day, by the place's clock."),
)


@contextmanager
def opened(settings: Settings, question: Question) -> Iterator[tuple[Record, ZoneInfo]]:
    """The record of a question, the lake brought up to the journal first where it is the lane's own; and the place.

    Raises:
        LakeFault, ZoneFault: see there.
    """
    need("analysis", "ibis", "duckdb", "pyarrow")
    from edge.records.local_time import zone
    from edge.records.relations import Record

    place = zone(question.zone)
    lake = question.lake or up_to_date(settings)
    lanes = [(site, lane) for site, _, lane in (name.partition("/") for name in question.lanes)]
    with Record(lake, lanes or None) as record:
        yield record, place


@contextmanager
def asked(settings: Settings, question: Question) -> Iterator[Asked]:
    """The vehicles of a question.

    Raises:
        LakeFault, ZoneFault: see there.
    """
    with opened(settings, question) as (record, place):
        from edge.records.asked import ask
        from edge.records.local_time import begin_utc_ns
        from edge.records.relations import Period

        period = Period(
            0 if question.since is None else begin_utc_ns(question.since, place),
            Period().until_utc_ns
            if question.until is None
            else begin_utc_ns(question.until + timedelta(days=1), place),
        )
        yield ask(record, place, period, question.where)


def up_to_date(settings: Settings) -> Path:
    """This lane's own lake, with every row of its journal.

    Raises:
        LakeFault: the journal is not whole, or is another lane's.
    """
    need("analysis", "pyarrow")
    from edge.records.lake import update

    places, (site, lane) = settings.places(), lane_of(settings)
    lake = places.state / "lake"
    progress = update(lake, places.journal, site, lane)
    for mended in progress.mended:
        tell(f"{lake}: {mended}; made anew from the journal, the old one is in {lake / 'quarantine'}")
    return lake


def lane_of(settings: Settings) -> tuple[str, str]:
    """Site and lane, from the configuration. Raises ConfigErrors."""
    lane = settings.load().lane
    return lane.site, lane.name


def need(extra: str, *modules: str) -> None:
    """Raises UsageError with the mend where an extra is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise click.UsageError(f"{module} is not installed here; {MENDS.format(extra=extra)}")


def _words(where: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in where:
        name, equals, word = text.partition("=")
        if name not in FILTERS or not equals:
            raise click.UsageError(f"--where {text[:60]}: give NAME=WORD; names: {', '.join(FILTERS)}")
        found[name] = word
    return found
