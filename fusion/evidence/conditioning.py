"""One vibration sensor from counts to metres per second on a common grid, in segments that are computed once.

The record is cut into segments of 5 s that fade into one another (their weights add to 1), so the sum over segments is
the filtered record: a further look adds only what is new, and a replay that starts from nothing gets the same bits
(docs/adr/0003). Segments end `FADE_S` before each multiple of 5 s, so that all are whole, and may have been done, when
a look begins that falls on one. Steps of counts are filtered, not counts, and the filter integrates them again: a
baseline, however large, and the slow motion of the sea then cannot leak into the heart band where the record begins,
ends or is torn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import sqrt

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from calibration.response import Response
from fusion.passage import SensorSeries

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Flags = NDArray[np.bool_]

GRID_HZ = 25.0  # of the conditioned waves: their band ends at 12 Hz
SEGMENT_S = 5.0  # the looks of the policy fall on its multiples
FADE_S = 0.24  # six grid points; assumed: long enough for 1 Hz after differencing, short against the first look
BLOCK_S, LEAD_S = 8.0, 1.6  # of the FFT, and what of it lies before the segment: room for the filter to ring
CANCEL_BAND_HZ, WIDE_BAND_HZ = (1.0, 12.0), (1.0, 20.0)  # SCIENCE 2.1, 2.4
LINE_BAND_HZ = (9.0, 45.0)  # firing orders at idle and of refrigeration diesels
EDGE_HZ = 0.3  # assumed: half width of the band's soft edges, so that it rings for a second or two only
RESPONSE_FLOOR = 0.02  # of the gain at the band's best: below it a sensor is deaf and division makes noise
UNCOUPLED_M_S = 2e-9  # SCIENCE 2.3 (assumed): quieter than this is a sensor in the air, not a quiet lorry
CLIPPED_RUN = 4  # assumed: this many equal extremes in a row are a rail, not a peak
SMALL_COUNTS = 100.0  # assumed: counts below it repeat by chance
FLAT_SHARE = 0.9  # assumed: a live sensor moves nine times in ten
REMEMBERED = 512  # segments; 12 channels for 120 s are 288; about 13 MB at 500 Hz


@dataclass(frozen=True, slots=True)
class Sensor:
    """One usable sensor on the grid: cancel-band wave (n,) m/s, validity (n,), wide-band rms, m/s.

    ``loudest`` is over the amplitude, m/s, of any steady line: where that says enough, `loudness` is not asked.
    """

    name: str
    wave: Floats
    valid: Flags
    wide_rms: float
    loudest: float
    _full: tuple[Floats, ...]

    def loudness(self) -> Floats:
        """Amplitude of a steady sine, m/s, in each eighth of a hertz of `LINE_BAND_HZ` that the rate holds."""
        return np.asarray(np.median(np.stack(self._full), axis=0), np.float64)


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment's share of the wave over its block (200,), validity of its own 125 points, and its statistics."""

    wave: Floats
    valid: Flags
    wide_power: float  # (m/s)^2 times weight
    weight: float  # sum of squared weights over samples
    loudness: Floats
    loudest: float
    samples: int
    highest: float
    lowest: float
    highest_run: int  # windows of CLIPPED_RUN samples at the highest
    lowest_run: int
    still: int  # steps of exactly 0


