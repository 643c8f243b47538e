from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from drivers.reading import ClockQuality, PresenceChange, Stamp
from edge.passage_gate import ClosedPassage, Closing, OpenPassage, close, overdue, step

CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)


def presence(second: float, present: bool, utc_s: float | None = None) -> PresenceChange:
    at = round(second * 1e9)
    utc = at if utc_s is None else round(utc_s * 1e9)
    return PresenceChange("gate", Stamp(utc, utc, at, CLOCK), present)


def play(changes: list[PresenceChange]) -> tuple[OpenPassage | None, list[ClosedPassage]]:
    current: OpenPassage | None = None
    closed: list[ClosedPassage] = []
    for change in changes:
        current, ended = step(current, change, lambda n: bytes(n))
        if ended is not None:
            closed.append(ended)
    return current, closed


@given(st.lists(st.booleans(), max_size=30))
def test_passages_are_as_many_as_falling_edges(states: list[bool]) -> None:
    current, closed = play([presence(second, state) for second, state in enumerate(states)])
    edges = sum(1 for before, after in zip([False, *states], states, strict=False) if before and not after)
    assert len(closed) == edges
    assert (current is not None) == (bool(states) and states[-1])


def test_a_clock_that_steps_back_does_not_turn_a_passage_around() -> None:
    _, closed = play([presence(10, True, utc_s=1_000), presence(40, False, utc_s=2)])
    assert closed[0].ended_utc_ns - closed[0].began_utc_ns == 30_000_000_000


def test_two_vehicles_are_two_passages_with_two_ids() -> None:
    _, closed = play([presence(1, True), presence(2, False), presence(3, True), presence(4, False)])
    assert closed[0].passage_id != closed[1].passage_id
    assert [passage.closing for passage in closed] == [Closing.LEFT, Closing.LEFT]


def test_an_input_that_is_stuck_on_is_overdue_and_closed_as_such() -> None:
    current, _ = play([presence(0, True)])
    assert not overdue(current, round(899e9))
    assert overdue(current, round(901e9))
    assert current is not None
    assert close(current, round(901e9), Closing.TOO_LONG).closing is Closing.TOO_LONG
