"""Vibration as evidence: is the body louder than the ground explains, and does it beat like a heart?

Each sensor is conditioned to m/s in 1-12 Hz (`conditioning`); the ground's share is cancelled by a least-squares filter
from the ground sensors (never from a body channel: that would eat the signal); what is left is compared with the
background that the ground predicts, and searched for a rhythm of 0.7-2.5 Hz (`rhythm`; SCIENCE 2.5). Both are needed:
several hearts hide one another's rhythm, and one heart may hide in a background that is only guessed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log10

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from fusion.evidence.bands import band, in_band
from fusion.evidence.conditioning import GRID_HZ, SEGMENT_S, Sensor, condition, condition_ahead, line_hz
from fusion.evidence.evidence import OK, Evidence, device_silence, silent
from fusion.evidence.median import median
from fusion.evidence.rhythm import TICK_SHARE, Rhythm, lagged, rhythm
from fusion.evidence.spectra import bins, lasting_power
from fusion.passage import Passage, SensorSeries
from fusion.verdict import State

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]
Flags = NDArray[np.bool_]

VIBRATION = "vibration"
# What training reads, in order. A name never changes its meaning: a released model goes on reading what it learned.
FEATURES = (
    *("paired", "force_log", "explained_log", "apart_log", "low_log", "tilt_log", "band_log"),
    *("beat_log", "each_beat_log", "dry_beat_log", "repeat_log", "breath_log", "agreement", "shift_log"),
)

LEAST_S = 4.0  # assumed: three beats of a slow heart
MOST_S = 120.0  # bound on work; the last look is at 45 s
# assumed: gusts rock at 0.5 to 3 Hz (SCIENCE 2.4). Of simulated lorries in 3 m/s and more nine in ten lie below, of
# calm ones with somebody aboard one in twenty. Asked only where no mast and no shed answers for the wind.
SWAY_LOG = -1.1
PARTNER_SHARE = 0.5  # assumed: a sensor with less of the record than this share of the best is left out
HEART_BAND_HZ = (3.0, 8.0)  # SCIENCE 2.1, 2.4
SPREAD_HZ = (1.5, 3.9, 7.8)  # assumed: of wind, of the modes on tyres, above them
_BINS = bins(SPREAD_HZ[0], HEART_BAND_HZ[1])  # what of a spectrum is asked for
RING_ORDER, RING_RIDGE, RING_S = 10, 1e-3, 10.0  # assumed: four modes and the edges of the band; share of the power
TAPS_MOST, ROWS_PER_TAP = 32, 12  # 1.3 s at 25 Hz; assumed: fewer rows per tap and the filter eats the signal
_RING_LAGS = np.abs(np.subtract.outer(np.arange(RING_ORDER), np.arange(RING_ORDER)))  # lag of each product
RIDGE = 1e-3  # assumed, of the ground's power
COHERENCE_LOSS = 0.33  # residual share at coherence 0.9: sqrt(1/9), SCIENCE 2.5
STILL_M_S = 2e-9  # SCIENCE 2.3: nothing is read below it
WIND_LIMIT_M_S = 4.0  # SCIENCE 2.4: an open lane works to 3-4 m/s in 3-8 Hz
WIND_FLOOR_M_S = 0.16e-6  # SCIENCE 2.4: rms in 3-8 Hz at 2 m/s on 15 t, growing as U^3.5 over mass
USUAL_MASS_KG, LEAST_MASS_KG = 15_000.0, 1_000.0  # assumed
LOUD_GROUND_M_S = 20e-6  # assumed: ten times the high-noise model; what leaks then hides any heart
LINE_RATIO, LINE_M_S = 400.0, 1e-6  # assumed: this far over its neighbours in power, and this loud, is a machine
LINE_OVER_GROUND = 5.0  # assumed: a suspension passes less than this of the ground above 9 Hz
BURST_RATIO, BURST_MARGIN_S = 3.0, 2  # assumed: a second of ground this much over the median is a passing vehicle
FULL_RECORD_S = 30.0  # quality is full from here on: goals are stated for 30 s
MOVEMENT_RATIO = 4.0  # assumed: half a second this many times the usual rms is a movement
SWAP_ALIKE, SWAP_UNLIKE = 0.95, 0.8  # assumed: correlation of two ground sensors, and of a body with the ground


@dataclass(frozen=True, slots=True)
class _Cancelled:
    """All body sensors after cancelling, (sensors, n) m/s: ``left`` and ``explained`` by the ground in 1-12 Hz, and
    ``leak``, what of the ground the filter cannot tell, in the heart band (None for one ground sensor).

    ``heart_power`` is what is left in the heart band, squared; ``dry`` (sensors, n // 2 + 1) are spectra of what is
    left without the body's ringing. ``explained_rms`` is of the heart band, ``wide_rms`` of all before cancelling; each
    over all sensors, m/s.
    """

    names: tuple[str, ...]
    left: Floats
    explained: Floats
    heart_power: Floats
    dry: Complexes
    leak: Floats | None
    explained_rms: float
    wide_rms: float


def vibration_evidence(passage: Passage, until_utc_ns: int) -> Evidence:
    """Evidence from all samples before ``until_utc_ns``."""
    gate = _gates(passage, until_utc_ns)
    if not passage.vibration:
        return device_silence(passage, VIBRATION) or silent(VIBRATION, State.ABSENT, "no vibration sensor")
    if gate is not None:
        return gate
    begin, points = _window(passage.vibration, passage.began_utc_ns, until_utc_ns)
    if points < LEAST_S * GRID_HZ:
        return _too_little(points / GRID_HZ)
    sensors, faults = _sort_out(passage.vibration, begin, points)
    body = [s for s in sensors if s.name.startswith("B")]
    ground = [s for s in sensors if s.name.startswith("G")]
    if not body:
        return _no_body(faults)
    if not ground:
        cause = next((f for f in faults if f.startswith("G")), "no ground sensor")
        return silent(VIBRATION, State.OUT_OF_LIMITS, f"{cause}: ground motion cannot be told from a heart")
    return _machine(body, ground) or _measured(passage, until_utc_ns, body, ground, faults)


def prepare_vibration(series: Sequence[SensorSeries], began_utc_ns: int) -> None:
    """Do beforehand what the next look will want of samples that are there. It changes no answer, only when it comes.

    A look at more than `MOST_S` of record wants other segments: it is then judged without.
    """
    begin = max(began_utc_ns, min((s.start_utc_ns for s in series), default=began_utc_ns))
    for one in series:
        condition_ahead(one, begin)


def wind_at_vehicle_m_s(passage: Passage, until_utc_ns: int) -> float | None:
    """Strongest mean wind that reaches the vehicle: none in a shed, and unknown shelter counts as open.

    A mast that tells gusts alone is believed for want of better: no mean wind is stronger than its gusts.
    """
    if passage.context.shelter == "shed":
        return 0.0
    told = [s for s in passage.weather if s.stamp.time_utc_ns <= until_utc_ns and s.status == OK]
    winds = [s.wind_m_s if s.wind_m_s is not None else s.gust_m_s for s in told]
    return max((wind for wind in winds if wind is not None and isfinite(wind)), default=None)


def _gates(passage: Passage, until_utc_ns: int) -> Evidence | None:
    """Surroundings in which nothing can be measured, with the figure."""
    for word, value, cause in (
        ("engine", passage.context.engine, "engine running"),
        ("driver", passage.context.driver, "driver in the cab: a heart in the vehicle"),
        ("refrigeration", passage.context.refrigeration, "refrigeration unit running"),
    ):
        if value == ("in" if word == "driver" else "on"):
            return silent(VIBRATION, State.OUT_OF_LIMITS, cause)
    if passage.context.cargo == "live_animals":
        return silent(VIBRATION, State.OUT_OF_LIMITS, "live animals on board: hearts of their own")
    wind = wind_at_vehicle_m_s(passage, until_utc_ns)
    if wind is not None and wind > WIND_LIMIT_M_S:
        cause = f"wind {wind:.1f} m/s, limit {WIND_LIMIT_M_S:g} m/s without shelter"
        return silent(VIBRATION, State.OUT_OF_LIMITS, cause, {"wind_m_s": wind})
    return None


def _sort_out(every: Sequence[SensorSeries], begin_ns: int, points: int) -> tuple[list[Sensor], list[str]]:
    """The usable sensors, and of each other one why it is not; by name, so that the order of arrival is no matter."""
    sensors, faults = list[Sensor](), list[str]()
    for series in sorted(every, key=lambda s: (s.sensor, s.channel)):
        outcome = condition(series, begin_ns, points, LEAST_S)
        if isinstance(outcome, Sensor):
            sensors.append(outcome)
        else:
            faults.append(f"{series.sensor}: {outcome}")
    heard = [int(np.count_nonzero(s.valid)) for s in sensors]
    least, seconds = PARTNER_SHARE * max(heard, default=0), points / GRID_HZ
    faults += [
        f"{sensor.name}: samples for {there / GRID_HZ:.0f} of {seconds:.0f} s only"
        for sensor, there in zip(sensors, heard, strict=True)
        if there < least
    ]
    whole = [sensor for sensor, there in zip(sensors, heard, strict=True) if there >= least]
    swapped = _swapped(whole)
    faults += [f"{a} and {b}: swapped, {a} moves as the ground does" for a, b in swapped]
    return [s for s in whole if all(s.name not in pair for pair in swapped)], faults


def _swapped(sensors: Sequence[Sensor]) -> list[tuple[str, str]]:
    """Body and ground sensors whose plugs were exchanged: the "body" one moves as a ground sensor, and its partner not.

    Told only where another ground sensor is left to compare with.
    """
    valid = np.logical_and.reduce([s.valid for s in sensors]) if sensors else np.zeros(0, np.bool_)
    if np.count_nonzero(valid) < LEAST_S * GRID_HZ:
        return []
    waves = np.stack([s.wave for s in sensors]) * valid
    products = waves @ waves.T
    spread = np.maximum(np.sqrt(np.diagonal(products)), 1e-300)
    alike = products / np.outer(spread, spread)
    ground = [i for i, s in enumerate(sensors) if s.name.startswith("G")]
    body = [i for i, s in enumerate(sensors) if s.name.startswith("B")]
    return [
        (sensors[b].name, sensors[g].name)
        for b in body
        for g in ground
        for other in ground
        if other != g
        and alike[b, other] > SWAP_ALIKE
        and alike[g, other] < SWAP_UNLIKE
        and 0.7 < spread[b] / spread[other] < 1.4  # assumed: one ground, and sensors of one kind
    ]


def _too_little(seconds: float) -> Evidence:
    return silent(VIBRATION, State.ABSENT, f"too little data: {max(0.0, seconds):.1f} of {LEAST_S:g} s")


def _no_body(faults: Sequence[str]) -> Evidence:
    body = [fault for fault in faults if fault.startswith("B")]
    if not body:
        return silent(VIBRATION, State.ABSENT, "no body sensor")
    short = all("too little data" in fault for fault in body)
    return silent(VIBRATION, State.ABSENT if short else State.FAULTY, "; ".join(body)[:200])


def _window(series: Sequence[SensorSeries], began_ns: int, until_ns: int) -> tuple[int, int]:
    """Start (ns) and grid points of what all sensors span; the start moves by whole segments when that is too long."""
    start = max(began_ns, min(s.start_utc_ns for s in series))
    end = min(until_ns, max(s.start_utc_ns + round(len(s.counts) * 1e9 / s.rate_hz) for s in series))
    points = int(np.floor((end - start) * GRID_HZ / 1e9 + 1e-6))
    over = max(0, int(np.ceil((points / GRID_HZ - MOST_S) / SEGMENT_S)))
    return start + round(over * SEGMENT_S * 1e9), points - over * round(SEGMENT_S * GRID_HZ)


def _machine(body: list[Sensor], ground: list[Sensor]) -> Evidence | None:
    """A line of an engine or compressor on the vehicle; what the ground has too is a neighbour's, and cancels."""
    for sensor in body:
        if sensor.loudest <= LINE_M_S:
            continue
        loud = sensor.loudness()
        if len(loud) < 16:
            continue
        top = int(np.argmax(loud))
        level = float(loud[top])
        if level <= LINE_M_S or level**2 <= LINE_RATIO * float(np.median(loud)) ** 2:
            continue
        near = slice(max(0, top - 2), top + 3)
        neighbour = max((float(np.max(g.loudness()[near], initial=0.0)) for g in ground), default=0.0)
        if level > LINE_OVER_GROUND * neighbour:
            hz = line_hz(top)
            cause = f"a machine runs on the vehicle: {sensor.name} has a line at {hz:.1f} Hz, {level * 1e6:.1f} um/s"
            return silent(VIBRATION, State.OUT_OF_LIMITS, cause, {"line_hz": hz, "line_um_s": level * 1e6})
    return None


def _measured(
    passage: Passage, until_utc_ns: int, body: list[Sensor], ground: list[Sensor], faults: list[str]
) -> Evidence:
    heard = np.logical_and.reduce([g.valid for g in ground])
    sources = np.stack([g.wave for g in ground])
    source_spectra = scipy.fft.rfft(sources)
    keep, ground_rms = _quiet(in_band(source_spectra, len(heard), *HEART_BAND_HZ), heard)
    if ground_rms > LOUD_GROUND_M_S:
        cause = f"ground {ground_rms * 1e6:.0f} um/s in 3-8 Hz, limit {LOUD_GROUND_M_S * 1e6:.0f}"
        return silent(VIBRATION, State.OUT_OF_LIMITS, cause, {"ground_um_s": ground_rms * 1e6})
    keep = keep & np.logical_and.reduce([b.valid for b in body])
    if keep.sum() < LEAST_S * GRID_HZ:
        return _too_little(float(keep.sum() / GRID_HZ))
    cancelled = _cancel(body, sources, source_spectra, keep)
    beat = rhythm(cancelled.left, cancelled.dry, keep)
    if beat.steady_share is not None and beat.steady_share < TICK_SHARE:
        bpm, share = beat.beat_hz * 60, beat.steady_share * 100
        cause = f"a machine ticks at {bpm:.1f} a minute: even to {share:.1f} %, a heart strays by more than 2 %"
        return silent(VIBRATION, State.OUT_OF_LIMITS, cause, {"rhythm_bpm": bpm, "steady_share": beat.steady_share})
    features = _features(passage, until_utc_ns, cancelled, beat, keep)
    if features["band_log"] < SWAY_LOG and wind_at_vehicle_m_s(passage, until_utc_ns) is None:
        share = 100 * 10 ** features["band_log"]
        cause = f"sways as in wind ({share:.0f} % of its motion in the heart band), and nothing tells the wind here"
        return silent(VIBRATION, State.OUT_OF_LIMITS, cause, {"band_log": features["band_log"]})
    features |= _lasting(cancelled, keep) | {"ground_um_s": ground_rms * 1e6}
    sensors = (len(body) + len(ground)) / (len(body) + len(ground) + len(faults))
    quality = float(keep.mean()) * sensors * min(1.0, len(keep) / GRID_HZ / FULL_RECORD_S)
    where = _where(cancelled, keep, passage)
    return Evidence(VIBRATION, State.MEASURED, "; ".join(faults)[:200] or None, where, quality, features)


def _quiet(ground: Floats, valid: Flags) -> tuple[Flags, float]:
    """Grid points outside passing vehicles, and the ground's rms there, m/s; ``ground`` is (sensors, n)."""
    power = np.einsum("st,st->t", ground, ground) / len(ground)
    size = int(GRID_HZ)
    whole = np.add.reduce(power[: len(power) // size * size].reshape(-1, size), axis=1) / size
    usual = median(whole)
    keep = valid.copy()
    for index in np.flatnonzero(whole > BURST_RATIO**2 * usual).tolist():
        keep[max(0, index - BURST_MARGIN_S) * size : (index + 1 + BURST_MARGIN_S) * size] = False
    counted = keep if keep.any() else np.ones_like(keep)
    return keep, float(np.sqrt(power @ counted.astype(np.float64) / np.count_nonzero(counted)))


def _cancel(body: list[Sensor], sources: Floats, source_spectra: Complexes, keep: Flags) -> _Cancelled:
    """The ground's share taken off: ``A(q) b = sum_j H_j(q) g_j + rest``, and ``b - H/A g`` is what is left.

    A body on its tyres rings for longer than any filter that a short record can bear. So its own ringing A is found
    first (linear prediction, the same for all body sensors), and the ground is fitted to what is left of the waves by
    a short filter H, ``min |A b - sum_jk h_jk g_j[t - k]|^2 + ridge |h|^2``. Only ground is ever taken off. All body
    sensors share the normal equations; only the right-hand side is their own. The record is taken for a circle, so
    that sums over all of it are products of spectra.
    """
    waves = np.stack([b.wave for b in body])
    ringing = _ringing(waves, keep)
    dry = np.stack([np.convolve(wave, ringing)[: len(keep)] for wave in waves])
    dry_spectra = scipy.fft.rfft(dry)
    passes = _filters(dry, sources, dry_spectra, source_spectra, keep)
    of_ground = np.einsum("bgf,gf->bf", passes, source_spectra)
    leaks = _leaks(sources, source_spectra, passes, keep)
    put_back = _rung(scipy.fft.irfft(np.concatenate((of_ground, leaks)), len(keep)), ringing)
    explained = put_back[: len(body)]
    left = waves - explained
    hearts = band(np.concatenate((left, put_back)), *HEART_BAND_HZ)
    power = hearts[: 2 * len(body)] ** 2
    kept = keep.astype(np.float64)
    return _Cancelled(
        names=tuple(b.name for b in body),
        left=left,
        explained=explained,
        heart_power=power[: len(body)],
        dry=dry_spectra - of_ground,
        leak=hearts[2 * len(body) :] if len(leaks) else None,
        explained_rms=float(np.sqrt(np.mean(power[len(body) :] @ kept) / np.count_nonzero(keep))),
        wide_rms=float(np.sqrt(np.mean([b.wide_rms**2 for b in body]))),
    )


def _filters(dry: Floats, sources: Floats, dry_spectra: Complexes, source_spectra: Complexes, keep: Flags) -> Complexes:
    """What each body sensor has of each ground sensor by frequency: (body sensors, ground sensors, n // 2 + 1)."""
    n, ground = len(keep), len(sources)
    taps = min(TAPS_MOST, max(1, int(np.count_nonzero(keep)) // (ROWS_PER_TAP * ground)))
    shifts = np.arange(taps) - (taps - 1 - taps // 4)  # some ahead: the ground sensor may stand behind the wheel
    if np.count_nonzero(keep) > n // 2:  # all of it, and those few points taken off again
        normal, told = _sums_over_all(dry_spectra, source_spectra, shifts, n)
        off_normal, off_told = _sums_over(dry, sources, shifts, ~keep)
        normal, told = normal - off_normal, told - off_told
    else:
        normal, told = _sums_over(dry, sources, shifts, keep)
    normal[np.diag_indices_from(normal)] += RIDGE * max(float(np.trace(normal)) / len(normal), 1e-300)
    filters = np.zeros((len(dry), ground, n))
    filters[..., -shifts % n] = np.linalg.solve(normal, told).T.reshape(len(dry), ground, taps)
    return np.asarray(scipy.fft.rfft(filters), np.complex128)


def _ringing(waves: Floats, keep: Flags) -> Floats:
    """Prediction error filter (order + 1,) of all waves together, by Yule and Walker: its inverse never runs away."""
    each = lagged(waves, keep, RING_ORDER)
    lags = np.sum(each / np.maximum(each[:, :1], 1e-300), axis=0)
    lags[0] *= 1.0 + RING_RIDGE
    return np.concatenate(([1.0], -np.linalg.solve(lags[_RING_LAGS], lags[1:])))


def _rung(waves: Floats, ringing: Floats) -> Floats:
    """Waves (sensors, n) with the ringing put back: divided by the filter, from rest."""
    n = waves.shape[1]
    long = scipy.fft.next_fast_len(n + round(RING_S * GRID_HZ), real=True)
    spectrum = scipy.fft.rfft(waves, long)
    spectrum *= 1 / scipy.fft.rfft(ringing, long)
    return np.asarray(scipy.fft.irfft(spectrum, long)[:, :n], np.float64)


def _leaks(sources: Floats, spectra: Complexes, passes: Complexes, keep: Flags) -> Complexes:
    """Spectra of what one ground sensor feels and the other does not, passed through the filter: (body sensors, n // 2
    + 1), or of no sensor where there is one ground sensor only.

    Both stand on ground that the vehicle stands on too, so half their difference is as strong as the error that the
    filter makes of it: of g1 = s + n1 and g2 = s + n2 the best guess of s errs by (n1 + n2) / 2, and (g1 - g2) / 2 is
    (n1 - n2) / 2. One scale makes their gains equal.
    """
    if len(sources) < 2:
        return np.empty((0, len(spectra[0])), np.complex128)
    first, second = (float(power) for power in (sources[:2] ** 2) @ keep.astype(np.float64))
    scale = np.sqrt(first) / max(np.sqrt(second), 1e-300)
    return np.asarray(0.5 * (spectra[0] - scale * spectra[1]) * passes.sum(axis=1), np.complex128)


def _sums_over_all(waves: Complexes, sources: Complexes, shifts: NDArray[np.int64], n: int) -> tuple[Floats, Floats]:
    """As `_sums_over` of all ``n`` points, from the spectra."""
    all_of_them = np.concatenate((sources, waves))
    products = scipy.fft.irfft(sources[:, None].conj() * all_of_them[None], n)
    among, across = products[:, : len(sources)], products[:, len(sources) :]
    apart = np.subtract.outer(shifts, shifts).T % n
    normal = among[..., apart].transpose(0, 2, 1, 3).reshape(len(sources) * len(shifts), -1)
    told = across[..., -shifts % n].transpose(0, 2, 1).reshape(len(sources) * len(shifts), -1)
    return normal, told


def _sums_over(waves: Floats, sources: Floats, shifts: NDArray[np.int64], keep: Flags) -> tuple[Floats, Floats]:
    """Products of all shifted sources with one another, and with the waves, summed up over the points to keep."""
    at = np.flatnonzero(keep)
    rows = sources[:, (at + shifts[:, None]) % len(keep)].reshape(len(sources) * len(shifts), len(at))
    return rows @ rows.T, rows @ waves[:, at].T


def _features(passage: Passage, until_utc_ns: int, body: _Cancelled, beat: Rhythm, keep: Flags) -> dict[str, float]:
    halves = _half_seconds(np.add.reduce(body.heart_power) / len(body.names), keep)
    # The median: springs that creep after the stop, and a thump, are not energy that lasts.
    residual = median(halves) ** 0.5
    explained = body.explained_rms
    told = passage.gross_mass_kg
    mass = told if told is not None and isfinite(told) and told > 0 else USUAL_MASS_KG
    wind = (wind_at_vehicle_m_s(passage, until_utc_ns) or 0.0) / 2.0
    blown = WIND_FLOOR_M_S * wind**3.5 * USUAL_MASS_KG / max(mass, LEAST_MASS_KG)
    background = float(np.sqrt((COHERENCE_LOSS * explained) ** 2 + blown**2 + STILL_M_S**2))
    loud = halves > (MOVEMENT_RATIO * residual) ** 2
    return {
        "energy_log": _log(residual / background),
        "beat_log": beat.over_null_log,
        "each_beat_log": beat.each_log,
        "dry_beat_log": beat.dry_log,
        "repeat_log": beat.repeat_log,
        "force_log": _log(residual * 1e6 * mass / USUAL_MASS_KG),  # of a 15 t vehicle that would move as much, um/s
        "breath_log": beat.breath_log,
        "shift_log": 0.5 * _log(float(np.max(halves)) / max(residual**2, 1e-300)),
        "band_log": _log(residual / max(body.wide_rms, 1e-300)),
        "agreement": beat.agreement,
        "movements": float(np.count_nonzero(np.diff(loud.astype(np.int8), prepend=0) == 1)),
        "rhythm_bpm": beat.beat_hz * 60.0,
        "residual_um_s": residual * 1e6,
        "background_um_s": background * 1e6,
    }


def _lasting(body: _Cancelled, keep: Flags) -> dict[str, float]:
    """What is left against what the ground explains, bin by bin of the heart band, so that no line and no thump counts
    for much: against all of the explained part, and against what two ground sensors do not share; and how it is spread,
    for wind is steep and a heart is not."""
    left, explained = lasting_power(body.left, keep, _BINS), lasting_power(body.explained, keep, _BINS)
    apart = None if body.leak is None else lasting_power(body.leak, keep, _BINS)
    heart = slice(bins(*HEART_BAND_HZ).start - _BINS.start, None)
    low, middle, upper = (float(left[bins(hz, HEART_BAND_HZ[1]).start - _BINS.start]) for hz in SPREAD_HZ)
    return {
        "explained_log": _mean_log(left[heart], explained[heart]),
        "apart_log": 0.0 if apart is None else _mean_log(left[heart], apart[heart]),
        "low_log": 0.5 * _log(low / max(float(np.mean(left[heart])), 1e-300)),
        "tilt_log": 0.5 * _log(upper / max(middle, 1e-300)),
        "paired": float(apart is not None),
    }


def _mean_log(power: Floats, over: Floats) -> float:
    """Mean over bins of log10 of an amplitude against another."""
    ratio = np.clip(power / np.maximum(over, 1e-300), 1e-12, 1e12)
    return 0.5 * float(np.mean(np.log10(ratio)))


def _log(ratio: float) -> float:
    return log10(min(1e6, max(1e-6, ratio)))


def _half_seconds(power: Floats, keep: Flags) -> Floats:
    """Mean of a power (n,) in each half second that was kept whole."""
    size = int(GRID_HZ / 2)
    end = len(power) // size * size
    whole = np.logical_and.reduce(keep[:end].reshape(-1, size), axis=1)
    halves = np.add.reduce(power[:end].reshape(-1, size), axis=1)[whole] / size
    return halves if len(halves) else np.array([np.mean(power[keep])])


def _where(body: _Cancelled, keep: Flags, passage: Passage) -> str | None:
    """Front, middle or rear, by the strongest of the lane's body sensors (numbered from the front); None for one."""
    names = sorted({s.sensor for s in passage.vibration if s.sensor.startswith("B")})
    if len(body.names) < 2:
        return None
    strongest = body.names[int(np.argmax(body.heart_power @ keep.astype(np.float64)))]
    place = names.index(strongest) / (len(names) - 1)
    return "front" if place < 1 / 3 else "rear" if place > 2 / 3 else "middle"
