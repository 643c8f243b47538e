from __future__ import annotations

from pathlib import Path

import numpy as np
import pymseed
import pytest

import models
from calibration.response import Response
from drivers.reading import ClockQuality, Stamp, WeatherSample
from fusion.classifier import Classifier
from fusion.decision import decide
from fusion.evidence.context import context_values
from fusion.evidence.evidence import silent
from fusion.evidence.vibration import vibration_evidence
from fusion.passage import BodyType, Context, Passage, SensorSeries
from fusion.verdict import MODALITIES, Level, State
from models.manifest import read_manifest

START = 1_768_896_000_000_000_000
SECOND = 1_000_000_000
RESPONSE = Response(1e8, 5.0)  # the case states none; this makes its ground some 2 um/s


def lane(folder: Path) -> Passage:
    traces = pymseed.MS3TraceList.from_file(str(folder / "vibration.mseed"), unpack_data=True)
    series = tuple(
        SensorSeries(
            trace.sourceid.split("_")[2],
            "EHZ",
            START,
            segment.samprate,
            np.asarray(segment.np_datasamples, np.float64),
            RESPONSE,
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


@pytest.mark.parametrize("name", ["wind", "train", "next-lane-engine"])
def test_wind_and_ground_alone_give_neither_search_nor_no_search(cases: Path, name: str) -> None:
    released = Path(models.__file__).parent / "released"
    manifest = read_manifest((released / "concealment-1.json").read_bytes())
    classifier = Classifier((released / "concealment-1.onnx").read_bytes(), manifest.contract())
    passage = lane(cases / "88-vibration-wind-and-ground" / name)
    for look, look_s in enumerate(manifest.looks_s):
        until = START + round(look_s * SECOND)
        vibration = vibration_evidence(passage, until)
        if name == "wind":
            assert vibration.state is State.OUT_OF_LIMITS and "9.1 m/s" in str(vibration.cause)
        evidence = (vibration, *(silent(m, State.ABSENT, "none") for m in MODALITIES[1:]))
        given = classifier.judge(evidence, context_values(passage, until), look, -3.1)
        spoke = [part.modality for part in evidence if part.state is State.MEASURED]
        ratios = [given.log10_lr[0] if spoke else None]
        bounds = manifest.thresholds(spoke, look, 0.05, 0.05, 0.01)
        decision = decide(ratios, bounds, last_look=look == len(manifest.looks_s) - 1, on_timeout=Level.RECHECK)
        assert decision.level is Level.RECHECK, (look_s, vibration)
