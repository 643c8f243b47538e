"""Which passage a radiograph is of: by the passage's id, else by plate, else (where the site says so) by its own time.

Pure, and never a guess: what contradicts, fits two, or fits none is kept with the cause (cases of a scan that carries
the plate of the vehicle before, a time without its zone, a date in another year).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.reading import Radiograph
from drivers.xray.judging import stated_offset_s
from drivers.xray.plates import Same, join_key, same

DAY_S = 86_400.0  # assumed: a clock may be off by hours (a zone that nobody sent), never by days
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage that a radiograph may be of; ``ended_utc_ns`` is None while it is on the lane."""

    passage_id: str
    began_utc_ns: int
    ended_utc_ns: int | None
    plates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """The site's rules: ``late_s`` after a passage (or before it) evidence still joins; ``by_time`` where the scanner
    stands in this lane, so that the vehicle in it is the vehicle scanned."""

    late_s: float
    by_time: bool


@dataclass(frozen=True, slots=True)
class Joined:
    """It is of this passage; ``by`` is how that was found, for people."""

    passage_id: str
    by: str


@dataclass(frozen=True, slots=True)
class Kept:
    """It is of no passage that we know; ``cause`` for people, without the plate."""

    cause: str


def place(radiograph: Radiograph, candidates: Sequence[Candidate], terms: Terms) -> Joined | Kept:
    """The one passage that a radiograph is of, or why there is none."""
    offset_s = stated_offset_s(radiograph.status)
    if offset_s is not None and abs(offset_s) > DAY_S + terms.late_s:
        return Kept(f"its acquisition is {offset_s / DAY_S:+.0f} days from its arrival: check the scanner's clock")
    found = _named(radiograph, candidates, terms)
    if isinstance(found, Joined) and terms.by_time and radiograph.acquired_utc_ns is not None:
        there = _during(radiograph.acquired_utc_ns, candidates)
        if there and found.passage_id not in {one.passage_id for one in there}:
            return Kept(f"by {found.by} it is of passage {found.passage_id}, by its time of {there[0].passage_id}")
    return found


def _named(radiograph: Radiograph, candidates: Sequence[Candidate], terms: Terms) -> Joined | Kept:
    """By what it says of its vehicle; by its time where it says nothing and the site allows it."""
    timely = [one for one in candidates if _within(radiograph, one, terms.late_s)]
    if radiograph.passage_hint is not None:
        return _by_id(radiograph.passage_hint, candidates, timely, terms)
    if join_key(radiograph.plate_text) is not None:
        return _by_plate(radiograph, timely, terms)
    if not terms.by_time:
        return Kept("it names neither a passage nor a plate")
    return _by_time(radiograph, timely, "it names neither a passage nor a plate")


def _within(radiograph: Radiograph, one: Candidate, late_s: float) -> bool:
    """Whether scan and passage are near enough; by arrival where the time of the scan is not sure."""
    at_ns = radiograph.acquired_utc_ns or radiograph.stamp.arrival_utc_ns
    over_ns = one.ended_utc_ns or max(at_ns, one.began_utc_ns)
    return one.began_utc_ns - late_s * NS <= at_ns <= over_ns + late_s * NS


def _by_id(hint: str, candidates: Sequence[Candidate], timely: Sequence[Candidate], terms: Terms) -> Joined | Kept:
    if any(one.passage_id == hint for one in timely):
        return Joined(hint, "the passage's id")
    if any(one.passage_id == hint for one in candidates):
        return Kept(f"passage {hint} is over {terms.late_s / 60:.0f} min from it")
    return Kept(f"passage {hint} is none of this lane's last")


def _by_plate(radiograph: Radiograph, timely: Sequence[Candidate], terms: Terms) -> Joined | Kept:
    found = {one.passage_id: _best(radiograph.plate_text, one.plates) for one in timely}
    sure = [passage_id for passage_id, answer in found.items() if answer is Same.YES]
    if len(sure) == 1:
        return Joined(sure[0], "plate")
    if sure:
        return Kept(f"its plate is that of {len(sure)} passages: {', '.join(sure[:4])}")
    alike = [passage_id for passage_id, answer in found.items() if answer is Same.MAYBE]
    if alike:
        return Kept(f"its plate looks like that of passage {', '.join(alike[:4])}: a person must say")
    nameless = [one for one in timely if not one.plates]
    if terms.by_time and nameless:
        return _by_time(radiograph, nameless, "its plate is that of no passage")
    return Kept("its plate is that of no passage")


def _best(plate: str | None, plates: Sequence[str]) -> Same:
    answers = {same(plate, other) for other in plates}
    return Same.YES if Same.YES in answers else Same.MAYBE if Same.MAYBE in answers else Same.NO


def _by_time(radiograph: Radiograph, candidates: Sequence[Candidate], otherwise: str) -> Joined | Kept:
    """By the scan's own time, where that is sure and lies within one passage; never the nearest."""
    at_ns = radiograph.acquired_utc_ns
    if at_ns is None:
        return Kept(f"{otherwise}, and its time is not sure")
    during = _during(at_ns, candidates)
    if len(during) == 1:
        return Joined(during[0].passage_id, "the time of the scan")
    return Kept(f"{otherwise}, and no vehicle was on the lane at its time")


def _during(at_ns: int, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Passages that were on the lane at that moment."""
    return [one for one in candidates if one.began_utc_ns <= at_ns <= (one.ended_utc_ns or at_ns)]
