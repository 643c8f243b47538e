"""What every driver offers: identity, expected rates, readings. A driver is a module with these names.

``Config`` (pydantic, the device's TOML table), ``MODALITY``, ``expected``, ``probe`` and ``readings``.
Retry, back-off, logging policy and quarantine belong to the supervisor, never to a driver.

    DriverFault                  the device or its wire said something that is not a reading
    ├── WrongDevice              somebody else lives at this address
    └── Refused                  the device understood and will not
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel

from drivers.reading import ClockQuality, Modality, Reading


class DriverFault(Exception):
    """One line: what, where, what was found, what to do. ``raw`` holds the bytes, for quarantine."""

    def __init__(self, cause: str, raw: bytes = b"") -> None:
        super().__init__(cause)
        self.raw = raw


class WrongDevice(DriverFault):
    """The identity that was read is not the one that is configured."""


class Refused(DriverFault):
    """The device answered with a refusal; asking again at once is pointless."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers at the address; empty strings where the device does not say."""

    vendor: str = ""
    model: str = ""
    serial: str = ""
    firmware: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """A stream's rate on paper: a reading each ``period_s``; silence longer than ``silence_s`` is a fault."""

    stream: str
    period_s: float
    silence_s: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a driver may know of the world: clocks, a place for what cannot be parsed, and its own resume notes."""

    now_utc_ns: Callable[[], int]
    monotonic_ns: Callable[[], int]
    clock: Callable[[], ClockQuality]
    reject: Callable[[str, bytes], None]  # (cause, raw bytes): counted and kept, bounded, by the supervisor
    recall: Callable[[str], str | None]  # resume note by key, or None
    remember: Callable[[str, str], None]


class Driver(Protocol):
    """The shape of a driver module."""

    Config: type[BaseModel]
    MODALITY: Modality

    def expected(self, config: Any) -> tuple[Expected, ...]:
        """Streams and their rates, from the configuration alone."""
        ...

    async def probe(self, name: str, config: Any, around: Surroundings) -> Identity:
        """Ask who is there. Raises DriverFault, TimeoutError, OSError."""
        ...

    def readings(self, name: str, config: Any, around: Surroundings) -> AsyncIterator[Reading]:
        """Readings until the device goes quiet or away. Raises DriverFault, TimeoutError, OSError."""
        ...
