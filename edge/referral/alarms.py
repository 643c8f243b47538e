"""Cases that wait too long, for the lane's status: those that ``lanepulse referral list --alarms`` lists, in figures.

The record is gathered anew only when it says something new of cases; between, the clock alone makes an alarm of a case.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from edge.journal.journal import Journal, JournalFault
from edge.journal.read import reading
from edge.json_text import JsonRefused
from edge.places import Places
from edge.records.outcome_book import KIND as OUTCOME
from edge.referral.book import MADE, STAGE
from edge.referral.queue import COVERT, DAY_NS, queue
from fusion.bundle.times import parse_utc

EVERY_S = 300.0  # assumed: limits are in days
MOVES = (OUTCOME, MADE, STAGE, *COVERT)  # kinds of rows that make a case, move it or end it
log = logging.getLogger("lanepulse.cases")


class CaseAlarms:
    """``run`` looks now and then, off the event loop; ``told`` is the newest answer, None before the first."""

    def __init__(
        self, journal: Journal, places: Places, limit_days: Mapping[str, float], now_utc_ns: Callable[[], int]
    ) -> None:
        self._journal, self._places, self._now_utc_ns = journal, places, now_utc_ns
        self._limit_days = dict(limit_days)
        self._read_to: int | None = None
        self._since: list[tuple[str, int]] = []  # stage of each open case that has a limit, and since when it is in it
        self.told: dict[str, Any] | None = None

    async def run(self) -> None:
        """Until cancelled."""
        said = ""
        while True:
            try:
                self.told, said = await asyncio.to_thread(self.look), ""
            except (JournalFault, JsonRefused, OSError, sqlite3.Error) as fault:
                if str(fault) != said:
                    log.error("cases: how long they wait is not known: %s", fault)
                self.told, said = None, str(fault)  # an old figure would pass for a new one
            await asyncio.sleep(EVERY_S)

    def look(self) -> dict[str, Any]:
        """How many wait too long now, in which stages, and the longest of them. Blocks.

        Raises:
            JournalFault, JsonRefused, OSError: the record cannot be read.
        """
        now_utc_ns = self._now_utc_ns()
        newest = max((row.sequence for kind in MOVES if (row := self._journal.last(kind))), default=0)
        if newest != self._read_to:
            self._since = self._open(now_utc_ns) if newest else []
            self._read_to = newest
        waits = [(stage, (now_utc_ns - since_ns) / DAY_NS) for stage, since_ns in self._since]
        late = [(stage, days) for stage, days in waits if days > self._limit_days[stage]]
        return {
            "alarms": len(late),
            "by_stage": dict(sorted(Counter(stage for stage, _ in late).items())),
            "longest_days": round(max(days for _, days in late), 1) if late else None,
        }

    def _open(self, now_utc_ns: int) -> list[tuple[str, int]]:
        with reading(self._places.journal) as reader:
            cases = queue(reader, self._places, now_utc_ns, self._limit_days)
        return [(case.stage, parse_utc(case.since_utc)) for case in cases if case.stage in self._limit_days]
