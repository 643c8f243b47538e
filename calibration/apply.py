"""The one place where calibrations touch readings: counts and shown values in, SI out, and the record that made it so.

``settings`` of a device's active record, by name:

- vibration: ``response.<sensor>`` {sensitivity_counts_per_m_s, frequency_hz, zeros, poles} and ``channels`` (the sensor
  that a channel claims -> the sensor that it is);
- co2: ``scale`` {gain, offset_ppm}: true = gain x shown + offset, and ``line`` {delay_s, t90_s}: the air was sampled
  ``delay_s`` before it was read;
- mmwave: ``channels`` {gain, offset_k} per channel and ``flat`` {column_k} across them, each with its ``axis``, what a
  channel paints ("rows" or "columns"); ``bad`` [[row, column], …], -1 for a whole line;
- xray: ``dark`` and ``air`` per detector element, share of full scale, and ``bad`` elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.record import Kept, utc_ns
from calibration.response import Response
from drivers.reading import GasSample, Radiograph, RadiometricFrame, Reading, VibrationBlock

MAKE_SI = ("response.", "channels", "scale", "line", "flat", "bad", "dark", "air")  # settings that change numbers
LOWEST_PPM = 1.0  # physical, as in the CO2 drivers
DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Applied:
    """A reading in SI, and the record that made it so; None: it is as the device gave it."""

    reading: Reading
    record_id: str | None


@dataclass(frozen=True, slots=True)
class Calibrations:
    """What is in force on a lane, at one moment: device -> its active entry."""

    active: Mapping[str, Kept]

    def apply(self, reading: Reading) -> Applied:
        """The reading in SI."""
        kept = self.active.get(reading.device)
        if kept is None or not _makes_si(kept):
            return Applied(reading, None)
        settings = {name: setting.value for name, setting in kept.record.settings.items()}
        return Applied(applied(reading, settings), kept.id)

    def applied(self) -> tuple[Kept, ...]:
        """The records that make readings SI, by the names of their devices."""
        return tuple(kept for _, kept in sorted(self.active.items()) if _makes_si(kept))

    def record_ids(self) -> dict[str, str]:
        """Device -> id of the record that makes its readings SI."""
        return {kept.record.device.name: kept.id for kept in self.applied()}

    def responses(self, device: str) -> dict[str, Response]:
        """Sensor -> response, of a vibration device."""
        kept = self.active.get(device)
        settings = {} if kept is None else kept.record.settings
        return {
            name.removeprefix("response."): response_of(setting.value)
            for name, setting in settings.items()
            if name.startswith("response.")
        }

    def expiry(self, device: str, now_utc_ns: int) -> float | None:
        """Days since the first of a device's settings ran out; negative while all hold; None without a record."""
        kept = self.active.get(device)
        if kept is None or not kept.record.settings:
            return None
        first = min(utc_ns(setting.valid_until_utc) for setting in kept.record.settings.values())
        return (now_utc_ns - first) / DAY_NS

    def warning(self, device: str, now_utc_ns: int) -> str | None:
        """A line for people where a calibration has expired."""
        days = self.expiry(device, now_utc_ns)
        return None if days is None or days < 0 else f"calibration expired {days:.1f} days ago"

    def state(self, device: str, now_utc_ns: int, grace_days: float | None) -> str | None:
        """``faulty: calibration expired`` once the site's days of grace are over; None while the device is used.

        Args:
            device: its name.
            now_utc_ns: the moment.
            grace_days: site policy; None: warned only, for ever.
        """
        days = self.expiry(device, now_utc_ns)
        if days is None or grace_days is None or days < 0 or days < grace_days:
            return None
        return "faulty: calibration expired"


def _makes_si(kept: Kept) -> bool:
    return any(name.startswith(MAKE_SI) for name in kept.record.settings)


def applied(reading: Reading, settings: Mapping[str, Any]) -> Reading:
    """A reading by these settings."""
    if isinstance(reading, VibrationBlock):
        return _vibration(reading, settings)
    if isinstance(reading, GasSample):
        return _gas(reading, settings)
    if isinstance(reading, RadiometricFrame):
        return replace(reading, frame_k=frame(reading.frame_k, settings))
    if isinstance(reading, Radiograph):
        return replace(reading, transmission=lines(reading.transmission, settings))
    return reading


