"""Where the money goes: cost a find by technique and by who searched, what each modality is worth, and scenarios.

Costs are the site's own (`Costs`). Intervals are of the counts behind a figure; prices are taken as they are.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from ibis import _
from numpy.typing import NDArray
from scipy.special import stdtrit

from edge.records import relations
from edge.records.analysis import grouped
from edge.records.asked import DAY_NS, Asked, Group, once, one, rows
from edge.records.costs import Costs, plain
from edge.records.intervals import count_bounds, per_find, weighted_count
from edge.records.misses import Stratum
from edge.records.queueing import FULLEST, mean_wait_s
from edge.records.sections import Cell, Section
from fusion.evaluation.exact_share import CONFIDENCE, UNKNOWN, Estimate
from fusion.verdict import MODALITIES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SHIFTS_LOG10_LR = (-0.5, -0.2, -0.1, 0.1, 0.2, 0.5)  # assumed: what a site would think of moving a threshold by
YEAR_NS = 365 * DAY_NS
ROLL_IN_S = 10.0  # assumed, where nobody came at once after another


def value(asked: Asked, costs: Costs) -> list[Section]:
    """All of it. A section whose price is not said names the price."""
    spent = Spent(asked, costs)
    return [
        searching(spent, "technique", "What a find costs, by technique"),
        searching(spent, "by", "What a find costs, by who searched"),
        searching(spent, "shift", "What a find costs, by shift"),
        modalities(asked, spent),
        threshold(asked, spent),
        lanes(asked, costs),
    ]


class Spent:
    """Money and minutes of all searches, by technique, searcher and shift."""

    def __init__(self, asked: Asked, costs: Costs) -> None:
        self.costs = costs
        self.groups = [g for g in grouped(asked, ["technique", "by", "shift"]) if g["searched"]]
        self.searches = sum(group["searched"] for group in self.groups)
        self.finds = sum(group["found"] for group in self.groups)
        self.money = sum(map(self.of, self.groups))

    def of(self, group: Group) -> float:
        """Searches without minutes are taken to be as long as those of their group, or as all."""
        known, every = group["minutes_known"], self._minutes_each()
        minutes = group["searched"] * (group["minutes"] / known if known else every)
        return self.costs.spent(str(group["technique"]), str(group["by"]), group["searched"], minutes)

    @property
    def each(self) -> float:
        """A search, on average."""
        return self.money / self.searches if self.searches else 0.0

    def _minutes_each(self) -> float:
        known = sum(group["minutes_known"] for group in self.groups)
        return sum(group["minutes"] for group in self.groups) / known if known else 0.0


def searching(spent: Spent, factor: str, title: str) -> Section:
    """Cost of a search and of a find, by one factor."""
    money: dict[str, float] = defaultdict(float)
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for group in spent.groups:
        name = str(group[factor])
        money[name] += spent.of(group)
        counts[name][0] += group["searched"]
        counts[name][1] += group["found"]
    names = [*sorted(money), "all"]
    money["all"], counts["all"] = spent.money, [spent.searches, spent.finds]
    table = tuple(
        (name, *counts[name], round(money[name]), _whole(money[name] / max(1, counts[name][0])), cost)
        for name in names
        for cost in [per_find(money[name], counts[name][1])]
    )
    currency = spent.costs.currency
    columns = (factor, "searches", "finds", f"{currency} spent", f"{currency} a search", f"{currency} a find")
    free = _free(spent, factor)
    notes = (
        "A find is a lorry with somebody inside that would have gone on. Searches that differ in whom they are sent to"
        " differ in what they find: a dear technique may have been given the hard lorries.",
        *((f"No price is said for: {', '.join(free)}.",) if free else ()),
    )
    return Section(f"value.{factor}", title, columns, table, notes)


def _free(spent: Spent, factor: str) -> list[str]:
    said: Mapping[str, float] = (
        plain(spent.costs.searcher_per_hour) if factor == "by" else plain(spent.costs.search_each)
    )
    return sorted({str(g[factor]) for g in spent.groups} - set(said)) if factor in ("by", "technique") else []


def modalities(asked: Asked, spent: Spent) -> Section:
    """What each modality is worth, and what a day without it costs."""
    told_limits = once(relations.limits(asked.counted))
    limits = rows(told_limits)
    title = "What each modality is worth, and a day without it"
    if not limits:
        return Section("value.modality", title, notes=("No search was prompted by evidence.",))
    told = {k: v or 0 for k, v in one(relations.added(relations.judged(asked.counted, told_limits))).items()}
    lanes, years = len({(g["site"], g["lane"]) for g in limits}), (asked.last_ns - asked.first_ns) / YEAR_NS
    prices: Mapping[str, float] = plain(spent.costs.modality_per_year)
    table = [_worth(told, name, spent, prices.get(name), lanes, max(years, 1 / 365)) for name in MODALITIES]
    currency = spent.costs.currency
    columns = (
        "modality",
        "own finds",
        f"{currency} devices",
        f"{currency} own searches",
        f"{currency} a lorry not missed",
        "finds lost, a day without it",
        "to be measured again, a day",
    )
    silent = [name for name in MODALITIES if name not in prices and told[f"{name}_spoke"]]
    notes = (
        "Own: the sum of contributions reaches the limit only with it. A lorry not missed is such a find.",
        "A day without it, at one lane: finds that would not have been prompted, and vehicles of which nothing else"
        " told anything, which then have to be measured again.",
        *((f"No price is said for: {', '.join(silent)}.",) if silent else ()),
    )
    return Section("value.modality", title, columns, tuple(table), notes)


def _worth(told: Group, name: str, spent: Spent, price: float | None, lanes: int, years: float) -> tuple[Cell, ...]:
    finds, lane_days = told[f"{name}_finds"], lanes * years * 365
    searching = told[f"{name}_searched"] * spent.each
    devices = None if price is None else price * lanes * years
    low, high = count_bounds(finds)
    lost = Estimate(finds / lane_days, low / lane_days, high / lane_days)
    cost = UNKNOWN if devices is None else per_find(devices + searching, finds)
    spoke = told[f"{name}_spoke"] > 0
    return (
        name,
        finds,
        _whole(devices),
        _whole(searching),
        cost if spoke else UNKNOWN,
        lost if spoke else UNKNOWN,
        round(told[f"{name}_alone"] / lane_days, 1),
    )


def threshold(asked: Asked, spent: Spent) -> Section:
    """What would have been prompted, had the site's threshold been another: a recount, not a model."""
    told_limits = once(relations.limits(asked.counted))
    limits = rows(told_limits)
    title = "Had the threshold been another"
    if not limits:
        return Section("value.threshold", title, notes=("No search was prompted by evidence.",))
    known = relations.judged(asked.counted, told_limits)
    total = one(relations.totals(asked.counted))
    followed = total["prompted_searched"] / total["prompted"] if total["prompted"] else 1.0
    table = []
    for shift in SHIFTS_LOG10_LR:
        band = rows(relations.between(known, min(shift, 0.0), max(shift, 0.0)))
        row = _lower(band, followed, spent) if shift < 0 else _higher(band, spent)
        table.append((f"{shift:+.1f}, ratio {10**shift:.2g} times", *row))
    currency = spent.costs.currency
    columns = ("threshold moved", "prompts", "searches", "finds", f"{currency} more", f"{currency} a find of these")
    notes = (
        "Counted on the record: who lay between the old threshold and the new one. What was found above it is known;"
        " what lies below is known from audits, by the inverse of their probability, and from vehicles that were to be"
        " measured again and were searched, taken to be like the rest of those.",
        f"Of prompts {100 * followed:.0f} % are searched, as now.",
        "A threshold that is learnt of is answered: this is how it would have been, not how it will be.",
    )
    return Section("value.threshold", title, columns, tuple(table), notes)


