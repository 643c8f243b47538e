"""Records into one series a sensor: gaps stay gaps, doubt stays doubt, and the order of arrival does not matter.

A gap that is filled makes a false step, and a step rings in the heartbeat band; so nothing is filled. Two records that
agree on the same time are one; where they do not, neither is believed. What was joined for one look is gone on with at
the next (`Memory`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from operator import is_

import numpy as np
from numpy.typing import NDArray

from calibration.response import Response
from fusion.bundle.records import MOST_SAMPLES, Piece, Window
from fusion.growing import Growing
from fusion.passage import SensorSeries

MARGIN_NS = 60_000_000_000  # FORMATS leaves early and late samples open; beyond a minute the device's clock is wrong
LONGEST_NS = 3600_000_000_000  # assumed: a passage without an end is not looked at beyond an hour
LEAST_RATE_HZ, MOST_RATE_HZ = 100.0, 2000.0  # FORMATS
SAME_RATE = 1e-6  # relative; assumed: header fractions round below it
MOST_SLIP = 2.0  # samples; assumed: how far a nominal rate may drift from the records' own times before it is a gap

Responses = Mapping[tuple[str, str], Response | str]


class _Laid:
    """Records of one sensor on the axis of the first; those that begin later can be laid behind them."""

    def __init__(self, anchor: Piece) -> None:
        self.anchor = anchor
        self._given: list[Piece] = []
        self._last_ns = anchor.start_utc_ns - 1
        self._next_index, self._next_ns = 0, float(anchor.start_utc_ns)
        self._counts, self._disputed = np.empty(0), np.empty(0, dtype=np.bool_)
        self._length = 0
        self.growing = Growing()

    def goes_on_with(self, inside: Sequence[Piece]) -> bool:
        """Whether ``inside`` is what was laid, in the same order, and then records that begin later."""
        known = len(self._given)
        if len(inside) < known or not all(map(is_, self._given, inside)):
            return False
        starts = [self._last_ns, *(piece.start_utc_ns for piece in inside[known:])]
        return all(before < after for before, after in pairwise(starts))

    def fresh(self, inside: Sequence[Piece]) -> Sequence[Piece]:
        """What of ``inside`` is not laid yet, where it `goes_on_with` it."""
        return inside[len(self._given) :]

    def lay(self, inside: Sequence[Piece], fresh: Sequence[Piece], left: int) -> int:
        """Lay ``fresh``, in its order, so that all of ``inside`` is laid; nothing is if the answer is over ``left``.

        The answer is how many samples it all spans.
        """
        places = [self._place(piece) for piece in fresh]
        ends = [at + len(piece.counts) for at, piece in zip(places, fresh, strict=True)]
        length = max([self._length, *ends])
        if length > left:
            return length
        if places and min(places) < len(self.growing.latest):  # what was shown stays as it was
            self._counts, self.growing = self._counts.copy(), Growing()
        self._grow(length)
        for at, piece in zip(places, fresh, strict=True):
            there = self._counts[at : at + len(piece.counts)]  # a view
            both = ~np.isnan(there) & ~np.isnan(piece.counts)
            self._disputed[at : at + len(piece.counts)] |= both & (there != piece.counts)
            np.copyto(there, piece.counts, where=np.isnan(there))
        self._given = list(inside)
        self._last_ns = fresh[-1].start_utc_ns if fresh else self._last_ns
        return length

    def counts(self) -> tuple[NDArray[np.float64], int]:
        """Counts (length,), NaN where nothing or no agreement is, and in how many samples records disagree.

        They are not copied: more may be laid behind them, and nothing is laid over them.
        """
        counts = self._counts[: self._length]
        if disputed := int(np.count_nonzero(self._disputed[: self._length])):
            counts = np.where(self._disputed[: self._length], np.nan, counts)
            self.growing = Growing()
        counts.flags.writeable = False
        self.growing.latest = counts
        return counts, disputed

    def _place(self, piece: Piece) -> int:
        """Index of its first sample on the axis of the first record.

        A record that follows within half a sample period is the next one, whatever its time's rounding; so a nominal
        rate that is a little off makes no one-sample gaps. Once that has slipped by `MOST_SLIP`, its own time wins.
        """
        rate_hz = self.anchor.rate_hz
        exact = (piece.start_utc_ns - self.anchor.start_utc_ns) * rate_hz / 1e9
        follows = abs(piece.start_utc_ns - self._next_ns) * rate_hz / 1e9 <= 0.5
        at = max(0, self._next_index if follows and abs(self._next_index - exact) <= MOST_SLIP else round(exact))
        if piece.end_utc_ns >= self._next_ns:
            self._next_index, self._next_ns = at + len(piece.counts), float(piece.end_utc_ns)
        return at

    def _grow(self, length: int) -> None:
        if length > len(self._counts):
            more = max(length, 2 * len(self._counts)) - len(self._counts)
            self._counts = np.concatenate((self._counts, np.full(more, np.nan)))
            self._disputed = np.concatenate((self._disputed, np.zeros(more, dtype=np.bool_)))
        self._length = length


Memory = dict[tuple[str, str], _Laid]  # (sensor, channel) -> what was joined of it; `join` fills it


def window_of(began_utc_ns: int, ended_utc_ns: int | None) -> Window:
    """The time that belongs to a passage."""
    longest = began_utc_ns + LONGEST_NS
    ended = longest if ended_utc_ns is None else min(ended_utc_ns, longest)
    return Window(began_utc_ns - MARGIN_NS, ended + MARGIN_NS)


def join(
    pieces: Sequence[Piece], responses: Responses, no_response: str = "no response", memory: Memory | None = None
) -> tuple[tuple[SensorSeries, ...], tuple[str, ...]]:
    """One series for each sensor and channel, and a line for each doubt.

    Args:
        pieces: records in any order; those outside the passage make their sensor faulty.
        responses: (sensor, channel) -> response, or why there is none.
        no_response: the fault of a sensor that ``responses`` does not know.
        memory: of earlier calls; it spares work and changes no answer.
    """
    memory = {} if memory is None else memory
    by_sensor: dict[tuple[str, str], list[Piece]] = {}
    for piece in pieces:
        by_sensor.setdefault((piece.sensor, piece.channel), []).append(piece)
    series: list[SensorSeries] = []
    notes: list[str] = []
    left = MOST_SAMPLES
    for name, found in sorted(by_sensor.items()):
        answer = responses.get(name, f"{no_response} ({name[0]}.{name[1]})")
        joined, note = _sensor(name, found, answer, left, memory)
        left -= len(joined.counts)
        series.append(joined)
        notes += note
    return tuple(series), tuple(notes)


def _sensor(
    name: tuple[str, str], found: list[Piece], answer: Response | str, left: int, memory: Memory
) -> tuple[SensorSeries, list[str]]:
    place = f"{name[0]}.{name[1]}"
    inside = [p for p in found if not p.outside]
    outside = len(found) - len(inside)
    response, fault = (answer, None) if isinstance(answer, Response) else (None, answer)
    laid, fresh = _remembered(memory.pop(name, None), inside)
    first = min(found, key=_order) if laid is None else laid.anchor
    rate_hz = first.rate_hz
    counts, notes, growing = np.empty(0), list[str](), None
    if not all(abs(other_hz - rate_hz) <= SAME_RATE * rate_hz for other_hz in {p.rate_hz for p in inside}):
        fault = f"rate: {place} has records of {rate_hz:g} Hz and of others"
    elif not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
        fault = f"rate: {place} at {rate_hz:g} Hz is outside {LEAST_RATE_HZ:g} to {MOST_RATE_HZ:g} Hz"
    elif laid is not None:
        length = laid.lay(inside, fresh, left)
        if length > left:
            fault = f"{place}: its records span {length / rate_hz:.0f} s, more than a passage is kept for"
        else:
            memory[name] = laid
            counts, disputed = laid.counts()
            growing = laid.growing
            notes = _doubts(place, counts, disputed, rate_hz)
    if outside:
        fault = f"clock: {outside} of {len(found)} records of {place} are outside the passage"
        notes.append(f"vibration.mseed: {fault}: not joined")
    return SensorSeries(*name, first.start_utc_ns, rate_hz, counts, response, fault, growing), notes


def _remembered(laid: _Laid | None, inside: list[Piece]) -> tuple[_Laid | None, Sequence[Piece]]:
    """What can be gone on with, and what is to be laid now, in an order that is total: the file's cannot matter."""
    if laid is not None and laid.goes_on_with(inside):
        return laid, laid.fresh(inside)
    order = sorted(inside, key=_order)
    return (_Laid(order[0]) if order else None), order


def _order(piece: Piece) -> tuple[int, int, bytes]:
    return piece.start_utc_ns, len(piece.counts), piece.counts.tobytes()


def _doubts(place: str, counts: NDArray[np.float64], disputed: int, rate_hz: float) -> list[str]:
    notes = []
    if disputed:
        notes.append(f"vibration.mseed: {place}: {disputed} samples ({disputed / rate_hz:.3f} s) disagree: left out")
    if missing := int(np.count_nonzero(np.isnan(counts))) - disputed:
        notes.append(f"vibration.mseed: {place}: {missing} samples ({missing / rate_hz:.3f} s) are missing")
    return notes
