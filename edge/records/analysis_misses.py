"""Sections on what is missed, on what moved, and on what is in no count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta

from ibis import _

from edge.records import relations
from edge.records.analysis import Asked, Group, one, rows
from edge.records.changes import FALSE_ALARMS_PER_DAY, REFERENCE_DAYS, Change, Series, changes
from edge.records.intervals import Recapture, chapman, share
from edge.records.local_time import local_hour
from edge.records.misses import Missed, Stratum, missed
from edge.records.sections import Section, percent, rate_chart
from fusion.verdict import MODALITIES

SPEAKS_LOG10_LR = 0.5  # assumed: three to one for somebody inside; what a modality alone must say to have seen it
LEAST_SEEN_BY_BOTH = 7  # assumed after Chapman: fewer make the estimate lean low
COVERT_FACTORS = ("body_type", "wind", "cargo", "covert_place")


def strata(asked: Asked) -> list[Stratum]:
    """The audit, stratum by stratum."""
    return [
        Stratum(g["stratum"], g["probability"], g["vehicles"], g["drawn"], g["searched"], g["found"])
        for g in rows(relations.strata(asked.counted))
    ]


def recapture(asked: Asked, speaks_log10_lr: float = SPEAKS_LOG10_LR) -> tuple[str, Recapture] | None:
    """Between the two modalities that saw the most finds together; None where too few were seen by both."""
    best: tuple[str, Recapture] | None = None
    for index, first in enumerate(MODALITIES):
        for second in MODALITIES[index + 1 :]:
            seen = one(relations.seen_by(asked.counted, first, second, speaks_log10_lr))
            both = seen["both"] or 0
            if both >= LEAST_SEEN_BY_BOTH and (best is None or both > best[1].both):
                best = f"{first} and {second}", chapman(seen["first"], seen["second"], both)
    return best


def all_missed(asked: Asked, speaks_log10_lr: float = SPEAKS_LOG10_LR) -> Missed:
    """The one statement."""
    total = one(relations.totals(asked.counted))
    tests = one(relations.covert(asked.vehicles))
    by_advice = {g["advice"]: g for g in rows(relations.totals(asked.counted, ["advice"]))}
    found = recapture(asked, speaks_log10_lr)
    prompted = total["prompted"] - total["prompted_searched"]
    again = by_advice.get("recheck", {"vehicles": 0, "searched": 0})
    return missed(
        strata(asked),
        total["prompted_found"],
        tests["tests"] or 0,
        tests["prompted"] or 0,
        None if found is None else found[1],
        [
            ("vehicles were prompted and, as far as is known, not searched", prompted),
            ("vehicles were to be measured again and not searched", again["vehicles"] - again["searched"]),
            ("vehicles had no verdict", by_advice.get("no_verdict", {"vehicles": 0})["vehicles"]),
        ],
    )


def misses(asked: Asked) -> Section:
    """What is missed: the statement, and the audit by stratum behind it."""
    told = all_missed(asked)
    table = tuple(
        (s.name, s.probability, s.vehicles, share(s.drawn, s.vehicles), share(s.searched, s.drawn), s.found)
        for s in strata(asked)
    )
    columns = ("stratum", "probability", "vehicles", "drawn", "draws followed", "finds")
    notes = (*told.statement, *(f"Not known: {said}" for said in told.not_known))
    return Section("misses", "What is missed", columns, table, notes)


def covert_tests(asked: Asked) -> Section:
    """Volunteers, by what may matter."""
    table = []
    for factor in COVERT_FACTORS:
        for group in sorted(rows(relations.covert(asked.vehicles, [factor])), key=lambda g: str(g[factor])):
            named = "unknown" if group[factor] is None else str(group[factor])
            table.append((factor.removeprefix("covert_"), named, share(group["prompted"], group["tests"])))
    whole = one(relations.covert(asked.vehicles))
    table.insert(0, ("all", "", share(whole["prompted"] or 0, whole["tests"] or 0)))
    rates = [row[2] for row in table[1:]]
    charts = (rate_chart("Prompted, of covert tests", [f"{row[0]}: {row[1]}" for row in table[1:]], rates),)
    notes = (
        "Volunteers aboard whom the lane judged; prompted by evidence, not by the draw. Intervals are exact.",
        "Cells share volunteers: they are not independent of one another.",
    )
    return Section("covert", "Covert tests", ("factor", "is", "prompted"), tuple(table), notes, charts)


def moved(asked: Asked) -> Section:
    """What changed its level, and since when."""
    table = tuple(
        (
            change.name,
            change.direction.value,
            change.since,
            change.seen,
            f"{percent(change.before)} %",
            f"{percent(change.after)} %",
        )
        for change in alarms(asked)
    )
    notes = (
        f"Against the first {REFERENCE_DAYS} days. Each series raises an alarm without cause at most once in"
        f" {1 / FALSE_ALARMS_PER_DAY / 365:.0f} years, however often one looks.",
        "An alarm says that something moved, not why: a changed mix of traffic is a change too.",
    )
    columns = ("what", "went", "since", "seen on", "before", "since then")
    return Section("changes", "What moved", columns, table or (("nothing moved", "", "", "", "", ""),), notes)


def alarms(asked: Asked) -> list[Change]:
    """Alarms of every lane's series."""
    return [change for series in _series(asked) for change in changes(series)]


