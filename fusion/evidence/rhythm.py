"""Whether what the ground does not explain beats like a heart, breathes, moves, or ticks like a machine.

The residual is whitened first: a body on its tyres rings for most of a second, which smears one beat into the next; the
prediction error of a short linear filter undoes that, whatever the vehicle. Every figure is one number of the passage.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fusion.evidence.conditioning import GRID_HZ

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Flags = NDArray[np.bool_]

WHITE_BAND_HZ = (2.0, 10.0)  # assumed: inside the cancel band's edges, and around the heart's 3-8 Hz
WHITE_ORDER, WHITE_RIDGE = 8, 1e-3  # assumed: four modes of the vehicle; ridge as a share of the power
_TOEPLITZ = np.abs(np.subtract.outer(np.arange(WHITE_ORDER), np.arange(WHITE_ORDER)))  # lag of each product
BEAT_HZ = (0.7, 2.5)  # 42-150 a minute
HARMONICS = 3  # SCIENCE 2.5
CAPPED_AT = 3.0  # assumed: an envelope this far over its mean is a thump, not a beat
BURST_CAP = 36.0  # assumed: six times the rms; what is over is a thump
BREATH_HZ, BESIDE_BREATH_HZ = (0.18, 0.42), (0.5, 0.9)  # SCIENCE 2.1: 0.2-0.4 Hz
BREATH_LEAST_S = 14.0  # assumed: three breaths
TICK_LEAST_S, TICK_BLOCKS = 20.0, 6  # assumed: enough beats for a heart to stray
# Of the interval. SCIENCE 2.1: a heart strays by 2 % each beat, which adds up, and by 3 % with each breath. Simulated:
# of even ticks 7 to 8 in 10 are found at 45 s and 2 to 5 in 10 at 30 s; of hearts as loud 1 in 150 at most is taken for
# one (150 and 60 records a cell). A paced heart may be: the vehicle is then not measured, and never `no_search`.
TICK_SHARE = 0.008
TICK_OVER_NOISE = 5.0  # assumed: a harmonic of less power than this, over noise, is not read
# The 99 % point of log10(highest over median) for Gaussian noise through this module, by length of record; 3,000
# records a length (1,200 from 60 s on), one to three sensors; good to 0.02. Noise alone makes high peaks when short.
NULL_S = np.array([4.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0])
NULL_LOG = np.array([0.67, 0.70, 0.735, 0.76, 0.78, 0.80, 0.815, 0.83, 0.84, 0.866, 0.866])


@dataclass(frozen=True, slots=True)
class Rhythm:
    """What the body sensors share.

    ``over_null_log`` is log10 of the harmonic sum's peak over its median, less what one noise record in a hundred
    reaches at this length: 0 is noteworthy. ``burst_log`` is log10 of the kurtosis over a Gaussian's. ``breath_log``
    is log10 of the beats' modulation at breathing rates over that beside them, 0 while too short. ``steady_share`` is
    the straying of beats from an even tick, as a share of the interval; None where that cannot be told.
    """

    beat_hz: float
    over_null_log: float
    agreement: float
    burst_log: float
    breath_log: float
    steady_share: float | None


def rhythm(residuals: Floats, keep: Flags) -> Rhythm:
    """Of the cancelled body waves (sensors, n) on the grid; ``keep`` (n,) says which points count."""
    white = band(_whitened(residuals, keep), *WHITE_BAND_HZ)
    each = envelopes(white, keep)
    shared = np.mean(each, axis=0)
    seconds = float(np.count_nonzero(keep)) / GRID_HZ
    peak, beat_hz = harmonic_peak(shared)
    null = float(np.interp(np.log(seconds), np.log(NULL_S), NULL_LOG))
    kept = white[:, keep]
    power = np.mean(kept**2, axis=1, keepdims=True)
    kurtosis = float(np.mean(np.minimum(kept**2 / np.maximum(power, 1e-300), BURST_CAP) ** 2)) / 3.0
    beats = _demodulated(shared, beat_hz)
    return Rhythm(
        beat_hz,
        log10(max(peak, 1e-6)) - null,
        agreement(each[:, keep]),
        log10(max(kurtosis, 1e-6)),
        _breath(beats) if seconds >= BREATH_LEAST_S else 0.0,
        _steady_share(shared, beat_hz) if seconds >= TICK_LEAST_S else None,
    )


def band(waves: Floats, low: float, high: float) -> Floats:
    """The band alone, along the last axis."""
    return in_band(scipy.fft.rfft(waves), waves.shape[-1], low, high)


def in_band(spectra: Complexes, n: int, low: float, high: float) -> Floats:
    """The band alone of waves of ``n`` points whose spectra are known."""
    hz = scipy.fft.rfftfreq(n, 1 / GRID_HZ)
    return np.asarray(scipy.fft.irfft(spectra * ((hz >= low) & (hz <= high)), n), np.float64)


def envelopes(waves: Floats, keep: Flags) -> Floats:
    """Amplitude of the analytic signals (sensors, n) over their means, less 1, and 0 where left out; capped."""
    n = waves.shape[-1]
    spectrum = np.zeros(waves.shape, np.complex128)
    half = scipy.fft.rfft(waves)
    half[:, 1 : (n + 1) // 2] *= 2.0
    spectrum[:, : half.shape[-1]] = half
    amplitude = np.abs(scipy.fft.ifft(spectrum))
    mean = np.maximum(np.mean(amplitude[:, keep], axis=1, keepdims=True), 1e-300)
    capped = np.minimum(amplitude / mean, CAPPED_AT)
    return np.asarray(np.where(keep, capped - np.mean(capped[:, keep], axis=1, keepdims=True), 0.0), np.float64)


def agreement(each: Floats) -> float:
    """Mean correlation of all pairs of envelopes (sensors, n); 0 where there is one sensor only."""
    if len(each) < 2:
        return 0.0
    spread = np.maximum(np.linalg.norm(each, axis=1), 1e-300)
    pairs = (each @ each.T) / np.outer(spread, spread)
    return float(np.mean(pairs[np.triu_indices(len(each), 1)]))


def _whitened(waves: Floats, keep: Flags) -> Floats:
    """Error of predicting each sample from the eight before it (autocorrelation method with a ridge), over its rms."""
    n, known = waves.shape[1], waves * keep
    lags = range(WHITE_ORDER + 1)
    products = np.stack([np.einsum("st,st->s", known[:, : n - lag], known[:, lag:]) for lag in lags], axis=1)
    ridge = WHITE_RIDGE * np.maximum(products[:, :1], 1e-300) * np.eye(1, WHITE_ORDER)
    normal = (products[:, :-1] + ridge)[:, _TOEPLITZ]
    weights = np.linalg.solve(normal, products[:, 1:, None])[..., 0]
    errors = np.zeros(waves.shape)
    errors[:, WHITE_ORDER:] = waves[:, WHITE_ORDER:]
    for lag in range(1, WHITE_ORDER + 1):
        errors[:, WHITE_ORDER:] -= weights[:, lag - 1, None] * waves[:, WHITE_ORDER - lag : n - lag]
    kept = np.einsum("st,st,t->s", errors, errors, keep) / np.count_nonzero(keep)
    return np.asarray(errors / np.maximum(np.sqrt(kept), 1e-300)[:, None], np.float64)


def harmonic_peak(envelope: Floats) -> tuple[float, float]:
    """Harmonic sum of the envelope's spectrum: its highest over its median in 0.7-2.5 Hz, and that frequency (Hz)."""
    padded = scipy.fft.next_fast_len(4 * len(envelope), real=True)
    power = np.abs(scipy.fft.rfft(envelope * np.hanning(len(envelope)), padded)) ** 2
    step = GRID_HZ / padded
    beats = np.arange(int(np.ceil(BEAT_HZ[0] / step)), int(BEAT_HZ[1] / step) + 1)
    total = np.sum([power[beats * k] for k in range(1, HARMONICS + 1)], axis=0)
    best = int(np.argmax(total))
    return float(total[best] / max(float(np.median(total)), 1e-300)), float(beats[best] * step)


