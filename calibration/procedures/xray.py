"""X-ray detector lines: dark, air, bad elements, penetration and resolution, from radiographs that were received.

Nothing here or behind it asks for an exposure: scans are made by the scanner's own operator, under the site's rules.
Raw arrays: ``<step>/image-N`` (elements, exposures), share of full scale. Told: ``known``, the settings in force, and
``spacing_m`` of the last picture, [between elements, between exposures].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.special import ndtr

from calibration.procedures.procedure import BadSetup, Curve, Floats, Outcome, Plot, Procedure, Step, reference
from calibration.raw import Raw
from calibration.record import Check
from calibration.uncertainty import Component, Kind, Quantity, of_repeats

LEAST_EXPOSURES = 32
DARK_MOST = 0.2  # share of full scale; assumed
AIR = (0.4, 0.97)  # assumed: as scanners set the open beam; above, elements saturate
STEADY = {"dark": 0.004, "air": 0.02}  # exposures against each other, peak to peak of their smooth level; assumed
AGREE = {"dark": 0.002, "air": 0.01}  # pictures against each other
QUANTUM = 1 / 65535  # 16 bits; a coarser detector shows it in its scatter
ELEMENT_GAIN, ELEMENT_NOISE, NEIGHBOURS = (0.5, 2.0), 3.0, 31  # as for the imager's pixels; the fan's profile is smooth
MOST_BAD_SHARE = 0.05
OPAQUE_SIGMA = 3.0  # a step is seen while what comes through is so many times the noise of a pixel
PENETRATION_G_CM2 = 50.0  # assumed: a pallet of produce with a person behind
MISFIT = 0.03  # assumed; relative, of a step against the law
THINNEST = 0.85  # transmission of a wedge's first step, at the most: 4 g/cm2 and more
EDGE_MM = 30.0  # assumed: a wrist is twice that
TILT_DEG = (1.0, 12.0)  # of an edge that crosses pixels, and is still an edge
EDGE_CONTRAST = 0.3
WIDTH_10_90 = 2.5631  # sigma between the tenth and the ninetieth hundredth of a Gaussian's integral
SPACING_RELATIVE = 0.01  # standard; assumed: as the object states it


def pictures(raw: Raw, step: str, least: int) -> list[Floats]:
    """A step's pictures, all of one detector. Raises BadSetup."""
    found = [raw.floats(f"{step}/{name}") for name in raw.names(step) if name.startswith("image-")]
    if len(found) < least:
        raise BadSetup(f"{step}: {len(found)} pictures; {least} are needed: have the operator scan again")
    for picture in found:
        if picture.ndim != 2 or picture.shape[1] < LEAST_EXPOSURES:
            raise BadSetup(f"{step}: a picture of {picture.shape}; at least {LEAST_EXPOSURES} exposures are needed")
        if picture.shape[0] != found[0].shape[0]:
            raise BadSetup(
                f"{step}: detectors of {found[0].shape[0]} and {picture.shape[0]} elements: another scanner?"
            )
    found = [_standing_still(picture) for picture in found]
    if not all(np.all(np.isfinite(picture)) for picture in found):
        raise BadSetup(f"{step}: lines are missing in a picture: have it sent again")
    return found


def _standing_still(picture: Floats) -> Floats:
    """With the few elements that the driver left out, since they showed one value throughout, at the level of the rest:
    they stand still here too, and are told as bad."""
    gone: NDArray[np.bool_] = np.all(np.isnan(picture), axis=1)
    if not gone.any() or gone.mean() > MOST_BAD_SHARE:
        return picture
    return np.where(gone[:, None], np.median(picture[~gone]), picture)


def _known(raw: Raw, name: str, elements: int) -> Floats:
    value = raw.about.get("known", {}).get(name)
    if value is None:
        raise BadSetup(f"no {name} is in force; run `{name}` first")
    found = np.asarray(value, np.float64)
    if found.shape != (elements,):
        raise BadSetup(f"{name} in force is of {len(found)} elements, the picture has {elements}: run `{name}` again")
    return found


