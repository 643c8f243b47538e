"""The Senseair driver: status before number, and never a sensor that calibrates itself."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st
from modbus_tk import defines, modbus_rtu
from pymodbus.framer.rtu import FramerRTU

from drivers.co2 import senseair
from drivers.driver import Refused, WrongDevice


def configured(port: str, **others: Any) -> senseair.Config:
    return senseair.Config(driver="co2.senseair", port=port, **{"poll_s": 0.05, **others})


def words_of(frame: str) -> tuple[int, ...]:
    raw = bytes.fromhex(frame)
    assert FramerRTU.check_CRC(raw[:-2], int.from_bytes(raw[-2:], "big")), frame
    return tuple(int.from_bytes(raw[i : i + 2], "big") for i in range(3, 3 + raw[2], 2))


def test_the_golden_reply_is_400_ppm_and_its_checksum_was_recomputed() -> None:
    words = words_of("FE 04 08 00 00 00 00 00 00 01 90 16 E6")
    assert senseair.judge(words, 2000) == (400.0, "ok")


def test_a_live_sensors_8899_ppm_is_over_the_range_of_2000_ppm() -> None:
    (ppm,) = words_of("FE 04 02 22 C3 F5 D5")  # from a live S8
    assert ppm == 8899
    assert senseair.judge((0, 0, 0, ppm), 2000) == (None, "over range")


def test_every_status_bit_speaks_before_a_plausible_number() -> None:
    assert senseair.judge((0x20, 0, 0, 700), 2000) == (None, "over range")
    for bit, word in senseair.FAULTS.items():
        ppm, status = senseair.judge((bit | 0x20, 0, 0, 700), 2000)
        assert ppm is None
        assert word in status
    assert "not listed" in senseair.judge((0x100, 0, 0, 700), 2000)[1]


def test_a_cell_that_has_drifted_below_zero_is_faulty_and_not_65500_ppm() -> None:
    assert senseair.judge((0, 0, 0, 0xFFDC), 65535) == (None, "faulty: register 0x03 says -36 ppm")
    assert senseair.judge((0, 0, 0, 0), 2000)[0] is None


@given(st.tuples(*[st.integers(0, 0xFFFF)] * 4), st.integers(1000, 65535))
def test_any_four_words_are_a_physical_value_or_a_cause(words: tuple[int, ...], range_ppm: int) -> None:
    ppm, status = senseair.judge(words, range_ppm)
    assert (ppm is None) == (status != "ok")
    assert ppm is None or 1 <= ppm <= range_ppm


def test_a_value_that_stands_still_for_half_an_hour_is_frozen_and_thaws_at_the_first_change() -> None:
    stuck, minute = senseair._Stuck(), 60 * 10**9
    assert {stuck.judge(430.0, "ok", n * minute)[1] for n in range(30)} == {"ok"}
    ppm, status = stuck.judge(430.0, "ok", 30 * minute)
    assert (ppm, "frozen" in status) == (None, True)
    assert stuck.judge(431.0, "ok", 31 * minute) == (431.0, "ok")


def test_a_sensor_that_corrects_itself_is_refused_by_name_until_that_is_off(
    world: Any, emulated: Any, first: Any
) -> None:
    async def run() -> None:
        async with emulated("senseair") as sensor:
            config, around = configured(sensor.place), world.around()
            await sensor.order(abc_hours=180)
            assert "every 180 h" in (await senseair.probe("co2-2", config, around)).model
            with pytest.raises(Refused, match=r"every 180 h .* `lanepulse calibrate dev-1 self-correction-off`"):
                await first(1, senseair, config, around)
            await senseair.switch_off_self_correction("co2-2", config, around)
            (sample,) = await first(1, senseair, config, around)
            assert (sample.co2_ppm, sample.status) == (420.0, "ok")

    asyncio.run(run())


def test_a_correction_that_cannot_be_switched_off_is_told(world: Any, emulated: Any) -> None:
    async def run() -> None:
        async with emulated("senseair") as sensor:
            await sensor.order(abc_hours=180, abc_sticks=True)
            with pytest.raises(Refused, match="still corrects its own baseline every 180 h"):
                await senseair.switch_off_self_correction("co2-2", configured(sensor.place), world.around())

    asyncio.run(run())


def test_type_serial_and_firmware_are_read_and_a_swapped_sensor_is_somebody_else(world: Any, emulated: Any) -> None:
    async def run() -> None:
        async with emulated("senseair") as sensor:
            await sensor.order(serial=0x00AB1234)
            identity = await senseair.probe("co2-2", configured(sensor.place), world.around())
            assert (identity.serial, identity.firmware) == ("00AB1234", "2.8")
            assert "type 010203, self-correction off" in identity.model
            with pytest.raises(WrongDevice, match="00AB1234 answers, 00ab9999 is configured"):
                await senseair.probe("co2-2", configured(sensor.place, serial="00ab9999"), world.around())

    asyncio.run(run())


def test_damaged_and_late_replies_are_failed_samples_and_never_the_next_value(world: Any, emulated: Any) -> None:
    async def run() -> None:
        async with emulated("senseair") as sensor:
            await sensor.order(co2_ppm=500)
            config = configured(sensor.place)
            async with aclosing(senseair.readings("co2-2", config, world.around())) as stream:
                assert (await anext(stream)).co2_ppm == 500.0
                await sensor.order(do="crc")
                bad = await anext(stream)
                await sensor.order(do="late", ms=900)
                late = await anext(stream)
                await sensor.order(co2_ppm=800)
                after = await anext(stream)
            assert (bad.co2_ppm, "CRC" in bad.status) == (None, True)
            assert (late.co2_ppm, "no reply" in late.status) == (None, True)
            assert (after.co2_ppm, after.status) == (800.0, "ok")
            assert [bool(raw) for _, raw in world.rejected] == [True]

    asyncio.run(run())


def test_an_unplugged_sensor_is_an_error_at_once_and_comes_back_by_name(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("senseair") as sensor:
            config = configured(sensor.place)
            async with aclosing(senseair.readings("co2-2", config, world.around())) as stream:
                assert (await anext(stream)).co2_ppm == 420.0
                await sensor.order(do="unplug")
                with pytest.raises(ConnectionError, match="unplugged"):
                    await anext(stream)
            with pytest.raises(ConnectionError, match="cannot open"):
                await first(1, senseair, config, world.around())
            await sensor.order(do="plug")
            assert (await first(1, senseair, config, world.around()))[0].co2_ppm == 420.0

    asyncio.run(run())


def test_a_mute_sensor_is_a_timeout_with_a_cause(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("senseair") as sensor:
            with pytest.raises(TimeoutError, match="unit 7"):
                await first(2, senseair, configured(sensor.place, unit=7, silence_s=0.5), world.around())

    asyncio.run(run())


def test_a_slave_by_other_hands_is_read_and_told_not_to_correct_itself(
    world: Any, first: Any, null_modem: tuple[str, str]
) -> None:
    ours, theirs = null_modem
    server = modbus_rtu.RtuServer(serial.Serial(theirs, 9600))
    server.start()
    try:
        slave = server.add_slave(0x68)
        slave.add_block("values", defines.READ_INPUT_REGISTERS, 0, 4)
        slave.set_values("values", 0, [0, 0, 0, 612])
        slave.add_block("abc", defines.HOLDING_REGISTERS, 0x1F, 1)
        slave.set_values("abc", 0x1F, [180])
        config = configured(ours, unit=0x68, poll_s=0.2)
        asyncio.run(senseair.switch_off_self_correction("co2-2", config, world.around()))
        assert slave.get_values("abc", 0x1F, 1) == (0,)
        samples = asyncio.run(first(2, senseair, config, world.around()))
    finally:
        server.stop()
    assert [(sample.co2_ppm, sample.status) for sample in samples] == [(612.0, "ok")] * 2
