from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.reading import ClockQuality
from edge import clock
from edge.clock import StepDetector, Tracking, both_clocks_ns, kernel_quality, parse_tracking, quality

# printed by chronyc 4.3
GOLDEN = (
    "7F000001,127.0.0.1,2,1795576289.748037819,-0.000003225,0.000000051,0.000000768,0.068,0.001,0.281,"
    "0.000010125,0.000002768,1.0,Normal"
)
UNSYNCHRONISED = (
    "00000000,,0,0.000000000,0.000000000,0.000000000,0.000000000,0.000,0.000,0.000,1.000000000,1.000000000,0.0,"
    "Not synchronised"
)
KERNEL = ClockQuality(True, 250_000)
NOW_S = 1795576290.0


def test_the_error_bound_is_offset_and_dispersion_and_half_the_delay() -> None:
    assert parse_tracking(GOLDEN) == Tracking(True, 2, 11056, 1795576289.748037819, 1.0)


def test_the_sign_of_the_offset_does_not_shrink_the_bound() -> None:
    assert parse_tracking(GOLDEN).max_error_ns == parse_tracking(GOLDEN.replace("-0.0", "0.0")).max_error_ns


def test_an_unsynchronised_chrony_overrules_the_kernel_and_gives_no_bound() -> None:
    assert quality(KERNEL, parse_tracking(UNSYNCHRONISED), NOW_S) == ClockQuality(False, None)


def test_a_chrony_that_leaves_the_kernels_flag_alone_is_believed() -> None:
    assert quality(ClockQuality(False, None), parse_tracking(GOLDEN), NOW_S) == ClockQuality(True, 11056)


def test_a_coasting_clock_is_as_good_as_the_kernel_says() -> None:
    assert not quality(ClockQuality(False, None), parse_tracking(GOLDEN), NOW_S + 60).synchronised
    assert quality(KERNEL, parse_tracking(GOLDEN), NOW_S + 60) == ClockQuality(True, 11056)


def test_without_chrony_the_kernel_decides() -> None:
    assert quality(KERNEL, None, NOW_S) is KERNEL


@pytest.mark.parametrize("line", ["", "506 Cannot talk to daemon", GOLDEN.replace("1.0,N", "nan,N"), GOLDEN + ",x"])
def test_a_line_that_is_not_chronys_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="chronyc"):
        parse_tracking(line)


@given(st.text(max_size=200))
def test_any_text_is_tracking_or_a_value_error(line: str) -> None:
    try:
        parse_tracking(line)
    except ValueError:
        return


def test_the_kernels_struct_has_its_208_bytes_and_it_answers() -> None:
    assert ctypes.sizeof(clock._Timex) == 208
    answer = kernel_quality()
    assert answer.synchronised == (answer.max_error_ns is not None)


def test_a_step_of_the_wall_clock_is_seen_once_with_its_direction() -> None:
    steps = StepDetector()
    assert [steps.see(*pair) for pair in ((10**18, 5), (10**18 + 10**9, 10**9 + 5), (10**18, 2 * 10**9 + 5))] == [
        None,
        None,
        -2 * 10**9,
    ]


def test_a_millisecond_is_no_step() -> None:
    steps = StepDetector()
    steps.see(0, 0)
    assert steps.see(10**9 + 10**6, 10**9) is None


def test_the_two_clocks_of_this_machine_keep_step() -> None:
    steps = StepDetector()
    assert steps.see(*both_clocks_ns()) is None
    assert steps.see(*both_clocks_ns()) is None