def condition(series: SensorSeries, begin_ns: int, points: int, least_s: float) -> Sensor | str:
    """The sensor over ``points`` of the grid from ``begin_ns`` on, or why it is left out."""
    if series.response is None:
        return series.fault or "no response"
    segments = _segments(series, series.response, begin_ns, points)
    samples = sum([s.samples for s in segments])
    measured_s = samples / series.rate_hz
    if measured_s < least_s:
        return f"too little data: {measured_s:.1f} of {least_s:g} s"
    if (fault := _broken(segments, samples)) is not None:
        return fault
    weights = [s.weight for s in segments]
    wide = sqrt(sum([s.wide_power for s in segments]) / max(sum(weights), 1e-300))
    if wide < UNCOUPLED_M_S:  # a deaf ground sensor would explain nothing, and the ground would pass for a person
        return f"{wide * 1e9:.2g} nm/s rms is below any lane: not coupled"
    wave, valid = _joined(segments, points)
    half = 0.5 * max(weights)
    full = [s for s in segments if s.weight > half]
    loudest = max([s.loudest for s in full])
    return Sensor(series.sensor, wave, valid, wide, loudest, tuple(s.loudness for s in full))


def condition_ahead(series: SensorSeries, begin_ns: int) -> None:
    """Remember the segments from ``begin_ns`` on that nothing can be added to any more: a look then finds them done."""
    if series.response is None:
        return
    _whole(series, series.response, begin_ns, len(series.counts))


def forget() -> None:
    """Empty the memory of segments: for measurements of what a first look costs."""
    _MEMORY.clear()


def line_hz(index: int) -> float:
    """Frequency of a bin of `Sensor.loudness`."""
    return float(np.ceil(LINE_BAND_HZ[0] * BLOCK_S) / BLOCK_S + index / BLOCK_S)


def _segments(series: SensorSeries, response: Response, begin_ns: int, points: int) -> list[_Segment]:
    rate_hz, seconds = series.rate_hz, points / GRID_HZ
    ahead = (begin_ns - series.start_utc_ns) * rate_hz / 1e9
    known = min(len(series.counts), int(np.ceil(ahead + seconds * rate_hz - 1e-6)))
    count = int(np.ceil(seconds / SEGMENT_S - 1e-9))
    segments = _whole(series, response, begin_ns, known)[:count]
    return segments + [_segment_at(series, response, begin_ns, k, known) for k in range(len(segments), count)]


@dataclass(frozen=True, slots=True)
class _Kept:
    """Whole segments from the first on, kept with the samples that they were computed of, and how they were."""

    begin_ns: int
    start_ns: int
    rate_hz: float
    response: Response
    segments: list[_Segment]


def _whole(series: SensorSeries, response: Response, begin_ns: int, known: int) -> list[_Segment]:
    """The segments from the first on that lie in the first ``known`` samples: more can come, and they stay the same."""
    known_s = known / series.rate_hz - (begin_ns - series.start_utc_ns) / 1e9
    count, segments = max(0, int(known_s / SEGMENT_S + 1e-9)), list[_Segment]()
    growing = series.growing if series.growing is not None and series.counts is series.growing.latest else None
    how = begin_ns, series.start_utc_ns, series.rate_hz
    kept = None if growing is None else growing.kept
    if isinstance(kept, _Kept) and (kept.begin_ns, kept.start_ns, kept.rate_hz, kept.response) == (*how, response):
        segments = kept.segments
    if len(segments) < count:
        more = [_segment_at(series, response, begin_ns, k, known) for k in range(len(segments), count)]
        segments = segments + more
        if growing is not None:
            growing.kept = _Kept(*how, response, segments)
    return segments[:count]


def _segment_at(series: SensorSeries, response: Response, begin_ns: int, k: int, known: int) -> _Segment:
    """Segment ``k`` from ``begin_ns`` on, of the first ``known`` samples of the series."""
    rate_hz = series.rate_hz
    ahead = (begin_ns - series.start_utc_ns) * rate_hz / 1e9  # of the series' first sample, in samples
    exact = ahead + (k * SEGMENT_S - 2 * FADE_S) * rate_hz
    first = round(exact) - 1  # one more, whose step leads in
    last = round(exact + (SEGMENT_S + 2 * FADE_S) * rate_hz)
    low, high = max(first, 0, int(np.ceil(ahead - 1e-6))), min(last, known)
    if (low, high) == (first, last):
        cut = series.counts[first:last]
    else:
        cut = np.full(last - first, np.nan)
        cut[low - first : max(low, high) - first] = series.counts[low : max(low, high)]
    thousandths = round((first + 1 - exact) * 1000)  # of a sample that the cut is late
    place = (series.sensor, series.channel, begin_ns + round(k * SEGMENT_S * 1e9))
    return _remembered(place, cut, rate_hz, thousandths, response)


