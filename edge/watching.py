"""What `devices watch` shows of one device: each reading as an object in SI, and a panel of text with a plot."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.response import Response
from drivers.reading import (
    ButtonPress,
    ContactChange,
    GasSample,
    PresenceChange,
    Radiograph,
    RadiometricFrame,
    Reading,
    VibrationBlock,
    WeatherSample,
)
from edge.picture_text import contrast, picture
from edge.plot import columns, curve, rounded_range
from fusion.bundle.times import format_utc

ENVELOPE_S = 20.0  # of vibration that a panel shows
WAVE_S = 2.0  # of it as a waveform
SLOW_VALUES = 600  # CO2 and wind: readings that a panel remembers, ten minutes at one a second
GAS_SPAN_PPM, WIND_SPAN_M_S, FRAME_SPAN_K = 20.0, 2.0, 2.0  # least range of a plot, so that noise is no cliff
MOST_STREAMS = 16  # a device; 12 sensors is the most that a driver of ours takes
SENSORS_PEAK = 1.0  # counts; a flat line must not be blown up to noise
CURVE_ROWS, ENVELOPE_ROWS = 6, 2
PICTURE_ROWS = 16  # of a picture: with name, head and legend it fits a terminal of 24
_PREFIXES = ((1.0, "m/s"), (1e-3, "mm/s"), (1e-6, "µm/s"), (1e-9, "nm/s"))

Responses = Mapping[tuple[str, str], Response | str]
Floats = NDArray[np.float64]


def as_object(reading: Reading, responses: Responses) -> dict[str, Any]:
    """A reading as JSON types, each quantity with its unit in its name; velocities where the response is known."""
    common = {
        "device": reading.device,
        "time_utc": format_utc(reading.stamp.time_utc_ns),
        "arrival_utc": format_utc(reading.stamp.arrival_utc_ns),
        "status": reading.status,
    }
    match reading:
        case VibrationBlock():
            return common | {"kind": "vibration"} | _vibration(reading, responses)
        case GasSample():
            return common | {
                "kind": "co2",
                "point": reading.point.value,
                "co2_ppm": reading.co2_ppm,
                "temperature_c": reading.temperature_c,
                "humidity_pct": reading.humidity_pct,
                "pressure_hpa": reading.pressure_hpa,
            }
        case WeatherSample():
            return common | {
                "kind": "weather",
                "wind_m_s": reading.wind_m_s,
                "gust_m_s": reading.gust_m_s,
                "temperature_c": reading.temperature_c,
                "pressure_hpa": reading.pressure_hpa,
            }
        case PresenceChange():
            return common | {"kind": "presence", "present": reading.present}
        case ContactChange():
            return common | {"kind": "contact", "lamp": reading.state.value}
        case ButtonPress():
            return common | {"kind": "button", "button": reading.button.value}
        case RadiometricFrame():
            return common | {"kind": "mmwave", "side": reading.side} | _frame(reading.frame_k)
        case Radiograph():
            rows, across = reading.transmission.shape
            return common | {"kind": "xray", "rows": rows, "columns": across, "dose_usv": reading.dose_usv}


def _vibration(block: VibrationBlock, responses: Responses) -> dict[str, Any]:
    scale = _scale(block, responses)
    samples = block.samples[np.isfinite(block.samples)]
    moved = samples - samples.mean() if len(samples) else samples
    shown: dict[str, Any] = {
        "sensor": block.sensor,
        "channel": block.channel,
        "rate_hz": block.rate_hz,
        "samples": len(block.samples),
        "mean_counts": float(samples.mean()) if len(samples) else None,
        "rms_counts": float(np.sqrt(np.mean(moved**2))) if len(samples) else None,
    }
    if scale is not None and len(samples):
        shown["rms_m_s"] = shown["rms_counts"] / scale
        shown["peak_m_s"] = float(np.max(np.abs(moved))) / scale
    return shown


def _scale(block: VibrationBlock, responses: Responses) -> float | None:
    """Counts per m/s in the sensor's flat band, or None."""
    found = responses.get((block.sensor, block.channel))
    return abs(found.sensitivity_counts_per_m_s) if isinstance(found, Response) else None


