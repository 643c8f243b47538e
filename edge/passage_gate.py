"""When a passage begins and ends, from presence alone: a pure state machine with the passage's identity.

Order is by arrival, never by wall time. A device that stops speaking does not end a passage: a lorry does not leave
because a cable did; ``limit_s`` bounds it instead, and the passage then says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from drivers.reading import PresenceChange
from fusion.ulid import ulid

LIMIT_S = 900.0  # assumed: a loop that is stuck on must not hold the lane's record open for ever


class Closing(StrEnum):
    """Why a passage ended."""

    LEFT = "left"
    TOO_LONG = "too_long"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class OpenPassage:
    """A vehicle that is on the lane now."""

    passage_id: str
    began_utc_ns: int
    began_monotonic_ns: int


@dataclass(frozen=True, slots=True)
class ClosedPassage:
    """A vehicle that has left, or whose passage was closed for another reason."""

    passage_id: str
    began_utc_ns: int
    ended_utc_ns: int
    closing: Closing


def step(
    current: OpenPassage | None, change: PresenceChange, random_bytes: Callable[[int], bytes]
) -> tuple[OpenPassage | None, ClosedPassage | None]:
    """The passage in hand after a presence change, and the one that it closed, if any.

    A repeated "present" changes nothing, so a chattering input cannot split a passage; a repeated "absent" likewise.
    The end is never before the beginning, whatever the clock did meanwhile: the duration is monotonic.
    """
    if change.present and current is None:
        stamp = change.stamp
        passage_id = ulid(max(stamp.time_utc_ns, 0), random_bytes(10))
        return OpenPassage(passage_id, stamp.time_utc_ns, stamp.arrival_monotonic_ns), None
    if not change.present and current is not None:
        return None, close(current, change.stamp.arrival_monotonic_ns, Closing.LEFT)
    return current, None


def overdue(current: OpenPassage | None, now_monotonic_ns: int, limit_s: float = LIMIT_S) -> bool:
    """Whether the passage in hand has lasted longer than a passage can."""
    return current is not None and now_monotonic_ns - current.began_monotonic_ns > limit_s * 1e9


def close(current: OpenPassage, now_monotonic_ns: int, closing: Closing) -> ClosedPassage:
    """The passage, ended now; its length is taken from the monotonic clock."""
    lasted_ns = max(0, now_monotonic_ns - current.began_monotonic_ns)
    return ClosedPassage(current.passage_id, current.began_utc_ns, current.began_utc_ns + lasted_ns, closing)
