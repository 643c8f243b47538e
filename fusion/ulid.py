"""ULID: 48 bits of milliseconds and 80 random bits in Crockford's base 32, sortable by time."""

from __future__ import annotations

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid(time_utc_ns: int, randomness: bytes) -> str:
    """26 characters.

    Args:
        time_utc_ns: the moment, to the millisecond that is kept.
        randomness: exactly 10 bytes.

    Raises:
        ValueError: the time does not fit 48 bits of milliseconds, or the randomness is not 10 bytes.
    """
    milliseconds = time_utc_ns // 1_000_000
    if not 0 <= milliseconds < 1 << 48:
        raise ValueError(f"ulid: {time_utc_ns} ns is outside the years that a ULID holds")
    if len(randomness) != 10:
        raise ValueError(f"ulid: {len(randomness)} random bytes; give 10")
    number = milliseconds << 80 | int.from_bytes(randomness, "big")
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))
