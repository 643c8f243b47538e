"""Millimetre-wave imagers: two loads, the baseline across, noise, bad pixels (DEVICES-imaging 1, Calibration).

Raw arrays: ``<step>/frames`` (n, rows, columns) K as the imager shows them, NaN where a pixel gave nothing. Told:
``axis``, what one receiver paints ("rows" or "columns"), and ``known``, the settings in force. One receiver is one
channel: ``true = gain x shown + offset`` of each, then the baseline across, the same for all, is taken off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.procedures.procedure import BadSetup, Curve, Floats, Outcome, Plot, Procedure, Step, reference
from calibration.raw import Raw
from calibration.record import Check
from calibration.uncertainty import Component, Kind, Quantity, of_repeats, of_series

LEAST_FRAMES = 16  # two for each stretch of `of_series`
STUCK_FRAMES = 100  # DEVICES-imaging 1: zero variance over as many frames is a stuck pixel
LEAST_APART_K = 15.0  # assumed: absorber at ambient and heated by 30 to 60 K
LEAST_SHARE = 0.3  # of what the loads differ by; assumed: less is one load twice, or a load beside the view
GAIN = (0.7, 1.4)  # of all channels; assumed: further off is another load than its label says
PIXEL_GAIN, PIXEL_NOISE = (0.5, 2.0), 3.0  # x the median; DEVICES-imaging 1
DRIFT_K = 1.0  # over a step; assumed: a load in wind or sun moves faster
REPEAT_K = 1.0  # the first load again; assumed
BASELINE_K = 2.0  # peak to peak; assumed: more is the edge of a load, not a standing wave
STRUCTURE_K = 0.25  # what neither channel nor column explains; assumed: a face is ten times that
UNIFORM_K = 0.05  # standard; assumed: an absorber in still air
FLAT_AFTER_K = 0.1
NETD_K = (0.02, 1.0)  # assumed: below nobody builds them, above a person is lost behind a curtain
MOST_BAD_SHARE = 0.05  # assumed
LEAST_CHANNELS = 0.9  # that answer, of all; assumed


@dataclass(frozen=True, slots=True)
class Film:
    """One step's frames, (n, channels, across) K, and their mean over time, (channels, across)."""

    frames: Floats
    mean: Floats

    @property
    def channels(self) -> Floats:
        """(n, channels): each channel's mean across, frame by frame."""
        return mean_there(self.frames, 2)

    @property
    def level(self) -> Floats:
        """(n,): one number a frame."""
        return mean_there(self.channels, 1)


def mean_there(values: Floats, axis: int) -> Floats:
    """Mean of what is there; NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=axis)
    total = np.where(there, values, 0.0).sum(axis=axis)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def film_of(raw: Raw, step: str, least: int = LEAST_FRAMES) -> Film:
    """A step's frames, channels first. Raises BadSetup: too few, empty, or the same in all of them."""
    frames = raw.floats(f"{step}/frames")
    if frames.ndim != 3 or len(frames) < least:
        raise BadSetup(f"{step}: {len(frames)} frames; {least} are needed: measure longer, or look at the link")
    if raw.about.get("axis") == "columns":
        frames = np.swapaxes(frames, 1, 2)
    empty = float(np.mean(~np.isfinite(frames)))
    if empty > 0.5:
        raise BadSetup(f"{step}: {empty:.0%} of the pixels gave nothing; saturated, or the scan stands still")
    if not np.any(np.nanmax(frames, axis=0, initial=-np.inf) > np.nanmin(frames, axis=0, initial=np.inf)):
        raise BadSetup(f"{step}: the same picture in {len(frames)} frames: it is frozen; power the imager anew")
    return Film(frames, mean_there(frames, 0))


