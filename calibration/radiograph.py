"""Transmission of a line-scan radiograph: dark and air correction, and dead detector elements, from the picture itself.

T = (I - D) / (A - D) for each detector element, with dark level D and open beam A (pipeline of arXiv 1411.7742). A is
measured where nothing is in the beam: lines before and after the vehicle, which the picture itself holds. A picture
that its scanner has corrected passes through unchanged, but for its air level, which becomes 1. The dark level is not
in the picture: it comes from a recorded dark frame, or stays in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

AIR_SHARE = (
    0.4  # assumed: scanners set the open beam near the top of their range; darker is a wall, or an inverted picture
)
OPEN_MEDIAN, OPEN_LOW = (
    0.9,
    0.8,
)  # assumed: an open line against the brightest seen, median and 5th percentile of elements
FAN_SHARE = 0.3  # assumed: the dim end of a fan beam against its middle
OPEN_QUANTILE = 95.0  # of an element's lines: its brightest, without the noise of a maximum
LINES_AT_ONCE = 32  # assumed: open air at an end is that long, or a few times
MIN_AIR_LINES = 2
GAIN_RANGE = (0.5, 2.0)  # x the median of its neighbours; as for bad pixels of the imager
NEIGHBOURS = 31  # elements; the fan's own profile is smooth over so many
STUCK_RUN = 4  # assumed: more elements side by side that never change are a saturated zone, not a fault


class Axis(StrEnum):
    """Which way the lorry moved: a line is what one exposure sees of it."""

    COLUMNS = "columns"  # each column is a line, as in most cargo pictures
    ROWS = "rows"


@dataclass(frozen=True, slots=True)
class Corrected:
    """A radiograph on the scale of the open beam.

    ``transmission`` is (rows, columns) float32, 0..1, air 1, NaN where bad or missing. ``air_lines`` were the
    reference, ``bad_elements`` are detector elements that were masked; both are indices along and across ``axis``.
    ``cause`` is None, or why the picture is as it came: then it is no calibrated transmission.
    """

    transmission: NDArray[np.float32]
    axis: Axis
    air_lines: tuple[int, ...]
    bad_elements: tuple[int, ...]
    air_level: float | None  # share of full scale, before correction
    cause: str | None


def correct(
    intensity: NDArray[np.float32], dark: NDArray[np.float32] | float = 0.0, axis: Axis | None = None
) -> Corrected:
    """Transmission from intensity.

    Args:
        intensity: (rows, columns), share of full scale, linear in intensity, NaN where not measured.
        dark: share of full scale: one number, or one for each detector element.
        axis: which way the lorry moved; None takes the way that has open lines at both ends, or more of them.

    Raises:
        ValueError: the shapes do not fit, or dark is not finite.
    """
    if intensity.ndim != 2 or intensity.size == 0:
        raise ValueError(f"radiograph of shape {intensity.shape}; (rows, columns) is needed")
    if not np.all(np.isfinite(dark)):
        raise ValueError("dark level is not finite; record it again")
    ways = [axis] if axis else [Axis.COLUMNS, Axis.ROWS]
    if axis is None and np.ndim(dark):
        ways = [way for way in ways if len(np.atleast_1d(dark)) == _lines(intensity, way).shape[1]]
    found = [(way, open_ends(_lines(intensity, way))) for way in ways]
    if not found:
        raise ValueError(f"dark of shape {np.shape(dark)} fits no side of {intensity.shape}")
    way, (head, tail) = max(found, key=lambda one: (min(one[1]) > 0, sum(one[1])))
    return _corrected(intensity, dark, way, head, tail)


def _lines(intensity: NDArray[np.float32], axis: Axis) -> NDArray[np.float64]:
    """(lines, elements) float64."""
    return np.asarray(intensity.T if axis is Axis.COLUMNS else intensity, dtype=np.float64)


def open_ends(lines: NDArray[np.float64]) -> tuple[int, int]:
    """How many lines at the head and at the tail of a scan have nothing in the beam; (lines, elements).

    A line is open while each element is as bright as it ever was, from the ends inwards: the gap between cab and
    trailer is never taken for air. (0, 0) where the brightest is too dark to be the open beam.
    """
    there: NDArray[np.bool_] = np.isfinite(lines)
    live: NDArray[np.bool_] = np.all(there, axis=0)
    if not live.any():  # lines are missing: no element has all
        live = np.any(there, axis=0)
    kept = lines[:, live]
    whole: NDArray[np.bool_] = np.all(there[:, live], axis=1)
    if not live.any() or not whole.any():
        return 0, 0
    brightest: NDArray[np.float64] = np.percentile(kept[whole], OPEN_QUANTILE, axis=0)
    usable: NDArray[np.bool_] = np.greater(brightest, 0)
    if not usable.any() or float(np.median(brightest[usable])) < AIR_SHARE:
        return 0, 0
    if float(np.percentile(brightest, 20)) < FAN_SHARE * float(brightest.max()):
        return 0, 0  # much of the detector never saw the beam: another axis, or an inverted picture
    usable_lines, full = kept[:, usable], brightest[usable]

    def are_open(part: slice) -> NDArray[np.bool_]:
        ratio = np.where(whole[part, None], usable_lines[part] / full, 0.0)
        bright = np.median(ratio, axis=1) >= OPEN_MEDIAN
        return np.asarray(bright & (np.percentile(ratio, 5, axis=1) >= OPEN_LOW), np.bool_)

    head = _run(are_open, len(kept), from_end=False)
    return (head, 0) if head == len(kept) else (head, _run(are_open, len(kept), from_end=True))


def _run(are_open: Callable[[slice], NDArray[np.bool_]], count: int, *, from_end: bool) -> int:
    """How many lines are open from one end inwards; looked at some at a time, because most lie behind the first that
    is not."""
    for at in range(0, count, LINES_AT_ONCE):
        size = min(LINES_AT_ONCE, count - at)
        part = slice(count - at - size, count - at) if from_end else slice(at, at + size)
        found = are_open(part)[:: -1 if from_end else 1]
        if not found.all():
            return at + int(np.argmin(found))
    return count


def _corrected(
    intensity: NDArray[np.float32], dark: NDArray[np.float32] | float, axis: Axis, head: int, tail: int
) -> Corrected:
    lines = _lines(intensity, axis)
    if np.ndim(dark) and np.shape(dark) != (lines.shape[1],):
        raise ValueError(f"dark of shape {np.shape(dark)} for {lines.shape[1]} detector elements")
    air = (*range(head), *range(len(lines) - tail, len(lines)))
    if len(air) < MIN_AIR_LINES:
        cause = "no open beam at the ends of the scan: levels are relative, and may be inverted"
        return Corrected(intensity, axis, (), (), None, cause)
    level = lines[list(air)].mean(axis=0)
    above = level - dark
    bad = _bad_elements(lines, above)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (lines - dark) / above
    share[:, bad] = np.nan
    share = np.clip(share, 0.0, 1.0).astype(np.float32)
    return Corrected(
        share.T if axis is Axis.COLUMNS else share,
        axis,
        air,
        tuple(int(i) for i in np.flatnonzero(bad)),
        float(np.nanmedian(level)),
        None,
    )


def _bad_elements(lines: NDArray[np.float64], above: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Elements whose open beam is not like their neighbours', or that never change; (elements,) bool."""
    known = np.isfinite(above)
    smooth = median_filter(np.where(known, above, 0.0), size=min(NEIGHBOURS, len(above)), mode="nearest")
    low, high = GAIN_RANGE
    bad = known & ~((above > 0) & (above >= low * smooth) & (above <= high * smooth))
    still = np.array([_never_changes(lines[:, i]) for i in range(lines.shape[1])])
    edges = np.flatnonzero(np.diff(np.concatenate(([0], still.astype(np.int8), [0]))))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        if end - begin <= STUCK_RUN:
            bad[begin:end] = True
    return bad


def _never_changes(element: NDArray[np.float64]) -> bool:
    there = element[np.isfinite(element)]
    return len(there) > 1 and bool(there.min() == there.max())
