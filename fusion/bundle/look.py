"""A passage as it was at a look: only what had arrived by then, and the devices' states of then."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from drivers.reading import Stamp
from fusion.bundle.document import Device, LookRecord, PassageDocument
from fusion.bundle.records import FILE, Piece
from fusion.bundle.table import Kept
from fusion.bundle.times import parse_utc


class _Timed(Protocol):
    @property
    def device(self) -> str: ...
    @property
    def stamp(self) -> Stamp: ...


R = TypeVar("R", bound=_Timed)


@dataclass(frozen=True, slots=True)
class Cut:
    """What a look may use of each file.

    ``used_bytes`` decides where the bundle has it (a file that it does not name had not begun). Otherwise
    ``used_until_utc`` decides by device; a device that it leaves out had given nothing. Neither: all is used.
    """

    until_utc_ns: Mapping[str, int] | None = None
    used_bytes: Mapping[str, int] | None = None

    def rows(self, file: str, modality: str, kept: Iterable[Kept[R]], devices: Sequence[Device]) -> tuple[R, ...]:
        """Readings of a CSV file."""
        if self.used_bytes is not None:
            end = self.used_bytes.get(file, 0)
            return tuple(row.reading for row in kept if row.end_byte <= end)
        until = self._until(modality, devices)
        readings = (row.reading for row in kept)
        return tuple(r for r in readings if until is None or r.stamp.time_utc_ns <= until(r.device))

    def pieces(self, pieces: Iterable[Piece], devices: Sequence[Device]) -> tuple[Piece, ...]:
        """Records, the last one of a sensor shortened where the look had only its beginning."""
        if self.used_bytes is not None:
            end = self.used_bytes.get(FILE, 0)
            return tuple(piece for piece in pieces if piece.end_byte <= end)
        until = self._until("vibration", devices)
        if until is None:
            return tuple(pieces)
        shortened = (_until(piece, until(piece.sensor)) for piece in pieces)
        return tuple(piece for piece in shortened if piece.outside or len(piece.counts))

    def _until(self, modality: str, devices: Sequence[Device]) -> Callable[[str], int] | None:
        """Device or sensor -> the last moment used; one that nobody named has the modality's earliest."""
        if self.until_utc_ns is None:
            return None
        until = self.until_utc_ns
        mine = [device for device in devices if device.modality == modality]
        known = {name: until.get(device.name, NEVER) for device in mine for name in (device.name, *device.sensors)}
        other = min((until.get(device.name, NEVER) for device in mine), default=max(until.values(), default=NEVER))
        return lambda name: known.get(name, until.get(name, other))


NEVER = -(1 << 62)
ALL = Cut()


def cut_of(look: LookRecord) -> Cut:
    """The cut that a look recorded."""
    until = {name: NEVER if text is None else parse_utc(text) for name, text in look.used_until_utc.items()}
    return Cut(until, look.used_bytes)


def look_utc_ns(document: PassageDocument, look: LookRecord) -> int:
    """When the look was taken: its time after the beginning."""
    return document.began_utc_ns + round(look.at_s * 1e9)


def _until(piece: Piece, until_utc_ns: int) -> Piece:
    if piece.outside:
        return piece
    room = (until_utc_ns - piece.start_utc_ns) * piece.rate_hz / 1e9
    keep = 0 if room < 0 else int(room + 1e-6) + 1
    return piece if keep >= len(piece.counts) else replace(piece, counts=piece.counts[:keep])
