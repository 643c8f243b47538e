from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.driver import Expected, Identity
from drivers.reading import ClockQuality, Modality, PresenceChange, Reading, Stamp
from edge import supervisor
from edge.control import Handler, Peer, serve
from edge.lease import DeviceLock, LeaseFault, leased, lock_of
from edge.places import Places
from edge.quarantine import Quarantine
from edge.supervisor import Supervised

READING = PresenceChange("gate", Stamp(0, 0, 0, ClockQuality(True, 1_000)), present=True)
HOLDER = """
import sys
from pathlib import Path
from edge.lease import leased
from edge.places import Places
with leased(Places.under(Path(sys.argv[1])), "gate"):
    print("held", flush=True)
    sys.stdin.read()
"""


class Gate:
    """A device whose line has one owner: ``opened`` counts who has it open now."""

    def __init__(self) -> None:
        self.opened = self.most_opened = 0

    async def readings(self, *_: object) -> AsyncIterator[Reading]:
        self.opened += 1
        self.most_opened = max(self.opened, self.most_opened)
        try:
            while True:
                yield READING
                await asyncio.sleep(0.001)
        finally:
            self.opened -= 1


@contextlib.asynccontextmanager
async def a_lane(root: Path, gate: Gate) -> AsyncIterator[Supervised]:
    """One supervised device, its queue always emptied, and the control socket's part in it."""
    places = Places.under(root)
    places.make()

    async def probe(*_: object) -> Identity:
        return Identity(model="rig")

    driver: Any = SimpleNamespace(
        MODALITY=Modality.PRESENCE, expected=lambda _: (Expected("", 1.0, 5.0),), probe=probe, readings=gate.readings
    )
    queue: asyncio.Queue[Reading] = asyncio.Queue(10)
    device = Supervised(
        "gate",
        driver,
        None,
        queue,
        Quarantine(places.quarantine),
        now_utc_ns=lambda: 0,
        monotonic_ns=lambda: round(asyncio.get_running_loop().time() * 1e9),
        clock=lambda: ClockQuality(True, 1_000),
        notes={},
        lock=lock_of(places, "gate"),
    )

    async def lease(request: Mapping[str, Any], peer: Peer) -> Any:
        await device.lend()

    async def take() -> None:
        while True:
            await queue.get()

    handlers: dict[str, Handler] = {"lease": lease}
    async with serve(places.control_socket, handlers):
        tasks = [asyncio.create_task(device.run()), asyncio.create_task(take())]
        try:
            yield device
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def state(device: Supervised, wanted: str) -> None:
    async with asyncio.timeout(20):
        while device.health().state != wanted:  # noqa: ASYNC110 - health is a question, not an event
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def a_holder(root: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    holder = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, str(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    try:
        assert await holder.stdout.readline() == b"held\n"
        yield holder
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.wait()


def test_a_lent_device_is_absent_in_maintenance_and_comes_back_when_its_holder_is_killed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate = Gate()

    async def scenario() -> None:
        async with a_lane(tmp_path, gate) as device:
            for _ in range(2):
                await state(device, "ok")
                async with a_holder(tmp_path) as holder:
                    assert gate.opened == 0
                    assert device.health().state == "absent: in maintenance"
                    await asyncio.sleep(3 * supervisor.LEASE_POLL_S)  # the lane looks again, and does not take it
                    assert (gate.opened, device.health().state) == (0, "absent: in maintenance")
                    holder.kill()
                    await holder.wait()
                await state(device, "ok")

    with caplog.at_level(logging.INFO, "lanepulse.device"):
        asyncio.run(scenario())
    said = [record.message for record in caplog.records]
    assert said == ["gate: back", *(["gate: lost: in maintenance", "gate: back"] * 2)]
    assert gate.most_opened == 1


def test_a_lease_that_is_not_taken_up_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LEASE_GRACE_S", 0.3)

    async def scenario() -> None:
        async with a_lane(tmp_path, Gate()) as device:
            await state(device, "ok")
            await device.lend()
            assert device.health().state == "absent: in maintenance"
            with pytest.raises(ValueError, match="in maintenance already"):
                await device.lend()
            await state(device, "ok")

    asyncio.run(scenario())


def test_without_a_lane_the_same_lock_is_taken_and_a_lane_that_starts_waits_for_it(tmp_path: Path) -> None:
    gate = Gate()

    async def scenario() -> None:
        async with a_holder(tmp_path) as holder, a_lane(tmp_path, gate) as device:
            await state(device, "absent: in maintenance")
            assert gate.opened == 0
            holder.kill()
            await holder.wait()
            await state(device, "ok")

    asyncio.run(scenario())


def test_two_holders_of_one_device_are_not_possible_and_the_first_is_named(tmp_path: Path) -> None:
    places = Places.under(tmp_path)
    places.make()
    with leased(places, "gate"):
        other = DeviceLock(places.leases / "gate.lock")
        assert not other.take()
        assert other.holder().startswith(("process ", "another program"))
        with pytest.raises(LeaseFault, match="gate: is held by") as fault, leased(places, "gate", 0.1):
            pass
        assert "no lane is running" in str(fault.value)
    assert other.take()
    other.release()
