"""``lanepulse journal``: is the record whole?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge import keys
from edge.calibrate.bookkeeping import calibration_rows, faults
from edge.cli.main import DONE, NO, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, tell
from edge.journal.verify import verify


@click.group("journal")
def command() -> None:
    """Is the record whole?"""


@command.command(
    "verify",
    epilog="\b\nExamples:\n  lanepulse journal verify --root lane/\n"
    "  lanepulse journal verify journal.db --public-key signing.pub",
)
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--public-key", type=click.Path(path_type=Path), help="The lane's public signing key (PEM).")
@common
def verify_chain(settings: Settings, file: Path | None, public_key: Path | None) -> int:
    """Walk the chain of FILE, or of this lane's journal, and check the signatures. Exit 1 names the first bad row."""
    path, places = file, None
    if path is None:
        places = settings.places()
        path = places.journal
        beside = places.signing.with_suffix(".pub")
        public_key = public_key or (beside if beside.exists() else None)
    try:
        key = None if public_key is None else keys.load_signing_public(public_key)
        found = verify(path, key)
    except FileNotFoundError as error:
        tell(f"{error}; give the file, or the lane's --root")
        return WRONG_USE
    wrong = faults(places, calibration_rows(path), key) if places is not None and found.ok else []
    if settings.json:
        answer = {"file": str(path), "ok": found.ok and not wrong, "calibrations": {"faults": wrong}}
        say_json(asdict(found) | answer)
    elif wrong:
        say(f"{path}: whole, but the calibrations are NOT: {'; '.join(wrong)}")
    elif found.ok:
        signed = f"signed to row {found.signed_to}" if public_key else "signatures not checked: no public key"
        private = f"; {found.openings} private values kept, {found.deleted} deleted" if found.deleted else ""
        say(f"{path}: whole: {found.rows} rows, {signed}{private}")
    else:
        say(f"{path}: NOT whole: {found.cause}; {found.rows} rows before it are good")
    return DONE if found.ok and not wrong else NO