def _vibration(block: VibrationBlock, settings: Mapping[str, Any]) -> VibrationBlock:
    """Counts stay counts (the response is removed once a passage); a swapped channel gets its right name."""
    sensor = settings.get("channels", {}).get(block.sensor, block.sensor)
    return block if sensor == block.sensor else replace(block, sensor=sensor)


def _gas(sample: GasSample, settings: Mapping[str, Any]) -> GasSample:
    line, scale = settings.get("line", {}), settings.get("scale")
    delay_ns = round(float(line.get("delay_s", 0.0)) * 1e9)
    sample = replace(sample, stamp=replace(sample.stamp, time_utc_ns=sample.stamp.time_utc_ns - delay_ns))
    if scale is None or sample.co2_ppm is None:
        return sample
    ppm = ppm_of(sample.co2_ppm, scale)
    if ppm < LOWEST_PPM:
        cause = f"faulty: {sample.co2_ppm:.0f} ppm shown is {ppm:.0f} ppm by its calibration; calibrate it again"
        return replace(sample, co2_ppm=None, status=cause)
    return replace(sample, co2_ppm=ppm)


def ppm_of(shown_ppm: float, scale: Mapping[str, float]) -> float:
    """True CO2 of a shown one, ppm."""
    return float(scale["gain"]) * shown_ppm + float(scale["offset_ppm"])


def frame(frame_k: NDArray[np.float32], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """(rows, columns) brightness temperature in K: gain and offset of each channel, the baseline across, bad ones NaN.

    Raises:
        ValueError: the calibration is of an imager with another number of channels or columns.
    """
    image = np.array(frame_k, np.float64)
    if (channels := settings.get("channels")) is not None:
        gain, offset = np.asarray(channels["gain"], np.float64), np.asarray(channels["offset_k"], np.float64)
        turned = channels.get("axis") == "columns"
        _fits("channels", len(gain), image.shape[1 if turned else 0])
        image = gain * image + offset if turned else gain[:, None] * image + offset[:, None]
    if (flat := settings.get("flat")) is not None:
        across = np.asarray(flat["column_k"], np.float64)
        turned = flat.get("axis") == "columns"
        _fits("pixels across", len(across), image.shape[0 if turned else 1])
        image = image - (across[:, None] if turned else across[None, :])
    rows, columns = image.shape
    for row, column in settings.get("bad", ()):  # -1: the whole line
        if row < rows and column < columns:
            image[row if row >= 0 else slice(None), column if column >= 0 else slice(None)] = np.nan
    return image.astype(np.float32)


def _fits(what: str, calibrated: int, found: int, of: str = "frame") -> None:
    if calibrated != found:
        raise ValueError(f"calibration of {calibrated} {what}, a {of} of {found}: calibrate again")


def lines(transmission: NDArray[np.float32], settings: Mapping[str, Any]) -> NDArray[np.float32]:
    """(rows, columns) of a line scan: (I - dark) / (air - dark) for each detector element, bad ones NaN.

    Elements run along the rows' axis (each column is one exposure).

    Raises:
        ValueError: the calibration is of a detector with another number of elements.
    """
    dark, air = settings.get("dark"), settings.get("air")
    if dark is None or transmission.size == 0:
        return transmission
    _fits("elements", len(dark), transmission.shape[0], "picture")
    below = np.asarray(dark, np.float64)[:, None]
    above = np.asarray(air, np.float64)[:, None] - below if air is not None else 1.0 - below
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((transmission - below) / above, 0.0, 1.0)
    share[[element for element in settings.get("bad", ()) if 0 <= element < len(share)]] = np.nan
    return share.astype(np.float32)


def response_of(value: Mapping[str, Any]) -> Response:
    """A response out of a record's setting. Raises ValueError, KeyError."""
    return Response(
        float(value["sensitivity_counts_per_m_s"]),
        float(value["frequency_hz"]),
        tuple(complex(*root) for root in value["zeros"]),
        tuple(complex(*root) for root in value["poles"]),
    )


def response_setting(response: Response) -> dict[str, Any]:
    """The inverse of `response_of`."""
    return {
        "sensitivity_counts_per_m_s": response.sensitivity_counts_per_m_s,
        "frequency_hz": response.frequency_hz,
        "zeros": [[root.real, root.imag] for root in response.zeros],
        "poles": [[root.real, root.imag] for root in response.poles],
    }