def _smooth(series: Floats, width: int = 8) -> Floats:
    return np.convolve(series, np.ones(width) / width, "valid")


def _level_checks(step: str, found: list[Floats]) -> tuple[Check, Check]:
    """Exposures that agree with each other, and pictures that do."""
    usual = float(np.median(np.concatenate([picture.mean(axis=0) for picture in found])))
    scale = usual if step == "air" and usual > 0 else 1.0
    steady = max(float(np.ptp(_smooth(picture.mean(axis=0)))) / scale for picture in found)
    means = [float(picture.mean()) / scale for picture in found]
    beam = (
        "something is in the beam, or its dose is not steady" if step == "air" else "the beam was on for a part of it"
    )
    return (
        Check(name=f"{step} steady", value=steady, high=STEADY[step], mend=f"{beam}: scan again"),
        Check(name=f"{step} pictures agree", value=float(np.ptp(means)), high=AGREE[step],
              mend="it drifts: let the detector warm up"),
    )  # fmt: skip


def _stuck(found: list[Floats]) -> NDArray[np.bool_]:
    whole = np.concatenate(found, axis=1)
    return np.asarray(np.ptp(whole, axis=1) == 0)


# --- dark and air ----------------------------------------------------------------------------------------------------


def dark(raw: Raw) -> Outcome:
    """What each element shows without a beam."""
    found = pictures(raw, "dark", 2)
    level, mean = _elements("dark", found)
    if not np.any(np.concatenate(found, axis=1)):
        raise BadSetup("dark: all is 0: the scanner takes its dark off by itself, and there is nothing to calibrate")
    budget = (mean[1], Component("steps of the detector", Kind.B, QUANTUM / np.sqrt(12), None, "16 bits"))
    checks = (
        *_level_checks("dark", found),
        Check(name="level", value=float(np.median(level)), high=DARK_MOST, mend="the beam was on; have it off"),
        Check(name="elements that stand still", value=float(np.mean(_stuck(found))), high=MOST_BAD_SHARE,
              mend="not a raw picture, or a broken board: ask for raw data"),
    )  # fmt: skip
    return _line_outcome(raw, "dark", level, Quantity("dark level", "1", mean[0], budget), checks)


def air(raw: Raw) -> Outcome:
    """What each element shows of the open beam; transmission of air is one from then on."""
    found = pictures(raw, "air", 2)
    level, mean = _elements("air", found)
    below = _known(raw, "dark", len(level))
    usual = float(np.median(level))
    agree = np.ptp([picture.mean(axis=1) for picture in found], axis=0) / np.maximum(level - below, 1e-6)
    checks = (
        *_level_checks("air", found),
        Check(name="level", value=usual, low=AIR[0], high=AIR[1],
              mend="too low: the beam is off or something is in it; too high: elements saturate"),
        Check(name="over dark", value=float(np.percentile(level - below, 10)), low=0.1 * AIR[0],
              mend="elements without light: collimator, or the dark of another detector"),
        Check(name="elements agree", value=float(np.median(agree)), high=AGREE["air"] * 2,
              mend="something stands in the beam in one of the scans"),
        Check(name="smooth along the line", value=_roughness(level - below), high=0.1,
              mend="something hides a part of the detector: look along the beam"),
    )  # fmt: skip
    budget = (mean[1], Component("steps of the detector", Kind.B, QUANTUM / np.sqrt(12), None, "16 bits"))
    return _line_outcome(raw, "air", level, Quantity("air level", "1", mean[0], budget), checks)


def _roughness(above: Floats) -> float:
    """Largest jump of the smooth profile along the line, as a share of it; single elements do not count."""
    if len(above) < 2 * NEIGHBOURS:
        return 0.0
    smooth = _median_of_neighbours(above, 9)
    jumps = np.abs(smooth[12:] - smooth[:-12]) / np.maximum(np.median(smooth), 1e-6)
    return float(jumps.max())


