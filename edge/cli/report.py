"""``lanepulse report``: what leaves the house as a document."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge.cli.main import DONE
from edge.cli.options import Settings, common
from edge.cli.output import say_json, say_table, tell
from edge.cli.record_options import lane_of
from edge.cli.report_annual import annual


@click.group("report")
def command() -> None:
    """Documents for others."""


@command.command(
    "haulier",
    epilog="\b\nExamples:\n  lanepulse report haulier plates.txt --purpose 'request of 3 March' --csv findings.csv\n"
    "  lanepulse report haulier plates.txt --purpose 'request of 3 March' --html findings.html",
)
@click.argument("plates", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--purpose", required=True, help="Why it is made, and for whom; it is recorded.")
@click.option("--officer", help="Who makes it: an id, never a name.")
@click.option("--csv", "table", type=click.Path(path_type=Path, dir_okay=False), help="Write a table.")
@click.option("--html", "page", type=click.Path(path_type=Path, dir_okay=False), help="Write a page.")
@common
def haulier(
    settings: Settings, plates: Path, purpose: str, officer: str | None, table: Path | None, page: Path | None
) -> int:
    """The security findings of the vehicles in PLATES (one a line), for their haulier; nothing of anybody else.

    That the plates are the haulier's own is for whoever makes the report to know.
    """
    from edge.journal.read import reading
    from edge.referral import haulier as making
    from edge.referral.control import record

    (site, lane), places = lane_of(settings), settings.places()
    asked = making.read_plates(plates)
    with reading(places.journal) as reader:
        found = making.report(reader, site, lane, asked)
    look = {"what": "report haulier", "purpose": purpose, "officer": officer}
    record(places, "access", look | {"passages": list(found.passages[:1000]), "count": len(found.passages)})
    try:
        if table is not None:
            table.write_bytes(making.as_csv(found))
        if page is not None:
            page.write_text(making.as_html(found), encoding="utf-8")
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from None
    for line in making.said(found):
        tell(line)
    if settings.json:
        say_json({"findings": [asdict(finding) for finding in found.findings], "said": list(making.SAID)})
    elif table is None and page is None:
        say_table(making.COLUMNS, [finding.cells() for finding in found.findings])
    return DONE


command.add_command(annual)
