"""An anemometer that says MWV on a pseudo-terminal: ``python -m hil.devices.wind --link PATH``.

Prints ``port PATH``; takes one JSON object a line on stdin, each answered with ``done``. It speaks every ``--every``
seconds, or only when told with 0. Values stay until changed: ``{"speed_m_s": 3.1}``, ``{"noise_m_s": 0.4}``,
``{"angle_deg": 350}``, ``{"talker": "II"}``, ``{"unit": "N"}``, ``{"reference": "T"}``, ``{"status": "V"}`` (void: the
fields are empty; ``"00"`` is a maker's good). ``{"do": "say", "times": 3}`` says it now, ``{"say": "..."}`` says that.
``{"do": "xor", "times": 2}`` spoils the next checksums. ``unplug`` hangs up, ``plug`` comes back.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from pathlib import Path
from typing import Any

from hil.devices.pty_line import PtyLine, obey

PER_M_S = {"M": 1.0, "K": 3.6, "N": 3600 / 1852, "S": 1 / 0.44704}


class Anemometer:
    """What it measures, and how it says so."""

    def __init__(self, link: Path, every_s: float) -> None:
        self.line = PtyLine(link)
        self._every_s = every_s
        self._numbers = {"speed_m_s": 3.0, "noise_m_s": 0.0, "angle_deg": 270.0}
        self._words = {"talker": "WI", "unit": "M", "reference": "R", "status": "A"}
        self._chance = random.Random(0x3A)  # the same gusts each time
        self._spoil = 0

    def take(self, order: dict[str, Any]) -> None:
        """Do what an order names."""
        for name in self._numbers:
            self._numbers[name] = float(order.get(name, self._numbers[name]))
        for name in self._words:
            self._words[name] = str(order.get(name, self._words[name]))
        if "say" in order:
            self.line.send(str(order["say"]).encode("latin-1"))
        match order.get("do"):
            case "say":
                for _ in range(int(order.get("times", 1))):
                    self.line.send(self.sentence())
            case "xor":
                self._spoil += int(order.get("times", 1))
            case "unplug":
                self.line.unplug()
            case "plug":
                self.line.plug()

    def sentence(self) -> bytes:
        """One MWV sentence with its checksum, or a spoilt one where that was asked for."""
        words, numbers = self._words, self._numbers
        speed_m_s = max(0.0, numbers["speed_m_s"] + self._chance.gauss(0.0, 1.0) * numbers["noise_m_s"])
        angle, speed = f"{numbers['angle_deg'] % 360:.0f}", f"{speed_m_s * PER_M_S[words['unit']]:.2f}"
        if words["status"] == "V":
            angle = speed = ""
        body = f"{words['talker']}MWV,{angle},{words['reference']},{speed},{words['unit']},{words['status']}".encode()
        check = 0x55 if self._spoil else 0
        self._spoil = max(0, self._spoil - 1)
        for byte in body:
            check ^= byte
        return b"$%s*%02X\r\n" % (body, check)

    async def speak_for_ever(self) -> None:
        """A sentence every so often."""
        while self._every_s:
            self.line.send(self.sentence())
            await asyncio.sleep(self._every_s)


async def run(link: Path, every_s: float) -> None:
    """Be an anemometer until stdin ends."""
    anemometer = Anemometer(link, every_s)
    anemometer.line.plug()
    print("port", link, flush=True)
    speaking = asyncio.create_task(anemometer.speak_for_ever())
    await obey(anemometer.take)
    speaking.cancel()
    anemometer.line.unplug()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--link", type=Path, required=True)
    parser.add_argument("--every", type=float, default=1.0)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.link, arguments.every))
