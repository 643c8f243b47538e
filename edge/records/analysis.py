"""What there was and what became of it, as sections. Nothing here knows which engine answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ibis
from ibis import _

from edge.records import relations
from edge.records.asked import Asked, Group, one, part, rate, rows
from edge.records.intervals import per_find, share
from edge.records.sections import Chart, Section, rate_chart

ADVICE = ("open_now", "search", "audit", "recheck", "no_search", "no_verdict")
FACTORS = {
    "body_type": "Body type",
    "wind": "Wind outside",
    "cargo": "Cargo declared",
    "shelter": "Shelter",
    "lane": "Lane",
    "site": "Site",
    "by": "Who searched",
    "technique": "Technique",
    "advice": "Advice",
    "hour": "Hour of the day",
    "shift": "Shift",
}
SHIFTS = ((6, "06-14"), (14, "14-22"), (22, "22-06"))  # assumed: the usual three
DEFINITIONS = (
    "Vehicle: one passage through one lane; the same lorry twice is two.",
    "Prompt: a vehicle for which evidence or policy advised a search (search, open_now); audit draws are kept apart.",
    "Search: a vehicle that an outcome says was searched. Find: a search in which somebody was found.",
    "Incident: finds at one site less than 15 minutes apart are one incident.",
    "Attempt: one person found once. Nothing identifies a person: one who is found on two days is two attempts,"
    " and how many persons they were is not known.",
    "Yield: finds out of searches. Covert tests, challenges and drills are in none of these.",
)


def counts(asked: Asked) -> Section:
    """What there was, each thing by its own definition."""
    total = one(relations.totals(asked.counted))
    incidents = one(relations.incidents(asked.counted))["incidents"]
    told = [
        ("vehicles", total["vehicles"]),
        ("vehicles with a search prompted", total["prompted"]),
        ("vehicles drawn for audit", total["drawn"]),
        ("vehicles with an outcome", total["known"]),
        ("vehicles searched", total["searched"]),
        ("vehicles with a find", total["found"]),
        ("incidents", incidents or 0),
        ("attempts (persons found, each time)", total["people"]),
        ("hours of searching", round(total["minutes"] / 60, 1)),
        ("vehicles with the load checked", total["checked"]),
        ("vehicles unsecured", total["unsecured"]),
    ]
    return Section("counts", "What there was", ("what", "count"), tuple(told), DEFINITIONS)


def by_advice(asked: Asked) -> Section:
    """What became of each advice."""
    found = {group["advice"]: group for group in rows(relations.blocked(asked.counted, ["advice"]))}
    groups = [found[name] for name in ADVICE if name in found]
    table = tuple(
        (
            group["advice"],
            group["vehicles"],
            rate(group, "known"),
            rate(group, "searched"),
            rate(group, "found"),
            group["people"],
            _mean(group["minutes"], group["minutes_known"]),
            per_find(group["minutes"], group["found_timed"]),
        )
        for group in groups
    )
    chart = rate_chart("Yield by advice", [g["advice"] for g in groups], [rate(g, "found") for g in groups])
    columns = (
        "advice",
        "vehicles",
        "outcome known",
        "searched",
        "yield",
        "attempts",
        "minutes a search",
        "minutes a find",
    )
    notes = (
        "Searched is out of vehicles with an outcome.",
        "audit: not advised, drawn at random.",
    )
    return Section("advice", "What became of each advice", columns, table, notes, (chart,))


def by_factor(asked: Asked, factors: Sequence[str]) -> Section:
    """Vehicles, prompts, searches, finds and time of each combination of factors.

    Raises:
        KeyError: a factor that is not one of `FACTORS`.
    """
    title = ", ".join(FACTORS[factor] for factor in factors)
    groups = grouped(asked, factors)
    table = tuple(
        (
            *(str(group[factor]) for factor in factors),
            group["vehicles"],
            rate(group, "prompted"),
            rate(group, "prompted_found"),
            rate(group, "found"),
            group["found"],
            group["people"],
            rate(group, "overridden"),
            _mean(group["minutes"], group["minutes_known"]),
        )
        for group in groups
    )
    columns = (
        *factors,
        "vehicles",
        "prompted",
        "yield of prompts",
        "yield of all searches",
        "finds",
        "attempts",
        "overridden",
        "minutes a search",
    )
    charts: tuple[Chart, ...] = ()
    if len(factors) == 1 and len(groups) > 1:
        labels = [str(group[factors[0]]) for group in groups]
        charts = (rate_chart("Prompted, of vehicles", labels, [rate(g, "prompted") for g in groups]),)
    notes = ("Groups differ in who drives in them as well as in what is measured: a difference is no cause.",)
    return Section("by." + ".".join(factors), f"By {title[0].lower()}{title[1:]}", columns, table, notes, charts)


def grouped(asked: Asked, factors: Sequence[str]) -> list[Group]:
    """Totals of each combination, sorted; hours and shifts are those of the place's clock."""
    hour = _.local_hour.cast("string").lpad(2, "0")
    named = asked.counted.mutate(lane=_.site.concat("/", _.lane), hour=hour, shift=_shift(_.local_hour))
    found = rows(relations.blocked(named, factors))  # lane 3 of two sites is two lanes
    groups = [{**group, **{factor: _named(group[factor]) for factor in factors}} for group in found]
    return sorted(groups, key=lambda group: [str(group[factor]) for factor in factors])


