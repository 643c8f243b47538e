"""A cover as PDF, by typst. Words go in as data, never as mark-up: nothing that a person typed is obeyed."""

from __future__ import annotations

import json
from dataclasses import asdict

import typst

from edge.referral.cover import Cover

TEMPLATE = r"""
#let cover = json(bytes(sys.inputs.cover))
#set document(title: cover.title, date: none)
#set page(paper: "a4", margin: (x: 20mm, y: 18mm), footer: context {
  set text(8pt)
  grid(columns: (1fr, auto), cover.title, [page #counter(page).display() of #counter(page).final().first()])
})
#set text(font: ("Libertinus Serif", "DejaVu Sans Mono"), size: 10pt, lang: "en")
#set par(justify: false)
#show heading.where(level: 1): set text(16pt)
#show heading.where(level: 2): it => block(above: 14pt, below: 6pt, sticky: true, text(12pt, it.body))
// Long digests and names break anywhere instead of running out of their cell.
#let cell(words) = {
  show regex("[0-9A-Za-z_./:-]{28,}"): word => word.text.clusters().join("\u{200B}")
  words
}
#heading(level: 1, cover.title)
#for line in cover.said { par(cell(line)) }
#let table-of(part) = {
  let pairs = part.columns.len() == 0
  let count = if pairs { 2 } else { part.columns.len() }
  table(
    columns: if pairs { (48mm, 1fr) } else { (auto,) * (count - 1) + (1fr,) },
    stroke: (x, y) => (bottom: 0.4pt + luma(170)),
    inset: (x: 3pt, y: 3.5pt),
    align: left + top,
    ..if pairs { () } else { (table.header(..part.columns.map(name => strong(name))),) },
    ..part.rows.flatten().map(cell)
  )
}
#for part in cover.parts {
  heading(level: 2, part.title)
  table-of(part)
  for note in part.notes { list(cell(note)) }
}
#if cover.photos.len() > 0 {
  heading(level: 2, "Photos in this pack")
  for photo in cover.photos { list(cell(photo.first())) }
}
"""


def pdf(cover: Cover) -> bytes:
    """The pages; the same bytes for the same cover and the same typst."""
    made = typst.compile(TEMPLATE.encode(), sys_inputs={"cover": json.dumps(asdict(cover))}, ignore_system_fonts=True)
    assert isinstance(made, bytes)
    return made
