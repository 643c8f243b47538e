"""SeedLink 3 and 4 out of a byte stream: reply lines, then packets; what is neither is handed back, counted.

Sans-IO: feed bytes, get items. FDSN "SeedLink 4.0"; version 3 has no specification and does not send the length of its
records, so that is read from the record. Packets: ``SL`` and 6 hex digits; or ``SE``, format, subformat, length,
sequence, station (little-endian). Nothing that the other side says makes room for more than a few records.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from drivers.wire import miniseed

LINE_BYTES = 4096  # assumed: HELLO of a large server is a few hundred
PAYLOAD_BYTES = miniseed.MOST_RECORD_BYTES
STATION_BYTES = 21  # as libslink keeps
SPECIMEN_BYTES = 512  # kept of what is no packet
CUSTOMARY_RECORD_BYTES = 512  # of a version 3 record that does not say its length
JUNK_TOLD_BYTES = 65_536  # a stream of nothing but junk is told at least this often
HEAD3_BYTES, HEAD4_BYTES = 8, 17
_HEAD4 = struct.Struct("<2sccIQB")
_NEXT = {3: re.compile(rb"SL(?:[0-9A-Fa-f]{6}|INFO)"), 4: re.compile(rb"SE[23JX][A-Z]")}
_MARK = {3: b"SL", 4: b"SE"}


@dataclass(frozen=True, slots=True)
class Line:
    """A reply to a command, without its end."""

    text: str


@dataclass(frozen=True, slots=True)
class Packet:
    """A record and its number; ``station`` is empty in version 3, which has it in the record only."""

    sequence: int
    station: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Info:
    """What a server says of itself among the packets; ``error`` where it says that something is wrong."""

    payload: bytes
    error: bool


@dataclass(frozen=True, slots=True)
class End:
    """The server has sent all that was asked for."""


@dataclass(frozen=True, slots=True)
class Junk:
    """Bytes that are no packet: why (one of a few causes, to be counted by), how many, and how they begin."""

    cause: str
    lost_bytes: int
    raw: bytes


Item = Line | Packet | Info | End | Junk


class Reader:
    """Lines until `stream` is called, packets of that version after it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._version: int | None = None
        self._junk = bytearray()
        self._junk_bytes = 0
        self._junk_cause = ""

    def stream(self, version: int) -> None:
        """From here on packets come; to be called before ``END`` is sent."""
        if version not in _MARK:
            raise ValueError(f"SeedLink {version} is neither 3 nor 4")
        self._version = version

    def feed(self, chunk: bytes) -> list[Item]:
        """Whatever the chunk completes, in order."""
        self._buffer += chunk
        take = self._line if self._version is None else self._packet
        out: list[Item] = []
        while take(out):
            pass
        return out

    @property
    def held_bytes(self) -> int:
        """Bytes of what is not complete yet."""
        return len(self._buffer)

    def _line(self, out: list[Item]) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > LINE_BYTES:
                self._lose(out, f"no end of a line within {LINE_BYTES} bytes", len(self._buffer))
                self._tell(out)
            return False
        if end > LINE_BYTES:
            self._lose(out, f"no end of a line within {LINE_BYTES} bytes", end + 1)
            self._tell(out)
            return True
        text = bytes(self._buffer[:end]).decode("ascii", "replace").strip()
        del self._buffer[: end + 1]
        out.append(Line(text))
        return True

    def _packet(self, out: list[Item]) -> bool:
        """One step: True while it made progress."""
        buffer = self._buffer
        if len(buffer) < 3:
            return False
        if buffer.startswith(_MARK[self._version or 3]):
            return self._packet3(out) if self._version == 3 else self._packet4(out)
        if not self._junk_bytes:  # only right after a packet; inside junk they may be anything
            if buffer.startswith(b"END"):
                return self._done(out, End(), 3)
            if b"ERROR".startswith(buffer[:5]):
                return self._error(out)
        return self._skip(out)

    def _error(self, out: list[Item]) -> bool:
        end = self._buffer.find(b"\n", 0, LINE_BYTES)
        if end < 0:
            return len(self._buffer) >= LINE_BYTES and self._lose(out, "ERROR without an end", len(self._buffer))
        return self._done(out, Info(bytes(self._buffer[:end]).strip(), error=True), end + 1)

    def _packet3(self, out: list[Item]) -> bool:
        buffer = self._buffer
        if len(buffer) < HEAD3_BYTES:
            return False
        number, is_info = bytes(buffer[2:8]), buffer.startswith(b"SLINFO")
        if not is_info and not _NEXT[3].match(buffer):
            return self._skip(out)
        try:
            length = miniseed.record_length(bytes(buffer[HEAD3_BYTES : HEAD3_BYTES + CUSTOMARY_RECORD_BYTES]))
        except miniseed.BadRecord as bad:
            return self._lose(out, f"packet without a record: {bad.what}", HEAD3_BYTES)
        if length is None and len(buffer) >= HEAD3_BYTES + CUSTOMARY_RECORD_BYTES:
            length = CUSTOMARY_RECORD_BYTES
        if length is None or len(buffer) < HEAD3_BYTES + length:
            return False
        payload = bytes(buffer[HEAD3_BYTES : HEAD3_BYTES + length])
        item = Info(payload, error=False) if is_info else Packet(int(number, 16), "", payload)
        return self._done(out, item, HEAD3_BYTES + length)

    def _packet4(self, out: list[Item]) -> bool:
        buffer = self._buffer
        if len(buffer) < HEAD4_BYTES:
            return False
        _, form, subform, length, sequence, station_bytes = _HEAD4.unpack_from(buffer)
        if not _NEXT[4].match(buffer):
            return self._skip(out)
        if length > PAYLOAD_BYTES or station_bytes > STATION_BYTES:
            cause = f"packet or station longer than {PAYLOAD_BYTES} and {STATION_BYTES} bytes"
            return self._lose(out, cause, HEAD4_BYTES)
        begin = HEAD4_BYTES + station_bytes
        if len(buffer) < begin + length:
            return False
        payload = bytes(buffer[begin : begin + length])
        station = bytes(buffer[HEAD4_BYTES:begin]).decode("ascii", "replace")
        item: Item = Packet(sequence, station, payload)
        if form in b"JX":
            item = Info(payload, error=form + subform == b"JE")
        return self._done(out, item, begin + length)

    def _skip(self, out: list[Item]) -> bool:
        """Go on to what may be the next packet; the last bytes stay, they may be its beginning."""
        found = _NEXT[self._version or 3].search(self._buffer, 1)
        keep = 0 if found else HEAD3_BYTES - 1
        length = found.start() if found else len(self._buffer) - keep
        return length > 0 and self._lose(out, "no packet", length)

    def _lose(self, out: list[Item], cause: str, length: int) -> bool:
        self._junk_cause = self._junk_cause or cause
        self._junk += self._buffer[: min(length, SPECIMEN_BYTES - len(self._junk))]
        self._junk_bytes += length
        del self._buffer[:length]
        if self._junk_bytes >= JUNK_TOLD_BYTES:
            self._tell(out)
        return True

    def _tell(self, out: list[Item]) -> None:
        if self._junk_bytes:
            out.append(Junk(self._junk_cause, self._junk_bytes, bytes(self._junk)))
        self._junk.clear()
        self._junk_bytes, self._junk_cause = 0, ""

    def _done(self, out: list[Item], item: Item, length: int) -> bool:
        self._tell(out)
        del self._buffer[:length]
        out.append(item)
        return True


