"""Vaisala GMP251 and GMP252 CO2 probes: Modbus RTU on RS-485, floats low word first by default.

Wire address = documented register - 1. CO2 in ppm at 0x0000 (f32); status at 0x0800: device, CO2, (reserved),
errors u32. Status and physical range are judged before the number is used.
"""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import cycle
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from drivers.driver import DriverFault, Expected, Identity, Refused, Surroundings, WrongDevice
from drivers.reading import GasSample, Modality, Point, Stamp
from drivers.wire.modbus import RtuMaster
from drivers.wire.serial_port import SerialPort

MODALITY = Modality.CO2
CO2, STATUS, SETTINGS, VOLATILE_PRESSURE = 0x0000, 0x0800, 0x0300, 0x0208  # manual, Modbus register map
NO_FILTER = 100  # manual: factor 0..100, 100 = none
PPM_LOWEST, PPM_HIGHEST = 1.0, 1e6  # physical: a volume fraction up to 100 %
NOT_RELIABLE, NOT_READY = 2, 256  # manual, CO2 status at 0x0801
CRITICAL_OR_ERROR = 1 | 2  # manual, device status at 0x0800
OUT_OF_RANGE = 0x1000  # manual, error bits at 0x0803
LENGTHS = ((2, 5), (4, 6))  # registers asked at CO2 and STATUS, in turn: the reply to an old request never fits
SHORTEST = ((2, 5),)  # for a probe that refuses to read past its map
PRESSURE_EVERY_S = 60.0  # manual: volatile, lost at a reset of the probe, may be written each minute
WARM_UP_S = 120.0  # manual: to specification two minutes after start
FROZEN_POLLS, FROZEN_S = (
    20,
    30.0,
)  # assumed: a live cell's noise moves the last bits at every measurement; both must pass


class Config(BaseModel):
    """The ``[devices.<name>]`` table of a GMP251 or GMP252."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["co2.vaisala_gmp25x"]
    port: str = Field(min_length=1, description="Serial line, by a name that survives replugging")
    unit: int = Field(240, ge=1, le=247)
    baud_rate: Literal[4800, 9600, 19200, 38400, 57600, 115200] = 19200
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 2
    poll_s: float = Field(1.0, ge=0.05, le=60)
    silence_s: float = Field(5.0, gt=0, le=600)
    point: Literal["ambient", "inside", "transit"] = "inside"
    word_order: Literal["little", "big"] = "little"
    pressure_hpa: float | None = Field(
        None, ge=500, le=1500, description="Air pressure the probe compensates for; written to its volatile register"
    )


@dataclass(frozen=True, slots=True)
class Status:
    """Status block of one poll; ``errors`` is the u32 of the manual."""

    device: int
    co2: int
    errors: int


def from_float(value: float, word_order: str) -> tuple[int, int]:
    """The two registers of an IEEE-754 single; the inverse of `to_float`."""
    high, low = struct.unpack(">HH", struct.pack(">f", value))
    return (high, low) if word_order == "big" else (low, high)


def to_float(words: tuple[int, ...], word_order: str) -> float:
    """Two registers as IEEE-754 single; "little" = least significant word first."""
    first, second = words if word_order == "big" else words[::-1]
    return float(struct.unpack(">f", struct.pack(">HH", first, second))[0])


def _plausible(ppm: float) -> bool:
    return math.isfinite(ppm) and PPM_LOWEST <= ppm <= PPM_HIGHEST


def judge(words: tuple[int, ...], status: Status, word_order: str) -> tuple[float | None, str]:
    """CO2 in ppm and "ok", or None and why not; status speaks before the number."""
    if status.errors & OUT_OF_RANGE:
        return None, "over range"
    if status.device & CRITICAL_OR_ERROR or status.errors:
        return None, f"probe error: device status {status.device}, errors 0x{status.errors:X}"
    if status.co2 & (NOT_RELIABLE | NOT_READY):
        return None, "warming up"
    if status.co2:
        return None, f"probe reports CO2 status {status.co2}, which the manual does not list"
    ppm = to_float(words, word_order)
    if _plausible(ppm):
        return ppm, "ok"
    cause = f"faulty: words 0x{words[0]:04X} 0x{words[1]:04X} are {ppm:.4g} ppm"
    other = "big" if word_order == "little" else "little"
    if _plausible(to_float(words, other)):
        cause += f'; word_order = "{other}" would give {to_float(words, other):.1f} ppm'
    return None, cause


def expected(config: Config) -> tuple[Expected, ...]:
    """One stream, a sample a poll."""
    return (Expected("co2", config.poll_s, config.silence_s),)


def _line(config: Config) -> SerialPort:
    return SerialPort(config.port, config.baud_rate, config.parity, config.stop_bits)


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Read address and settings; the model text tells filter and compensation, which change readings silently.

    Raises:
        WrongDevice: the device believes in another address.
        DriverFault, TimeoutError, ConnectionError: as the wire says.
    """
    async with _line(config) as line:
        settings = await RtuMaster(line).read_registers(config.unit, SETTINGS, 9)
    if settings[0] != config.unit:
        raise WrongDevice(f"{name}: register 0x0300 says unit {settings[0]}, not {config.unit}; not a GMP25x here?")
    modes = dict(zip(("pressure", "temperature", "humidity"), settings[4:7], strict=True))
    report = ", ".join(f"{what} compensation mode {mode}" for what, mode in modes.items())
    slow = "" if settings[8] == NO_FILTER else f", filter {settings[8]} slows the response (100 = none)"
    return Identity("Vaisala", f"GMP25x, {report}{slow}")


