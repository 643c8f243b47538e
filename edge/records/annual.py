"""The annual report: a year of the record, the year before beside it, what is not known, and how it was made.

Everything in it comes from the record and from nothing else, no clock and no machine: the same record gives the same
report, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from edge.records import relations
from edge.records.analysis import DEFINITIONS
from edge.records.analysis_misses import alarms, all_missed, missed_section, moved_section
from edge.records.answers import ALL, answers
from edge.records.asked import Asked, Group, ask, one, rate
from edge.records.changes import Change
from edge.records.costs import Costs
from edge.records.intervals import Rate, difference, per_find
from edge.records.local_time import begin_utc_ns
from edge.records.misses import Missed
from edge.records.relations import Period, Record
from edge.records.schema import VERSION
from edge.records.sections import Cell, Section
from edge.records.value import value
from fusion.evaluation.exact_share import Estimate

ELSEWHERE = ("counts", "misses", "changes", "left_out")  # these have their own place in the report
METHOD = (
    "Every rate is printed with its denominator and its 95 % interval. Shares of vehicles: Korn and Graubard's interval"
    " over days, since vehicles of one day are more alike than those of two; it is Clopper and Pearson's where days do"
    " not differ. Covert tests: Clopper and Pearson. Counts an hour: Garwood, widened by how much days differ.",
    "Missed lorries: each audit counts as many as the inverse of its probability (Horvitz and Thompson), with Fay and"
    " Feuer's interval; without a find the bound is one-sided. Draws that nobody followed are taken to be like the"
    " rest of their stratum.",
    "What one modality added: contributions to the score are additive, so one is left out by subtraction.",
    "What moved: an e-detector on daily shares, so that looking every day costs no false alarm.",
    "Differences of two years: MOVER, from the two intervals. Medians: order statistics.",
    "Cells with fewer than ten cases give their counts and no share.",
)
NOT_KNOWN = (
    "How many lorries waited before the lanes, and how long.",
    "How many different persons the attempts were.",
    "Why anything moved: an alarm names what and since when.",
    "Whether a find here would have been found elsewhere on its way.",
)


@dataclass(frozen=True, slots=True)
class Report:
    """What stands in it, in order; ``said`` at its head, ``banner`` on every page."""

    title: str
    banner: str
    said: tuple[str, ...]
    sections: tuple[Section, ...]


def annual(record: Record, place: ZoneInfo, year: int, costs: Costs | None = None) -> Report | None:
    """The report of a local year, with where the money goes if costs are said; None where no vehicle came in it."""
    now, before = (ask(record, place, _year(number, place)) for number in (year, year - 1))
    if not now.last_ns:
        return None
    told, moved, total = all_missed(now), alarms(now), one(relations.blocked(now.counted))
    lanes = ", ".join(f"{site}/{lane}" for site, lane in record.listed.lanes)
    return Report(
        f"What works, and what is missed: {year}",
        _banner(now),
        (f"Lanes: {lanes}", f"1 January to 31 December {year}, by the clock of {place.key}"),
        (
            Section("short", "In short", notes=tuple(_short(total, told, moved))),
            _beside(_figures(total, told), before, year),
            *answers(now, ("counts",)),
            missed_section(told),
            *answers(now, [part for part in ALL if part not in ELSEWHERE]),
            moved_section(moved),
            *([] if costs is None else value(now, costs)),
            *answers(now, ("left_out",)),
            Section("not_known", "What is not known", notes=(*told.not_known, *NOT_KNOWN)),
            Section("method", "How the figures are made", notes=(*METHOD, *DEFINITIONS)),
            _source(record),
        ),
    )


def _year(year: int, place: ZoneInfo) -> Period:
    return Period(begin_utc_ns(date(year, 1, 1), place), begin_utc_ns(date(year + 1, 1, 1), place))


def _banner(asked: Asked) -> str:
    words = ", ".join(asked.trained_on)
    return f"Verdicts by models trained on: {words.upper()}" if words else "No verdicts"


def _short(total: Group, told: Missed, moved: Sequence[Change]) -> list[str]:
    """What a reader takes away who reads nothing else."""
    prompts = rate(total, "prompted_found")
    said = [
        f"{total['vehicles']:,} vehicles; a search was prompted for {total['prompted']:,}; {total['searched']:,} were"
        f" searched, and somebody was found in {total['found']:,} of them ({total['people']:,} attempts).",
    ]
    if prompts.estimate.value:
        said.append(
            f"One prompt in {1 / prompts.estimate.value:.1f} was right"
            f" (95 %: one in {1 / (prompts.estimate.high or 1):.1f} to one in {1 / (prompts.estimate.low or 1):.1f})."
        )
    cost = per_find(total["minutes"], total["found_timed"])
    if cost.value is not None and cost.low is not None and cost.high is not None:
        said.append(f"A find took {cost.value:.0f} minutes of searching (95 %: {cost.low:.0f} to {cost.high:.0f}).")
    said += told.statement
    said += [
        f"{change.name} went {change.direction.value}, from {100 * change.before:.1f} to {100 * change.after:.1f} %,"
        f" since {change.since}."
        for change in moved
    ]
    return [*said, "What is not known stands at the end, and is part of the answer."]


def _beside(this: dict[str, Cell], before: Asked, year: int) -> Section:
    last: dict[str, Cell] = {}
    if before.last_ns:
        last = _figures(one(relations.blocked(before.counted)), all_missed(before))
    table: list[tuple[Cell, ...]] = []
    for name, figure in this.items():
        other = last.get(name)
        more = _more(figure, other)
        table.append((name, figure, other, more))
    columns = ("what", str(year), str(year - 1), "more, points")
    note = "No vehicle of the year before is in this record." if not last else "Points: of a hundred."
    return Section("beside", "The year, and the one before", columns, tuple(table), (note,))


def _figures(total: Group, told: Missed) -> dict[str, Cell]:
    return {
        "vehicles": total["vehicles"],
        "vehicles with a find": total["found"],
        "attempts": total["people"],
        "hours of searching": round(total["minutes"] / 60, 1),
        "prompted, of vehicles": rate(total, "prompted"),
        "outcome known, of prompts": rate(total, "prompted_known"),
        "yield of prompts": rate(total, "prompted_found"),
        "yield of all searches": rate(total, "found"),
        "advice overridden, of answers": rate(total, "overridden"),
        "covert tests prompted": told.covert,
        "let pass, by the audit": None if told.audit is None else told.audit.missed,
        "minutes a find": per_find(total["minutes"], total["found_timed"]),
    }


def _more(now: Cell, before: Cell) -> Cell:
    if not isinstance(now, Rate) or not isinstance(before, Rate) or now.too_few or before.too_few:
        return None
    more = difference(now.estimate, before.estimate)
    return Estimate(*(None if x is None else 100 * x for x in (more.value, more.low, more.high)))


def _source(record: Record) -> Section:
    """So that anybody can say whether they hold the same record."""
    lanes = record.listed.lanes
    table = tuple((f"{site}/{lane}", record.listed.through(site, lane)) for site, lane in lanes)
    columns = ("lane", "record through row, with its hash")
    return Section("source", "The record it was made from", columns, table, (f"Schema of the record: {VERSION}.",))
