"""A Raspberry Shake that casts to one address: ``python -m hil.devices.raspberryshake_udp --to HOST:PORT``.

Prints ``port HOST:PORT`` (where it sends from); takes one JSON object a line on stdin, each answered with ``done``.
It casts in real time, or only when told with ``--told``. ``{"do": "send", "packets": 4}`` casts that many of each
channel now; ``{"do": "send", "samples": {"EHZ": [1, 2]}}`` casts these counts. Values stay until changed:
``{"channels": ["EHZ", "ENZ"]}``, ``{"rate_hz": 50}``, ``{"noise_counts": 50}``, ``{"tone_hz": 1.2}``,
``{"tone_counts": 400}``, ``{"stuck_at": 0}`` (null ends it). Faults: ``{"do": "lose", "packets": 2}`` (time goes on),
``{"do": "step", "s": 1.0}`` (its clock), ``{"do": "twice"}`` (the next packets double),
``{"do": "raw", "text": "..."}``, ``unplug``, ``plug``.
"""

from __future__ import annotations

import argparse
import asyncio
import math
import random
import socket
import time
from typing import Any

from hil.devices.pty_line import obey

PACKET_SAMPLES = {100: 25, 50: 50}


class Shake:
    """Its clock, its channels, and the datagrams."""

    def __init__(self, to: tuple[str, int], source: str) -> None:
        self._to = to
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self._channels = ["EHZ"]
        self._rate_hz = 100
        self._values = {"noise_counts": 50.0, "tone_hz": 1.2, "tone_counts": 0.0}
        self._stuck_at: int | None = None
        self._chance = random.Random(0x88)  # the same noise each time
        self._time_s = round(time.time(), 3)
        self._phase_s = 0.0
        self._copies, self._plugged = 1, True

    @property
    def place(self) -> str:
        """Where it sends from."""
        host, port = self._socket.getsockname()
        return f"{host}:{port}"

    def take(self, order: dict[str, Any]) -> None:
        """Do what an order names."""
        self._channels = [str(channel) for channel in order.get("channels", self._channels)]
        self._rate_hz = int(order.get("rate_hz", self._rate_hz))
        for name in self._values:
            self._values[name] = float(order.get(name, self._values[name]))
        if "stuck_at" in order:
            self._stuck_at = order["stuck_at"]
        match order.get("do"):
            case "send" if "samples" in order:
                self._cast({str(channel): list(counts) for channel, counts in order["samples"].items()})
            case "send":
                for _ in range(int(order.get("packets", 1))):
                    self.send()
            case "lose":
                self._time_s += int(order["packets"]) * self.packet_s
            case "step":
                self._time_s += float(order["s"])
            case "twice":
                self._copies = 2
            case "raw":
                self._socket.sendto(str(order["text"]).encode("latin-1"), self._to)
            case "unplug" | "plug":
                self._plugged = order["do"] == "plug"

    @property
    def packet_s(self) -> float:
        """Seconds in a packet."""
        return PACKET_SAMPLES[self._rate_hz] / self._rate_hz

    def send(self) -> None:
        """A packet of each channel, of noise and a tone."""
        n, values = PACKET_SAMPLES[self._rate_hz], self._values
        packets: dict[str, list[int]] = {}
        for channel in self._channels:
            turns = [values["tone_hz"] * (self._phase_s + i / self._rate_hz) for i in range(n)]
            packets[channel] = [
                round(values["tone_counts"] * math.sin(math.tau * turn) + self._chance.gauss(0, values["noise_counts"]))
                for turn in turns
            ]
        self._phase_s += self.packet_s
        self._cast(packets)

    def _cast(self, packets: dict[str, list[int]]) -> None:
        for channel, counts in packets.items():
            said = [self._stuck_at] * len(counts) if self._stuck_at is not None else counts
            text = f"{{'{channel}', {self._time_s:.3f}, {', '.join(map(str, said))}}}"
            for _ in range(self._copies if self._plugged else 0):
                self._socket.sendto(text.encode("ascii"), self._to)
        self._copies = 1
        self._time_s += max(len(counts) for counts in packets.values()) / self._rate_hz

    async def cast_for_ever(self) -> None:
        """In real time, each packet when its last sample has been taken."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s += self.packet_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self.send()


async def run(to: tuple[str, int], source: str, told: bool) -> None:
    """Be a unit until stdin ends."""
    shake = Shake(to, source)
    print("port", shake.place, flush=True)
    casting = None if told else asyncio.create_task(shake.cast_for_ever())
    await obey(shake.take)
    if casting:
        casting.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", required=True)
    parser.add_argument("--source", default="127.0.0.1")
    parser.add_argument("--told", action="store_true")
    arguments = parser.parse_args()
    target, _, target_port = arguments.to.rpartition(":")
    asyncio.run(run((target, int(target_port)), arguments.source, arguments.told))
