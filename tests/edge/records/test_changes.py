from __future__ import annotations

from datetime import date, timedelta

import numpy as np

from edge.records.changes import FALSE_ALARMS_PER_DAY, Direction, Series, changes

DAYS = tuple((date(2025, 1, 1) + timedelta(days=i)).isoformat() for i in range(365))


def series(seed: int, shares: np.ndarray, each_day: int = 200) -> Series:
    random = np.random.default_rng(seed)
    of = random.poisson(each_day, len(shares))
    return Series("overrides", DAYS[: len(shares)], tuple(map(int, random.binomial(of, shares))), tuple(map(int, of)))


def test_a_share_that_doubles_is_seen_within_days_and_dated() -> None:
    shares = np.full(365, 0.05)
    shares[200:] = 0.10
    found = changes(series(1, shares))
    assert [(change.direction, change.name) for change in found] == [(Direction.UP, "overrides")]
    assert abs(DAYS.index(found[0].since) - 200) <= 3
    assert DAYS.index(found[0].seen) <= 210
    assert 0.04 < found[0].before < 0.06 and 0.08 < found[0].after < 0.12


def test_a_share_that_halves_is_seen_too() -> None:
    shares = np.full(365, 0.05)
    shares[200:] = 0.025
    assert [change.direction for change in changes(series(2, shares))] == [Direction.DOWN]


def test_an_alarm_without_cause_is_as_rare_as_it_says() -> None:
    years, false = 120, 0
    for seed in range(years):
        false += bool(changes(series(1000 + seed, np.full(365, 0.05))))
    # each way: at most one in ten years, so about 2 x 0.075 of these years; the interval of the reference makes it less
    assert false <= years * 2 * 275 * FALSE_ALARMS_PER_DAY


def test_windy_days_are_no_change() -> None:
    years, false = 60, 0
    for seed in range(years):
        false += bool(changes(series(5000 + seed, np.random.default_rng(seed).beta(2, 38, 365))))
    assert false <= years * 2 * 275 * FALSE_ALARMS_PER_DAY


def test_a_share_that_doubles_is_seen_in_windy_days_too() -> None:
    shares = np.random.default_rng(9).beta(4, 76, 365)
    shares[200:] *= 2.5
    assert [change.direction for change in changes(series(9, shares))] == [Direction.UP]


def test_a_short_record_raises_no_alarm() -> None:
    assert changes(series(3, np.full(60, 0.05))) == []
    assert changes(Series("x", (), (), ())) == []


def test_days_without_a_vehicle_say_nothing() -> None:
    quiet = series(4, np.full(365, 0.05))
    holes = Series(
        quiet.name,
        quiet.days,
        tuple(x if i % 3 else 0 for i, x in enumerate(quiet.cases)),
        tuple(n if i % 3 else 0 for i, n in enumerate(quiet.of)),
    )
    assert changes(holes) == []


def test_what_never_happened_can_only_go_up() -> None:
    shares = np.zeros(365)
    shares[250:] = 0.03
    assert [change.direction for change in changes(series(5, shares))] == [Direction.UP]
