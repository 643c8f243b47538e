"""``lanepulse analyse``: what works, what is missed, what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.main import DONE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell
from edge.cli.record_options import Question, asked, questions

if TYPE_CHECKING:
    from edge.records.asked import Asked
    from edge.records.costs import Costs
    from edge.records.sections import Section

SCHEMA = "lanepulse.analysis/1"
PARTS = (
    "counts",
    "misses",
    "covert",
    "advice",
    "technique",
    "contractors",
    "overrides",
    "modalities",
    "availability",
    "times",
    "queue",
    "hours",
    "referrals",
    "factors",
    "changes",
    "left_out",
    "each_hour",
    "value",
)


@click.command(
    "analyse",
    epilog="\b\nExamples:\n  lanepulse analyse --root lane --since 2026-01-01 --html year.html\n"
    "  lanepulse analyse --lake lake --by technique,shift,body_type --zone Europe/London",
)
@click.argument("parts", nargs=-1, type=click.Choice(PARTS))
@click.option("--by", "by", metavar="NAMES", help="Cross these: technique,shift,body_type, …")
@click.option(
    "--costs",
    type=click.Path(path_type=Path, dir_okay=False),
    help="What things cost, for the part value; else costs.toml beside the lane's file.",
)
@click.option("--html", "html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page that stands alone.")
@common
@questions()
def command(
    settings: Settings,
    question: Question,
    parts: tuple[str, ...],
    by: str | None,
    costs: Path | None,
    html: Path | None,
) -> int:
    """What works and what is missed, from the record. PARTS of the answer, or all of it.

    Every rate has its denominator and its 95 % interval; a cell with too few cases says so.
    """
    with asked(settings, question) as answer:
        sections = list(_sections(answer, parts, by, costs_of(settings, costs, "value" in parts)))
        said = [*question.said(), *trained_on(answer)]
    if html is not None:
        from edge.records.html import page

        html.write_text(page("What works, and what is missed", said, sections), encoding="utf-8")
        tell(f"{html}: written")
    if settings.json:
        say_json({"schema": SCHEMA, "said": said, "sections": [section.document() for section in sections]})
    elif html is None:
        say_sections(said, sections)
    return DONE


def say_sections(said: Sequence[str], sections: Sequence[Section]) -> None:
    """Sections as tables, to stdout."""
    from edge.records.sections import text

    for line in said:
        say(line)
    for section in sections:
        say("")
        say(section.title)
        if section.rows:
            say_table(section.columns, [[text(cell) for cell in row] for row in section.rows])
        for note in section.notes:
            say(f"  {note}")


def trained_on(answer: Asked) -> list[str]:
    """What the verdicts' models learnt from, in words that nobody overlooks."""
    words = ", ".join(answer.trained_on)
    return [f"Verdicts by models trained on: {words.upper()}"] if words else []


def costs_of(settings: Settings, path: Path | None, needed: bool) -> Costs | None:
    """The site's costs: the file that was named, else the one beside the lane's; None where there is none.

    Raises:
        CostsFault: it is not right, or it is needed and not there.
    """
    from edge.records.costs import FILE, load

    beside = settings.config_path.parent / FILE
    if path is None and not needed and not beside.exists():
        return None
    return load(path or beside)


def _sections(answer: Asked, parts: Sequence[str], by: str | None, costs: Costs | None) -> Iterator[Section]:
    from edge.records import analysis, answers, value

    if by is not None:
        factors = [name.strip() for name in by.split(",")]
        unknown = [name for name in factors if name not in analysis.FACTORS]
        if unknown or len(set(factors)) < len(factors):
            raise click.UsageError(f"--by {by[:60]}: give each once, of {', '.join(analysis.FACTORS)}")
        yield analysis.by_factor(answer, factors)
        if not parts:
            return
    yield from answers.answers(answer, [part for part in parts if part != "value"] if parts else answers.ALL)
    if costs is not None and (not parts or "value" in parts):
        yield from value.value(answer, costs)