def _elements(step: str, found: list[Floats]) -> tuple[Floats, tuple[float, Component]]:
    """(elements,) mean over all exposures, and the mean over elements with its scatter by eight stretches."""
    whole = np.concatenate(found, axis=1)
    stretches = [float(part.mean()) for part in np.array_split(whole, 8, axis=1)]
    return np.asarray(whole.mean(axis=1), np.float64), of_repeats(f"scatter of exposures, {step}", stretches)


def _line_outcome(raw: Raw, name: str, level: Floats, result: Quantity, checks: tuple[Check, ...]) -> Outcome:
    known = raw.about.get("known", {}).get(name)
    before = None if known is None or len(known) != len(level) else np.asarray(known, np.float64)
    element = np.arange(len(level), dtype=np.float64)
    curves = [Curve("now", element, level)]
    moved = None
    if before is not None:
        curves.append(Curve("before", element, before))
        moved = float(np.sqrt(np.mean((level - before) ** 2)))
    return Outcome(
        (result,), checks, {name: level.tolist()},
        {f"{name} level": None if before is None else float(before.mean())}, {f"{name} level": float(level.mean())},
        {} if moved is None else {"moved, rms": moved},
        plots=(Plot(f"{name.capitalize()} level of each element", "element", "share of full scale", tuple(curves)),),
    )  # fmt: skip


# --- bad elements ----------------------------------------------------------------------------------------------------


def bad_pixels(raw: Raw) -> Outcome:
    """Elements that stand still, that are far too noisy, or whose answer is not like their neighbours'."""
    off, on = pictures(raw, "dark", 1), pictures(raw, "air", 1)
    below, level = (np.concatenate(found, axis=1).mean(axis=1) for found in (off, on))
    if len(below) != len(level):
        raise BadSetup(f"dark of {len(below)} elements, air of {len(level)}: two detectors")
    answer = level - below
    if float(np.median(answer)) < 0.5 * AIR[0]:
        raise BadSetup(f"the open beam is {np.median(answer):.2f} over the dark: the beam was off, or not open")
    near = _median_of_neighbours(answer, NEIGHBOURS)
    noise = np.concatenate(on, axis=1).std(axis=1, ddof=1)
    kinds = {
        "stand still": _stuck(on),
        "are noisy": noise > ELEMENT_NOISE * _median_of_neighbours(noise, NEIGHBOURS),
        "answer too much or too little": ~((answer > ELEMENT_GAIN[0] * near) & (answer < ELEMENT_GAIN[1] * near)),
    }
    mask = np.logical_or.reduce(list(kinds.values()))
    known = raw.about.get("known", {}).get("bad")
    checks = (
        *_level_checks("dark", off)[:1],
        *_level_checks("air", on)[:1],
        Check(name="dark level", value=float(np.median(below)), high=DARK_MOST, mend="the beam was on for the dark"),
        Check(name="smooth along the line", value=_roughness(np.where(mask, near, answer)), high=0.1,
              mend="something is in the beam"),
        Check(name="bad share", value=float(np.mean(mask)), high=MOST_BAD_SHARE,
              mend="something is in the beam, or a board is dead"),
    )  # fmt: skip
    element = np.arange(len(answer), dtype=np.float64)
    curve = (Curve("answer", element, answer / near, dots=True),)
    return Outcome(
        (Quantity("bad elements", "1", float(mask.sum())),), checks,
        {"bad": [int(n) for n in np.flatnonzero(mask)]},
        {"bad elements known": None if known is None else float(len(known))},
        {"bad elements known": float(mask.sum())},
        notes=tuple(f"{int(which.sum())} elements {what}" for what, which in kinds.items() if which.any()),
        plots=(Plot("Answer of each element", "element", "x its neighbours", curve),),
    )  # fmt: skip


def _median_of_neighbours(series: Floats, width: int) -> Floats:
    width = min(width, len(series) - 1 + len(series) % 2)
    half = width // 2
    return np.asarray(np.median(sliding_window_view(np.pad(series, half, mode="reflect"), 2 * half + 1), axis=-1))


# --- penetration -----------------------------------------------------------------------------------------------------


