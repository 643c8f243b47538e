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
    """A forward FFT and a decimating inverse a channel; correlations by FFT, one solve with all body channels on its
    right, the residuals' inverse, and the FFT pair of their envelopes. Nothing of it can be left out."""
    points = round(SECONDS * GRID_HZ)
    spectra = np.stack([scipy.fft.rfft(series)[: points // 2 + 1] for series in counts.values()])
    waves = scipy.fft.irfft(spectra, points, axis=1)
    padded = scipy.fft.rfft(waves, 2 * points, axis=1)
    body, ground = padded[: len(SENSORS) - 2], padded[len(SENSORS) - 2 :]
    own = scipy.fft.irfft(ground[:, None] * ground.conj()[None], 2 * points, axis=2)[..., :TAPS]
    cross = scipy.fft.irfft(ground[:, None] * body.conj()[None], 2 * points, axis=2)[..., :TAPS]
    normal = np.eye(2 * TAPS) * own.max()
    solved = np.linalg.solve(normal, cross.transpose(0, 2, 1).reshape(2 * TAPS, -1))
    residual = scipy.fft.irfft(body * solved[0, 0], 2 * points, axis=1)[:, :points]
    scipy.fft.ifft(scipy.fft.fft(residual, axis=1), axis=1)