def _demodulated(envelope: Floats, beat_hz: float) -> Floats:
    """Strength of the beat over time: the envelope between beat - 0.95 and + 0.95 Hz, moved to zero, its magnitude."""
    n = len(envelope)
    moved = envelope * np.exp(-2j * np.pi * beat_hz * np.arange(n) / GRID_HZ)
    spectrum = scipy.fft.fft(moved)
    spectrum[np.abs(scipy.fft.fftfreq(n, 1 / GRID_HZ)) > 0.95 * min(1.0, beat_hz)] = 0.0
    return np.asarray(np.abs(scipy.fft.ifft(spectrum)), np.float64)


def _breath(beats: Floats) -> float:
    padded = scipy.fft.next_fast_len(4 * len(beats), real=True)
    power = np.abs(scipy.fft.rfft((beats - np.mean(beats)) * np.hanning(len(beats)), padded)) ** 2
    hz = np.arange(len(power)) * (GRID_HZ / padded)
    breath = float(np.max(power[(hz >= BREATH_HZ[0]) & (hz <= BREATH_HZ[1])]))
    beside = float(np.mean(power[(hz >= BESIDE_BREATH_HZ[0]) & (hz <= BESIDE_BREATH_HZ[1])]))
    return log10(min(1e6, max(1e-6, breath / max(beside, 1e-300))))


def _steady_share(envelope: Floats, beat_hz: float) -> float | None:
    """How far beats stray from an even tick, by the most telling of harmonics 2 to 4; None where noise hides it.

    Each harmonic k is demodulated in blocks; even ticks give the same phase in all of them, once the rate is refined.
    With C = |sum Z|^2 / (M sum |Z|^2) the phase's variance is about -ln C, and the time's that over (2 pi k)^2. Noise
    is read half way between harmonics.
    """
    size = len(envelope) // TICK_BLOCKS
    t = np.arange(TICK_BLOCKS * size) / GRID_HZ
    block_s = size / GRID_HZ
    drift_hz = np.linspace(-0.5, 0.5, 201) / block_s  # fine steps around the rate that the spectrum gave
    turns = np.exp(-2j * np.pi * np.outer(drift_hz, np.arange(TICK_BLOCKS) * block_s))
    powers, coherence, window = {}, {}, np.hanning(size)
    half = np.exp(-1j * np.pi * beat_hz * t)  # of half the beat: its powers are all the others
    moved = envelope[: TICK_BLOCKS * size] * half**2
    for k in (1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5):
        moved = moved * half
        phasors = moved.reshape(TICK_BLOCKS, size) @ window
        powers[k] = float(np.sum(np.abs(phasors) ** 2))
        coherence[k] = float(np.max(np.abs(turns @ phasors) ** 2)) / max(TICK_BLOCKS * powers[k], 1e-300)
    noise = float(np.mean([powers[k] for k in (1.5, 2.5, 3.5, 4.5)]))
    found = [
        float(np.sqrt(-np.log(min(1.0, max(coherence[k], 1e-12))))) / (2 * np.pi * k)
        for k in (2.0, 3.0, 4.0)
        if powers[k] >= TICK_OVER_NOISE * noise
    ]
    return min(found, default=None)
