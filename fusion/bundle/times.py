"""RFC 3339 in UTC with a ``Z``, to the nanosecond, as integers; a double cannot hold today's nanoseconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_TEXT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse_utc(text: str) -> int:
    """Nanoseconds since 1970 UTC.

    Raises:
        ValueError: another form, another zone, or no such moment; the message quotes the text.
    """
    found = _TEXT.fullmatch(text)
    if found is None:
        raise ValueError(f"{text[:40]!r} is not a time like 2026-03-01T10:15:02.250Z")
    try:
        moment = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is no moment of the calendar") from None
    return (moment - _EPOCH) // timedelta(seconds=1) * 1_000_000_000 + int((found[2] or "0").ljust(9, "0"))


def format_utc(time_utc_ns: int) -> str:
    """RFC 3339 with as many digits as the nanoseconds need: none, three, six or nine.

    Raises:
        OverflowError: outside the years 1 to 9999.
    """
    seconds, nanoseconds = divmod(time_utc_ns, 1_000_000_000)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat().removesuffix("+00:00")
    digits = f"{nanoseconds:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z" if digits else f"{text}Z"