# (sensor, channel, time) -> samples, how they were conditioned, and their segment; the last used are last
_MEMORY: dict[tuple[str, str, int], tuple[NDArray[np.int64], float, int, Response, _Segment]] = {}


def _remembered(place: tuple[str, str, int], cut: Floats, rate_hz: float, late: int, response: Response) -> _Segment:
    """The segment of these very samples. A place holds one: what is asked for again differs by what came since."""
    bits = cut.view(np.int64)  # equal bits, not equal numbers: NaN must equal itself
    if (before := _MEMORY.pop(place, None)) is not None:
        samples, rate, was_late, how, segment = before
        if rate == rate_hz and was_late == late and (how is response or how == response) and _same(samples, bits):
            _MEMORY[place] = before
            return segment
    segment = _segment(cut, rate_hz, late, response)
    _MEMORY[place] = (bits.copy(), rate_hz, late, response, segment)
    while len(_MEMORY) > REMEMBERED:
        _MEMORY.pop(next(iter(_MEMORY), place), None)
    return segment


def _same(before: NDArray[np.int64], now: NDArray[np.int64]) -> bool:
    return len(before) == len(now) and bool((before == now).all())


def _segment(counts: Floats, rate_hz: float, late: int, response: Response) -> _Segment:
    """Pure: the same samples give the same bits whether remembered or not. ``late`` is in thousandths of a sample."""
    steps = np.diff(counts)
    known = np.isfinite(steps)
    stretch = _stretch(known)
    weights = _weights(known, stretch, rate_hz)
    block = np.zeros(round(BLOCK_S * rate_hz))
    lead = round((LEAD_S - FADE_S) * rate_hz)
    if stretch is None:
        np.multiply(steps, weights, out=block[lead : lead + len(steps)], where=known)
    else:
        np.multiply(steps[stretch], weights[stretch], out=block[lead : lead + len(steps)][stretch])
    back = _inverse(rate_hz, response, late)
    velocity = scipy.fft.rfft(block)[: len(back.wide)] * back.wide
    grid = np.zeros(round(BLOCK_S * GRID_HZ) // 2 + 1, np.complex128)
    grid[: len(back.cancel)] = velocity[: len(back.cancel)] * back.cancel
    wave = scipy.fft.irfft(grid, round(BLOCK_S * GRID_HZ)) * (GRID_HZ * BLOCK_S / len(block))
    energy = velocity.real**2 + velocity.imag**2
    weight = float(weights @ weights)
    loudness = np.sqrt(energy[back.lines]) * (2 / max(float(weights.sum()), 1e-300))
    return _Segment(
        np.asarray(wave, np.float64),
        _valid(known, stretch, rate_hz),
        float(2 * np.sum(energy[back.in_wide]) / len(block)),
        weight,
        loudness,
        float(np.max(loudness, initial=0.0)),
        *_extremes(_own(counts, stretch, rate_hz)),
    )


def _stretch(known: Flags) -> slice | None:
    """Where the known steps are, if they are in one piece, as a look mostly finds them."""
    first, count = int(np.argmax(known)), int(np.count_nonzero(known))
    return slice(first, first + count) if known[first : first + count].all() else None


def _weights(known: Flags, stretch: slice | None, rate_hz: float) -> Floats:
    joint = _joint(len(known), rate_hz)
    if stretch is not None and stretch.stop - stretch.start == len(known):
        return joint
    return joint * _gap_fade(known, stretch, rate_hz)


def _own(counts: Floats, stretch: slice | None, rate_hz: float) -> Floats:
    """The known samples of the segment itself, without those that lead in and out."""
    begin, end = 1 + round(FADE_S * rate_hz), 1 + round((FADE_S + SEGMENT_S) * rate_hz)
    if stretch is None or stretch.start == stretch.stop:  # single samples between gaps make no step
        own = counts[begin:end]
        return own[np.isfinite(own)]
    return counts[max(begin, stretch.start) : min(end, stretch.stop + 1)]


@dataclass(frozen=True, slots=True)
class _Inverse:
    """Multipliers of a block's spectrum up to 45 Hz: steps of counts to m/s; then the cancel band's own edges."""

    wide: Complexes
    cancel: Floats
    in_wide: slice
    lines: slice


@lru_cache(maxsize=64)
def _inverse(rate_hz: float, response: Response, late: int) -> _Inverse:
    """The response divided out, steps summed up again, and what the cut is late put right (thousandths of a sample)."""
    n = round(BLOCK_S * rate_hz)
    hz = np.arange(n // 2 + 1) * (rate_hz / n)
    hz = hz[hz <= min(LINE_BAND_HZ[1], 0.45 * rate_hz)]
    gain = response.at(np.maximum(hz, 1e-9))
    heard = (hz >= WIDE_BAND_HZ[0]) & (hz <= WIDE_BAND_HZ[1])
    floor = np.maximum(np.abs(gain), RESPONSE_FLOOR * float(np.max(np.abs(gain[heard]))))
    step = 1 - np.exp(-2j * np.pi * hz / rate_hz)
    low, high = CANCEL_BAND_HZ
    step[hz < low - EDGE_HZ] = np.inf
    whole = np.conj(gain) / floor**2 / step * np.exp(-2j * np.pi * hz * late / 1000 / rate_hz)
    rise = np.clip((hz - low + EDGE_HZ) / (2 * EDGE_HZ), 0, 1)
    fall = np.clip((high + EDGE_HZ - hz) / (2 * EDGE_HZ), 0, 1)
    kept = int(np.searchsorted(hz, high + EDGE_HZ))
    edges = np.sin(0.5 * np.pi * rise[:kept]) ** 2 * np.sin(0.5 * np.pi * fall[:kept]) ** 2
    wide = slice(int(np.searchsorted(hz, WIDE_BAND_HZ[0])), int(np.searchsorted(hz, WIDE_BAND_HZ[1], side="right")))
    lines = slice(int(np.searchsorted(hz, LINE_BAND_HZ[0])), len(hz))
    return _Inverse(np.asarray(whole, np.complex128), edges, wide, lines)


@lru_cache(maxsize=16)
def _joint(n: int, rate_hz: float) -> Floats:
    """Weights of a segment's samples: up over the joint with the one before, down over the joint with the next."""
    t = (np.arange(n) + 0.5) / rate_hz
    fade = np.clip(np.minimum(t, n / rate_hz - t) / (2 * FADE_S), 0, 1)
    return np.asarray(np.sin(0.5 * np.pi * fade) ** 2, np.float64)


def _gap_fade(known: Flags, stretch: slice | None, rate_hz: float) -> Floats:
    """Weights that fall to 0 within `FADE_S` of what is not known."""
    if stretch is None:
        at = np.arange(len(known), dtype=np.float64)
        before = np.maximum.accumulate(np.where(known, -np.inf, at))
        after = np.minimum.accumulate(np.where(known, np.inf, at)[::-1])[::-1]
        return _fallen(np.minimum(at - before, after - at), rate_hz)
    reach = min(stretch.stop - stretch.start, round(FADE_S * rate_hz) + 1)
    fade = _fallen(np.arange(1.0, reach + 1), rate_hz)
    weights = np.zeros(len(known))
    weights[stretch] = 1.0
    if stretch.start > 0:
        weights[stretch.start : stretch.start + reach] = fade
    if stretch.stop < len(known):
        tail = weights[stretch.stop - reach : stretch.stop]
        np.minimum(tail, fade[::-1], out=tail)
    return weights


def _fallen(distance: Floats, rate_hz: float) -> Floats:
    """Weight of a sample that is so many from the next that is not known."""
    return np.asarray(np.sin(0.5 * np.pi * np.clip((distance - 0.5) / (FADE_S * rate_hz), 0, 1)) ** 2, np.float64)


def _valid(known: Flags, stretch: slice | None, rate_hz: float) -> Flags:
    """Whether each of the segment's own grid points has its whole neighbourhood; (125,)."""
    low, high = _neighbourhoods(len(known), rate_hz)
    if stretch is not None:
        return np.asarray((low >= stretch.start) & (high <= stretch.stop), np.bool_)
    unknown = np.concatenate(([0], np.cumsum(~known)))
    return np.asarray(unknown[high] == unknown[low], np.bool_)


@lru_cache(maxsize=16)
def _neighbourhoods(n: int, rate_hz: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last step, of n, that each grid point of a segment rests on."""
    centre = (np.arange(round(SEGMENT_S * GRID_HZ)) / GRID_HZ + FADE_S) * rate_hz
    low = np.maximum(0, np.round(centre - FADE_S * rate_hz).astype(np.int64))
    return low, np.minimum(n, np.round(centre + FADE_S * rate_hz).astype(np.int64))


def _extremes(own: Floats) -> tuple[int, float, float, int, int, int]:
    if len(own) < 2:
        return len(own), -np.inf, np.inf, 0, 0, 0
    highest, lowest = float(own.max()), float(own.min())
    still = int(np.count_nonzero(own[1:] == own[:-1]))
    if still < CLIPPED_RUN - 1:  # no run can be that long
        return len(own), highest, lowest, 0, 0, still
    return len(own), highest, lowest, _run_windows(own == highest), _run_windows(own == lowest), still


def _run_windows(at: Flags) -> int:
    run = at[: -(CLIPPED_RUN - 1)].copy()
    for shift in range(1, CLIPPED_RUN):
        run &= at[shift : len(at) - CLIPPED_RUN + 1 + shift]
    return int(np.count_nonzero(run))


def _broken(segments: Sequence[_Segment], samples: int) -> str | None:
    """Flat, or against a rail."""
    highest, lowest = max([s.highest for s in segments]), min([s.lowest for s in segments])
    if highest == lowest or sum([s.still for s in segments]) > FLAT_SHARE * samples:
        return f"flat at {lowest:g} counts"
    for rail, run in (
        (highest, sum([s.highest_run for s in segments if s.highest == highest])),
        (lowest, sum([s.lowest_run for s in segments if s.lowest == lowest])),
    ):
        if abs(rail) > SMALL_COUNTS and run >= CLIPPED_RUN:
            return f"clipped at {rail:g} counts"
    return None


def _joined(segments: Sequence[_Segment], points: int) -> tuple[Floats, Flags]:
    """Blocks added where they lie, validity side by side, both cut to the window."""
    hop, lead, block = round(SEGMENT_S * GRID_HZ), round(LEAD_S * GRID_HZ), round(BLOCK_S * GRID_HZ)
    early = round(FADE_S * GRID_HZ)
    blocks = np.concatenate([s.wave for s in segments]).reshape(-1, block)
    wave = np.zeros((len(segments) + 1, hop))  # a block reaches into the next segment, and no further
    wave[:-1] = blocks[:, :hop]
    wave[1:, : block - hop] += blocks[:, hop:]
    valid = np.zeros(len(segments) * hop + early, np.bool_)
    np.concatenate([s.valid for s in segments], out=valid[: len(segments) * hop])
    valid[len(segments) * hop - early :] = False  # where the last one fades, into none
    return wave.ravel()[lead + early : lead + early + points], valid[early : early + points]
