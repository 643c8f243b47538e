"""Vibration evidence against the FFTs and the solve that its method cannot do without."""

from __future__ import annotations

import numpy as np
import scipy.fft

from calibration.response import Response
from fusion.evidence.vibration import vibration_evidence
from fusion.passage import Context, Passage, SensorSeries
from hil.bench.measure import Row, paired_ms

SENSORS = ("B1", "B2", "B3", "B4", "B5", "B6", "G1", "G2")
SECONDS, RATE_HZ = 60.0, 500.0
GRID_HZ, TAPS = 25.0, 32  # what a band that ends at 12 Hz needs, and 1.3 s of a ground sensor
RUNS = 15


def rows() -> list[Row]:
    """One row: 8 channels x 60 s x 500 Hz."""
    random = np.random.default_rng(8)
    n = round(SECONDS * RATE_HZ)
    response = Response(1e9, 20.0, (0j, 0j), (-19.79 + 20.19j, -19.79 - 20.19j))
    counts = {name: np.rint(np.cumsum(random.normal(0, 300, n)) * 0.02 + random.normal(0, 900, n)) for name in SENSORS}
    series = tuple(SensorSeries(name, "DHZ", 0, RATE_HZ, counts[name], response) for name in SENSORS)
    passage = Passage("0" * 26, "s", "l", 0, None, vibration=series, context=Context(shelter="shed"))
    found = vibration_evidence(passage, round(SECONDS * 1e9))
    if found.state.value != "measured":
        raise RuntimeError(f"bench: the record gave {found.state.value}: {found.cause}")
    measured, floor = paired_ms(lambda: vibration_evidence(passage, round(SECONDS * 1e9)), lambda: _floor(counts), RUNS)
    return [Row("vibration evidence, 8 ch x 60 s x 500 Hz", measured, floor, "ms", "its FFTs and least-squares solves")]


def _floor(counts: dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]) -> None:
    """A forward FFT and a decimating inverse a channel; for each body channel the normal equations, a solve, and the
    FFT pairs of two bands and an envelope."""
    points = round(SECONDS * GRID_HZ)
    waves = {}
    for name, series in counts.items():
        waves[name] = scipy.fft.irfft(scipy.fft.rfft(series)[: points // 2 + 1], points)
    ground = [waves[name] for name in waves if name.startswith("G")]
    for name in (name for name in waves if name.startswith("B")):
        design = np.stack([np.roll(g, lag) for g in ground for lag in range(TAPS)], axis=1)
        solved = np.linalg.solve(design.T @ design + np.eye(design.shape[1]), design.T @ waves[name])
        explained = design @ solved
        for wave in (explained, waves[name] - explained):
            scipy.fft.irfft(scipy.fft.rfft(wave), points)
        scipy.fft.ifft(scipy.fft.fft(waves[name]))