def _higher(band: Sequence[Group], spent: Spent) -> tuple[Cell, ...]:
    prompts = [group for group in band if group["level"] == "search"]
    searches, finds = sum(g["searched"] for g in prompts), sum(g["found"] for g in prompts)
    low, high = count_bounds(finds)
    saved = searches * spent.each
    lost = Estimate(-float(finds), -high, -low)
    return (-sum(g["vehicles"] for g in prompts), -searches, lost, _whole(-saved), per_find(saved, finds))


def _lower(band: Sequence[Group], followed: float, spent: Spent) -> tuple[Cell, ...]:
    """Of each part of the band the finds that searching all of it would have made, less those that were made."""
    parts = [group for group in band if group["level"] in ("no_search", "recheck")]
    prompts = sum(g["vehicles"] for g in parts)
    searches = max(0.0, prompts * followed - sum(g["searched"] for g in parts))
    cases, weights, blind = [], [], 0
    for group in parts:
        weight = _weight(group)
        if weight is None:
            blind += group["vehicles"]
        elif weight > 0:
            cases.append(group["drawn_found"] if group["level"] == "no_search" else group["found"])
            weights.append(weight)
    if not cases:
        return (prompts, round(searches), UNKNOWN, _whole(searches * spent.each), UNKNOWN)
    there = weighted_count(cases, weights)
    made = sum(group["found"] for group in parts)
    low, middle, high = (max(0.0, (x or 0.0) * followed - made) for x in (there.low, there.value, there.high))
    more = Estimate(middle, low, min(high + blind * followed, float(prompts)))
    cost = searches * spent.each
    each = Estimate(
        cost / middle if middle > 0 else None, cost / more.high if more.high else None, cost / low if low > 0 else None
    )
    return (prompts, round(searches), more, _whole(cost), each)


