"""Sensirion SCD30 CO2 sensor: Modbus RTU, unit 0x61, functions 3 and 6 only, floats most significant word first.

``61 03 00 28 00 06 4C 60`` reads CO2 in ppm, temperature in C and humidity in %, each f32. A read repeats the old value
unless 0x0027 says that there is a new one, so nothing is read before it does.
Its automatic self-calibration (ASC, 0x003A) takes the lowest values of some days for fresh air: in a shed it learns a
wrong zero and hides people. The driver switches it off at start, reads it back, and does not run with it on.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from drivers.driver import DriverFault, Expected, Identity, Refused, Surroundings
from drivers.reading import GasSample, Modality, Point, Stamp
from drivers.wire.modbus import RtuMaster
from drivers.wire.serial_port import SerialPort

MODALITY = Modality.CO2
UNIT = 0x61  # interface description: fixed
FIRMWARE, INTERVAL, DATA_READY, MEASUREMENT = 0x0020, 0x0025, 0x0027, 0x0028  # interface description, 1.4
START, SELF_CALIBRATION = 0x0036, 0x003A
NO_COMPENSATION = 0  # interface description: start with 0 leaves pressure alone
PPM_LOWEST, PPM_RANGE = 1.0, 40_000.0  # physical; datasheet: end of the measuring range
COLDEST_C, HOTTEST_C = -40.0, 70.0  # datasheet: range of the temperature sensor
FROZEN_MEASUREMENTS = 15  # assumed: a live cell's noise moves the last bits of every measurement


class Config(BaseModel):
    """The ``[devices.<name>]`` table of an SCD30."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["co2.scd30"]
    port: str = Field(min_length=1, description="Serial line, by a name that survives replugging")
    baud_rate: Literal[19200] = 19200
    interval_s: int = Field(2, ge=2, le=1800, description="Between measurements; kept by the sensor")
    poll_s: float = Field(0.5, ge=0.02, le=60, description="Between questions whether there is a new measurement")
    silence_s: float = Field(10.0, gt=0, le=3600)
    point: Literal["ambient", "inside", "transit"] = "inside"
    pressure_hpa: int | None = Field(None, ge=700, le=1400, description="Air pressure that the sensor compensates for")


def to_floats(words: tuple[int, ...]) -> tuple[float, ...]:
    """Registers as IEEE-754 singles, most significant word first."""
    return struct.unpack(f">{len(words) // 2}f", struct.pack(f">{len(words)}H", *words))


def judge(ppm: float) -> tuple[float | None, str]:
    """CO2 in ppm and "ok", or None and why the number is none."""
    if not math.isfinite(ppm) or ppm < PPM_LOWEST:
        return None, f"faulty: {ppm:.4g} ppm; the first value after a start is often 0, a lasting one is a broken cell"
    if ppm >= PPM_RANGE:
        return None, "over range"
    return ppm, "ok"


def _within(value: float, lowest: float, highest: float) -> float | None:
    return value if lowest <= value <= highest else None  # NaN is in no range


def expected(config: Config) -> tuple[Expected, ...]:
    """One stream, a sample a measurement."""
    return (Expected("co2", config.interval_s, max(config.silence_s, 2.0 * config.interval_s)),)


