"""A record as a document for a court: one HTML page that stands alone, and the same as PDF.

It says what the record says and no more, with the budget of each result, and how anybody checks it without us. The
plots are drawn from the raw data by the procedure, whose results must come out as the record has them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from calibration.record import Kept
from calibration.uncertainty import shown

STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem 1.5rem;color:#111;background:#fff}
h2{margin-top:2rem;break-after:avoid}h3{margin:1.2rem 0 .3rem;break-after:avoid}
.pass,.fail{display:inline-block;padding:.15rem .8rem;border:2px solid #111;font-weight:700}
.fail{background:#111;color:#fff;print-color-adjust:exact;-webkit-print-color-adjust:exact}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;margin:.4rem 0}
th,td{border-bottom:1px solid #bbb;padding:.25rem .6rem;text-align:left;vertical-align:top;overflow-wrap:anywhere}
code,pre{font:13px/1.5 ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}
svg{width:100%;max-width:44rem;height:auto;display:block;margin:.8rem 0}
@media print{body{padding:0}tr,svg{break-inside:avoid}}
"""


@dataclass(frozen=True, slots=True)
class Part:
    """A heading and a table below it; ``columns`` empty is a list of names and values."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """What was found when the report was made. ``computed_again`` is None where there is nothing to compute."""

    public_key_pem: bytes
    signature_holds: bool
    raw_holds: bool | None
    computed_again: bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown; ``plots`` are (title, SVG)."""

    title: str
    verdict: str
    parts: tuple[Part, ...]
    plots: tuple[tuple[str, str], ...]
    proof: Part
    files: Mapping[str, bytes]  # name -> content, carried in the page


def report(kept: Kept, plots: Sequence[tuple[str, str]], proof: Proof) -> Report:
    """The report of a record."""
    record = kept.record
    parts = [_identity(kept), _references(kept), _results(kept)]
    parts += [_budget(result) for result in record.results if result["budget"]]
    parts += [_changes(kept), _checks(kept), _settings(kept), _surroundings(kept)]
    name = f"{record.number:06d}"
    files = {f"{name}.json": kept.content, f"{name}.sig": kept.signature, "signing.pub": proof.public_key_pem}
    return Report(
        f"Calibration {record.number}: {record.device.name}, {record.procedure}",
        record.verdict.upper(),
        tuple(part for part in parts if part.rows or part.notes),
        tuple(plots),
        _proof(kept, proof),
        files,
    )


def _identity(kept: Kept) -> Part:
    one, device = kept.record, kept.record.device
    who = " ".join(word for word in (device.vendor, device.model) if word) or "does not say"
    rows = [
        ("Device", f"{device.name} ({device.modality}, driver {device.driver})"), ("Make", who),
        ("Serial number", device.serial or "does not say"), ("Firmware", device.firmware or "does not say"),
        ("Procedure", f"{one.procedure}, version {one.procedure_version}"),
        ("Performed", one.performed_utc), ("Valid until", one.valid_until_utc), ("By", one.operator),
        ("In force from then on", "yes" if one.activates else "no: a test, or it did not pass"),
    ]  # fmt: skip
    if one.restores:
        rows.append(("Puts in force again", one.restores))
    return Part("What was calibrated", (), tuple(rows), one.notes)


def _references(kept: Kept) -> Part:
    rows = tuple(
        (one.name, f"{one.value:g} {one.unit}", f"{one.expanded_uncertainty:g} (k = {one.coverage_factor:g})",
         one.certificate or "-", one.serial or "-", (one.valid_until_utc or "-")[:10])
        for one in kept.record.references
    )  # fmt: skip
    return Part(
        "Compared with", ("Reference", "Value", "Expanded uncertainty", "Certificate", "Serial", "Valid to"), rows
    )


def _results(kept: Kept) -> Part:
    rows = tuple(
        (str(one["name"]), shown(float(one["value"]), float(one["expanded_uncertainty"])), str(one["unit"]),
         f"{one['coverage_factor']:.2f}", _freedom(one["degrees_of_freedom"]))
        for one in kept.record.results
    )  # fmt: skip
    note = "The interval holds the value with 95 % by the GUM (JCGM 100): k by Student's t of the effective degrees."
    return Part("Results", ("Quantity", "Value ± U", "Unit", "k", "Degrees of freedom"), rows, (note,) if rows else ())


