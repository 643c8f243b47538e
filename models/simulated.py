"""Simulated passages with known truth: the rig's world, seen through the same evidence functions as on the lane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from calibration.response import Response
from drivers.reading import ClockQuality, GasSample, Point, Radiograph, RadiometricFrame, Stamp, WeatherSample
from fusion.evidence.context import context_values
from fusion.evidence.evidence import Evidence
from fusion.judge import gather
from fusion.passage import BodyType, Context, Passage, SensorSeries
from hil.world.lorry import Borrowed
from hil.world.passage import Gas, Recorded, draw_truth, record

NS = 1_000_000_000
BEGAN_NS = 1_767_225_600 * NS  # any date will do: nothing depends on it
_PASSAGE_ID = "00000000000000000000000000"


@dataclass(frozen=True, slots=True)
class Case:
    """One passage: how many hide, what it is, and for each look (evidence of the four modalities, context)."""

    people: int
    body_type: str
    wind_m_s: float  # that reaches the vehicle
    looks: tuple[tuple[tuple[Evidence, ...], dict[str, float]], ...]

    @property
    def occupied(self) -> bool:
        """Whether somebody hides in it."""
        return self.people > 0


def simulate(index: int, seed: int, looks_s: Sequence[float], scanned: float = 0.3) -> Case:
    """Case ``index`` of ``seed``; every second one holds people. The same arguments give the same case."""
    random = np.random.default_rng([seed, index])
    recorded = draw_recorded(random, index % 2 == 1, max(looks_s), scanned)
    return seen(recorded, looks_s)


def seen(recorded: Recorded, looks_s: Sequence[float]) -> Case:
    """What the daemon's functions make of it at each look."""
    passage, scene = passage_of(recorded), recorded.truth.scene
    untils = [BEGAN_NS + round(look_s * NS) for look_s in looks_s]
    looks = tuple((gather(passage, until), context_values(passage, until)) for until in untils)
    return Case(len(scene.people), scene.lorry.body_type, scene.around.at_vehicle_m_s, looks)


def draw_recorded(
    random: Generator, occupied: bool, seconds: float, scanned: float = 0.3, borrowed: Borrowed | None = None
) -> Recorded:
    """A passage of the world, measured."""
    return record(draw_truth(random, None if occupied else 0, scanned), seconds, random, borrowed)


def draw_passage(random: Generator, occupied: bool, seconds: float) -> Passage:
    """A passage as the lane would hold it."""
    return passage_of(draw_recorded(random, occupied, seconds))


def passage_of(recorded: Recorded) -> Passage:
    """The passage that a reader of its bundle would find."""
    truth = recorded.truth
    told, geophones = truth.declared, truth.geophones
    response = Response(geophones.counts_per_m_s, 20.0, (0j, 0j), geophones.poles)
    series = tuple(
        SensorSeries(name, "EHZ", BEGAN_NS, geophones.rate_hz, counts.astype(np.float64), response)
        for name, counts in recorded.counts.items()
    )
    weather = tuple(
        WeatherSample("mast", _stamp(at), float(wind), temperature_c=recorded.air_c)
        for at, wind in zip(recorded.wind_s.tolist(), recorded.wind_m_s, strict=True)
    )
    frames = tuple(
        RadiometricFrame("imager", _stamp(at), frame, number, "left")
        for number, (at, frame) in enumerate(zip(recorded.frames_s.tolist(), recorded.frames, strict=True))
    )
    return Passage(
        passage_id=_PASSAGE_ID,
        site="simulated",
        lane="1",
        began_utc_ns=BEGAN_NS,
        ended_utc_ns=None,
        body_type=BodyType(told.body_type),
        gross_mass_kg=told.gross_mass_kg,
        context=Context(
            told.engine, told.refrigeration, told.cargo, told.doors, told.driver, told.shelter, told.sealed_for_s
        ),
        vibration=series,
        gas=tuple(sample for gas in recorded.gas for sample in _samples(gas)),
        weather=weather,
        frames=frames,
        radiographs=_radiographs(recorded),
        ambient_k=truth.side.air_k,
    )


def _samples(gas: Gas) -> list[GasSample]:
    return [
        GasSample(gas.device, _stamp(at), Point(gas.point), float(ppm), temperature_c=gas.temperature_c)
        for at, ppm in zip(gas.at_s.tolist(), gas.ppm, strict=True)
    ]


def _radiographs(recorded: Recorded) -> tuple[Radiograph, ...]:
    if recorded.radiograph is None:
        return ()
    pixel_m = recorded.truth.beam.pixel_m
    picture = recorded.radiograph.astype(np.float32)
    return (
        Radiograph("scanner", _stamp(0.0), picture, pixel_m, pixel_m, None, None, None, None, Path("xray.dcs"), ""),
    )


def _stamp(second: float) -> Stamp:
    at = BEGAN_NS + round(second * NS)
    return Stamp(at, at, at, ClockQuality(True, None))
