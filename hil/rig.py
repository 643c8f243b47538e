"""Emulated devices as processes of their own: started, told what to do by JSON lines, and all ended with the rig."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Mapping
from typing import Any

READY_S = 20.0  # a Python start on a busy machine
END_S = 5.0


class RigFault(Exception):
    """One line: which emulator did not start, or ended by itself."""


class Emulator:
    """One device process; ``place`` is where it is reached, by its own first line ("port PATH", "listening PORT")."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, place: str) -> None:
        self.name, self.place = name, place
        self._process = process
        self._answers = asyncio.create_task(self._drain())

    @classmethod
    async def start(cls, module: str, *arguments: str) -> Emulator:
        """Run ``python -m hil.devices.<module>`` and wait for its first line. Raises RigFault."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"hil.devices.{module}",
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(READY_S):
                line = (await process.stdout.readline()).decode().split(maxsplit=1)
        except TimeoutError:
            process.kill()
            raise RigFault(f"{module}: no first line within {READY_S:g} s") from None
        if len(line) != 2:
            raise RigFault(f"{module}: ended before it was ready, exit {await process.wait()}")
        return cls(module, process, line[1].strip())

    async def tell(self, command: Mapping[str, Any]) -> None:
        """Send one command. Raises RigFault where the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            raise RigFault(f"{self.name}: ended by itself, exit {self._process.returncode}") from None

    async def end(self) -> None:
        """End the process, by force where it does not listen; leaves nothing running."""
        self._answers.cancel()
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(END_S):
                    await self._process.wait()
            except TimeoutError:
                self._process.kill()
                await self._process.wait()

    async def _drain(self) -> None:
        """Answers are read, so that the pipe never fills."""
        assert self._process.stdout is not None
        while await self._process.stdout.readline():
            pass


@contextlib.asynccontextmanager
async def emulators(**wanted: tuple[str, ...]) -> AsyncIterator[dict[str, Emulator]]:
    """Start several, by name -> (module, arguments…), and end them all on leaving."""
    running: dict[str, Emulator] = {}
    try:
        for name, (module, *arguments) in wanted.items():
            running[name] = await Emulator.start(module, *arguments)
        yield running
    finally:
        await asyncio.gather(*(emulator.end() for emulator in running.values()))
