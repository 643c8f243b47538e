"""Whether what the ground does not explain beats like a heart, breathes, moves, or ticks like a machine.

The residual is whitened first: a body on its tyres rings for most of a second, which smears one beat into the next; the
prediction error of a short linear filter undoes that, whatever the vehicle. Every figure is one number of the passage.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import log10

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fusion.evidence.bands import analytic, hann
from fusion.evidence.conditioning import GRID_HZ
from fusion.evidence.median import median, medians

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Flags = NDArray[np.bool_]

WHITE_BAND_HZ = (2.0, 10.0)  # assumed: inside the cancel band's edges, and around the heart's 3-8 Hz
DRY_BAND_HZ = (3.0, 11.5)  # assumed: above the sway, below the grid's end
WHITE_ORDER, WHITE_RIDGE = 8, 1e-3  # assumed: four modes of the vehicle; ridge as a share of the power
_TOEPLITZ = np.abs(np.subtract.outer(np.arange(WHITE_ORDER), np.arange(WHITE_ORDER)))  # lag of each product
BEAT_HZ = (0.7, 2.5)  # 42-150 a minute
HARMONICS = 3  # SCIENCE 2.5
CAPPED_AT = 3.0  # assumed: an envelope this far over its mean is a thump, not a beat
LEVEL_FROM_HZ, LEVEL_WIDE_HZ = 0.35, 0.6  # assumed: the envelope's level is read in blocks this wide
REPEAT_S = (0.4, 1.5)  # 40-150 a minute
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
    reaches at this length: 0 is noteworthy. ``each_log`` is log10 of the highest peak of any one sensor, each over its
    own spectrum's level nearby. ``dry_log`` is the same of the mean envelope of what is left without the body's
    ringing. ``repeat_log`` is log10 of how much the waves themselves come again after 0.4-1.5 s. ``breath_log``
    is log10 of the beats' modulation at breathing rates over that beside them, 0 while too short or where nothing
    beats. ``steady_share`` is the straying of beats from an even tick, as a share of the interval; None where that
    cannot be told.
    """

    beat_hz: float
    over_null_log: float
    each_log: float
    dry_log: float
    repeat_log: float
    agreement: float
    breath_log: float
    steady_share: float | None


def rhythm(residuals: Floats, dry: Complexes, keep: Flags) -> Rhythm:
    """Of the cancelled body waves (sensors, n) on the grid; ``dry`` are spectra of the same without the body's ringing.

    ``keep`` (n,) says which points count.
    """
    n, sensors = len(keep), len(residuals)
    white = analytic(scipy.fft.rfft(_whitened(residuals, keep)), n, *WHITE_BAND_HZ)
    found = envelopes(np.concatenate((white, analytic(dry, n, *DRY_BAND_HZ))), keep)
    each = found[:sensors]
    shared, of_dry = np.add.reduce(each) / sensors, np.add.reduce(found[sensors:]) / sensors
    seconds = float(np.count_nonzero(keep)) / GRID_HZ
    peak, beat_hz = harmonic_peak(shared)
    over_null_log = log10(max(peak, 1e-6)) - float(np.interp(np.log(seconds), np.log(NULL_S), NULL_LOG))
    beats = over_null_log > 0.0  # where nothing beats there is no breath to modulate it, and no tick
    peaks = _flat_peaks(np.concatenate((each, of_dry[None])))
    return Rhythm(
        beat_hz,
        over_null_log,
        log10(max(float(peaks[:-1].max()), 1e-6)),
        log10(max(float(peaks[-1]), 1e-6)),
        0.5 * log10(max(_repeats(white.real * keep), 1e-12)),
        agreement(each),
        _breath(_demodulated(shared, beat_hz)) if beats and seconds >= BREATH_LEAST_S else 0.0,
        _steady_share(shared, beat_hz) if beats and seconds >= TICK_LEAST_S else None,
    )


def envelopes(waves: Complexes, keep: Flags) -> Floats:
    """Magnitudes of analytic signals (sensors, n) over their means, less 1, and 0 where left out; capped."""
    amplitude = np.abs(waves)
    kept = keep.astype(np.float64)  # sums over what is kept are products with it, which spares picking it out
    share = kept / max(float(np.count_nonzero(keep)), 1.0)
    amplitude /= np.maximum(amplitude @ share, 1e-300)[:, None]
    capped = np.minimum(amplitude, CAPPED_AT, out=amplitude)
    capped -= (capped @ share)[:, None]
    return np.multiply(capped, kept, out=capped)


def agreement(each: Floats) -> float:
    """Mean correlation of all pairs of envelopes (sensors, n); 0 where there is one sensor only."""
    if len(each) < 2:
        return 0.0
    spread = np.maximum(np.linalg.norm(each, axis=1), 1e-300)
    pairs = (each @ each.T) / np.outer(spread, spread)
    return float(np.mean(pairs[np.triu_indices(len(each), 1)]))


def _whitened(waves: Floats, keep: Flags) -> Floats:
    """Error of predicting each sample from the eight before it (autocorrelation method with a ridge), over its rms."""
    products = lagged(waves, keep, WHITE_ORDER)
    ridge = WHITE_RIDGE * np.maximum(products[:, :1], 1e-300) * np.eye(1, WHITE_ORDER)
    normal = (products[:, :-1] + ridge)[:, _TOEPLITZ]
    weights = np.linalg.solve(normal, products[:, 1:, None])[..., 0]
    filters = np.concatenate((-weights[:, ::-1], np.ones((len(waves), 1))), axis=1)
    errors = np.zeros(waves.shape)
    for error, wave, of_error in zip(errors, waves, filters, strict=True):
        error[WHITE_ORDER:] = np.correlate(wave, of_error)
    power = (errors * errors) @ keep.astype(np.float64) / np.count_nonzero(keep)
    errors /= np.maximum(np.sqrt(power), 1e-300)[:, None]
    return errors


