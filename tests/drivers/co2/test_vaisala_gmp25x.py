"""The GMP25x driver: what is a value, what is only a number, and what comes back after a fault."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st
from modbus_tk import defines, modbus_rtu

from drivers.co2 import vaisala_gmp25x as gmp
from drivers.driver import Refused, Surroundings, WrongDevice
from drivers.reading import ClockQuality, GasSample

FINE = gmp.Status(0, 0, 0)
GOLDEN = (0xD47A, 0x43E8)  # manual: 465.66 ppm


class World:
    """Surroundings of a test, and what was rejected into them."""

    def __init__(self) -> None:
        self.rejected: list[tuple[str, bytes]] = []

    def around(self) -> Surroundings:
        return Surroundings(
            time.time_ns,
            time.monotonic_ns,
            lambda: ClockQuality(True, 1),
            lambda cause, raw: self.rejected.append((cause, raw)),
            lambda _: None,
            lambda *_: None,
        )


class Device:
    """A process that speaks "port" first and takes JSON lines."""

    def __init__(self, process: asyncio.subprocess.Process, port: str) -> None:
        self._process, self.port = process, port

    async def order(self, **what: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        assert await self._process.stdout.readline() == b"done\n"


@asynccontextmanager
async def device(link: Path, *command: str) -> AsyncIterator[Device]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert (await process.stdout.readline()).startswith(b"port")
        yield Device(process, str(link))
    finally:
        process.kill()
        await process.communicate()


def emulator(tmp_path: Path) -> Any:
    link = tmp_path / "probe"
    return device(link, "-m", "hil.devices.gmp25x", "--link", str(link))


def configured(port: str, **others: Any) -> gmp.Config:
    return gmp.Config(driver="co2.vaisala_gmp25x", port=port, **{"poll_s": 0.05, **others})


async def first(count: int, config: gmp.Config, world: World) -> list[GasSample]:
    samples: list[GasSample] = []
    async with aclosing(gmp.readings("co2-1", config, world.around())) as stream:
        async for sample in stream:
            samples.append(sample)
            if len(samples) == count:
                break
    return samples


def test_the_manuals_golden_words_are_465_66_ppm() -> None:
    ppm, status = gmp.judge(GOLDEN, FINE, "little")
    assert ppm == pytest.approx(465.66, abs=0.005)
    assert status == "ok"


def test_nan_infinity_and_absurd_numbers_are_faulty_with_the_raw_words(cases: Path) -> None:
    words = json.loads((cases / "09-co2-float-word-order" / "words.json").read_text())
    for name in ("nan", "inf", "off_by_one"):
        high, low = (int(word, 16) for word in words[name]["words"])
        ppm, status = gmp.judge((high, low), FINE, "big")
        assert ppm is None
        assert f"0x{high:04X} 0x{low:04X}" in status


@given(st.tuples(*[st.integers(0, 0xFFFF)] * 2), st.sampled_from(["little", "big"]))
def test_any_two_words_are_a_physical_value_or_a_cause(words: tuple[int, int], word_order: str) -> None:
    ppm, status = gmp.judge(words, FINE, word_order)
    assert (ppm is None) == (status != "ok")
    assert ppm is None or 1 <= ppm <= 1e6


def test_a_status_bit_speaks_before_a_plausible_number() -> None:
    assert gmp.judge(GOLDEN, gmp.Status(0, 2, 0), "little") == (None, "warming up")
    assert gmp.judge(GOLDEN, gmp.Status(0, 256, 0), "little") == (None, "warming up")
    assert gmp.judge(GOLDEN, gmp.Status(2, 0, 0x1000), "little") == (None, "over range")
    assert "probe error" in gmp.judge(GOLDEN, gmp.Status(1, 0, 0), "little")[1]
    assert "does not list" in gmp.judge(GOLDEN, gmp.Status(0, 8, 0), "little")[1]


def test_warm_up_lasts_two_minutes_after_the_start_up_bit_has_cleared() -> None:
    watch, second = gmp.Watch(), 10**9
    assert watch.judge(None, "warming up", (0, 0), 0)[1] == "warming up"
    assert watch.judge(430.0, "ok", (1, 0), 119 * second) == (None, "warming up")
    assert watch.judge(430.0, "ok", (2, 0), 120 * second) == (430.0, "ok")


def test_bits_that_never_move_are_frozen_and_thaw_at_the_first_change() -> None:
    watch, second = gmp.Watch(), 10**9
    statuses = [watch.judge(430.0, "ok", GOLDEN, n * second)[1] for n in range(31)]
    assert statuses[:-1] == ["ok"] * 30
    assert statuses[-1] == "frozen: the same bits 0xD47A 0x43E8 in 31 polls"
    assert watch.judge(430.1, "ok", (1, 0x43E8), 31 * second) == (430.1, "ok")


def test_polling_faster_than_the_cell_measures_is_not_frozen() -> None:
    watch = gmp.Watch()
    assert {watch.judge(430.0, "ok", GOLDEN, n * 10**7)[1] for n in range(200)} == {"ok"}


def test_the_other_word_order_is_offered_but_not_taken(cases: Path, tmp_path: Path) -> None:
    async def run() -> list[GasSample]:
        case, link = cases / "09-co2-float-word-order", tmp_path / "line"
        async with device(link, str(case / "fault_device.py"), str(case / "plan.json"), str(link)) as faulty:
            return await first(2, configured(faulty.port, unit=1), World())

    for sample in asyncio.run(run()):
        assert sample.co2_ppm is None
        assert 'word_order = "big" would give 451.5' in sample.status


def test_damaged_replies_are_failed_samples_and_their_bytes_are_kept(tmp_path: Path) -> None:
    async def run() -> None:
        world = World()
        async with emulator(tmp_path) as probe:
            await probe.order(co2_ppm=612.0)
            await probe.order(do="crc")
            bad, good = await first(2, configured(probe.port), world)
            assert (bad.co2_ppm, good.co2_ppm, good.status) == (None, 612.0, "ok")
            assert "CRC" in bad.status
            assert [bool(raw) for _, raw in world.rejected] == [True]

    asyncio.run(run())


def test_a_late_reply_is_never_the_next_value(tmp_path: Path) -> None:
    async def run() -> None:
        async with emulator(tmp_path) as probe:
            await probe.order(co2_ppm=500.0)
            await probe.order(do="late", ms=900)  # after the reply time, before the longest reply time
            async with aclosing(gmp.readings("co2-1", configured(probe.port), World().around())) as stream:
                missed = await anext(stream)
                await probe.order(co2_ppm=800.0)
                after = await anext(stream)
            assert missed.co2_ppm is None
            assert "no reply" in missed.status
            assert (after.co2_ppm, after.status) == (800.0, "ok")

    asyncio.run(run())


def test_an_unplugged_probe_is_an_error_at_once_and_comes_back_by_name(tmp_path: Path) -> None:
    async def run() -> None:
        async with emulator(tmp_path) as probe:
            async with aclosing(gmp.readings("co2-1", configured(probe.port), World().around())) as stream:
                assert (await anext(stream)).co2_ppm == 420.0
                await probe.order(do="unplug")
                with pytest.raises(ConnectionError, match="unplugged"):
                    await anext(stream)
            with pytest.raises(ConnectionError, match="cannot open"):
                await first(1, configured(probe.port), World())
            await probe.order(do="plug")
            (back,) = await first(1, configured(probe.port), World())
            assert back.co2_ppm == 420.0

    asyncio.run(run())


def test_a_mute_probe_is_a_timeout_with_a_cause(tmp_path: Path) -> None:
    async def run() -> None:
        async with emulator(tmp_path) as probe:
            with pytest.raises(TimeoutError, match=r"co2-1: silent .* unit 7"):
                await first(2, configured(probe.port, unit=7, silence_s=0.5), World())

    asyncio.run(run())


def test_filter_and_compensation_are_reported_and_a_wrong_unit_is_somebody_else(tmp_path: Path) -> None:
    async def run() -> None:
        async with emulator(tmp_path) as probe:
            config, around = configured(probe.port), World().around()
            assert "filter" not in (await gmp.probe("co2-1", config, around)).model
            await probe.order(filter=20)
            assert "filter 20 slows" in (await gmp.probe("co2-1", config, around)).model
            await probe.order(unit_register=7)
            with pytest.raises(WrongDevice, match="says unit 7"):
                await gmp.probe("co2-1", config, around)

    asyncio.run(run())


def test_the_probe_is_told_the_air_pressure_in_its_volatile_register(tmp_path: Path) -> None:
    async def run() -> None:
        async with emulator(tmp_path) as probe:
            config = configured(probe.port, pressure_hpa=984.5)
            (sample,) = await first(1, config, World())
            assert (sample.co2_ppm, sample.pressure_hpa) == (420.0, 984.5)
            async with gmp._line(config) as line:
                words = await gmp.RtuMaster(line).read_registers(240, gmp.VOLATILE_PRESSURE, 2)
            assert gmp.to_float(words, "little") == 984.5

    asyncio.run(run())


@contextmanager
def two_ends(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A null modem."""
    if not (program := shutil.which("socat")):
        pytest.skip("socat is not installed")
    ends = [str(tmp_path / end) for end in ("a", "b")]
    cable = subprocess.Popen(
        [program, "-d", "-d", *(f"pty,raw,echo=0,link={end}" for end in ends)], stderr=subprocess.PIPE, text=True
    )
    try:
        assert cable.stderr is not None
        assert any("starting data transfer" in line for line in cable.stderr)
        yield ends[0], ends[1]
    finally:
        cable.kill()
        cable.communicate()


