"""Vibration as evidence: is the body louder than the ground explains, and does it beat like a heart?

One FFT per sensor removes the response and selects the band; the ground's share is cancelled by a least-squares filter
from the ground sensors (never from a body channel: that would eat the signal); what is left is compared with the
background that the ground predicts, and its envelope is searched for a rhythm of 0.7-2.5 Hz (SCIENCE 2.5). Both are
needed: several hearts hide one another's rhythm, and one heart may hide in a background that is only guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log10

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fusion.evidence.evidence import OK, Evidence, device_silence, silent
from fusion.passage import Passage, SensorSeries
from fusion.verdict import State

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

VIBRATION = "vibration"
FEATURES = ("energy_log", "rhythm_log", "agreement", "band_log")  # what the classifier reads, in order

LEAST_S = 4.0  # assumed: three beats of a slow heart
MOST_S = 120.0  # bound on memory; the last look is at 45 s
TAPER_S = 0.25  # assumed
PARTNER_SHARE = 0.5  # assumed: a sensor with less of the record than this share of the best is left out
GRID_HZ = 25.0  # of the band-passed waves: the band ends at 12 Hz
CANCEL_BAND_HZ, HEART_BAND_HZ, WIDE_BAND_HZ = (1.0, 12.0), (3.0, 8.0), (1.0, 20.0)  # SCIENCE 2.1, 2.4
RESPONSE_FLOOR = 0.02  # of the gain at the band's best: below it a sensor is deaf and division makes noise
TAPS_MOST, ROWS_PER_TAP = 32, 12  # 1.3 s at 25 Hz; assumed: fewer rows per tap and the filter eats the signal
RIDGE = 1e-3  # assumed, of the ground's power
COHERENCE_LOSS = 0.33  # residual share at coherence 0.9: sqrt(1/9), SCIENCE 2.5
UNCOUPLED_M_S = 2e-9  # SCIENCE 2.3 (assumed): quieter than this is a sensor in the air, not a quiet lorry
WIND_LIMIT_M_S = 4.0  # SCIENCE 2.4: an open lane works to 3-4 m/s in 3-8 Hz
WIND_FLOOR_M_S = 0.16e-6  # SCIENCE 2.4: rms in 3-8 Hz at 2 m/s on 15 t, growing as U^3.5 over mass
LOUD_GROUND_M_S = 20e-6  # assumed: ten times the high-noise model; what leaks then hides any heart
LINE_RATIO, LINE_M_S = 1e4, 1e-6  # assumed: a line this far over its neighbours, this loud, is a machine
LINE_OVER_GROUND = 5.0  # assumed: a suspension passes less than this of the ground above 9 Hz
LINE_BAND_HZ = (9.0, 45.0)  # firing orders at idle and of refrigeration diesels
BURST_RATIO, BURST_MARGIN_S = 3.0, 2  # assumed: a second of ground this much over the median is a passing vehicle
BEAT_HZ = (0.7, 2.5)  # 42-150 a minute
HARMONICS = 3  # SCIENCE 2.5
FULL_RECORD_S = 30.0  # quality is full from here on: goals are stated for 30 s
CLIPPED_RUN = 4  # assumed: this many equal extremes in a row are a rail, not a peak


@dataclass(frozen=True, slots=True)
class _Sensor:
    """One usable sensor: cancel-band wave (n,) m/s and validity (n,) on the grid; wide-band rms, line amplitudes."""

    name: str
    wave: Floats
    valid: Flags
    wide_rms: float
    loudness: Floats


@dataclass(frozen=True, slots=True)
class _Body:
    """A body sensor after cancelling: residual in the heart band (n,) m/s and rms of the part the ground explains."""

    name: str
    residual: Floats
    explained_rms: float
    wide_rms: float


def vibration_evidence(passage: Passage, until_utc_ns: int) -> Evidence:
    """Evidence from all samples before ``until_utc_ns``."""
    gate = _gates(passage, until_utc_ns)
    if not passage.vibration:
        return device_silence(passage, VIBRATION) or silent(VIBRATION, State.ABSENT, "no vibration sensor")
    if gate is not None:
        return gate
    begin, seconds = _window(passage.vibration, passage.began_utc_ns, until_utc_ns)
    if seconds < LEAST_S:
        return _too_little(seconds)
    sensors, faults = _sort_out(passage.vibration, begin, seconds)
    body = [s for s in sensors if s.name.startswith("B")]
    ground = [s for s in sensors if s.name.startswith("G")]
    if not body:
        return _no_body(faults)
    if not ground:
        cause = next((f for f in faults if f.startswith("G")), "no ground sensor")
        return silent(VIBRATION, State.OUT_OF_LIMITS, f"{cause}: ground motion cannot be told from a heart")
    return _machine(body, ground, seconds) or _measured(passage, until_utc_ns, body, ground, faults)


def wind_at_vehicle_m_s(passage: Passage, until_utc_ns: int) -> float | None:
    """Strongest mean wind that reaches the vehicle: none in a shed, and unknown shelter counts as open."""
    if passage.context.shelter == "shed":
        return 0.0
    winds = [
        sample.wind_m_s
        for sample in passage.weather
        if sample.stamp.time_utc_ns <= until_utc_ns and sample.status == OK and sample.wind_m_s is not None
    ]
    return max((wind for wind in winds if isfinite(wind)), default=None)


def _gates(passage: Passage, until_utc_ns: int) -> Evidence | None:
    """Surroundings in which nothing can be measured, with the figure."""
    for word, value, cause in (
        ("engine", passage.context.engine, "engine running"),
        ("driver", passage.context.driver, "driver in the cab: a heart in the vehicle"),
        ("refrigeration", passage.context.refrigeration, "refrigeration unit running"),
    ):
        if value == ("in" if word == "driver" else "on"):
            return silent(VIBRATION, State.OUT_OF_LIMITS, cause)
    wind = wind_at_vehicle_m_s(passage, until_utc_ns)
    if wind is not None and wind > WIND_LIMIT_M_S:
        cause = f"wind {wind:.1f} m/s, limit {WIND_LIMIT_M_S:g} m/s without shelter"
        return silent(VIBRATION, State.OUT_OF_LIMITS, cause, {"wind_m_s": wind})
    return None


def _sort_out(every: Sequence[SensorSeries], begin_ns: int, seconds: float) -> tuple[list[_Sensor], list[str]]:
    """The usable sensors, and of each other one why it is not; by name, so that the order of arrival is no matter."""
    sensors, faults = list[_Sensor](), list[str]()
    for series in sorted(every, key=lambda s: (s.sensor, s.channel)):
        outcome = _condition(series, begin_ns, seconds)
        if isinstance(outcome, _Sensor):
            sensors.append(outcome)
        else:
            faults.append(f"{series.sensor}: {outcome}")
    most = max((float(s.valid.mean()) for s in sensors), default=0.0)
    short = [s for s in sensors if s.valid.mean() < PARTNER_SHARE * most]
    faults += [f"{s.name}: samples for {s.valid.sum() / GRID_HZ:.0f} of {seconds:.0f} s only" for s in short]
    return [s for s in sensors if s.valid.mean() >= PARTNER_SHARE * most], faults


def _too_little(seconds: float) -> Evidence:
    return silent(VIBRATION, State.ABSENT, f"too little data: {max(0.0, seconds):.1f} of {LEAST_S:g} s")


def _no_body(faults: Sequence[str]) -> Evidence:
    body = [fault for fault in faults if fault.startswith("B")]
    if not body:
        return silent(VIBRATION, State.ABSENT, "no body sensor")
    short = all("too little data" in fault for fault in body)
    return silent(VIBRATION, State.ABSENT if short else State.FAULTY, "; ".join(body)[:200])


def _window(series: Sequence[SensorSeries], began_ns: int, until_ns: int) -> tuple[int, float]:
    """Start (ns) and length (s, whole tenths, so that every rate has whole samples) of what all sensors span."""
    start = max(began_ns, min(s.start_utc_ns for s in series))
    end = min(until_ns, max(s.start_utc_ns + round(len(s.counts) * 1e9 / s.rate_hz) for s in series))
    seconds = np.floor((end - start) / 1e8 + 1e-6) / 10
    if seconds > MOST_S:
        start, seconds = start + round((seconds - MOST_S) * 1e9), MOST_S
    return start, float(seconds)


def _condition(series: SensorSeries, begin_ns: int, seconds: float) -> _Sensor | str:
    """Counts to m/s on the common grid, or why this sensor is left out."""
    if series.response is None:
        return series.fault or "no response"
    n = round(seconds * series.rate_hz)
    counts = _cut(series, begin_ns, n)
    valid = np.isfinite(counts)
    if valid.sum() < LEAST_S * series.rate_hz:
        return f"too little data: {valid.sum() / series.rate_hz:.1f} of {LEAST_S:g} s"
    if (fault := _broken(counts[valid])) is not None:
        return fault
    filled, valid = _tapered(counts, valid, series.rate_hz)
    spectrum = scipy.fft.rfft(filled)
    hz = np.arange(len(spectrum)) / seconds
    band = (hz >= WIDE_BAND_HZ[0]) & (hz <= min(WIDE_BAND_HZ[1], 0.45 * series.rate_hz))
    gain = series.response.at(hz[band])
    best = float(np.max(np.abs(gain)))
    floor = np.maximum(np.abs(gain), RESPONSE_FLOOR * best)
    velocity = np.zeros(len(spectrum), np.complex128)
    velocity[band] = spectrum[band] * np.conj(gain) / floor**2
    share = float(valid.mean())
    wide = float(np.sqrt(2 * np.sum(np.abs(velocity) ** 2) / n**2 / share))
    if wide < UNCOUPLED_M_S:  # a deaf ground sensor would explain nothing, and the ground would pass for a person
        return f"{wide * 1e9:.2g} nm/s rms is below any lane: not coupled"
    wave = _on_grid(velocity, hz, n, seconds)
    grid = np.minimum((np.arange(len(wave)) * series.rate_hz / GRID_HZ).astype(int), n - 1)
    return _Sensor(series.sensor, wave, valid[grid], wide, _loudness(spectrum, hz, n, series))


def _cut(series: SensorSeries, begin_ns: int, n: int) -> Floats:
    """n samples from ``begin_ns`` on, NaN where there are none."""
    offset = round((begin_ns - series.start_utc_ns) * series.rate_hz / 1e9)
    cut = np.full(n, np.nan)
    first, last = max(0, offset), min(len(series.counts), offset + n)
    if last > first:
        cut[first - offset : last - offset] = series.counts[first:last]
    return cut


def _tapered(counts: Floats, valid: Flags, rate_hz: float) -> tuple[Floats, Flags]:
    """Counts without their straight line, 0 where not valid, faded in and out over `TAPER_S`, which is then not valid.

    A step at the ends would spread the sea's slow motion over the heart band.
    """
    n, whole = len(counts), bool(valid.all())
    t = np.arange(n, dtype=np.float64) - (n - 1) / 2
    at, known = (t, counts) if whole else (t[valid], counts[valid])
    middle, level = float(np.mean(at)), float(np.mean(known))
    run = at - middle
    slope = float(run @ known) / float(run @ run)
    filled = counts - (level + slope * (t - middle))
    if not whole:
        filled[~valid] = 0.0
    edge = min(n // 2, int(np.ceil(TAPER_S * rate_hz - 0.5)))
    fade = np.sin(0.5 * np.pi * (np.arange(edge) + 0.5) / (TAPER_S * rate_hz)) ** 2
    filled[:edge] *= fade
    filled[n - edge :] *= fade[::-1]
    kept = valid.copy()
    kept[:edge] = kept[n - edge :] = False
    return filled, kept


def _broken(counts: Floats) -> str | None:
    """Flat, or against a rail."""
    step = np.diff(counts)
    if np.ptp(counts) == 0 or float(np.mean(step == 0)) > 0.9:  # assumed: a live sensor moves nine times in ten
        return f"flat at {counts[0]:g} counts"
    for rail in (float(np.max(counts)), float(np.min(counts))):
        at = (counts == rail).astype(np.int8)
        run = np.convolve(at, np.ones(CLIPPED_RUN, np.int8), "valid")
        if abs(rail) > 100 and np.sum(run == CLIPPED_RUN) >= CLIPPED_RUN:  # assumed: small counts repeat by chance
            return f"clipped at {rail:g} counts"
    return None


def _loudness(spectrum: NDArray[np.complex128], hz: Floats, n: int, series: SensorSeries) -> Floats:
    """Amplitude of a steady sine, m/s, for each bin of `LINE_BAND_HZ` that this rate holds."""
    band = (hz >= LINE_BAND_HZ[0]) & (hz <= min(LINE_BAND_HZ[1], 0.45 * series.rate_hz))
    gain = np.abs(series.response.at(hz[band])) if series.response is not None else np.ones(int(band.sum()))
    return np.asarray(2 * np.abs(spectrum[band]) / n / np.maximum(gain, 1e-300), np.float64)


def _machine(body: list[_Sensor], ground: list[_Sensor], seconds: float) -> Evidence | None:
    """A line of an engine or compressor on the vehicle; what the ground has too is a neighbour's, and cancels."""
    for sensor in body:
        loud = sensor.loudness
        if len(loud) < 16:
            continue
        top = int(np.argmax(loud))
        near = slice(max(0, top - 2), top + 3)
        neighbour = max((float(np.max(g.loudness[near], initial=0.0)) for g in ground), default=0.0)
        level = float(loud[top])
        steady = level**2 > LINE_RATIO * float(np.median(loud)) ** 2
        if steady and level > LINE_M_S and level > LINE_OVER_GROUND * neighbour:
            hz = np.ceil(LINE_BAND_HZ[0] * seconds) / seconds + top / seconds
            cause = f"a machine runs on the vehicle: {sensor.name} has a line at {hz:.1f} Hz, {level * 1e6:.1f} um/s"
            return silent(VIBRATION, State.OUT_OF_LIMITS, cause, {"line_hz": float(hz), "line_um_s": level * 1e6})
    return None


