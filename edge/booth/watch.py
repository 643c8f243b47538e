"""Follows the lane as any subscriber does, keeps the board, and asks the control socket for what is not announced.

The lane silent for `SILENCE_S`, refused, or with another journal: the board is emptied, and following begins again.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

from edge.booth.board import Board
from edge.booth.faults import Faults
from edge.control import ControlFault
from edge.publish.message import Message, MessageFault
from edge.publish.subscriber import OutOfStep, Unreachable

SILENCE_S = 3.0  # three missed states; the page covers its prompt after the same time
AGAIN_S = 0.5  # assumed: between two tries to hear the lane
OUTCOMES_EVERY_S = 2.0  # assumed: how soon an outcome entered elsewhere shows here
RELIABILITY_EVERY_S = 60.0  # assumed: it counts months
LOOK_BACK_ROWS = 400  # assumed: the list's lorries at some rows each

Follow = Callable[[int | None], AsyncGenerator[Message, None]]
Ask = Callable[[dict[str, Any]], Any]
log = logging.getLogger("lanepulse.booth")


class Watch:
    """Keep `run` running; ``changed`` is called after everything that the page should show."""

    def __init__(self, follow: Follow, ask: Ask, changed: Callable[[], None]) -> None:
        self._follow, self._ask, self._changed = follow, ask, changed
        self.board, self.faults = Board(), Faults()
        self.heard_s: float | None = None  # time.monotonic() of the lane's last message
        self.cause: str | None = None  # why nothing is heard
        self._last_seen: int | None = None
        self._look = asyncio.Event()

    async def run(self) -> None:
        """Follow, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_lane())
            tasks.create_task(self._ask_lane())

    def look_again(self) -> None:
        """Something was entered here: ask what stands now."""
        self._look.set()

    async def _follow_lane(self) -> None:
        while True:
            try:
                await self._hear()
            except Unreachable as silence:
                self._lose(str(silence))
            except OutOfStep as fault:
                self._lose(str(fault))
                self.board, self._last_seen = Board(), None  # what was known is of another record
            except (MessageFault, ValueError) as fault:
                self._lose(f"the lane sends what this page cannot read: {fault}; update the booth")
            await asyncio.sleep(AGAIN_S)

    async def _hear(self) -> None:
        async with aclosing(self._follow(self._last_seen)) as messages:
            async for message in messages:
                self.heard_s, self.cause = time.monotonic(), None
                sequence = message.header.sequence
                if self._last_seen is None:  # how far the record is, is known now: begin again a little before that
                    self._last_seen = max(0, sequence - LOOK_BACK_ROWS)
                    return
                self._last_seen = max(self._last_seen, sequence)
                self.board.see(message)
                if message.header.kind == "status":
                    self.faults.see(message.body, time.time_ns() // 1_000_000)
                self._changed()

    def _lose(self, cause: str) -> None:
        if self.cause is None:
            log.warning("%s", cause)
        self.cause = cause
        self.board.lost()
        self._changed()

    async def _ask_lane(self) -> None:
        reliability_s: float | None = None
        while True:
            try:
                asked = {"do": "outcomes", "passage_ids": self.board.listed}
                self.board.outcomes.update(await asyncio.to_thread(self._ask, asked))
                self.board.declared = await asyncio.to_thread(self._ask, {"do": "declared"})
                if reliability_s is None or time.monotonic() - reliability_s >= RELIABILITY_EVERY_S:
                    self.board.reliability = await asyncio.to_thread(self._ask, {"do": "reliability"})
                    reliability_s = time.monotonic()
                self._changed()
            except ControlFault as fault:
                log.debug("%s", fault)  # the stream tells the officer that the lane is away
            self._look.clear()
            try:
                async with asyncio.timeout(OUTCOMES_EVERY_S):
                    await self._look.wait()
            except TimeoutError:
                continue
