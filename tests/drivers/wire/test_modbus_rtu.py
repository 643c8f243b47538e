"""The RTU master against a device that misbehaves by plan, as a process of its own."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import sys
import tty
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import DriverFault, Refused
from drivers.wire.modbus import RtuMaster, _first_frame
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
            yield RtuMaster(port, reply_s=1.5, longest_reply_s=2.0)
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


def with_crc(text: str) -> bytes:
    """Frame from hex without its CRC, which is computed here bit by bit and not by the code under test."""
    frame, value = bytes.fromhex(text), 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return frame + value.to_bytes(2, "little")


class Parrot:
    """A device that hears requests and recites what it was given, one recital a request."""

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.name = os.ttyname(self._slave)
        self.heard: list[bytes] = []
        self._recitals: list[bytes] = []

    def listen(self, *recitals: bytes) -> None:
        self._recitals = list(recitals)
        asyncio.get_running_loop().add_reader(self._master, self._on_request)

    def _on_request(self) -> None:
        self.heard.append(os.read(self._master, 256))
        if self._recitals:
            os.write(self._master, self._recitals.pop(0))

    def say(self, sound: bytes) -> None:
        os.write(self._master, sound)

    def wait_until_said(self) -> None:
        """Until the other end could read it: the kernel hands bytes over in its own time."""
        assert select.select([self._slave], [], [], 5.0)[0]

    def close(self) -> None:
        os.close(self._slave)
        os.close(self._master)


@contextmanager
def parrot() -> Iterator[Parrot]:
    bird = Parrot()
    try:
        yield bird
    finally:
        bird.close()


@asynccontextmanager
async def told(bird: Parrot, *recitals: bytes) -> AsyncIterator[RtuMaster]:
    bird.listen(*recitals)
    async with SerialPort(bird.name, 19200) as port:
        yield RtuMaster(port, reply_s=0.3, longest_reply_s=0.4)


READ_CO2 = bytes.fromhex("F0 03 00 00 00 02 D1 2A")  # manual
CO2_REPLY = bytes.fromhex("F0 03 04 D4 7A 43 E8 33 AB")  # manual
WRITE_PRESSURE = bytes.fromhex("F0 10 02 08 00 02 04 00 00 44 80 DE 36")  # manual


def test_the_manuals_golden_frames_are_what_goes_and_comes() -> None:
    async def run(bird: Parrot) -> None:
        async with told(bird, CO2_REPLY, with_crc("F0 03 0A" + "00" * 10), with_crc("F0 10 02 08 00 02")) as master:
            assert await master.read_registers(240, 0, 2) == (0xD47A, 0x43E8)
            assert await master.read_registers(240, 0x0800, 5) == (0,) * 5
            await master.write_registers(240, 0x0208, (0x0000, 0x4480))
        assert bird.heard == [READ_CO2, bytes.fromhex("F0 03 08 00 00 05 92 88"), WRITE_PRESSURE]

    with parrot() as bird:
        asyncio.run(run(bird))


def test_an_echo_of_our_own_request_is_not_a_reply() -> None:
    async def run(bird: Parrot) -> None:
        written = with_crc("F0 10 02 08 00 02")
        async with told(bird, READ_CO2 + CO2_REPLY, WRITE_PRESSURE + written) as master:
            assert await master.read_registers(240, 0, 2) == (0xD47A, 0x43E8)
            await master.write_registers(240, 0x0208, (0x0000, 0x4480))
            assert master.counts["echo"] == 2

    with parrot() as bird:
        asyncio.run(run(bird))


def test_a_reply_of_another_function_is_never_data() -> None:
    async def run(bird: Parrot) -> None:
        async with told(bird, with_crc("F0 04 04 D4 7A 43 E8"), CO2_REPLY) as master:
            with pytest.raises(DriverFault, match="function 4"):
                await master.read_registers(240, 0, 2)
            assert await master.read_registers(240, 0, 2) == (0xD47A, 0x43E8)

    with parrot() as bird:
        asyncio.run(run(bird))


def test_a_reply_later_than_any_wait_has_the_wrong_length_and_is_no_value() -> None:
    async def run(bird: Parrot) -> None:
        async with told(bird, b"", CO2_REPLY, with_crc("F0 03 04 00 01 00 02")) as master:
            with pytest.raises(TimeoutError, match="no reply"):
                await master.read_registers(240, 0, 2)
            with pytest.raises(DriverFault, match="2 registers came"):  # the old reply, to the new request
                await master.read_registers(240, 0, 4)
            assert await master.read_registers(240, 0, 2) == (1, 2)

    with parrot() as bird:
        asyncio.run(run(bird))


def test_what_came_before_the_request_is_not_its_reply() -> None:
    async def run(bird: Parrot) -> None:
        async with told(bird, with_crc("F0 03 04 00 01 00 02")) as master:
            bird.say(CO2_REPLY)
            bird.wait_until_said()
            assert await master.read_registers(240, 0, 2) == (1, 2)
            assert master.counts["drained bytes"] == len(CO2_REPLY)

    with parrot() as bird:
        asyncio.run(run(bird))


def test_a_damaged_exception_is_a_wrong_crc_and_not_silence() -> None:
    async def run(bird: Parrot) -> None:
        async with told(bird, bytes.fromhex("F0 83 02 00 00")) as master:
            with pytest.raises(DriverFault, match="CRC"):
                await master.read_registers(240, 0, 2)

    with parrot() as bird:
        asyncio.run(run(bird))


def test_a_device_that_stays_busy_is_a_fault_within_the_poll() -> None:
    async def run(bird: Parrot) -> None:
        async with told(bird, *[with_crc("F0 83 06")] * 20) as master:
            with pytest.raises(DriverFault, match="busy"):
                await master.read_registers(240, 0, 2, within_s=0.2)
            assert 2 <= len(bird.heard) <= 5

    with parrot() as bird:
        asyncio.run(run(bird))


def test_endless_noise_ends_with_the_reply_time_and_is_shown() -> None:
    async def run(bird: Parrot) -> None:
        async with told(bird) as master:

            async def hiss() -> None:
                while True:
                    bird.say(b"\x00\xff" * 50)
                    await asyncio.sleep(0.005)

            noise = asyncio.create_task(hiss())
            try:
                async with asyncio.timeout(5):
                    with pytest.raises(TimeoutError, match="noise"):
                        await master.read_registers(240, 0, 2)
            finally:
                noise.cancel()

    with parrot() as bird:
        asyncio.run(run(bird))


@settings(deadline=None)
@given(st.binary(max_size=64).filter(lambda noise: _first_frame(noise + CO2_REPLY[:1]) is None))
def test_a_frame_is_found_behind_any_noise(noise: bytes) -> None:
    found = _first_frame(noise + CO2_REPLY)
    assert found is not None
    assert found[0] <= len(noise)


def test_a_missing_port_is_named_with_what_to_do(tmp_path: Path) -> None:
    async def run() -> None:
        async with SerialPort(str(tmp_path / "absent"), 19200):
            raise AssertionError("opened a port that is not there")

    with pytest.raises(ConnectionError, match=r"absent: cannot open: .*check the adapter"):
        asyncio.run(run())


def test_a_port_that_is_held_cannot_be_opened_twice() -> None:
    async def run(bird: Parrot) -> None:
        async with SerialPort(bird.name, 19200):
            with pytest.raises(ConnectionError, match="who holds it"):
                async with SerialPort(bird.name, 19200):
                    pass
        async with SerialPort(bird.name, 19200):
            pass

    with parrot() as bird:
        asyncio.run(run(bird))


def test_a_flood_is_bounded_and_counted() -> None:
    async def run(bird: Parrot) -> None:
        async with SerialPort(bird.name, 19200) as port:
            for _ in range(3):
                bird.say(bytes(3000))
                await asyncio.sleep(0)
            received = b""
            while port.overflow_bytes + len(received) < 9000:
                received += await port.read(1.0)
            assert len(received) + port.overflow_bytes == 9000

    with parrot() as bird:
        asyncio.run(run(bird))


def test_a_single_register_is_written_and_its_repeated_frame_is_the_answer() -> None:
    async def run(bird: Parrot) -> None:
        interval = bytes.fromhex("61 06 00 25 00 02 10 60")  # SCD30 interface description; its CRC was recomputed
        assert with_crc("61 06 00 25 00 02") == interval
        other = with_crc("61 06 00 25 00 03")
        async with told(bird, interval, interval + interval, with_crc("61 03 02 00 02"), other) as master:
            await master.write_register(0x61, 0x25, 2)
            await master.write_register(0x61, 0x25, 2)  # a line that echoes: the answer comes after the echo
            assert await master.read_registers(0x61, 0x25, 1) == (2,)
            with pytest.raises(DriverFault, match="another register or value"):
                await master.write_register(0x61, 0x25, 2)
        assert bird.heard == [interval, interval, with_crc("61 03 00 25 00 01"), interval]

    with parrot() as bird:
        asyncio.run(run(bird))
