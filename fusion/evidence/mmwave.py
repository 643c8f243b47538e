"""A millimetre-wave imager as evidence: is there a person's shape behind this curtain, and does it travel along?

Frames are freed of their receivers' offsets, laid over one another along the vehicle's motion (so noise goes down and
what is fixed in the imager smears out), and searched for warm or cold shapes of a body's size. A shape counts by how
far it stands out of this scene's own clutter, by likeness, by persistence over frames, and by moving with the vehicle:
a patch of one per cent more reflection is as strong as a person (DEVICES-imaging 1). What could not be seen is said:
an opaque or wet side, air near skin temperature, or a part of the side that never was in view.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log10

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from drivers.reading import RadiometricFrame
from fusion.evidence.evidence import OK, Evidence, device_silence, silent
from fusion.evidence.shapes import MAD_TO_SIGMA, Shape, region, shapes
from fusion.passage import BodyType, Passage
from fusion.verdict import State

MMWAVE = "mmwave"
FEATURES = (
    "shape_log",
    "skin_share",
    "likeness",
    "persistence",
    "travels",
    "coverage",
)  # what the classifier reads, in order

FEWEST_FRAMES, MOST_FRAMES = 3, 64  # assumed: two cannot show persistence; FORMATS keeps 64
FINE_ROWS = 64  # assumed: 3 m in 64 rows is 5 cm a pixel, finer than a spot at 35 GHz (SCIENCE 4)
VIEW_M = 3.4  # assumed: what the rows of a lane's imager span, a load space with its edges
SIDE_M, SHELL_SHARE = 13.6, 0.5  # SCIENCE 2.4; share of the hiding volume that lies within the visible shell, SCIENCE 4
SKIN_K = 306.0  # DEVICES-imaging 1
CROSS_OVER_K = 4.0  # assumed: nearer to skin than this, contrast is under 2 K before the curtain
HOT_K, HOT_SHARE = 330.0, 0.1  # assumed: exhaust, engine, sun; a tenth of the picture is a picture of that
WET_K = 15.0  # DEVICES-imaging 1: a dry curtain mirrors 3-5 % of the sky, 5-10 K; a film of water or steel far more
EDGELESS_K = 0.6  # assumed: what averaged noise leaves of an absorber when each channel's own offset is taken off
LOAD_K, WET_WINDOW_K = 0.8, 1.2  # assumed: a scene has edges; an absorber has none, and a wet window hides them
DRIFT_K_PER_MIN = 1.5  # DEVICES-imaging 9: gain drift of 1 % a minute is 2.8 K
WALK_K_PER_MIN = 1.5  # assumed: channels that part by this much paint stripes
DRIFT_LEAST_S, DRIFT_FRAMES = 8.0, 6  # assumed: shorter or fewer, and noise looks like drift
SHIFT_LEAST = 0.3  # correlation of two frames below which nothing says that they moved
IN_VIEW_SHARE = 0.4  # of the mean contrast: a frame shows the shape or it does not
MOST_STEP, LEAST_STEP = 0.6, 0.25  # of the columns, and in pixels: what two frames can be apart, and what noise makes
MOST_CONTRAST_K = 25.0  # DEVICES-imaging 1: a person is 16 K at most; more is sky, ground or an edge
BODY_M2 = 0.1  # SCIENCE 4: contrast to noise is stated for 1 dm2, a tenth of a body's core
EDGE_K = 1.5  # assumed: roof and floor of a load space are edges of more than this, all along
FLOOR_SHARE, ROOF_SHARE = (
    (0.6, 0.78),
    0.3,
)  # assumed: the floor lies in the lowest 40 % of the picture, at 0.78 if unseen
BEYOND_SHARE, END_COLUMNS = 0.3, 2  # assumed: columns of sky, and the blur at the vehicle's end
SIDE_PERCENTILE = 85.0  # assumed: most of what is seen may be sky beyond the ends of the vehicle
LEAST_NETD_K = 0.05  # assumed: no receiver of this kind is quieter in a frame
NOISE_STEP, LEAST_KNOWN = 3, 0.05  # every third row tells the noise; of a twentieth of the picture at least
MOST_SHARE = 1.5  # bounds a feature: skin shows at most its emissivity times the curtain's transmission
FULL_FRAMES = 10  # assumed: averaging over more gains little against what moves

_OPAQUE = {
    BodyType.HARD_SIDED: "hard-sided body",
    BodyType.REFRIGERATED: "refrigerated body",
    BodyType.TANKER: "tanker",
}
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Film:
    """Frames of one imager on a working grid: ``cube`` (frames, rows, columns) K, NaN where bad; times in s."""

    device: str
    side: str
    cube: Floats
    at_s: NDArray[np.float64]
    numbers: tuple[int, ...]  # places in the passage's own frames
    pixel_m: float


@dataclass(frozen=True, slots=True)
class _Mosaic:
    """All frames laid along the vehicle: ``mean`` (rows, width) K without row offsets, ``count`` frames that saw it."""

    mean: Floats
    count: NDArray[np.int32]
    places: NDArray[np.int64]  # column of the mosaic at which each frame begins


def mmwave_evidence(passage: Passage, until_utc_ns: int) -> Evidence:
    """Evidence from all frames before ``until_utc_ns``; their order of arrival does not matter."""
    frames = [(i, f) for i, f in enumerate(passage.frames) if f.stamp.time_utc_ns <= until_utc_ns]
    if not frames:
        return device_silence(passage, MMWAVE) or silent(MMWAVE, State.ABSENT, "no imager")
    if passage.body_type in _OPAQUE:
        cause = f"{_OPAQUE[passage.body_type]}: its side is opaque to the imager"
        return silent(MMWAVE, State.OUT_OF_LIMITS, cause)
    by_device: dict[str, list[tuple[int, RadiometricFrame]]] = {}
    for number, frame in sorted(frames, key=lambda one: (one[1].device, one[1].stamp.time_utc_ns, one[1].block_id)):
        by_device.setdefault(frame.device, []).append((number, frame))
    found = [_of_imager(passage, until_utc_ns, mine) for _, mine in sorted(by_device.items())]
    spoke = [part for part in found if part.state is State.MEASURED]
    if not spoke:
        return found[0]
    best = max(spoke, key=lambda part: part.features["shape_log"])
    seen = min(SHELL_SHARE, sum(part.features["coverage"] for part in spoke))
    return Evidence(MMWAVE, State.MEASURED, best.cause, best.where, best.quality, {**best.features, "coverage": seen})


def _of_imager(passage: Passage, until_utc_ns: int, frames: Sequence[tuple[int, RadiometricFrame]]) -> Evidence:
    """Evidence from one imager's frames, oldest first."""
    name = frames[0][1].device
    shape = frames[-1][1].frame_k.shape
    good = [(i, f) for i, f in frames if f.status == OK and f.frame_k.shape == shape][-MOST_FRAMES:]
    bad = Counter(f.status for _, f in frames if f.status != OK)
    if len(good) < len(frames) / 2:
        worst = bad.most_common(1)[0][0] if bad else "frames change their size"
        return silent(MMWAVE, State.FAULTY, f"{name}: {worst[:120]} ({len(good)} of {len(frames)} frames are good)")
    if len(good) < FEWEST_FRAMES:
        return silent(MMWAVE, State.ABSENT, f"too little data: {len(good)} of {FEWEST_FRAMES} frames")
    film = _film(good, passage.began_utc_ns)
    early = _fault(film) or _limits(passage, until_utc_ns, film)
    if early is not None:
        return early
    flat = _without_offsets(film.cube)
    mosaic = _laid(flat)
    return _drift(film, mosaic) or _measured(passage, until_utc_ns, film, flat, mosaic, len(frames))


