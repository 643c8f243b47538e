"""A digitiser's SeedLink server, versions 3 and 4: ``python -m hil.devices.seedlink_server --sensors B1,G1``.

Prints ``listening PORT``, then answers ``done`` to each line of JSON on stdin:
``{"sensor": "B1", "start_utc_ns": "1790000000000000000", "rate_hz": 250, "counts": [1, 2]}`` feeds samples;
``{"do": "unplug", "sensor": "B2"}`` and ``plug``; ``stall`` (nothing is sent any more) and ``resume``; ``drop`` (all
connections are closed); ``refuse`` (ERROR to every command) and ``accept``; ``damage`` (the next record of a sensor);
``renumber`` (numbers begin at 1 again); ``clock`` with ``offset_s`` (the digitiser's clock is off by that).

Out of tune: ``{"do": "detune", "sensor": "B1", "f0_hz": 4.9, "damping": 0.6, "gain": 1.1, "polarity": -1, "coupled":
false}`` (fed counts get gain and polarity, generated ones all of it) and ``{"do": "swap", "sensors": ["B1", "B2"]}``.
It makes signals of its own by ``{"do": "live", "what": "rest", "seconds": 60, "speed": 1, "level": 0.3}`` (``plate``,
``release``, or ``tap`` with ``at``; the level is the ground's at rest), over and over until ``{"do": "live"}``;
``speed`` above 1 lets its clock run so much faster.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import struct
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from hil.devices.miniseed import SAMPLES_IN_RECORD, Channel, encode2, encode3, text_record
from hil.world import geophones

HELLO = "SeedLink v4.0 (emulated) :: SLPROTO:4.0 SLPROTO:3.1"
RING_PACKETS = 4096
COMMAND_BYTES = 512


@dataclass(frozen=True, slots=True)
class Packet:
    """A record as it is sent to a client of either version."""

    number: int
    sensor: str
    channel: str
    start_ns: int
    end_ns: int
    record2: bytes
    record3: bytes | None


@dataclass(slots=True)
class Wish:
    """What a client asked for: selectors, where to begin, and the times between which."""

    selects: list[str] = field(default_factory=list)
    after: int | None = None  # the number of the last packet that is not wanted
    begin_ns: int | None = None
    end_ns: int | None = None
    dial_up: bool = False


@dataclass(slots=True, eq=False)
class Client:
    """One connection."""

    writer: asyncio.StreamWriter
    task: asyncio.Task[None] | None
    version: int = 3
    wish: Wish | None = None
    lost: bool = False


def _time_ns(text: str) -> int:
    """Version 3 ``2026,11,25,8,0,0`` or version 4 ``2026-11-25T08:00:00.5Z``."""
    if "," in text:
        moment = datetime(*(int(float(part)) for part in text.split(",")), tzinfo=UTC)  # type: ignore[arg-type,misc]
    else:
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


def selected(packet: Packet, selects: Sequence[str], version: int) -> bool:
    """Whether any selector takes the packet and none of the negative ones does."""
    wanted = not any(not select.startswith("!") for select in selects)
    for select in selects:
        pattern = select.lstrip("!").split(":")[0].split(".")[0]
        name = f"{packet.sensor}_{'_'.join(packet.channel)}"
        if version == 3:
            name = packet.sensor + packet.channel
            pattern = "??" + pattern if len(pattern) == 3 else pattern
        if fnmatchcase(name, pattern):
            if select.startswith("!"):
                return False
            wanted = True
    return wanted


class Server:
    """The ring of packets and everybody who listens to it. ``feed`` from the same event loop."""

    def __init__(self, station: str, sensors: Sequence[str], rate_hz: float, miniseed: int = 2) -> None:
        self.network, _, self.station = station.partition("_")
        self.sensors, self.rate_hz, self.miniseed = tuple(sensors), rate_hz, miniseed
        self.ring: deque[Packet] = deque(maxlen=RING_PACKETS)
        self.number = 0
        self.stalled = self.refusing = False
        self.unplugged: set[str] = set()
        self.damaged: set[str] = set()
        self.clock_offset_ns = 0
        self.elements = {sensor: geophones.Element() for sensor in self.sensors}
        self.plugged = {sensor: sensor for sensor in self.sensors}  # sensor -> the channel that it comes in on
        self._live: asyncio.Task[None] | None = None
        self._live_ns = 0
        self.asked = asyncio.Event()  # somebody has said END, and packets go there from now on
        self._sent = 0  # packets ever made, whatever their numbers
        self._news = asyncio.Event()
        self._clients: set[Client] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> int:
        """Begin to answer; the port."""
        self._server = await asyncio.start_server(self._serve, host, port, limit=COMMAND_BYTES)
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def close(self) -> None:
        """End all of it."""
        if self._server is not None:
            self._server.close()
        self.drop()
        self._stop_live()
        tasks = [client.task for client in self._clients if client.task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def drop(self) -> None:
        """Close every connection."""
        for client in self._clients:
            client.lost = True
            client.writer.close()
        self._wake()

    def feed(self, sensor: str, start_ns: int, counts: Sequence[int], rate_hz: float | None = None) -> None:
        """Samples of a sensor as records of at most 112; an unplugged sensor gives none."""
        if sensor not in self.sensors:
            raise ValueError(f"no sensor {sensor}; there are {', '.join(self.sensors)}")
        if sensor in self.unplugged:
            return
        element = self.elements[sensor]
        if (factor := element.gain * element.polarity) != 1:
            counts = [round(factor * count) for count in counts]
        self._records(sensor, start_ns, counts, rate_hz)

    def _records(self, sensor: str, start_ns: int, counts: Sequence[int], rate_hz: float | None = None) -> None:
        rate = rate_hz or self.rate_hz
        for first in range(0, len(counts), SAMPLES_IN_RECORD):
            piece = counts[first : first + SAMPLES_IN_RECORD]
            self._append(self.plugged[sensor], start_ns + self.clock_offset_ns + round(first * 1e9 / rate), rate, piece)
        self._wake()

    def _append(self, sensor: str, start_ns: int, rate_hz: float, counts: Sequence[int]) -> None:
        self.number, self._sent = self.number + 1, self._sent + 1
        code = "DHZ" if rate_hz >= 250 else "EHZ"  # FDSN band codes of short-period sensors
        channel = Channel(self.network, self.station, sensor, code)
        record2 = encode2(channel, start_ns, rate_hz, counts, self.number)
        record3 = encode3(channel, start_ns, rate_hz, counts, 100) if self.miniseed == 3 else None
        if sensor in self.damaged:
            self.damaged.discard(sensor)
            record2 = record2[:24] + b"\x63" + record2[25:]  # hour 99
            record3 = record3 and record3[:40] + b"#" + record3[41:]
        end_ns = start_ns + round(len(counts) * 1e9 / rate_hz)
        self.ring.append(Packet(self.number, sensor, code, start_ns, end_ns, record2, record3))

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def do(self, order: dict[str, Any]) -> None:
        """One order, as it stands on stdin."""
        match order.get("do"):
            case None:
                self.feed(order["sensor"], int(order["start_utc_ns"]), order["counts"], order.get("rate_hz"))
            case "unplug":
                self.unplugged.add(order["sensor"])
            case "plug":
                self.unplugged.discard(order["sensor"])
            case "stall" | "resume" as what:
                self.stalled = what == "stall"
                self._wake()
            case "drop":
                self.drop()
            case "refuse" | "accept" as what:
                self.refusing = what == "refuse"
            case "damage":
                self.damaged.add(order["sensor"])
            case "renumber":
                self.number = 0
            case "clock":
                self.clock_offset_ns = round(float(order["offset_s"]) * 1e9)
            case "detune":
                names = {"f0_hz", "damping", "gain", "polarity", "coupled"} & order.keys()
                element = self.elements[order["sensor"]]
                self.elements[order["sensor"]] = replace(element, **{name: order[name] for name in names})
            case "swap":
                one, other = order["sensors"]
                self.plugged[one], self.plugged[other] = self.plugged[other], self.plugged[one]
            case "live":
                self._stop_live()
                if "what" in order:
                    self._live = asyncio.get_running_loop().create_task(self._make(order))
            case unknown:
                raise ValueError(f"unknown order {unknown!r}")

    def _stop_live(self) -> None:
        if self._live is not None:
            self._live.cancel()
            self._live = None

    async def _make(self, order: dict[str, Any]) -> None:
        """Signals of its own, the same each time, in pieces of 0.4 s of its clock."""
        random, rate_hz, speed = np.random.default_rng(20), self.rate_hz, float(order.get("speed", 1.0))
        piece, start_ns = round(0.4 * rate_hz), max(time.time_ns(), self._live_ns)  # its clock never goes back
        due_s = asyncio.get_running_loop().time()
        while True:
            waves = self._waves(order, random)
            for first in range(0, len(next(iter(waves.values()))) - piece + 1, piece):
                for sensor, wave in waves.items():
                    if sensor not in self.unplugged:
                        self._records(sensor, start_ns, wave[first : first + piece].astype(int).tolist())
                self._wake()
                start_ns += round(piece * 1e9 / rate_hz)
                self._live_ns = start_ns
                due_s += piece / rate_hz / speed
                await asyncio.sleep(max(0.0, due_s - asyncio.get_running_loop().time()))

    def _waves(self, order: dict[str, Any], random: np.random.Generator) -> dict[str, Any]:
        seconds = float(order.get("seconds", 60.0))
        match order["what"]:
            case "rest":
                return geophones.at_rest(self.elements, seconds, self.rate_hz, random, float(order.get("level", 0.3)))
            case "plate":
                return geophones.on_a_plate(self.elements, seconds, self.rate_hz, random)
            case "release":
                return geophones.releases(self.elements, seconds, self.rate_hz, random)
            case "tap":
                return geophones.tapped(self.elements, order["at"], seconds, self.rate_hz, random)
            case unknown:
                raise ValueError(f"unknown signal {unknown!r}")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = Client(writer, asyncio.current_task())
        self._clients.add(client)
        sender = None
        try:
            while line := await _command(reader):
                words = line.split()
                if not words:
                    continue
                if words[0].upper() == "BYE":
                    return
                if words[0].upper() in ("END", "ENDFETCH") and client.wish and not self.refusing:
                    client.wish.dial_up |= words[0].upper() == "ENDFETCH"
                    sender = sender or asyncio.create_task(self._send(client, client.wish))
                    continue
                writer.write(self._answer(client, words))
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, ValueError):
            return
        finally:
            client.lost = True
            if sender is not None:
                sender.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await sender
            self._clients.discard(client)
            writer.close()

    def _answer(self, client: Client, words: list[str]) -> bytes:
        verb, *rest = (words[0].upper(), *words[1:])
        if verb == "HELLO":
            return f"{HELLO}\r\nlane test rig\r\n".encode()
        try:
            if self.refusing:
                raise ValueError("UNAUTHORIZED refused by order")
            if verb == "INFO":
                return self._info(client, " ".join(rest))
            self._configure(client, verb, rest)
        except (ValueError, IndexError, TypeError) as error:
            text = str(error) if str(error).startswith("UN") else f"ARGUMENTS {error}"
            return f"ERROR {text}\r\n".encode() if client.version == 4 else b"ERROR\r\n"
        return b"OK\r\n"

    def _configure(self, client: Client, verb: str, rest: list[str]) -> None:
        if verb == "SLPROTO":
            if rest != ["4.0"]:
                raise ValueError("UNSUPPORTED version")
            client.version = 4
        elif verb == "STATION":
            pattern = rest[0] if len(rest) == 1 else f"{rest[1]}_{rest[0]}"
            if not fnmatchcase(f"{self.network}_{self.station}", pattern):
                raise ValueError(f"no station {pattern}")
            client.wish = Wish()
        elif verb in ("SELECT", "DATA", "FETCH", "TIME"):
            if client.wish is None:
                raise ValueError("UNEXPECTED before STATION")
            if verb == "SELECT":
                client.wish.selects += rest
            else:
                self._begin(client, client.wish, verb, rest)
        elif verb != "USERAGENT":
            raise ValueError(f"UNSUPPORTED {verb}")

    def _begin(self, client: Client, wish: Wish, verb: str, rest: list[str]) -> None:
        wish.dial_up = verb == "FETCH"
        if verb == "TIME":
            times = rest
        elif rest and rest[0].upper() == "ALL":
            wish.after, times = 0, rest[1:]
        elif rest:
            wish.after, times = int(rest[0], 10 if client.version == 4 else 16) - 1, rest[1:]
        else:
            wish.after, times = (0 if wish.dial_up else None), []
        if times:
            wish.begin_ns = _time_ns(times[0])
        if len(times) > 1:
            wish.end_ns = _time_ns(times[1])

    def _info(self, client: Client, level: str) -> bytes:
        if level.upper() != "ID":
            raise ValueError(f"UNSUPPORTED INFO {level}")
        if client.version == 4:
            said = json.dumps({"software": HELLO.split(" ::")[0], "organization": "lane test rig"}).encode()
            return struct.pack("<2sccIQB", b"SE", b"J", b"I", len(said), 0, 0) + said
        said3 = '<?xml version="1.0"?><seedlink software="SeedLink v3.1" organization="lane test rig"/>'
        return b"SLINFO  " + text_record(self.station, said3)

    async def _send(self, client: Client, wish: Wish) -> None:
        """Packets in the order of the ring. A time stands above a number, as in ringserver 4.5."""
        made = self._sent - len(self.ring)  # packets that left the ring
        at = self._sent if wish.after is None and wish.begin_ns is None else made
        self.asked.set()
        while not client.lost:
            news = self._news
            while at < self._sent and not self.stalled and not client.lost:
                at = max(at, self._sent - len(self.ring))
                packet = self.ring[at - (self._sent - len(self.ring))]
                at += 1
                if self._wanted(client, wish, packet):
                    client.writer.write(self._framed(client, packet))
                    await client.writer.drain()
                elif wish.end_ns is not None and packet.start_ns > wish.end_ns:
                    wish.dial_up = True
            if wish.dial_up and not self.stalled:
                client.writer.write(b"END")
                await client.writer.drain()
                return
            await news.wait()

    def _wanted(self, client: Client, wish: Wish, packet: Packet) -> bool:
        if wish.begin_ns is not None:
            if packet.end_ns <= wish.begin_ns or (wish.end_ns is not None and packet.start_ns > wish.end_ns):
                return False
        elif wish.after is not None and packet.number <= wish.after:
            return False
        return selected(packet, wish.selects, client.version)

    def _framed(self, client: Client, packet: Packet) -> bytes:
        if client.version == 3:
            return b"SL%06X" % (packet.number & 0xFFFFFF) + packet.record2
        record = packet.record3 or packet.record2
        name = f"{self.network}_{self.station}".encode()
        form = b"3" if packet.record3 else b"2"
        return struct.pack("<2sccIQB", b"SE", form, b"D", len(record), packet.number, len(name)) + name + record


async def _command(reader: asyncio.StreamReader) -> str | None:
    """One command, ended by CR, LF or both (an empty one is nothing); None where the client hung up."""
    line = bytearray()
    while byte := await reader.read(1):
        if byte in b"\r\n":
            return line.decode("ascii", "replace") or " "
        line += byte
        if len(line) > COMMAND_BYTES:
            return None
    return None


async def run(arguments: argparse.Namespace) -> None:
    """Serve until stdin ends."""
    host, _, port = arguments.listen.rpartition(":")
    server = Server(arguments.station, arguments.sensors.split(","), arguments.rate_hz, arguments.miniseed)
    print("listening", await server.listen(host, int(port)), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        try:
            server.do(json.loads(line))
            print("done", flush=True)
        except (ValueError, KeyError, TypeError) as error:
            print("error", error, flush=True)
    await server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("--station", default="XX_L3")
    parser.add_argument("--sensors", default="B1,B2,G1")
    parser.add_argument("--rate-hz", type=float, default=250.0)
    parser.add_argument("--miniseed", type=int, choices=(2, 3), default=2, help="of what version 4 clients get")
    asyncio.run(run(parser.parse_args()))
