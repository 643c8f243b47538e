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
        self._next = dict.fromkeys(("outcome", "audit"), 1)
        self._drawn: dict[str, int] = {}  # passages that the audit drew, told as such or not -> when
        self._standing: dict[str, _Searched] = {}

    def told(self) -> dict[str, Any]:
        """Group -> ``{"cases", "of", "one_in", "from", "to", "days"}``; groups with too few cases are left out."""
        self._read_on()
        earliest_ns = self._now_utc_ns() - DAYS * DAY_NS
        self._standing = {name: each for name, each in self._standing.items() if each.written_utc_ns >= earliest_ns}
        self._drawn = {name: at_ns for name, at_ns in self._drawn.items() if at_ns >= earliest_ns - DAY_NS}
        tests = self._tests()
        searched: dict[str, list[_Searched]] = {group: [] for group in GROUPS}
        for name, each in self._standing.items():
            group = "audit" if name in self._drawn else each.group
            if name not in tests and group in searched:
                searched[group].append(each)
        return {group: told for group, cases in searched.items() if (told := _told(cases))}

    def _read_on(self) -> None:
        for kind, take in (("outcome", self._take), ("audit", self._take_draw)):
            while rows := self._journal.rows(self._next[kind], ROWS_AT_ONCE, kind):
                for row in rows:
                    take(row)
                self._next[kind] = rows[-1].sequence + 1

    def _take_draw(self, row: Row) -> None:
        if row.passage_id is not None and row.document().get("drawn"):
            self._drawn[row.passage_id] = row.written_utc_ns

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
