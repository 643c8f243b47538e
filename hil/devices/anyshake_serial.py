"""An AnyShake Explorer on a pseudo-terminal, frames of version 3: ``python -m hil.devices.anyshake_serial --link X``.

Prints ``port X``; takes one JSON object a line on stdin, each answered with ``done``. It sends in real time, or only
when told with ``--told``. ``{"do": "send", "frames": 4}`` sends that many now; ``{"do": "send", "samples": [[1, 2]]}``
sends these counts, a list a channel. Values stay until changed: ``{"rate_hz": 250}``, ``{"interval_ms": 100}``,
``{"sample_bytes": [4, 4, 4]}`` (a channel each, 0 is off), ``{"gnss": true}``, ``{"device_id": 305419896}``,
``{"noise_counts": 50}``, ``{"tone_hz": 1.2}``, ``{"tone_counts": 400}``, ``{"stuck_at": 0}`` (null ends it).
Faults: ``{"do": "lose", "frames": 2}``, ``{"do": "step", "ms": 70}`` (its clock), ``{"do": "boot"}`` (milliseconds from
0), ``{"do": "xor"}`` and ``{"do": "cut"}`` (the next frame), ``{"do": "raw", "hex": "01fe"}``, ``unplug``, ``plug``.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import struct
import time
from pathlib import Path
from typing import Any

from hil.devices.pty_line import PtyLine, obey

INTERVALS_MS = [100, 200, 500, 1000]
RATES_HZ = [10, 20, 50, 100, 200, 250, 500, 1000]
VARIABLES = 0x1F  # identity, latitude, longitude, elevation, temperature


class Explorer:
    """Its clock, its channels, and the frames."""

    def __init__(self, link: Path) -> None:
        self.line = PtyLine(link)
        self._numbers = {"rate_hz": 250, "interval_ms": 100, "device_id": 0x12F81AC0}
        self._levels = {"noise_counts": 50.0, "tone_hz": 1.2, "tone_counts": 0.0}
        self._sample_bytes = [4, 4, 4]
        self._gnss = False
        self._stuck_at: int | None = None
        self._chance = random.Random(0xA5)  # the same noise each time
        self._ms = 60_000  # since its start
        self._phase_s = 0.0
        self._spoil = ""

    def take(self, order: dict[str, Any]) -> None:
        """Do what an order names."""
        for name in self._numbers:
            self._numbers[name] = int(order.get(name, self._numbers[name]))
        for name in self._levels:
            self._levels[name] = float(order.get(name, self._levels[name]))
        self._sample_bytes = [int(size) for size in order.get("sample_bytes", self._sample_bytes)]
        self._stuck_at = order.get("stuck_at", self._stuck_at)
        if "gnss" in order:
            self._gnss = bool(order["gnss"])
            self._ms = time.time_ns() // 10**6 if self._gnss else 60_000
        match order.get("do"):
            case "send" if "samples" in order:
                self._say([[int(count) for count in counts] for counts in order["samples"]])
            case "send":
                for _ in range(int(order.get("frames", 1))):
                    self.send()
            case "lose":
                self._ms += int(order["frames"]) * self._numbers["interval_ms"]
            case "step":
                self._ms += int(order["ms"])
            case "boot":
                self._ms = 0
            case "xor" | "cut":
                self._spoil = str(order["do"])
            case "raw":
                self.line.send(bytes.fromhex(order["hex"]))
            case "unplug":
                self.line.unplug()
            case "plug":
                self.line.plug()

    def send(self) -> None:
        """A frame of noise and a tone on each channel."""
        n = self._numbers["interval_ms"] * self._numbers["rate_hz"] // 1000
        turns = [self._levels["tone_hz"] * (self._phase_s + i / self._numbers["rate_hz"]) for i in range(n)]
        self._phase_s += self._numbers["interval_ms"] / 1000
        self._say([[self._count(turn) for turn in turns] for _ in self._sample_bytes])

    def _count(self, turn: float) -> int:
        noise = self._chance.gauss(0.0, self._levels["noise_counts"])
        return round(self._levels["tone_counts"] * math.sin(math.tau * turn) + noise)

    def _say(self, channels: list[list[int]]) -> None:
        frame = self.frame(channels)
        if self._spoil == "xor":
            frame = frame[:-3] + bytes((frame[-3] ^ 0x55,)) + frame[-2:]
        elif self._spoil == "cut":
            frame = frame[: len(frame) // 2]
        self._spoil = ""
        self._ms += self._numbers["interval_ms"]
        self.line.send(frame)

    def frame(self, channels: list[list[int]]) -> bytes:
        """One frame of these counts, a list a channel."""
        body = struct.pack("<qII", self._ms, self._word(), self._variable())
        for size, counts in zip(self._sample_bytes, channels, strict=True):
            for count in counts if size else []:
                value = count if self._stuck_at is None else self._stuck_at
                body += (value & (1 << 8 * size) - 1).to_bytes(size, "little")
        check = 0
        for byte in body:
            check ^= byte
        return b"\x01\xfe" + body + bytes((check,)) + b"\xef\x10"

    def _word(self) -> int:
        word = INTERVALS_MS.index(self._numbers["interval_ms"]) << 30
        word |= RATES_HZ.index(self._numbers["rate_hz"]) << 27 | self._gnss << 26 | VARIABLES
        for channel, size in enumerate(self._sample_bytes):
            word |= (size - 1 if size else 0) << 24 - 2 * channel
        return word

    def _variable(self) -> int:
        values = {1: 51.1, 2: 1.3, 3: 12.0, 4: 18.5}
        second = self._ms // 1000 % 10
        if second == 0:
            return self._numbers["device_id"]
        return int.from_bytes(struct.pack("<f", values.get(second, 0.0)), "little")

    async def send_for_ever(self) -> None:
        """In real time, each frame when its last sample has been taken."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s += self._numbers["interval_ms"] / 1000
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self.send()


async def run(link: Path, told: bool) -> None:
    """Be a digitizer until stdin ends."""
    explorer = Explorer(link)
    explorer.line.plug()
    print("port", link, flush=True)
    sending = None if told else asyncio.create_task(explorer.send_for_ever())
    await obey(explorer.take)
    if sending:
        sending.cancel()
    explorer.line.unplug()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", type=Path, required=True)
    parser.add_argument("--told", action="store_true")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.link, arguments.told))
