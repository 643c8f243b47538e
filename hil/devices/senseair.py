"""A Senseair S8 or K30 on a pseudo-terminal: Modbus RTU by hand, ``python -m hil.devices.senseair --link PATH``.

Prints ``port PATH``; takes one JSON object a line on stdin, each answered with ``done``. Values stay until changed:
``{"co2_ppm": 612}``, out of tune by ``gain``, ``offset_ppm``, ``lag_s`` and ``delay_s`` (see `hil.world.cell`),
``{"noise_ppm": 1}``, ``{"status": 32}`` (input register 1), ``{"abc_hours": 180}`` (holding register 32),
``{"abc_sticks": true}`` (a write of it is answered and not kept), ``{"serial": 4660}``. Faults hit the next request,
or the next ``"times"``: ``{"do": "late", "ms": 800}``, ``silent``, ``crc``. ``unplug`` hangs up, ``plug`` comes back.
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

ANY_UNIT = 0xFE  # answered by whoever hears it
REPLY_S = 0.01  # assumed: some milliseconds
STATUS, CO2, TYPE_HIGH, TYPE_LOW, FIRMWARE, SERIAL_HIGH, SERIAL_LOW = 0x00, 0x03, 0x19, 0x1A, 0x1C, 0x1D, 0x1E
ABC_PERIOD = 0x1F
MOST_REGISTERS = 8  # an S8 gives no more in one read


class Sensor:
    """Input registers, holding registers, and the answers from them."""

    def __init__(self, unit: int, link: Path) -> None:
        self.unit = unit
        self.line = PtyLine(link, self._hear)
        self.inputs = dict.fromkeys(range(0x20), 0)
        self.inputs |= {CO2: 420, TYPE_HIGH: 0x0001, TYPE_LOW: 0x0203, FIRMWARE: 0x0208, SERIAL_LOW: 0x1234}
        self.holdings = {0x00: 0, 0x01: 0, ABC_PERIOD: 0}
        self.cell, self._noise_ppm, self._chance = Cell(420.0), 0.0, random.Random(0x68)  # the same noise each time
        self._abc_sticks = False
        self._faults: deque[dict[str, Any]] = deque(maxlen=100)
        self._received = b""

    def take(self, order: dict[str, Any]) -> None:
        """Do what an order names."""
        self.cell.take(order, time.monotonic())
        self._noise_ppm = float(order.get("noise_ppm", self._noise_ppm))
        self.inputs[STATUS] = int(order.get("status", self.inputs[STATUS]))
        self.holdings[ABC_PERIOD] = int(order.get("abc_hours", self.holdings[ABC_PERIOD]))
        self._abc_sticks = bool(order.get("abc_sticks", self._abc_sticks))
        if "serial" in order:
            self.inputs[SERIAL_HIGH], self.inputs[SERIAL_LOW] = divmod(int(order["serial"]), 1 << 16)
        match order.get("do"):
            case "unplug":
                self.line.unplug()
                self._received = b""
            case "plug":
                self.line.plug()
            case "late" | "silent" | "crc":
                self._faults.extend([order] * int(order.get("times", 1)))

    def _hear(self, piece: bytes) -> None:
        self._received = (self._received + piece)[-512:]
        while found := first_request(self._received):
            request, self._received = found
            if request[0] in (self.unit, ANY_UNIT):
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
        function, address, count = struct.unpack(">BHH", request[1:6])
        if function in (3, 4):
            registers = self.holdings if function == 3 else self.inputs
            noise = self._chance.gauss(0.0, 1.0) * self._noise_ppm
            self.inputs[CO2] = round(self.cell.shown(time.monotonic()) + noise) & 0xFFFF
            wanted = range(address, address + count)
            if not 1 <= count <= MOST_REGISTERS or any(at not in registers for at in wanted):
                return bytes((function | 0x80, 2))
            return struct.pack(f">BB{count}H", function, 2 * count, *(registers[at] for at in wanted))
        if function != 6:
            return bytes((function | 0x80, 1))
        if address not in self.holdings:
            return bytes((function | 0x80, 2))
        if not (address == ABC_PERIOD and self._abc_sticks):
            self.holdings[address] = count
        return request[1:6]


async def run(link: Path, unit: int) -> None:
    """Be a sensor until stdin ends."""
    sensor = Sensor(unit, link)
    sensor.line.plug()
    print("port", link, flush=True)
    await obey(sensor.take)
    sensor.line.unplug()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", type=Path, required=True)
    parser.add_argument("--unit", type=int, default=0x68)  # assumed factory address
    arguments = parser.parse_args()
    asyncio.run(run(arguments.link, arguments.unit))
