from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.reading import ClockQuality, GasSample, Point, Stamp
from fusion.decision import Thresholds, decide, life_safety
from fusion.passage import Context
from fusion.verdict import Level

BOTH = Thresholds(no_search_log10_lr=-0.8, search_log10_lr=1.5)
CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)


def gas(second: float, ppm: float | None, status: str = "ok", point: Point = Point.INSIDE) -> GasSample:
    at = round(second * 1e9)
    return GasSample("probe", Stamp(at, at, at, CLOCK), point, ppm, status)


@given(last_look=st.booleans(), on_timeout=st.sampled_from([Level.SEARCH, Level.RECHECK]))
def test_no_evidence_is_never_no_search(last_look: bool, on_timeout: Level) -> None:
    decision = decide([None] * 4, BOTH, last_look=last_look, on_timeout=on_timeout)
    assert decision.level is not Level.NO_SEARCH


@given(st.lists(st.none() | st.floats(), min_size=4, max_size=4))
def test_a_number_that_is_none_never_gives_no_search(values: list[float | None]) -> None:
    decision = decide([*values, float("nan")], BOTH, last_look=True, on_timeout=Level.RECHECK)
    assert decision.level is Level.RECHECK
    assert decision.reasons[0].code == "model.no_number"


@given(st.lists(st.floats(-1.5, 1.5), min_size=1, max_size=4))
def test_a_pattern_without_a_bound_never_says_no_search(values: list[float]) -> None:
    decision = decide(values, Thresholds(None, None), last_look=True, on_timeout=Level.RECHECK)
    assert decision.level is Level.RECHECK


def test_either_bound_ends_the_passage() -> None:
    assert decide([1.5, None, None, None], BOTH, last_look=False, on_timeout=Level.RECHECK).level is Level.SEARCH
    assert decide([-0.9, None, None, None], BOTH, last_look=False, on_timeout=Level.RECHECK).level is Level.NO_SEARCH
    assert not decide([0.2, None, None, None], BOTH, last_look=False, on_timeout=Level.RECHECK).final


def test_a_tie_at_the_miss_bound_is_not_no_search() -> None:
    assert decide([-0.8], BOTH, last_look=True, on_timeout=Level.RECHECK).level is Level.RECHECK


def test_time_out_may_not_be_configured_as_no_search() -> None:
    with pytest.raises(ValueError, match="never no_search"):
        decide([None], BOTH, last_look=True, on_timeout=Level.NO_SEARCH)


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        (gas(0, 5_000.0), "life.co2"),
        (gas(0, None, "over range"), "life.co2_over_range"),
        (gas(0, 41_000.0), "life.atmosphere"),
    ],
)
def test_high_co2_inside_opens_now(sample: GasSample, code: str) -> None:
    reason = life_safety([sample], Context(), refrigerated=False, emitter_agrees=False)
    assert reason is not None
    assert reason.code == code


def test_a_declared_emitter_silences_5000_only_while_it_agrees_and_never_40000() -> None:
    produce = Context(cargo="produce")
    assert life_safety([gas(0, 6_000.0)], produce, refrigerated=False, emitter_agrees=True) is None
    assert life_safety([gas(0, 6_000.0)], produce, refrigerated=False, emitter_agrees=False) is not None
    assert life_safety([gas(0, 40_000.0)], produce, refrigerated=False, emitter_agrees=True) is not None


def test_a_fast_rise_in_a_reefer_with_its_unit_off_opens_now() -> None:
    rising = [gas(0, 900.0), gas(30, 960.0)]
    off = Context(refrigeration="off")
    assert life_safety(rising, off, refrigerated=True, emitter_agrees=False) is not None
    assert life_safety(rising, off, refrigerated=False, emitter_agrees=False) is None


def test_outside_air_never_alarms() -> None:
    assert (
        life_safety([gas(0, 9_000.0, point=Point.AMBIENT)], Context(), refrigerated=False, emitter_agrees=False) is None
    )
