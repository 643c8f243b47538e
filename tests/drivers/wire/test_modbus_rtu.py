"""The RTU master against a device that misbehaves by plan, as a process of its own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from drivers.driver import DriverFault, Refused
from drivers.wire.modbus import RtuMaster
from drivers.wire.serial_port import SerialPort


@asynccontextmanager
async def faulty_line(case: Path, link: Path) -> AsyncIterator[RtuMaster]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(case / "fault_device.py"),
        str(case / "plan.json"),
        str(link),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"port")
        async with SerialPort(str(link), 19200) as port:
            yield RtuMaster(port, reply_s=0.4, longest_reply_s=0.5)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def outcomes(master: RtuMaster, times: int) -> list[object]:
    result: list[object] = []
    for n in range(times):
        count = 2 + 2 * (n % 3)
        try:
            result.append(set(await master.read_registers(1, 0, count)))
        except (DriverFault, TimeoutError) as fault:
            result.append(fault)
    return result


def test_a_foreign_units_frame_is_dropped_and_named(cases: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with faulty_line(cases / "02-modbus-reply-from-other-unit", tmp_path / "line") as master:
            got = await outcomes(master, 6)
            assert [g for i, g in enumerate(got) if i != 4] == [{500}] * 5
            assert isinstance(got[4], TimeoutError)
            assert "unit 9 spoke" in str(got[4])
            assert master.counts["foreign frames"] == 3

    asyncio.run(run())


def test_split_noisy_and_doubled_replies_are_right_and_damaged_ones_three_faults(cases: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with faulty_line(cases / "04-modbus-split-joined-noise", tmp_path / "line") as master:
            got = await outcomes(master, 13)
            bad = {7: "CRC", 9: "cut after", 11: "registers came"}
            for i, outcome in enumerate(got):
                if i in bad:
                    assert isinstance(outcome, DriverFault), (i, outcome)
                    assert bad[i] in str(outcome)
                    assert outcome.raw
                else:
                    assert outcome == {612}, i

    asyncio.run(run())


def test_exceptions_are_retried_refused_or_named_at_once(cases: Path, tmp_path: Path) -> None:
    async def run() -> None:
        async with faulty_line(cases / "05-modbus-exceptions", tmp_path / "line") as master:
            got = await outcomes(master, 6)
            assert got[0] == got[1] == {700}  # requests 2 and 3 were busy, 4 answered
            assert isinstance(got[2], Refused)
            assert "0x0000" in str(got[2])
            assert got[3] == got[5] == {700}
            assert "gateway answered" in str(got[4])
            assert master.counts["busy"] == 2
            with pytest.raises(DriverFault, match="0x55"):
                await master.read_registers(1, 0, 2)

    asyncio.run(run())


def test_an_unplugged_line_is_a_connection_error_and_comes_back_by_name(cases: Path, tmp_path: Path) -> None:
    async def run() -> None:
        case, link = cases / "12-serial-unplugged", tmp_path / "line"
        for _ in range(2):
            async with faulty_line(case, link) as master:
                assert await outcomes(master, 4) == [{455}] * 4
                with pytest.raises(ConnectionError, match="unplugged"):
                    await master.read_registers(1, 0, 2)

    asyncio.run(run())
