"""Who changed the lane's model, and when: into the journal, at once or as soon as nobody else writes it.

While the lane runs it holds its journal; a change is then noted in ``models/changes.jsonl``, durably, and goes into the
journal with the next change or start that finds it free.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge import json_text, keys
from edge.journal.journal import Journal, JournalFault
from edge.places import Places

KIND = "model"  # of the journal's rows
CHANGES_BYTES_MOST = 1 << 20  # assumed: some thousand changes that no journal took
log = logging.getLogger("lanepulse.models")


def record(places: Places, change: Mapping[str, Any]) -> bool:
    """Note a change, and journal it if the journal is free; whether it was.

    A lane that has never run has no journal yet: its first start makes it, as the lane's own user, and takes the note.

    Raises:
        OSError: the note cannot be written: then nothing should be changed.
    """
    path = _noted(places)
    path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(json_text.write(change).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if not places.journal.exists():
        return False
    try:
        with Journal.open(places.journal, keys.load_signing(places.signing)) as journal:
            take_up(places, journal)
    except (JournalFault, keys.KeyFault):
        return False
    return True


def take_up(places: Places, journal: Journal) -> int:
    """Append the noted changes to an open journal, and forget the notes; how many there were.

    Raises:
        JournalFault: a row did not reach the disk; the notes are kept.
    """
    path = _noted(places)
    try:
        with path.open("rb") as file:
            changes = json_text.read_lines(file.read(CHANGES_BYTES_MOST))
    except FileNotFoundError:
        return 0
    except (OSError, json_text.JsonRefused) as error:
        log.error("%s: cannot be journalled: %s; look at it, then take it away", path, error)
        return 0
    there = {row.body for row in journal.rows(1, 1_000_000, KIND)}
    for change in changes:
        if json_text.write(change) not in there:  # a cut may have come between the row and the note's end
            journal.append(KIND, None, change)
    path.unlink(missing_ok=True)
    return len(changes)


def _noted(places: Places) -> Path:
    return places.models / "changes.jsonl"