def penetration(raw: Raw) -> Outcome:
    """How much mass the beam goes through: attenuation and scatter by a step wedge, and where noise ends it.

    ``T = (1 - s) e^(-mu x) + s`` over the wedge's steps; penetration is the x at which ``(1 - s) e^(-mu x)`` is three
    times the noise of a pixel, whose variance is ``a + b T`` (read-out and photons).
    """
    piece, steps = reference(raw, "piece"), int(raw.number("steps", 8))
    share = _corrected(raw, pictures(raw, "wedge", 1)[0])
    level, noise, count = wedge_levels(share, steps)
    mass = piece.value * np.arange(1, steps + 1) / steps
    mu, scatter, covariance, misfit = fit_wedge(mass, level, noise / np.sqrt(count))
    b, a = (max(0.0, float(one)) for one in np.polyfit(level, noise**2, 1, w=noise**-2.0))
    reach = _reach(mu, scatter, a, b)
    slopes = _slopes(mu, scatter, a, b)
    relative = piece.standard / piece.value
    fitted = float(np.sqrt(max(0.0, float(slopes @ covariance @ slopes))))
    counted = abs(_reach(mu, scatter, 1.01 * a, 1.01 * b) - reach) * 100 / np.sqrt(2 * float(np.sum(count)) / 4)
    source = piece.certificate or piece.name
    freedom, by_steps = max(steps - 2, 1), f"{steps} steps"
    results = (
        Quantity("penetration", "g/cm2", reach, (
            Component("fit of the steps", Kind.A, fitted, freedom, by_steps),
            Component("noise of a pixel", Kind.A, float(counted), None, f"{int(np.sum(count))} pixels"),
            Component("test piece", Kind.B, reach * relative, None, source),
        )),
        Quantity("attenuation", "cm2/g", mu, (
            Component("fit of the steps", Kind.A, float(np.sqrt(covariance[0, 0])), freedom, by_steps),
            Component("test piece", Kind.B, mu * relative, None, source),
        )),
        Quantity("scatter", "1", scatter, (
            Component("fit of the steps", Kind.A, float(np.sqrt(covariance[1, 1])), freedom, by_steps),
        )),
    )  # fmt: skip
    falling = float(np.max(np.diff(level)))
    checks = (
        Check(name="each step is darker", value=falling, high=0.0, mend="not this wedge, or not so many steps"),
        Check(name="follows the law", value=misfit, high=MISFIT,
              mend="another piece, other steps, or something else in the beam"),
        Check(name="penetration", value=reach, low=raw.number("least_g_cm2", PENETRATION_G_CM2), unit="g/cm2",
              mend="the source is weak, or the detector noisy: tell the scanner's owner"),
    )  # fmt: skip
    known = raw.about.get("known", {}).get("penetration")
    model = (1 - scatter) * np.exp(-mu * mass) + scatter
    curves = (Curve("measured", mass, level, dots=True), Curve("law", mass, model), Curve("noise x 3", mass, 3 * noise))
    return Outcome(
        results, checks, {"penetration": {"g_cm2": reach, "mu_cm2_g": mu, "scatter": scatter}},
        {"penetration, g/cm2": None if known is None else float(known["g_cm2"])}, {"penetration, g/cm2": reach},
        {"misfit": misfit},
        plots=(Plot("Transmission of the steps", "g/cm2", "transmission", curves, log_y=True),),
    )  # fmt: skip


def _corrected(raw: Raw, picture: Floats) -> Floats:
    """Transmission by the dark and air in force; not cut off at 0 and 1, which would move means of noise."""
    below = _known(raw, "dark", len(picture))
    share = (picture - below[:, None]) / np.maximum(_known(raw, "air", len(picture)) - below, 1e-6)[:, None]
    share[[element for element in raw.about.get("known", {}).get("bad", ()) if element < len(share)]] = np.nan
    share[np.ptp(picture, axis=1) == 0] = np.nan
    return np.asarray(share, np.float64)


