"""The command line as a person uses it, for tests of calibrations with emulated devices."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest


class Talk:
    """The command line as a person uses it: prompts are answered when the emulator has been told what to do."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def prompt(self, word: str, until: bytes = b"Enter when ready") -> None:
        assert self._process.stderr is not None
        said = b""
        async with asyncio.timeout(30):
            while until not in said:
                piece = await self._process.stderr.read(4096)
                assert piece, said.decode()
                said += piece
        assert word in said.decode(), said.decode()

    async def enter(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        await self._process.stdin.drain()

    async def end(self) -> tuple[int, str]:
        async with asyncio.timeout(60):
            out, err = await self._process.communicate()
        code = self._process.returncode
        assert code is not None
        return code, out.decode() + err.decode()


async def _talk(root: Path, *words: str) -> Talk:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "edge.cli.main", *words, "--root", str(root)]
    return Talk(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe))


def _lanepulse(root: Path, *words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "edge.cli.main", *words, "--root", str(root), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return done.returncode, json.loads(done.stdout) if done.stdout.strip() else {"stderr": done.stderr}


@contextmanager
def _rows(root: Path) -> Iterator[list[dict[str, Any]]]:
    with sqlite3.connect(root / "state" / "journal.db") as db:
        found = db.execute("SELECT body FROM rows WHERE kind = 'calibration' ORDER BY sequence").fetchall()
    yield [json.loads(body) for (body,) in found]


@pytest.fixture
def talk() -> Callable[..., Awaitable[Talk]]:
    """``await talk(root, *words)``: a command that asks, and is answered step by step."""
    return _talk


@pytest.fixture
def lanepulse() -> Callable[..., tuple[int, dict[str, Any]]]:
    """``lanepulse(root, *words)``: exit code and JSON."""
    return _lanepulse


@pytest.fixture
def rows() -> Callable[[Path], AbstractContextManager[list[dict[str, Any]]]]:
    """``with rows(root) as found``: the journal's calibration rows."""
    return _rows
