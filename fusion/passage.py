"""One vehicle in the lane, and everything that was measured of it: what evidence is computed from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from calibration.response import Response
from drivers.reading import ContactChange, GasSample, Radiograph, RadiometricFrame, WeatherSample
from fusion.growing import Growing


class BodyType(StrEnum):
    """Body of the vehicle, in the words of border staff."""

    SOFT_SIDED = "soft_sided"
    HARD_SIDED = "hard_sided"
    REFRIGERATED = "refrigerated"
    TANKER = "tanker"
    OPEN = "open"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of the vehicle and its surroundings; words as in the passage bundle."""

    engine: str = "unknown"  # on, off, unknown
    refrigeration: str = "unknown"  # on, off, unknown
    cargo: str = "unknown"  # empty, general, dense, produce, dry_ice, live_animals, unknown
    doors: str = "unknown"  # closed, open, unknown
    driver: str = "unknown"  # out, in, unknown
    shelter: str = "unknown"  # shed, open, unknown
    sealed_for_s: float | None = None


@dataclass(frozen=True, slots=True)
class SensorSeries:
    """All samples of one vibration sensor on one time axis.

    ``counts`` is (n,) float64, NaN where nothing was measured (gaps) or where two records disagree; sample i is at
    ``start_utc_ns + i / rate_hz``. ``response`` is None where counts cannot become m/s, and ``fault`` then says why.
    ``growing`` spares a look the comparison with what an earlier one saw, where ``counts`` are its latest.
    """

    sensor: str  # "B1".."B8", "G1".."G4"
    channel: str
    start_utc_ns: int
    rate_hz: float
    counts: NDArray[np.float64]
    response: Response | None
    fault: str | None = None
    growing: Growing | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage, as far as it was measured at one moment; ``states``: device -> "ok" or "<state>: <cause>".

    ``radiographs`` are those that had joined by then, in the order of joining; each is evidence whatever its own time.
    ``ambient_k`` and ``sky_k`` are the outdoor air and the sky as the imager's site knows them; None is unknown.
    """

    passage_id: str
    site: str
    lane: str
    began_utc_ns: int
    ended_utc_ns: int | None
    body_type: BodyType = BodyType.UNKNOWN
    gross_mass_kg: float | None = None
    context: Context = field(default_factory=Context)
    vibration: tuple[SensorSeries, ...] = ()
    gas: tuple[GasSample, ...] = ()
    weather: tuple[WeatherSample, ...] = ()
    contacts: tuple[ContactChange, ...] = ()
    frames: tuple[RadiometricFrame, ...] = ()
    radiographs: tuple[Radiograph, ...] = ()
    ambient_k: float | None = None
    sky_k: float | None = None
    modality_of: Mapping[str, str] = field(default_factory=dict)  # device name -> modality
    states: Mapping[str, str] = field(default_factory=dict)
    clock_synchronised: bool = True