def left_out(asked: Asked) -> Section:
    """What is in no count, so that nothing is left out unseen."""
    refused, undated = relations.left_out(asked.record.tables)
    table: list[tuple[str, str, int]] = [(g["row_kind"], g["cause"], g["rows"]) for g in rows(refused)]
    late = one(undated)["rows"]
    if late:
        table.append(("verdict", "written while the clock was not set", late))
    if asked.record.contents.clock_back:
        back = "written at an earlier time than the row before: the clock was set back; counted all the same"
        table.append(("any", back, asked.record.contents.clock_back))
    table += [("file", f"{trouble.path}: {trouble.cause}", 1) for trouble in asked.record.contents.troubles]
    return Section(
        "left_out", "What is in no count", ("kind", "why", "how many"), tuple(table) or (("nothing", "", 0),)
    )


def _series(asked: Asked) -> Iterator[Series]:
    """Daily shares of each lane: prompts, overrides, finds, yield, and what each modality could measure."""
    quarters = rows(relations.quarters(asked.counted, ["site", "lane"]))
    shares = (
        ("prompted, of vehicles", "prompted", "vehicles"),
        ("overridden, of answers", "overridden", "known"),
        ("finds, of vehicles", "found", "vehicles"),
        ("yield of searches", "found", "searched"),
    )
    for (site, lane), groups in _by_lane(quarters):
        for name, cases, of in shares:
            yield _daily(f"{site}/{lane}: {name}", groups, cases, of, asked)
    for modality in MODALITIES:
        spoke = asked.counted.filter(_[f"{modality}_state"].notnull()).mutate(
            quarter=_.began_utc_ns // relations.QUARTER_NS, spoke=_[f"{modality}_state"] == "measured"
        )
        daily = spoke.group_by(["site", "lane", "quarter"]).agg(spoke=_.spoke.sum(), judged=_.count())
        for (site, lane), groups in _by_lane(rows(daily)):
            yield _daily(f"{site}/{lane}: {modality} measured, of verdicts", groups, "spoke", "judged", asked)


def _by_lane(groups: list[Group]) -> list[tuple[tuple[str, str], list[Group]]]:
    lanes: dict[tuple[str, str], list[Group]] = defaultdict(list)
    for group in groups:
        lanes[group["site"], group["lane"]].append(group)
    return sorted(lanes.items())


def _daily(name: str, groups: list[Group], cases: str, of: str, asked: Asked) -> Series:
    """Quarters added up to local days; days without a vehicle are there too."""
    added: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for group in groups:
        day = added[local_hour(group["quarter"], asked.place).day]
        day[0] += group[cases] or 0
        day[1] += group[of] or 0
    first, last = date.fromisoformat(min(added)), date.fromisoformat(max(added))
    days = [(first + timedelta(days=n)).isoformat() for n in range((last - first).days + 1)]
    return Series(
        name,
        tuple(days),
        tuple(added[day][0] for day in days),
        tuple(added[day][1] for day in days),
    )
