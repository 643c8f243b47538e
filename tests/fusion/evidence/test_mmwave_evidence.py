from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.reading import ClockQuality, RadiometricFrame, Stamp, WeatherSample
from fusion.evidence.mmwave import FEATURES, mmwave_evidence
from fusion.passage import BodyType, Passage
from fusion.verdict import State
from hil.world.radiometry import Drive, Hidden, Side, View, film

SECOND = 1_000_000_000
BEGAN = 1_770_000_000 * SECOND
UNTIL = BEGAN + 60 * SECOND
VIEW = View(rows=48, columns=64, height_m=3.4, netd_k=0.45, channels_k=0.2, baseline_k=0.2, drift_k_per_s=0.0)
EMPTY = Side("soft_sided", 13.6, 286.0, 282.0, 80.0, 0.75, 0.03, 0.0, 0.0, (), seed=6)
SITTING = Hidden(along_m=6.0, up_m=1.8, pose="sitting", emissivity=0.7, uncovered=1.0)
ROLLS_IN = Drive(1.0, 3.0, 1)
AT_S = (*np.arange(0.0, 6.0, 0.25).tolist(), *np.arange(6.0, 16.0, 1.0).tolist())
Frames = Sequence[NDArray[np.float32]]


def stamp(at_s: float) -> Stamp:
    at = BEGAN + round(at_s * SECOND)
    return Stamp(at, at, at, ClockQuality(True, None))


def seen(frames: Frames, air_k: float = 282.0, status: str = "ok") -> Passage:
    readings = tuple(
        RadiometricFrame("imager", stamp(at_s), frame, number, "left", status)
        for number, (at_s, frame) in enumerate(zip(AT_S, frames, strict=False))
    )
    weather = WeatherSample("mast", stamp(0.0), 1.0, temperature_c=air_k - 273.15)
    return Passage("p", "calais", "3", BEGAN, None, body_type=BodyType.SOFT_SIDED, frames=readings, weather=(weather,))


def rolled_in(side: Side, view: View = VIEW, drive: Drive = ROLLS_IN) -> Frames:
    """Frames in which a place about 6 m from the rear end comes to stand in view."""
    for seed in range(200):
        taken = film(side, view, drive, AT_S, np.random.default_rng(seed))
        if 7.0 < taken.to_m < 14.0 and -1.0 < taken.from_m < 5.0:
            return taken.frames
    raise AssertionError("no such film")


def test_a_person_behind_the_curtain_stands_out_of_the_load() -> None:
    empty = mmwave_evidence(seen(rolled_in(EMPTY)), UNTIL)
    person = mmwave_evidence(seen(rolled_in(replace(EMPTY, people=(SITTING,)))), UNTIL)
    assert (empty.state, person.state) == (State.MEASURED, State.MEASURED)
    for feature in ("shape_log", "skin_share", "likeness"):
        assert person.features[feature] > empty.features[feature]
    assert person.features["contrast_k"] > 5.0
    assert person.features["persistence"] > 0.8
    assert person.where is not None
    assert person.where.startswith("left side")


def test_the_region_is_where_the_person_is_in_that_frame() -> None:
    frames = rolled_in(replace(EMPTY, people=(SITTING,)))
    found = mmwave_evidence(seen(frames), UNTIL).features
    frame = frames[int(found["region_frame"])]
    rows, columns = frame.shape
    top, bottom = round(found["region_top"] * rows), round(found["region_bottom"] * rows)
    left, right = round(found["region_left"] * columns), round(found["region_right"] * columns)
    inside = frame[top:bottom, left:right]
    assert float(inside.mean()) > float(np.median(frame[: round(0.7 * rows)])) + 2.0


def test_features_are_all_there_and_the_order_of_arrival_does_not_matter() -> None:
    passage = seen(rolled_in(replace(EMPTY, people=(SITTING,))))
    one = mmwave_evidence(passage, UNTIL)
    frames = list(passage.frames)
    turned = mmwave_evidence(replace(passage, frames=(*frames[10:], *frames[:10])), UNTIL)
    assert set(FEATURES) <= set(one.features)
    ours = {name: value for name, value in one.features.items() if name != "region_frame"}
    assert ours == {name: value for name, value in turned.features.items() if name != "region_frame"}


def test_a_shape_that_stays_in_the_imager_does_not_travel_with_the_vehicle() -> None:
    dirt = np.zeros((48, 64), np.float32)
    dirt[18:26, 30:36] = 6.0
    drives = Drive(0.5, None, 1)
    stuck = mmwave_evidence(seen([frame + dirt for frame in rolled_in(EMPTY, drive=drives)]), UNTIL)
    person = mmwave_evidence(seen(rolled_in(replace(EMPTY, people=(SITTING,)), drive=drives)), UNTIL)
    assert person.features["travels"] > 0.8
    assert stuck.features["shape_log"] < person.features["shape_log"]