def _shift(hour: Any) -> Any:
    begins, names = zip(*SHIFTS, strict=True)
    first, second, _night = begins
    return ibis.cases(
        ((hour >= first) & (hour < second), names[0]), ((hour >= second) & (hour < _night), names[1]), else_=names[2]
    )


def techniques(asked: Asked) -> Section:
    """What each technique found, and how long it took."""
    groups = [g for g in grouped(asked, ["technique"]) if g["technique"] != "unknown"]
    table = tuple(
        (
            group["technique"],
            group["searched"],
            rate(group, "found"),
            group["found"],
            group["people"],
            _mean(group["minutes"], group["minutes_known"]),
            per_find(group["minutes"], group["found_timed"]),
        )
        for group in groups
    )
    columns = ("technique", "searches", "yield", "finds", "attempts", "minutes a search", "minutes a find")
    chart = rate_chart("Yield by technique", [g["technique"] for g in groups], [rate(g, "found") for g in groups])
    notes = ("The technique is the one that found, or that was used last: several may have been used on one vehicle.",)
    return Section("technique", "What each technique found", columns, table, notes, (chart,))


def contractors(asked: Asked) -> Section:
    """Searches by kind of searcher and shift; kinds, never names."""
    groups = [g for g in grouped(asked, ["by", "shift"]) if g["by"] != "unknown"]
    table = tuple(
        (
            group["by"],
            group["shift"],
            group["searched"],
            rate(group, "found"),
            _mean(group["minutes"], group["minutes_known"]),
        )
        for group in groups
    )
    return Section("contractors", "Who searched, and when", ("by", "shift", "searches", "yield", "minutes"), table)


def overrides(asked: Asked) -> Section:
    """Advice that was not followed, and what came of it."""
    groups = rows(relations.overrides(asked.counted))
    table = tuple(
        (
            group["advice"],
            group["response"],
            group["override_reason"],
            part(group),
            group["searched"],
            share(group["found"], group["searched"]),
            group["x"] - group["searched"],
        )
        for advice in ADVICE
        for group in sorted(groups, key=lambda g: (g["response"] != "agreed", g["override_reason"]))
        if group["advice"] == advice
    )
    notes = (
        "The share is out of vehicles with that advice for which somebody answered.",
        "What became of those that nobody searched is not known: they are neither finds nor misses here.",
    )
    columns = ("advice", "answer", "reason", "vehicles", "searched", "yield of those", "left unsearched")
    return Section("overrides", "Advice that was not followed", columns, table, notes)


def _named(figure: Any) -> Any:
    return "unknown" if figure is None else figure


def _mean(total: float, of: int) -> float | None:
    return round(total / of, 1) if of else None