def lagged(waves: Floats, keep: Flags, most: int) -> Floats:
    """Sums of products of each wave (sensors, n) with itself 0 to ``most`` points later, over what is kept."""
    n = waves.shape[1]
    known = np.zeros((len(waves), n + most))
    np.multiply(waves, keep, out=known[:, :n])
    return np.array([np.correlate(wave, wave[:n]) for wave in known])


def harmonic_peak(envelope: Floats) -> tuple[float, float]:
    """Harmonic sum of the envelope's spectrum: its highest over its median in 0.7-2.5 Hz, and that frequency (Hz)."""
    padded = scipy.fft.next_fast_len(4 * len(envelope), real=True)
    spectrum = scipy.fft.rfft(envelope * hann(len(envelope)), padded)
    first, last, step = _beats(padded)
    spectrum = spectrum[: HARMONICS * last + 1]
    power = spectrum.real**2 + spectrum.imag**2
    total = _harmonic_sum(power, first, last, 0)
    best = int(np.argmax(total))
    return float(total[best] / max(median(total), 1e-300)), float((first + best) * step)


def _beats(padded: int) -> tuple[int, int, float]:
    """First and last bin of the beat's band in a spectrum of ``padded`` points, and how wide a bin is, Hz."""
    step = GRID_HZ / padded
    return int(np.ceil(BEAT_HZ[0] / step)), int(BEAT_HZ[1] / step), step


def _harmonic_sum(power: Floats, first: int, last: int, begins: int) -> Floats:
    """Power (..., bins) from bin ``begins`` on at each beat of ``first`` to ``last`` and at its harmonics."""
    parts = [power[..., first * k - begins : last * k + 1 - begins : k] for k in range(1, HARMONICS + 1)]
    return np.asarray(sum(parts[1:], parts[0]), np.float64)


def _flat_peaks(each: Floats) -> Floats:
    """The highest harmonic sum of each envelope (m, n), flattened by its own level nearby, over its median; (m,).

    Swells make an envelope's spectrum fall; without that its slow end would pass for a slow heart.
    """
    padded = scipy.fft.next_fast_len(2 * each.shape[1], real=True)
    first_beat, last_beat, step = _beats(padded)
    first, width = round(LEVEL_FROM_HZ / step), max(1, round(LEVEL_WIDE_HZ / step))
    blocks = -(-(HARMONICS * last_beat + 1 - first) // width)
    spectra = scipy.fft.rfft(each * hann(each.shape[1]), padded)[:, first : first + blocks * width]
    power = spectra.real**2 + spectra.imag**2
    levels = np.log(np.maximum(medians(power.reshape(len(each), blocks, width)), 1e-300))
    power *= np.exp(levels @ _between(blocks, width))
    total = _harmonic_sum(power, first_beat, last_beat, first)
    return np.asarray(total.max(axis=1) / np.maximum(medians(total), 1e-300), np.float64)


@lru_cache(maxsize=64)
def _between(blocks: int, width: int) -> Floats:
    """What to multiply levels of blocks with, to have them at each bin, negative: (blocks, bins), straight lines."""
    at = (np.arange(blocks * width) - 0.5 * (width - 1)) / width  # of a bin, in blocks from the middle of the first
    below = np.clip(np.floor(at).astype(np.int64), 0, blocks - 2)
    part = np.clip(at - below, 0.0, 1.0)
    lines = np.zeros((blocks, blocks * width))
    lines[below, np.arange(blocks * width)] = part - 1
    lines[below + 1, np.arange(blocks * width)] = -part
    return lines


def _repeats(known: Floats) -> float:
    """Mean square of the shared autocorrelation after `REPEAT_S` of waves, 0 where left out: noise of n has 1 / n.

    An envelope forgets a beat's shape; this is what is left of it. Sensors add up, whatever their sign.
    """
    first, last = (round(lag_s * GRID_HZ) for lag_s in REPEAT_S)
    padded = scipy.fft.next_fast_len(known.shape[1] + last, real=True)
    spectra = scipy.fft.rfft(known, padded)
    share = 1 / np.maximum(np.einsum("st,st->s", known, known), 1e-300)
    alike = scipy.fft.irfft(share @ (spectra.real**2 + spectra.imag**2), padded)
    return float(np.sum(alike[first : last + 1] ** 2)) / (last + 1 - first) / len(known) ** 2


def _demodulated(envelope: Floats, beat_hz: float) -> Floats:
    """Strength of the beat over time: the envelope between beat - 0.95 and + 0.95 Hz, moved to zero, its magnitude."""
    n = len(envelope)
    moved = envelope * np.exp(-2j * np.pi * beat_hz * np.arange(n) / GRID_HZ)
    spectrum = scipy.fft.fft(moved)
    spectrum[np.abs(scipy.fft.fftfreq(n, 1 / GRID_HZ)) > 0.95 * min(1.0, beat_hz)] = 0.0
    return np.asarray(np.abs(scipy.fft.ifft(spectrum)), np.float64)


def _breath(beats: Floats) -> float:
    padded = scipy.fft.next_fast_len(4 * len(beats), real=True)
    power = np.abs(scipy.fft.rfft((beats - np.mean(beats)) * hann(len(beats)), padded)) ** 2
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
    powers, coherence, window = {}, {}, hann(size)
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
