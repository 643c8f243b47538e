"""``vibration.mseed``: the records of a passage's sensors out of any bytes, bounded in time and memory.

Power may fail inside a record, a disk may give zeros, a file may begin with another's tail: what is whole before and
after the damage is used, and the bytes between are counted, with their causes. `drivers/wire/miniseed.py` knows the
records themselves, here as on the live line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from drivers.wire import miniseed
from fusion.bundle.fault import FileFault

FILE = "vibration.mseed"
MOST_SAMPLES = 16_000_000  # assumed: 12 sensors at 2000 Hz for ten minutes; 128 MB
MOST_RECORDS = 200_000  # assumed: 12 sensors, four records a second each, for an hour
MOST_DAMAGES = 20_000  # assumed: bounds the time that junk can cost to a few seconds
LARGEST_COUNT = 1e15  # assumed: no digitiser counts beyond 2^50; squares of it stay finite
SENSOR = re.compile(r"B[1-8]|G[1-4]")
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
    """What a scan came by; ``causes`` of bytes that are in no record."""

    records: int = 0
    samples: int = 0
    strangers: int = 0
    damages: int = 0
    lost_bytes: int = 0
    causes: Counter[str] = field(default_factory=Counter)


def scan(content: bytes, window: Window) -> Scan:
    """The records of a file.

    Raises:
        FileFault: no record at all, or more than the bounds of this module.
    """
    count = _Count()
    pieces: list[Piece] = []
    end = 0
    for item in miniseed.scan(content):
        if isinstance(item, miniseed.Damage):
            end += item.lost_bytes
            _damaged(item, count)
            if count.damages > MOST_DAMAGES:
                break
            continue
        end += len(item.raw)
        piece = _piece(item, end, window, count)
        if piece is not None:
            pieces.append(piece)
    count.lost_bytes += len(content) - end
    if not count.records:
        why = f" ({next(iter(count.causes))})" if count.causes else ""
        raise FileFault(f"{FILE}: no miniSEED record in {len(content)} bytes{why}")
    return Scan(tuple(pieces), count.lost_bytes, tuple(_notes(count, len(content))))


def parse_record(record: bytes) -> Piece:
    """The one record that these bytes are.

    Raises:
        FileFault: they are not, or the record names no sensor in its location code.
    """
    try:
        found = miniseed.decode(record)
    except miniseed.BadRecord as bad:
        raise FileFault(f"{FILE}: {len(record)} bytes are no record: {bad}") from None
    piece = _piece(found, len(record), Window(-(1 << 62), 1 << 62), _Count())
    if piece is None:
        raise FileFault(f"{FILE}: a record of {found.location[:8]!r} names no sensor B1 to B8 or G1 to G4, or is empty")
    return piece


def _damaged(damage: miniseed.Damage, count: _Count) -> None:
    count.damages += 1
    count.lost_bytes += damage.lost_bytes
    if damage.cause in count.causes or len(count.causes) < 20:
        count.causes[damage.cause] += damage.lost_bytes


def _notes(count: _Count, total: int) -> Iterator[str]:
    if count.lost_bytes:
        causes = "; ".join(f"{cause[:120]} ({lost} bytes)" for cause, lost in count.causes.most_common(3))
        yield f"{FILE}: {count.lost_bytes} of {total} bytes are in no whole record and are lost: {causes}"
    if count.damages > MOST_DAMAGES:
        yield f"{FILE}: given up after {MOST_DAMAGES} damaged places"
    if count.strangers:
        yield f"{FILE}: {count.strangers} records name no sensor B1 to B8 or G1 to G4 as location, or hold no samples"


def _piece(record: miniseed.Record, end_byte: int, window: Window, count: _Count) -> Piece | None:
    count.records += 1
    if count.records > MOST_RECORDS:
        raise FileFault(f"{FILE}: more than {MOST_RECORDS} records")
    if not SENSOR.fullmatch(record.location) or not len(record.counts):
        count.strangers += 1
        return None
    piece = Piece(record.location, record.channel, record.start_utc_ns, record.rate_hz, _NOTHING, end_byte)
    last_utc_ns = piece.start_utc_ns + round((len(record.counts) - 1) * 1e9 / piece.rate_hz)
    if not window.holds(piece.start_utc_ns, last_utc_ns):
        return replace(piece, outside=True)
    count.samples += len(record.counts)
    if count.samples > MOST_SAMPLES:
        raise FileFault(f"{FILE}: more than {MOST_SAMPLES} samples; a passage has fewer")
    believable = np.abs(record.counts) <= LARGEST_COUNT  # False where NaN
    return replace(piece, counts=np.where(believable, record.counts, np.nan))
