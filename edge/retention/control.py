"""Retention by the daemon, each hour and on request; and without it, by the command line with the same hands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from drivers.reading import ClockQuality
from edge import keys
from edge.clock import kernel_quality
from edge.control import ControlFault, Handler, Peer, Unreachable, ask
from edge.journal.journal import Journal, JournalFault
from edge.places import Places
from edge.retention.expire import counted, expire, find
from edge.retention.room import make_room
from edge.retention.rules import RetentionTable

PRUNE = "prune"
EVERY_S = 3600.0  # assumed: a rule of days is kept to the hour
FIRST_S = 60.0  # assumed: a lane that has just started has better things to do
PRUNE_S = 600.0  # how long the command line waits for the daemon
NO_CLOCK = "the clock is not synchronised: nothing expires until it is ([retention] wait_for_clock)"
log = logging.getLogger("lanepulse.retention")


class Keeper:
    """One lane's retention. Calls block (journal, disk) and come one at a time."""

    def __init__(
        self,
        journal: Journal,
        places: Places,
        rules: RetentionTable,
        clock: Callable[[], ClockQuality],
        spools: Sequence[Path] = (),
    ) -> None:
        self._journal, self._places, self._rules = journal, places, rules
        self._clock, self._spools = clock, tuple(spools)

    def run(self, *, dry_run: bool = False) -> dict[str, Any]:
        """Find what is due, and delete it.

        Raises:
            ControlFault: the clock cannot be trusted.
            JournalFault: what is not recorded is not deleted.
        """
        if self._rules.wait_for_clock and not self._clock().synchronised:
            raise ControlFault(NO_CLOCK)
        found = find(self._places, self._rules, time.time_ns(), self._spools)
        if dry_run or (found.nothing and not found.damaged):
            return counted(found).said()
        done = expire(self._journal, self._places, self._rules, found)
        log.info("retention: %d plates and words, %d bundles deleted", done.openings, done.bundles)
        return done.said()

    def make_room(self) -> int:
        """Before the disk is full; see ``edge/retention/room.py``. Raises JournalFault."""
        least, days = self._rules.least_free_mib * 1024**2, self._rules.closed_case_days
        gone = make_room(self._journal, self._places, least, time.time_ns(), days)
        if gone:
            log.warning("retention: %d bundles without an outcome deleted: the disk is nearly full", gone)
        return gone

    async def keep(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(FIRST_S)
        told, next_run_s = "", 0.0
        while True:
            try:
                await asyncio.to_thread(self.make_room)
                if time.monotonic() >= next_run_s:
                    next_run_s = time.monotonic() + EVERY_S
                    await asyncio.to_thread(self.run)
                told = ""
            except (ControlFault, JournalFault, OSError) as fault:
                if str(fault) != told:  # once for each cause, not once an hour
                    told = str(fault)
                    log.warning("retention: %s", fault)
            await asyncio.sleep(FIRST_S)


def handlers(keeper: Keeper) -> dict[str, Handler]:
    """What the lane answers: ``{"do": "prune", "dry_run": true}``."""

    async def prune(request: Mapping[str, Any], peer: Peer) -> Any:
        dry_run = request.get("dry_run", False)
        if not isinstance(dry_run, bool):
            raise ValueError("prune: dry_run is true or false")
        try:
            return await asyncio.to_thread(keeper.run, dry_run=dry_run)
        except (JournalFault, OSError) as fault:
            raise ControlFault(str(fault)) from None

    return {PRUNE: prune}


def prune(places: Places, rules: RetentionTable, spools: Sequence[Path], *, dry_run: bool) -> dict[str, Any]:
    """Have what is due deleted, by the lane that runs, or by ourselves. Raises ControlFault, JournalFault, KeyFault."""
    try:
        answer: dict[str, Any] = ask(places.control_socket, {"do": PRUNE, "dry_run": dry_run}, PRUNE_S)
        return answer
    except Unreachable as unreachable:
        if not places.journal.exists():
            raise unreachable
        with Journal.open(places.journal, keys.load_signing(places.signing)) as journal:
            return Keeper(journal, places, rules, kernel_quality, spools).run(dry_run=dry_run)
