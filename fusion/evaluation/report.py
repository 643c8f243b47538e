"""The evaluation as one HTML page: no script, nothing from elsewhere, and on each printed page what the data are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

import numpy as np

from fusion.evaluation import plots
from fusion.evaluation.case import Case
from fusion.evaluation.evaluation import Evaluation, Figures
from fusion.evaluation.exact_share import Estimate
from fusion.evaluation.metrics import REPLICATES, SEED

_STYLE = """
:root{color-scheme:light}
body{font:16px/1.5 system-ui,sans-serif;max-width:62rem;margin:0 auto;color:#111;background:#fff}
.sheet>tbody>tr>td{border:0;padding:1rem 1.5rem}
.sheet>thead{position:sticky;top:0}
.sheet>thead>tr>th{padding:.4rem 1.5rem;background:#111;color:#fff;
 print-color-adjust:exact;-webkit-print-color-adjust:exact}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th,td{border-bottom:1px solid #bbb;padding:.3rem .5rem;text-align:left;vertical-align:top}
td{font-variant-numeric:tabular-nums}
figure{margin:1rem 1.2rem 1rem 0;display:inline-block;width:min(100%,27rem);vertical-align:top;break-inside:avoid}
.sheet table{break-inside:avoid}h2{break-after:avoid}
svg{width:100%;height:auto;font:12px system-ui,sans-serif}
.frame{fill:none;stroke:#111}.grid{stroke:#ddd}
polyline,line.found,line.empty,line.all,line.ideal{fill:none;stroke-width:2.2}
.found{stroke:#b3261e}.empty{stroke:#1f4e9c;stroke-dasharray:7 4}.all{stroke:#111}
.ideal{stroke:#767676;stroke-dasharray:2 4}
.bar{stroke:#1f4e9c;stroke-width:2}.dot{fill:#1f4e9c}
.partial{border:3px solid #b3261e;padding:.5rem 1rem;font-weight:700}
@media print{.sheet>thead{position:static;display:table-header-group}}
"""
_SAID = {
    "simulated": "SIMULATED: no lorry was measured; these figures say nothing yet about real ones",
    "recorded": "RECORDED: measured on real vehicles",
    "mixed": "MIXED: partly simulated, partly measured on real vehicles",
}
_LEFT_OUT = {
    "no_outcome": "nobody knows the outcome",
    "not_searched": "nobody searched it",
    "unreadable": "cannot be read or weighed",
    "twice": "the same passage again",
}

_RELIABILITY = (
    "Reliability: the probability that the evidence says, at this dataset's own share of occupied passages, against "
    "the share observed; the dotted line is where both agree, bars are exact 95 % intervals."
)
_TIPPETT = (
    "Tippett: the share of passages whose likelihood ratio is over x. Misleading evidence is the dashed line right of "
    "0 and what the whole line lacks of 1 left of it."
)
_DET = "DET: misses against false alarms over all thresholds; nearer to the lower left is better."
_METHOD = f"""<h2>How the figures are made</h2>
<p>Pd is the share of passages with people whose last verdict was <em>search</em> or <em>open now</em>, Pfa that of
empty ones. A modality alone is judged over the passages in which it was measured, at its own threshold. Intervals of Pd
and Pfa are exact (Clopper and Pearson). Those of AUC, Cllr and Cllr min are percentiles of {REPLICATES} bootstrap
replicates, each class resampled by itself, seed {SEED}; where the classes do not overlap at all, the AUC's bound is the
exact one for the smaller class. Cllr is 0 for perfect and 1 for useless ratios; Cllr min is what the best calibration
that keeps the order would cost, and the difference is calibration loss.</p>
<p>Outcomes exist for searched passages only. Where searches follow the verdicts, Pd and Pfa from them flatter: audit
draws and covert tests tell of misses, this page alone does not.</p>"""


_DECIDED = (
    "Decided: not asked to be measured again. Abstaining is not winning: what is left open costs a lane its time. Rows "
    "stand for all, for each place and wind, and for each set of modalities that spoke."
)
_MISSES = "Passages with people whose last verdict prompted no search, the least suspected first."
_ALARMS = "Empty passages that were searched, the most suspected first."
LISTED_MOST = 500  # of misses, and of false alarms


@dataclass(frozen=True, slots=True)
class Made:
    """What was evaluated, and of how much.

    ``left_out``: why -> how many; ``bundles``: their folder, as seen from the page's.
    """

    model: str
    model_sha256: str
    trained_on: str
    left_out: Mapping[str, int]
    complete: bool
    licence: str | None
    bundles: str = "."


def page(whole: Evaluation, made: Made) -> str:
    """The page, whole."""
    kind, dataset = escape(whole.kind), escape(whole.dataset)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Evaluation: {dataset} ({kind})</title><style>{_STYLE}</style></head><body>",
        # The head of a table stands again on each printed page, and over nothing.
        f'<table class="sheet" role="presentation"><thead><tr><th>{escape(_SAID[whole.kind])}</th></tr></thead>',
        "<tbody><tr><td>",
        f"<h1>What is caught, and what is missed: {dataset}</h1>",
        ""
        if made.complete
        else '<p class="partial">Stopped early: the figures are of the passages done until then.</p>',
        _said(whole, made),
        _table(whole),
        _plots(whole),
        _decisions(whole),
        _levels(whole),
        _listed("Misses", _MISSES, [case for case in whole.cases if case.missed], whole, made),
        _listed("False alarms", _ALARMS, [case for case in whole.cases if case.false_alarm], whole, made),
        _METHOD,
        "</td></tr></tbody></table></body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _said(whole: Evaluation, made: Made) -> str:
    empty = len(whole.cases) - whole.positives
    left = ", ".join(f"{count}: {_LEFT_OUT.get(why, why)}" for why, count in made.left_out.items() if count) or "none"
    rows = {
        "Data": f"{whole.kind}; {len(whole.cases)} passages: {whole.positives} with people, {empty} empty",
        "Left out": left,
        "Model": f"{made.model}, trained on {made.trained_on} cases, SHA-256 {made.model_sha256}",
    }
    if made.licence:
        rows["Licence"] = made.licence
    cells = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in rows.items())
    return f"<table>{cells}</table>"


def _table(whole: Evaluation) -> str:
    rows = [_row("all evidence", whole.fused)]
    rows += [_row(f"{name} alone", figures) for name, figures in whole.by_modality.items()]
    rows += [_row(f"body: {body.value}", figures) for body, figures in whole.by_body_type.items()]
    rows += [_row(f"wind: {band}", figures) for band, figures in whole.by_wind.items()]
    rows += [_row(f"known at {look_s} s", figures) for look_s, figures in whole.by_look.items()]
    rows += [_row(f"people: {crowd}, and all empty", figures) for crowd, figures in whole.by_people.items()]
    names = ("", "with people", "empty", "AUC", "Cllr", "Cllr min", "Pd", "Pfa")
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    return f"<h2>Figures, with intervals at 95 %</h2><table><tr>{head}</tr>{''.join(rows)}</table>"


def _row(name: str, figures: Figures) -> str:
    merit = figures.merit
    cells = [str(figures.n_pos), str(figures.n_neg)]
    cells += [_text(part) for part in (merit.auc, merit.cllr, merit.cllr_min, figures.pd, figures.pfa)]
    return f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _text(part: Estimate) -> str:
    if part.value is None:
        return "not known"
    if part.low is None or part.high is None:
        return f"{part.value:.3f}<br>no interval"
    return f"{part.value:.3f}<br>{part.low:.3f} to {part.high:.3f}"


def _plots(whole: Evaluation) -> str:
    occupied = np.array([case.total_log10_lr for case in whole.cases if case.found], np.float64)
    empty = np.array([case.total_log10_lr for case in whole.cases if not case.found], np.float64)
    if len(occupied) == 0 or len(empty) == 0:
        return "<h2>Plots</h2><p>None: passages of one class alone show nothing.</p>"
    drawn = (
        (plots.reliability(occupied, empty), _RELIABILITY),
        (plots.tippett(occupied, empty), _TIPPETT),
        (plots.det(occupied, empty), _DET),
    )
    figures = [
        f"<figure>{svg}<figcaption><strong>{escape(whole.kind)}</strong>. {escape(words)}</figcaption></figure>"
        for svg, words in drawn
    ]
    return f"<h2>Plots of all evidence</h2>{''.join(figures)}"


def _levels(whole: Evaluation) -> str:
    rows = [
        f"<tr><th>{escape(level)}</th><td>{counts['n_pos']}</td><td>{counts['n_neg']}</td></tr>"
        for level, counts in whole.levels().items()
    ]
    head = "<tr><th>last verdict</th><th>with people</th><th>empty</th></tr>"
    return f"<h2>Levels</h2><table>{head}{''.join(rows)}</table>"


def _decisions(whole: Evaluation) -> str:
    rows = []
    for name, made in whole.decisions.items():
        cells = [str(made.n_pos), str(made.n_neg)]
        cells += [_text(part) for part in (made.decided, made.cleared, made.asked, made.missed)]
        rows.append(f"<tr><th>{escape(name)}</th>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    names = ("", "with people", "empty", "decided", "empty: no search", "empty: searched or again", "people: no search")
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    less = _text(whole.three_less_one).replace("<br>", ", ")
    return (
        f"<h2>What was decided, by wind and by what spoke</h2><p>{escape(_DECIDED)}</p>"
        f"<table><tr>{head}</tr>{''.join(rows)}</table><p>Pd of three people less Pd of one: {less}.</p>"
    )


def _listed(title: str, words: str, cases: Sequence[Case], whole: Evaluation, made: Made) -> str:
    """Each case with a link to its bundle, the worst first."""
    worst = sorted(cases, key=lambda case: (case.total_log10_lr if case.found else -case.total_log10_lr, case.name))
    rows = []
    for case in worst[:LISTED_MOST]:
        link = quote(f"{made.bundles}/{case.name}")
        ratios = ", ".join(f"{name} {ratio:+.2f}" for name, ratio in case.log10_lr.items()) or "nothing was measured"
        people = "-" if not case.found else "?" if case.people is None else str(case.people)
        cells = (case.level.value, case.body_type.value, case.wind_band, people, ratios, case.why)
        told = "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        rows.append(f'<tr><th><a href="{escape(link)}">{escape(case.name)}</a></th>{told}</tr>')
    head = "".join(f"<th>{name}</th>" for name in ("bundle", "level", "body", "wind", "people", "log10 ratios", "why"))
    more = len(cases) - len(rows)
    note = f"<p>And {more} more, in the file of cases.</p>" if more else ""
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>" if rows else "<p>None.</p>"
    kind = f"<strong>{escape(whole.kind)}</strong>"
    return f"<h2>{title}: {len(cases)}</h2><p>{kind}. {escape(words)}</p>{table}{note}"
