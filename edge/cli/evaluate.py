"""``lanepulse evaluate``: what is caught and what is not, from passages whose outcome is known."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.cli.main import DONE, NO, STOPPED, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell

if TYPE_CHECKING:
    from edge.dataset import Dataset, Weighed
    from edge.models.source import Source
    from fusion.evaluation.evaluation import Evaluation, Figures
    from fusion.evaluation.exact_share import Estimate
    from fusion.policy import Policy

OMITTED_TOLD = 10  # bundles that could not be read, by name; the rest are counted
LINE_EVERY_S = 5.0  # of progress, where it cannot be written over itself


@click.command(
    "evaluate",
    epilog="\b\nExamples:\n  lanepulse evaluate dataset/ --html report.html\n"
    "  lanepulse evaluate dataset/ --json --model candidate.onnx",
)
@click.argument("folder", metavar="DATASET", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a report with plots to this file.")
@click.option("--cases", type=click.Path(dir_okay=False, path_type=Path), help="Write a line of JSON for each bundle.")
@click.option("--model", type=click.Path(path_type=Path), help="Another model than the lane's; it need not be signed.")
@click.option("--workers", type=click.IntRange(1, 256), help="Processes; as many as there are processors if not given.")
@common
def command(
    settings: Settings, folder: Path, html: Path | None, cases: Path | None, model: Path | None, workers: int | None
) -> int:
    """Weigh again every bundle of DATASET whose outcome is known, and tell what the verdicts are worth.

    Each figure has its interval at 95 %. Ctrl-C stops early and tells what was done until then (exit 130).
    """
    from edge.dataset import DatasetFault, open_dataset, processors, weigh
    from fusion.classifier import ModelRefused
    from fusion.evaluation.evaluation import evaluation

    try:
        dataset = open_dataset(folder)
        source, policy = _model_and_policy(settings, model)
        progress = _Progress()
        weighed = weigh(dataset, source, policy, min(workers or processors(), len(dataset.bundles)), progress.tell)
        progress.end()
        whole = evaluation(dataset.name, dataset.kind, weighed.cases)
        _write(whole, dataset, weighed, source, html, cases)
    except (DatasetFault, ModelRefused) as fault:
        tell(f"lanepulse evaluate: {fault}")
        return WRONG_USE
    except OSError as error:
        tell(f"lanepulse evaluate: {error.filename}: {error.strerror}; choose a file that you may write")
        return WRONG_USE
    _tell_notes(dataset, weighed)
    if settings.json:
        say_json(whole.document(None if cases is None else str(cases)))
    else:
        _say(whole)
    if not weighed.complete:
        return STOPPED
    return DONE if whole.cases else NO


def _model_and_policy(settings: Settings, model: Path | None) -> tuple[Source, Policy]:
    """As `replay` chooses them: ``--model``, else the lane's own. Raises ModelRefused, ConfigErrors."""
    from edge.active_model import chosen
    from fusion.policy import Policy

    config = settings.load() if settings.config is not None or settings.config_path.exists() else None
    policy = Policy() if config is None else config.policy.policy()
    if model is not None:
        return chosen(model), policy
    return chosen(None if config is None else config.model, settings.places(config)), policy


def _write(
    whole: Evaluation, dataset: Dataset, weighed: Weighed, source: Source, html: Path | None, cases: Path | None
) -> None:
    """The files that were asked for. Raises OSError."""
    from edge import json_text
    from fusion.evaluation.report import Made, page

    if cases is not None:
        rows: list[dict[str, Any]] = [case.document() for case in whole.cases]
        rows += [{"name": one.name, "left_out": one.why.value, "cause": one.cause} for one in weighed.omitted]
        cases.write_text("".join(json_text.write(row) + "\n" for row in rows), encoding="utf-8")
    if html is not None:
        manifest = source.read_manifest()
        left_out = {why.value: count for why, count in weighed.left_out().items()}
        bundles = os.path.relpath(dataset.folder.absolute(), html.absolute().parent)
        made = Made(
            manifest.name, manifest.sha256, manifest.trained_on, left_out, weighed.complete, dataset.licence, bundles
        )
        html.write_text(page(whole, made), encoding="utf-8")


