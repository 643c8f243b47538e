"""Where an imager's pixels look: a warm target is held at marked places along the vehicle.

Raw arrays: ``empty/frames`` and ``place-N/frames`` (n, rows, columns) K. Told: ``places`` [[along_m, up_m], …]. Pixels
are mapped by ``along = a + b column + c row`` and the same for ``up``, fitted by least squares over the places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.procedures.mmwave import Film, film_of, pixel_noise
from calibration.procedures.procedure import BadSetup, Curve, Floats, Outcome, Plot, Procedure, Step
from calibration.raw import Raw
from calibration.record import Check, RecordFault
from calibration.uncertainty import Component, Kind, Quantity

LEAST_PLACES, MOST_PLACES = 5, 40  # three numbers are fitted for each direction
CONTRAST = 8.0  # x what noise leaves in the mean; assumed
TARGET_SHARE = 0.15  # of the view; assumed: a person with a hot-water bottle fills less
MARKS_M = 0.02  # standard: how well a target is held at its mark; assumed
RESIDUAL_M = 0.10  # rms; assumed: a quarter of a person's width
SPREAD_SHARE = 0.3  # of the view, that places must span
SECOND_SHARE = 0.5  # of the first: another warm thing in the view


def places_of(about: Mapping[str, Any]) -> Floats:
    """(n, 2) m. Raises RecordFault: too few, or no places."""
    given = about.get("places") or ()
    try:
        places = np.asarray(given, np.float64)
    except (TypeError, ValueError):
        places = np.empty(0)
    if places.ndim != 2 or places.shape[1] != 2 or not np.all(np.isfinite(places)):
        raise RecordFault("places: give --set 'places=[[0.5,1.2],[3,1.2],…]', along and up in m of each mark")
    if not LEAST_PLACES <= len(places) <= MOST_PLACES:
        raise RecordFault(f"places: {len(places)} marks; {LEAST_PLACES} to {MOST_PLACES} are needed")
    return places


def geometry(raw: Raw) -> Outcome:
    """Metres of a pixel, along and up, and the place of the first pixel."""
    places = places_of(raw.about)
    empty = _upright(raw, film_of(raw, "empty"))
    spots, checks = [], []
    for number in range(1, len(places) + 1):
        spot, contrast, second = locate(_upright(raw, film_of(raw, f"place-{number}")), empty)
        spots.append(spot)
        checks += [
            Check(name=f"target at {number}", value=contrast, low=CONTRAST, unit="x noise",
                  mend="not seen: warm it, hold it in the view, nothing before it"),
            Check(name=f"alone at {number}", value=second, high=SECOND_SHARE,
                  mend="something else is warm in the view: step out of it"),
        ]  # fmt: skip
    pixels = np.array(spots)
    design = np.column_stack([np.ones(len(pixels)), pixels[:, 1], pixels[:, 0]])  # 1, column, row
    if float(np.linalg.svd(pixels - pixels.mean(axis=0), compute_uv=False)[1]) < np.sqrt(len(pixels)):
        raise BadSetup("all marks lie on one line of the picture; put some higher and lower, left and right")
    fitted, *_ = np.linalg.lstsq(design, places, rcond=None)
    left = places - design @ fitted
    spans = np.ptp(pixels, axis=0) / np.array(empty.mean.shape)
    checks += [
        Check(name="fit", value=float(np.sqrt(np.mean(np.sum(left**2, axis=1)))), high=RESIDUAL_M, unit="m",
              mend="a mark was taken for another, or the target was held beside it"),
        Check(name="marks span the view", value=float(spans.min()), low=SPREAD_SHARE,
              mend="put the marks near the corners of the view"),
        Check(name="row 0 is above", value=float(fitted[2, 1]), high=0.0, unit="m", mend="it is mounted upside down"),
    ]  # fmt: skip
    results = _results(raw, design, fitted, left)
    setting = {"along_m": fitted[:, 0].tolist(), "up_m": fitted[:, 1].tolist()}  # constant, column, row
    residuals = {f"place {n}, m": float(np.hypot(*one)) for n, one in enumerate(left, 1)}
    marks = (
        Curve("marks", places[:, 0], places[:, 1], dots=True),
        Curve("where the picture has them", (design @ fitted)[:, 0], (design @ fitted)[:, 1], dots=True),
    )
    return Outcome(
        results, tuple(checks), {"geometry": setting},
        {}, {"fit rms, m": float(np.sqrt(np.mean(left**2)))}, residuals,
        plots=(Plot("Marks and where the picture has them", "along, m", "up, m", marks),),
    )  # fmt: skip


def _upright(raw: Raw, film: Film) -> Film:
    """Rows first, whatever a receiver paints."""
    if raw.about.get("axis") != "columns":
        return film
    return Film(np.swapaxes(film.frames, 1, 2), film.mean.T)


def locate(film: Film, empty: Film) -> tuple[tuple[float, float], float, float]:
    """(row, column) of the target, its contrast over noise, and the next warm thing's share of it."""
    more = film.mean - empty.mean
    more = np.where(np.isfinite(more), more, 0.0)
    more = more - np.median(more)
    smooth = _smoothed(more)
    noise = float(np.nanmedian(pixel_noise(film))) * np.sqrt(2 / len(film.frames)) / 3  # of nine pixels
    row, column = np.unravel_index(int(np.argmax(smooth)), smooth.shape)
    peak = float(smooth[row, column])
    rows, columns = np.mgrid[0 : smooth.shape[0], 0 : smooth.shape[1]]
    reach = max(3.0, TARGET_SHARE * max(smooth.shape))
    near = np.hypot(rows - row, columns - column) <= reach
    weight = np.where(near & (smooth > 0.3 * peak), smooth, 0.0)
    total = float(weight.sum())
    second = float(np.max(np.where(near, 0.0, smooth))) / peak if peak > 0 else 1.0
    if total <= 0:
        return (0.0, 0.0), 0.0, 1.0
    return (float((weight * rows).sum() / total), float((weight * columns).sum() / total)), peak / noise, second


