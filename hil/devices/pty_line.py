"""The pseudo-terminal that emulated serial devices sit behind, and the orders that they take on stdin."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import pty
import sys
import termios
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Any

FORGET_EVERY_S = 0.2


def _nobody(_: bytes) -> None:
    """A device that only talks."""


class PtyLine:
    """A line that can be pulled and put back under its old name; ``heard`` gets what the other end writes."""

    def __init__(self, link: Path, heard: Callable[[bytes], None] = _nobody) -> None:
        self._link, self._heard = link, heard
        self._master: int | None = None
        self._slave = -1

    def plug(self) -> None:
        """A new line under the old name; the slave stays open so that the line survives its readers."""
        if self._master is not None:
            return
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._link.unlink(missing_ok=True)
        self._link.symlink_to(os.ttyname(self._slave))
        asyncio.get_running_loop().add_reader(self._master, self._on_readable)
        self._forget_owner(self._master)

    def unplug(self) -> None:
        """Hang up, and take the name away."""
        if self._master is None:
            return
        asyncio.get_running_loop().remove_reader(self._master)
        self._link.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)
        self._master = None

    def send(self, piece: bytes) -> None:
        """Say it, if the line is there; where nobody reads and the line is full it is lost, as on a real one."""
        if self._master is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, piece)

    def send_later(self, delay_s: float, piece: bytes) -> None:
        """Say it after ``delay_s``, unless this line has been pulled by then."""
        asyncio.get_running_loop().call_later(delay_s, self._send_if, self._master, piece)

    def _send_if(self, master: int | None, piece: bytes) -> None:
        if master == self._master:
            self.send(piece)

    def _forget_owner(self, master: int) -> None:
        """A real line forgets its exclusive owner at the last close, even a killed one; ours is never closed."""
        if master != self._master:
            return
        with contextlib.suppress(OSError):
            fcntl.flock(self._slave, fcntl.LOCK_EX | fcntl.LOCK_NB)  # owners hold this lock: nobody has it
            fcntl.ioctl(self._slave, termios.TIOCNXCL)
            fcntl.flock(self._slave, fcntl.LOCK_UN)
        asyncio.get_running_loop().call_later(FORGET_EVERY_S, self._forget_owner, master)

    def _on_readable(self) -> None:
        assert self._master is not None
        with contextlib.suppress(OSError):
            self._heard(os.read(self._master, 512))


async def obey(take: Callable[[dict[str, Any]], None]) -> None:
    """Hand each JSON line of stdin to ``take`` and answer ``done``, until stdin ends."""
    while text := await asyncio.to_thread(sys.stdin.readline):
        take(json.loads(text))
        print("done", flush=True)