def _film(frames: Sequence[tuple[int, RadiometricFrame]], began_utc_ns: int) -> _Film:
    """Frames on a grid of at most `FINE_ROWS` rows; a coarse pixel is the mean of what is good in it."""
    first = frames[0][1]
    step = max(1, -(-first.frame_k.shape[0] // FINE_ROWS))
    cube = np.stack([_coarse(frame.frame_k, step) for _, frame in frames])
    at_s = np.array([(frame.stamp.time_utc_ns - began_utc_ns) / 1e9 for _, frame in frames])
    numbers = tuple(number for number, _ in frames)
    return _Film(first.device, first.side, cube, at_s, numbers, VIEW_M / cube.shape[1])


def _coarse(frame: Floats, step: int) -> Floats:
    if step == 1:
        return np.asarray(frame, np.float32)
    rows, columns = frame.shape[0] // step, frame.shape[1] // step
    parts = frame[: rows * step, : columns * step].reshape(rows, step, columns, step)
    bad = np.isnan(parts)
    if not bad.any():
        return np.asarray(parts.mean(axis=(1, 3), dtype=np.float32), np.float32)
    good = step * step - bad.sum(axis=(1, 3))
    total = np.where(bad, np.float32(0), parts).sum(axis=(1, 3))
    return np.where(good > 0, total / np.maximum(good, 1), np.nan).astype(np.float32)


def _fault(film: _Film) -> Evidence | None:
    """What the frames together say against the imager itself."""
    known = film.cube[np.isfinite(film.cube)]
    if len(known) < 0.5 * film.cube.size:
        share = 1 - len(known) / film.cube.size
        return silent(MMWAVE, State.FAULTY, f"{film.device}: {share:.0%} of the pixels are bad")
    still = _still(film)
    low, high = np.nanpercentile(still, (2, 98))
    plain_low, plain_high = np.nanpercentile(still - np.nanmedian(still, axis=1, keepdims=True), (2, 98))
    if high - low < LOAD_K or (high - low < WET_WINDOW_K and plain_high - plain_low < EDGELESS_K):
        cause = f"{film.device}: the whole picture is within {high - low:.1f} K: calibration load left in view"
        return silent(MMWAVE, State.FAULTY, cause, {"scene_span_k": float(high - low)})
    if high - low < WET_WINDOW_K:
        cause = f"{film.device}: the whole picture is within {high - low:.1f} K: wet window"
        return silent(MMWAVE, State.OUT_OF_LIMITS, cause, {"scene_span_k": float(high - low)})
    return None


def _still(film: _Film) -> NDArray[np.float64]:
    """The mean picture without the receivers' noise, (rows, columns) K, NaN where nothing is known."""
    good = np.isfinite(film.cube)
    count = good.sum(axis=0)
    mean = np.where(good, film.cube, 0).sum(axis=0, dtype=np.float64) / np.maximum(count, 1)
    mean[count == 0] = np.nan
    mean[(count == 0).all(axis=1)] = np.float64(np.nanmedian(mean))  # a dead channel is no edge
    return np.asarray(mean, np.float64)


def _drift(film: _Film, mosaic: _Mosaic) -> Evidence | None:
    """Levels that run away while the vehicle stands: of all receivers, or of each its own way."""
    standing = np.flatnonzero(mosaic.places == mosaic.places[-1])
    at_s = film.at_s[standing]
    if at_s[-1] - at_s[0] < DRIFT_LEAST_S or len(standing) < DRIFT_FRAMES:
        return None
    minutes = at_s / 60.0
    rows = np.nanmedian(film.cube[standing], axis=2).astype(np.float64)
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    x = minutes - minutes.mean()
    slopes = x @ (rows - rows.mean(axis=0)) / (x @ x)
    residual = rows - rows.mean(axis=0) - x[:, None] * slopes
    noise = float(np.sqrt((residual**2).mean() / (x @ x)))  # of one slope: a lorry that still moves makes it large
    common, apart = float(np.median(slopes)), float(np.std(slopes))
    if abs(common) > DRIFT_K_PER_MIN + 3 * noise:
        cause = f"{film.device}: gain drift: the level moves by {common:+.1f} K a minute"
        return silent(MMWAVE, State.FAULTY, cause, {"drift_k_per_min": common})
    if apart > WALK_K_PER_MIN + 3 * noise:
        cause = f"{film.device}: offset walk: channels part by {apart:.1f} K a minute"
        return silent(MMWAVE, State.FAULTY, cause, {"walk_k_per_min": apart})
    return None


def _limits(passage: Passage, until_utc_ns: int, film: _Film) -> Evidence | None:
    """Surroundings in which the imager cannot tell, with the figure."""
    hot = float(np.mean(np.nan_to_num(film.cube, nan=0.0) > HOT_K))
    if hot > HOT_SHARE:
        return silent(MMWAVE, State.OUT_OF_LIMITS, f"saturated: {hot:.0%} of the picture is sun or a hot engine")
    air, inside, side = air_k(passage, until_utc_ns), inside_k(passage, until_utc_ns, film.cube), _side_k(film.cube)
    figures = {"inside_k": inside, "side_k": side}
    if air is not None and air - side > WET_K:
        cause = f"wet side (or steel, or none in view): it shines {air - side:.0f} K below the air"
        return silent(MMWAVE, State.OUT_OF_LIMITS, cause, figures)
    if abs(inside - SKIN_K) < CROSS_OVER_K:
        cause = f"thermal cross-over: inside {inside:.0f} K, skin {SKIN_K:.0f} K"
        return silent(MMWAVE, State.OUT_OF_LIMITS, cause, figures)
    return None


def air_k(passage: Passage, until_utc_ns: int) -> float | None:
    """Air outside: from the imager's own record, else the last of the weather; None where nobody knows."""
    if passage.ambient_k is not None:
        return passage.ambient_k
    known = [
        (sample.stamp.time_utc_ns, sample.temperature_c)
        for sample in passage.weather
        if sample.stamp.time_utc_ns <= until_utc_ns and sample.status == OK and sample.temperature_c is not None
    ]
    return max(known)[1] + 273.15 if known else None


def inside_k(passage: Passage, until_utc_ns: int, cube: Floats) -> float:
    """Temperature of the load: the side's brightness, or the air where that is warmer (a side mirrors cold sky)."""
    air = air_k(passage, until_utc_ns)
    side = _side_k(cube)
    return side if air is None else max(side, air)


def _side_k(cube: Floats) -> float:
    """Brightness of the side: the middle half of the rows, all frames, where it is no sky (which is colder)."""
    rows = cube.shape[1]
    middle = cube[:, rows // 4 : max(rows // 4 + 1, 3 * rows // 4)]
    known = middle[np.isfinite(middle)]
    return float(np.percentile(known, SIDE_PERCENTILE)) if len(known) else float(np.nanmax(cube))


def _measured(passage: Passage, until_utc_ns: int, film: _Film, flat: Floats, mosaic: _Mosaic, came: int) -> Evidence:
    inside = inside_k(passage, until_utc_ns, film.cube)
    sign = 1.0 if inside < SKIN_K else -1.0
    there = _side_of(film.cube, mosaic)
    if not there.any():
        return silent(MMWAVE, State.ABSENT, f"{film.device}: no side of a vehicle came into view", {"inside_k": inside})
    netd = _netd_k(flat)
    body = max(1.0, BODY_M2 / film.pixel_m**2) * max(1.0, float(np.median(mosaic.count[there])))
    found = shapes(mosaic.mean, there, film.pixel_m, sign, netd / body**0.5)
    figures = {"inside_k": inside, "netd_k": netd, "frames": float(len(film.cube))}
    if not found:
        return silent(MMWAVE, State.OUT_OF_LIMITS, f"{film.device}: the picture is too small for a body", figures)
    shape = max(found, key=lambda one: max(0.0, one.stands_out) * max(0.0, one.contrast) * max(0.01, one.likeness))
    seen_m2 = float(there.sum()) * film.pixel_m**2
    known = passage.body_type is not BodyType.UNKNOWN  # a steel side shows nobody either, and that is worth nothing
    steady, travels, shown = _over_frames(flat, mosaic, shape)
    in_frame = replace(shape, column=shape.column - int(mosaic.places[shown]))
    features = {
        **figures,
        **region(in_frame, *film.cube.shape[1:]),
        "region_frame": float(film.numbers[shown]),
        "contrast_k": sign * shape.contrast,
        "stands_out": shape.stands_out,
        "moved_m": float(np.ptp(mosaic.places)) * film.pixel_m,
        "shape_log": log10(1.0 + max(0.0, shape.stands_out)),
        "skin_share": min(MOST_SHARE, max(0.0, shape.contrast / abs(SKIN_K - inside))),
        "likeness": shape.likeness,
        "persistence": steady,
        "travels": travels,
        "coverage": SHELL_SHARE * min(1.0, seen_m2 / (SIDE_M * VIEW_M)) * known,
    }
    third = ("left", "middle", "right")[min(2, max(0, 3 * in_frame.column // film.cube.shape[2]))]
    quality = len(film.cube) / came * min(1.0, len(film.cube) / FULL_FRAMES)
    return Evidence(MMWAVE, State.MEASURED, None, f"{film.side} side, {third} of its picture", quality, features)


def _side_of(cube: Floats, mosaic: _Mosaic) -> NDArray[np.bool_]:
    """Where the mosaic shows the side of a load space: above the floor, below the roof, between the vehicle's ends."""
    rows = cube.shape[1]
    level = np.nanmedian(cube, axis=(0, 2))
    steps = np.nan_to_num(np.abs(np.diff(level)))
    edge_k = max(EDGE_K, 6.0 * float(np.median(steps)))
    low, high = round(FLOOR_SHARE[0] * rows), round(ROOF_SHARE * rows)
    floor = low + int(np.argmax(steps[low:])) + 1 if steps[low:].max() > edge_k else round(FLOOR_SHARE[1] * rows)
    roof = int(np.argmax(steps[:high])) + 1 if high and steps[:high].max() > edge_k else 0
    there = mosaic.count > 0
    there[:roof] = there[floor:] = False
    gone = there[roof:floor].mean(axis=0) < 1.0 - BEYOND_SHARE  # sky or ground stands in this column
    there[:, np.convolve(gone, np.ones(2 * END_COLUMNS + 1), "same") > 0.5] = False
    return there


def _without_offsets(cube: Floats) -> Floats:
    """Less each row's own middle, 0 where bad and where it is no side of a vehicle (sky, ground); same shape."""
    frames, rows, columns = cube.shape
    lines = cube.transpose(1, 0, 2).reshape(rows, frames * columns)
    if np.isnan(lines).any():
        lines = np.where(np.isnan(lines), np.float32(_side_k(cube)), lines)
    flat = cube - np.median(lines, axis=1)[None, :, None].astype(np.float32)
    flat[~(np.abs(flat) < MOST_CONTRAST_K)] = 0.0
    return np.asarray(flat, np.float32)


def _netd_k(flat: Floats) -> float:
    """Noise of a pixel of a frame, from frames that follow one another; those that moved do not count, nor does what
    shows no vehicle (it is 0 in both)."""
    lines = flat[:, ::NOISE_STEP]
    both = (lines[:-1] != 0.0) & (lines[1:] != 0.0)
    known = both.sum(axis=(1, 2))
    steps = np.where(both, np.abs(lines[1:] - lines[:-1]), np.inf).reshape(len(both), -1)
    steps.sort(axis=1)
    middle = steps[np.arange(len(steps)), known // 2][known > LEAST_KNOWN * steps.shape[1]]
    noise = float(np.percentile(middle, 25)) if len(middle) else 0.0
    return max(LEAST_NETD_K, MAD_TO_SIGMA / 2**0.5 * noise)


def _laid(flat: Floats) -> _Mosaic:
    """Frames added up where they belong on the vehicle."""
    _, rows, columns = flat.shape
    way = np.concatenate(([0.0], np.cumsum(_steps(flat))))
    places = np.rint(way.max() - way).astype(np.int64)
    total = np.zeros((rows, columns + int(places.max())), np.float32)
    count = np.zeros(total.shape, np.int32)
    for frame, place in zip(flat, places, strict=True):
        total[:, place : place + columns] += frame
        count[:, place : place + columns] += frame != 0.0
    return _Mosaic(np.asarray(total / np.maximum(count, 1), np.float32), count, places)


def _steps(flat: Floats) -> NDArray[np.float64]:
    """How far the picture moved to the right from each frame to the next, (frames - 1,) in pixels, by correlation."""
    columns = flat.shape[2]
    spectra = scipy.fft.rfft(flat, 2 * columns, axis=2)
    product = (np.conj(spectra[:-1]) * spectra[1:]).sum(axis=1)
    alike = scipy.fft.irfft(product, 2 * columns, axis=1)
    energy = (flat.astype(np.float64) ** 2).sum(axis=(1, 2))
    alike = alike / np.maximum(np.sqrt(energy[:-1] * energy[1:]), 1e-9)[:, None]
    most = int(MOST_STEP * columns)
    near = np.concatenate((alike[:, -most:], alike[:, : most + 1]), axis=1)  # shifts -most..most
    best = np.argmax(near, axis=1)
    rows = np.arange(len(near))
    before, at, after = (near[rows, np.clip(best + d, 0, 2 * most)] for d in (-1, 0, 1))
    bend = before - 2 * at + after
    part = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1.0), 0.0)
    moved = np.where(at >= SHIFT_LEAST, best - most + np.clip(part, -0.5, 0.5), 0.0)
    return np.asarray(np.where(np.abs(moved) < LEAST_STEP, 0.0, moved), np.float64)


def _over_frames(flat: Floats, mosaic: _Mosaic, shape: Shape) -> tuple[float, float, int]:
    """Share of frames in view that show the shape; the same of frames taken while the vehicle was elsewhere than where
    most show it (0.5: it never was); and the frame that shows it best in its middle."""
    columns = flat.shape[2]
    at = shape.column - mosaic.places
    margin = 0.5 * shape.half_columns
    in_view = np.flatnonzero((at >= margin) & (at < columns - margin))
    if not len(in_view):
        return 0.0, 0.5, int(np.argmin(np.abs(at - columns / 2)))
    contrast = np.array([_contrast(flat[t], shape, int(at[t])) for t in in_view])
    seen = contrast * np.sign(shape.contrast) > IN_VIEW_SHARE * abs(shape.contrast)
    stands = np.bincount(mosaic.places[in_view]).argmax()
    elsewhere = np.abs(mosaic.places[in_view] - stands) >= max(2.0, shape.half_columns)
    travels = float(seen[elsewhere].mean()) if elsewhere.any() else 0.5
    shown = in_view[np.argmin(np.abs(at[in_view] - columns / 2))]
    return float(seen.mean()), travels, int(shown)


def _contrast(frame: Floats, shape: Shape, column: int) -> float:
    """Core of the shape against its ring in one frame, K."""
    high, wide = int(shape.half_rows), int(shape.half_columns)
    core = frame[_near(shape.row, high // 2), _near(column, wide // 2)]
    around = frame[_near(shape.row, 2 * high), _near(column, 2 * wide)]
    if around.size <= core.size:
        return 0.0
    return float(core.mean() - (around.sum() - core.sum()) / (around.size - core.size))


def _near(middle: int, half: int) -> slice:
    return slice(max(0, middle - half), max(0, middle + half + 1))