def _line(config: Config) -> SerialPort:
    return SerialPort(config.port, config.baud_rate)


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Firmware, interval, and whether it calibrates itself at this moment.

    Raises:
        DriverFault, TimeoutError, ConnectionError: as the wire says.
    """
    async with _line(config) as line:
        master = RtuMaster(line)
        (firmware,) = await master.read_registers(UNIT, FIRMWARE, 1)
        (interval_s,) = await master.read_registers(UNIT, INTERVAL, 1)
        (self_calibrating,) = await master.read_registers(UNIT, SELF_CALIBRATION, 1)
    state = "on, switched off before it is read" if self_calibrating else "off"
    model = f"SCD30, every {interval_s} s, self-calibration {state}"
    return Identity("Sensirion", model, firmware=f"{firmware >> 8}.{firmware & 0xFF}")


async def _prepare(name: str, config: Config, master: RtuMaster) -> None:
    """Self-calibration off, interval set, measuring started. Written only where it differs: it is kept in flash."""
    await _keep(
        master, SELF_CALIBRATION, 0, f"{name}: self-calibration (0x003A) stays on: not used; replace the sensor"
    )
    await _keep(master, INTERVAL, config.interval_s, f"{name}: keeps another interval; give that one as interval_s")
    pressure = NO_COMPENSATION if config.pressure_hpa is None else config.pressure_hpa
    await master.write_register(UNIT, START, pressure)


async def _keep(master: RtuMaster, register: int, wanted: int, cause: str) -> None:
    (found,) = await master.read_registers(UNIT, register, 1)
    if found == wanted:
        return
    await master.write_register(UNIT, register, wanted)
    (found,) = await master.read_registers(UNIT, register, 1)
    if found != wanted:
        raise Refused(f"{cause} (wrote {wanted}, reads {found})")


async def _measurement(master: RtuMaster) -> tuple[int, ...] | None:
    """The six words of a new measurement, or None while there is none."""
    (ready,) = await master.read_registers(UNIT, DATA_READY, 1)
    return await master.read_registers(UNIT, MEASUREMENT, 6) if ready == 1 else None


class _Frozen:
    """A new measurement with the old bits, again and again, is none."""

    def __init__(self) -> None:
        self._words: tuple[int, ...] = ()
        self._same = 0

    def judge(self, words: tuple[int, ...]) -> tuple[float | None, str]:
        self._same = self._same + 1 if words[:2] == self._words else 1
        self._words = words[:2]
        ppm, status = judge(to_floats(words[:2])[0])
        if ppm is not None and self._same >= FROZEN_MEASUREMENTS:
            return None, f"frozen: the same bits 0x{words[0]:04X} 0x{words[1]:04X} in {self._same} measurements"
        return ppm, status


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[GasSample]:
    """A sample a measurement; what could not be read goes to ``around.reject`` and is a sample with its cause.

    Raises:
        Refused: the sensor goes on calibrating itself, keeps another interval, or lacks these registers.
        TimeoutError: no reply, or replies without a measurement, for ``silence_s``; a new start is the cure of both.
        ConnectionError: the line is lost.
    """
    loop, frozen = asyncio.get_running_loop(), _Frozen()
    silence_s = expected(config)[0].silence_s
    async with _line(config) as line:
        master = RtuMaster(line)
        await _prepare(name, config, master)
        heard_s = loop.time()
        while True:
            words, failed = None, ""
            try:
                if words := await _measurement(master):
                    heard_s = loop.time()
            except Refused as refusal:
                raise Refused(f"{name}: {refusal}", refusal.raw) from refusal
            except DriverFault as fault:
                heard_s, failed = loop.time(), str(fault)  # damaged is not silent
                around.reject(f"{name}: {fault}", fault.raw)
            except TimeoutError as silence:
                failed = str(silence)
            if loop.time() - heard_s > silence_s:
                raise TimeoutError(
                    f"{name}: {failed or 'answers, but has no new measurement'}, for over {silence_s:g} s"
                )
            if words is not None or failed:
                yield _sample(name, config, around, words, failed, frozen)
            await asyncio.sleep(config.poll_s)


def _sample(
    name: str, config: Config, around: Surroundings, words: tuple[int, ...] | None, failed: str, frozen: _Frozen
) -> GasSample:
    """The measurement's sample, or that of the poll which failed."""
    now_ns = around.now_utc_ns()
    stamp = Stamp(now_ns, now_ns, around.monotonic_ns(), around.clock())
    if words is None:
        return GasSample(name, stamp, Point(config.point), None, failed, pressure_hpa=config.pressure_hpa)
    ppm, status = frozen.judge(words)
    _, celsius, humidity = to_floats(words)
    return GasSample(
        name,
        stamp,
        Point(config.point),
        ppm,
        status,
        _within(celsius, COLDEST_C, HOTTEST_C),
        _within(humidity, 0.0, 100.0),
        config.pressure_hpa,
    )
