"""A machine without a battery for its clock: the lane works from 1970 on, and all is placed in time afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from edge import keys
from edge.config import load
from edge.journal.journal import Journal
from edge.places import Places
from edge.publish.message import Message
from edge.publish.subscriber import Unreachable, follow
from fusion.bundle.times import parse_utc
from hil.demo import command, free_port
from hil.rig import emulators

LIBRARY = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
NOT_SYNCHRONISED = "00000000,,0,0.0,0.0,0.0,0.0,0.0,0.0,0.0,1.0,1.0,0.0,Not synchronised\n"
SYNCHRONISED = "7F000001,127.0.0.1,2,1768896190.0,-0.000003,0.0,0.0,0.068,0.001,0.281,0.00001,0.000002,64.0,Normal\n"


class Machine:
    """A clock and a time service that the test sets."""

    def __init__(self, folder: Path) -> None:
        self._time, self._chrony = folder / "time", folder / "chrony"
        bin_folder = folder / "bin"
        bin_folder.mkdir()
        (bin_folder / "chronyc").write_text(f"#!/bin/sh\nexec cat {self._chrony}\n")
        (bin_folder / "chronyc").chmod(0o755)
        self.environment = os.environ | {
            "PATH": f"{bin_folder}:{os.environ['PATH']}",
            "LD_PRELOAD": str(LIBRARY),
            "FAKETIME_TIMESTAMP_FILE": str(self._time),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "TZ": "UTC",
        }

    def set(self, time: str, chrony: str) -> None:
        for path, text in ((self._chrony, chrony), (self._time, f"@{time}\n")):
            fresh = path.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(path)


async def until(messages: asyncio.Queue[Message], right: Callable[[Message], bool]) -> dict[str, Any]:
    async with asyncio.timeout(60):
        while True:
            message = await messages.get()
            if right(message):
                return dict(message.body)


def is_final(message: Message) -> bool:
    return message.header.kind == "verdict" and bool(message.body["final"])


def knows_the_time(message: Message) -> bool:
    return message.header.kind == "status" and bool(message.body["clock"]["synchronised"])


async def listen(root: Path, messages: asyncio.Queue[Message]) -> None:
    config, places = load(root / "lane.toml"), Places.under(root)
    server, own = keys.load_curve_public(places.curve.with_suffix(".pub")), keys.load_curve(places.viewer)
    while True:
        with suppress(Unreachable):  # until the daemon is up
            async with aclosing(follow(config.publish.bind, server, own, "calais", "3")) as stream:
                async for message in stream:
                    messages.put_nowait(message)


async def boot(root: Path, machine: Machine) -> list[dict[str, Any]]:
    """Two lorries, and the clock set in between; their final verdicts."""
    machine.set("1970-01-01 00:00:10", NOT_SYNCHRONISED)
    async with emulators(gate=("modbus_io",)) as devices:
        (root / "lane.toml").write_text(
            '[lane]\nsite = "calais"\nname = "3"\n[policy]\nlooks_s = [0.3]\n'
            f'[publish]\nbind = "tcp://127.0.0.1:{free_port()}"\nreplay = "tcp://127.0.0.1:{free_port()}"\n'
            f'[devices.gate]\ndriver = "presence.modbus_io"\naddress = "127.0.0.1:{devices["gate"].place}"\n'
        )
        command(root, "keys", "new")
        words = [sys.executable, "-m", "edge.cli.main", "run", "--root", str(root)]
        daemon = await asyncio.create_subprocess_exec(*words, env=machine.environment)
        messages: asyncio.Queue[Message] = asyncio.Queue()
        listening = asyncio.create_task(listen(root, messages))
        finals = []
        try:
            await until(messages, lambda message: message.header.kind == "status")
            for number in range(2):
                if number == 1:
                    machine.set("2026-01-20 08:03:10", SYNCHRONISED)
                    await until(messages, knows_the_time)
                await devices["gate"].tell({"inputs": {"0": True}})
                finals.append(await until(messages, is_final))
                await devices["gate"].tell({"inputs": {"0": False}})
                await until(messages, lambda m: m.header.kind == "status" and m.body["passage"] is None)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            daemon.send_signal(signal.SIGTERM)
            await daemon.wait()
    return finals


def test_a_lane_that_boots_in_1970_works_says_so_and_is_placed_in_time_afterwards(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    if LIBRARY is None:
        pytest.skip("no libfaketime on this machine (tests/setup/packages.sh)")
    machine = Machine(tmp_path)
    first, second = asyncio.run(boot(tmp_path, machine))
    assert first["issued_utc"].startswith("1970-01-01T00:00") and second["issued_utc"].startswith("2026-01-20T08:0")
    assert "clock.not_set" in [reason["code"] for reason in first["reasons"]]
    assert "clock.not_set" not in [reason["code"] for reason in second["reasons"]]
    assert {first["level"], second["level"]} == {"recheck"}

    (placed,) = json.loads(command(tmp_path, "journal", "clock", "--json"))["passages"]
    assert placed["passage_id"] == first["passage_id"]
    assert placed["true_utc"].startswith("2026-01-20T08:03:")
    assert parse_utc(placed["true_utc"]) < parse_utc(second["issued_utc"])
    assert first["passage_id"] in command(tmp_path, "journal", "clock")

    command(tmp_path, "journal", "verify")
    places = Places.under(tmp_path)
    with Journal.open(places.journal, None) as journal:
        verdicts = [row.passage_id for row in journal.rows(1, 1000, "verdict")]
    assert verdicts.index(first["passage_id"]) < verdicts.index(second["passage_id"])
    assert {path.name for path in places.bundles.iterdir()} == {first["passage_id"], second["passage_id"]}
    command(tmp_path, "replay", "--compare", *map(str, sorted(places.bundles.iterdir())))