def _freedom(degrees: float | None) -> str:
    return "infinite" if degrees is None else "over 1000" if degrees > 1000 else f"{degrees:.0f}"


def _budget(result: Mapping[str, Any]) -> Part:
    whole = float(result["standard_uncertainty"]) ** 2
    rows = tuple(
        (str(one["name"]), str(one["type"]), f"{one['standard_uncertainty']:.3g}",
         _freedom(one["degrees_of_freedom"]),
         f"{one['standard_uncertainty'] ** 2 / whole:.0%}" if whole else "-", str(one["source"]))
        for one in result["budget"]
    )  # fmt: skip
    title = f"Uncertainty budget: {result['name']}, {result['unit']}"
    return Part(title, ("Component", "Type", "Standard", "Degrees of freedom", "Share of variance", "From"), rows)


def _changes(kept: Kept) -> Part:
    one = kept.record
    names = list(dict.fromkeys([*one.before, *one.after]))
    rows = [(name, _number(one.before.get(name)), _number(one.after.get(name))) for name in names]
    rows += [(f"residual, {name}", "", _number(value)) for name, value in one.residuals.items()]
    return Part("Before and after", ("", "Before", "After"), tuple(rows))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.5g}"


def _checks(kept: Kept) -> Part:
    rows = tuple(
        ("passed" if one.passed else "FAILED", one.name, f"{_number(one.value)} {one.unit}".strip(),
         _allowed(one.low, one.high), "" if one.passed else one.mend)
        for one in kept.record.checks
    )  # fmt: skip
    return Part("Acceptance", ("", "Check", "Found", "Allowed", "What to do"), rows)


def _allowed(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{low:.4g} to {high:.4g}"
    return f"from {low:.4g}" if low is not None else f"up to {high:.4g}"


def _settings(kept: Kept) -> Part:
    rows = tuple(
        (name, _short(one.value), one.valid_until_utc[:10], (one.record_id or "this one")[:12])
        for name, one in sorted(kept.record.settings.items())
    )
    note = "Readings of the device are made SI by these; all digits are in the record itself."
    return Part("Settings in force after it", ("Setting", "Value", "Until", "Of record"), rows, (note,) if rows else ())


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_short(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        numbers = [one for one in value if isinstance(one, int | float) and not isinstance(one, bool)]
        if len(value) > 6 and len(numbers) == len(value):
            return f"{len(value)} numbers, {min(numbers):.5g} to {max(numbers):.5g}"
        return f"{len(value)} entries" if len(value) > 6 else "[" + ", ".join(map(_short, value)) + "]"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _surroundings(kept: Kept) -> Part:
    rows = tuple((name, str(value)) for name, value in sorted(kept.record.environment.items()))
    return Part("Surroundings, as told", (), rows)


def _proof(kept: Kept, proof: Proof) -> Part:
    record, name = kept.record, f"{kept.record.number:06d}"
    said = {True: "holds", False: "DOES NOT HOLD", None: "there is none"}
    rows = [
        ("Record id (SHA-256 of its bytes)", kept.id), ("The entry before it", record.previous_id),
        ("Signature (Ed25519)", base64.b64encode(kept.signature).decode()),
        ("Signature, when this was printed", said[proof.signature_holds]),
        ("Raw data (SHA-256)", record.raw_sha256 or "none"), ("Raw data, when this was printed", said[proof.raw_holds]),
        ("Computed again from the raw data", {True: "the same results", False: "OTHER RESULTS", None: "-"}[
            proof.computed_again]),
    ]  # fmt: skip
    notes = [
        f"sha256sum {name}.json says the record's id",
        f"openssl pkeyutl -verify -rawin -pubin -inkey signing.pub -in {name}.json -sigfile {name}.sig says that it is "
        "the lane's own",
    ]
    if record.raw_sha256:
        notes.append(f"sha256sum {record.raw_sha256[:12]}….npz says the raw data's; numpy.load opens them")
    return Part("Proof", (), tuple(rows), tuple(notes))


def html(made: Report, raw_link: str | None) -> str:
    """One page without a script and with nothing from elsewhere; ``raw_link`` is where the raw data lie beside it."""
    plots = "".join(f"<figure>{picture}</figure>" for _, picture in made.plots)
    links = "".join(
        f'<li><a download="{escape(name)}" href="data:application/octet-stream;base64,'
        f'{base64.b64encode(content).decode()}">{escape(name)}</a></li>'
        for name, content in made.files.items()
    )
    if raw_link is not None:
        links += (
            f'<li><a href="{escape(raw_link, quote=True)}">{escape(raw_link)}</a> (raw data, beside this page)</li>'
        )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(made.title)}</title><style>{STYLE}</style></head><body><h1>{escape(made.title)}</h1>"
        f'<p class="{"pass" if made.verdict == "PASS" else "fail"}">{escape(made.verdict)}</p>'
        + "".join(map(_section, made.parts))
        + (f"<section><h2>Plots</h2>{plots}</section>" if plots else "")
        + _section(made.proof)
        + f"<section><h2>Files in this page</h2><ul>{links}</ul></section></body></html>\n"
    )


