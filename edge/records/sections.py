"""A section of a report: a table with its notes, and what to draw of it. Terminal, JSON, HTML and PDF show the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.records.intervals import TOO_FEW, Rate
from fusion.evaluation.exact_share import Estimate

Cell = str | int | float | Rate | Estimate | None


@dataclass(frozen=True, slots=True)
class Chart:
    """Points with their intervals, one a label, in order. ``unit`` stands at the axis."""

    title: str
    labels: tuple[str, ...]
    values: tuple[Estimate, ...]
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """``code`` is stable; ``title`` and ``notes`` are for people."""

    code: str
    title: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[Cell, ...], ...] = ()
    notes: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()

    def document(self) -> dict[str, Any]:
        """For JSON: a row is an object by its columns' names; a rate has its cases, its denominator and its bounds."""
        return {
            "code": self.code,
            "title": self.title,
            "notes": list(self.notes),
            "rows": [{name: value(cell) for name, cell in zip(self.columns, row, strict=True)} for row in self.rows],
        }


def value(cell: Cell) -> Any:
    """A cell for JSON."""
    return cell.document() if isinstance(cell, Rate | Estimate) else cell


def text(cell: Cell) -> str:
    """A cell for people. A rate never stands without its denominator, and says when that is too small."""
    if cell is None:
        return "–"
    if isinstance(cell, Rate):
        return _rate(cell)
    if isinstance(cell, Estimate):
        if cell.value is None:
            return f"at least {number(cell.low)}" if cell.low else "not known"
        bounded = cell.low is not None or cell.high is not None
        return number(cell.value) + (f" ({number(cell.low)} to {number(cell.high)})" if bounded else "")
    return cell if isinstance(cell, str) else number(cell)


def number(figure: float | None) -> str:
    """Three significant figures, or all of a whole number."""
    if figure is None:
        return "no bound"
    if isinstance(figure, int) or abs(figure) >= 100:
        return f"{figure:,.0f}"
    return f"{figure:.3g}"


def percent(share: float) -> str:
    """Of a share, with as many digits as tell it from 0 and from 100."""
    figure = 100 * share
    return f"{figure:.1f}" if 0.1 <= figure <= 99.9 or figure in (0, 100) else f"{figure:.3f}"


def rate_chart(title: str, labels: Sequence[str], rates: Sequence[Rate]) -> Chart:
    """Shares in per cent; cells with too few cases are drawn as unknown."""
    points = [
        Estimate(None, None, None)
        if rate.of < TOO_FEW or rate.estimate.value is None
        else Estimate(*(100 * (x or 0.0) for x in (rate.estimate.value, rate.estimate.low, rate.estimate.high)))
        for rate in rates
    ]
    return Chart(title, tuple(labels), tuple(points), "%")


def _rate(rate: Rate) -> str:
    low, high = rate.estimate.low, rate.estimate.high
    counts = f"{rate.cases:,} of {rate.of:,}"
    if rate.estimate.value is None or low is None or high is None:
        return "none of none"
    if rate.too_few:
        return f"{counts}: too few"
    return f"{counts} = {percent(rate.estimate.value)} % ({percent(low)} to {percent(high)})"
