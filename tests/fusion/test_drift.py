from __future__ import annotations

import numpy as np
import pytest

from fusion.drift import MOVED_AT, RECENT, REFERENCE, TIMES_BOTH, TIMES_MORE, Background, Bets


def played(stated: float, true: float, events: int, seed: int, times: tuple[float, ...] = TIMES_MORE) -> Bets:
    bets = Bets(times)
    for draw in np.random.default_rng(seed).random(events).tolist():
        bets.see(stated, draw < true)
    return bets


def test_where_the_word_is_true_few_ever_reach_twenty() -> None:
    lanes = 300
    reached = sum(played(0.01, 0.01, 600, seed, TIMES_BOTH).highest >= 20 for seed in range(lanes))
    assert reached <= 0.05 * lanes  # Ville


def test_the_capital_is_fair_over_all_ways_that_three_events_can_go() -> None:
    said = (0.1, 0.02, 0.3)
    total = 0.0
    for way in range(8):
        bets, chance = Bets(TIMES_BOTH), 1.0
        for index, stated in enumerate(said):
            happened = bool(way >> index & 1)
            bets.see(stated, happened)
            chance *= stated if happened else 1 - stated
        total += chance * bets.capital
    assert total == pytest.approx(1.0, abs=1e-12)


def test_fewer_than_stated_is_no_reason_to_say_that_there_are_more() -> None:
    assert played(0.01, 0.0, 5_000, 1).highest == 1.0


def test_a_rate_that_rises_fourfold_is_found_also_after_a_long_quiet_time() -> None:
    bets = played(0.01, 0.01, 3_000, 5)
    assert not bets.moved
    for draw in np.random.default_rng(6).random(1_500).tolist():
        bets.see(0.01, draw < 0.04)
    assert bets.moved and bets.times in (4.0, 8.0)
    assert bets.highest >= MOVED_AT and bets.seen == 4_500 and bets.expected == pytest.approx(45)


def test_finds_that_stay_away_are_found_too() -> None:
    bets = played(0.3, 0.05, 200, 3, TIMES_BOTH)
    assert bets.moved and bets.times < 1


def test_what_is_certain_is_no_bet() -> None:
    bets = Bets(TIMES_BOTH)
    bets.see(1.0, True)
    bets.see(0.0, False)
    assert (bets.seen, bets.capital) == (0, 1.0)


def fed(*groups: tuple[int, float]) -> Background:
    background, random = Background(), np.random.default_rng(4)
    for count, bias_db in groups:
        for error_db in random.normal(bias_db, 1.5, count).tolist():
            background.see(error_db)
    return background


def test_the_spread_of_the_background_error_is_told_once_there_are_enough() -> None:
    assert fed((29, 0.0)).error().sigma_db is None
    found = fed((200, 0.5)).error()
    assert found.bias_db == pytest.approx(0.5, abs=0.5) and found.sigma_db == pytest.approx(1.5, abs=0.4)
    assert found.moved_db is None and not found.moved


@pytest.mark.parametrize(("step_db", "moved"), [(0.0, False), (0.5, False), (4.0, True), (-4.0, True)])
def test_a_background_that_moved_is_told_against_the_first_vehicles(step_db: float, moved: bool) -> None:
    found = fed((REFERENCE, 0.0), (RECENT, step_db)).error()
    assert found.moved_db == pytest.approx(step_db, abs=0.7)
    assert found.moved is moved


def test_a_lorry_with_people_in_it_does_not_move_the_middle() -> None:
    background = fed((REFERENCE + RECENT, 0.0))
    before = background.error()
    background.see(30.0)
    after = background.error()
    assert after.bias_db == pytest.approx(before.bias_db, abs=0.2) and not after.moved
