"""RELIABILITY 7: descriptors run out at a low limit, with a thousand silent connections; the lane goes on recording."""

from __future__ import annotations

import asyncio
import contextlib
import json
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import keys
from edge.journal.journal import Journal
from edge.places import Places
from edge.publish.door import Doors
from edge.publish.publisher import PublishFault
from hil.demo import start_daemon, stop_daemon

PASSAGE = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"
LOW = 128  # a lane without devices has about thirty


class Noted:
    """A door that says what was done to it."""

    def __init__(self, name: str, said: list[str], refuses: int = 0) -> None:
        self._name, self._said, self._refuses = name, said, refuses

    def shut(self) -> None:
        self._said.append(f"{self._name} shut")

    def open_again(self) -> None:
        if self._refuses:
            self._refuses -= 1
            raise PublishFault("address in use")
        self._said.append(f"{self._name} open")


def test_doors_close_at_half_and_open_well_below() -> None:
    said: list[str] = []
    doors = Doors([Noted("verdicts", said), Noted("replay", said)])
    for used in (10, 64, 65, 60, 49, 48, 47, 64):
        doors.look(used, 128)
    assert said == ["verdicts shut", "replay shut", "replay open", "verdicts open"]


def test_a_door_that_cannot_open_yet_is_tried_again_and_the_other_is_not_opened_twice() -> None:
    said: list[str] = []
    doors = Doors([Noted("verdicts", said, refuses=2), Noted("replay", said)])
    doors.look(None, 128)
    for _ in range(3):
        doors.look(10, 128)
    assert said == ["verdicts shut", "replay shut", "replay open", "verdicts open"] and not doors.shut


@contextlib.contextmanager
def limit(soft: int) -> Iterator[None]:
    """What a child inherits."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def asked(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge.cli.main", *arguments, "--root", str(root)]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)


async def flooded(root: Path) -> None:
    with limit(LOW):
        daemon = await start_daemon(root)
    held: list[socket.socket] = []
    try:
        status = json.loads((await asked(root, "status", "--json")).stdout)
        ports = [int(status["endpoints"][name].rpartition(":")[2]) for name in ("verdicts", "replay")]
        for number in range(1000):
            silent = socket.socket()
            silent.setblocking(False)
            silent.connect_ex(("127.0.0.1", ports[number % 2]))
            held.append(silent)
        plates = ["plates", "set", PASSAGE, "--tractor", "AB1", "--trailer", "none"]
        answer = await asked(root, *plates)
        assert answer.returncode == 0, answer.stderr
        assert "nobody new is let in" in (root / "daemon.log").read_text()
        for silent in held:
            silent.close()
        async with asyncio.timeout(60):
            while "open again" not in (root / "daemon.log").read_text():  # noqa: ASYNC110 - a file tells nobody
                await asyncio.sleep(0.1)
        with socket.create_connection(("127.0.0.1", ports[0]), timeout=20) as one:
            assert one.recv(10)[:1] == b"\xff"  # ZMTP 3.1: a greeting; somebody listens
    finally:
        for silent in held:
            silent.close()
        await stop_daemon(daemon)
    assert daemon.returncode == 0


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_NOFILE)[0] < 1200, reason="this shell may not open 1,200 files")
def test_a_thousand_silent_connections_do_not_keep_the_lane_from_recording(tmp_path: Path) -> None:
    places = Places.under(tmp_path)
    places.make()
    keys.new_signing(places.signing)
    for name in ("curve", "viewer"):
        keys.new_curve(getattr(places, name))
    text = '[lane]\nsite = "calais"\nname = "3"\n[publish]\nbind = "tcp://127.0.0.1:0"\nreplay = "tcp://127.0.0.1:0"\n'
    (tmp_path / "lane.toml").write_text(text)
    with Journal.open(places.journal, None) as journal:
        journal.append("passage.opened", PASSAGE, {"began_utc": "2026-03-01T10:15:02Z"})
    asyncio.run(flooded(tmp_path))
    with Journal.open(places.journal, None) as journal:
        assert journal.of_passage(PASSAGE, "plates")
