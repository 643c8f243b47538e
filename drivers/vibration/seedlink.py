"""Digitisers and data loggers that speak SeedLink, version 4 where they can, else 3: one connection, several sensors.

It goes on where it stopped by number *and* by time: servers answer a number that has left their ring with a silent
jump to new data, numbers begin anew with a digitiser's restart, and a step in them is no loss (FDSN SeedLink 4.0). What
is there is known from the records' own times. A server says OK to much that it will never send, so that only records
count as life.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from drivers.driver import Expected, Identity, Refused, Surroundings, WrongDevice
from drivers.reading import Modality, Stamp, VibrationBlock
from drivers.wire import miniseed
from drivers.wire.seedlink import V3, V4, Dialect, End, Info, Item, Junk, Line, Packet, Reader

MODALITY = Modality.VIBRATION
CLOCK_LIMIT_NS = 86_400 * 10**9  # a record further from its arrival is not late: a clock is wrong
RESUME_SPREAD_NS = 600 * 10**9  # assumed: a sensor silent for longer does not pull the others' old records in again
REMEMBERED_RECORDS = 4096  # of each sensor, to know what comes twice; at two a second half an hour
READ_BYTES = 65_536
NEVER_NS = -(2**63)

Stream = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{1,8}_[A-Z0-9]{1,8}:(B[1-8]|G[1-4])$")]


class Config(BaseModel):
    """The ``[devices.<name>]`` table of a SeedLink server."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["vibration.seedlink"]
    address: str = Field(pattern=r"^\S+:\d{1,5}$", description="host:port; SeedLink's own port is 18000")
    streams: tuple[Stream, ...] = Field(
        min_length=1,
        max_length=12,
        description="NETWORK_STATION:LOCATION; the location is the sensor, B1..B8 or G1..G4",
    )
    component: Literal["Z", "N", "E", "1", "2", "3"] = Field(
        "Z", description="Last letter of the channel: one a sensor"
    )
    record_s: float = Field(2.0, gt=0, le=30, description="Longest time that one record covers")
    silence_s: float = Field(6.0, gt=0, le=300)
    connect_s: float = Field(5.0, gt=0, le=60, description="For the connection, and for each reply")

    @model_validator(mode="after")
    def _check(self) -> Self:
        sensors = [stream.partition(":")[2] for stream in self.streams]
        if len(set(sensors)) != len(sensors):
            raise ValueError(f"streams {list(self.streams)}: one sensor is named twice; each location has its own")
        if not 0 < int(self.address.rpartition(":")[2]) <= 65535:
            raise ValueError(f"address {self.address!r}: the port is not between 1 and 65535")
        return self


@dataclass(slots=True)
class _Note:
    """Where a station's stream stopped: version, last number, and the end of each sensor's last record."""

    version: int
    sequence: int | None = None
    ends_ns: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str | None, version: int) -> _Note:
        """The note, or an empty one where it is of another version (other numbers) or damaged."""
        try:
            kept = json.loads(text or "{}")
            if kept.get("version") != version:
                return cls(version)
            sequence = kept["sequence"]
            ends_ns = {str(sensor): int(end_ns) for sensor, end_ns in kept["ends_ns"].items()}
            return cls(version, None if sequence is None else int(sequence), ends_ns)
        except (ValueError, KeyError, TypeError, AttributeError):
            return cls(version)

    def text(self) -> str:
        return json.dumps({"version": self.version, "sequence": self.sequence, "ends_ns": self.ends_ns})

    @property
    def resume_ns(self) -> int | None:
        """The earliest end among the sensors that were alive."""
        if not self.ends_ns:
            return None
        newest_ns = max(self.ends_ns.values())
        return min(end_ns for end_ns in self.ends_ns.values() if end_ns >= newest_ns - RESUME_SPREAD_NS)


class _Twice:
    """Knows a record that was given before: by its time and counts, or by the note of an earlier connection."""

    def __init__(self, note: _Note) -> None:
        self._sequence, self._ends_ns = note.sequence, dict(note.ends_ns)
        self._seen: dict[str, OrderedDict[tuple[int, bytes], None]] = {}

    def given(self, sequence: int, sensor: str, record: miniseed.Record) -> bool:
        """True where it was; it is remembered where it was not.

        A record that lies before the note's end is old only where its number is as well, if that is known: after a
        clock was set back the times are old and the records are new.
        """
        old_number = self._sequence is None or sequence <= self._sequence
        if old_number and record.end_utc_ns <= self._ends_ns.get(sensor, NEVER_NS):
            return True
        seen = self._seen.setdefault(sensor, OrderedDict())
        key = record.start_utc_ns, hashlib.blake2b(record.counts.tobytes(), digest_size=8).digest()
        if key in seen:
            return True
        seen[key] = None
        if len(seen) > REMEMBERED_RECORDS:
            seen.popitem(last=False)
        return False


