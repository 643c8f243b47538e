"""The presence driver against remote I/O modules: ours as a process, and pymodbus' own server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest
from pydantic import ValidationError
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from drivers.driver import Refused, Surroundings
from drivers.presence import modbus_io
from drivers.reading import Button, ButtonPress, ClockQuality, ContactChange, ContactState, PresenceChange


def surroundings() -> Surroundings:
    return Surroundings(
        lambda: 1, lambda: 1, lambda: ClockQuality(True, 1), lambda *_: None, lambda _: None, lambda *_: None
    )


def configured(port: int, **others: Any) -> modbus_io.Config:
    return modbus_io.Config(driver="presence.modbus_io", address=f"127.0.0.1:{port}", **others)


class Module:
    """Our emulator, as a process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    async def set(self, **order: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        assert await self.process.stdout.readline() == b"done\n"


@asynccontextmanager
async def module(port: int = 0) -> AsyncIterator[Module]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *f"-m hil.devices.modbus_io --listen 127.0.0.1:{port}".split(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield Module(process, int((await process.stdout.readline()).split()[1]))
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def test_a_vehicle_comes_and_disagreeing_inputs_and_the_lamp_are_reported() -> None:
    async def run() -> None:
        async with module() as device:
            config = configured(device.port, contact_inputs={"green": 4, "red": 6})
            async with aclosing(modbus_io.readings("lane-io", config, surroundings())) as changes:
                first = await anext(changes)
                assert isinstance(first, PresenceChange)
                assert not first.present
                await device.set(inputs={"0": True, "1": True})
                both = await anext(changes)
                assert isinstance(both, PresenceChange)
                assert (both.present, both.status) == (True, "ok")
                await device.set(inputs={"1": False})
                one = await anext(changes)
                assert isinstance(one, PresenceChange)
                assert (one.present, one.status) == (True, "inputs disagree: 0 on, 1 off")
                await device.set(inputs={"4": True})
                lamp = await anext(changes)
                assert isinstance(lamp, ContactChange)
                assert (lamp.state, lamp.status) == (ContactState.GREEN, "ok")

    asyncio.run(run())


def test_a_push_button_counts_once_when_it_goes_down_alone() -> None:
    async def run() -> None:
        async with module() as device:
            config = configured(device.port, button_inputs={"nobody": 8, "found": 9, "undo": 10}, debounce_s=0.0)
            await device.set(inputs={"10": True})  # stuck before the lane began
            async with aclosing(modbus_io.readings("lane_io", config, surroundings())) as changes:
                assert isinstance(await anext(changes), PresenceChange)
                await device.set(inputs={"10": False})
                await device.set(inputs={"0": True, "1": True})  # the poll that sees it has seen the button go up
                assert isinstance(await anext(changes), PresenceChange)
                await device.set(inputs={"9": True})
                press = await anext(changes)
                assert isinstance(press, ButtonPress)
                assert (press.button, press.device) == (Button.FOUND, "lane_io")
                await device.set(inputs={"9": False})
                await device.set(inputs={"0": False, "1": False})
                assert isinstance(await anext(changes), PresenceChange)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("before", "down", "button"),
    [
        (None, {"found"}, None),
        (set(), {"found"}, Button.FOUND),
        (set(), {"found", "nobody"}, None),
        ({"found", "nobody"}, {"nobody"}, None),
        ({"found"}, set(), None),
    ],
)
def test_two_buttons_at_once_and_a_stuck_one_mean_nothing(
    before: set[str] | None, down: set[str], button: Button | None
) -> None:
    was = None if before is None else frozenset(map(Button, before))
    assert modbus_io.pressed(was, frozenset(map(Button, down))) is button


def test_a_chattering_input_is_not_a_change() -> None:
    settled = modbus_io.Debounced[bool](0.2)
    assert settled.see(False, 0.0)
    assert not any(settled.see(step % 2 == 0, step * 0.05) for step in range(1, 20))
    assert not settled.see(True, 1.0)
    assert settled.see(True, 1.25)


def test_two_lamps_at_once_are_the_graver_one_and_are_said() -> None:
    lit = (ContactState.RED, ContactState.GREEN)
    assert modbus_io.lamp(lit, None) == (ContactState.RED, "several lamps are lit: green, red")
    assert modbus_io.lamp((), ContactState.GREEN) == (ContactState.GREEN, "no lamp is lit")
    assert modbus_io.lamp((), None)[0] is None


def test_a_link_lost_for_a_moment_is_ridden_out_and_a_longer_loss_is_an_error() -> None:
    async def run() -> None:
        async with module() as device:
            config = configured(device.port, silence_s=4.0, reconnect_max_s=0.1)
            async with aclosing(modbus_io.readings("lane-io", config, surroundings())) as changes:
                await anext(changes)
                device.process.kill()
                await device.process.wait()
                async with module(device.port) as again:
                    await again.set(inputs={"0": True, "1": True})
                    back = await anext(changes)
                    assert isinstance(back, PresenceChange)
                    assert back.present

            config = configured(device.port, silence_s=0.3)
            with pytest.raises(ConnectionError, match="nobody listens"):
                await modbus_io.probe("lane-io", config, surroundings())

    asyncio.run(run())


def test_a_half_open_link_is_silence_after_the_configured_time() -> None:
    async def run() -> None:
        async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while await reader.read(100):
                pass
            writer.close()

        server = await asyncio.start_server(swallow, "127.0.0.1", 0)
        async with server:
            config = configured(server.sockets[0].getsockname()[1], silence_s=0.4)
            async with aclosing(modbus_io.readings("lane-io", config, surroundings())) as changes:
                with pytest.raises((TimeoutError, ConnectionError), match="unit 1"):
                    await anext(changes)

    asyncio.run(run())


def test_pymodbus_server_is_read_as_well_and_a_missing_input_is_refused() -> None:
    async def run() -> None:
        blocks = [SimData(0, values=[True, True] + [False] * 14, datatype=DataType.BITS)]
        empty = [SimData(0, values=[0], datatype=DataType.REGISTERS)]
        coils = [SimData(0, values=[False] * 16, datatype=DataType.BITS)]
        server = ModbusTcpServer(SimDevice(1, simdata=(coils, blocks, empty, empty)), address=("127.0.0.1", 0))
        await server.serve_forever(background=True)
        try:
            assert server.transport is not None
            port = server.transport.sockets[0].getsockname()[1]
            async with aclosing(modbus_io.readings("lane-io", configured(port), surroundings())) as changes:
                first = await anext(changes)
                assert isinstance(first, PresenceChange)
                assert (first.present, first.status) == (True, "ok")
            with pytest.raises(Refused, match="exception 2"):
                await modbus_io.probe("lane-io", configured(port, presence_inputs=(0, 400)), surroundings())
        finally:
            await server.shutdown()

    asyncio.run(run())


def test_one_input_named_twice_is_refused_by_the_configuration() -> None:
    with pytest.raises(ValidationError, match="named twice"):
        configured(502, contact_inputs={"green": 1})
