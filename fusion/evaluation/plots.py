"""Three plots as inline SVG: reliability, Tippett and DET. Curves differ in dash and words, never in colour alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from fusion.evaluation.exact_share import exact_share
from fusion.evaluation.metrics import grouped

Floats = NDArray[np.float64]

WIDTH, HEIGHT = 460, 380  # of a plot, in its own units
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 14, 54
BINS = 10  # of the reliability plot, each with as many cases
POINTS_MOST = 600  # of a curve: finer than a screen shows
DET_TICKS = (0.001, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99, 0.999)
DET_EDGE = 0.0005  # shares beyond are drawn at the edge


@dataclass(frozen=True, slots=True)
class Axis:
    """From a value to a place between 0 and 1, with marked values and a name."""

    name: str
    place: Callable[[Floats], Floats]
    ticks: Sequence[tuple[float, str]]


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through (x, y); ``name`` stands in the legend, if it has one."""

    name: str
    style: str  # a class of the page's style sheet: "found", "empty", "all"
    x: Floats
    y: Floats


def tippett(occupied: Floats, empty: Floats) -> str:
    """Share of either class whose log10 likelihood ratio is over x: (n,) and (m,)."""
    both = np.concatenate([occupied, empty])
    low, high = float(np.floor(both.min() * 2) / 2) - 0.5, float(np.ceil(both.max() * 2) / 2) + 0.5
    step = 0.5 if high - low <= 6 else 2.0
    marks = np.arange(np.ceil(low / step) * step, high + 1e-9, step)
    x = Axis("log10 likelihood ratio", lambda v: (v - low) / (high - low), [(float(m), f"{m:g}") for m in marks])
    curves = [
        Curve(name, style, *_over(values, low, high))
        for name, style, values in (("people found", "found", occupied), ("empty", "empty", empty))
    ]
    return _svg("Tippett plot", x, _shares("share of passages over it"), curves, [])


def det(occupied: Floats, empty: Floats) -> str:
    """Misses against false alarms over all thresholds, both axes in normal deviates."""
    cases = grouped(occupied, empty)
    missed = np.concatenate([[0.0], np.cumsum(cases.occupied) / len(occupied)])
    alarmed = np.concatenate([[1.0], 1.0 - np.cumsum(cases.empty) / len(empty)])
    curve = Curve("all evidence", "all", alarmed, missed)
    x, y = _deviate("false alarms (Pfa)"), _deviate("misses (1 - Pd)")
    return _svg("DET plot", x, y, [_thinned(curve)], [])


def reliability(occupied: Floats, empty: Floats) -> str:
    """Observed share against the probability that was said, at this dataset's own share of occupied passages."""
    scores = np.concatenate([occupied, empty])
    truth = np.concatenate([np.ones(len(occupied)), np.zeros(len(empty))])
    said = 1.0 / (1.0 + 10.0 ** -(scores + np.log10(len(occupied) / len(empty))))
    order = np.lexsort((truth, said))
    bars = []
    for part in np.array_split(order, min(BINS, len(order))):
        observed = exact_share(int(truth[part].sum()), len(part))
        bars.append((float(said[part].mean()), observed.value or 0.0, observed.low or 0.0, observed.high or 0.0))
    line = Curve("", "ideal", np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    return _svg("Reliability", _shares("probability said"), _shares("share with people"), [line], bars)


def _over(values: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """A falling stair from (low, 1) to (high, 0)."""
    rising = np.sort(values)
    x = np.concatenate([[low], np.repeat(rising, 2), [high]])
    shares = 1.0 - np.arange(len(rising) + 1) / len(rising)
    thin = _thinned(Curve("", "", x, np.repeat(shares, 2)))
    return thin.x, thin.y


def _thinned(curve: Curve) -> Curve:
    if len(curve.x) <= POINTS_MOST:
        return curve
    kept = np.unique(np.linspace(0, len(curve.x) - 1, POINTS_MOST).round().astype(np.int64))
    return Curve(curve.name, curve.style, curve.x[kept], curve.y[kept])


def _shares(name: str) -> Axis:
    return Axis(name, lambda v: v, [(tenth / 5, f"{tenth / 5:g}") for tenth in range(6)])


def _deviate(name: str) -> Axis:
    edge = float(ndtri(1 - DET_EDGE))
    ticks = [(share, f"{100 * share:g} %") for share in DET_TICKS]
    return Axis(name, lambda v: (ndtri(np.clip(v, DET_EDGE, 1 - DET_EDGE)) + edge) / (2 * edge), ticks)


def _svg(
    title: str, x: Axis, y: Axis, curves: Sequence[Curve], bars: Sequence[tuple[float, float, float, float]]
) -> str:
    """The whole plot; ``bars`` are (x, y, lowest y, highest y)."""
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"><title>{escape(title)}</title>'
    ]
    parts.append(f'<rect class="frame" x="{LEFT}" y="{TOP}" width="{_ACROSS}" height="{_DOWN}"/>')
    for value, text in x.ticks:
        at = _x(x, value)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{TOP}" y2="{TOP + _DOWN}"/>')
        parts.append(f'<text x="{at}" y="{TOP + _DOWN + 18}" text-anchor="middle">{escape(text)}</text>')
    for value, text in y.ticks:
        at = _y(y, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{LEFT + _ACROSS}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{at + 4}" text-anchor="end">{escape(text)}</text>')
    parts.append(f'<text x="{LEFT + _ACROSS / 2}" y="{HEIGHT - 10}" text-anchor="middle">{escape(x.name)}</text>')
    across = f"translate(14 {TOP + _DOWN / 2}) rotate(-90)"
    parts.append(f'<text transform="{across}" text-anchor="middle">{escape(y.name)}</text>')
    for place, curve in enumerate(curves):
        parts += _curve(x, y, curve, place)
    for at, middle, low, high in bars:
        parts.append(f'<line class="bar" x1="{_x(x, at)}" x2="{_x(x, at)}" y1="{_y(y, low)}" y2="{_y(y, high)}"/>')
        parts.append(f'<circle class="dot" cx="{_x(x, at)}" cy="{_y(y, middle)}" r="4"/>')
    return "".join([*parts, "</svg>"])


def _curve(x: Axis, y: Axis, curve: Curve, place: int) -> list[str]:
    """The line, and its entry in the legend at the top right."""
    points = " ".join(f"{_x(x, a)},{_y(y, b)}" for a, b in zip(curve.x.tolist(), curve.y.tolist(), strict=True))
    right, down = LEFT + _ACROSS - 10, TOP + 18 + 18 * place
    line = f'<polyline class="{curve.style}" points="{points}"/>'
    if not curve.name:
        return [line]
    return [
        line,
        f'<line class="{curve.style}" x1="{right - 30}" x2="{right}" y1="{down - 4}" y2="{down - 4}"/>',
        f'<text x="{right - 36}" y="{down}" text-anchor="end">{escape(curve.name)}</text>',
    ]


_ACROSS, _DOWN = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM


def _x(axis: Axis, value: float) -> float:
    return round(LEFT + float(axis.place(np.array(value))) * _ACROSS, 1)


def _y(axis: Axis, value: float) -> float:
    return round(TOP + (1 - float(axis.place(np.array(value)))) * _DOWN, 1)
