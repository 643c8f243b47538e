"""``lanepulse export``: the record as Parquet, CSV or JSON lines."""

from __future__ import annotations

from pathlib import Path

import click

from edge import json_text
from edge.cli.main import DONE, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say_json, say_table, tell
from edge.cli.record_options import need, up_to_date

LONGEST_KEY = 4096


@click.command(
    "export",
    epilog="\b\nExamples:\n  lanepulse export --root lane out/ --format csv\n"
    "  lanepulse export --lake lake out/ --pseudonymise research.key",
)
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--format", "form", type=click.Choice(("parquet", "csv", "jsonl")), default="parquet", show_default=True)
@click.option("--lake", type=click.Path(path_type=Path, file_okay=False), help="Export this lake, and no journal.")
@click.option(
    "--pseudonymise",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="For research: passage ids become keyed hashes (32 bytes or more in this file), free text is left out.",
)
@click.option("--purpose", default="not given", help="Why, and for whom; it is recorded.")
@common
def command(
    settings: Settings, folder: Path, form: str, lake: Path | None, pseudonymise: Path | None, purpose: str
) -> int:
    """Write the record's tables into FOLDER. What they hold stands in docs/data-dictionary.md."""
    need("analysis", "pyarrow")
    from edge.records.export import ExportFault, export
    from edge.records.lake import contents
    from edge.records.risk import risk

    found = contents(lake or up_to_date(settings))
    key = None
    if pseudonymise is not None:
        with pseudonymise.open("rb") as file:
            key = file.read(LONGEST_KEY)
    if lake is None:  # a lake of others has a record of its own, and no journal here
        _recorded(settings, purpose, key is not None)
    try:
        counts = export(found, folder, form, key)
        if key is not None:
            (folder / "RISK.json").write_text(json_text.write(risk(found.files.get("bundles", ()))) + "\n")
    except (ExportFault, OSError) as fault:
        tell(str(fault))
        return WRONG_USE
    for trouble in found.troubles:
        tell(f"{trouble.path}: {trouble.cause}; left out")
    if settings.json:
        say_json({"folder": str(folder), "format": form, "rows": counts, "left_out": [t.path for t in found.troubles]})
    else:
        say_table(("table", "rows"), sorted(counts.items()))
    return DONE


def _recorded(settings: Settings, purpose: str, pseudonymised: bool) -> None:
    """Who took the record out of the house, before it is. Raises WordsRefused, ControlFault, JournalFault, KeyFault."""
    from edge.referral.control import record

    what = "export pseudonymised" if pseudonymised else "export"
    record(settings.places(), "access", {"what": what, "purpose": purpose})
