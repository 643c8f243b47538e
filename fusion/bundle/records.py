"""``vibration.mseed``: whole miniSEED records found in any bytes, bounded in time and memory.

Power may fail inside a record, a disk may give zeros, a file may begin with another's tail: what is whole before and
after the damage is used, and the bytes between are counted. libmseed (by pymseed) decodes; a record's header is read
before its samples, so that no length field that lies makes anything large.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pymseed
from numpy.typing import NDArray
from pymseed import MS3Record

from fusion.bundle.fault import FileFault

FILE = "vibration.mseed"
LONGEST_RECORD_BYTES = 1 << 20  # assumed: miniSEED 2 ends at 128 KiB in libmseed; a digitiser's v3 record is below 64
SHORTEST_RECORD_BYTES = 40  # miniSEED 3 fixed header; miniSEED 2 needs 48
MOST_SAMPLES = 16_000_000  # assumed: 12 sensors at 2000 Hz for ten minutes; 128 MB
MOST_RECORDS = 200_000  # assumed: 12 sensors, four records a second each, for an hour
MOST_FALSE_STARTS = 20_000  # assumed: bounds the time that junk can cost to about a second
SAMPLES_A_BYTE = 2  # Steim 2 packs at most 7 differences into 4 bytes
LARGEST_COUNT = 1e15  # assumed: no digitiser counts beyond 2^50; squares of it stay finite
SENSOR = re.compile(r"B[1-8]|G[1-4]")
# quality letter and its blank, six bytes after the sequence number (SEED 2.4, chapter 8); or FDSN's miniSEED 3 mark
_START = re.compile(rb"[DRQM](?:(?<=[0-9 \x00]{6}[DRQM])[ \x00]|S\x03)")
_NOTHING = np.empty(0, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Piece:
    """One record: consecutive samples of one sensor.

    ``counts`` is (n,) float64, empty where ``outside`` says that its time is not the passage's. ``end_byte`` is how
    long the file was when the record was in it.
    """

    sensor: str
    channel: str
    start_utc_ns: int
    rate_hz: float
    counts: NDArray[np.float64]
    end_byte: int = 0
    outside: bool = False

    @property
    def end_utc_ns(self) -> int:
        """Time of the sample that would come next."""
        return self.start_utc_ns + round(len(self.counts) * 1e9 / self.rate_hz)


@dataclass(frozen=True, slots=True)
class Window:
    """The time that belongs to a passage, both ends in it, nanoseconds UTC."""

    first_utc_ns: int
    last_utc_ns: int

    def holds(self, start_utc_ns: int, end_utc_ns: int) -> bool:
        """Whether samples from start to end lie wholly within."""
        return self.first_utc_ns <= start_utc_ns and end_utc_ns <= self.last_utc_ns


@dataclass(frozen=True, slots=True)
class Scan:
    """Every record that names a sensor, in the order of the file, and what else was there."""

    pieces: tuple[Piece, ...]
    lost_bytes: int
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Count:
    samples: int = 0
    lost_bytes: int = 0
    false_starts: int = 0
    strangers: int = 0
    unreadable: int = 0


def scan(content: bytes, window: Window) -> Scan:
    """The records of a file.

    Raises:
        FileFault: no record at all, or more than the bounds of this module.
    """
    count = _Count()
    pieces: list[Piece] = []
    records = 0
    for start, record in _records(content, count):
        records += 1
        if records > MOST_RECORDS:
            raise FileFault(f"{FILE}: more than {MOST_RECORDS} records")
        piece = _piece(record, start, window, count)
        if piece is not None:
            pieces.append(piece)
    if not records:
        raise FileFault(f"{FILE}: no miniSEED record in {len(content)} bytes")
    return Scan(tuple(pieces), count.lost_bytes, tuple(_notes(count, len(content))))


def parse_record(record: bytes) -> Piece:
    """The one record that these bytes are.

    Raises:
        FileFault: they are not, or the record names no sensor in its location code.
    """
    count = _Count()
    found = [_piece(header, start, Window(-(1 << 62), 1 << 62), count) for start, header in _records(record, count)]
    if len(found) != 1 or found[0] is None or count.lost_bytes:
        raise FileFault(f"{FILE}: {len(record)} bytes are not one record of a sensor B1 to B8 or G1 to G4")
    return found[0]


def _notes(count: _Count, total: int) -> Iterator[str]:
    if count.lost_bytes:
        yield f"{FILE}: {count.lost_bytes} of {total} bytes are in no whole record and are lost"
    if count.false_starts > MOST_FALSE_STARTS:
        yield f"{FILE}: given up after {MOST_FALSE_STARTS} false beginnings of records"
    if count.unreadable:
        yield f"{FILE}: {count.unreadable} records have samples that cannot be decoded"
    if count.strangers:
        yield f"{FILE}: {count.strangers} records name no sensor B1 to B8 or G1 to G4 as location, or hold no samples"


def _records(content: bytes, count: _Count) -> Iterator[tuple[int, MS3Record]]:
    """Offset of each whole record, and its header; valid until the next is asked for."""
    view = memoryview(content)
    at = 0
    while at <= len(content) - SHORTEST_RECORD_BYTES:
        start = _next_start(content, at)
        record = None if start is None else _header(view[start : start + LONGEST_RECORD_BYTES])
        if start is None or count.false_starts > MOST_FALSE_STARTS:
            break
        count.lost_bytes += start - at
        if record is None or record.reclen < SHORTEST_RECORD_BYTES:
            count.false_starts += 1
            count.lost_bytes += 1
            at = start + 1
            continue
        yield start, record
        at = start + record.reclen
    count.lost_bytes += len(content) - at


def _next_start(content: bytes, at: int) -> int | None:
    """Offset at or after ``at`` where a record may begin."""
    search_at = at
    while (found := _START.search(content, search_at)) is not None:
        start = found.start() if found.end() - found.start() == 3 else found.start() - 6
        if start >= at:
            return start
        search_at = found.start() + 1
    return None


def _header(view: memoryview) -> MS3Record | None:
    try:
        return MS3Record.parse(view)
    except (pymseed.PymseedError, ValueError):
        return None
    finally:
        pymseed.clear_error_messages()


def _piece(record: MS3Record, start: int, window: Window, count: _Count) -> Piece | None:
    try:
        _, _, sensor, channel = pymseed.sourceid2nslc(record.sourceid)
    except (pymseed.PymseedError, ValueError):
        sensor, channel = "", ""
    rate_hz = float(record.samprate)
    if not SENSOR.fullmatch(sensor) or record.samplecnt <= 0 or not 0 < rate_hz < 1e6:
        count.strangers += 1
        return None
    end_byte = start + record.reclen
    piece = Piece(sensor, channel, int(record.starttime), rate_hz, _NOTHING, end_byte)
    last = piece.start_utc_ns + round((record.samplecnt - 1) * 1e9 / rate_hz)
    if not window.holds(piece.start_utc_ns, last):
        return replace(piece, outside=True)
    counts = _counts(record, count)
    return None if counts is None else replace(piece, counts=counts)


def _counts(record: MS3Record, count: _Count) -> NDArray[np.float64] | None:
    if record.samplecnt > SAMPLES_A_BYTE * record.datalength:
        count.unreadable += 1
        return None
    count.samples += record.samplecnt
    if count.samples > MOST_SAMPLES:
        raise FileFault(f"{FILE}: more than {MOST_SAMPLES} samples; a passage has fewer")
    try:
        record.unpack_data()
        if record.sampletype not in ("i", "f", "d"):
            raise ValueError("text")
        counts = np.array(record.np_datasamples, dtype=np.float64)
    except (pymseed.PymseedError, ValueError):
        count.unreadable += 1
        return None
    finally:
        pymseed.clear_error_messages()
    counts[~(np.abs(counts) <= LARGEST_COUNT)] = np.nan
    return counts