def _frame(frame_k: NDArray[np.float32]) -> dict[str, Any]:
    known = frame_k[np.isfinite(frame_k)]
    figures = (float(known.min()), float(known.mean()), float(known.max())) if len(known) else (None, None, None)
    least_k, mean_k, most_k = figures
    return {"least_k": least_k, "mean_k": mean_k, "most_k": most_k, "bad_pixels": int(frame_k.size - known.size)}


@dataclass(slots=True)
class _Trace:
    """The newest values of one stream. For vibration they are samples, in m/s or counts as ``unit`` says."""

    values: deque[float | None]
    unit: str
    rate_hz: float = 0.0
    image: NDArray[np.float32] | None = None  # the newest
    last: dict[str, Any] = field(default_factory=dict)


class Panel:
    """One device on the screen: `see` each reading, `rows` gives its text for a width and a state."""

    def __init__(self, name: str, responses: Responses) -> None:
        self.name = name
        self._responses = responses
        self._traces: dict[str, _Trace] = {}

    def see(self, reading: Reading) -> dict[str, Any]:
        """Remember a reading; the answer is its object."""
        shown = as_object(reading, self._responses)
        name = reading.sensor if isinstance(reading, VibrationBlock) else str(shown["kind"])
        if name in self._traces or len(self._traces) < MOST_STREAMS:
            trace = self._traces.setdefault(name, _Trace(deque(maxlen=SLOW_VALUES), ""))
            trace.last = shown
            self._add(trace, reading)
        return shown

    def _add(self, trace: _Trace, reading: Reading) -> None:
        match reading:
            case VibrationBlock():
                scale = _scale(reading, self._responses)
                trace.unit, trace.rate_hz = "counts" if scale is None else "m/s", reading.rate_hz
                kept = round(ENVELOPE_S * min(reading.rate_hz, 10_000.0))
                if trace.values.maxlen != kept:
                    trace.values = deque(trace.values, maxlen=kept)
                trace.values.extend((reading.samples / (scale or 1.0)).tolist())
            case GasSample():
                trace.values.append(reading.co2_ppm)
            case WeatherSample():
                trace.values.append(reading.wind_m_s)
            case PresenceChange():
                trace.values.append(float(reading.present))
            case RadiometricFrame():
                trace.image = reading.frame_k
            case Radiograph():
                trace.image = reading.transmission
            case _:
                pass

    def rows(self, width: int, state: str, *, ascii_only: bool) -> list[str]:
        """Text rows, the device's name and state first; no row is wider than ``width``."""
        found = [f"{self.name}  {state}"]
        for name, trace in sorted(self._traces.items()):
            found += _panel(name, trace, width, ascii_only)
        return [row[:width] for row in found]


def _panel(name: str, trace: _Trace, width: int, ascii_only: bool) -> list[str]:
    kind, last = trace.last["kind"], trace.last
    doubt = "" if last["status"] == "ok" else f"  {last['status']}"
    if kind == "vibration":
        return _vibration_rows(name, trace, width, ascii_only, doubt)
    if kind == "co2":
        now = "no value" if last["co2_ppm"] is None else f"{last['co2_ppm']:.0f} ppm"
        return [f"  CO2 {last['point']}: {now}{doubt}", *_slow(trace, width, GAS_SPAN_PPM, ".0f", ascii_only)]
    if kind == "weather":
        now = "no value" if last["wind_m_s"] is None else f"{last['wind_m_s']:.1f} m/s"
        gust = "" if last["gust_m_s"] is None else f", gust {last['gust_m_s']:.1f} m/s"
        return [f"  wind {now}{gust}{doubt}", *_slow(trace, width, WIND_SPAN_M_S, ".1f", ascii_only)]
    if kind == "presence":
        now = "vehicle present" if last["present"] else "lane empty"
        past = curve(list(trace.values)[-(width - 4) :], 1, 0.0, 1.0, ascii_only=ascii_only)
        return [f"  {now} since {last['time_utc']}{doubt}", f"  {past[0]}"]
    if kind == "contact":
        return [f"  lamp {last['lamp']} since {last['time_utc']}{doubt}"]
    if kind == "mmwave":
        now = "no pixel" if last["mean_k"] is None else f"{last['least_k']:.1f} to {last['most_k']:.1f} K"
        return [f"  {last['side']}: {now}{doubt}", *_picture_rows(trace, width, FRAME_SPAN_K, ".1f", "K", ascii_only)]
    head = f"  radiograph {last['rows']} x {last['columns']} at {last['time_utc']}{doubt}"
    return [head, *_picture_rows(trace, width, 0.1, ".2f", "of the beam", ascii_only)]


