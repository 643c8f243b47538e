"""Every device of the lane unplugged and plugged again, all at once: back each time, and nothing piles up."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.reading import ClockQuality, Reading
from edge import supervisor
from edge.drivers import find
from edge.quarantine import Quarantine
from edge.supervisor import Supervised
from hil.rig import Emulator, emulators

UNPLUGS = int(os.environ.get("UNPLUGS", "2"))  # `make unplug` takes fifty
QUICK = {"silence_s": 1.5}  # a busy machine is no unplugged device
UNPLUG, PLUG = {"do": "unplug"}, {"do": "plug"}


def udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Wire:
    """A device: its emulator, its table in the lane's file, and the orders that unplug it and plug it again."""

    driver: str
    emulator: tuple[str, ...]
    table: dict[str, Any]
    place: str = "port"  # of the table: where the emulator's own place goes
    form: str = "{}"
    unplug: tuple[dict[str, Any], ...] = (UNPLUG,)  # taken in turn, as are those that plug it
    plug: tuple[dict[str, Any], ...] = (PLUG,)


def wires(folder: Path) -> dict[str, Wire]:
    shake = f"127.0.0.1:{udp_port()}"
    return {
        "vaisala": Wire("co2.vaisala_gmp25x", ("gmp25x", "--link", f"{folder}/a"), {"poll_s": 0.1, **QUICK}),
        "senseair": Wire("co2.senseair", ("senseair", "--link", f"{folder}/b"), {"poll_s": 0.1, **QUICK}),
        "scd30": Wire("co2.scd30", ("scd30", "--link", f"{folder}/c"), {"poll_s": 0.1, "silence_s": 3.0}),
        "mast": Wire("weather.nmea_mwv", ("wind", "--link", f"{folder}/d", "--every", "0.1"), QUICK),
        "anyshake": Wire(
            "vibration.anyshake_serial", ("anyshake_serial", "--link", f"{folder}/e"),
            {"channels": [{"number": 1, "sensor": "B2"}], **QUICK},
        ),
        "chassis": Wire(
            "vibration.seedlink", ("seedlink_server", "--sensors", "B1"),
            {"streams": ["XX_L3:B1"], "connect_s": 1.0, **QUICK},
            "address", "127.0.0.1:{}", ({"do": "drop"}, {"do": "stall"}), ({"do": "resume"},),
        ),
        "gate": Wire(
            "presence.modbus_io", ("modbus_io",), {"reconnect_max_s": 0.1, **QUICK}, "address", "127.0.0.1:{}"
        ),
        "ground": Wire(
            "vibration.raspberryshake_udp", ("raspberryshake_udp", "--to", shake),
            {"listen": shake, "peer": "127.0.0.1", "channels": {"EHZ": "G1"}, **QUICK}, "",
        ),
    }  # fmt: skip


class Log(logging.Handler):
    """Counts what the supervisor says of each device, and wakes who waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.said: Counter[tuple[str, str]] = Counter()
        self._news = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        device, _, rest = record.getMessage().partition(": ")
        self.said[device, rest.partition(":")[0]] += 1
        self._news.set()

    async def until(self, device: str, word: str, times: int) -> None:
        async with asyncio.timeout(90):
            while self.said[device, word] < times:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def a_lane(rig: dict[str, Emulator], wired: dict[str, Wire], folder: Path) -> AsyncIterator[None]:
    """All devices supervised, their queue emptied, and the digitiser fed."""
    queue: asyncio.Queue[Reading] = asyncio.Queue(100)

    async def take() -> None:
        while True:
            await queue.get()

    async def feed() -> None:
        while True:
            await rig["chassis"].tell({"sensor": "B1", "start_utc_ns": str(time.time_ns()), "counts": [1, 2] * 12})
            await asyncio.sleep(0.1)

    tasks = [asyncio.create_task(take()), asyncio.create_task(feed())]
    for name, wire in wired.items():
        driver = find(wire.driver)
        place = {wire.place: wire.form.format(rig[name].place)} if wire.place else {}
        config = driver.Config.model_validate({"driver": wire.driver, **wire.table, **place})
        device = Supervised(
            name,
            driver,
            config,
            queue,
            Quarantine(folder / "quarantine"),
            now_utc_ns=time.time_ns,
            monotonic_ns=time.monotonic_ns,
            clock=lambda: ClockQuality(False, None),
            notes={},
        )
        tasks.append(asyncio.create_task(device.run()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def owned() -> tuple[int, int]:
    """Descriptors and tasks of this process."""
    return len(descriptors()), len(asyncio.all_tasks())


def descriptors() -> list[str]:
    """What each descriptor leads to."""
    found = []
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of the listing itself
            found.append(str(link.readlink()))
    return found


async def settled(wanted: tuple[int, int]) -> tuple[int, int]:
    """What is owned, as soon as it is no more than ``wanted``, or after a while."""
    for _ in range(100):
        if all(have <= want for have, want in zip(owned(), wanted, strict=True)):
            break
        await asyncio.sleep(0.05)
    return owned()


def test_every_device_comes_back_each_time_with_one_line_lost_and_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "lanepulse.device")  # also of a logger that was asked before, and remembers
    monkeypatch.setattr(supervisor, "BACKOFF_FIRST_S", 0.02)
    monkeypatch.setattr(supervisor, "BACKOFF_LAST_S", 0.05)
    wired = wires(tmp_path)

    async def pull(rig: dict[str, Emulator], log: Log, name: str, first: int, times: int) -> None:
        wire = wired[name]
        for number in range(first, first + times):
            await rig[name].tell(wire.unplug[number % len(wire.unplug)])
            await log.until(name, "lost", number)
            await rig[name].tell(wire.plug[number % len(wire.plug)])
            await log.until(name, "back", number + 1)

    async def scenario() -> tuple[Counter[tuple[str, str]], tuple[int, int], tuple[int, int]]:
        log, logger = Log(), logging.getLogger("lanepulse.device")
        logger.addHandler(log)
        wanted = {name: wire.emulator for name, wire in wired.items()}
        async with emulators(**wanted) as rig, a_lane(rig, wired, tmp_path):
            await asyncio.gather(*(log.until(name, "back", 1) for name in wired))
            await asyncio.gather(*(pull(rig, log, name, 1, 1) for name in wired))
            before = await settled(owned())
            await asyncio.gather(*(pull(rig, log, name, 2, UNPLUGS) for name in wired))
            after = await settled(before)
        logger.removeHandler(log)
        return log.said, before, after

    said, before, after = asyncio.run(asyncio.wait_for(scenario(), 60 + 20 * UNPLUGS))
    assert said == {(name, word): 1 + UNPLUGS + (word == "back") for name in wired for word in ("lost", "back")}
    assert after[0] <= before[0], descriptors()
    assert after[1] <= before[1], "tasks"
