"""Every question that an analyst asks of the record, as sections. Nothing here knows which engine answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from ibis import _

from edge.records import relations
from edge.records.intervals import Rate, per_exposure, share
from edge.records.local_time import local_hour
from edge.records.relations import Record, Relation
from edge.records.sections import Chart, Section, rate_chart
from fusion.verdict import MODALITIES

Group = dict[str, Any]
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
LOCAL = ("hour", "shift")
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


@dataclass(frozen=True, slots=True)
class Asked:
    """The vehicles of a question, in the engine, and the place whose hours count."""

    record: Record
    vehicles: Relation  # volunteers among them
    place: ZoneInfo

    @property
    def counted(self) -> Relation:
        """Without volunteers."""
        return relations.counted(self.vehicles)


def rows(relation: Relation) -> list[Group]:
    """A small answer, out of the engine."""
    found: list[Group] = relation.to_pyarrow().to_pylist()
    return found


def one(relation: Relation) -> Group:
    """An answer of one row."""
    return rows(relation)[0]


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
    found = {group["advice"]: group for group in rows(relations.totals(asked.counted, ["advice"]))}
    groups = [found[name] for name in ADVICE if name in found]
    table = tuple(
        (
            group["advice"],
            group["vehicles"],
            share(group["known"], group["vehicles"]),
            share(group["searched"], group["known"]),
            share(group["found"], group["searched"]),
            group["people"],
            _mean(group["minutes"], group["minutes_known"]),
            _per_find(group["minutes"], group["found"]),
        )
        for group in groups
    )
    chart = rate_chart(
        "Yield by advice", [g["advice"] for g in groups], [share(g["found"], g["searched"]) for g in groups]
    )
    columns = ("advice", "vehicles", "outcome known", "searched", "yield", "attempts", "minutes a search", "min a find")
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
            share(group["prompted"], group["vehicles"]),
            share(group["prompted_found"], group["prompted_searched"]),
            share(group["found"], group["searched"]),
            group["found"],
            group["people"],
            share(group["overridden"], group["known"]),
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
    if len(factors) == 1 and groups:
        labels = [str(group[factors[0]]) for group in groups]
        charts = (rate_chart("Prompted, of vehicles", labels, [share(g["prompted"], g["vehicles"]) for g in groups]),)
    notes = ("Groups differ in who drives in them as well as in what is measured: a difference is no cause.",)
    return Section("by." + ".".join(factors), f"By {title[0].lower()}{title[1:]}", columns, table, notes, charts)


def grouped(asked: Asked, factors: Sequence[str]) -> list[Group]:
    """Totals of each combination, sorted. Local hours are made of quarters of UTC hours, so that DST is right."""
    plain = [factor for factor in factors if factor not in LOCAL]
    counted = asked.counted.mutate(lane=_.site.concat("/", _.lane))  # lane 3 of two sites is two lanes
    if len(plain) == len(factors):
        groups = rows(relations.totals(counted, plain))
    else:
        groups = _local(rows(relations.quarters(counted, plain)), factors, asked.place)
    named = [{**group, **{factor: _named(group[factor]) for factor in factors}} for group in groups]
    return sorted(named, key=lambda group: [str(group[factor]) for factor in factors])


def techniques(asked: Asked) -> Section:
    """What each technique found, and how long it took."""
    groups = [g for g in grouped(asked, ["technique"]) if g["technique"] != "unknown"]
    table = tuple(
        (
            group["technique"],
            group["searched"],
            share(group["found"], group["searched"]),
            group["found"],
            group["people"],
            _mean(group["minutes"], group["minutes_known"]),
            _per_find(group["minutes"], group["found"]),
        )
        for group in groups
    )
    columns = ("technique", "searches", "yield", "finds", "attempts", "minutes a search", "minutes a find")
    chart = rate_chart(
        "Yield by technique", [g["technique"] for g in groups], [share(g["found"], g["searched"]) for g in groups]
    )
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
            share(group["found"], group["searched"]),
            _mean(group["minutes"], group["minutes_known"]),
        )
        for group in groups
    )
    return Section("contractors", "Who searched, and when", ("by", "shift", "searches", "yield", "minutes"), table)


def overrides(asked: Asked) -> Section:
    """Advice that was not followed, and what came of it."""
    groups = rows(relations.overrides(asked.counted))
    answered: dict[str, int] = {}
    for group in groups:
        answered[group["advice"]] = answered.get(group["advice"], 0) + group["vehicles"]
    table = tuple(
        (
            group["advice"],
            group["override_reason"] or "no reason",
            share(group["vehicles"], answered[group["advice"]]),
            group["searched"],
            share(group["found"], group["searched"]),
        )
        for group in groups
        if group["response"] == "overridden"
    )
    notes = ("The share is out of vehicles with that advice for which somebody answered.",)
    columns = ("advice", "reason", "overridden", "searched all the same", "yield")
    return Section("overrides", "Advice that was not followed", columns, table, notes)


def modalities(asked: Asked) -> Section:
    """What each modality added: contributions are additive, so one is left out by subtraction."""
    limit = one(relations.threshold(asked.counted))["threshold_log10_lr"]
    title = "What each modality added"
    if limit is None:
        return Section("modalities", title, notes=("No search was prompted by evidence.",))
    table = []
    for modality in MODALITIES:
        told = one(relations.without(asked.counted, modality, limit))
        told = {name: figure or 0 for name, figure in told.items()}
        table.append(
            (
                modality,
                told["spoke"],
                told["prompts"],
                share(told["finds"], told["prompts_searched"]),
                told["finds"],
                told["prevented"],
            )
        )
    notes = (
        f"A prompt or find is a modality's own where the sum of contributions reaches {limit:.3f} only with it: the"
        " smallest sum at which evidence prompted a search.",
        "Prevented: the sum without it would have reached that.",
    )
    columns = ("modality", "measured", "own prompts", "yield of own prompts", "own finds", "prompts prevented")
    return Section("modalities", title, columns, tuple(table), notes)


def availability(asked: Asked) -> Section:
    """How often each modality spoke, and why not."""
    table, labels, rates = [], [], []
    for modality in MODALITIES:
        groups = rows(relations.states(asked.counted, modality))
        total = sum(group["vehicles"] for group in groups)
        spoke = sum(group["vehicles"] for group in groups if group["state"] == "measured")
        labels.append(modality)
        rates.append(share(spoke, total))
        table.append((modality, "measured", "", share(spoke, total)))
        table += [
            (modality, group["state"], group["cause"], share(group["vehicles"], total))
            for group in groups[:12]
            if group["state"] != "measured"
        ]
    chart = rate_chart("Measured, of vehicles", labels, rates)
    notes = ("Out of vehicles with a verdict. Figures in causes are replaced by #.",)
    return Section(
        "availability",
        "What could be measured",
        ("modality", "state", "cause", "vehicles"),
        tuple(table),
        notes,
        (chart,),
    )


def times(asked: Asked) -> Section:
    """How long vehicles were in the bay, and searches took."""
    columns = ("lane", "vehicles timed", "bay median s", "bay p95 s", "verdict median s", "verdict p95 s")
    groups = sorted(rows(relations.times(asked.counted, ["site", "lane"])), key=lambda g: (g["site"], g["lane"]))
    table = tuple(
        (
            f"{group['site']}/{group['lane']}",
            group["timed"],
            *(group[name] for name in ("bay_p50_s", "bay_p95_s", "verdict_p50_s", "verdict_p95_s")),
        )
        for group in groups
    )
    notes = ("Passages during which the clock was set back are left out. The queue before the lane is not measured.",)
    return Section("times", "How long it took", columns, table, notes)


def hours(asked: Asked) -> Section:
    """By the hour of the place's clock. An hour that came twice in autumn is counted twice among the hours."""
    quarters = rows(relations.quarters(asked.counted))
    groups = _local(quarters, ["hour"], asked.place)
    exposure = _hours_lived([group["quarter"] for group in quarters], asked.place)
    table = []
    for group in groups:
        lived = exposure.get(group["hour"], 0)
        table.append(
            (
                group["hour"],
                lived,
                group["vehicles"],
                per_exposure(group["vehicles"], lived),
                share(group["prompted"], group["vehicles"]),
                group["found"],
            )
        )
    labels = [row[0] for row in table]
    charts = (
        Chart("Vehicles an hour", tuple(labels), tuple(row[3] for row in table), "an hour"),
        rate_chart("Prompted, of vehicles", labels, [row[4] for row in table]),
    )
    columns = ("hour", "hours lived", "vehicles", "vehicles an hour", "prompted", "finds")
    notes = (f"Hours of {asked.place.key}. An hour that came twice counts as two, one that was left out as none.",)
    return Section("hours", "By the hour", columns, tuple(table), notes, charts)


