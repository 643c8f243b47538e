"""Hours as a place lives them: the repeated hour of autumn is two hours, the missing one of spring is none.

Stored times are UTC and are not touched; only what is printed by the hour or the day is made here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

QUARTER_S = 900  # every zone of today is a whole number of quarters from UTC
QUARTER_NS, HOUR_NS = QUARTER_S * 10**9, 3_600 * 10**9
QUARTERS_A_DAY = 96


class ZoneFault(ValueError):
    """One line: a zone that nobody knows, or a local time that is none or two."""


@dataclass(frozen=True, slots=True)
class LocalHour:
    """One hour of one place. ``repeated``: the same number of the clock comes twice on that day."""

    day: str
    hour: int
    zone: str  # as it was called then: BST, GMT
    repeated: bool

    @property
    def text(self) -> str:
        """``2026-10-25 01 BST``."""
        return f"{self.day} {self.hour:02d} {self.zone}"


def zone(name: str) -> ZoneInfo:
    """The zone. Raises ZoneFault."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ZoneFault(f"{name[:40]!r} is no time zone; give one like Europe/London, or UTC") from None


def local_hour(quarter: int, place: ZoneInfo) -> LocalHour:
    """The hour in which a quarter (counted from 1970 UTC) lies."""
    moment = datetime.fromtimestamp(quarter * QUARTER_S, UTC).astimezone(place)
    there = moment.replace(minute=0, fold=0)
    return LocalHour(moment.strftime("%Y-%m-%d"), moment.hour, moment.strftime("%Z"), _twice(there))


def offsets(place: ZoneInfo, first_ns: int, last_ns: int) -> list[tuple[int, int]]:
    """How far the place's clock was ahead of UTC: (from when, ns UTC; by how much, ns), in order, at least one.

    With these an engine that knows no zones makes local hours of a million rows.
    """
    first, last = first_ns // QUARTER_NS, last_ns // QUARTER_NS
    found = [(first * QUARTER_NS, _ahead_ns(first, place))]
    for day in range(first, last + QUARTERS_A_DAY, QUARTERS_A_DAY):
        low, high = day, day + QUARTERS_A_DAY
        if _ahead_ns(high, place) == found[-1][1]:
            continue
        while high - low > 1:  # one change a day at most
            middle = (low + high) // 2
            low, high = (middle, high) if _ahead_ns(middle, place) == found[-1][1] else (low, middle)
        found.append((high * QUARTER_NS, _ahead_ns(high, place)))
    return found


def hours_lived(place: ZoneInfo, first_ns: int, last_ns: int) -> dict[int, int]:
    """How many hours of each number lay in a time, its first and last one counted whole."""
    lived: dict[int, int] = {}
    known = offsets(place, first_ns, last_ns)
    for (since, ahead), (until, _) in zip(known, [*known[1:], (last_ns + 1, 0)], strict=True):
        first, last = (since + ahead) // HOUR_NS, (until - 1 + ahead) // HOUR_NS
        for hour in range(first, last + 1):
            lived[hour % 24] = lived.get(hour % 24, 0) + 1
    return lived


def _ahead_ns(quarter: int, place: ZoneInfo) -> int:
    ahead = datetime.fromtimestamp(quarter * QUARTER_S, UTC).astimezone(place).utcoffset() or timedelta()
    return round(ahead.total_seconds()) * 1_000_000_000


def day_hours(day: date, place: ZoneInfo) -> list[LocalHour]:
    """The hours of a local day, in order: 24, or 23, or 25."""
    first, after = _begin(day, place), _begin(day + timedelta(days=1), place)
    return list(_hours(first, after, place))


def begin_utc_ns(day: date, place: ZoneInfo) -> int:
    """When a local day begins."""
    return int(_begin(day, place).timestamp()) * 1_000_000_000


def moment_utc_ns(text: str, place: ZoneInfo) -> int:
    """A local time as a person writes it, ``2026-10-25 01:30``; an offset or a Z behind it is obeyed.

    Raises:
        ZoneFault: not a time, or one that the place had twice or not at all: which of them is asked back.
    """
    try:
        there = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ZoneFault(f"{text[:40]!r} is no time; write 2026-10-25 01:30, or with an offset +01:00") from None
    if there.tzinfo is not None:
        return round(there.timestamp()) * 1_000_000_000
    early, late = there.replace(tzinfo=place, fold=0), there.replace(tzinfo=place, fold=1)
    if early.utcoffset() != late.utcoffset():
        came = early.astimezone(UTC).astimezone(place).replace(tzinfo=None) == there
        how = "twice" if came else "not at all"
        said = f"{there.isoformat(' ')} came {how} in {place.key}"
        offered = " or ".join(sorted({moment.isoformat(" ") for moment in (early, late)})) if came else "another time"
        raise ZoneFault(f"{said}; say which: {offered}")
    return int(early.timestamp()) * 1_000_000_000


def _begin(day: date, place: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=place).astimezone(UTC)


def _hours(first: datetime, after: datetime, place: ZoneInfo) -> Iterator[LocalHour]:
    moment, last = first, None
    while moment < after:
        found = local_hour(int(moment.timestamp()) // QUARTER_S, place)
        if found != last:
            yield found
        last, moment = found, moment + timedelta(seconds=QUARTER_S)


def _twice(there: datetime) -> bool:
    early, late = there.replace(fold=0), there.replace(fold=1)
    return (early.utcoffset() or timedelta()) > (late.utcoffset() or timedelta())
