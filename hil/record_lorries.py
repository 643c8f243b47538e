"""Years of lorries with a truth that is known, as arrays: what passes, who is inside, what the lane says and what is
found. `hil.record_lake` writes them as a record; `hil.record_truth` says what every printed rate should be.

Days differ: weather is of the day, a probe is down for whole days, some days are busy. Lorries queue: one is in the bay
at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Truths = NDArray[np.bool_]

NS = 1_000_000_000
DAY_S = 86_400
MODALITIES = ("vibration", "co2", "mmwave", "xray")
BODY_TYPES = ("soft_sided", "hard_sided", "refrigerated", "tanker", "open")
BODY_SHARES = (0.5, 0.2, 0.2, 0.05, 0.05)
CARGOES, CARGO_SHARES = ("general", "dense", "produce"), (0.7, 0.2, 0.1)
STRATA = ("soft", "insulated", "rest")
STRATUM_OF_BODY = np.array([0, 2, 1, 2, 2])
STRATUM_PROBABILITY = np.array([0.05, 0.02, 0.005])
LEVELS = ("no_search", "recheck", "search", "open_now")
NO_SEARCH, RECHECK, SEARCH, OPEN_NOW = range(4)
STATES = ("measured", "absent", "faulty", "out_of_limits")
MEASURED, ABSENT, FAULTY, OUT_OF_LIMITS = range(4)
CAUSES = (
    "",
    "no radiograph",
    "probe: silent for # s",
    "wind # m/s, limit # m/s",
    "hard-sided body",
    "no probe presented",
)
TECHNIQUES, TECHNIQUE_SHARES = ("physical", "dog", "heartbeat", "co2"), (0.6, 0.2, 0.1, 0.1)
SEARCHERS, SEARCHER_SHARES = ("officer", "contractor", "port"), (0.5, 0.4, 0.1)
REASONS = ("", "no_time", "load_seen", "other_information")
LOADS = ("pallets", "loose", "empty")
PLACES = ("front", "middle", "rear")
HOUR_SHARES = np.array([1.5] * 6 + [1.0] * 10 + [0.8] * 4 + [1.2] * 4) / 27.0  # busier by night
PRIOR_LOG10_ODDS = -3.0966


@dataclass(frozen=True, slots=True)
class World:
    """What the lanes live in. Shares are of lorries; log10 ratios are normal, clipped at 1.5."""

    occupied: float = 1 / 60  # far more than on any road, so that a small year has cases
    covert: float = 1 / 300
    search_log10_lr: float = 1.2
    no_search_log10_lr: float = -0.2
    occupied_log10_lr: tuple[float, ...] = (0.8, 0.5, 0.3)
    empty_log10_lr: tuple[float, ...] = (-0.6, -0.5, -0.2)
    spread: float = 0.5
    days_probe_down: float = 0.05
    co2_not_presented: float = 0.2
    wind_limit_m_s: float = 8.0
    day_to_day: float = 0.15  # of traffic, standard deviation over mean
    prompts_followed: float = 0.95
    rechecks_searched: float = 0.3
    audits_followed: float = 0.9
    searched_unasked: float = 0.002
    answered: float = 0.97  # outcomes that say whether the advice was followed
    bay_s: float = 32.0
    first_day: str = "2025-01-01"


@dataclass(frozen=True, slots=True)
class Lorries:
    """One lane's, in order of coming: arrays of one length. Indices are into the tuples above."""

    began_ns: Ints
    ended_ns: Ints
    waited_s: Floats
    body: Ints
    cargo: Ints
    wind_m_s: Floats
    occupied: Truths
    covert: Truths
    people: Ints
    load: Ints
    place: Ints
    aboard_s: Floats
    state: Ints  # (lorries, modalities)
    cause: Ints
    log10_lr: Floats
    level: Ints  # before the draw
    stratum: Ints
    probability: Floats
    drawn: Truths
    known: Truths  # somebody entered an outcome
    searched: Truths
    found: Truths
    technique: Ints
    by: Ints
    minutes: Floats
    answer: Ints  # 0 none, 1 agreed, 2 overridden
    reason: Ints
    secured: Truths

    def __len__(self) -> int:
        return len(self.began_ns)

    def of(self, which: Truths) -> Lorries:
        """Some of them."""
        return Lorries(**{field.name: getattr(self, field.name)[which] for field in fields(self)})


@dataclass(frozen=True, slots=True)
class Weather:
    """Of each day, for all lanes of a site: mean wind, and how busy it is."""

    wind_m_s: Floats
    busy: Floats


def weather(random: np.random.Generator, days: int, world: World) -> Weather:
    """A site's days."""
    shape = 1.0 / max(world.day_to_day, 1e-6) ** 2
    return Weather(random.gamma(4.0, 1.0, days), random.gamma(shape, 1.0 / shape, days))


