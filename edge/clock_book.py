"""What the lane's clock was worth, in the journal; and passages of a clock that was not set, placed in time by it.

A row of kind ``clock`` says how the wall clock stood to the monotonic one, which runs from the boot on and is never
set: at each start, when the wall clock is stepped, and when it becomes synchronised or ceases to be. A passage keeps
the monotonic moment at which it began; with the boot's last good row that is its true time.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import json_text
from edge.clock import Clock, both_clocks_ns
from edge.journal.journal import Journal, JournalFault
from fusion.bundle.times import format_utc, parse_utc

KIND = "clock"
EVERY_S = 1.0
log = logging.getLogger("lanepulse.clock")


class ClockBook:
    """Writes the rows while the lane runs."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self._said: bool | None = None
        self._step_ns = 0

    def stepped(self, step_ns: int) -> None:
        """The wall clock was set: forward is positive."""
        log.warning("the wall clock was set by %+.3f s; order is by sequence number", step_ns / 1e9)
        self._step_ns += step_ns

    async def run(self) -> None:
        """Until cancelled. A row that cannot be written is tried again."""
        while True:
            synchronised = self._clock.quality().synchronised
            if synchronised != self._said or self._step_ns:
                await self._write(synchronised, self._step_ns)
            await asyncio.sleep(EVERY_S)

    async def _write(self, synchronised: bool, step_ns: int) -> None:
        wall_ns, monotonic_ns = both_clocks_ns()
        body = {
            "utc": format_utc(wall_ns),
            "monotonic_ns": str(monotonic_ns),  # over 2^53 after some months
            "synchronised": synchronised,
            "stepped_s": step_ns / 1e9,
        }
        try:
            await asyncio.to_thread(self._journal.append, KIND, None, body)
        except JournalFault:
            return  # said where it hurts: at the next verdict
        self._said = synchronised
        self._step_ns -= step_ns


@dataclass(frozen=True, slots=True)
class Placed:
    """A passage that began by a clock that was not set; ``true_utc`` is None where its boot never had a good one."""

    sequence: int
    passage_id: str
    said_utc: str
    true_utc: str | None


def placed(path: Path) -> list[Placed]:
    """The passages of a journal whose clock was not set, in its order. The daemon may be writing.

    Raises:
        sqlite3.Error, JsonRefused: there is no journal, or a row is none.
    """
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        offsets = dict(_good_offsets(_rows(db, KIND)))
        opened = list(_rows(db, "passage.opened"))
    found = []
    for sequence, boot_id, passage_id, body in opened:
        if body.get("synchronised") is not False:
            continue  # rows of before did not say; nothing is claimed about them
        offset_ns = offsets.get(boot_id)
        true_utc = None if offset_ns is None else format_utc(int(body["monotonic_ns"]) + offset_ns)
        found.append(Placed(sequence, passage_id, body["began_utc"], true_utc))
    return found


def _good_offsets(rows: Iterator[tuple[int, str, str, Any]]) -> Iterator[tuple[str, int]]:
    """Boot -> wall clock less monotonic clock, where it was synchronised; the last of a boot comes last."""
    for _, boot_id, _, body in rows:
        if body["synchronised"]:
            yield boot_id, parse_utc(body["utc"]) - int(body["monotonic_ns"])


def _rows(db: sqlite3.Connection, kind: str) -> Iterator[tuple[int, str, str, Any]]:
    columns = "SELECT sequence, boot_id, passage_id, body FROM rows WHERE kind = ? ORDER BY sequence"
    for sequence, boot_id, passage_id, body in db.execute(columns, (kind,)):
        yield sequence, boot_id, passage_id, json_text.read(body)
