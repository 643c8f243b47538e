from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymseed
import pytest

from calibration.response import Response
from drivers.reading import ClockQuality, Stamp, WeatherSample
from edge.models.source import RELEASED, read_source
from fusion.classifier import Classifier
from fusion.decision import decide
from fusion.evidence.context import context_values
from fusion.evidence.evidence import silent
from fusion.evidence.vibration import vibration_evidence
from fusion.passage import BodyType, Context, Passage, SensorSeries
from fusion.verdict import MODALITIES, Level, State

START = 1_768_896_000_000_000_000
SECOND = 1_000_000_000


def lane(folder: Path, gain: float) -> Passage:
    traces = pymseed.MS3TraceList.from_file(str(folder / "vibration.mseed"), unpack_data=True)
    series = tuple(
        SensorSeries(
            trace.sourceid.split("_")[2],
            "EHZ",
            START,
            segment.samprate,
            np.asarray(segment.np_datasamples, np.float64),
            Response(gain, 5.0),
        )
        for trace in traces
        for segment in trace
    )
    wind = float((folder / "weather.csv").read_text().splitlines()[1].split(",")[1])
    weather = (WeatherSample("mast", Stamp(START, START, 0, ClockQuality(True, None)), wind),)
    context = Context(engine="off", refrigeration="off")
    return Passage(
        "01KFD0000000000000000000AA",
        "s",
        "1",
        START,
        None,
        BodyType.SOFT_SIDED,
        context=context,
        vibration=series,
        weather=weather,
    )


def without_weather(passage: Passage) -> Passage:
    return replace(passage, weather=())


def gusts_only(passage: Passage) -> Passage:
    (sample,) = passage.weather
    return replace(passage, weather=(replace(sample, wind_m_s=None, gust_m_s=14.0),))


def one_ground(passage: Passage) -> Passage:
    return replace(passage, vibration=tuple(series for series in passage.vibration if series.sensor != "G2"))


def as_it_is(passage: Passage) -> Passage:
    return passage


@pytest.mark.parametrize("gain", [1e7, 1e8, 1e9])
@pytest.mark.parametrize("change", [as_it_is, without_weather, gusts_only, one_ground])
@pytest.mark.parametrize("name", ["wind", "train", "next-lane-engine"])
def test_wind_and_ground_alone_give_neither_search_nor_no_search(
    cases: Path, name: str, change: Callable[[Passage], Passage], gain: float
) -> None:
    """The case states no gain; whatever it is, and whatever else is missing, the answer is the same."""
    source = read_source(RELEASED)
    manifest = source.read_manifest()
    classifier = Classifier(source.model, manifest.contract())
    passage = change(lane(cases / "88-vibration-wind-and-ground" / name, gain))
    for look, look_s in enumerate(manifest.looks_s):
        until = START + round(look_s * SECOND)
        vibration = vibration_evidence(passage, until)
        evidence = (vibration, *(silent(m, State.ABSENT, "none") for m in MODALITIES[1:]))
        given = classifier.judge(evidence, context_values(passage, until), look, -3.1)
        spoke = [part.modality for part in evidence if part.state is State.MEASURED]
        ratios = [given.log10_lr[0] if spoke else None]
        bounds = manifest.thresholds(spoke, look, 0.05, 0.05, 0.01)
        decision = decide(ratios, bounds, last_look=look == len(manifest.looks_s) - 1, on_timeout=Level.RECHECK)
        assert decision.level is Level.RECHECK, (look_s, vibration)


@pytest.mark.parametrize(("change", "figure"), [(as_it_is, "9.1 m/s"), (gusts_only, "14.0 m/s")])
def test_wind_is_out_of_limits_with_its_figure(cases: Path, change: Callable[[Passage], Passage], figure: str) -> None:
    found = vibration_evidence(change(lane(cases / "88-vibration-wind-and-ground" / "wind", 1e8)), START + 45 * SECOND)
    assert found.state is State.OUT_OF_LIMITS and figure in str(found.cause)


def test_the_span_of_the_train_is_left_out_and_the_rest_is_measured(cases: Path) -> None:
    passage = lane(cases / "88-vibration-wind-and-ground" / "train", 1e8)
    before, after = vibration_evidence(passage, START + 15 * SECOND), vibration_evidence(passage, START + 45 * SECOND)
    assert before.state is after.state is State.MEASURED
    assert before.quality is not None and after.quality is not None
    assert before.quality > 0.45 and after.quality < 0.7  # a third of 45 s is not weighed


def test_the_engine_of_the_next_lane_is_cancelled_by_the_ground_sensors(cases: Path) -> None:
    passage = lane(cases / "88-vibration-wind-and-ground" / "next-lane-engine", 1e8)
    found = vibration_evidence(passage, START + 45 * SECOND)
    assert found.state is State.MEASURED and found.quality is not None and found.quality > 0.9
    assert found.features["band_log"] < -1.5  # of what the body moves, less than a thirtieth is left
    assert found.features["beat_log"] < 0  # and that beats less than noise does