@dataclass(frozen=True, slots=True)
class Dialect:
    """The commands of one version, as text without their end."""

    version: int
    station: Callable[[str, str], str]  # network, station
    select: Callable[[str, str], str]  # location, component
    number: Callable[[int], str]
    all_from: str  # the command that takes a time and no number
    time: Callable[[int], str]  # ns UTC, rounded down to what the version can say

    def data(self, after: int | None, from_utc_ns: int | None) -> str:
        """From what follows number ``after``, and from a time; only what is new where neither is known."""
        if after is None:
            return "DATA" if from_utc_ns is None else f"{self.all_from} {self.time(from_utc_ns)}"
        number = f"DATA {self.number(after + 1)}"
        return number if from_utc_ns is None else f"{number} {self.time(from_utc_ns)}"


def _moment(utc_ns: int, form: str) -> str:
    return datetime.fromtimestamp(utc_ns // 10**9, UTC).strftime(form)


V3 = Dialect(
    3,
    station=lambda network, station: f"STATION {station} {network}",
    select=lambda location, component: f"SELECT {location:-<2}??{component}",
    number=lambda number: f"{number & 0xFFFFFF:06X}",
    all_from="TIME",
    time=lambda utc_ns: _moment(utc_ns, "%Y,%m,%d,%H,%M,%S"),
)
V4 = Dialect(
    4,
    station=lambda network, station: f"STATION {network}_{station}",
    select=lambda location, component: f"SELECT {location}_?_?_{component}",
    number=str,
    all_from="DATA ALL",
    time=lambda utc_ns: _moment(utc_ns, "%Y-%m-%dT%H:%M:%SZ"),
)