class Watch:
    """What needs more than one poll to be seen: warm-up after start, and a value that does not move."""

    def __init__(self) -> None:
        self._warm_since_ns: int | None = None
        self._words: tuple[int, ...] = ()
        self._same, self._same_since_ns = 0, 0

    def judge(self, ppm: float | None, status: str, words: tuple[int, ...], now_ns: int) -> tuple[float | None, str]:
        """One poll's value and status, and what the polls before make of them; ``now_ns`` is monotonic."""
        if words != self._words:
            self._words, self._same, self._same_since_ns = words, 0, now_ns
        self._same += 1
        if status == "warming up":
            self._warm_since_ns = now_ns
        if ppm is None:
            return ppm, status
        if self._warm_since_ns is not None and now_ns - self._warm_since_ns < WARM_UP_S * 1e9:
            return None, "warming up"
        if self._same >= FROZEN_POLLS and now_ns - self._same_since_ns >= FROZEN_S * 1e9:
            return None, f"frozen: the same bits 0x{words[0]:04X} 0x{words[1]:04X} in {self._same} polls"
        return ppm, status


class _Session:
    """One open line to one probe: which lengths it answers, and when it was last told the pressure."""

    def __init__(self, config: Config, master: RtuMaster) -> None:
        self._config, self._master = config, master
        self._lengths = cycle(LENGTHS)
        self._long_answered = False
        self._pressure_due_s = 0.0

    async def poll(self) -> tuple[tuple[int, ...], Status]:
        """The CO2 words, and the status of the same moment. Raises as `RtuMaster.read_registers`."""
        await self._tell_pressure()
        lengths = next(self._lengths)
        try:
            return await self._read(*lengths)
        except Refused:
            if lengths in SHORTEST or self._long_answered:
                raise
            self._lengths = cycle(SHORTEST)
            return await self._read(*SHORTEST[0])

    async def _read(self, co2_count: int, status_count: int) -> tuple[tuple[int, ...], Status]:
        unit, within_s = self._config.unit, self._config.poll_s / 2
        words = await self._master.read_registers(unit, CO2, co2_count, within_s=within_s)
        block = await self._master.read_registers(unit, STATUS, status_count, within_s=within_s)
        self._long_answered |= co2_count > SHORTEST[0][0]
        return words[:2], Status(block[0], block[1], block[3] | block[4] << 16)

    async def _tell_pressure(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._config.pressure_hpa is None or now_s < self._pressure_due_s:
            return
        words = from_float(self._config.pressure_hpa, self._config.word_order)
        await self._master.write_registers(self._config.unit, VOLATILE_PRESSURE, words)
        self._pressure_due_s = now_s + PRESSURE_EVERY_S


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[GasSample]:
    """A sample a poll, good or with its cause; what could not be read goes to ``around.reject`` with its bytes.

    Raises:
        Refused: the probe lacks these registers.
        TimeoutError: no reply for ``silence_s``.
        ConnectionError: the line is lost.
    """
    loop, watch = asyncio.get_running_loop(), Watch()
    async with _line(config) as line:
        session, heard_s, due_s = _Session(config, RtuMaster(line)), loop.time(), loop.time()
        while True:
            ppm: float | None = None
            try:
                words, block = await session.poll()
                heard_s = loop.time()
                ppm, status = watch.judge(*judge(words, block, config.word_order), words, around.monotonic_ns())
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
            yield GasSample(name, stamp, Point(config.point), ppm, status, pressure_hpa=config.pressure_hpa)
            due_s = max(due_s + config.poll_s, loop.time())
            await asyncio.sleep(due_s - loop.time())
