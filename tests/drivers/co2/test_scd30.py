"""The SCD30 driver: only new measurements, and never with self-calibration on."""

from __future__ import annotations

import asyncio
import math
import struct
from contextlib import aclosing
from typing import Any

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st
from modbus_tk import defines, modbus_rtu
from pymodbus.framer.rtu import FramerRTU

from drivers.co2 import scd30
from drivers.driver import Refused
from drivers.wire.modbus import RtuMaster


def configured(port: str, **others: Any) -> scd30.Config:
    return scd30.Config(driver="co2.scd30", port=port, **{"poll_s": 0.02, **others})


def words(*values: float) -> tuple[int, ...]:
    return struct.unpack(f">{2 * len(values)}H", struct.pack(f">{len(values)}f", *values))


def test_the_golden_reply_is_439_1_ppm_and_its_checksum_was_recomputed() -> None:
    raw = bytes.fromhex("61 03 0C 43 DB 8C 2E 41 D9 E7 FF 42 43 3A 1B 50 07")
    assert FramerRTU.check_CRC(raw[:-2], int.from_bytes(raw[-2:], "big"))
    co2_ppm, celsius, humidity = scd30.to_floats(struct.unpack(">6H", raw[3:-2]))
    assert co2_ppm == pytest.approx(439.1, abs=0.05)
    assert celsius == pytest.approx(27.24, abs=0.005)
    assert humidity == pytest.approx(48.8, abs=0.05)


@given(st.floats(width=32))
def test_any_float_is_a_physical_value_or_a_cause(ppm: float) -> None:
    value, status = scd30.judge(ppm)
    assert (value is None) == (status != "ok")
    assert value is None or 1 <= value < 40_000
    assert status == "over range" or not ppm >= 40_000 or math.isinf(ppm)


def test_measurements_with_the_same_bits_are_frozen_and_thaw_at_the_first_change() -> None:
    frozen = scd30._Frozen()
    assert [frozen.judge(words(430.0))[1] for _ in range(14)] == ["ok"] * 14
    assert frozen.judge(words(430.0)) == (None, "frozen: the same bits 0x43D7 0x0000 in 15 measurements")
    assert frozen.judge(words(430.5)) == (430.5, "ok")