def _picture_rows(trace: _Trace, width: int, least_span: float, form: str, unit: str, ascii_only: bool) -> list[str]:
    """The newest image, and which shade is what."""
    if trace.image is None or not trace.image.size:
        return []
    low, high = contrast(trace.image, least_span)
    rows = picture(trace.image, max(8, width - 4), PICTURE_ROWS, low, high, ascii_only=ascii_only)
    frame = "|" if ascii_only else "│"
    return [*(f"  {frame}{row}{frame}" for row in rows), f"  empty {low:{form}}, full {high:{form}} {unit}"]


def _vibration_rows(name: str, trace: _Trace, width: int, ascii_only: bool, doubt: str) -> list[str]:
    samples = np.array([v for v in trace.values if v is not None], dtype=np.float64)
    samples = samples[np.isfinite(samples)]
    if not len(samples):
        return [f"  {name}: no samples{doubt}"]
    moved = samples - samples.mean()
    recent = moved[-round(WAVE_S * trace.rate_hz) :]
    rms, peak = float(np.sqrt(np.mean(recent**2))), float(np.max(np.abs(moved)))
    head = f"  {name}  {trace.rate_hz:g} Hz  rms {velocity(rms, trace.unit)}  peak {velocity(peak, trace.unit)}{doubt}"
    cells = max(8, width - 4)
    floor = SENSORS_PEAK if trace.unit == "counts" else 1e-12
    envelope = columns(np.abs(moved).tolist(), cells)
    wave = _wave(recent, cells)
    bound = max(float(np.max(np.abs(recent))), floor)
    rows = curve(envelope, ENVELOPE_ROWS, 0.0, max(peak, floor), ascii_only=ascii_only)
    rows += curve(wave, 1, -bound, bound, ascii_only=ascii_only)
    return [head, *(f"  {row}" for row in rows)]


def _wave(recent: Floats, cells: int) -> list[float | None]:
    """One sample a cell, evenly taken: a picture of the swing, not a measurement."""
    if len(recent) <= cells:
        return [None] * (cells - len(recent)) + [float(value) for value in recent]
    return [float(recent[i * len(recent) // cells]) for i in range(cells)]


def _slow(trace: _Trace, width: int, least_span: float, form: str, ascii_only: bool) -> list[str]:
    labels = 9
    cells = max(8, width - labels - 3)
    values = list(trace.values)[-cells:]
    low, high = rounded_range(values, least_span)
    rows = curve(values, CURVE_ROWS, low, high, ascii_only=ascii_only)
    marks = {0: f"{high:{form}}", CURVE_ROWS - 1: f"{low:{form}}"}
    return [f"{marks.get(index, ''):>{labels}} {'|' if ascii_only else '┤'}{row}" for index, row in enumerate(rows)]


def velocity(value: float, unit: str) -> str:
    """``1.2e-7`` m/s as ``0.12 µm/s``; counts stay counts."""
    if unit != "m/s":
        return f"{value:.0f} {unit}"
    if not isfinite(value):
        return "no value"
    factor, name = next(((f, n) for f, n in _PREFIXES if abs(value) >= f), _PREFIXES[-1])
    return f"{value / factor:.3g} {name}"