def _in_kelvin(raw: Raw, film: Film) -> Film:
    """By the channels' gain and offset in force, where there are any."""
    known = raw.about.get("known", {}).get("channels")
    if known is None:
        return film
    gain, offset = np.asarray(known["gain"], np.float64), np.asarray(known["offset_k"], np.float64)
    if len(gain) != film.frames.shape[1]:
        raise BadSetup(f"{len(gain)} channels in the record, {film.frames.shape[1]} in the frame: run two-point first")
    return Film(gain[:, None] * film.frames + offset[:, None], gain[:, None] * film.mean + offset[:, None])


def _good(raw: Raw, film: Film) -> Film:
    """Bad pixels of the record in force are left out."""
    mask = bad_mask(raw.about.get("known", {}).get("bad", ()), film.mean.shape, raw.about.get("axis") == "columns")
    return Film(np.where(mask, np.nan, film.frames), np.where(mask, np.nan, film.mean)) if mask.any() else film


def bad_mask(bad: Any, shape: tuple[int, ...], turned: bool) -> NDArray[np.bool_]:
    """(channels, across) of a list of [row, column], -1 for a whole line."""
    mask = np.zeros(shape[::-1] if turned else shape, np.bool_)
    for row, column in bad:
        mask[row if row >= 0 else slice(None), column if column >= 0 else slice(None)] = True
    return mask.T if turned else mask


def _drift_check(step: str, film: Film) -> Check:
    level = film.level
    slope = float(np.polyfit(np.arange(len(level)), level, 1)[0]) * (len(level) - 1)
    return Check(name=f"{step} settled", value=abs(slope), high=DRIFT_K, unit="K",
                 mend="the load's temperature moves: wait, shelter it from wind and sun")  # fmt: skip


def structure(film: Film) -> tuple[float, float]:
    """What neither channel nor column explains, and how far columns go, both K.

    The first is the rms over pixels, less what noise leaves in a mean; the second peak to peak of smooth columns.
    """
    rows = np.nanmedian(film.mean, axis=1, keepdims=True)
    flat = film.mean - rows
    columns = np.nanmedian(flat, axis=0, keepdims=True)
    left = flat - columns
    left = left[np.isfinite(left)]
    middle = np.abs(left) < 8 * np.median(np.abs(left)) + 1e-9  # single bad pixels are no structure
    noise = float(np.nanmedian(pixel_noise(film))) / np.sqrt(len(film.frames))
    near = np.convolve(columns[0], np.ones(3) / 3, "valid") if columns.shape[1] > 3 else columns[0]
    wide = float(np.nanmax(near) - np.nanmin(near)) if np.isfinite(near).any() else 0.0
    crowd = float(np.mean(~middle))  # many that stick out are a shape
    rms = float(np.sqrt(max(0.0, float(np.mean(left[middle] ** 2)) - noise**2)))
    return (rms if crowd < MOST_BAD_SHARE else float(np.sqrt(np.mean(left**2)))), wide


def pixel_noise(film: Film) -> Floats:
    """(channels, across): noise from frame to frame, K; drift drops out of successive differences."""
    steps = np.diff(film.frames, axis=0)
    return np.sqrt(mean_there(steps**2, 0) / 2)


def fills_checks(step: str, film: Film) -> tuple[Check, Check]:
    """Whether one uniform load fills the view."""
    rms, wide = structure(film)
    mend = "the load does not fill the view, or something stands before it"
    return (
        Check(name=f"{step} uniform", value=rms, high=STRUCTURE_K, unit="K", mend=mend),
        Check(name=f"{step} from side to side", value=wide, high=BASELINE_K, unit="K", mend=mend),
    )


# --- two-point -------------------------------------------------------------------------------------------------------


