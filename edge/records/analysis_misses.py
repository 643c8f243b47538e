"""Sections on what is missed, on what moved, and on what is in no count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import combinations
from typing import Any

from ibis import _

from edge.records import relations
from edge.records.asked import Asked, Group, one, rows
from edge.records.changes import FALSE_ALARMS_PER_DAY, REFERENCE_DAYS, Change, Series, changes
from edge.records.intervals import Rate, Recapture, chapman, share
from edge.records.misses import Missed, Stratum, missed
from edge.records.sections import Section, percent, rate_chart
from fusion.verdict import MODALITIES

SPEAKS_LOG10_LR = 0.5  # assumed: three to one for somebody inside; what a modality alone must say to have seen it
LEAST_SEEN_BY_BOTH = 7  # assumed after Chapman: fewer make the estimate lean low
PROMPTED = ("prompted", "prompted_searched", "prompted_found")
COVERT_FACTORS = ("body_type", "wind", "load", "aboard", "cargo", "covert_place")


def strata(asked: Asked) -> list[Stratum]:
    """The audit, stratum by stratum."""
    return [
        Stratum(g["stratum"], g["probability"], g["vehicles"], g["drawn"], g["searched"], g["found"])
        for g in rows(relations.strata(asked.counted))
    ]


def recapture(asked: Asked, speaks_log10_lr: float = SPEAKS_LOG10_LR) -> tuple[str, Recapture] | None:
    """Between the two modalities that saw the most finds together; None where too few were seen by both."""
    best: tuple[str, Recapture] | None = None
    seen = one(relations.seen_by(asked.counted, speaks_log10_lr))
    for first, second in combinations(MODALITIES, 2):
        ones, twos, both = (seen[f"{first}_{second}_{what}"] or 0 for what in ("first", "second", "both"))
        if both >= LEAST_SEEN_BY_BOTH and (best is None or both > best[1].both):
            best = f"{first} and {second}", chapman(ones, twos, both)
    return best


def all_missed(asked: Asked, speaks_log10_lr: float = SPEAKS_LOG10_LR) -> Missed:
    """The one statement."""
    tests = one(relations.covert(asked.vehicles))
    by_advice = {g["advice"]: g for g in rows(relations.totals(asked.counted, ["advice"]))}
    total = {name: sum(g[name] for g in by_advice.values()) for name in PROMPTED}
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
        tests["rechecked"] or 0,
    )


def misses(asked: Asked) -> Section:
    """What is missed: the statement, and the audit by stratum behind it."""
    return missed_section(all_missed(asked))


def missed_section(told: Missed) -> Section:
    """The statement that was made, as a section."""
    table = tuple(
        (s.name, s.probability, s.vehicles, share(s.drawn, s.vehicles), share(s.searched, s.drawn), s.found)
        for s in told.strata
    )
    columns = ("stratum", "probability", "vehicles", "drawn", "draws followed", "finds")
    notes = (*told.statement, *(f"Not known: {said}" for said in told.not_known))
    return Section("misses", "What is missed", columns, table, notes)


def covert_tests(asked: Asked) -> Section:
    """Volunteers, by what may matter."""
    cells = rows(relations.covert(asked.vehicles, COVERT_FACTORS))  # of few tests: added up here, not asked anew
    table = [("all", "", _prompted(cells))]
    for factor in COVERT_FACTORS:
        for (word,), own in _by(cells, factor):
            named = "unknown" if word is None else str(word)
            table.append((factor.removeprefix("covert_"), named, _prompted(own)))
    rates = [row[2] for row in table[1:]]
    charts = (rate_chart("Prompted, of covert tests", [f"{row[0]}: {row[1]}" for row in table[1:]], rates),)
    sealed = relations.sealed(asked.record)
    notes = (
        *((f"{sealed} tests were sealed and never opened: what became of them is not known.",) if sealed > 0 else ()),
        "Volunteers aboard whom the lane judged; prompted by evidence, not by the draw. Intervals are exact.",
        "Cells share volunteers: they are not independent of one another.",
    )
    return Section("covert", "Covert tests", ("factor", "is", "prompted"), tuple(table), notes, charts)


def _prompted(cells: list[Group]) -> Rate:
    return share(sum(cell["prompted"] for cell in cells), sum(cell["tests"] for cell in cells))


def moved(asked: Asked) -> Section:
    """What changed its level, and since when."""
    return moved_section(alarms(asked))


def moved_section(found: list[Change]) -> Section:
    """Alarms that were raised, as a section."""
    table = tuple(
        (
            change.name,
            change.direction.value,
            change.since,
            change.seen,
            f"{percent(change.before)} %",
            f"{percent(change.after)} %",
        )
        for change in found
    )
    notes = (
        f"Against the first {REFERENCE_DAYS} days. All series together raise an alarm without cause at most once in"
        f" {1 / FALSE_ALARMS_PER_DAY / 365:.0f} years, however often one looks.",
        "An alarm says that something moved, not why: a changed mix of traffic is a change too.",
        "A share of all finds that moves from one lane, site or body type to another is displacement.",
    )
    columns = ("what", "went", "since", "seen on", "before", "since then")
    return Section("changes", "What moved", columns, table or (("nothing moved", "", "", "", "", ""),), notes)


def alarms(asked: Asked) -> list[Change]:
    """Alarms of every series; they share what false alarms are allowed."""
    watched = [*_lane_series(asked), *_finds_series(asked)]
    return [change for series in watched for change in changes(series, FALSE_ALARMS_PER_DAY / len(watched))]


def left_out(asked: Asked) -> Section:
    """What is in no count, so that nothing is left out unseen; and what is counted with a doubt."""
    refused = rows(relations.refused(asked.record))
    table: list[tuple[str, str, int]] = [(g["row_kind"], g["cause"], g["rows"]) for g in refused]
    doubts = one(relations.doubts(asked.vehicles))
    told = (
        ("verdict", "written while the clock was not set: in no period", asked.record.listed.undated("verdicts")),
        ("vehicle", "stay in the bay that cannot be, the clock was set meanwhile: not among times", doubts["stays"]),
        ("vehicle", "judged by a clock that was not synchronised: counted at its time", doubts["clocks"]),
        ("vehicle", "with a verdict that is not final: counted as it stands", doubts["open"]),
        ("vehicle", "without a verdict: counted as no_verdict", doubts["unjudged"]),
        (
            "any",
            "written at an earlier time than the row before, the clock was set back: counted all the same",
            asked.record.contents.clock_back,
        ),
    )
    table += [(kind, why, count) for kind, why, count in told if count]
    table += [("file", f"{trouble.path}: {trouble.cause}", 1) for trouble in asked.record.contents.troubles]
    columns = ("kind", "why", "how many")
    return Section("left_out", "What is in no count, or in doubt", columns, tuple(table) or (("nothing", "", 0),))


def _lane_series(asked: Asked) -> Iterator[Series]:
    """Daily shares of each lane: prompts, overrides, finds, yield, and what each modality could measure."""
    shares = (
        ("prompted, of vehicles", "prompted", "vehicles"),
        ("overridden, of answers", "overridden", "answered"),
        ("finds, of vehicles", "found", "vehicles"),
        ("yield of searches", "found", "searched"),
        *((f"{name} measured, of verdicts", f"{name}_spoke", "judged") for name in MODALITIES),
    )
    for (site, lane), groups in _by(rows(relations.daily(asked.counted, ("site", "lane"))), "site", "lane"):
        for name, cases, of in shares:
            yield _series(f"{site}/{lane}: {name}", groups, cases, of)


def _finds_series(asked: Asked) -> Iterator[Series]:
    """Daily share of all finds that each lane, each site and each body type has: finds that move are displacement."""
    finds = asked.counted.filter(_.found.fill_null(False)).mutate(lane=_.site.concat("/", _.lane))
    for factor in ("lane", "site", "body_type"):
        groups = rows(finds.group_by([factor, "local_day"]).agg(finds=_.count()))
        each_day: dict[int, int] = defaultdict(int)
        for group in groups:
            each_day[group["local_day"]] += group["finds"]
        named = _by(groups, factor)
        for (name,), own in named if len(named) > 1 else ():
            had = {group["local_day"]: group["finds"] for group in own}
            filled = [{"local_day": day, "finds": had.get(day, 0), "all": each_day[day]} for day in each_day]
            yield _series(f"{name}: share of all finds", filled, "finds", "all")


def _by(groups: list[Group], *names: str) -> list[tuple[tuple[Any, ...], list[Group]]]:
    """Groups that are alike in these, as words in order; NULL among them as the word it has."""
    parts: dict[tuple[Any, ...], list[Group]] = defaultdict(list)
    for group in groups:
        parts[tuple(group[name] for name in names)].append(group)
    return sorted(parts.items(), key=lambda part: [str(name) for name in part[0]])


def _series(name: str, groups: list[Group], cases: str, of: str) -> Series:
    """Local days in order; days without a vehicle are there too."""
    each = {group["local_day"]: (group[cases] or 0, group[of] or 0) for group in groups}
    numbers = range(min(each), max(each) + 1)
    days = [(date(1970, 1, 1) + timedelta(days=number)).isoformat() for number in numbers]
    counts = [each.get(number, (0, 0)) for number in numbers]
    return Series(name, tuple(days), tuple(x for x, _n in counts), tuple(n for _x, n in counts))
