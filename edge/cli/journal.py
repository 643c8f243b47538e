"""``lanepulse journal``: is the record whole, what of it has had its time, and where is its copy?"""

from __future__ import annotations

import os
import sqlite3
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge import json_text, keys
from edge.calibrate.bookkeeping import calibration_rows, faults
from edge.cli.main import DONE, NO, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell
from edge.clock_book import placed
from edge.journal.verify import verify

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


@click.group("journal")
def command() -> None:
    """Is the record whole? Its retention, its copies."""


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


@command.command(
    "prune",
    epilog="\b\nExamples:\n  lanepulse journal prune --root lane/ --dry-run\n"
    "  lanepulse journal prune --root lane/ --json",
)
@click.option("--dry-run", is_flag=True, help="Say what would go, and delete nothing.")
@common
def prune_by_rule(settings: Settings, dry_run: bool) -> int:
    """Delete what has had its time by [retention]: plates, words, bundles, photos, packs. The chain stays provable.

    The lane does it by itself each hour. What a case holds stays. A journal that is not whole is not touched.
    """
    from edge.retention.control import prune
    from edge.retention.spools import spools_of

    config = settings.load()
    places = settings.places(config)
    found = verify(places.journal, _public(settings, None)) if places.journal.exists() else None
    if found is not None and not found.ok:
        tell(f"{places.journal}: NOT whole: {found.cause}; nothing was deleted (journal salvage, journal restore)")
        return NO
    done = prune(places, config.retention, spools_of(config.devices), dry_run=dry_run)
    if settings.json:
        say_json({"dry_run": dry_run} | done)
    else:
        counts = ", ".join(f"{done[name]} {name.replace('_', ' ')}" for name in _COUNTED)
        say(f"{'would be deleted' if dry_run else 'deleted'}: {counts}; {done['held']} passages are held")
        for fault in done["faults"]:
            tell(fault)
    return NO if done["faults"] else DONE


@command.command(
    "backup",
    epilog="\b\nExamples:\n  lanepulse journal backup --root lane/ lane-3.db\n"
    "  lanepulse journal backup /mnt/backup/lane-3-2026-03-01.db --json",
)
@click.argument("copy", type=click.Path(path_type=Path, dir_okay=False))
@common
def backup_of(settings: Settings, copy: Path) -> int:
    """Copy the lane's journal to COPY while the lane runs, and check the copy. It holds plates: keep it as such."""
    from edge.journal.backup import backup
    from edge.referral.control import record

    made = backup(settings.places().journal, copy, _public(settings, None))
    try:  # after it: a journal that is not whole gets no further row
        record(settings.places(), "access", {"what": "journal backup", "purpose": f"copy to {copy.name[:60]}"})
    except BaseException:
        copy.unlink()
        raise
    if settings.json:
        say_json({"copy": str(copy)} | asdict(made.found))
    else:
        say(f"{copy}: {made.found.rows} rows, signed to row {made.found.signed_to}; plates in it do not expire")
    return DONE


@command.command(
    "restore",
    epilog="\b\nExamples:\n  lanepulse journal restore --root lane/ lane-3.db\n"
    "  lanepulse journal restore lane-3.db --json",
)
@click.argument("copy", type=click.Path(path_type=Path, dir_okay=False))
@common
def restore_from(settings: Settings, copy: Path) -> int:
    """Put COPY in the place of a journal that is damaged or gone. What is there is set aside, never deleted.

    A journal that is whole and not behind the copy is left as it is.
    """
    from edge.journal.backup import restore
    from edge.journal.journal import Journal

    places = settings.places()
    aside = f"journal-set-aside-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    made, kept = restore(copy, places.journal, _public(settings, None), aside)
    with Journal.open(places.journal, keys.load_signing(places.signing)) as journal:
        journal.append("restored", None, {"rows": made.found.rows, "set_aside": None if kept is None else kept.name})
    if settings.json:
        say_json({"journal": str(made.path), "set_aside": None if kept is None else str(kept)} | asdict(made.found))
    else:
        rest = "nothing was there" if kept is None else f"what was there is in {kept}"
        say(f"{made.path}: {made.found.rows} rows are back; {rest}. Now run: lanepulse journal prune")
    return DONE


