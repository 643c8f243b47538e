"""A Sensirion SCD30 on a pseudo-terminal: Modbus RTU by hand, ``python -m hil.devices.scd30 --link PATH``.

Prints ``port PATH``; takes one JSON object a line on stdin, each answered with ``done``. It measures every
``--every`` seconds, or only when told (0). Values stay until changed: ``{"co2_ppm": 612.0}``, ``{"noise_ppm": 0.5}``,
out of tune by ``gain``, ``offset_ppm``, ``lag_s`` and ``delay_s`` (see `hil.world.cell`),
``{"temperature_c": 21.0}``, ``{"humidity_pct": 40.0}``, ``{"asc": 1}``, ``{"asc_sticks": true}`` (a write of it is
answered and not kept). ``{"do": "measure"}`` makes a measurement. Faults hit the next request, or the next ``"times"``:
``{"do": "late", "ms": 800}``, ``silent``, ``crc``. ``unplug`` hangs up, ``plug`` comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import struct
import time
from collections import deque
from pathlib import Path
from typing import Any

from hil.devices.gmp25x import crc, first_request
from hil.devices.pty_line import PtyLine, obey
from hil.world.cell import Cell

UNIT = 0x61
REPLY_S = 0.005  # assumed: some milliseconds
FIRMWARE, INTERVAL, READY, MEASUREMENT, START, STOP, ASC = 0x20, 0x25, 0x27, 0x28, 0x36, 0x37, 0x3A
READABLE = {FIRMWARE, INTERVAL, READY, ASC, *range(MEASUREMENT, MEASUREMENT + 6)}


class Sensor:
    """The register map, a cell that measures, and the answers."""

    def __init__(self, link: Path, every_s: float) -> None:
        self.line = PtyLine(link, self._hear)
        self._every_s = every_s
        self.registers = {FIRMWARE: 0x0342, INTERVAL: 2, READY: 0, START: 0, STOP: 0, ASC: 1}  # it comes with ASC on
        self.cell = Cell(420.0)
        self._values = {"temperature_c": 21.0, "humidity_pct": 40.0}
        self._noise_ppm, self._chance = 0.0, random.Random(0x30)  # the same noise each time
        self._asc_sticks = self._measuring = False
        self._faults: deque[dict[str, Any]] = deque(maxlen=100)
        self._received = b""
        self._fill()

    def take(self, order: dict[str, Any]) -> None:
        """Do what an order names."""
        self.cell.take(order, time.monotonic())
        for name in self._values:
            self._values[name] = float(order.get(name, self._values[name]))
        self._noise_ppm = float(order.get("noise_ppm", self._noise_ppm))
        self.registers[ASC] = int(order.get("asc", self.registers[ASC]))
        self._asc_sticks = bool(order.get("asc_sticks", self._asc_sticks))
        match order.get("do"):
            case "measure":
                self.measure()
            case "unplug":
                self.line.unplug()
                self._received = b""
            case "plug":
                self.line.plug()
            case "late" | "silent" | "crc":
                self._faults.extend([order] * int(order.get("times", 1)))

    async def measure_for_ever(self) -> None:
        """A measurement every so often, once started."""
        while self._every_s:
            await asyncio.sleep(self._every_s)
            if self._measuring:
                self.measure()

    def measure(self) -> None:
        """A new value of the cell, ready to be read."""
        self._fill()
        self.registers[READY] = 1

    def _fill(self) -> None:
        co2 = self.cell.shown(time.monotonic()) + self._chance.gauss(0.0, 1.0) * self._noise_ppm
        raw = struct.pack(">fff", co2, self._values["temperature_c"], self._values["humidity_pct"])
        for at, word in enumerate(struct.unpack(">6H", raw)):
            self.registers[MEASUREMENT + at] = word

    def _hear(self, piece: bytes) -> None:
        self._received = (self._received + piece)[-512:]
        while found := first_request(self._received):
            request, self._received = found
            if request[0] == UNIT:
                self._reply(request[:1] + self._answer(request))

    def _reply(self, body: bytes) -> None:
        frame = body + crc(body)
        fault = self._faults.popleft() if self._faults else {}
        if fault.get("do") == "silent":
            return
        if fault.get("do") == "crc":
            frame = frame[:-1] + bytes((frame[-1] ^ 0x55,))
        self.line.send_later(fault["ms"] / 1000 if fault.get("do") == "late" else REPLY_S, frame)

    def _answer(self, request: bytes) -> bytes:
        function, address, value = struct.unpack(">BHH", request[1:6])
        if function == 3:
            wanted = range(address, address + value)
            if not wanted or not READABLE.issuperset(wanted):
                return bytes((0x83, 2))
            words = [self.registers[at] for at in wanted]
            if MEASUREMENT in wanted:
                self.registers[READY] = 0
            return struct.pack(f">BB{value}H", 3, 2 * value, *words)
        if function != 6:
            return bytes((function | 0x80, 1))
        if address not in (INTERVAL, START, STOP, ASC):
            return bytes((0x86, 2))
        if not (address == ASC and self._asc_sticks):
            self.registers[address] = value
        self._measuring = address == START or (self._measuring and address != STOP)
        return request[1:6]


async def run(link: Path, every_s: float) -> None:
    """Be a sensor until stdin ends."""
    sensor = Sensor(link, every_s)
    sensor.line.plug()
    print("port", link, flush=True)
    measuring = asyncio.create_task(sensor.measure_for_ever())
    await obey(sensor.take)
    measuring.cancel()
    sensor.line.unplug()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", type=Path, required=True)
    parser.add_argument("--every", type=float, default=2.0)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.link, arguments.every))
