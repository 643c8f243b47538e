"""The one vocabulary of the house: what a device said, when, and how well the clock knew it.

Every reading is immutable. Times are integer nanoseconds UTC; ``arrival_monotonic_ns`` is the lane's own
monotonic clock at the moment the bytes came in, kept beside the device's time because the two may disagree.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


class Modality(StrEnum):
    """What a device measures. The first four carry evidence; the rest are context."""

    VIBRATION = "vibration"
    CO2 = "co2"
    MMWAVE = "mmwave"
    XRAY = "xray"
    PRESENCE = "presence"
    PLATE = "plate"
    WEATHER = "weather"


class Point(StrEnum):
    """Where a gas sample was taken."""

    AMBIENT = "ambient"
    INSIDE = "inside"
    TRANSIT = "transit"


class ContactState(StrEnum):
    """Lamp of a closed heartbeat detector."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True)
class ClockQuality:
    """What the lane's clock knew of itself at that moment; ``max_error_ns`` is None where nobody can tell."""

    synchronised: bool
    max_error_ns: int | None


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a reading was true, when it arrived, and how good the clock was.

    ``time_utc_ns`` is the first sample's time, by the device where it has a clock, else the arrival.
    """

    time_utc_ns: int
    arrival_utc_ns: int
    arrival_monotonic_ns: int
    clock: ClockQuality


class Button(StrEnum):
    """A push-button by which an officer says what a search found."""

    NOT_SEARCHED = "not_searched"
    NOBODY = "nobody"
    FOUND = "found"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class VibrationBlock:
    """Consecutive samples of one sensor.

    ``samples`` is (n,) float64 in counts: the response is removed later, by ``calibration/``, once for a passage.
    ``record`` is the record as it came (miniSEED 2 or 3), or None where the wire carries none.
    """

    device: str
    stamp: Stamp
    sensor: str  # "B1".."B8" on the body, "G1".."G4" on the ground
    channel: str  # FDSN code: "EHZ"
    rate_hz: float
    samples: NDArray[np.float64]
    sequence: int
    status: str = "ok"
    timing_quality_pct: int | None = None
    record: bytes | None = None

    @property
    def end_utc_ns(self) -> int:
        """Time of the sample that would come next."""
        return self.stamp.time_utc_ns + round(len(self.samples) * 1e9 / self.rate_hz)


@dataclass(frozen=True, slots=True)
class GasSample:
    """One CO2 reading; ``co2_ppm`` is None exactly when ``status`` is not "ok"."""

    device: str
    stamp: Stamp
    point: Point
    co2_ppm: float | None
    status: str = "ok"
    temperature_c: float | None = None
    humidity_pct: float | None = None
    pressure_hpa: float | None = None


@dataclass(frozen=True, slots=True)
class PresenceChange:
    """A vehicle came onto the lane, or left it."""

    device: str
    stamp: Stamp
    present: bool
    status: str = "ok"


@dataclass(frozen=True, slots=True)
class ContactChange:
    """A closed detector's lamp changed."""

    device: str
    stamp: Stamp
    state: ContactState
    status: str = "ok"


@dataclass(frozen=True, slots=True)
class ButtonPress:
    """A push-button went down; it is no measurement of a vehicle."""

    device: str
    stamp: Stamp
    button: Button
    status: str = "ok"


@dataclass(frozen=True, slots=True)
class WeatherSample:
    """Outdoor wind, always; the shelter decides whether it reaches the vehicle."""

    device: str
    stamp: Stamp
    wind_m_s: float | None
    gust_m_s: float | None = None
    temperature_c: float | None = None
    pressure_hpa: float | None = None
    status: str = "ok"


@dataclass(frozen=True, slots=True)
class Radiograph:
    """An X-ray image of a vehicle, from a scan that others justified; it is evidence after the fact.

    ``transmission`` is (rows, columns) float32, share of the open beam that came through, 0..1, NaN where nothing
    was measured (missing rows, dead pixels): never 0. Spacing is between pixel centres at the detector.
    ``status`` is "ok" or what is wrong with it, in words. Text is as it was sent: escape before showing.
    """

    device: str
    stamp: Stamp  # ``time_utc_ns`` is the acquisition where its time is sure, else the arrival
    transmission: NDArray[np.float32]
    row_spacing_m: float | None
    column_spacing_m: float | None
    acquired_utc_ns: int | None  # None where the time of acquisition is not sure
    plate_text: str | None  # what stands for the vehicle in the object, untouched
    passage_hint: str | None  # our passage's id, where the scanner was told it and sends it back
    dose_usv: float | None  # None is unknown, never 0
    path: Path  # the stored object
    sop_uid: str  # as sent, perhaps not a valid UID; never a file name
    status: str = "ok"


@dataclass(frozen=True, slots=True)
class RadiometricFrame:
    """One image of brightness temperature: row 0 at the top, columns along the vehicle.

    ``frame_k`` is (rows, columns) float32, kelvin, NaN where a pixel is bad: never 0, and never of another frame.
    ``time_utc_ns`` of the stamp is the arrival of the frame's first packet: an imager's clock knows no UTC.
    ``status`` is "ok" or what is wrong, in words ("frozen: ...", "stalled scan: ...", "dead channel: ...").
    """

    device: str
    stamp: Stamp
    frame_k: NDArray[np.float32]
    block_id: int  # the imager's own frame number, which may wrap or start again
    side: str  # of the vehicle: "left", "right", "top"
    status: str = "ok"


Reading = (
    VibrationBlock
    | GasSample
    | PresenceChange
    | ContactChange
    | ButtonPress
    | WeatherSample
    | Radiograph
    | RadiometricFrame
)
