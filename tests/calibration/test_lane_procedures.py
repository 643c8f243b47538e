"""The lane's switches and clock: what was planted is found, and a bad set-up never passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from calibration.procedures import lane
from calibration.procedures.procedure import BadSetup, Outcome
from calibration.raw import Raw
from calibration.record import RecordFault
from hil.world.lane_switches import Lane, on

POLL_S = 0.05
Cert = Callable[..., dict[str, Any]]


def drive(one: Lane, seed: int, length_m: float = 13.6, speed_m_s: float = 1.2, brakes: float = 0.0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    t = np.arange(0.0, 30.0, POLL_S) + random.uniform(0, POLL_S)
    return {"t_s": t, "on": on(one, length_m, t - 2.0, speed_m_s * random.uniform(0.8, 1.2), brakes), "utc_s": t + 1e9}


def raw_of(cert: Cert, *drives: dict[str, Any], **about: Any) -> Raw:
    arrays = {f"drive-{n}/{name}": array for n, one in enumerate(drives, 1) for name, array in one.items()}
    told = {
        "inputs": [0, 1],
        "poll_s": POLL_S,
        "debounce_s": 0.2,
        "references": {"lorry": cert("lorry", 13.6, "m", 0.02)},
    }
    return Raw(arrays, told | about)


def why(run: Callable[[], Outcome]) -> str:
    try:
        found = run()
    except (BadSetup, RecordFault) as fault:
        return str(fault)
    assert not found.passed
    return "; ".join(check.text() for check in found.checks if not check.passed)


def test_lane_finds_the_spacing_of_its_switches_also_of_a_lorry_that_brakes(cert: Cert) -> None:
    one = Lane(2.4)
    found = lane.switches(raw_of(cert, *(drive(one, seed, brakes=0.02) for seed in range(4))))
    assert found.passed, why(lambda: found)
    assert found.result("spacing").covers(2.4)
    gappy = Lane(2.4, gap_m=(3.0, 3.12))  # between cab and box, 0.1 s at walking pace
    found = lane.switches(raw_of(cert, *(drive(gappy, seed) for seed in range(4))))
    assert found.passed, why(lambda: found)
    assert found.result("longest gap").value == pytest.approx(0.1, abs=0.1)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda one: one | {"on": one["on"][:, ::-1]}, "crossed"),
        (lambda one: one | {"on": one["on"] * [1, 0]}, "input 1 never came on"),
        (lambda one: one | {"on": np.maximum(one["on"], [0, 1])}, "before the lorry came"),
        (lambda one: one | {"on": one["on"] * (np.abs(one["t_s"] - 8)[:, None] > 1)}, "two vehicles"),
        (lambda one: one | {"on": one["on"] * (np.abs(one["t_s"] - 8)[:, None] > 0.3)}, "set debounce_s to"),
        (lambda one: {name: array[:5] for name, array in one.items()}, "5 polls"),
    ],
    ids=["crossed inputs", "second unplugged", "stuck on", "two vehicles", "a gap above debounce", "nobody drove"],
)
def test_lane_never_passes_a_bad_set_up(spoil: Any, said: str, cert: Cert) -> None:
    drives = [spoil(drive(Lane(2.4), seed)) for seed in range(4)]
    assert said in why(lambda: lane.switches(raw_of(cert, *drives)))


def test_lane_refuses_too_little_and_drives_that_differ(cert: Cert) -> None:
    one = [drive(Lane(2.4), seed) for seed in range(4)]
    assert "2 drives" in why(lambda: lane.switches(raw_of(cert, *one[:2])))
    assert "1 presence input" in why(lambda: lane.switches(raw_of(cert, *one, inputs=[0])))
    mixed = [*one[:3], drive(Lane(2.4), 9, length_m=7.0)]
    assert "drive steadily" in why(lambda: lane.switches(raw_of(cert, *mixed)))


def pulses(offset_s: float = 0.0, every_s: float = 10.0, seed: int = 1, hand_s: float = 0.05) -> Raw:
    random = np.random.default_rng(seed)
    began = 1_770_000_000.0 - 4.0
    utc = began + np.arange(0.0, 66.0, POLL_S) + random.uniform(0, POLL_S)
    lit = np.zeros(len(utc))
    for full in np.arange(1_770_000_000.0, 1_770_000_061.0, every_s):
        start = full + offset_s + random.normal(0, hand_s)
        lit[(utc >= start) & (utc < start + 0.6)] = 1
    reference = {"name": "receiver", "value": 0.0, "unit": "s", "expanded_uncertainty": 0.02}
    told = {"inputs": [0, 1], "poll_s": POLL_S, "watch": "02:40", "references": {"time": reference}}
    return Raw({"pulses/utc_s": utc, "pulses/on": np.stack([0 * lit, lit], axis=1)}, told)


def told(raw: Raw, **about: Any) -> Raw:
    return Raw(raw.arrays, {**raw.about, **about})


def test_clock_finds_the_offset_and_fails_one_that_is_too_large() -> None:
    found = lane.clock(pulses(0.3))
    assert found.passed, why(lambda: found)
    assert found.result("offset").covers(0.3)
    assert "the clock is off" in why(lambda: lane.clock(pulses(-2.5)))


def test_clock_never_passes_a_bad_set_up() -> None:
    assert "5 are needed" in why(lambda: lane.clock(pulses(every_s=30.0)))
    assert "pulses agree" in why(lambda: lane.clock(pulses(hand_s=1.0)))
    assert "stands on" in why(
        lambda: lane.clock(Raw({**pulses().arrays, "pulses/on": np.ones((1320, 2))}, pulses().about))
    )
    assert "--set watch=" in why(lambda: lane.clock(told(pulses(), watch="")))
    assert "time zone is wrong" in why(lambda: lane.clock(told(pulses(), watch="03:40")))
    assert "0 came" in why(lambda: lane.clock(told(pulses(), input=0)))
    assert "none of the inputs" in why(lambda: lane.clock(told(pulses(), input=7)))
    near_midnight = told(pulses(), watch="2:41")
    assert lane.clock(near_midnight).passed