def test_self_calibration_is_switched_off_before_the_first_reading(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("scd30", "--every", "0.05") as sensor:
            config, around = configured(sensor.place, interval_s=5, pressure_hpa=985), world.around()
            identity = await scd30.probe("co2-3", config, around)
            assert (identity.vendor, identity.firmware) == ("Sensirion", "3.66")
            assert "every 2 s, self-calibration on" in identity.model
            (sample,) = await first(1, scd30, config, around)
            assert (sample.co2_ppm, sample.temperature_c, sample.humidity_pct) == (420.0, 21.0, 40.0)
            assert sample.pressure_hpa == 985
            assert "every 5 s, self-calibration off" in (await scd30.probe("co2-3", config, around)).model

    asyncio.run(run())


def test_a_self_calibration_that_stays_on_is_refused(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("scd30") as sensor:
            await sensor.order(asc_sticks=True)
            with pytest.raises(Refused, match=r"self-calibration .* stays on: not used.*wrote 0, reads 1"):
                await first(1, scd30, configured(sensor.place), world.around())

    asyncio.run(run())


def test_one_measurement_is_one_sample_however_often_it_is_asked_for(world: Any, emulated: Any) -> None:
    async def run() -> None:
        async with emulated("scd30", "--every", "0") as sensor:
            async with aclosing(scd30.readings("co2-3", configured(sensor.place), world.around())) as stream:
                values = []
                for co2_ppm in (500.0, 600.0, 700.0):
                    await sensor.order(co2_ppm=co2_ppm, do="measure")
                    values.append((await anext(stream)).co2_ppm)
            assert values == [500.0, 600.0, 700.0]

    asyncio.run(run())


def test_a_sensor_that_answers_and_never_measures_is_a_timeout_that_says_so(
    world: Any, emulated: Any, first: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scd30, "expected", lambda _: (scd30.Expected("co2", 2, 0.3),))

    async def run() -> None:
        async with emulated("scd30", "--every", "0") as sensor:
            with pytest.raises(TimeoutError, match="answers, but has no new measurement"):
                await first(1, scd30, configured(sensor.place), world.around())

    asyncio.run(run())


def test_a_damaged_reply_is_a_failed_sample_and_its_bytes_are_kept(world: Any, emulated: Any) -> None:
    async def run() -> None:
        async with emulated("scd30", "--every", "0") as sensor:
            async with aclosing(scd30.readings("co2-3", configured(sensor.place), world.around())) as stream:
                await sensor.order(do="measure")
                assert (await anext(stream)).co2_ppm == 420.0
                await sensor.order(do="crc")
                bad = await anext(stream)
                await sensor.order(do="measure", temperature_c=math.nan)
                good = await anext(stream)
            assert (bad.co2_ppm, "CRC" in bad.status) == (None, True)
            assert (good.co2_ppm, good.temperature_c) == (420.0, None)
            assert [bool(raw) for _, raw in world.rejected] == [True]

    asyncio.run(run())


def test_an_unplugged_sensor_is_an_error_at_once_and_comes_back_by_name(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("scd30", "--every", "0.05") as sensor:
            config = configured(sensor.place)
            async with aclosing(scd30.readings("co2-3", config, world.around())) as stream:
                assert (await anext(stream)).co2_ppm == 420.0
                await sensor.order(do="unplug")
                with pytest.raises(ConnectionError, match="unplugged"):
                    while True:
                        await anext(stream)
            with pytest.raises(ConnectionError, match="cannot open"):
                await first(1, scd30, config, world.around())
            await sensor.order(do="plug")
            assert (await first(1, scd30, config, world.around()))[0].co2_ppm == 420.0

    asyncio.run(run())


def test_what_is_set_already_is_not_written_again(world: Any, emulated: Any) -> None:
    written: list[int] = []

    class Counting(RtuMaster):
        async def write_register(self, unit: int, address: int, word: int, *, within_s: float = 1.0) -> None:
            written.append(address)
            await super().write_register(unit, address, word, within_s=within_s)

    async def run() -> None:
        async with emulated("scd30") as sensor:
            config = configured(sensor.place)
            for _ in range(2):
                async with scd30._line(config) as line:
                    await scd30._prepare("co2-3", config, Counting(line))
            assert written == [scd30.SELF_CALIBRATION, scd30.START, scd30.START]

    asyncio.run(run())


def test_a_slave_by_other_hands_is_told_not_to_calibrate_itself_and_read(
    world: Any, first: Any, null_modem: tuple[str, str]
) -> None:
    ours, theirs = null_modem
    server = modbus_rtu.RtuServer(serial.Serial(theirs, 19200))
    server.start()
    try:
        slave = server.add_slave(scd30.UNIT)
        for register, value in {0x25: 2, 0x27: 1, 0x36: 0, 0x3A: 1}.items():
            slave.add_block(hex(register), defines.HOLDING_REGISTERS, register, 1)
            slave.set_values(hex(register), register, [value])
        slave.add_block("values", defines.HOLDING_REGISTERS, 0x28, 6)
        slave.set_values("values", 0x28, list(words(612.5, 21.5, 40.25)))
        (sample,) = asyncio.run(first(1, scd30, configured(ours, pressure_hpa=985), world.around()))
        assert slave.get_values("0x3a", 0x3A, 1) == (0,)
        assert slave.get_values("0x36", 0x36, 1) == (985,)
    finally:
        server.stop()
    assert (sample.co2_ppm, sample.temperature_c, sample.humidity_pct) == (612.5, 21.5, 40.25)