def each_hour(asked: Asked) -> Section:
    """Every hour by itself, in order: the repeated one stands there twice, marked."""
    groups: dict[str, tuple[str, int, int, int]] = {}
    for group in rows(relations.quarters(asked.counted)):
        there = local_hour(group["quarter"], asked.place)
        name = there.text + (" (comes twice)" if there.repeated else "")
        _, vehicles, prompted, found = groups.get(name, (name, 0, 0, 0))
        groups[name] = (name, vehicles + group["vehicles"], prompted + group["prompted"], found + group["found"])
    return Section(
        "each_hour", "Each hour", ("hour", "vehicles", "prompted", "finds"), tuple(groups.values()), (asked.place.key,)
    )


def _local(quarters: Iterable[Group], factors: Sequence[str], place: ZoneInfo) -> list[Group]:
    """Quarters added up to local hours or shifts, in order."""
    kept: dict[tuple[str, ...], Group] = {}
    for group in quarters:
        hour = local_hour(group["quarter"], place).hour
        named: Mapping[str, str] = {"hour": f"{hour:02d}", "shift": _shift(hour)}
        key = tuple(named[factor] if factor in LOCAL else str(group[factor]) for factor in factors)
        whole = kept.setdefault(key, dict(zip(factors, (named.get(f, group.get(f)) for f in factors), strict=True)))
        for name, figure in group.items():
            if name not in factors and name != "quarter" and not isinstance(figure, str):
                whole[name] = whole.get(name, 0) + (figure or 0)
    return [kept[key] for key in sorted(kept)]


