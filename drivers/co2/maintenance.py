"""What calibration needs of CO2 probes beside readings: the number before it is judged, and two settings of the probe.

A probe in zero gas may show less than nothing; a driver rightly calls that a fault, a calibration needs it. Readings of
the lane never come through here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from drivers.co2 import scd30, senseair, vaisala_gmp25x
from drivers.driver import DriverFault, Refused, Surroundings
from drivers.wire.modbus import RtuMaster
from drivers.wire.serial_port import SerialPort

Config = vaisala_gmp25x.Config | senseair.Config | scd30.Config


@asynccontextmanager
async def _master(config: Config) -> AsyncIterator[RtuMaster]:
    if isinstance(config, vaisala_gmp25x.Config):
        line = SerialPort(config.port, config.baud_rate, config.parity, config.stop_bits)
    elif isinstance(config, senseair.Config):
        line = SerialPort(config.port, config.baud_rate, "N", config.stop_bits)
    else:
        line = SerialPort(config.port, config.baud_rate)
    async with line as opened:
        yield RtuMaster(opened)


async def shown(name: str, config: Config, around: Surroundings) -> AsyncGenerator[tuple[int, float], None]:
    """(monotonic ns, ppm as shown), one a measurement; NaN where the probe is not ready or its reply was damaged.

    Raises:
        DriverFault: the probe reports an error, or lacks these registers.
        TimeoutError, ConnectionError: the line is silent or lost; a calibration ends there.
    """
    poll_s = config.poll_s
    loop = asyncio.get_running_loop()
    due_s, heard_s = loop.time(), loop.time()
    async with _master(config) as master:
        if isinstance(config, scd30.Config):
            await master.write_register(scd30.UNIT, scd30.START, config.pressure_hpa or scd30.NO_COMPENSATION)
        while True:
            ppm: float | None
            try:
                ppm = await _one(name, config, master)
                heard_s = loop.time()
            except Refused:
                raise
            except TimeoutError:
                if loop.time() - heard_s > config.silence_s:
                    raise
                ppm = math.nan
            if ppm is not None:
                yield around.monotonic_ns(), ppm
            due_s = max(due_s + poll_s, loop.time())
            await asyncio.sleep(due_s - loop.time())


async def _one(name: str, config: Config, master: RtuMaster) -> float | None:
    """One number as shown; None while there is no new one. Raises as `shown`."""
    if isinstance(config, vaisala_gmp25x.Config):
        words = await master.read_registers(config.unit, vaisala_gmp25x.CO2, 2)
        block = await master.read_registers(config.unit, vaisala_gmp25x.STATUS, 5)
        if block[0] & vaisala_gmp25x.CRITICAL_OR_ERROR:
            raise DriverFault(f"{name}: the probe reports device status {block[0]}: mend or replace it first")
        ready = not block[1] & (vaisala_gmp25x.NOT_RELIABLE | vaisala_gmp25x.NOT_READY)
        return vaisala_gmp25x.to_float(words, config.word_order) if ready else math.nan
    if isinstance(config, senseair.Config):
        words = await master.read_registers(config.unit, senseair.STATUS, 4, function=4)
        if words[senseair.STATUS] & ~senseair.OUT_OF_RANGE:
            raise DriverFault(f"{name}: the sensor reports status 0x{words[0]:04X}: mend or replace it first")
        number = words[senseair.CO2]
        return float(number - (number >> 15 << 16))
    (ready_word,) = await master.read_registers(scd30.UNIT, scd30.DATA_READY, 1)
    if ready_word != 1:
        return None
    six = await master.read_registers(scd30.UNIT, scd30.MEASUREMENT, 6)
    return scd30.to_floats(six[:2])[0]


async def self_correction(name: str, config: Any) -> int:
    """The probe's own baseline correction: 0 is off; hours, or 1, on.

    Raises:
        Refused: the model has none that can be read.
        DriverFault, TimeoutError, ConnectionError: as the wire says.
    """
    if isinstance(config, senseair.Config):
        unit, register = config.unit, senseair.ABC_PERIOD
    elif isinstance(config, scd30.Config):
        unit, register = scd30.UNIT, scd30.SELF_CALIBRATION
    else:
        raise Refused(f"{name}: this model has no self-correction to switch off")
    async with _master(config) as master:
        return (await master.read_registers(unit, register, 1))[0]


async def switch_off_self_correction(name: str, config: Any) -> None:
    """Write 0; read it back with `self_correction`. Raises as there."""
    await self_correction(name, config)
    unit, register = (
        (config.unit, senseair.ABC_PERIOD)
        if isinstance(config, senseair.Config)
        else (scd30.UNIT, scd30.SELF_CALIBRATION)
    )
    async with _master(config) as master:
        await master.write_register(unit, register, 0)


async def pressure_hpa(name: str, config: Any) -> float:
    """The pressure that the probe compensates for now, hPa. Raises Refused where it has no such register."""
    if not isinstance(config, vaisala_gmp25x.Config):
        raise Refused(f"{name}: give pressure_hpa in its table: this model takes it at its start")
    async with _master(config) as master:
        words = await master.read_registers(config.unit, vaisala_gmp25x.VOLATILE_PRESSURE, 2)
    return vaisala_gmp25x.to_float(words, config.word_order)


async def write_pressure(name: str, config: Any, hpa: float) -> None:
    """The volatile register, once; `pressure_hpa` in the device's table keeps it over a reset. Raises Refused."""
    await pressure_hpa(name, config)
    async with _master(config) as master:
        words = vaisala_gmp25x.from_float(hpa, config.word_order)
        await master.write_registers(config.unit, vaisala_gmp25x.VOLATILE_PRESSURE, words)
