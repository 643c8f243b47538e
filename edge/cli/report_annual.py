"""``lanepulse report annual``: a year of the record as PDF and HTML."""

from __future__ import annotations

from pathlib import Path

import click

from edge.cli.analyse import costs_of
from edge.cli.main import DONE, NO, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, tell
from edge.cli.record_options import Question, need, opened, questions

SCHEMA = "lanepulse.annual/1"


@click.command(
    "annual",
    epilog="\b\nExamples:\n  lanepulse report annual --year 2025 --root lane --zone Europe/London\n"
    "  lanepulse report annual --year 2025 --lake lake --out reports --json",
)
@click.option("--year", type=click.IntRange(2024, 2200), required=True, help="Of the place's calendar.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    help="Folder for annual-YEAR.pdf and annual-YEAR.html; here otherwise.",
)
@click.option(
    "--costs",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Add where the money goes, at these costs; else costs.toml beside the lane's file, if there is one.",
)
@common
@questions(period=False)
def annual(settings: Settings, question: Question, year: int, out: Path, costs: Path | None) -> int:
    """Figures, plots, method, definitions, what changed and what is not known, of a YEAR.

    The same record gives the same files, byte for byte. Exit 1: no vehicle came in that year.
    """
    need("report", "typst")
    from edge.records import annual as making
    from edge.records.html import page
    from edge.records.pdf import pdf

    with opened(settings, question) as (record, place):
        report = making.annual(record, place, year, costs_of(settings, costs, needed=False))
    if report is None:
        tell(f"no vehicle came in {year} in this record; nothing was written")
        return NO
    paths = out / f"annual-{year}.pdf", out / f"annual-{year}.html"
    said = (report.banner, *report.said)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(paths[0], pdf(report))
        _write(paths[1], page(report.title, said, report.sections).encode())
    except OSError as fault:
        tell(f"{fault.filename}: {fault.strerror}")
        return WRONG_USE
    if settings.json:
        sections = [section.document() for section in report.sections]
        say_json({"schema": SCHEMA, "files": [str(path) for path in paths], "said": said, "sections": sections})
    else:
        for path in paths:
            say(f"{path}: written")
    return DONE


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(content)
    beside.replace(path)
