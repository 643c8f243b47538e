"""miniSEED 2 and 3, record by record: one damaged record costs one record, and what is no record is counted.

Headers are read here, field by field, and refused by the name of the field; pymseed (libmseed) decodes the samples
only. FDSN "SEED Reference Manual 2.4" chapter 8 for version 2, FDSN "miniSEED 3" for version 3.

Version 2 does not say its byte order where a reader needs it. The year cannot tell (2056 is 0x0808, the same both
ways, and a digitiser without a clock stamps anything), so the order is the one under which most of the header
holds together. libmseed does go by the year: it is given each record under a harmless date.
"""

from __future__ import annotations

import json
import re
import struct
from calendar import isleap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from math import isfinite

import numpy as np
from numpy.typing import NDArray
from pymseed import MiniSEEDError, MS3Record, get_error_messages

MOST_RECORD_BYTES = 65_536  # assumed: live records are 128..4096; a longer one is a damaged length field
LEAST_RECORD_BYTES = 128  # SEED 2.4: 2**7
SPECIMEN_BYTES = 512  # kept of what is no record
HEADER3_BYTES = 40
BYTES_BEFORE_JUDGING = 64  # a version 2 header and its first two blockettes, or a version 3 header
TEXT = 0
# samples a payload byte can hold at most, by encoding: Steim 1 has 4 differences in 4 bytes, Steim 2 has 7
SAMPLES_PER_BYTE = {1: 0.5, 3: 0.25, 4: 0.25, 5: 0.125, 10: 1.0, 11: 1.75, 12: 1 / 3, 13: 0.5, 14: 0.5, 16: 0.5}
SAMPLES_PER_BYTE |= {30: 0.5, 32: 0.5}
YEARS = range(1900, 2200)  # assumed: outside them it is no clock's error but no header
LEAST_RATE_HZ, MOST_RATE_HZ = 1e-6, 1e6  # assumed: wider than any instrument
HARMLESS_DATE = (2001, 1)  # year and day whose bytes make no date when swapped
BLOCKETTES = frozenset((100, 200, 201, 202, 300, 310, 320, 390, 395, 400, 405, 500, 1000, 1001, 2000))
FARTHEST_FIRST_BLOCKETTE = 255  # assumed: it follows the header at 48; swapped that is 12288
FARTHEST_DATA = 8191  # assumed: data begin at 64 or soon after; swapped that is 16384
MOST_BLOCKETTES = 32  # assumed; the chain must also move forward
_V2 = re.compile(rb"[DRQM][ \x00][\x20-\x7e\x00]{12}", re.DOTALL)
_NUMBER = re.compile(rb"[0-9 \x00]{6}")
_V3 = b"MS\x03"
_FIRST_STRIDE = 256  # the search doubles its stride, so that its cost is the distance to what it finds


class BadRecord(ValueError):
    """One line: which field of the record cannot be, and what it says. ``what`` is one of a few, to be counted by."""

    def __init__(self, what: str, found: str = "") -> None:
        super().__init__(f"{what} {found}".rstrip())
        self.what = what.rstrip(":")


