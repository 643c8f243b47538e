"""How long it took, how long others waited, and when: by the hour of the place's clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ibis import _

from edge.records import relations
from edge.records.asked import Asked, Group, one, part, rows
from edge.records.intervals import Blocks, block_share, per_exposure, quantile_ranks
from edge.records.local_time import QUARTER_NS, hours_lived, local_hour
from edge.records.relations import AT_ONCE_S, HOUR_NS, LONGEST_STAY_S, NS, Relation
from edge.records.sections import Cell, Chart, Section, rate_chart
from fusion.evaluation.exact_share import UNKNOWN, Estimate

DAY_NS = 86_400 * NS


def times(asked: Asked) -> Section:
    """How long vehicles were in the bay, and how long their verdicts took."""
    stays = relations.stays(asked.counted)
    found = quantile_bounds(stays, {"bay_s": (0.5, 0.95), "verdict_s": (0.5, 0.95)}, ("site", "lane"))
    table: list[tuple[Cell, ...]] = []
    charted = []
    for (site, lane), timed in found.items():
        (count, bay), (_count, verdict) = timed["bay_s"], timed["verdict_s"]
        table.append((f"{site}/{lane}", count, *bay, *verdict))
        charted.append(bay[0])
    columns = ("lane", "vehicles timed", "bay median s", "bay p95 s", "verdict median s", "verdict p95 s")
    notes = (
        "From presence on. Passages during which the clock was set are left out: they ended before they began, or"
        f" stayed over {LONGEST_STAY_S / 3600:.0f} h.",
        "Intervals are exact where vehicles are independent of one another.",
    )
    labels = tuple(str(row[0]) for row in table)
    charts = (Chart("Time in the bay, median", labels, tuple(charted), "s"),)
    return Section("times", "How long it took", columns, tuple(table), notes, charts)


def queue(asked: Asked) -> Section:
    """What can be seen from the lane of those who wait before it."""
    table = []
    for group in _lanes(asked):
        lived_s = (group["last"] - group["first"]) / NS
        busy = _round(group["bay_s"] / lived_s) if lived_s > 0 and group["bay_s"] is not None else None
        table.append((f"{group['site']}/{group['lane']}", group["of"], part(group), busy))
    notes = (
        f"At once: the vehicle came within {AT_ONCE_S:.0f} s after the one before it had left, so it had been waiting."
        " How many stood behind it, and for how long, no sensor of the lane sees.",
        "Busy: share of all time, nights too, in which a vehicle was in the bay.",
    )
    charts = (rate_chart("Came at once, of vehicles", [str(row[0]) for row in table], [row[2] for row in table]),)
    columns = ("lane", "vehicles", "came at once", "busy")
    return Section("queue", "Who waited", columns, tuple(table), notes, charts)


def hours(asked: Asked) -> Section:
    """By the hour of the place's clock. An hour that came twice in autumn is counted twice among the hours."""
    groups = sorted(rows(relations.hourly(asked.counted)), key=lambda group: group["local_hour"])
    lived = hours_lived(asked.place, asked.first_ns, asked.last_ns) if groups else {}
    table = [_hour(group, lived.get(group["local_hour"], 0)) for group in groups]
    labels = [str(row[0]) for row in table]
    charts = (
        Chart("Vehicles an hour", tuple(labels), tuple(row[3] for row in table), "an hour"),
        rate_chart("Prompted, of vehicles", labels, [row[4] for row in table]),
    )
    columns = ("hour", "hours lived", "vehicles", "vehicles an hour", "prompted", "finds")
    notes = (f"Hours of {asked.place.key}. An hour that came twice counts as two, one that was left out as none.",)
    return Section("hours", "By the hour", columns, tuple(table), notes, charts)


