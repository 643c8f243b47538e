"""The presence driver against a remote I/O module that is a process of its own."""

from __future__ import annotations

import asyncio
import sys

from drivers.driver import Surroundings
from drivers.presence import modbus_io
from drivers.reading import ClockQuality, ContactState


def surroundings() -> Surroundings:
    return Surroundings(
        lambda: 1, lambda: 1, lambda: ClockQuality(True, 1), lambda *_: None, lambda _: None, lambda *_: None
    )


def test_a_vehicle_comes_and_disagreeing_inputs_and_the_lamp_are_reported() -> None:
    async def run() -> None:
        device = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hil.devices.modbus_io", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert device.stdin is not None
        assert device.stdout is not None
        try:
            port = int((await device.stdout.readline()).split()[1])
            config = modbus_io.Config(
                driver="presence.modbus_io", address=f"127.0.0.1:{port}", contact_inputs={ContactState.GREEN: 4}
            )
            changes = modbus_io.readings("lane-io", config, surroundings())
            assert not (await anext(changes)).present  # type: ignore[union-attr]
            device.stdin.write(b'{"inputs": {"0": true, "1": true}}\n')
            both = await anext(changes)
            assert (both.present, both.status) == (True, "ok")  # type: ignore[union-attr]
            device.stdin.write(b'{"inputs": {"1": false}}\n')
            assert "disagree" in (await anext(changes)).status
            device.stdin.write(b'{"inputs": {"4": true}}\n')
            assert (await anext(changes)).state is ContactState.GREEN  # type: ignore[union-attr]
            await changes.aclose()  # type: ignore[attr-defined]
        finally:
            device.kill()
            await device.communicate()

    asyncio.run(run())


def test_a_chattering_input_is_not_a_change() -> None:
    settled = modbus_io.Debounced(0.2)
    assert settled.see(False, 0.0)
    assert not any(settled.see(step % 2 == 0, step * 0.05) for step in range(1, 20))
