"""A GMP252 probe on a pseudo-terminal: Modbus RTU written by hand, ``python -m hil.devices.gmp25x --link PATH``.

Prints ``port PATH``; takes one JSON object a line on stdin. Values stay until changed: ``{"co2_ppm": 612.0}``,
``{"noise_ppm": 0.5}`` (a cell without noise is soon held to be frozen), out of tune: ``{"gain": 1.1}``,
``{"offset_ppm": -20}``, ``{"lag_s": 26}`` and ``{"delay_s": 7.5}`` (see `hil.world.cell`),
``{"status": 2}`` (CO2 status), ``{"device_status": 2}``, ``{"errors": 4096}``, ``{"filter": 20}`` and
``{"unit_register": 7}`` (what 0x0300 says). Each line is answered with ``done``. Faults hit the next request,
or the next ``"times"``: ``{"do": "late", "ms": 800}``, ``silent``, ``crc``. ``unplug`` hangs
up and takes the link away, ``plug`` is a new line.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import struct
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

from hil.devices.pty_line import PtyLine
from hil.world.cell import Cell

REPLY_S = 0.01  # assumed: a probe answers after some milliseconds
MAPPED = ((0x0000, 0x0010), (0x0100, 0x0102), (0x0200, 0x0210), (0x0300, 0x0309), (0x0800, 0x0806))  # [from, to)
WRITABLE = ((0x0200, 0x0210), (0x0300, 0x0309))


def crc(frame: bytes) -> bytes:
    """CRC-16, low byte first (MODBUS over Serial Line V1.02, 6.2.2)."""
    value = 0xFFFF
    for byte in frame:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ 0xA001 if value & 1 else value >> 1
    return struct.pack("<H", value)


def _inside(address: int, count: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= address and address + count <= high for low, high in ranges)


class Probe:
    """The register map, and the answers from it."""

    def __init__(self, unit: int) -> None:
        self.unit = unit
        self.cell, self.noise_ppm = Cell(420.0), 0.0
        self._chance = random.Random(unit)  # the same noise each time
        self.registers: dict[int, int] = {0x0300: unit, 0x0301: 2, 0x0302: 0, 0x0308: 100}
        self.measure()
        for base in (0x0200, 0x0208):
            self.put_float(base, 1013.0)

    def put_float(self, address: int, value: float) -> None:
        """Least significant word first, as the manual says."""
        high, low = struct.unpack(">HH", struct.pack(">f", value))
        self.registers[address], self.registers[address + 1] = low, high

    def measure(self) -> None:
        """A new value of the cell, and its noise, 1 sigma."""
        self.put_float(0x0000, self.cell.shown(time.monotonic()) + self._chance.gauss(0.0, 1.0) * self.noise_ppm)

    def take(self, order: dict[str, Any]) -> None:
        """Set what an order names."""
        self.cell.take(order, time.monotonic())
        self.noise_ppm = float(order.get("noise_ppm", self.noise_ppm))
        self.measure()
        if "status" in order:
            self.registers[0x0801] = int(order["status"])
        if "device_status" in order:
            self.registers[0x0800] = int(order["device_status"])
        if "errors" in order:
            self.registers[0x0803], self.registers[0x0804] = order["errors"] & 0xFFFF, order["errors"] >> 16
        if "unit_register" in order:
            self.registers[0x0300] = int(order["unit_register"])
        if "filter" in order:
            self.registers[0x0308] = int(order["filter"])

    def answer(self, request: bytes) -> bytes:
        """Reply frame to a request frame whose CRC is right."""
        function, address, count = struct.unpack(">BHH", request[1:6])
        if function in (3, 4):
            if address == 0:
                self.measure()
            if not 1 <= count <= 125 or not _inside(address, count, MAPPED):
                return self._frame(bytes((function | 0x80, 2)))
            words = [self.registers.get(address + i, 0) for i in range(count)]
            return self._frame(struct.pack(f">BB{count}H", function, 2 * count, *words))
        if not _inside(address, 1 if function == 6 else count, WRITABLE):
            return self._frame(bytes((function | 0x80, 2)))
        if function == 6:
            self.registers[address] = count
        else:
            for i in range(count):
                self.registers[address + i] = int.from_bytes(request[7 + 2 * i : 9 + 2 * i], "big")
        return self._frame(request[1:6])

    def _frame(self, body: bytes) -> bytes:
        frame = bytes((self.unit,)) + body
        return frame + crc(frame)


def first_request(received: bytes) -> tuple[bytes, bytes] | None:
    """The first request with a right CRC, and what follows it."""
    for start in range(len(received) - 7):
        rest = received[start:]
        size = 9 + rest[6] if rest[1] == 16 else 8
        if rest[1] in (3, 4, 6, 16) and size <= len(rest) and crc(rest[: size - 2]) == rest[size - 2 : size]:
            return rest[:size], rest[size:]
    return None


class Line:
    """What comes and goes over the pseudo-terminal behind the link."""

    def __init__(self, probe: Probe, link: Path) -> None:
        self._probe = probe
        self._line = PtyLine(link, self._heard)
        self._received = b""
        self.faults: deque[dict[str, Any]] = deque(maxlen=100)

    def plug(self) -> None:
        """A new line under the old name."""
        self._line.plug()

    def unplug(self) -> None:
        """Hang up, and take the name away."""
        self._line.unplug()
        self._received = b""

    def _heard(self, piece: bytes) -> None:
        self._received = (self._received + piece)[-512:]
        while found := first_request(self._received):
            request, self._received = found
            if request[0] == self._probe.unit:  # a real bus is silent for others
                self._reply(self._probe.answer(request))

    def _reply(self, frame: bytes) -> None:
        fault = self.faults.popleft() if self.faults else {}
        if fault.get("do") == "silent":
            return
        if fault.get("do") == "crc":
            frame = frame[:-1] + bytes((frame[-1] ^ 0x55,))
        delay_s = fault["ms"] / 1000 if fault.get("do") == "late" else REPLY_S
        self._line.send_later(delay_s, frame)


async def run(link: Path, unit: int) -> None:
    """Be a probe until stdin ends."""
    probe = Probe(unit)
    line = Line(probe, link)
    line.plug()
    print("port", link, flush=True)
    while text := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(text)
        probe.take(order)
        match order.get("do"):
            case "unplug":
                line.unplug()
            case "plug":
                line.plug()
            case "late" | "silent" | "crc":
                line.faults.extend([order] * int(order.get("times", 1)))
        print("done", flush=True)
    line.unplug()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", type=Path, required=True)
    parser.add_argument("--unit", type=int, default=240)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.link, arguments.unit))
