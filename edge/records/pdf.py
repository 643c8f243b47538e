"""A report as PDF, by typst: legible in grey, the same bytes each time. Words go in as data, never as mark-up."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import typst

from edge.records.annual import Report
from edge.records.intervals import Rate
from edge.records.sections import Cell, Chart, Section, number, percent, text
from edge.records.svg import MOST_POINTS, axis
from fusion.evaluation.exact_share import Estimate


def pdf(report: Report) -> bytes:
    """The pages; the same bytes for the same report and the same typst."""
    document = {
        "title": report.title,
        "banner": report.banner,
        "said": report.said,
        "parts": [_part(section) for section in report.sections],
    }
    made = typst.compile(
        files("edge.records").joinpath("report.typ").read_bytes(),
        sys_inputs={"report": json.dumps(document, ensure_ascii=False)},
        ignore_system_fonts=True,
    )
    assert isinstance(made, bytes)
    return made


def _part(section: Section) -> dict[str, Any]:
    return {
        "title": section.title,
        "columns": section.columns,
        "words": [_is_words(section, index) for index in range(len(section.columns))],
        "rows": [[_cell(cell) for cell in row] for row in section.rows],
        "notes": section.notes,
        "charts": [_chart(chart) for chart in section.charts],
    }


def _is_words(section: Section, index: int) -> bool:
    return all(isinstance(row[index], str) for row in section.rows)


def _cell(cell: Cell) -> dict[str, Any]:
    """What counts, and in smaller letters what it rests on."""
    if isinstance(cell, Rate):
        counts = f"{cell.cases:,} of {cell.of:,}"
        value, low, high = cell.estimate.value, cell.estimate.low, cell.estimate.high
        if value is None or low is None or high is None:
            return {"main": "none of none", "rest": []}
        if cell.too_few:
            return {"main": counts, "rest": ["too few"]}
        return {"main": f"{percent(value)} %", "rest": [f"{percent(low)} to {percent(high)}", counts]}
    if isinstance(cell, Estimate) and cell.value is not None and (cell.low is not None or cell.high is not None):
        return {"main": number(cell.value), "rest": [f"{number(cell.low)} to {number(cell.high)}"]}
    return {"main": text(cell), "rest": []}


def _chart(chart: Chart) -> dict[str, Any]:
    step, top = axis(chart)
    points = [
        {
            "label": label,
            "value": estimate.value,
            "low": estimate.low,
            "high": estimate.high,
            "said": "too few cases" if estimate.value is None else number(estimate.value),
        }
        for label, estimate in zip(chart.labels[:MOST_POINTS], chart.values[:MOST_POINTS], strict=True)
    ]
    ticks = [[f"{index * step:g}", index * step] for index in range(round(top / step) + 1)]
    left = max(0, len(chart.labels) - MOST_POINTS)
    return {"title": chart.title, "unit": chart.unit, "top": top, "ticks": ticks, "points": points, "left": left}