def each_hour(asked: Asked) -> Section:
    """Every hour by itself, in order: the repeated one stands there twice, marked."""
    ahead = _.local_ns - _.began_utc_ns
    named = asked.counted.mutate(ahead=ahead, there=_.local_ns // HOUR_NS)
    table = []
    for group in sorted(rows(relations.totals(named, ["there", "ahead"])), key=lambda g: (g["there"], -g["ahead"])):
        there = local_hour((group["there"] * HOUR_NS - group["ahead"]) // QUARTER_NS, asked.place)
        name = there.text + (" (comes twice)" if there.repeated else "")
        table.append((name, group["vehicles"], group["prompted"], group["found"]))
    columns = ("hour", "vehicles", "prompted", "finds")
    return Section("each_hour", "Each hour", columns, tuple(table), (asked.place.key,))


def referrals(asked: Asked) -> Section:
    """How long cases wait, stage by stage: since the record's last row, not since today, so that it says the same."""
    steps = asked.record.table("referrals")
    now_ns = one(steps.agg(now=_.written_utc_ns.max()))["now"]
    title, columns = "How long referrals wait", ("stage", "cases", "days in it, median", "oldest, days")
    if now_ns is None:
        return Section("referrals", title, notes=("No case was referred.",))
    first = steps.group_by("case_id").agg(since_ns=_.at_utc_ns.argmax(_.sequence), stage=_.stage.argmax(_.sequence))
    waiting = first.mutate(days=(now_ns - _.since_ns) / float(DAY_NS))
    medians = quantile_bounds(waiting, {"days": (0.5,)}, ("stage",))
    table = [
        (group["stage"], group["cases"], medians[(group["stage"],)]["days"][1][0], round(group["oldest"], 1))
        for group in rows(waiting.group_by("stage").agg(cases=_.count(), oldest=_.days.max()).order_by("stage"))
    ]
    notes = ("All cases of these lanes, whenever they began; days up to the last row about any of them.",)
    return Section("referrals", title, columns, tuple(table), notes)


Timed = tuple[int, tuple[Estimate, ...]]  # how many have a value, and its quantiles


def quantile_bounds(
    relation: Relation, quantiles: Mapping[str, Sequence[float]], by: Sequence[str]
) -> dict[tuple[Any, ...], dict[str, Timed]]:
    """Of each group, in order, quantiles of columns with their 95 % intervals, exact whatever the distribution.

    Two questions for all groups and columns: how many values there are says which ranks bound a quantile.
    """
    counts = rows(relation.group_by(list(by)).agg(**{name: relation[name].count() for name in quantiles}))
    named = {tuple(group[name] for name in by): group for group in counts}
    levels = {
        name: shared_levels([rank for group in counts for q in of for rank in _bounding(q, group[name]) if rank])
        for name, of in quantiles.items()
    }
    asked = relations.quantiles(relation, quantiles, {name: of or [0.5] for name, of in levels.items()}, by)
    found = {tuple(group[name] for name in by): group for group in rows(asked)}
    return {
        key: {
            name: (named[key][name], _bounded(found[key], name, of, levels[name], named[key][name]))
            for name, of in quantiles.items()
        }
        for key in sorted(named)
    }


def shared_levels(ranks: Iterable[tuple[int, int]]) -> list[float]:
    """Shares of all values, ascending, of which one rounds up to each of ``ranks`` (rank, of how many).

    Groups of nearly one size share them: what the engine is asked grows with how much sizes differ.
    """
    levels: list[float] = []
    for high, low in sorted(((rank - 0.1) / of, (rank - 0.9) / of) for rank, of in ranks):
        if not levels or levels[-1] < low:
            levels.append(high)
    return levels


def _bounding(quantile: float, of: int) -> list[tuple[int, int] | None]:
    return [(rank, of) if rank is not None and of else None for rank in quantile_ranks(quantile, of)]


def _bounded(
    found: Group, column: str, quantiles: Sequence[float], levels: Sequence[float], of: int
) -> tuple[Estimate, ...]:
    """Quantiles of one column of one group, with their bounds; nothing is known where there is no value."""
    if not of:
        return (UNKNOWN,) * len(quantiles)
    estimates = []
    for value, quantile in zip(found[column], quantiles, strict=True):
        ends = [
            None if rank is None else _round(found[f"{column}_ranks"][bisect_left(levels, (rank[0] - 0.9) / of)])
            for rank in _bounding(quantile, of)
        ]
        estimates.append(Estimate(_round(value), *ends))
    return tuple(estimates)


def _lanes(asked: Asked) -> list[Group]:
    return sorted(rows(relations.occupation(asked.counted)), key=lambda g: (g["site"], g["lane"]))


def _hour(group: Group, lived: int) -> tuple[Any, ...]:
    mean = group["vehicles"] / max(1, lived)
    variance = (group["nn"] - lived * mean * mean) / max(1, lived - 1)
    spread = Blocks(group["xx"], group["xn"], group["nn"], group["blocks"])
    return (
        f"{group['local_hour']:02d}",
        lived,
        group["vehicles"],
        per_exposure(group["vehicles"], lived, variance / mean if mean else 1.0),
        block_share(group["x"], group["vehicles"], spread),
        group["found"],
    )


def _round(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 3)
