from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from drivers.driver import DriverFault, Expected, Identity
from drivers.reading import ClockQuality, Modality, PresenceChange, Reading, Stamp
from edge import supervisor
from edge.quarantine import MAX_FILES, Quarantine
from edge.supervisor import Supervised

CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)
READING = PresenceChange("gate", Stamp(0, 0, 0, CLOCK), present=True)


def supervised(readings: object, queue: asyncio.Queue[Reading], folder: Path, name: str = "gate") -> Supervised:
    async def probe(*_: object) -> Identity:
        return Identity(model="rig")

    driver = SimpleNamespace(
        MODALITY=Modality.PRESENCE, expected=lambda _: (Expected("", 1.0, 5.0),), probe=probe, readings=readings
    )
    return Supervised(
        name,
        driver,  # type: ignore[arg-type]
        None,
        queue,
        Quarantine(folder),
        now_utc_ns=lambda: 0,
        monotonic_ns=lambda: round(asyncio.get_running_loop().time() * 1e9),
        clock=lambda: CLOCK,
        notes={},
    )


@pytest.fixture(autouse=True)
def _quick_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_FIRST_S", 0.001)
    monkeypatch.setattr(supervisor, "BACKOFF_LAST_S", 0.002)


def test_a_failed_driver_is_started_again_and_says_so_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    failures = iter([DriverFault("garbage on the wire", b"\x00\xff"), ConnectionError("port closed")])

    async def readings(*_: object) -> AsyncIterator[Reading]:
        yield READING
        if (failure := next(failures, None)) is not None:
            raise failure
        await asyncio.Event().wait()

    async def scenario() -> supervisor.DeviceHealth:
        queue: asyncio.Queue[Reading] = asyncio.Queue(10)
        device = supervised(readings, queue, tmp_path)
        task = asyncio.create_task(device.run())
        for _ in range(3):
            await queue.get()
        health = device.health()
        task.cancel()
        return health

    with caplog.at_level(logging.INFO, "lanepulse.device"):
        health = asyncio.run(scenario())
    assert (health.there, health.believes_itself, health.cause, health.restarts) == (True, True, None, 2)
    assert [record.message.split(": ", 1)[1].split(":")[0] for record in caplog.records] == [
        "back", "lost", "back", "lost", "back",
    ]  # fmt: skip
    assert (tmp_path / "gate" / "00000001.bin").read_bytes() == b"\x00\xff"


def test_a_dead_device_delays_no_other(tmp_path: Path) -> None:
    async def dead(*_: object) -> AsyncIterator[Reading]:
        raise ConnectionError("no such port")
        yield READING

    async def alive(*_: object) -> AsyncIterator[Reading]:
        while True:
            yield READING
            await asyncio.sleep(0)

    async def scenario() -> tuple[supervisor.DeviceHealth, supervisor.DeviceHealth]:
        queue: asyncio.Queue[Reading] = asyncio.Queue(1)
        bad, good = supervised(dead, queue, tmp_path, "bad"), supervised(alive, queue, tmp_path, "good")
        tasks = [asyncio.create_task(bad.run()), asyncio.create_task(good.run())]
        for _ in range(50):
            await queue.get()
        answers = bad.health(), good.health()
        for task in tasks:
            task.cancel()
        return answers

    bad, good = asyncio.run(scenario())
    assert not bad.there
    assert bad.cause == "ConnectionError: no such port"
    assert good.there


def test_quarantine_is_bounded_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(2):
        quarantine = Quarantine(tmp_path)
        for _ in range(MAX_FILES):
            quarantine.keep("probe", "wrong CRC", b"x")
    assert len(list((tmp_path / "probe").iterdir())) == MAX_FILES
    assert quarantine.counts("probe") == {"wrong CRC": MAX_FILES}