def draw(random: np.random.Generator, days: Weather, each_day: float, world: World) -> Lorries:
    """A lane's lorries over these days."""
    arrived_s, day = _arrivals(random, days, each_day, world)
    n = len(arrived_s)
    body = random.choice(len(BODY_TYPES), n, p=BODY_SHARES)
    covert = random.random(n) < world.covert
    occupied = covert | (random.random(n) < world.occupied)
    wind = np.round(days.wind_m_s[day] * random.lognormal(0.0, 0.25, n), 1)
    down = random.random(len(days.busy)) < world.days_probe_down
    state, cause = _states(random, body, wind, down[day], world)
    log10_lr = _ratios(random, occupied, state, world)
    level = _levels(random, log10_lr, state, body, world)
    stratum = STRATUM_OF_BODY[body]
    probability = np.where(level == NO_SEARCH, STRATUM_PROBABILITY[stratum], 0.0)
    drawn = random.random(n) < probability
    began_s, ended_s = _bay(random, arrived_s, world)
    return Lorries(
        began_ns=(began_s * 1e3).astype(np.int64) * 1_000_000,
        ended_ns=(ended_s * 1e3).astype(np.int64) * 1_000_000,
        waited_s=began_s - arrived_s,
        body=body,
        cargo=random.choice(len(CARGOES), n, p=CARGO_SHARES),
        wind_m_s=wind,
        occupied=occupied,
        covert=covert,
        people=np.where(occupied, random.integers(1, 7, n), 0),
        load=random.integers(0, len(LOADS), n),
        place=random.integers(0, len(PLACES), n),
        aboard_s=np.round(random.gamma(2.0, 2_400.0, n)),
        state=state,
        cause=cause,
        log10_lr=log10_lr,
        level=level,
        stratum=stratum,
        probability=probability,
        drawn=drawn,
        **_outcomes(random, level, drawn, occupied, world),
    )


def _arrivals(random: np.random.Generator, days: Weather, each_day: float, world: World) -> tuple[Floats, Ints]:
    """Seconds since 1970, and the day's index."""
    counts = random.poisson(each_day * days.busy[:, None] * HOUR_SHARES[None, :])  # (days, hours)
    cell = np.repeat(np.arange(counts.size), counts.ravel())
    second = cell * 3_600.0 + random.random(len(cell)) * 3_600.0
    first_s = float(np.datetime64(world.first_day, "s").astype(np.int64))
    return first_s + np.sort(second), cell // 24


def _bay(random: np.random.Generator, arrived_s: Floats, world: World) -> tuple[Floats, Floats]:
    """From when to when each is in the bay: who comes while it is taken waits, and rolls in after the one before."""
    n = len(arrived_s)
    stay = np.maximum(10.0, random.normal(world.bay_s, world.bay_s / 5, n))
    roll_in = random.uniform(6.0, 14.0, n)
    behind = np.concatenate([[0.0], np.cumsum(stay[:-1] + roll_in[1:])]) if n else np.zeros(0)
    began = behind + np.maximum.accumulate(arrived_s - behind) if n else np.zeros(0)  # Lindley's recursion
    return began, began + stay


def _states(random: np.random.Generator, body: Ints, wind: Floats, down: Truths, world: World) -> tuple[Ints, Ints]:
    n = len(body)
    state, cause = np.zeros((n, 4), np.int64), np.zeros((n, 4), np.int64)
    for column, where, what, why in (
        (0, wind > world.wind_limit_m_s, OUT_OF_LIMITS, 3),
        (1, random.random(n) < world.co2_not_presented, ABSENT, 5),
        (1, down, FAULTY, 2),
        (2, body != 0, OUT_OF_LIMITS, 4),
        (3, np.ones(n, bool), ABSENT, 1),
    ):
        state[where, column], cause[where, column] = what, why
    return state, cause


def _ratios(random: np.random.Generator, occupied: Truths, state: Ints, world: World) -> Floats:
    means = np.array([(*world.empty_log10_lr, 0.0), (*world.occupied_log10_lr, 0.0)])[occupied.astype(int)]
    ratios = np.clip(random.normal(means, world.spread), -1.5, 1.5).round(6)
    return np.where(state == MEASURED, ratios, 0.0)


def _levels(random: np.random.Generator, log10_lr: Floats, state: Ints, body: Ints, world: World) -> Ints:
    total = log10_lr.sum(axis=1)
    level = np.where(total >= world.search_log10_lr, SEARCH, RECHECK)
    level[(total <= world.no_search_log10_lr) & (state == MEASURED).any(axis=1)] = NO_SEARCH
    level[(body == 2) & (random.random(len(body)) < 0.0005)] = OPEN_NOW
    return level


def _outcomes(
    random: np.random.Generator, level: Ints, drawn: Truths, occupied: Truths, world: World
) -> dict[str, Any]:
    n = len(level)
    chance = np.choose(level, [world.searched_unasked, world.rechecks_searched, world.prompts_followed, 1.0])
    searched = random.random(n) < np.where(drawn, world.audits_followed, chance)
    found = searched & occupied
    asked = (level >= SEARCH) | drawn
    known = searched | asked | (level == RECHECK)
    agreed = searched == asked
    answered = known & ((level != RECHECK) | drawn) & (random.random(n) < world.answered)
    why = np.where(searched, 3, 1 + random.integers(0, 2, n))
    return {
        "known": known,
        "searched": searched,
        "found": found,
        "technique": random.choice(len(TECHNIQUES), n, p=TECHNIQUE_SHARES),
        "by": random.choice(len(SEARCHERS), n, p=SEARCHER_SHARES),
        "minutes": random.gamma(4.0, np.where(found, 5.0, 2.0)).round(1),
        "answer": np.where(answered, np.where(agreed, 1, 2), 0),
        "reason": np.where(answered & ~agreed, why, 0),
        "secured": random.random(n) > 0.3,
    }