class _Link:
    """One connection: commands with their replies, then items. Every wait has an end with a cause."""

    def __init__(self, name: str, config: Config, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.where = f"{name}: {config.address}"
        self.dialect: Dialect = V3
        self.identity = Identity()
        self._config, self._reader, self._writer = config, reader, writer
        self._items = Reader()
        self._waiting: list[Item] = []

    async def hello(self) -> None:
        """Who is there, and which version both speak."""
        first = await self._ask("HELLO")
        if not first.startswith("SeedLink"):
            raise WrongDevice(f"{self.where}: answered HELLO with {first[:40]!r}; is this a SeedLink server?")
        site = await self._reply("HELLO")
        software = first.partition("::")[0]
        self.identity = Identity(vendor=_shown(site), model=_shown(software))
        if "SLPROTO:4" in first and (await self._ask("SLPROTO 4.0")).startswith("OK"):
            self.dialect = V4

    async def order(self, notes: dict[str, _Note]) -> None:
        """Ask for all streams, each station from where its note ends. Raises Refused with the stream's name."""
        for station, note in notes.items():
            network, _, code = station.partition("_")
            await self._insist(self.dialect.station(network, code), station)
            for stream in self._config.streams:
                if stream.startswith(f"{station}:"):
                    await self._insist(self.dialect.select(stream.partition(":")[2], self._config.component), stream)
            timed = self.dialect.data(note.sequence, note.resume_ns)
            plain = self.dialect.data(note.sequence, None)
            if timed == plain or not (await self._ask(timed)).startswith("OK"):
                await self._insist(plain, station)
        self._items.stream(self.dialect.version)
        await self._send("END")

    async def items(self, until_s: float) -> list[Item]:
        """What comes next; at the latest at the loop's time ``until_s``. Raises TimeoutError, ConnectionError."""
        async with asyncio.timeout_at(until_s):
            chunk = await self._reader.read(READ_BYTES)
        if not chunk:
            raise ConnectionError(f"{self.where}: the server closed the connection; check its power and its log")
        return self._items.feed(chunk)

    async def _insist(self, command: str, stream: str) -> None:
        reply = await self._ask(command)
        if not reply.startswith("OK"):
            got = f"{command!r} got {_shown(reply)!r}"
            raise Refused(f"{self.where}: server refused {stream}: {got}; check streams and its access")

    async def _ask(self, command: str) -> str:
        await self._send(command)
        return await self._reply(command)

    async def _send(self, command: str) -> None:
        self._writer.write(f"{command}\r\n".encode("ascii"))
        await self._writer.drain()

    async def _reply(self, command: str) -> str:
        until_s = asyncio.get_running_loop().time() + self._config.connect_s
        while not self._waiting:
            try:
                self._waiting = await self.items(until_s)
            except TimeoutError:
                cause = f"no reply to {command!r} within {self._config.connect_s:g} s; is this a SeedLink server?"
                raise TimeoutError(f"{self.where}: {cause}") from None
        item = self._waiting.pop(0)
        if isinstance(item, Line):
            return item.text
        raw = item.raw if isinstance(item, Junk) else b""
        raise WrongDevice(f"{self.where}: answered {command!r} with no line; is this a SeedLink server?", raw)


def _shown(text: str) -> str:
    """Somebody else's words, fit for a line of ours."""
    return "".join(c if c.isascii() and c.isprintable() else "?" for c in text.strip())[:80]


@asynccontextmanager
async def _linked(name: str, config: Config) -> AsyncIterator[_Link]:
    host, _, port = config.address.rpartition(":")
    try:
        async with asyncio.timeout(config.connect_s):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except TimeoutError:
        cause = f"no connection within {config.connect_s:g} s; check its power, cable and address"
        raise TimeoutError(f"{name}: {config.address}: {cause}") from None
    except OSError as error:
        cause = f"no connection ({error.strerror or error}); check its power, cable and address"
        raise ConnectionError(f"{name}: {config.address}: {cause}") from None
    try:
        link = _Link(name, config, reader, writer)
        await link.hello()
        yield link
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


def expected(config: Config) -> tuple[Expected, ...]:
    """A record of each sensor at least each ``record_s``."""
    sensors = (stream.partition(":")[2] for stream in config.streams)
    return tuple(Expected(sensor, config.record_s, config.silence_s) for sensor in sensors)


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Say HELLO: the site's name as vendor, the server's software as model.

    Raises:
        ConnectionError, TimeoutError: nobody there, or nobody answers.
        WrongDevice: what answers does not speak SeedLink.
    """
    async with _linked(name, config) as link:
        return link.identity


class _Intake:
    """From items to blocks: what is damaged, not asked for or given before does not come through."""

    def __init__(self, name: str, config: Config, around: Surroundings, notes: dict[str, _Note]) -> None:
        self._name, self._config, self._around = name, config, around
        self._notes, self._gave = notes, False
        self._twice = {station: _Twice(note) for station, note in notes.items()}

    def take(self, item: Item) -> VibrationBlock | None:
        """A block to give on, or None. Raises DriverFault where the server says that something is wrong."""
        match item:
            case Packet(sequence, _, payload):
                return self._record(sequence, payload)
            case Junk(cause, _, raw):
                self._around.reject(cause, raw)
            case Info(payload, error) if error:
                said = _shown(payload.decode("ascii", "replace"))
                raise Refused(f"{self._name}: server refused: {said!r}; check streams and its access", payload)
            case End():
                raise ConnectionError(f"{self._name}: the server ended the stream; check its configuration")
        return None

    def _record(self, sequence: int, payload: bytes) -> VibrationBlock | None:
        try:
            record = miniseed.decode(payload)
        except miniseed.BadRecord as bad:
            self._around.reject(f"damaged record: {bad.what}", payload)
            return None
        stream = f"{record.station}:{record.location}"
        if stream not in self._config.streams or not record.channel.endswith(self._config.component):
            self._around.reject("record of a stream that was not asked for", payload)
            return None
        if not len(record.counts) or self._twice[record.station].given(sequence, record.location, record):
            return None
        return self._block(sequence, record)

    def _block(self, sequence: int, record: miniseed.Record) -> VibrationBlock:
        arrival_ns, clock = self._around.now_utc_ns(), self._around.clock()
        status = "ok"
        if abs(record.start_utc_ns - arrival_ns) > CLOCK_LIMIT_NS:
            sure = "" if clock.synchronised else ", whose own clock is not synchronised"
            said, here = _utc(record.start_utc_ns), _utc(arrival_ns)
            status = f"clock: {record.location} says {said}, it is {here} on the lane{sure}; check the digitiser's time"
        stamp = Stamp(record.start_utc_ns, arrival_ns, self._around.monotonic_ns(), clock)
        return VibrationBlock(
            self._name,
            stamp,
            record.location,
            record.channel,
            record.rate_hz,
            record.counts,
            sequence,
            status,
            record.timing_quality_pct,
            record.raw,
        )

    def given_on(self, station: str, block: VibrationBlock) -> None:
        """The block is the lane's: the next connection goes on behind it."""
        note = self._notes[station]
        note.sequence = block.sequence
        if block.status == "ok":
            note.ends_ns[block.sensor] = max(block.end_utc_ns, note.ends_ns.get(block.sensor, 0))
        self._around.remember(station, note.text())
        self._gave = True

    def doubt_notes(self) -> None:
        """A connection that went on from the notes and gave nothing: the number, then the time, is asked for no more.

        Servers say OK to a number that they will never reach, after their own restart for one.
        """
        for station, note in self._notes.items():
            if not self._gave:
                kept = {} if note.sequence is None else note.ends_ns
                self._around.remember(station, _Note(note.version, None, kept).text())


def _utc(utc_ns: int) -> str:
    return datetime.fromtimestamp(utc_ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Silence:
    """Since when each stream has given nothing, on the loop's clock."""

    def __init__(self, name: str, config: Config, around: Surroundings) -> None:
        self._name, self._config, self._around = name, config, around
        self._loop = asyncio.get_running_loop()
        self._last_s = self._loop.time()
        self._heard_s = dict.fromkeys(config.streams, self._last_s)
        self._told: set[str] = set()

    @property
    def until_s(self) -> float:
        """When all of them have been silent for too long."""
        return self._last_s + self._config.silence_s

    def heard(self, stream: str, arrived_s: float) -> None:
        """One of them spoke; others that have not for ``silence_s`` are told once.

        The wait for all begins when the block was taken, which may be long after it came.
        """
        self._last_s = self._loop.time()
        self._heard_s[stream] = arrived_s
        self._told.discard(stream)
        for other, heard_s in self._heard_s.items():
            if arrived_s - heard_s > self._config.silence_s and other not in self._told:
                self._told.add(other)
                self._around.reject(f"{other} is silent while others speak; check its cable", b"")

    def cause(self) -> str:
        """For the TimeoutError."""
        streams, limit_s = ", ".join(self._config.streams), self._config.silence_s
        return f"{self._name}: {self._config.address}: no record of {streams} for {limit_s:g} s; check the digitiser"


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[VibrationBlock]:
    """Blocks of all streams as they come, each record once; a record that is damaged is rejected and costs itself.

    A block whose time is over a day from its arrival says so in ``status`` and keeps both times. Overlaps that differ
    are given as they are: who joins the blocks sees both.

    Raises:
        TimeoutError: no reply for ``connect_s``, or no record of any stream for ``silence_s``.
        ConnectionError: nobody there, or the server hung up.
        DriverFault: Refused with the stream's name, or WrongDevice.
    """
    async with _linked(name, config) as link:
        stations = dict.fromkeys(stream.partition(":")[0] for stream in config.streams)
        notes = {station: _Note.read(around.recall(station), link.dialect.version) for station in stations}
        await link.order(notes)
        intake, silence = _Intake(name, config, around, notes), _Silence(name, config, around)
        station_of = {stream.partition(":")[2]: stream.partition(":")[0] for stream in config.streams}
        while True:
            try:
                items = await link.items(silence.until_s)
            except TimeoutError:
                intake.doubt_notes()
                raise TimeoutError(silence.cause()) from None
            arrived_s = asyncio.get_running_loop().time()
            for item in items:
                if (block := intake.take(item)) is not None:
                    yield block
                    station = station_of[block.sensor]
                    intake.given_on(station, block)
                    silence.heard(f"{station}:{block.sensor}", arrived_s)
