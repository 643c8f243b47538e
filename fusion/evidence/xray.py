"""A radiograph as evidence: is there a body's rounded density in the load? It comes from a scan that others justified.

The picture is put on a grid of 3 cm on the scale of its own open beam, scatter is taken off, and attenuation
(-ln transmission, in which what lies in one beam adds up) is searched for bodies: 20-40 g/cm2 of water-like mass,
round, alone, sitting, lying or standing (SCIENCE 5). Where nothing comes through, nothing is said; what share of the
load was seen bounds what not finding anyone is worth. Several radiographs: the one that
speaks most for a person counts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log10

import numpy as np
from numpy.typing import NDArray

from calibration.radiograph import open_ends
from drivers.reading import Radiograph
from fusion.evidence.evidence import OK, Evidence, device_silence, silent
from fusion.evidence.shapes import Shape, region, shapes
from fusion.passage import Passage
from fusion.verdict import State

XRAY = "xray"
FEATURES = ("shape_log", "alone", "likeness", "fit", "coverage")  # what the classifier reads, in order

GRID_M = 0.03  # assumed: a head is seven pixels; on a grid of 2 cm nothing more was found, in three times the time
USUAL_M = 0.005  # SCIENCE 5: pixels of 5 mm, where the object does not say
SMALLEST_M = 1.0  # assumed: a picture of less than this shows no load space
OPAQUE_T = 0.003  # SCIENCE 5: transmission of 120 g/cm2 at 2 MeV is .0027: photons run out there
SCATTER_MOST = 0.05  # SCIENCE 5: pedestal of 1-5 % (assumed); a picture whose darkest is brighter has no opaque part
AIR_LOW, DARK_HIGH = 0.5, 0.1  # assumed: half of the range is lost; wheels and axles let far less through
PEDESTAL_SHARE = 0.2  # assumed: what is this little over the pedestal is the pedestal's noise
LOAD_NEPER = 0.015  # assumed: two walls of canvas are about this much; open air is not
BODY_NEPER = (0.5, 2.5)  # 20-40 g/cm2 at 0.045-0.075 cm2/g, thinner at the rim (SCIENCE 5, mu unverified)
PENETRATED_LEAST = 0.5  # assumed: under half of the load seen, the picture says nothing of it
FLOOR_NEPER = 1.0  # assumed: chassis and floor of a load space, all along
NOISE_NEPER = 0.003  # assumed: what is left of photon noise in a body's core; keeps a blank picture from ruling
WITH_NOTES = 0.6  # assumed: quality of a picture that is less sure of itself
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Grid:
    """Transmission (rows, columns) float32 on the working grid, NaN where unknown; air is 1."""

    transmission: Floats
    pixel_m: float
    place_known: bool
    air_level: float  # of the open beam, share of full scale, before the correction


def xray_evidence(passage: Passage) -> Evidence:
    """Evidence from the radiographs that had joined; their own times do not matter, so late is as good as early."""
    if not passage.radiographs:
        return device_silence(passage, XRAY) or silent(XRAY, State.ABSENT, "no radiograph")
    found = [_of_one(radiograph) for radiograph in passage.radiographs]
    spoke = [(number, part) for number, part in enumerate(found) if part.state is State.MEASURED]
    if not spoke:
        return found[-1]
    number, best = max(spoke, key=lambda one: one[1].features["shape_log"] + one[1].features["fit"])
    return replace(best, features={**best.features, "region_radiograph": float(number)})


def _of_one(radiograph: Radiograph) -> Evidence:
    name = radiograph.device
    if radiograph.status.startswith("faulty"):
        cause = radiograph.status.partition(":")[2].strip() or "faulty"
        return silent(XRAY, State.FAULTY, f"{name}: {cause[:160]}")
    step, pixel_m = _step(radiograph)
    rows, columns = radiograph.transmission.shape
    if min(rows, columns) * pixel_m / step < SMALLEST_M:
        return silent(XRAY, State.OUT_OF_LIMITS, f"{name}: {rows} x {columns} pixels show no load space")
    share = _pooled(radiograph.transmission, step)
    air = _air(share)
    if air is None:
        return silent(XRAY, State.OUT_OF_LIMITS, f"{name}: no open beam at the ends of the scan: levels are relative")
    level = float(np.nanmedian(air))
    grid = _Grid(
        np.clip(share / air, 0.0, 1.0).astype(np.float32), pixel_m, radiograph.row_spacing_m is not None, level
    )
    return _measured(radiograph, grid)


def _step(radiograph: Radiograph) -> tuple[int, float]:
    """Pixels a side that make one of the grid, and the size of that, m."""
    known = [spacing for spacing in (radiograph.row_spacing_m, radiograph.column_spacing_m) if spacing]
    spacing = sum(known) / len(known) if known else USUAL_M
    step = max(1, round(GRID_M / spacing))
    return step, step * spacing


def _pooled(transmission: Floats, step: int) -> Floats:
    """Mean of each ``step`` x ``step`` pixels; NaN where none of them is known."""
    rows, columns = transmission.shape[0] // step, transmission.shape[1] // step
    whole = transmission[: rows * step, : columns * step]
    lines = whole.reshape(rows, step, columns * step).mean(axis=1)
    pooled = lines.reshape(rows, columns, step).mean(axis=2)
    if np.isnan(pooled).any():
        parts = whole.reshape(rows, step, columns, step)
        good = np.isfinite(parts)
        count = good.sum(axis=(1, 3))
        total = np.where(good, parts, np.float32(0)).sum(axis=(1, 3))
        pooled = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.asarray(pooled, np.float32)


def _air(share: Floats) -> Floats | None:
    """Open beam of each detector element, (rows, 1) or (1, columns), or None where no line of the scan is open."""
    ways = [(np.asarray(lines, np.float64), axis) for lines, axis in ((share.T, 0), (share, 1))]
    ends = []
    for lines, axis in ways:
        ends.append((open_ends(lines), lines, axis))
        if min(ends[-1][0]) > 0:  # air at both ends: that is the way the vehicle went
            break
    (head, tail), lines, axis = max(ends, key=lambda one: (min(one[0]) > 0, sum(one[0])))
    if head + tail < 2:
        return None
    ends_only = np.concatenate((lines[:head], lines[len(lines) - tail :]))
    known = np.isfinite(ends_only)
    level = np.where(known, ends_only, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    usual = float(np.median(level))
    level = np.where(level > 0.25 * usual, level, np.nan).astype(np.float32)  # a dead element has no scale
    return level[:, None] if axis == 0 else level[None, :]


def _measured(radiograph: Radiograph, grid: _Grid) -> Evidence:
    seen, pedestal = _without_scatter(grid.transmission)
    load = _load_space(seen)
    if load is None:
        return silent(XRAY, State.OUT_OF_LIMITS, f"{radiograph.device}: no load space in the picture")
    top, bottom, left, right = load
    part = seen[top:bottom, left:right]
    known, through = np.isfinite(part), part > max(OPAQUE_T, PEDESTAL_SHARE * pedestal)
    coverage = float((known & through).sum()) / max(1, part.size)
    figures = {"penetrated_share": coverage, "scatter_share": pedestal, "air_level": grid.air_level}
    if coverage < PENETRATED_LEAST:
        cause = f"{radiograph.device}: penetration gone in {1 - coverage:.0%} of the load"
        return silent(XRAY, State.OUT_OF_LIMITS, cause, figures)
    attenuation = -np.log(np.where(known & through, part, np.float32(1.0)))
    found = shapes(attenuation, known & through, grid.pixel_m, 1.0, NOISE_NEPER)
    if not found:
        return silent(
            XRAY, State.OUT_OF_LIMITS, f"{radiograph.device}: the load space is too small for a body", figures
        )
    worth = sorted((_worth(shape) for shape in found), reverse=True)
    shape = max(found, key=_worth)
    moved = region(shape, part.shape[0], part.shape[1])
    features = {
        **figures,
        **_in_picture(moved, load, seen.shape),
        "contrast_neper": shape.contrast,
        "shape_log": log10(1.0 + max(0.0, shape.stands_out)),
        "alone": worth[0] - worth[min(3, len(worth) - 1)],
        "likeness": shape.likeness,
        "fit": _fit(shape),
        "coverage": coverage,
    }
    if radiograph.dose_usv is not None:
        features["dose_usv"] = radiograph.dose_usv
    place = f"{(left + shape.column) * grid.pixel_m:.1f} m from the left edge of the radiograph"
    notes = ([] if radiograph.status == OK else [radiograph.status[:160]]) + _levels(grid)
    note = "; ".join(notes) or None
    where = place if grid.place_known else "place unknown: the radiograph has no pixel spacing"
    return Evidence(XRAY, State.MEASURED, note, where, coverage * (1.0 if note is None else WITH_NOTES), features)


def _levels(grid: _Grid) -> list[str]:
    """What the levels of the picture say against the scanner."""
    known = grid.transmission[np.isfinite(grid.transmission)]
    darkest = float(np.percentile(known[:: max(1, len(known) // 20_000)], 1.0)) if len(known) else 0.0
    found = []
    if grid.air_level < AIR_LOW:
        found.append(f"air not 1.0: the open beam is {grid.air_level:.0%} of full scale: calibrate the scanner's air")
    if darkest > DARK_HIGH:
        found.append(f"dark drift, or no wheel in view: the darkest is {darkest:.0%} of the open beam")
    return found


def _fit(shape: Shape) -> float:
    """1 where the density is that of a body, less where it is lighter or denser."""
    low, high = BODY_NEPER
    return min(1.0, max(0.0, shape.contrast / low)) * min(1.0, high / max(shape.contrast, 1e-6))


def _worth(shape: Shape) -> float:
    """How much a shape is like a body in form and density, 0..1."""
    return max(0.0, shape.likeness) * _fit(shape)


def _without_scatter(transmission: Floats) -> tuple[Floats, float]:
    """Transmission less the pedestal that its opaque parts (wheels, engine) show, and that pedestal."""
    known = transmission[np.isfinite(transmission)]
    darkest = float(np.percentile(known[:: max(1, len(known) // 20_000)], 1.0)) if len(known) else 1.0
    pedestal = darkest if darkest <= SCATTER_MOST else 0.0
    return np.asarray((transmission - np.float32(pedestal)) / np.float32(1 - pedestal), np.float32), pedestal


def _load_space(seen: Floats) -> tuple[int, int, int, int] | None:
    """(top, bottom, left, right) of the load space: under the roof, over the floor that runs all along."""
    attenuation = -np.log(np.clip(np.nan_to_num(seen, nan=1.0), OPAQUE_T, 1.0))
    solid = attenuation > LOAD_NEPER
    edges = np.flatnonzero(np.diff(np.concatenate(([0], (solid.mean(axis=0) > 0.3).astype(np.int8), [0]))))
    if not len(edges):
        return None
    begins, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - begins))  # the gap to the cab ends it
    left, right = int(begins[longest]), int(ends[longest])
    inside = attenuation[:, left:right]
    rows = np.flatnonzero(np.median(inside, axis=1) > LOAD_NEPER)
    if len(rows) < 2:
        return None
    top, end = int(rows[0]), int(rows[-1]) + 1
    middle = (top + end) // 2
    everywhere = np.percentile(inside[middle:end], 10.0, axis=1)  # only the floor is dense all along
    dense = np.flatnonzero(everywhere > FLOOR_NEPER)
    bottom = middle + int(dense[0]) if len(dense) else end
    return (top, bottom, left, right) if bottom - top > 4 and right - left > 4 else None


def _in_picture(box: dict[str, float], load: tuple[int, int, int, int], shape: tuple[int, ...]) -> dict[str, float]:
    """A region of the load space as shares of the whole picture."""
    top, bottom, left, right = load
    return {
        name: (top + value * (bottom - top)) / shape[0]
        if name in ("region_top", "region_bottom")
        else (left + value * (right - left)) / shape[1]
        for name, value in box.items()
    }