def test_the_side_that_was_not_in_view_bounds_what_nobody_is_worth() -> None:
    stood = mmwave_evidence(seen(rolled_in(EMPTY, drive=Drive(0.0, 0.0, 1))), UNTIL)
    passed = mmwave_evidence(seen(rolled_in(EMPTY, drive=Drive(0.5, None, 1))), UNTIL)
    assert 0.0 < stood.features["coverage"] < passed.features["coverage"] <= 0.5
    unknown = mmwave_evidence(replace(seen(rolled_in(EMPTY)), body_type=BodyType.UNKNOWN), UNTIL)
    assert unknown.features["coverage"] == 0.0


@pytest.mark.parametrize("body", [BodyType.HARD_SIDED, BodyType.REFRIGERATED, BodyType.TANKER])
def test_an_opaque_side_is_out_of_limits_and_never_empty(body: BodyType) -> None:
    found = mmwave_evidence(replace(seen(rolled_in(EMPTY)), body_type=body), UNTIL)
    assert found.state is State.OUT_OF_LIMITS
    assert "opaque" in (found.cause or "")


@pytest.mark.parametrize(
    ("side", "air_k", "word"),
    [
        (replace(EMPTY, inside_k=306.0, air_k=306.0, sky_k=240.0), 306.0, "cross-over"),
        (replace(EMPTY, wet=1.0), 282.0, "wet"),
    ],
    ids=["inside as warm as skin", "wet curtain"],
)
def test_what_cannot_be_told_apart_is_out_of_limits_with_its_word(side: Side, air_k: float, word: str) -> None:
    found = mmwave_evidence(seen(rolled_in(side), air_k), UNTIL)
    assert found.state is State.OUT_OF_LIMITS
    assert word in (found.cause or "")


def drifting(frame: NDArray[np.float32], at_s: float) -> NDArray[np.float32]:
    return frame * np.float32(1 + 0.01 * at_s / 60)


def walking(frame: NDArray[np.float32], at_s: float) -> NDArray[np.float32]:
    return frame + np.random.default_rng(3).normal(0, 4.0 * at_s / 60, (48, 1)).astype(np.float32)


def hot(frame: NDArray[np.float32], at_s: float) -> NDArray[np.float32]:
    frame = frame.copy()
    frame[10:30, 5:30] = 500.0
    return frame


def absorber(frame: NDArray[np.float32], at_s: float) -> NDArray[np.float32]:
    return (300.0 + 0.01 * (frame - frame.mean())).astype(np.float32)


@pytest.mark.parametrize(
    ("change", "state", "word"),
    [
        (drifting, State.FAULTY, "gain drift"),
        (walking, State.FAULTY, "offset walk"),
        (hot, State.OUT_OF_LIMITS, "saturated"),
        (absorber, State.FAULTY, "calibration load"),
    ],
    ids=["gain drift", "offset walk", "sun or engine", "load left in view"],
)
def test_an_imager_that_lies_is_named_with_its_fault(
    change: Callable[[NDArray[np.float32], float], NDArray[np.float32]], state: State, word: str
) -> None:
    frames = [change(frame, at_s) for at_s, frame in zip(AT_S, rolled_in(EMPTY), strict=True)]
    found = mmwave_evidence(seen(frames), UNTIL)
    assert found.state is state
    assert word in (found.cause or "")


def test_frames_that_do_not_believe_themselves_make_it_faulty_in_their_words() -> None:
    found = mmwave_evidence(seen(rolled_in(EMPTY), status="frozen: the same pixels in 9 frames"), UNTIL)
    assert found.state is State.FAULTY
    assert "frozen" in (found.cause or "")


def test_no_frame_is_absent_and_a_lost_imager_says_why() -> None:
    nothing = seen([])
    assert mmwave_evidence(nothing, UNTIL).state is State.ABSENT
    lost = replace(nothing, states={"imager": "faulty: no frame for 3.1 s"}, modality_of={"imager": "mmwave"})
    assert mmwave_evidence(lost, UNTIL).cause == "imager: no frame for 3.1 s"


def test_bad_pixels_are_not_cold_places() -> None:
    frames = [frame.copy() for frame in rolled_in(EMPTY)]
    for frame in frames:
        frame[20:28, 20:26] = np.nan
    found = mmwave_evidence(seen(frames), UNTIL)
    assert found.state is State.MEASURED
    assert all(np.isfinite(value) for value in found.features.values())
