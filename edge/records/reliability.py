"""How often a prompt was right here: of the vehicles searched after it, how many held somebody.

From the lane's own outcomes, by the prompt that the officer saw. It says nothing of those that were not searched: how
many are missed is the audit draw's to tell. Too few cases give nothing at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from edge.control import Handler, Peer
from edge.journal.journal import Journal, Row
from edge.records.intervals import share

DAYS = 90
FEWEST_SEARCHED, FEWEST_FOUND = 20, 3  # assumed: below, the interval spans more than a factor of ten
GROUPS = ("recheck", "search", "open_now", "audit")
ROWS_AT_ONCE = 500
COVERT = ("covert", "covert.entered", "covert.revealed")
DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class _Searched:
    group: str
    found: bool
    written_utc_ns: int


class Reliability:
    """Counts outcomes as they come; ``told`` blocks while it reads the journal's new ones."""

    def __init__(self, journal: Journal, now_utc_ns: Callable[[], int]) -> None:
        self._journal, self._now_utc_ns = journal, now_utc_ns
        self._next = 1
        self._standing: dict[str, _Searched] = {}

    def told(self) -> dict[str, Any]:
        """Group -> ``{"cases", "of", "one_in", "from", "to", "days"}``; groups with too few cases are left out."""
        self._read_on()
        earliest_ns = self._now_utc_ns() - DAYS * DAY_NS
        self._standing = {name: each for name, each in self._standing.items() if each.written_utc_ns >= earliest_ns}
        tests = self._tests()
        searched = [each for name, each in self._standing.items() if name not in tests]
        return {group: told for group in GROUPS if (told := _told([s for s in searched if s.group == group]))}

    def _read_on(self) -> None:
        while rows := self._journal.rows(self._next, ROWS_AT_ONCE, "outcome"):
            for row in rows:
                self._take(row)
            self._next = rows[-1].sequence + 1

    def _take(self, row: Row) -> None:
        """The newest record of a passage stands; what takes it back, or corrects it to "not searched", ends it."""
        if row.passage_id is None:
            return
        self._standing.pop(row.passage_id, None)
        body = row.document()
        outcome, shown = body.get("outcome"), body.get("shown")
        if outcome and shown and outcome.get("searched") and isinstance(outcome.get("found"), bool):
            group = "audit" if shown.get("audited") else str(shown.get("level"))
            self._standing[row.passage_id] = _Searched(group, outcome["found"], row.written_utc_ns)

    def _tests(self) -> set[str | None]:
        """Passages with volunteers aboard: neither finds nor false alarms."""
        return {row.passage_id for kind in COVERT for row in self._journal.rows(1, 10_000, kind)}


def _told(searched: list[_Searched]) -> dict[str, Any] | None:
    of, cases = len(searched), sum(each.found for each in searched)
    if of < FEWEST_SEARCHED or cases < FEWEST_FOUND:
        return None
    estimate = share(cases, of).estimate
    assert estimate.low and estimate.high  # both are above 0 where somebody was found
    bounds = {"one_in": of / cases, "from": 1 / estimate.high, "to": 1 / estimate.low}
    return {"cases": cases, "of": of, "days": DAYS, **{name: round(value, 1) for name, value in bounds.items()}}


def handlers(reliability: Reliability) -> dict[str, Handler]:
    """``{"do": "reliability"}`` on the control socket."""
    one_at_a_time = asyncio.Lock()

    async def answer(request: Mapping[str, Any], peer: Peer) -> Any:
        async with one_at_a_time:
            return await asyncio.to_thread(reliability.told)

    return {"reliability": answer}