def two_point(raw: Raw) -> Outcome:
    """Gain and offset of each channel by two loads, and the first load once more to see whether it worked."""
    low, high, again = _answering(*(_good(raw, film_of(raw, step)) for step in ("ambient", "hot", "again")))
    cold, warm = reference(raw, "ambient"), reference(raw, "hot")
    apart = warm.value - cold.value
    if apart < LEAST_APART_K:
        raise BadSetup(f"the loads are {apart:.1f} K apart by their certificates; {LEAST_APART_K:g} are needed")
    shown, more = _means(low), _means(high)
    response = more[0] - shown[0]
    middle = float(np.nanmedian(response))
    if middle < LEAST_SHARE * apart:
        raise BadSetup(
            f"the hot load shows {middle:+.1f} K against the ambient one, {apart:.1f} K are due: "
            "loads swapped, one load twice, or it is not in the view"
        )
    alive = np.isfinite(response) & (response > PIXEL_GAIN[0] * middle) & (response < PIXEL_GAIN[1] * middle)
    gain = np.where(alive, apart / np.where(alive, response, 1.0), apart / middle)
    offset = np.where(np.isfinite(shown[0]), cold.value - gain * shown[0], 0.0)
    after = gain * _means(again)[0] + offset - cold.value
    moved = float(np.median(after[alive]))
    unsure = _channel_gains(gain, response, alive, (shown[1], more[1]), (cold.standard, warm.standard), after)
    results = _two_point_results(raw, (low, high), apart, alive, moved)
    checks = (
        *(_drift_check(step, film) for step, film in (("ambient", low), ("hot", high))),
        *fills_checks("ambient", low),
        *fills_checks("hot", high),
        Check(name="channels that answer", value=float(np.mean(alive)), low=LEAST_CHANNELS,
              mend="the load does not fill the view, or receivers are dead"),
        Check(name="gain", value=results[0].value, low=GAIN[0], high=GAIN[1], mend="not the loads of the certificates"),
        Check(name="ambient load again", value=abs(moved), high=REPEAT_K, unit="K",
              mend="it does not repeat: let the imager warm up, do not touch the loads"),
    )  # fmt: skip
    notes = [f"channel {n} does not answer: run bad-pixels" for n in np.flatnonzero(~alive)[:8]]
    setting = {
        "axis": raw.about.get("axis", "rows"), "gain": gain.tolist(), "offset_k": offset.tolist(),
        "gain_expanded": unsure.tolist(), "alive": alive.tolist(),
    }  # fmt: skip
    channel = np.arange(len(gain), dtype=np.float64)
    return Outcome(
        results, checks, {"channels": setting},
        {"ambient error, K": -results[1].value, "gain error": 1 / results[0].value - 1},
        {"ambient error, K": moved, "gain error": 0.0},
        {"ambient again, rms over channels, K": float(np.sqrt(np.mean(after[alive] ** 2)))},
        tuple(notes),
        (Plot("Gain of each channel", "channel", "true K per shown K", (Curve("gain", channel, gain, dots=True),)),
         Plot("Ambient load again, corrected", "channel", "K off", (Curve("error", channel, after, dots=True),))),
    )  # fmt: skip


def _answering(low: Film, high: Film, again: Film) -> tuple[Film, Film, Film]:
    """Without single pixels that do not answer as the others: one stuck pixel would be its whole channel's error."""
    response = high.mean - low.mean
    usual = np.array([np.median(line[np.isfinite(line)]) if np.isfinite(line).any() else 0.0 for line in response])
    usual = np.maximum(usual, 0.0)[:, None]
    odd = (usual > 0) & ((response < PIXEL_GAIN[0] * usual) | (response > PIXEL_GAIN[1] * usual))
    if not odd.any() or float(np.mean(odd)) > MOST_BAD_SHARE:
        return low, high, again
    films = [Film(np.where(odd, np.nan, film.frames), np.where(odd, np.nan, film.mean)) for film in (low, high, again)]
    return films[0], films[1], films[2]


