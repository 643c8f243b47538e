"""Sections as one HTML page: no script, nothing from elsewhere, and the same bytes for the same record."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from edge.records.intervals import Rate
from edge.records.sections import Cell, Section, text
from edge.records.svg import picture
from fusion.evaluation.exact_share import Estimate

STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;max-width:66rem;margin:0 auto;padding:1rem 1.5rem;color:#111;background:#fff}
h2{margin-top:2.2rem;break-after:avoid}
.said{background:#111;color:#fff;padding:.4rem .8rem;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{border-bottom:1px solid #bbb;padding:.25rem .6rem;text-align:left;vertical-align:top}
td.n{text-align:right}td.n span{white-space:nowrap}td.few{color:#555;font-style:italic}
li{margin:.2rem 0}
svg{width:100%;max-width:44rem;height:auto;display:block;margin:.8rem 0}
@media print{body{padding:0}tr,svg{break-inside:avoid}}
"""


def page(title: str, said: Sequence[str], sections: Sequence[Section]) -> str:
    """The page. ``said`` stands at its head: period, lanes, and what the verdicts' models were trained on."""
    contents = "".join(f'<li><a href="#{_anchor(s.code)}">{escape(s.title)}</a></li>' for s in sections)
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><h1>{escape(title)}</h1>"
        + "".join(f'<p class="said">{escape(line)}</p>' for line in said)
        + f"<nav><ul>{contents}</ul></nav>"
        + "".join(map(_section, sections))
        + "</body></html>\n"
    )


def _section(section: Section) -> str:
    notes = "".join(f"<li>{escape(note)}</li>" for note in section.notes)
    head = "".join(f"<th>{escape(name)}</th>" for name in section.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
    table = f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    return (
        f'<section id="{_anchor(section.code)}"><h2>{escape(section.title)}</h2>'
        + (table if section.rows else "")
        + "".join(map(picture, section.charts))
        + (f"<ul>{notes}</ul>" if notes else "")
        + "</section>"
    )


def _cell(cell: Cell) -> str:
    kind = "" if isinstance(cell, str) else " n"
    few = (
        " few"
        if (isinstance(cell, Rate) and cell.too_few) or (isinstance(cell, Estimate) and cell.value is None)
        else ""
    )
    name = f"{kind}{few}".strip()
    if not name:
        return f"<td>{escape(text(cell))}</td>"
    counts, equals, share = text(cell).partition(" = ")  # a wide table breaks between the two, and nowhere else
    broken = f"<span>{escape(counts)}</span>" + (f" <span>= {escape(share)}</span>" if equals else "")
    return f'<td class="{name}">{broken}</td>'


def _anchor(code: str) -> str:
    return escape(code.replace(".", "-"), quote=True)