def _weight(group: Group) -> float | None:
    if group["level"] == "recheck":
        return group["vehicles"] / group["searched"] if group["searched"] else None
    if group["probability"] is None:
        return None
    drawn, searched = group["drawn"], group["drawn_searched"]
    return Stratum("", group["probability"], group["vehicles"], drawn, searched, group["drawn_found"]).weight


def lanes(asked: Asked, costs: Costs) -> Section:
    """One lane more, or one less, at each site: how long vehicles would wait."""
    per_site: dict[str, list[Group]] = defaultdict(list)
    for group in rows(relations.arrivals(asked.counted)):
        per_site[group["site"]].append(group)
    counted = asked.counted.select("site", "lane").distinct().group_by("site").agg(lanes=_.count())
    number = {group["site"]: group["lanes"] for group in rows(counted)}
    table = [row for site in sorted(per_site) for row in _waits(site, per_site[site], number[site], costs)]
    currency = costs.currency
    columns = (
        "site",
        "lanes",
        "mean wait, s",
        "hours over 95 % full",
        f"{currency} of waiting a year",
        f"{currency} of lanes a year",
    )
    missing = [name for name in ("waiting_per_hour", "lane_per_year") if getattr(costs, name) is None]
    notes = (
        "Calculated, not measured: M/G/c from the arrivals of each hour and the time in the bay, all lanes of a site"
        " with one queue. Intervals are over days. Hours that are over-full do not hand on what is left.",
        *((f"No price is said for: {', '.join(missing)}.",) if missing else ()),
    )
    return Section("value.lanes", "One lane more, or one less", columns, tuple(table), notes)


def _waits(site: str, groups: Sequence[Group], lanes: int, costs: Costs) -> list[tuple[Cell, ...]]:
    timed, rolled = (sum(g[name] or 0 for g in groups) for name in ("timed", "rolled"))
    if not timed:
        return [(site, lanes, UNKNOWN, None, None, None)]
    roll_s = sum(g["roll_s"] or 0.0 for g in groups) / rolled if rolled else ROLL_IN_S
    bay_s = sum(g["bay_s"] or 0.0 for g in groups) / timed
    variance = max(0.0, sum(g["bay_ss"] or 0.0 for g in groups) / timed - bay_s**2)
    service_s = bay_s + roll_s
    vehicles = np.array([g["vehicles"] for g in groups], np.float64)
    days, day = np.unique([g["local_day"] for g in groups], return_inverse=True)
    rate_per_s = _rates(vehicles, day, np.array([g["local_hour"] for g in groups])) / 3_600.0
    found: list[tuple[Cell, ...]] = []
    for number in range(max(1, lanes - 1), lanes + 2):
        wait_s = mean_wait_s(rate_per_s, service_s, variance / service_s**2, number)
        waited, of = (np.asarray(np.bincount(day, per), np.float64) for per in (vehicles * wait_s, vehicles))
        full = int((rate_per_s * service_s / number > FULLEST).sum())
        hours = float(waited.sum()) / len(days) * 365 / 3_600
        waiting = None if costs.waiting_per_hour is None else hours * costs.waiting_per_hour
        kept = None if costs.lane_per_year is None else number * costs.lane_per_year
        name = f"{number}" + (" (now)" if number == lanes else "")
        found.append((site, name, _ratio(waited, of), full, _whole(waiting), _whole(kept)))
    return found


def _rates(vehicles: Floats, day: Ints, hour: Ints) -> Floats:
    """Vehicles an hour that were to be expected in each (day, hour), out of how many there were.

    What a day brought, spread as hours usually are; and of what an hour had beside that, the part that is more than
    chance (empirical Bayes on Poisson counts): bursts count, and noise is no burst.
    """
    usual = np.bincount(day, vehicles)[day] * (np.bincount(hour, vehicles) / vehicles.sum())[hour]
    dispersion = float(((vehicles - usual) ** 2).sum() / usual.sum())
    own = 1.0 - 1.0 / dispersion if dispersion > 1.0 else 0.0
    return np.asarray(usual + own * (vehicles - usual), np.float64)


def _ratio(waited: Floats, of: Floats) -> Estimate:
    """Mean wait over all vehicles, with an interval over days (ratio estimate, Student's t)."""
    value, days = float(waited.sum() / of.sum()), len(of)
    if days < 2:
        return Estimate(value, None, None)
    spread = waited - value * of
    error = float(np.sqrt((spread @ spread) * days / (days - 1))) / float(of.sum())
    reach = float(stdtrit(days - 1, (1 + CONFIDENCE) / 2)) * error
    return Estimate(value, max(0.0, value - reach), value + reach)


def _whole(figure: float | None) -> float | None:
    return None if figure is None else round(figure)
