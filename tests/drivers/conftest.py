"""Surroundings for a driver under test, and emulated devices as processes of their own."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from drivers.driver import Surroundings
from drivers.reading import ClockQuality


class World:
    """Surroundings of a test, and what was rejected into them; ``tick_ns`` makes both clocks go by themselves."""

    def __init__(self) -> None:
        self.rejected: list[tuple[str, bytes]] = []
        self.tick_ns: int | None = None
        self._ticks = count()

    def _now(self, real: Callable[[], int]) -> int:
        return real() if self.tick_ns is None else 10**18 + next(self._ticks) * self.tick_ns

    def around(self) -> Surroundings:
        return Surroundings(
            lambda: self._now(time.time_ns),
            lambda: self._now(time.monotonic_ns),
            lambda: ClockQuality(True, 1_000_000),
            lambda cause, raw: self.rejected.append((cause, raw)),
            lambda _: None,
            lambda *_: None,
        )


class Device:
    """A process that speaks "port PLACE" first and takes JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process, place: str) -> None:
        self._process, self.place = process, place

    async def order(self, **what: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        assert await self._process.stdout.readline() == b"done\n"


@asynccontextmanager
async def _device(*command: str) -> AsyncIterator[Device]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        word, place = (await process.stdout.readline()).decode().split(maxsplit=1)
        assert word == "port"
        yield Device(process, place.strip())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def _first(wanted: int, driver: Any, config: Any, around: Surroundings) -> list[Any]:
    found: list[Any] = []
    async with aclosing(driver.readings("dev-1", config, around)) as stream:
        async for reading in stream:
            found.append(reading)
            if len(found) == wanted:
                break
    return found


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def device() -> Callable[..., AbstractAsyncContextManager[Device]]:
    """``async with device("-m", "hil.devices.x", ...) as d``."""
    return _device


@pytest.fixture
def emulated(tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Device]]:
    """``async with emulated("x") as d``: an emulator of ``hil/devices`` on a pseudo-terminal."""
    return lambda module, *options: _device("-m", f"hil.devices.{module}", "--link", str(tmp_path / "line"), *options)


@pytest.fixture
def first() -> Callable[..., Any]:
    """``await first(3, driver, config, around)``: that many readings."""
    return _first


@pytest.fixture
def null_modem(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two ends of a serial cable."""
    if not (program := shutil.which("socat")):
        pytest.skip("socat is not installed")
    ends = str(tmp_path / "ours"), str(tmp_path / "theirs")
    cable = subprocess.Popen(
        [program, "-d", "-d", *(f"pty,raw,echo=0,link={end}" for end in ends)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert cable.stderr is not None
        assert any("starting data transfer" in line for line in cable.stderr)
        yield ends
    finally:
        cable.kill()
        cable.communicate()
