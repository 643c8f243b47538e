"""Strangers may not take the lane's descriptors: the doors close for a while before the recording of lorries starves.

A peer that connects and says nothing costs a descriptor until its handshake has timed out, and anybody on the network
may connect. So when half of the process's descriptors are in use the listening sockets are closed; whoever is in stays
in, and the doors open again when the silent ones have been thrown out. Until then new subscribers wait: libzmq tries
again by itself. Some descriptors are held in reserve, for what comes between two looks.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import resource
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edge.publish.publisher import PublishFault

LOOK_S = 0.05  # assumed: a flood of 10,000 connections a second takes 500 descriptors in that time
CLOSE_AT, OPEN_AT = 0.5, 0.375  # of the soft limit
RESERVE = 16  # a passage opens about ten files
log = logging.getLogger("lanepulse.publish")


class Door(Protocol):
    """A listening socket; its connections are not touched by either."""

    def shut(self) -> None: ...

    def open_again(self) -> None:
        """Raises PublishFault: not now."""


class Doors:
    """All listening sockets of the lane that strangers can reach."""

    def __init__(self, doors: Sequence[Door]) -> None:
        self._doors = doors
        self._closed: list[Door] = []
        self._reserve: list[int] = []

    @property
    def shut(self) -> bool:
        """Whether nobody new is let in."""
        return bool(self._closed)

    async def watch(self) -> None:
        """Until cancelled."""
        self._take_reserve()
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                self.look(_used(), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        finally:
            self._give_reserve()

    def look(self, used: int | None, limit: int) -> None:
        """Judge once; ``used`` None is that not even this could be asked: all are taken."""
        if not self.shut and (used is None or used - len(self._reserve) > limit * CLOSE_AT):
            for door in self._doors:
                door.shut()
            self._closed = list(self._doors)
            self._give_reserve()
            log.error("publish: %s of %d descriptors are in use: nobody new is let in for now", used or "all", limit)
        elif self.shut and used is not None and used < limit * OPEN_AT:
            try:
                while self._closed:
                    self._closed[-1].open_again()
                    self._closed.pop()
            except PublishFault as error:  # the port is not free yet: the next look tries again
                log.debug("publish: %s", error)
                return
            self._take_reserve()
            log.warning("publish: open again")

    def _take_reserve(self) -> None:
        while len(self._reserve) < RESERVE:
            try:
                self._reserve.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
            except OSError:
                return

    def _give_reserve(self) -> None:
        while self._reserve:
            os.close(self._reserve.pop())


def _used() -> int | None:
    """Descriptors of this process; None where there is none left to look with."""
    try:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            return None
        raise
