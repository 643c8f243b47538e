"""Threat projection, for practice only: what people would have added to the signals of a vehicle that held nobody.

A bundle goes in and another bundle comes out, with another name; the one that the lane recorded is only read. The
lane's own model then judges it as it would judge any other. Pictures are not projected into: a passage that has a frame
or a radiograph is refused, since it would show an empty load beside a signal of people.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, pi
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.response import Response
from drivers.reading import GasSample, Point, Stamp, VibrationBlock
from fusion.bundle.read import RESPONSES, BundleContents
from fusion.bundle.records import Piece
from fusion.bundle.write import BundleWriter

CO2_LITRES_PER_S = 0.0043  # a person at rest, SCIENCE 3
FREE_AIR_M3 = 45.0  # SCIENCE 3: a trailer half full
AIR_CHANGES_PER_H = 1.0  # SCIENCE 3, assumed: a box that stands still
BEAT_M_S = 0.65e-6  # SCIENCE 2.5: one person in 40 t
BEAT_MASS_KG = 40_000.0
BEAT_HZ, BEAT_WIDTH_S = 6.0, 0.08  # assumed: where a chassis passes a heart's recoil on
HIGHEST_PPM = 4_500.0  # under the life-safety rule: practice is not about alarms that need no judgement


class NotProjectable(ValueError):
    """One line: why nothing can be projected into this passage."""


@dataclass(frozen=True, slots=True)
class Threat:
    """What is projected. ``seed`` decides on rhythms and phases."""

    people: int
    aboard_s: float
    seed: int


def project(contents: BundleContents, threat: Threat, root: Path, passage_id: str) -> Path:
    """A new bundle below ``root``; it has no looks, so that it is judged as if every sample came at its own time.

    Raises:
        NotProjectable: it has pictures, or neither air from inside nor a sensor on the body with a response.
        BundleFault, OSError: it cannot be written.
    """
    if contents.frames or contents.radiographs:
        raise NotProjectable(f"{contents.name}: has pictures, into which nobody is projected")
    inside = [kept.reading for kept in contents.gas if kept.reading.point is Point.INSIDE]
    bodies = [piece for piece in contents.pieces if _response(contents, piece) is not None]
    if not inside and not bodies:
        raise NotProjectable(f"{contents.name}: no air from inside and no sensor on the body")
    document = contents.document
    draft: dict[str, Any] = document.model_dump(mode="json", by_alias=True, exclude={"looks", "digests"})
    draft |= {"passage_id": passage_id, "vehicle": draft["vehicle"] | {"plates": []}, "looks": []}
    writer = BundleWriter.begin(root, passage_id, draft)
    if RESPONSES in contents.files.entries:
        writer.responses(contents.files.read(RESPONSES))
    for number, piece in enumerate(piece for piece in contents.pieces if len(piece.counts)):
        writer.vibration(_block(contents, _with_hearts(contents, piece, threat), number))
    for kept in contents.gas:
        writer.gas(_with_breath(kept.reading, document.began_utc_ns, threat))
    for weather in contents.weather:
        writer.weather(weather.reading)
    return writer.complete(draft).path


def breath_ppm(at_s: float, threat: Threat) -> float:
    """CO2 above outside from the people aboard, ``at_s`` after the vehicle came: one zone, closed form (SCIENCE 3)."""
    changes_per_s = AIR_CHANGES_PER_H / 3600.0
    steady = threat.people * CO2_LITRES_PER_S * 1e-3 / (changes_per_s * FREE_AIR_M3) * 1e6
    return steady * (1.0 - exp(-changes_per_s * (threat.aboard_s + max(0.0, at_s))))


def hearts_m_s(at_s: NDArray[np.float64], mass_kg: float, threat: Threat) -> NDArray[np.float64]:
    """Velocity that the hearts aboard add, (n,) m/s at seconds ``at_s``: a short swing at each beat."""
    random = np.random.default_rng(threat.seed)
    added = np.zeros_like(at_s)
    swing = BEAT_M_S * BEAT_MASS_KG / mass_kg
    for _ in range(threat.people):
        period_s, phase_s = 60.0 / random.uniform(58.0, 95.0), random.uniform(0.0, 1.0)
        since_s = (at_s + phase_s + period_s / 2) % period_s - period_s / 2
        added += swing * np.exp(-((since_s / BEAT_WIDTH_S) ** 2)) * np.cos(2 * pi * BEAT_HZ * since_s)
    return added


def _response(contents: BundleContents, piece: Piece) -> Response | None:
    found = contents.responses.get((piece.sensor, piece.channel))
    return found if piece.sensor.startswith("B") and isinstance(found, Response) and len(piece.counts) else None


def _with_hearts(contents: BundleContents, piece: Piece, threat: Threat) -> Piece:
    response = _response(contents, piece)
    if response is None:
        return piece
    at_s = (piece.start_utc_ns - contents.document.began_utc_ns) / 1e9 + np.arange(len(piece.counts)) / piece.rate_hz
    counts_per_m_s = float(np.abs(response.at(np.array([BEAT_HZ]))[0]))
    mass_kg = contents.document.vehicle.gross_mass_kg or BEAT_MASS_KG
    return replace(piece, counts=np.rint(piece.counts + hearts_m_s(at_s, mass_kg, threat) * counts_per_m_s))


def _with_breath(sample: GasSample, began_utc_ns: int, threat: Threat) -> GasSample:
    if sample.point is not Point.INSIDE or sample.co2_ppm is None:
        return sample
    ppm = sample.co2_ppm + breath_ppm((sample.stamp.time_utc_ns - began_utc_ns) / 1e9, threat)
    return replace(sample, co2_ppm=round(min(ppm, max(HIGHEST_PPM, sample.co2_ppm)), 1))


def _block(contents: BundleContents, piece: Piece, number: int) -> VibrationBlock:
    devices = [device.name for device in contents.document.devices if device.modality == "vibration"]
    stamp = Stamp(piece.start_utc_ns, piece.start_utc_ns, 0, contents.document.clock.quality())
    name = devices[0] if devices else "chassis"
    return VibrationBlock(name, stamp, piece.sensor, piece.channel, piece.rate_hz, piece.counts, number)
