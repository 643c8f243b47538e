"""Calibrations in the lane's journal: every record by its id, every attempt that failed, every challenge.

While the lane runs it holds its journal; it is then asked to take up what is new. Where it does not run, the journal is
opened here. What neither could take is taken up at the next chance: the chain of records itself is the note.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from calibration.record import Kept, RecordFault
from calibration.store import Store, follows
from edge import json_text, keys
from edge.control import ControlFault, Unreachable, ask
from edge.journal.journal import Journal, JournalFault
from edge.places import Places

KIND = "calibration"  # of the journal's rows
NOTES_BYTES_MOST = 1 << 20  # assumed: some thousand attempts that no journal took
MOST_ROWS = 1_000_000


def store_of(places: Places) -> Store:
    """The lane's records."""
    return Store(places.calibrations)


def tell_journal(places: Places, note: Mapping[str, Any] | None = None) -> bool:
    """Have the journal take up what is new, and ``note``; whether it has. Raises OSError: the note cannot be kept."""
    if note is not None:
        places.calibrations.mkdir(mode=0o750, parents=True, exist_ok=True)
        with (places.calibrations / "notes.jsonl").open("ab") as file:
            file.write(json_text.write(note).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    try:
        ask(places.control_socket, {"do": "calibrated"})
        return True
    except Unreachable:
        pass
    except ControlFault:
        return False
    if not places.journal.exists():
        return False  # its first start makes it, as the lane's own user
    try:
        with Journal.open(places.journal, keys.load_signing(places.signing)) as journal:
            take_up(places, journal)
    except (JournalFault, keys.KeyFault, RecordFault):
        return False
    return True


def take_up(places: Places, journal: Journal) -> int:
    """Append what the journal does not have yet: records in their order, then notes; how many there were.

    Raises:
        JournalFault: a row did not reach the disk; the next call goes on there.
        RecordFault: the chain is not whole.
    """
    rows = journal.rows(1, MOST_ROWS, KIND)
    known = numbers(row.document() for row in rows)
    fresh = [kept for kept in store_of(places).entries() if kept.record.number not in known]
    for kept in fresh:
        journal.append(KIND, None, row_of(kept))
    path = places.calibrations / "notes.jsonl"
    try:
        with path.open("rb") as file:
            notes = json_text.read_lines(file.read(NOTES_BYTES_MOST))
    except (OSError, json_text.JsonRefused):
        return len(fresh)
    there = {row.body for row in rows}
    for note in notes:
        if json_text.write(note) not in there:
            journal.append(KIND, None, note)
    path.unlink(missing_ok=True)
    return len(fresh) + len(notes)


def row_of(kept: Kept) -> dict[str, Any]:
    """A journal row's body for an entry of the chain."""
    record = kept.record
    return {
        "event": record.kind,
        "number": record.number,
        "record_id": kept.id,
        "device": record.device.name,
        "procedure": record.procedure,
        "verdict": record.verdict,
        "activates": record.activates,
        "restores": record.restores,
        "raw_sha256": record.raw_sha256,
        "operator": record.operator,
        "performed_utc": record.performed_utc,
    }


def calibration_rows(path: Path) -> list[Any]:
    """Bodies of a journal's calibration rows, read beside its writer."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
        found = db.execute("SELECT body FROM rows WHERE kind = ? ORDER BY sequence", (KIND,)).fetchall()
    return [json_text.read(body) for (body,) in found]


def numbers(bodies: Iterable[Any]) -> dict[int, str]:
    """Entry number -> id, as the journal has them."""
    found: dict[int, str] = {}
    for body in bodies:
        if isinstance(body, dict) and isinstance(body.get("number"), int):
            found[body["number"]] = str(body.get("record_id"))
    return found


def faults(places: Places, bodies: Iterable[Any], public_key: Ed25519PublicKey | None) -> list[str]:
    """What is wrong with the lane's records: by themselves, and against the journal."""
    store = store_of(places)
    found = store.verify(public_key)
    try:
        entries = store.entries()
    except RecordFault:
        entries = []
        if not found:
            raise
    return found or follows(entries, numbers(bodies))
