"""Points with their intervals as SVG: legible in grey, no font or picture of its own, the same bytes each time."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10

from edge.records.sections import Chart, number

WIDTH, ROW, LEFT, RIGHT, TOP, BOTTOM = 680, 22, 170, 70, 34, 44
MOST_POINTS = 60  # rows of a chart that a person reads; the table has them all
LETTER = 6.4  # assumed: width of a letter at 12 px
NAMESPACE = "http://www.w3.org/2000/svg"


def picture(chart: Chart) -> str:
    """One chart: a row a point, the interval as a line, the value as a dot and in figures; unknown is said in words."""
    labels, values = chart.labels[:MOST_POINTS], chart.values[:MOST_POINTS]
    height = TOP + ROW * len(labels) + BOTTOM
    step, top = axis(chart)
    parts = [
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {WIDTH} {height}" role="img" font-family="sans-serif" font-size="12">',
        f"<title>{escape(chart.title)}</title>",
        f'<text x="{LEFT}" y="18" font-weight="bold">{escape(chart.title)}</text>',
        *_grid(step, top, height, chart.unit),
    ]
    for index, (label, estimate) in enumerate(zip(labels, values, strict=True)):
        y = TOP + ROW * index + ROW / 2
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:g}" text-anchor="end">{escape(_cut(label))}</text>')
        if estimate.value is None:
            parts.append(f'<text x="{LEFT + 6}" y="{y + 4:g}" fill="#555" font-style="italic">too few cases</text>')
            continue
        if estimate.low is not None and estimate.high is not None:
            a, b = _x(estimate.low, top), _x(estimate.high, top)
            parts.append(f'<path d="M{a:.1f} {y:g}H{b:.1f}M{a:.1f} {y - 4:g}v8M{b:.1f} {y - 4:g}v8" stroke="#333"/>')
        parts.append(f'<circle cx="{_x(estimate.value, top):.1f}" cy="{y:g}" r="4"/>')
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{y + 4:g}">{number(estimate.value)}</text>')
    if len(chart.labels) > MOST_POINTS:
        left = len(chart.labels) - MOST_POINTS
        parts.append(f'<text x="{LEFT}" y="{height - 4}" fill="#555">{left} more in the table</text>')
    return "".join([*parts, "</svg>"])


def axis(chart: Chart) -> tuple[float, float]:
    """Step and end of the axis that all values and their intervals lie on."""
    ends = [end for e in chart.values[:MOST_POINTS] for end in (e.value, e.high) if end is not None]
    most = max(ends or [1.0])
    step = _step(most)
    return step, max(step, ceil(most / step - 1e-9) * step)


def _grid(step: float, top: float, height: int, unit: str) -> list[str]:
    foot = height - BOTTOM
    parts = []
    for index in range(round(top / step) + 1):
        x = _x(index * step, top)
        parts.append(f'<path d="M{x:.1f} {TOP}V{foot}" stroke="#ccc"/>')
        parts.append(f'<text x="{x:.1f}" y="{foot + 16}" text-anchor="middle">{index * step:g}</text>')
    parts.append(f'<text x="{_x(top / 2, top):.1f}" y="{foot + 32}" text-anchor="middle">{escape(unit)}</text>')
    return parts


def _x(figure: float, top: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * figure / top


def _step(most: float) -> float:
    """1, 2 or 5 times a power of ten, four to ten steps."""
    if most <= 0:
        return 1.0
    base = 10.0 ** floor(log10(most / 4))
    return next(factor * base for factor in (1.0, 2.0, 5.0, 10.0) if most / (factor * base) <= 8)


def _cut(label: str) -> str:
    room = int((LEFT - 12) / LETTER)
    return label if len(label) <= room else label[: room - 1] + "…"