def _on_grid(velocity: NDArray[np.complex128], hz: Floats, n: int, seconds: float) -> Floats:
    """Inverse of the cancel band alone, onto `GRID_HZ`: band-pass and decimation in one step."""
    points = round(seconds * GRID_HZ)
    kept = np.zeros(points // 2 + 1, np.complex128)
    last = min(len(kept), int(np.searchsorted(hz, CANCEL_BAND_HZ[1], side="right")))
    kept[:last] = velocity[:last] * (hz[:last] >= CANCEL_BAND_HZ[0])
    return np.asarray(scipy.fft.irfft(kept, points) * (points / n), np.float64)


def _band(waves: Floats, low: float, high: float) -> Floats:
    """The band alone, along the last axis."""
    spectrum = scipy.fft.rfft(waves)
    hz = scipy.fft.rfftfreq(waves.shape[-1], 1 / GRID_HZ)
    return np.asarray(scipy.fft.irfft(spectrum * ((hz >= low) & (hz <= high)), waves.shape[-1]), np.float64)


def _measured(
    passage: Passage, until_utc_ns: int, body: list[_Sensor], ground: list[_Sensor], faults: list[str]
) -> Evidence:
    heart_ground = _band(np.stack([g.wave for g in ground]), *HEART_BAND_HZ)
    heard = np.logical_and.reduce([g.valid for g in ground])
    keep, ground_rms = _quiet(heart_ground, heard)
    if ground_rms > LOUD_GROUND_M_S:
        cause = f"ground {ground_rms * 1e6:.0f} um/s in 3-8 Hz, limit {LOUD_GROUND_M_S * 1e6:.0f}"
        return silent(VIBRATION, State.OUT_OF_LIMITS, cause, {"ground_um_s": ground_rms * 1e6})
    keep = keep & np.logical_and.reduce([b.valid for b in body])
    if keep.sum() < LEAST_S * GRID_HZ:
        return _too_little(float(keep.sum() / GRID_HZ))
    cancelled = _cancel(body, ground, keep)
    features = _features(passage, until_utc_ns, cancelled, keep, ground_rms)
    total = len(body) + len(ground) + len(faults)
    sensors = (len(body) + len(ground)) / total
    quality = float(keep.mean()) * sensors * min(1.0, len(keep) / GRID_HZ / FULL_RECORD_S)
    where = _where(cancelled, keep, passage)
    return Evidence(VIBRATION, State.MEASURED, "; ".join(faults)[:200] or None, where, quality, features)


def _quiet(ground: Floats, valid: Flags) -> tuple[Flags, float]:
    """Grid points outside passing vehicles, and the ground's rms there, m/s; ``ground`` is (sensors, n)."""
    power = np.mean(ground**2, axis=0)
    size = int(GRID_HZ)
    whole = np.mean(power[: len(power) // size * size].reshape(-1, size), axis=1)
    usual = float(np.median(whole))
    keep = valid.copy()
    for index in np.flatnonzero(whole > BURST_RATIO**2 * usual).tolist():
        keep[max(0, index - BURST_MARGIN_S) * size : (index + 1 + BURST_MARGIN_S) * size] = False
    kept = power[keep] if keep.any() else power
    return keep, float(np.sqrt(np.mean(kept)))


def _cancel(body: list[_Sensor], ground: list[_Sensor], keep: Flags) -> list[_Body]:
    """Least-squares filter from the ground sensors: ``min |b - sum_jk h_jk g_j[t - k]|^2 + ridge |h|^2``.

    All body sensors share the normal equations; only the right-hand side is their own.
    """
    n = len(keep)
    taps = min(TAPS_MOST, max(1, int(np.count_nonzero(keep)) // (ROWS_PER_TAP * len(ground))))
    ahead = taps // 4  # some ahead: the ground sensor may stand behind the wheel
    circle = [np.concatenate((g.wave[n - (taps - 1 - ahead) :], g.wave, g.wave[:ahead])) for g in ground]
    design = np.concatenate([np.lib.stride_tricks.sliding_window_view(c, taps) for c in circle], axis=1)
    rows = design[keep]
    normal = rows.T @ rows
    normal[np.diag_indices_from(normal)] += RIDGE * max(float(np.trace(normal)) / len(normal), 1e-300)
    waves = np.stack([b.wave for b in body])
    explained = (design @ np.linalg.solve(normal, rows.T @ waves[:, keep].T)).T
    explained_heart, residual = _band(explained, *HEART_BAND_HZ), _band(waves - explained, *HEART_BAND_HZ)
    return [_Body(b.name, residual[i], _rms(explained_heart[i][keep]), b.wide_rms) for i, b in enumerate(body)]


def _rms(wave: Floats) -> float:
    return float(np.sqrt(np.mean(wave**2)))


def _features(
    passage: Passage, until_utc_ns: int, body: list[_Body], keep: Flags, ground_rms: float
) -> dict[str, float]:
    halves = _half_seconds(body, keep)
    # The median: springs that creep after the stop, and a thump, are not energy that lasts.
    residual = float(np.sqrt(np.median(halves)))
    explained = float(np.sqrt(np.mean([b.explained_rms**2 for b in body])))
    wide = float(np.sqrt(np.mean([b.wide_rms**2 for b in body])))
    told = passage.gross_mass_kg
    mass = told if told is not None and isfinite(told) and told > 0 else 15_000.0
    wind = (wind_at_vehicle_m_s(passage, until_utc_ns) or 0.0) / 2.0
    blown = WIND_FLOOR_M_S * wind**3.5 * 15_000.0 / max(mass, 1_000.0)
    background = float(np.sqrt((COHERENCE_LOSS * explained) ** 2 + blown**2 + UNCOUPLED_M_S**2))
    envelopes = _envelopes(np.stack([b.residual for b in body]), keep)
    rhythm, beat_hz = _rhythm(np.mean(envelopes, axis=0))
    return {
        "energy_log": _log(residual / background),
        "rhythm_log": _log(rhythm),
        "agreement": _agreement(envelopes[:, keep]),
        "shift_log": 0.5 * _log(float(np.max(halves)) / max(residual**2, 1e-300)),
        "band_log": _log(residual / wide),
        "rhythm_bpm": beat_hz * 60.0,
        "residual_um_s": residual * 1e6,
        "background_um_s": background * 1e6,
        "ground_um_s": ground_rms * 1e6,
    }


def _log(ratio: float) -> float:
    return log10(min(1e6, max(1e-6, ratio)))


def _envelopes(waves: Floats, keep: Flags) -> Floats:
    """Amplitude of the analytic signals (sensors, n) over their means, less 1, 0 where left out; capped, as a thump is
    no beat.
    """
    n = waves.shape[-1]
    spectrum = np.zeros(waves.shape, np.complex128)
    half = scipy.fft.rfft(waves)
    half[:, 1 : (n + 1) // 2] *= 2.0
    spectrum[:, : half.shape[-1]] = half
    amplitude = np.abs(scipy.fft.ifft(spectrum))
    mean = np.maximum(np.mean(amplitude[:, keep], axis=1, keepdims=True), 1e-300)
    capped = np.minimum(amplitude / mean, 3.0)  # assumed
    return np.asarray(np.where(keep, capped - np.mean(capped[:, keep], axis=1, keepdims=True), 0.0), np.float64)


def _rhythm(envelope: Floats) -> tuple[float, float]:
    """Harmonic sum of the envelope's spectrum: its highest over its median in 0.7-2.5 Hz, and that frequency (Hz).

    What counts as high depends on the record's length: the classifier has weights for each look.
    """
    padded = scipy.fft.next_fast_len(4 * len(envelope), real=True)
    power = np.abs(scipy.fft.rfft(envelope * np.hanning(len(envelope)), padded)) ** 2
    step = GRID_HZ / padded
    beats = np.arange(int(np.ceil(BEAT_HZ[0] / step)), int(BEAT_HZ[1] / step) + 1)
    total = np.sum([power[beats * k] for k in range(1, HARMONICS + 1)], axis=0)
    best = int(np.argmax(total))
    return float(total[best] / max(float(np.median(total)), 1e-300)), float(beats[best] * step)


def _agreement(envelopes: Floats) -> float:
    """Mean correlation of the envelopes of all pairs of body sensors; 0 where there is one sensor only."""
    if len(envelopes) < 2:
        return 0.0
    spread = np.maximum(np.linalg.norm(envelopes, axis=1), 1e-300)
    pairs = (envelopes @ envelopes.T) / np.outer(spread, spread)
    return float(np.mean(pairs[np.triu_indices(len(envelopes), 1)]))


def _half_seconds(body: list[_Body], keep: Flags) -> Floats:
    """Mean power of the residuals over all body sensors, (m/s)^2, for each half second that was kept whole."""
    power = np.mean(np.stack([b.residual for b in body]) ** 2, axis=0)
    size = int(GRID_HZ / 2)
    end = len(power) // size * size
    halves = np.mean(power[:end].reshape(-1, size), axis=1)[keep[:end].reshape(-1, size).all(axis=1)]
    return halves if len(halves) else np.array([np.mean(power[keep])])


def _where(body: list[_Body], keep: Flags, passage: Passage) -> str | None:
    """Front, middle or rear, by the strongest of the lane's body sensors (numbered from the front); None for one."""
    names = sorted({s.sensor for s in passage.vibration if s.sensor.startswith("B")})
    if len(body) < 2:
        return None
    strongest = max(body, key=lambda b: _rms(b.residual[keep])).name
    place = names.index(strongest) / (len(names) - 1)
    return "front" if place < 1 / 3 else "rear" if place > 2 / 3 else "middle"