def _smoothed(picture: Floats) -> NDArray[np.float64]:
    """Mean of three by three."""
    wide = np.pad(picture, 1, mode="edge")
    rows = wide[:-2] + wide[1:-1] + wide[2:]
    return np.asarray((rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9, np.float64)


def _results(raw: Raw, design: Floats, fitted: Floats, left: Floats) -> tuple[Quantity, ...]:
    """Metres of a pixel each way, their scatter by what is left of the fit; marks are independent of each other."""
    freedom = len(design) - 3
    covariance = np.linalg.inv(design.T @ design)
    marks = raw.number("marks_m", MARKS_M)
    found = []
    for name, way, term in (("column", 0, 1), ("row", 1, 2)):
        spread = float(np.sqrt(np.sum(left[:, way] ** 2) / freedom * covariance[term, term]))
        told = Component("marks", Kind.B, float(marks * np.sqrt(covariance[term, term])), None, "as told")
        scatter = Component("scatter of places", Kind.A, spread, freedom, f"{len(design)} places")
        found.append(Quantity(f"metres of a {name}", "m", float(fitted[term, way]), (scatter, told)))
    return tuple(found)


def _steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    seconds = float(about["seconds"])
    marks = [
        Step(f"place-{n}", f"Hold the warm target at mark {n}: {along:g} m along, {up:g} m up. Yourself out of view.",
             seconds)
        for n, (along, up) in enumerate(places_of(about), 1)
    ]  # fmt: skip
    return (Step("empty", "Nobody and no target in the view.", seconds), *marks)


PROCEDURES = (
    Procedure("geometry", "mmwave", 1, "where each pixel looks, by a warm target at marked places", _steps, geometry,
              (), 365, {"seconds": 4.0, "frames": 32, "places": (), "marks_m": MARKS_M}),
)  # fmt: skip
