"""A digitiser's records written by hand: int32 counts as miniSEED 2 (512 bytes, big-endian) and miniSEED 3.

SEED Reference Manual 2.4, chapter 8; FDSN miniSEED 3. No other encoder is used, so that none is tested by itself.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction

RECORD_BYTES = 512
DATA_OFFSET = 64
SAMPLES_IN_RECORD = (RECORD_BYTES - DATA_OFFSET) // 4
INT32 = 3
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Channel:
    """Where samples come from, by its codes: "XX", "L3", "B1", "EHZ"."""

    network: str
    station: str
    location: str
    channel: str


def _calendar(start_ns: int) -> tuple[int, int, int, int, int, int]:
    """Year, day of year, hour, minute, second, and the nanoseconds that are left."""
    seconds, rest_ns = divmod(start_ns, 1_000_000_000)
    moment = EPOCH + timedelta(seconds=seconds)
    return moment.year, moment.timetuple().tm_yday, moment.hour, moment.minute, moment.second, rest_ns


def _rate_numbers(rate_hz: float) -> tuple[int, int]:
    """Factor and multiplier of a miniSEED 2 header: samples a second, divided by the second one where negative."""
    rate = Fraction(rate_hz).limit_denominator(32_767)
    if not 0 < rate.numerator <= 32_767:
        raise ValueError(f"rate {rate_hz} Hz has no place in a miniSEED 2 header")
    return rate.numerator, 1 if rate.denominator == 1 else -rate.denominator


def encode2(
    channel: Channel, start_ns: int, rate_hz: float, counts: Sequence[int], number: int = 1, quality_pct: int = 100
) -> bytes:
    """One record of at most 112 samples; its time is good to a microsecond (blockette 1001)."""
    if len(counts) > SAMPLES_IN_RECORD:
        raise ValueError(f"{len(counts)} samples do not fit into one record of {SAMPLES_IN_RECORD}")
    year, day, hour, minute, second, rest_ns = _calendar(round(start_ns / 1000) * 1000)
    tenths_ms, microseconds = divmod(rest_ns // 1000, 100)
    if microseconds > 49 and tenths_ms < 9999:
        tenths_ms, microseconds = tenths_ms + 1, microseconds - 100
    header = (
        f"{number % 1_000_000:06d}D {channel.station:<5}{channel.location:<2}{channel.channel:<3}{channel.network:<2}"
    )
    fixed = header.encode("ascii") + struct.pack(
        ">HHBBBxHHhhBBBBiHH",
        *(year, day, hour, minute, second, tenths_ms),
        len(counts),
        *_rate_numbers(rate_hz),
        *(0, 0, 0, 2, 0, DATA_OFFSET, 48),
    )
    b1000 = struct.pack(">HHBBBx", 1000, 56, INT32, 1, 9)
    b1001 = struct.pack(">HHBbxB", 1001, 0, quality_pct, microseconds, 0)
    return (fixed + b1000 + b1001 + struct.pack(f">{len(counts)}i", *counts)).ljust(RECORD_BYTES, b"\0")


def encode3(
    channel: Channel, start_ns: int, rate_hz: float, counts: Sequence[int], quality_pct: int | None = None
) -> bytes:
    """One record of any number of samples, to the nanosecond, with its CRC-32C."""
    year, day, hour, minute, second, rest_ns = _calendar(start_ns)
    name = f"FDSN:{channel.network}_{channel.station}_{channel.location}_{'_'.join(channel.channel)}".encode("ascii")
    extra = b"" if quality_pct is None else b'{"FDSN":{"Time":{"Quality":%d}}}' % quality_pct
    head = b"MS\x03\0" + struct.pack(
        "<IHHBBBBdI", rest_ns, year, day, hour, minute, second, INT32, rate_hz, len(counts)
    )
    tail = struct.pack("<BBHI", 1, len(name), len(extra), 4 * len(counts)) + name + extra
    tail += struct.pack(f"<{len(counts)}i", *counts)
    return head + struct.pack("<I", crc32c(head + bytes(4) + tail)) + tail


def text_record(station: str, text: str) -> bytes:
    """A miniSEED 2 log record that holds text, as SeedLink 3 answers INFO in."""
    payload = text.encode("ascii", "replace")[: RECORD_BYTES - DATA_OFFSET]
    fixed = f"000000D {station:<5}  INFSL".encode("ascii") + struct.pack(
        ">HHBBBxHHhhBBBBiHH", 2026, 1, 0, 0, 0, 0, len(payload), 0, 0, 0, 0, 0, 1, 0, DATA_OFFSET, 48
    )
    b1000 = struct.pack(">HHBBBx", 1000, 0, 0, 1, 9)
    return (fixed + b1000).ljust(DATA_OFFSET, b"\0") + payload.ljust(RECORD_BYTES - DATA_OFFSET, b"\0")


def _table() -> tuple[int, ...]:
    """Castagnoli's polynomial, reflected: 0x82F63B78."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CASTAGNOLI = _table()


def crc32c(content: bytes) -> int:
    """CRC-32C of the content; "123456789" gives 0xE3069283."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = crc >> 8 ^ _CASTAGNOLI[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
