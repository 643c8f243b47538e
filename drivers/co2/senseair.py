"""Senseair S8 and K30 CO2 sensors: Modbus RTU at 9600 baud, input registers by function 4.

``FE 04 00 00 00 04 E5 C6`` reads status (0x00) to CO2 (0x03, ppm u16) at once: the status of the same moment tells a
saturated or broken cell, whose number can look like air. Address 0xFE is for one sensor alone on its line.
The sensor's own baseline correction (ABC, holding register 0x1F, hours, 0 = off) takes the lowest value of some days
for fresh air: in a shed it learns a wrong zero and hides people. The driver does not run with it on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from drivers.driver import DriverFault, Expected, Identity, Refused, Surroundings, WrongDevice
from drivers.reading import GasSample, Modality, Point, Stamp
from drivers.wire.modbus import RtuMaster
from drivers.wire.serial_port import SerialPort

MODALITY = Modality.CO2
STATUS, CO2 = 0x00, 0x03  # input registers 1 and 4 of the maker's map
TYPE_AND_FIRMWARE, SERIAL = 0x19, 0x1D  # input registers 26-29 and 30-31; assumed, older sensors lack them
ABC_PERIOD = 0x1F  # holding register 32
OUT_OF_RANGE = 0x20  # bit 5 of the status
FAULTS = {
    0x01: "fatal error", 0x02: "offset regulation", 0x04: "algorithm", 0x08: "output", 0x10: "self-diagnostic",
    0x40: "memory",
}  # fmt: skip  # the maker's driver header
PPM_LOWEST = 1  # physical: there is no air without CO2
FROZEN_S = 1800.0  # assumed: whole ppm may stand still for minutes in a closed shed, not for half an hour


class Config(BaseModel):
    """The ``[devices.<name>]`` table of a Senseair sensor."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["co2.senseair"]
    port: str = Field(min_length=1, description="Serial line, by a name that survives replugging")
    unit: int = Field(0xFE, ge=1, le=254, description="254 answers whatever its address; only alone on the line")
    baud_rate: Literal[9600, 19200] = 9600
    stop_bits: Literal[1, 2] = 1
    poll_s: float = Field(2.0, ge=0.05, le=60)
    silence_s: float = Field(10.0, gt=0, le=600)
    point: Literal["ambient", "inside", "transit"] = "inside"
    range_ppm: int = Field(2000, ge=1000, le=65535, description="End of the measuring range: S8 2000, K30 5000")
    serial: str = Field("", description="Serial number as `lanepulse devices probe` shows it; empty takes any")


def judge(words: tuple[int, ...], range_ppm: int) -> tuple[float | None, str]:
    """CO2 in ppm and "ok", or None and why not, of the registers 0x00 to 0x03; status speaks before the number."""
    status, ppm = words[STATUS], words[CO2]
    broken = [word for bit, word in FAULTS.items() if status & bit]
    if broken:
        return None, f"sensor error: {', '.join(broken)} (status 0x{status:04X})"
    if status & OUT_OF_RANGE:
        return None, "over range"
    if status:
        return None, f"sensor reports status 0x{status:04X}, which is not listed"
    if not PPM_LOWEST <= ppm < 0x8000:  # the upper half are negative numbers of a cell that has drifted below zero
        return None, f"faulty: register 0x03 says {ppm - (ppm >> 15 << 16)} ppm"
    if ppm > range_ppm:
        return None, "over range"
    return float(ppm), "ok"


def expected(config: Config) -> tuple[Expected, ...]:
    """One stream, a sample a poll."""
    return (Expected("co2", config.poll_s, config.silence_s),)