def _section(part: Part) -> str:
    level = "h3" if part.title.startswith("Uncertainty budget") else "h2"
    head = "".join(f"<th>{escape(name)}</th>" for name in part.columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in part.rows)
    notes = "".join(f"<li>{escape(note)}</li>" for note in part.notes)
    top = f"<thead><tr>{head}</tr></thead>" if head else ""
    table = f'<div class="wide"><table>{top}<tbody>{body}</tbody></table></div>'
    listed = f"<ul>{notes}</ul>" if notes else ""
    return f"<section><{level}>{escape(part.title)}</{level}>{table if body else ''}{listed}</section>"


TEMPLATE = r"""
#let made = json(bytes(sys.inputs.made))
#set document(title: made.title, date: none)
#set page(paper: "a4", margin: (x: 18mm, y: 18mm), footer: context {
  set text(8pt)
  grid(columns: (1fr, auto), made.title, [page #counter(page).display() of #counter(page).final().first()])
})
#set text(font: ("Libertinus Serif", "DejaVu Sans Mono"), size: 9.5pt, lang: "en")
#show heading.where(level: 1): set text(16pt)
#show heading.where(level: 2): it => block(above: 14pt, below: 6pt, sticky: true, text(12pt, it.body))
#show heading.where(level: 3): it => block(above: 9pt, below: 4pt, sticky: true, text(10pt, it.body))
// Long digests break anywhere instead of running out of their cell.
#let cell(words) = {
  show regex("[0-9A-Za-z+=_/.:-]{24,}"): word => word.text.clusters().join("\u{200B}")
  words
}
#heading(level: 1, made.title)
#box(stroke: 1.2pt, inset: (x: 8pt, y: 4pt), strong(made.verdict))
#let section(part) = {
  heading(level: if part.title.starts-with("Uncertainty budget") { 3 } else { 2 }, part.title)
  if part.rows.len() > 0 {
    let count = if part.columns.len() == 0 { 2 } else { part.columns.len() }
    table(
      columns: if part.columns.len() == 0 { (52mm, 1fr) } else { (auto,) * (count - 1) + (1fr,) },
      stroke: (x, y) => (bottom: 0.4pt + luma(170)),
      inset: (x: 3pt, y: 3pt),
      align: left + top,
      ..if part.columns.len() == 0 { () } else { (table.header(..part.columns.map(name => strong(name))),) },
      ..part.rows.flatten().map(cell)
    )
  }
  for note in part.notes { list(cell(note)) }
}
#for part in made.parts { section(part) }
#if made.plots.len() > 0 { heading(level: 2, "Plots") }
#for plot in made.plots {
  block(breakable: false, image(bytes(plot.last()), format: "svg", width: 100%, alt: plot.first()))
}
#section(made.proof)
"""


def pdf(made: Report) -> bytes:
    """The same as PDF, by typst: words go in as data, never as mark-up; the same bytes for the same report."""
    import typst  # of the `report` extra; 80 MB that a page does not need

    document = {
        "title": made.title, "verdict": made.verdict, "plots": made.plots,
        "parts": [_plain(part) for part in made.parts], "proof": _plain(made.proof),
    }  # fmt: skip
    found = typst.compile(TEMPLATE.encode(), sys_inputs={"made": json.dumps(document)}, ignore_system_fonts=True)
    assert isinstance(found, bytes)
    return found


def _plain(part: Part) -> dict[str, Any]:
    return {"title": part.title, "columns": part.columns, "rows": part.rows, "notes": part.notes}