@dataclass(frozen=True, slots=True)
class Record:
    """One record. ``counts`` is (n,) float64, NaN where the record says no number; empty for text and markers.

    ``rate_hz`` is 0 only where there are no samples.
    """

    station: str  # "XX_L3": network and station
    location: str
    channel: str  # "EHZ"
    start_utc_ns: int
    rate_hz: float
    counts: NDArray[np.float64]
    timing_quality_pct: int | None
    version: int  # 2 or 3
    encoding: int
    raw: bytes

    @property
    def end_utc_ns(self) -> int:
        """Time of the sample that would come next."""
        return self.start_utc_ns + (round(len(self.counts) * 1e9 / self.rate_hz) if self.rate_hz else 0)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are no record: why, where they began, how many; ``raw`` is their beginning."""

    cause: str
    offset: int
    lost_bytes: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class _Header:
    """All of a record but its samples. ``length`` is None where version 2 does not say it (no blockette 1000)."""

    version: int
    length: int | None
    data_offset: int
    samples: int
    encoding: int
    rate_hz: float
    start_utc_ns: int
    codes: tuple[str, str, str]  # station, location, channel
    timing_quality_pct: int | None


def record_length(head: bytes) -> int | None:
    """Bytes of the record that begins ``head``; None while that takes more bytes, or where nothing says it.

    Raises:
        BadRecord: no record begins here, or its length is outside the limits.
    """
    if head.startswith(_V3):
        return _length3(head) if len(head) >= HEADER3_BYTES else None
    if len(head) < BYTES_BEFORE_JUDGING:
        return None
    _require_form(head)
    order = _order(head)
    for kind, at in _blockettes(head, order):
        if kind == 1000:
            return _length2(head, at)
    return None


def decode(raw: bytes) -> Record:
    """The record in ``raw``, which holds it and nothing else.

    Raises:
        BadRecord: a field cannot be, the samples do not decode, or the length is another.
    """
    header = _header(raw)
    if header.length is not None and header.length != len(raw):
        raise BadRecord("record length", f"{header.length}, {len(raw)} bytes are there")
    station, location, channel = header.codes
    counts = _counts(raw, header)
    if len(counts) and not LEAST_RATE_HZ <= header.rate_hz <= MOST_RATE_HZ:
        raise BadRecord("sample rate", f"{header.rate_hz:g} Hz with {len(counts)} samples")
    return Record(
        station,
        location,
        channel,
        header.start_utc_ns,
        header.rate_hz if len(counts) else 0.0,
        counts,
        header.timing_quality_pct,
        header.version,
        header.encoding,
        raw,
    )


def scan(data: bytes) -> Iterator[Record | Damage]:
    """Every record of ``data`` in order, and what lies between as Damage; every byte is in exactly one of them."""
    at = 0
    while at < len(data):
        found = _next_header(data, at)
        if found > at:
            yield _damage("no miniSEED header", data, at, found)
        if found == len(data):
            return
        item, at = _take(data, found)
        yield item


def _take(data: bytes, at: int) -> tuple[Record | Damage, int]:
    """The record at ``at`` or why there is none, and where to go on."""
    end = None
    try:
        end = at + (record_length(data[at : at + SPECIMEN_BYTES]) or _length_by_search(data, at))
        if end > len(data):
            raise BadRecord("cut off:", f"{len(data) - at} of {end - at} bytes are there")
        return decode(data[at:end]), end
    except BadRecord as bad:
        # a length that leads to another header, or to the end, is believed; else the next header is looked for
        believed = end is not None and (end == len(data) or _is_header(data, end))
        end = end if end is not None and believed else _next_header(data, at + 1)
        return _damage(str(bad), data, at, end), end


def _damage(cause: str, data: bytes, at: int, end: int) -> Damage:
    return Damage(cause, at, end - at, data[at : min(end, at + SPECIMEN_BYTES)])


def _is_header(data: bytes, at: int) -> bool:
    if data.startswith(_V3, at):
        return True
    return _NUMBER.match(data, at) is not None and _V2.match(data, at + 6) is not None


def _next_header(data: bytes, at: int) -> int:
    """Where the next header may begin, or the end; the time it takes grows with the distance, not with the rest."""
    stride = _FIRST_STRIDE
    while at < len(data):
        stop = at + stride
        found = [place for place in (data.find(_V3, at, stop + 2), _find_v2(data, at, stop)) if place >= 0]
        if found:
            return min(found)
        at, stride = stop, stride * 2
    return len(data)


def _find_v2(data: bytes, at: int, stop: int) -> int:
    for match in _V2.finditer(data, at + 6, stop + 20):
        if _NUMBER.match(data, match.start() - 6):
            return match.start() - 6
    return -1


def _length_by_search(data: bytes, at: int) -> int:
    """Length of a version 2 record without blockette 1000: up to the next header, or to the end, a power of two."""
    if len(data) - at < BYTES_BEFORE_JUDGING:
        raise BadRecord("cut off:", f"{len(data) - at} bytes of a header are there")
    length = LEAST_RECORD_BYTES
    while length <= MOST_RECORD_BYTES:
        if at + length == len(data) or _is_header(data, at + length):
            return length
        length *= 2
    raise BadRecord("no blockette 1000", "says the length, and no header or end follows at a power of two")


def _header(raw: bytes) -> _Header:
    version3 = raw.startswith(_V3)
    if len(raw) < (HEADER3_BYTES if version3 else BYTES_BEFORE_JUDGING):
        raise BadRecord("cut off:", f"{len(raw)} bytes are no miniSEED record")
    return _header3(raw) if version3 else _header2(raw)


def _require_form(head: bytes) -> None:
    if not (_NUMBER.match(head) and _V2.match(head, 6)):
        raise BadRecord("no miniSEED header:", f"{head[:8]!r}")


def _order(head: bytes) -> str:
    """Byte order of a version 2 header: the one under which most of its fields hold together.

    Offsets, the first blockette's type, the fraction and the date count one each, so that no single damaged field
    and no digitiser's clock decides alone.
    """

    def holds(order: str) -> int:
        year, day, fraction = struct.unpack_from(f"{order}HH4xH", head, 20)
        data_offset, first = struct.unpack_from(f"{order}HH", head, 44)
        inside = 48 <= first <= min(FARTHEST_FIRST_BLOCKETTE, len(head) - 4)
        known = inside and struct.unpack_from(f"{order}H", head, first)[0] in BLOCKETTES
        return sum(
            (
                first == 0 or inside,
                known,
                data_offset == 0 or 48 <= data_offset <= FARTHEST_DATA,
                fraction <= 9999,
                year in YEARS and 1 <= day <= 366,
            )
        )

    return ">" if holds(">") >= holds("<") else "<"  # big is the standard's order


def _blockettes(head: bytes, order: str) -> Iterator[tuple[int, int]]:
    """Type and place of each blockette that is within ``head``. Raises BadRecord where the chain does not advance."""
    (at,) = struct.unpack_from(f"{order}H", head, 46)
    for _ in range(MOST_BLOCKETTES):
        if at == 0 or at + 8 > len(head):
            return
        if at < 48:
            raise BadRecord("blockette offset", f"{at} lies inside the header")
        kind, following = struct.unpack_from(f"{order}HH", head, at)
        yield kind, at
        if following and following <= at:
            raise BadRecord("blockette chain", f"{kind} at {at} leads back to {following}")
        at = following
    raise BadRecord("blockette chain", f"has more than {MOST_BLOCKETTES} blockettes")


def _length2(head: bytes, at: int) -> int:
    power = head[at + 6]
    if not LEAST_RECORD_BYTES <= 1 << min(power, 40) <= MOST_RECORD_BYTES:
        raise BadRecord("record length", f"2**{power} in blockette 1000 is outside 2**7..2**16")
    return 1 << power


def _header2(raw: bytes) -> _Header:
    _require_form(raw)
    order = _order(raw)
    samples, factor, multiplier, flags = struct.unpack_from(f"{order}HhhB", raw, 30)
    correction, data_offset = struct.unpack_from(f"{order}iH", raw, 40)
    year, day, hour, minute, second, _, fraction = struct.unpack_from(f"{order}HHBBBBH", raw, 20)
    if fraction > 9999:
        raise BadRecord("fraction of a second", f"{fraction} is outside 0..9999 ten-thousandths")
    start_ns = _time_ns(year, day, hour, minute, second) + fraction * 100_000
    if not flags & 2:  # activity flag, bit 1: the correction was applied already
        start_ns += correction * 100_000
    length, encoding, rate_hz, quality = None, 11 if samples else TEXT, _rate2(factor, multiplier), None
    for kind, at in _blockettes(raw, order):
        if kind == 1000:
            length, encoding = _length2(raw, at), raw[at + 4]
        elif kind == 1001:
            quality = raw[at + 4] if raw[at + 4] <= 100 else None
            start_ns += struct.unpack_from("b", raw, at + 5)[0] * 1000
        elif kind == 100:
            (rate_hz,) = struct.unpack_from(f"{order}f", raw, at + 4)
    if length is None and samples:
        encoding = 10  # what records older than blockette 1000 hold: Steim 1
    network, station, location, channel = (_code(raw, at, n) for at, n in ((18, 2), (8, 5), (13, 2), (15, 3)))
    codes = (f"{network}_{station}", location, channel)
    return _Header(2, length, data_offset, samples, encoding, rate_hz, start_ns, codes, quality)


def _code(raw: bytes, at: int, length: int) -> str:
    return raw[at : at + length].replace(b"\0", b" ").decode("ascii").strip()


def _rate2(factor: int, multiplier: int) -> float:
    """Hz from the two numbers of SEED 2.4, fields 10 and 11: negative ones divide."""
    if factor == 0 or multiplier == 0:
        return 0.0
    rate_hz = float(factor) if factor > 0 else -1.0 / factor
    return rate_hz * multiplier if multiplier > 0 else -rate_hz / multiplier


def _time_ns(year: int, day: int, hour: int, minute: int, second: int) -> int:
    """Nanoseconds UTC; second 60 is a leap second. Raises BadRecord with the field's name."""
    last_day = 366 if isleap(year) else 365
    for name, value, least, most in (
        ("year", year, YEARS.start, YEARS.stop - 1),
        ("day of year", day, 1, last_day),
        ("hour", hour, 0, 23),
        ("minute", minute, 0, 59),
        ("second", second, 0, 60),
    ):
        if not least <= value <= most:
            raise BadRecord(name, f"{value} is outside {least}..{most}")
    midnight = round((datetime(year, 1, 1, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    return (midnight + (day - 1) * 86_400 + hour * 3600 + minute * 60 + second) * 1_000_000_000


def _length3(head: bytes) -> int:
    name_bytes, extra_bytes, data_bytes = struct.unpack_from("<xBHI", head, 32)
    length: int = HEADER3_BYTES + name_bytes + extra_bytes + data_bytes
    if length > MOST_RECORD_BYTES:
        raise BadRecord("record length", f"{length} is over {MOST_RECORD_BYTES} bytes")
    return length


def _header3(raw: bytes) -> _Header:
    nanosecond, year, day, hour, minute, second, encoding, rate, samples = struct.unpack_from("<IHHBBBBdI", raw, 4)
    name_bytes, extra_bytes = struct.unpack_from("<xBH", raw, 32)
    if nanosecond > 999_999_999:
        raise BadRecord("nanosecond", f"{nanosecond} is outside 0..999999999")
    start_ns = _time_ns(year, day, hour, minute, second) + nanosecond
    if not isfinite(rate):
        raise BadRecord("sample rate", f"{rate} Hz is not a number")
    codes = _codes3(raw[HEADER3_BYTES : HEADER3_BYTES + name_bytes])
    data_offset = HEADER3_BYTES + name_bytes + extra_bytes
    quality = _quality3(raw[HEADER3_BYTES + name_bytes : data_offset])
    rate_hz = -1.0 / rate if rate < 0 else rate  # negative is a period in seconds
    return _Header(3, _length3(raw), data_offset, samples, encoding, rate_hz, start_ns, codes, quality)


def _codes3(name: bytes) -> tuple[str, str, str]:
    """Station, location and channel of ``FDSN:NET_STA_LOC_BAND_SOURCE_SUBSOURCE``."""
    parts = name.decode("ascii", "replace").removeprefix("FDSN:").split("_")
    if not name.startswith(b"FDSN:") or len(parts) != 6 or not name.isascii():
        raise BadRecord("source identifier", f"{name[:64]!r} is not FDSN:NET_STA_LOC_BAND_SOURCE_SUBSOURCE")
    return "_".join(parts[:2]), parts[2], "".join(parts[3:])


def _quality3(extra: bytes) -> int | None:
    try:
        quality = json.loads(extra)["FDSN"]["Time"]["Quality"] if extra else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None  # extra headers are anybody's; the samples do not hang on them
    return int(quality) if isinstance(quality, int | float) and 0 <= quality <= 100 else None


def _counts(raw: bytes, header: _Header) -> NDArray[np.float64]:
    """Samples, (n,) float64; what is not finite becomes NaN. Raises BadRecord."""
    if header.samples == 0 or header.encoding == TEXT:
        return np.empty(0)
    if header.encoding not in SAMPLES_PER_BYTE:
        raise BadRecord("encoding", f"{header.encoding} is unknown")
    payload_bytes = len(raw) - header.data_offset
    if header.data_offset < HEADER3_BYTES or header.samples > payload_bytes * SAMPLES_PER_BYTE[header.encoding]:
        # said before libmseed makes room for as many as the header claims
        raise BadRecord(
            "samples:", f"{header.samples} cannot be in {payload_bytes} bytes of encoding {header.encoding}"
        )
    try:
        decoded = MS3Record.parse(_harmless(raw, header), unpack_data=True)
    except (MiniSEEDError, ValueError) as error:
        raise BadRecord("samples do not decode:", " ".join(str(error).split())[:160]) from None
    complaints = get_error_messages()
    if any("integrity" in complaint for complaint in complaints) or decoded.numsamples != header.samples:
        raise BadRecord(
            "samples do not decode:", f"{decoded.numsamples} of {header.samples}, or Steim's last one disagrees"
        )
    counts = np.array(decoded.np_datasamples, dtype=np.float64)
    counts[~np.isfinite(counts)] = np.nan
    return counts


def _harmless(raw: bytes, header: _Header) -> bytes:
    """The record as libmseed cannot mistake it: version 2 gets a date that has one byte order."""
    if header.version == 3:
        return raw
    safe = bytearray(raw)
    struct.pack_into(f"{_order(raw)}HH", safe, 20, *HARMLESS_DATE)
    # without blockette 1000 libmseed finds the end of a record by the next one's header
    return bytes(safe) + (b"" if header.length else bytes(safe[:BYTES_BEFORE_JUDGING]))