def _hours_lived(quarters: Sequence[int], place: ZoneInfo) -> dict[str, int]:
    """How many hours of each number lay between the first and the last vehicle's hour."""
    lived: dict[str, int] = {}
    if not quarters:
        return lived
    last = ""
    for quarter in range(min(quarters) // 4 * 4, max(quarters) + 1):
        there = local_hour(quarter, place)
        if there.text != last:
            lived[f"{there.hour:02d}"] = lived.get(f"{there.hour:02d}", 0) + 1
        last = there.text
    return lived


def _shift(hour: int) -> str:
    return next((name for begin, name in reversed(SHIFTS) if hour >= begin), SHIFTS[-1][1])


def _named(figure: Any) -> Any:
    return "unknown" if figure is None else figure


def _mean(total: float, of: int) -> float | None:
    return round(total / of, 1) if of else None


def _per_find(minutes: float, finds: int) -> float | None:
    return round(minutes / finds, 1) if finds else None


SECTIONS: Mapping[str, Callable[[Asked], Section]] = {
    "counts": counts,
    "advice": by_advice,
    "technique": techniques,
    "contractors": contractors,
    "overrides": overrides,
    "modalities": modalities,
    "availability": availability,
    "times": times,
    "hours": hours,
}


def prompt_reliability(asked: Asked) -> Rate:
    """Finds out of searched prompts: what a prompt was worth."""
    total = one(relations.totals(asked.counted))
    return share(total["prompted_found"], total["prompted_searched"])
