"""Spectra and fits that the procedures for velocity sensors share. Pure numpy and scipy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.response import Response

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]


def segments(series: Floats, length: int) -> Floats:
    """Half-overlapping stretches, linear trend removed, Hann window; (n, length)."""
    count = (len(series) - length) // (length // 2) + 1
    if count < 1:
        raise ValueError(f"{len(series)} samples; at least {length} are needed")
    step = length // 2
    stack = np.stack([series[i * step : i * step + length] for i in range(count)])
    ramp = np.linspace(-1.0, 1.0, length)
    slope = (stack @ ramp) / (ramp @ ramp)
    flat = stack - stack.mean(axis=1, keepdims=True) - slope[:, None] * ramp
    return np.asarray(flat * np.hanning(length), np.float64)


def spectra(series: Floats, rate_hz: float, seconds: float = 4.0) -> tuple[Floats, Complexes]:
    """Frequencies (f,) and spectra of half-overlapping stretches (n, f), scaled so that |X|^2 is a density."""
    length = round(seconds * rate_hz)
    stretches = segments(series, length)
    scale = np.sqrt(2.0 / (rate_hz * np.sum(np.hanning(length) ** 2)))
    hz = np.asarray(np.fft.rfftfreq(length, 1 / rate_hz), np.float64)
    return hz, np.asarray(np.fft.rfft(stretches, axis=1) * scale, np.complex128)


def band(hz: Floats, low: float, high: float) -> NDArray[np.bool_]:
    """Which frequencies lie in the band."""
    return np.asarray((hz >= low) & (hz <= high))


def velocity_spectra(
    series: Floats, rate_hz: float, response: Response, seconds: float = 4.0
) -> tuple[Floats, Complexes]:
    """As `spectra`, in m/s, without the frequencies below 0.5 Hz where a coil gives nothing."""
    hz, found = spectra(series, rate_hz, seconds)
    keep = hz >= 0.5
    return hz[keep], found[:, keep] / response.at(hz[keep])


def band_rms(density: Floats, hz: Floats) -> Floats:
    """Root of the area below (n, f) densities: rms of each stretch, in the density's root unit."""
    return np.asarray(np.sqrt(np.sum(density, axis=-1) * (hz[1] - hz[0])), np.float64)


@dataclass(frozen=True, slots=True)
class Release:
    """Damped swing after a step: ``amplitude`` (counts/s) times e^(-h w0 t) sin(wd t) / wd."""

    f0_hz: float
    damping: float
    amplitude: float
    residual: float  # rms of what the fit leaves, counts
    at_s: float


def find_releases(counts: Floats, rate_hz: float, apart_s: float = 1.5, least: float = 8.0) -> list[int]:
    """Samples where swings begin: the first of each burst over ``least`` times the quiet level, ``apart_s`` apart."""
    level = counts - np.median(counts)
    quiet = 1.4826 * float(np.median(np.abs(level)))
    loud = np.flatnonzero(np.abs(level) > least * max(quiet, 1e-12))
    found: list[int] = []
    last = -(10**9)
    for at in loud.tolist():
        if at - last > apart_s * rate_hz:
            found.append(at)
        last = at
    return found


def fit_release(counts: Floats, rate_hz: float, onset: int, before_s: float = 0.1, after_s: float = 1.2) -> Release:
    """Natural frequency, damping and amplitude of one swing by least squares; the onset is fitted too.

    Raises:
        ValueError: the record ends before the swing does, or nothing fits.
    """
    from scipy.optimize import least_squares  # 0.3 s to load: only where something is fitted

    first, last = onset - round(before_s * rate_hz), onset + round(after_s * rate_hz)
    if first < 0 or last > len(counts):
        raise ValueError("a swing lies at the edge of the record")
    t = (np.arange(first, last) - onset) / rate_hz
    wave = counts[first:last] - np.median(counts[first : max(first + 1, onset - 2)])
    scale = float(np.max(np.abs(wave)))
    sign = float(np.sign(wave[np.argmax(np.abs(wave))]))

    def swing(p: Floats) -> Floats:
        f0, h, amplitude, t0, offset = p
        w0 = 2 * np.pi * f0
        wd = w0 * np.sqrt(1 - h**2)
        x = np.maximum(t - t0, 0.0)
        return np.asarray(amplitude * np.exp(-h * w0 * x) * np.sin(wd * x) + offset)

    def misfit(p: Floats) -> Floats:
        return np.asarray(swing(p) - wave / scale, np.float64)

    best = None
    for f0 in (2.0, 4.5, 9.0):
        start = np.array([f0, 0.6, 2.0 * sign, -0.5 / rate_hz, 0.0])
        low, high = [0.5, 0.02, -50.0, -0.05, -0.5], [30.0, 0.985, 50.0, 0.05, 0.5]
        found = least_squares(misfit, start, bounds=(low, high), x_scale=[1, 0.1, 1, 0.01, 1])
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    f0, h, amplitude, t0, _ = (float(value) for value in best.x)
    wd = 2 * np.pi * f0 * np.sqrt(1 - h**2)
    residual = float(np.sqrt(np.mean(best.fun**2))) * scale
    return Release(f0, h, amplitude * scale * wd, residual, t0 + onset / rate_hz)


def geophone(sensitivity: float, f0_hz: float, damping: float, at_hz: float = 20.0) -> Response:
    """``G s^2 / (s^2 + 2 h w0 s + w0^2)``, its sensitivity told at ``at_hz``, in the flat band.

    Args:
        sensitivity: G, counts/(m/s), at high frequency.
        f0_hz: natural frequency.
        damping: share of critical damping, below 1.
        at_hz: where a response tells its gain.
    """
    w0 = 2 * np.pi * f0_hz
    pole = complex(-damping * w0, w0 * np.sqrt(1 - damping**2))
    s = 2j * np.pi * at_hz
    share = float(abs(s**2 / ((s - pole) * (s - pole.conjugate()))))
    return Response(sensitivity * share, at_hz, (0j, 0j), (pole, pole.conjugate()))