def _line(config: Config) -> SerialPort:
    return SerialPort(config.port, config.baud_rate, "N", config.stop_bits)


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Type, serial number and firmware where the sensor has them, and whether it corrects itself.

    Raises:
        WrongDevice: another serial number than the configured one.
        DriverFault, TimeoutError, ConnectionError: as the wire says.
    """
    async with _line(config) as line:
        master = RtuMaster(line)
        hours = await _abc_hours(name, config, master)
        try:
            kind_high, kind_low, _, firmware = await master.read_registers(
                config.unit, TYPE_AND_FIRMWARE, 4, function=4
            )
            high, low = await master.read_registers(config.unit, SERIAL, 2, function=4)
        except Refused:  # an older sensor; that a CO2 sensor answers is all that can be known
            return _checked(name, config, Identity("Senseair", f"type not told, {_correction(hours)}"))
    model = f"type {kind_high << 16 | kind_low:06X}, {_correction(hours)}"
    identity = Identity("Senseair", model, f"{high << 16 | low:08X}", f"{firmware >> 8}.{firmware & 0xFF}")
    return _checked(name, config, identity)


def _correction(hours: int) -> str:
    return f"corrects its own baseline every {hours} h" if hours else "self-correction off"


def _checked(name: str, config: Config, identity: Identity) -> Identity:
    if config.serial and identity.serial != config.serial.upper():
        found = identity.serial or "none"
        raise WrongDevice(f"{name}: serial number {found} answers, {config.serial} is configured; swapped sensors?")
    return identity


async def _abc_hours(name: str, config: Config, master: RtuMaster) -> int:
    try:
        return (await master.read_registers(config.unit, ABC_PERIOD, 1))[0]
    except Refused as refusal:
        raise Refused(
            f"{name}: register 0x1F is not there, so nobody can tell whether it corrects itself; "
            "use a sensor that tells, or correct the address",
            refusal.raw,
        ) from refusal


async def switch_off_self_correction(name: str, config: Config, around: Surroundings) -> None:
    """Write 0 to the ABC period and read it back; the step of ``lanepulse calibrate`` for this sensor.

    Raises:
        Refused: it is still on.
        DriverFault, TimeoutError, ConnectionError: as the wire says.
    """
    async with _line(config) as line:
        master = RtuMaster(line)
        await master.write_register(config.unit, ABC_PERIOD, 0)
        if hours := await _abc_hours(name, config, master):
            raise Refused(f"{name}: still {_correction(hours)} after it was told not to; replace it")


class _Stuck:
    """A value that does not move for `FROZEN_S` is no measurement, though each poll of it looks right."""

    def __init__(self) -> None:
        self._ppm: float | None = None
        self._since_ns = 0

    def judge(self, ppm: float | None, status: str, now_ns: int) -> tuple[float | None, str]:
        if ppm != self._ppm or ppm is None:
            self._ppm, self._since_ns = ppm, now_ns
        if ppm is not None and now_ns - self._since_ns >= FROZEN_S * 1e9:
            return None, f"frozen: {ppm:.0f} ppm in every poll for over {FROZEN_S / 60:.0f} min"
        return ppm, status


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[GasSample]:
    """A sample a poll, good or with its cause; what could not be read goes to ``around.reject`` with its bytes.

    Raises:
        Refused: the sensor corrects its own baseline, or lacks these registers.
        TimeoutError: no reply for ``silence_s``.
        ConnectionError: the line is lost.
    """
    loop, stuck = asyncio.get_running_loop(), _Stuck()
    async with _line(config) as line:
        master = RtuMaster(line)
        if hours := await _abc_hours(name, config, master):
            raise Refused(
                f"{name}: {_correction(hours)} (register 0x1F) and makes a stuffy lane its zero: not used; "
                f"run `lanepulse calibrate {name} self-correction-off`"
            )
        heard_s, due_s = loop.time(), loop.time()
        while True:
            ppm: float | None = None
            try:
                words = await master.read_registers(config.unit, STATUS, 4, function=4, within_s=config.poll_s / 2)
                heard_s = loop.time()
                ppm, status = stuck.judge(*judge(words, config.range_ppm), around.monotonic_ns())
            except Refused as refusal:
                raise Refused(f"{name}: {refusal}", refusal.raw) from refusal
            except DriverFault as fault:
                heard_s, status = loop.time(), str(fault)  # damaged is not silent
                around.reject(f"{name}: {fault}", fault.raw)
            except TimeoutError as silence:
                status = str(silence)
                if loop.time() - heard_s > config.silence_s:
                    raise TimeoutError(f"{name}: silent for {config.silence_s} s; {silence}") from silence
            now_ns = around.now_utc_ns()
            stamp = Stamp(now_ns, now_ns, around.monotonic_ns(), around.clock())
            yield GasSample(name, stamp, Point(config.point), ppm, status)
            due_s = max(due_s + config.poll_s, loop.time())
            await asyncio.sleep(due_s - loop.time())