def _tell_notes(dataset: Dataset, weighed: Weighed) -> None:
    from edge.dataset import DATASET, LeftOut

    if not dataset.kind_is_said:
        tell(f'{DATASET} does not say kind = "recorded", "simulated" or "mixed": taken for simulated')
    bad = [one for one in weighed.omitted if one.why in (LeftOut.UNREADABLE, LeftOut.TWICE)]
    for one in bad[:OMITTED_TOLD]:
        tell(f"{one.name}: left out: {one.cause}")
    if len(bad) > OMITTED_TOLD:
        tell(f"and {len(bad) - OMITTED_TOLD} more (--cases names them all)")
    counts = ", ".join(f"{count} {why.value.replace('_', ' ')}" for why, count in weighed.left_out().items() if count)
    if counts:
        tell(f"left out: {counts}")
    if not weighed.complete:
        done, total = len(weighed.cases) + len(weighed.omitted), len(dataset.bundles)
        tell(f"stopped: {done} of {total} bundles were weighed, and the figures are of those alone")


def _say(whole: Evaluation) -> None:
    say(f"{whole.dataset}: {whole.kind}; {len(whole.cases)} passages, {whole.positives} with people; at 95 %")
    rows = [("fused", whole.fused), *whole.by_modality.items()]
    rows += [(body.value, figures) for body, figures in whole.by_body_type.items()]
    rows += [*whole.by_wind.items(), *((f"known at {look_s} s", one) for look_s, one in whole.by_look.items())]
    rows += [(f"{crowd} in it", figures) for crowd, figures in whole.by_people.items()]
    header = ("SCORE", "FOUND", "EMPTY", "AUC", "CLLR", "CLLR MIN", "PD", "PFA")
    say_table(header, [(name, *_cells(figures)) for name, figures in rows])
    say(f"Pd of three people less Pd of one: {_text(whole.three_less_one) or '-'}")
    names = ("DECISIONS", "FOUND", "EMPTY", "DECIDED", "EMPTY CLEARED", "EMPTY ASKED", "FOUND CLEARED")
    decisions = whole.decisions.items()
    say_table(
        names,
        [
            (name, one.n_pos, one.n_neg, *map(_text, (one.decided, one.cleared, one.asked, one.missed)))
            for name, one in decisions
        ],
    )
    levels = ", ".join(f"{name} {n['n_pos']} and {n['n_neg']}" for name, n in whole.levels().items())
    say(f"levels (found and empty): {levels}")


def _cells(figures: Figures) -> tuple[object, ...]:
    merit = figures.merit
    parts = (merit.auc, merit.cllr, merit.cllr_min, figures.pd, figures.pfa)
    return (figures.n_pos, figures.n_neg, *map(_text, parts))


def _text(part: Estimate) -> str | None:
    if part.value is None:
        return None
    if part.low is None or part.high is None:
        return f"{part.value:.3f}"
    return f"{part.value:.3f} [{part.low:.3f}, {part.high:.3f}]"


class _Progress:
    """One line on stderr: over itself in a terminal, a new one now and then elsewhere."""

    def __init__(self) -> None:
        self._first_s: float | None = None
        self._told_s = 0.0
        self._open_line = False

    def tell(self, done: int, total: int) -> None:
        """What is left, and how long it will take: at the pace since the first, as the start takes its own time."""
        now_s = time.monotonic()
        line = f"{done} of {total} bundles weighed, {total - done} left"
        if self._first_s is None:
            self._first_s = now_s
        elif done < total:
            line += f", about {(now_s - self._first_s) / (done - 1) * (total - done):.0f} s"
        if sys.stderr.isatty():
            sys.stderr.write(f"\r{line}\x1b[K")
            sys.stderr.flush()
            self._open_line = True
        elif done == total or now_s - self._told_s >= LINE_EVERY_S:
            tell(line)
            self._told_s = now_s

    def end(self) -> None:
        """What follows begins on a line of its own."""
        if self._open_line:
            sys.stderr.write("\n")