def _means(film: Film) -> tuple[Floats, Floats]:
    """Each channel's mean over time and its standard uncertainty by the scatter of eight stretches."""
    series = film.channels
    kept = series[: len(series) // 8 * 8].reshape(8, -1, series.shape[1])
    stretches = mean_there(kept, 1)
    return mean_there(series, 0), np.asarray(stretches.std(axis=0, ddof=1) / np.sqrt(8), np.float64)


def _channel_gains(
    gain: Floats, response: Floats, alive: NDArray[np.bool_], read: tuple[Floats, Floats],
    loads: tuple[float, float], after: Floats,
) -> Floats:  # fmt: skip
    """Expanded uncertainty of each channel's gain, 95 %."""
    drift = float(np.sqrt(np.mean(after[alive] ** 2))) / np.sqrt(3)
    found = np.full(len(gain), np.nan)
    for n in np.flatnonzero(alive):
        share = gain[n] / response[n]
        parts = (
            Component("ambient", Kind.A, float(share * read[0][n]), 7),
            Component("hot", Kind.A, float(share * read[1][n]), 7),
            Component("loads", Kind.B, float(np.hypot(*loads) / response[n])),
            Component("drift", Kind.B, float(share * drift)),
        )
        found[n] = Quantity("gain", "1", float(gain[n]), parts).expanded
    return np.where(np.isfinite(found), found, 0.0)


def _two_point_results(
    raw: Raw, films: tuple[Film, Film], apart: float, alive: NDArray[np.bool_], moved: float
) -> tuple[Quantity, Quantity]:
    cold, warm = reference(raw, "ambient"), reference(raw, "hot")
    low, low_a = of_series("scatter before the ambient load", mean_there(films[0].channels[:, alive], 1))
    high, high_a = of_series("scatter before the hot load", mean_there(films[1].channels[:, alive], 1))
    gain = apart / (high - low)
    share = gain / (high - low)
    budget = (
        replace(low_a, standard=share * low_a.standard),
        replace(high_a, standard=share * high_a.standard),
        Component("ambient load", Kind.B, cold.standard / (high - low), None, cold.certificate or cold.name),
        Component("hot load", Kind.B, warm.standard / (high - low), None, warm.certificate or warm.name),
        Component("drift between loads", Kind.B, share * abs(moved) / np.sqrt(3), None, "ambient load again"),
    )
    error = cold.value - low
    error_budget = (low_a, Component("ambient load", Kind.B, cold.standard, None, cold.certificate or cold.name))
    return Quantity("gain", "1", gain, budget), Quantity("correction at ambient", "K", error, error_budget)


# --- flat ------------------------------------------------------------------------------------------------------------


def flat(raw: Raw) -> Outcome:
    """The standing wave across the view, by a uniform load: the same for every channel, zero on the average."""
    film = _good(raw, _in_kelvin(raw, film_of(raw, "flat")))
    column, unsure = baseline(film)
    half = len(film.frames) // 2
    first, second = (Film(part, mean_there(part, 0)) for part in (film.frames[:half], film.frames[half:]))
    left = baseline(second)[0] - baseline(first)[0]
    rms = float(np.sqrt(np.mean(column**2)))
    uniform = raw.number("uniform_k", UNIFORM_K)
    budget = (
        Component("scatter over channels", Kind.A, float(np.sqrt(np.mean(unsure**2))), film.mean.shape[0] - 1),
        Component("load's uniformity", Kind.B, uniform, None, "assumed" if uniform == UNIFORM_K else "as told"),
    )
    after = float(np.sqrt(np.mean(left**2)))
    structured, wide = structure(film)
    checks = (
        _drift_check("flat", film),
        Check(name="explained by columns", value=structured, high=STRUCTURE_K, unit="K",
              mend="something stands in the view; a uniform load must fill it"),
        Check(name="baseline, peak to peak", value=wide, high=BASELINE_K, unit="K",
              mend="the load's edge is in the view, or it is warmer on one side"),
        Check(name="repeats", value=after, high=FLAT_AFTER_K, unit="K", mend="it moves: let the imager warm up"),
    )  # fmt: skip
    across = np.arange(len(column), dtype=np.float64)
    curves = (Curve("baseline", across, column), Curve("second half less first", across, left))
    setting = {"axis": raw.about.get("axis", "rows"), "column_k": column.tolist(), "column_standard_k": unsure.tolist()}
    return Outcome(
        (Quantity("baseline rms", "K", rms, budget),), checks, {"flat": setting},
        {"baseline rms, K": rms}, {"baseline rms, K": after}, {"structure left, K": structured},
        plots=(Plot("Baseline across the view", "pixel", "K", curves),),
    )  # fmt: skip


def baseline(film: Film) -> tuple[Floats, Floats]:
    """(across,) K with zero mean, and its standard uncertainty from the scatter over channels."""
    flat_rows = film.mean - mean_there(film.mean, 1)[:, None]
    column = mean_there(flat_rows, 0)
    column = np.where(np.isfinite(column), column, 0.0)
    count = np.maximum(np.isfinite(flat_rows).sum(axis=0), 2)
    spread = np.sqrt(np.nansum((flat_rows - column) ** 2, axis=0) / (count - 1) / count)
    return column - column.mean(), np.asarray(spread, np.float64)


# --- netd ------------------------------------------------------------------------------------------------------------


def netd(raw: Raw) -> Outcome:
    """Noise of a pixel from frame to frame before a steady load, as a temperature."""
    film = _good(raw, _in_kelvin(raw, film_of(raw, "steady")))
    blocks = [Film(part, film.mean) for part in np.array_split(film.frames, 8)]
    mean, scatter = of_repeats("scatter of stretches", [_netd(block) for block in blocks])
    relative = raw.number("gain_relative", 0.01)
    budget = (scatter, Component("gain", Kind.B, mean * relative, None, "record in force"))
    each = np.sqrt(mean_there(pixel_noise(film) ** 2, 1))
    noisy = np.flatnonzero(each > PIXEL_NOISE * np.nanmedian(each))
    checks = (
        _drift_check("steady", film),
        Check(name="NETD", value=mean, low=NETD_K[0], high=NETD_K[1], unit="K",
              mend="too much: a receiver or its cooling; too little: the picture is filtered or frozen"),
        Check(name="channels that are noisy", value=float(len(noisy)), high=MOST_BAD_SHARE * len(each),
              mend="run bad-pixels, or have the receivers looked at"),
        *fills_checks("steady", film),
    )  # fmt: skip
    channel = np.arange(len(each), dtype=np.float64)
    known = raw.about.get("known", {}).get("netd")
    return Outcome(
        (Quantity("NETD", "K", mean, budget),), checks,
        {"netd": {"netd_k": mean, "channel_k": np.where(np.isfinite(each), each, 0.0).tolist()}},
        {"NETD, K": None if known is None else float(known["netd_k"])}, {"NETD, K": mean},
        notes=tuple(f"channel {n} is noisy: {each[n]:.2f} K" for n in noisy[:8]),
        plots=(Plot("NETD of each channel", "channel", "K", (Curve("NETD", channel, each, dots=True),)),),
    )  # fmt: skip


def _netd(film: Film) -> float:
    found = pixel_noise(film)
    sane = found[np.isfinite(found)]
    sane = sane[sane < PIXEL_NOISE * np.median(sane)]
    return float(np.sqrt(np.mean(sane**2)))


# --- bad pixels ------------------------------------------------------------------------------------------------------


def bad_pixels(raw: Raw) -> Outcome:
    """Pixels that are stuck, that are far too noisy, or that answer twice or half as much as the others."""
    low, high = film_of(raw, "ambient", STUCK_FRAMES), film_of(raw, "hot", STUCK_FRAMES)
    response = high.mean - low.mean
    middle = float(np.nanmedian(response))
    if middle < LEAST_SHARE * LEAST_APART_K:
        raise BadSetup(f"the hot load shows {middle:+.1f} K more than the other; heat it: {LEAST_APART_K:g} K are due")
    noise = pixel_noise(low)
    ptp = np.where(np.isfinite(low.mean), np.nanmax(np.nan_to_num(low.frames, nan=-1), axis=0), 0.0) - np.where(
        np.isfinite(low.mean), np.nanmin(np.nan_to_num(low.frames, nan=np.inf), axis=0), 0.0
    )
    kinds = {
        "give nothing": ~np.isfinite(low.mean) | ~np.isfinite(high.mean),
        "are stuck": np.isfinite(low.mean) & (ptp == 0),
        "are noisy": noise > PIXEL_NOISE * np.nanmedian(noise),
        "answer too much or too little": ~((response > PIXEL_GAIN[0] * middle) & (response < PIXEL_GAIN[1] * middle)),
    }
    mask = np.logical_or.reduce(list(kinds.values()))
    lines = mask.mean(axis=1) > 0.5
    turned = raw.about.get("axis") == "columns"
    bad = [[-1, int(n)] if turned else [int(n), -1] for n in np.flatnonzero(lines)]
    bad += [[int(b), int(a)] if turned else [int(a), int(b)] for a, b in np.argwhere(mask & ~lines[:, None])]
    share = float(np.mean(mask))
    known = raw.about.get("known", {}).get("bad")
    checks = (
        _drift_check("ambient", low),
        _drift_check("hot", high),
        *(check for step, film in (("ambient", low), ("hot", high)) for check in fills_checks(step, film)),
        Check(name="bad share", value=share, high=MOST_BAD_SHARE, mend="a load beside the view, or a broken imager"),
    )
    single = float(np.sum(mask & ~lines[:, None]))
    return Outcome(
        (Quantity("bad channels", "1", float(lines.sum())), Quantity("bad pixels beside them", "1", single)),
        checks, {"bad": bad},
        {"bad pixels known": None if known is None else float(len(known))}, {"bad pixels known": float(len(bad))},
        notes=tuple(f"{int(found.sum())} pixels {what}" for what, found in kinds.items() if found.any()),
        plots=(_response_plot(response, middle),),
    )  # fmt: skip


def _response_plot(response: Floats, middle: float) -> Plot:
    counts, edges = np.histogram(np.nan_to_num(response / middle, nan=0.0), bins=60, range=(-0.5, 2.5))
    curve = Curve("pixels", (edges[1:] + edges[:-1]) / 2, np.maximum(counts.astype(np.float64), 0.5))
    return Plot("Answer of each pixel", "x the median", "pixels", (curve,), log_y=True)


# --- what a person does ----------------------------------------------------------------------------------------------


def _load(key: str, about: Mapping[str, Any], say: str, role: str | None) -> Step:
    return Step(key, say, float(about["seconds"]), float(about["settle_k"]), role)


AMBIENT = "Absorber at ambient temperature, close before the window, filling the whole view. Its thermometer read."
HOT = "The heated absorber in the same place, filling the whole view. Its thermometer read."


def _two_point_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    again = "The ambient absorber again."
    return (
        _load("ambient", about, AMBIENT, "ambient"),
        _load("hot", about, HOT, "hot"),
        _load("again", about, again, "ambient"),
    )


def _flat_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return (_load("flat", about, "A uniform absorber filling the whole view; nothing and nobody before it.", None),)


def _netd_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return (_load("steady", about, "A uniform absorber filling the whole view. Leave it alone.", None),)


def _pixel_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return (_load("ambient", about, AMBIENT, None), _load("hot", about, HOT, None))


LOADS = {"seconds": 10.0, "settle_k": 0.5, "frames": 64}
PROCEDURES = (
    Procedure("bad-pixels", "mmwave", 1, "pixels and channels to be left out, by two loads", _pixel_steps, bad_pixels,
              (), 90, {"seconds": 10.0, "settle_k": 0.5, "frames": 100}),
    Procedure("two-point", "mmwave", 1, "gain and offset of each channel by two loads", _two_point_steps, two_point,
              ("ambient", "hot"), 30, LOADS),
    Procedure("flat", "mmwave", 1, "the baseline across the view by a uniform load", _flat_steps, flat, (), 30,
              {**LOADS, "uniform_k": UNIFORM_K}),
    Procedure("netd", "mmwave", 1, "noise of the picture before a steady load", _netd_steps, netd, (), 30,
              {**LOADS, "gain_relative": 0.01}),
)  # fmt: skip