@command.command(
    "salvage",
    epilog="\b\nExamples:\n  lanepulse journal salvage --root lane/ rows.jsonl\n"
    "  lanepulse journal salvage rows.jsonl damaged.db",
)
@click.argument("out", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("file", required=False, type=click.Path(path_type=Path, dir_okay=False))
@common
def salvage_rows(settings: Settings, out: Path, file: Path | None) -> int:
    """Write every row of FILE, or of this lane's journal, that can be read to OUT. Exit 1 if not all are intact."""
    from edge.journal.salvage import line, salvage

    rows = intact = 0
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.UsageError(f"{out}: {error.strerror}; name a file that is not there yet") from None
    with os.fdopen(descriptor, "wb") as target:
        for row in salvage(file or settings.places().journal):
            target.write(line(row))
            rows, intact = rows + 1, intact + bool(row["intact"])
    if settings.json:
        say_json({"out": str(out), "rows": rows, "intact": intact})
    else:
        say(f"{out}: {rows} rows, {intact} of them as they were written")
    return DONE if rows == intact else NO


@command.command(
    "looks",
    epilog="\b\nExamples:\n  lanepulse journal looks --root lane/\n"
    "  lanepulse journal looks --passage 01JQ0F7Y3W8V5R2M9K4T6B1N0D --json",
)
@click.option("--passage", help="Only looks at this passage.")
@common
def looks(settings: Settings, passage: str | None) -> int:
    """Who looked at what points to a vehicle, when and why; newest last."""
    from edge.journal.read import reading

    with reading(settings.places().journal) as reader:
        rows = [(row, row.document()) for row in reader.of_kind("access")]
    shown = [(row, said) for row, said in rows if passage is None or passage in said["passages"]]
    if settings.json:
        say_json({"looks": [{"row": row.sequence, **said} for row, said in shown]})
    else:
        header = ("ROW", "WHEN", "WHAT", "PASSAGES", "OFFICER", "VIA", "PURPOSE")
        say_table(header, [_look(row.sequence, said) for row, said in shown])
    return DONE


def _look(sequence: int, said: Any) -> tuple[object, ...]:
    count = max(said["count"], len(said["passages"]))
    return (sequence, said["entered_utc"], said["what"], count, said["officer"], said["via"], said["purpose"])


_COUNTED = ("private_words", "bundles", "photos", "packs", "strays")


def _public(settings: Settings, given: Path | None) -> Ed25519PublicKey | None:
    """The key to check with: the one given, else the lane's, else none."""
    beside = settings.places().signing.with_suffix(".pub")
    path = given or (beside if beside.exists() else None)
    return None if path is None else keys.load_signing_public(path)


@command.command(
    "clock", epilog="\b\nExamples:\n  lanepulse journal clock --root lane/\n  lanepulse journal clock --json"
)
@common
def clock(settings: Settings) -> int:
    """Vehicles that came while the clock was not set, and when that truly was.

    A machine without a battery starts in 1970. Its passages are placed by what the same boot's clock said later.
    """
    path = settings.places().journal
    try:
        found = placed(path)
    except (sqlite3.Error, json_text.JsonRefused) as error:
        tell(f"{path}: {error}; give the lane's --root, or judge the file: lanepulse journal verify")
        return WRONG_USE
    if settings.json:
        say_json({"file": str(path), "passages": [asdict(one) for one in found]})
    elif found:
        rows = [(one.sequence, one.passage_id, one.said_utc, one.true_utc or "not known") for one in found]
        say_table(("ROW", "PASSAGE", "BEGAN, BY ITS CLOCK", "TRULY"), rows)
    else:
        say(f"{path}: every vehicle came while the clock was set")
    return DONE