def test_a_slave_by_other_hands_with_a_short_map_is_read(tmp_path: Path) -> None:
    with two_ends(tmp_path) as (ours, theirs):
        slave_line = modbus_rtu.RtuServer(serial.Serial(theirs, 19200))
        slave_line.start()
        try:
            slave = slave_line.add_slave(240)
            slave.add_block("co2", defines.HOLDING_REGISTERS, 0x0000, 2)
            slave.add_block("status", defines.HOLDING_REGISTERS, 0x0800, 5)
            slave.set_values("co2", 0, list(GOLDEN))
            samples = asyncio.run(first(3, configured(ours, poll_s=0.2), World()))
        finally:
            slave_line.stop()
    assert [sample.status for sample in samples] == ["ok"] * 3
    assert samples[0].co2_ppm == pytest.approx(465.66, abs=0.005)


def test_a_device_without_these_registers_is_refused_by_name(tmp_path: Path) -> None:
    with two_ends(tmp_path) as (ours, theirs):
        slave_line = modbus_rtu.RtuServer(serial.Serial(theirs, 19200))
        slave_line.start()
        try:
            slave_line.add_slave(240).add_block("other", defines.HOLDING_REGISTERS, 0x0100, 2)
            with pytest.raises(Refused, match=r"co2-1: .*0x0000"):
                asyncio.run(first(1, configured(ours), World()))
        finally:
            slave_line.stop()
