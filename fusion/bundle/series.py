"""Records into one series a sensor: gaps stay gaps, doubt stays doubt, and the order of arrival does not matter.

A gap that is filled makes a false step, and a step rings in the heartbeat band; so nothing is filled. Two records that
agree on the same time are one; where they do not, neither is believed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from calibration.response import Response
from fusion.bundle.records import MOST_SAMPLES, Piece, Window
from fusion.passage import SensorSeries

MARGIN_NS = 60_000_000_000  # FORMATS leaves early and late samples open; beyond a minute the device's clock is wrong
LONGEST_NS = 3600_000_000_000  # assumed: a passage without an end is not looked at beyond an hour
LEAST_RATE_HZ, MOST_RATE_HZ = 100.0, 2000.0  # FORMATS
SAME_RATE = 1e-6  # relative; assumed: header fractions round below it
MOST_SLIP = 2.0  # samples; assumed: how far a nominal rate may drift from the records' own times before it is a gap

Responses = Mapping[tuple[str, str], Response | str]


def window_of(began_utc_ns: int, ended_utc_ns: int | None) -> Window:
    """The time that belongs to a passage."""
    longest = began_utc_ns + LONGEST_NS
    ended = longest if ended_utc_ns is None else min(ended_utc_ns, longest)
    return Window(began_utc_ns - MARGIN_NS, ended + MARGIN_NS)


def join(
    pieces: Sequence[Piece], responses: Responses, no_response: str = "no response"
) -> tuple[tuple[SensorSeries, ...], tuple[str, ...]]:
    """One series for each sensor and channel, and a line for each doubt.

    Args:
        pieces: records in any order; those outside the passage make their sensor faulty.
        responses: (sensor, channel) -> response, or why there is none.
        no_response: the fault of a sensor that ``responses`` does not know.
    """
    by_sensor: dict[tuple[str, str], list[Piece]] = {}
    for piece in pieces:
        by_sensor.setdefault((piece.sensor, piece.channel), []).append(piece)
    series: list[SensorSeries] = []
    notes: list[str] = []
    left = MOST_SAMPLES
    for name, found in sorted(by_sensor.items()):
        answer = responses.get(name, f"{no_response} ({name[0]}.{name[1]})")
        joined, note = _sensor(name, found, answer, left)
        left -= len(joined.counts)
        series.append(joined)
        notes += note
    return tuple(series), tuple(notes)


def _sensor(
    name: tuple[str, str], found: list[Piece], answer: Response | str, left: int
) -> tuple[SensorSeries, list[str]]:
    place = f"{name[0]}.{name[1]}"
    inside = sorted((p for p in found if not p.outside), key=_order)
    outside = [p for p in found if p.outside]
    response, fault = (answer, None) if isinstance(answer, Response) else (None, answer)
    first = inside[0] if inside else min(outside, key=_order)
    rate_hz, start = first.rate_hz, first.start_utc_ns
    counts, notes = np.empty(0), []
    if not all(abs(p.rate_hz - rate_hz) <= SAME_RATE * rate_hz for p in inside):
        fault = f"rate: {place} has records of {rate_hz:g} Hz and of others"
    elif not LEAST_RATE_HZ <= rate_hz <= MOST_RATE_HZ:
        fault = f"rate: {place} at {rate_hz:g} Hz is outside {LEAST_RATE_HZ:g} to {MOST_RATE_HZ:g} Hz"
    elif inside:
        starts = _places(inside, rate_hz)
        length = max(at + len(p.counts) for at, p in zip(starts, inside, strict=True))
        if length > left:
            fault = f"{place}: its records span {length / rate_hz:.0f} s, more than a passage is kept for"
        else:
            counts, disputed = _laid(inside, starts, length)
            notes = _doubts(place, counts, disputed, rate_hz)
    if outside:
        fault = f"clock: {len(outside)} of {len(found)} records of {place} are outside the passage"
        notes.append(f"vibration.mseed: {fault}: not joined")
    return SensorSeries(*name, start, rate_hz, counts, response, fault), notes


def _order(piece: Piece) -> tuple[int, int, bytes]:
    """Total, so that the order of the file cannot matter."""
    return piece.start_utc_ns, len(piece.counts), piece.counts.tobytes()


def _places(inside: Sequence[Piece], rate_hz: float) -> list[int]:
    """Index of each record's first sample on the axis of the first record.

    A record that follows within half a sample period is the next one, whatever its time's rounding; so a nominal rate
    that is a little off makes no one-sample gaps. Once that has slipped by `MOST_SLIP`, the records' times win.
    """
    anchor = inside[0]
    places: list[int] = []
    next_index, next_ns = 0, float(anchor.start_utc_ns)
    for piece in inside:
        exact = (piece.start_utc_ns - anchor.start_utc_ns) * rate_hz / 1e9
        follows = abs(piece.start_utc_ns - next_ns) * rate_hz / 1e9 <= 0.5
        index = next_index if follows and abs(next_index - exact) <= MOST_SLIP else round(exact)
        places.append(max(0, index))
        if piece.end_utc_ns >= next_ns:
            next_index, next_ns = places[-1] + len(piece.counts), float(piece.end_utc_ns)
    return places


def _laid(inside: Sequence[Piece], places: Sequence[int], length: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Counts, NaN where nothing or no agreement is; and where records disagree. Both (length,)."""
    counts = np.full(length, np.nan)
    disputed = np.zeros(length, dtype=np.bool_)
    for at, piece in zip(places, inside, strict=True):
        there = counts[at : at + len(piece.counts)]  # a view
        doubt = disputed[at : at + len(piece.counts)]
        both = ~np.isnan(there) & ~np.isnan(piece.counts)
        doubt |= both & (there != piece.counts)
        np.copyto(there, piece.counts, where=np.isnan(there))
    counts[disputed] = np.nan
    return counts, disputed


def _doubts(place: str, counts: NDArray[np.float64], disputed: NDArray[np.bool_], rate_hz: float) -> list[str]:
    notes = []
    if unequal := int(disputed.sum()):
        notes.append(f"vibration.mseed: {place}: {unequal} samples ({unequal / rate_hz:.3f} s) disagree: left out")
    if missing := int(np.isnan(counts).sum()) - unequal:
        notes.append(f"vibration.mseed: {place}: {missing} samples ({missing / rate_hz:.3f} s) are missing")
    return notes
