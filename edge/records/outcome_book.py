"""Outcomes in the journal, and beside the bundle as ``outcome.json``: the journal first, the file from it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edge import json_text
from edge.journal.journal import Journal
from edge.records.outcome import Answer, OutcomeRefused, Press, Record, file_document, row, weigh
from fusion.bundle.times import format_utc

KIND = "outcome"
FILE = "outcome.json"
LOOK_BACK_ROWS = 2_000  # assumed: rows written between a crash and the row whose file was not
MOST_ASKED = 100  # passages in one question; the page lists a tenth of it
MOST_RECORDS = 50  # of one passage; assumed: nobody corrects that often, a broken button does
log = logging.getLogger("lanepulse.outcome")


class OutcomeBook:
    """One lane's outcomes. Calls block (journal, disk)."""

    def __init__(self, journal: Journal, bundles: Path, now_utc_ns: Callable[[], int]) -> None:
        self._journal, self._bundles, self._now_utc_ns = journal, bundles, now_utc_ns
        self._one_at_a_time = threading.Lock()  # two presses in the same moment cannot both be the first

    def enter(self, press: Press, via: str) -> dict[str, Any]:
        """Record a press, once. The answer says what became of it, and which record stands now.

        Raises:
            OutcomeRefused: no such passage, or it has been corrected too often.
            JournalFault: it is not recorded.
        """
        if not self._known(press.passage_id):
            raise OutcomeRefused(f"passage {press.passage_id}: not in this lane's record; see lanepulse verdicts")
        with self._one_at_a_time:
            return self._weighed(press, via)

    def _weighed(self, press: Press, via: str) -> dict[str, Any]:
        earlier = self._records(press.passage_id)
        answer, met = weigh(press, earlier)
        if answer is Answer.RECORDED:
            if len(earlier) >= MOST_RECORDS:
                raise OutcomeRefused(f"passage {press.passage_id}: {len(earlier)} records already; tell a supervisor")
            body = row(press, met, format_utc(self._now_utc_ns() - round(press.pressed_ago_s * 1e9)), via)
            met = Record(self._journal.append(KIND, press.passage_id, body), body)
            self.write_file(press.passage_id)
        return {"answer": answer.value, "record": _told(met)}

    def standing(self, passage_ids: list[str]) -> dict[str, Any]:
        """Passage -> its standing record; passages without one are left out."""
        found = {}
        for passage_id in passage_ids[:MOST_ASKED]:
            records = self._records(passage_id)
            if records:
                found[passage_id] = _told(records[-1])
        return found

    def write_file(self, passage_id: str) -> None:
        """Make ``outcome.json`` say what the journal says. A disk that refuses is logged: the journal has it."""
        folder = self._bundles / passage_id
        records = self._records(passage_id)
        if not records or not folder.is_dir():
            return  # nobody knows, or the bundle is still being written: its sealing calls again
        document = file_document(records[-1].document)
        try:
            if document is None:
                (folder / FILE).unlink(missing_ok=True)
            else:
                _replace(folder / FILE, json_text.write(document).encode() + b"\n")
        except OSError as error:
            log.error("passage %s: %s is not written, the journal has it: %s", passage_id, FILE, error)

    def take_up(self) -> None:
        """After a start: write the files that a crash left unwritten."""
        last = self._journal.last(KIND)
        if last is not None:
            newest = self._journal.rows(max(1, last.sequence - LOOK_BACK_ROWS), LOOK_BACK_ROWS, KIND)
            for passage_id in dict.fromkeys(row.passage_id for row in newest):
                if passage_id is not None:
                    self.write_file(passage_id)

    def _known(self, passage_id: str) -> bool:
        return any(self._journal.of_passage(passage_id, kind) for kind in ("verdict", "passage.opened"))

    def _records(self, passage_id: str) -> list[Record]:
        return [Record(row.sequence, row.document()) for row in self._journal.of_passage(passage_id, KIND)]


def _told(record: Record | None) -> Mapping[str, Any] | None:
    return None if record is None else {"sequence": record.sequence, **record.document}


def _replace(path: Path, content: bytes) -> None:
    """Whole old content or whole new."""
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