def wedge_levels(share: Floats, steps: int) -> tuple[Floats, Floats, Floats]:
    """Transmission, noise and number of pixels of each step, the thinnest first. Raises BadSetup: no wedge is there."""
    thick = np.nan_to_num(share, nan=1.0)
    rows = np.flatnonzero(np.percentile(thick, 5, axis=1) < 0.6)
    if len(rows) < 8:
        raise BadSetup("wedge: nothing thick is in the picture; have the test piece scanned")
    middle = thick[rows[len(rows) // 5] : rows[-1 - len(rows) // 5] + 1]
    profile = np.median(middle, axis=0)
    columns = np.flatnonzero(profile < THINNEST)
    left, right = int(columns[0]), int(columns[-1]) + 1
    if left == 0 or right == share.shape[1] or float(np.mean(profile[left:right] < THINNEST)) < 0.98:
        raise BadSetup("wedge: it is not whole in the picture, or not alone; scan it with air at both ends")
    if (right - left) < 8 * steps:
        raise BadSetup(f"wedge: {right - left} exposures for {steps} steps; scan it slower, or nearer to the detector")
    level, noise, count = [], [], []
    for part in np.array_split(middle[:, left:right], steps, axis=1):
        core = part[:, part.shape[1] // 5 : part.shape[1] - part.shape[1] // 5]
        apart = np.diff(core, axis=1) / np.sqrt(2)  # what is fixed in an element drops out
        level.append(float(core.mean()))
        noise.append(float(apart.std()))
        count.append(float(core.size))
    found = np.array([level, noise, count])
    turned = found if level[0] > level[-1] else found[:, ::-1]
    return turned[0], turned[1], turned[2]


def fit_wedge(mass: Floats, level: Floats, unsure: Floats) -> tuple[float, float, Floats, float]:
    """mu, scatter, their covariance, and the largest relative misfit of a step."""
    from scipy.optimize import curve_fit  # 0.3 s to load: only where something is fitted

    def law(x: Floats, mu: float, scatter: float) -> Floats:
        return np.asarray((1 - scatter) * np.exp(-mu * x) + scatter, np.float64)

    floor = np.maximum(unsure, 2e-4 * level + 1e-6)  # what dark and air leave behind
    try:
        found, covariance = curve_fit(
            law, mass, level, p0=(0.05, 0.01), sigma=floor, absolute_sigma=True, bounds=([1e-4, 0.0], [1.0, 0.5])
        )
    except (RuntimeError, ValueError):
        raise BadSetup("wedge: its steps follow no law of attenuation: not this piece") from None
    left = (law(mass, *found) - level) / floor
    scale = max(1.0, float(np.sum(left**2)) / max(len(mass) - 2, 1))
    misfit = float(np.max(np.abs(law(mass, *found) - level) / level))
    return float(found[0]), float(found[1]), np.asarray(covariance * scale, np.float64), misfit


def _reach(mu: float, scatter: float, a: float, b: float) -> float:
    """Where what comes through is three times the noise, g/cm2, by halving."""
    low, high = 0.0, 2000.0
    for _ in range(60):
        x = (low + high) / 2
        through = (1 - scatter) * float(np.exp(-mu * x))
        seen = through > OPAQUE_SIGMA * float(np.sqrt(a + b * (through + scatter)))
        low, high = (x, high) if seen else (low, x)
    return low


def _slopes(mu: float, scatter: float, a: float, b: float) -> Floats:
    """Derivatives of the reach by mu and scatter."""
    by_mu = (_reach(1.001 * mu, scatter, a, b) - _reach(0.999 * mu, scatter, a, b)) / (0.002 * mu)
    by_scatter = (_reach(mu, scatter + 1e-4, a, b) - _reach(mu, max(scatter - 1e-4, 0.0), a, b)) / 2e-4
    return np.array([by_mu, by_scatter])


# --- resolution ------------------------------------------------------------------------------------------------------


def resolution(raw: Raw) -> Outcome:
    """How sharp an edge is, along the travel and along the detector, by a plate that is tilted a few degrees."""
    share = _corrected(raw, pictures(raw, "plate", 1)[0])
    spacing = raw.about.get("spacing_mm") or [1000 * float(one) for one in raw.about.get("spacing_m") or ()]
    if len(spacing) != 2 or not all(float(one) > 0 for one in spacing):
        raise BadSetup("plate: the object does not say its pixel spacing; give --set spacing_mm=4,4 (elements, travel)")
    results, checks, plots, values = [], [], [], {}
    for name, picture, pixel_mm in (("travel", share, spacing[1]), ("detector", share.T, spacing[0])):
        edge = Edge.find(picture, name)
        sigma, scatter = of_repeats("scatter of stretches of the edge", edge.sigmas())
        width = WIDTH_10_90 * float(pixel_mm)
        budget = (
            replace(scatter, standard=scatter.standard * width),
            Component("pixel spacing", Kind.B, sigma * width * SPACING_RELATIVE, None, "as the object states it"),
        )
        results.append(Quantity(f"edge along the {name}", "mm", sigma * width, budget))
        values[name] = sigma * width
        checks += [
            Check(name=f"tilt, {name}", value=abs(edge.tilt_deg), low=TILT_DEG[0], high=TILT_DEG[1], unit="degrees",
                  mend="tilt the plate by three to five degrees"),
            Check(name=f"contrast, {name}", value=edge.contrast, low=EDGE_CONTRAST, mend="a thicker plate"),
            Check(name=f"edge along the {name}", value=sigma * width, high=raw.number("most_mm", EDGE_MM), unit="mm",
                  mend="the spot has grown or the boom swings: tell the scanner's owner"),
        ]  # fmt: skip
        at, level = edge.profile()
        plots.append(Plot(f"Edge along the {name}", "mm", "transmission", (
            Curve("pixels", at * float(pixel_mm), level, dots=True),
            Curve("fit", at * float(pixel_mm), edge.model(at, sigma)),
        )))  # fmt: skip
    known = raw.about.get("known", {}).get("resolution") or {}
    before = {f"edge along the {name}, mm": known.get(f"{name}_mm") for name in values}
    after = {f"edge along the {name}, mm": value for name, value in values.items()}
    setting = {f"{name}_mm": value for name, value in values.items()}
    return Outcome(tuple(results), tuple(checks), {"resolution": setting}, before, after, plots=tuple(plots))


class Edge:
    """The first falling edge of a picture's rows: where it is in each, and all pixels by their distance from it."""

    def __init__(self, distance: Floats, level: Floats, rows: int, ends: tuple[float, float], tilt_deg: float) -> None:
        self._distance, self._level, self._rows = distance, level, rows  # (rows, pixels) each
        self._high, self._low, self.tilt_deg = *ends, tilt_deg

    @property
    def contrast(self) -> float:
        return self._high - self._low

    @classmethod
    def find(cls, picture: Floats, name: str) -> Edge:
        """Raises BadSetup: there is no such edge."""
        thick = np.percentile(np.nan_to_num(picture, nan=1.0), 20, axis=1) < 1 - EDGE_CONTRAST
        rows = np.flatnonzero(thick)
        if len(rows) < 24:
            raise BadSetup(f"plate: no edge along the {name} is in the picture; have a thick plate scanned")
        rows = rows[len(rows) // 5 : -len(rows) // 5]
        part = np.nan_to_num(picture[rows], nan=1.0)
        high, low = float(np.percentile(part, 90)), float(np.percentile(part, 20))
        half = (high + low) / 2
        smooth = np.stack([np.convolve(row, np.ones(3) / 3, "same") for row in part])
        crossing = np.argmax(smooth[:, 2:] < half, axis=1) + 2
        if np.any(crossing < 8) or np.any(crossing > part.shape[1] - 12):
            raise BadSetup(f"plate: its edge along the {name} lies at the border of the picture; put it in the middle")
        found = _crossings(part, crossing, half)
        line = np.polyfit(rows, found, 1)
        tilt = float(np.degrees(np.arctan(line[0])))
        reach = np.arange(-8, 9)
        columns = np.clip(np.rint(np.polyval(line, rows))[:, None] + reach, 0, part.shape[1] - 1).astype(int)
        distance = (columns - np.polyval(line, rows)[:, None]) * np.cos(np.radians(tilt))
        return cls(distance, np.take_along_axis(part, columns, axis=1), len(rows), (high, low), tilt)

    def sigmas(self) -> list[float]:
        """Blur of eight stretches of the edge, pixels."""
        parts = np.array_split(np.arange(self._rows), 8)
        return [self._fit(self._distance[part].ravel(), self._level[part].ravel()) for part in parts]

    def _fit(self, distance: Floats, level: Floats) -> float:
        from scipy.optimize import curve_fit  # 0.3 s to load: only where something is fitted

        def rim(at: Floats, high: float, low: float, middle: float, sigma: float) -> Floats:
            return np.asarray(high - (high - low) * ndtr((at - middle) / sigma), np.float64)

        start = (self._high, self._low, 0.0, 1.0)
        try:
            found, _ = curve_fit(rim, distance, level, p0=start, bounds=([0, -0.5, -4, 0.05], [1.5, 1, 4, 8]))
        except (RuntimeError, ValueError):
            raise BadSetup("plate: its edge has no shape that a blur makes: is it one straight edge?") from None
        return float(found[3])

    def profile(self) -> tuple[Floats, Floats]:
        """Mean level by distance, pixels, for a plot."""
        bins = np.arange(-6.0, 6.25, 0.25)
        index = np.digitize(self._distance.ravel(), bins)
        flat = self._level.ravel()
        there = [n for n in range(1, len(bins)) if np.any(index == n)]
        at = np.array([(bins[n - 1] + bins[n]) / 2 for n in there])
        return at, np.array([float(flat[index == n].mean()) for n in there])

    def model(self, at: Floats, sigma: float) -> Floats:
        """The fitted rim."""
        return np.asarray(self._high - (self._high - self._low) * ndtr(at / sigma), np.float64)


def _crossings(part: Floats, near: NDArray[np.intp], half: float) -> Floats:
    """Where each row falls through ``half``, between pixels."""
    found = np.empty(len(part))
    for n, (row, at) in enumerate(zip(part, near, strict=True)):
        window = slice(max(0, int(at) - 6), int(at) + 7)
        weight = np.clip(-np.diff(row[window]), 0, None)
        total = float(weight.sum())
        place = np.arange(window.start, window.start + len(weight)) + 0.5
        found[n] = float((weight * place).sum() / total) if total > 0 else float(at)
    return found


# --- what a person does ----------------------------------------------------------------------------------------------


def _scan(key: str, say: str, role: str | None = None) -> Step:
    return Step(key, f"{say} It is judged when it has arrived.", 1.0, None, role)


DARK = "Ask the scanner's operator for scans with the beam off."
OPEN = "Ask the scanner's operator for scans of the open beam: nothing and nobody in it."


def _steps(*steps: Step) -> Any:
    def of(about: Mapping[str, Any]) -> tuple[Step, ...]:
        return steps

    return of


WEDGE = "Ask the scanner's operator to scan the step wedge alone, upright, with air before and after it."
PLATE = "Ask the scanner's operator to scan the plate, tilted by three to five degrees, left and upper edge free."
ONE = {"images": 1}
PROCEDURES = (
    Procedure("dark", "xray", 1, "each element without a beam", _steps(_scan("dark", DARK)), dark, (), 7,
              {"images": 2}),
    Procedure("air", "xray", 1, "each element before the open beam", _steps(_scan("air", OPEN)), air, (), 7,
              {"images": 2}),
    Procedure("bad-pixels", "xray", 1, "elements to be left out", _steps(_scan("dark", DARK), _scan("air", OPEN)),
              bad_pixels, (), 90, ONE),
    Procedure("penetration", "xray", 1, "how much mass the beam goes through, by a step wedge",
              _steps(_scan("wedge", WEDGE, "piece")), penetration, ("piece",), 180,
              {**ONE, "steps": 8, "least_g_cm2": PENETRATION_G_CM2}),
    Procedure("resolution", "xray", 1, "how sharp an edge is, by a tilted plate", _steps(_scan("plate", PLATE)),
              resolution, (), 180, {**ONE, "spacing_mm": (), "most_mm": EDGE_MM}),
)  # fmt: skip
