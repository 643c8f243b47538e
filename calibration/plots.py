"""Plots of a procedure as SVG, by matplotlib: legible in grey and in print, the same bytes for the same numbers."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from numpy.typing import NDArray

from calibration.drift import Charted
from calibration.procedures.procedure import Curve, Plot

SIZE_IN = (6.6, 3.2)
MOST_POINTS = 1200  # of a curve; more than a page shows
MOST_SMALL = 100  # of a curve in a guide
STYLES = ("-", "--", ":", "-.")
COLOURS = ("#111111", "#0b62a4", "#b4460f", "#3b7d23", "#7a3b8f", "#666666", "#0f8b8d", "#a51c5b")  # told apart in grey
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "lanepulse",
    "svg.fonttype": "path",
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
}
NOTHING = dict.fromkeys(("Date", "Creator", "Format", "Type"))
Floats = NDArray[np.float64]


def svg(plot: Plot) -> str:
    """One plot."""
    return panels([plot], SIZE_IN)


def panels(shown: Sequence[Plot], size_in: tuple[float, float], *, small: bool = False) -> str:
    """Plots side by side; ``small`` leaves letters to the reader's fonts and thins curves for a guide."""
    fonts: dict[Any, Any] = (
        {"svg.fonttype": "none", "path.simplify_threshold": 1.0, "font.family": "sans-serif"} if small else {}
    )
    with mpl.rc_context({**SETTINGS, **fonts}):
        figure = Figure(figsize=size_in, layout="constrained")
        for number, plot in enumerate(shown, 1):
            _draw(figure.add_subplot(1, len(shown), number), plot, MOST_SMALL if small else MOST_POINTS)
        return _text(figure)


def _draw(axes: Axes, plot: Plot, most: int) -> None:
    for number, curve in enumerate(plot.curves):
        x, y = _thinned(curve, plot, most)
        look = {"marker": ".", "linestyle": "none", "markersize": 3.5} if curve.dots else {
            "linestyle": STYLES[number // len(COLOURS) % len(STYLES)], "linewidth": 1.2}  # fmt: skip
        axes.plot(x, y, label=curve.label, color=COLOURS[number % len(COLOURS)], **look)  # type: ignore[arg-type]
    axes.set(title=plot.title, xlabel=plot.x_label, ylabel=plot.y_label)
    if plot.log_x:
        axes.set_xscale("log")
    if plot.log_y:
        axes.set_yscale("log")
    if len(plot.curves) > 1:
        axes.legend(fontsize=7, ncols=2 if len(plot.curves) > 6 else 1)


def control_chart(title: str, unit: str, points: Sequence[Charted]) -> str:
    """Values, their weighted mean and its limits; what is outside is a cross."""
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        axes = figure.add_subplot()
        at = np.arange(1, len(points) + 1)
        axes.fill_between(at, [p.low for p in points], [p.high for p in points], color="#cccccc", alpha=0.6, lw=0,
                          label="limits of the mean")  # fmt: skip
        axes.errorbar(at, [p.point.value for p in points], [2 * p.point.standard for p in points], fmt=".",
                      color="#666666", elinewidth=0.7, label="result, k = 2")  # fmt: skip
        axes.plot(at, [p.mean for p in points], color="#111111", lw=1.4, label="weighted mean (EWMA)")
        out = [(n, p.mean) for n, p in zip(at, points, strict=True) if not p.inside]
        if out:
            axes.plot(*zip(*out, strict=True), "X", color="#b4460f", ms=9, label="out of limits")
        shown = max(1, len(points) // 8)
        axes.set_xticks(at[::shown], [f"{p.point.utc[:10]}\n{p.point.record}" for p in points][::shown], fontsize=7)
        axes.set(title=title, ylabel=unit, xlabel="date and record")
        axes.legend(fontsize=7)
        return _text(figure)


def _text(figure: Figure) -> str:
    made = io.StringIO()
    FigureCanvasSVG(figure).print_svg(made, metadata=NOTHING)  # type: ignore[no-untyped-call]
    text = made.getvalue()
    return text[text.index("<svg") :]


def _thinned(curve: Curve, plot: Plot, most: int = MOST_POINTS) -> tuple[Floats, Floats]:
    """At most so many points; of a line the lowest and highest of each stretch stay."""
    x, y = np.asarray(curve.x, np.float64), np.asarray(curve.y, np.float64)
    there = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not plot.log_x)) & ((y > 0) | (not plot.log_y))
    x, y = x[there], y[there]
    if len(x) <= most:
        return x, y
    if curve.dots:
        step = -(-len(x) // most)
        return x[::step], y[::step]
    parts = np.array_split(np.arange(len(x)), most // 2)
    kept = sorted({int(part[choose(y[part])]) for part in parts for choose in (np.argmin, np.argmax)})
    return x[kept], y[kept]
