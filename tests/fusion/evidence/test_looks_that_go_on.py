"""What an earlier look left behind spares work and is never part of an answer, whatever comes late or in doubt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from calibration.response import Response
from fusion.bundle.records import Piece
from fusion.bundle.series import Memory, join
from fusion.evidence import conditioning
from fusion.evidence.conditioning import forget
from fusion.evidence.evidence import Evidence
from fusion.evidence.vibration import prepare_vibration, vibration_evidence
from fusion.passage import Context, Passage, SensorSeries

SECOND = 1_000_000_000
RATE, RECORD = 100.0, 50
SENSORS = ("B1", "B2", "G1", "G2")
RESPONSES = {(name, "EHZ"): Response(1e9, 5.0) for name in SENSORS}
Change = Callable[[list[Piece]], list[Piece]]


def records(seconds: int = 31) -> list[Piece]:
    random = np.random.default_rng(3)
    pieces = [
        Piece(name, "EHZ", first * SECOND // round(RATE), RATE, np.rint(random.normal(0, 900, RECORD)))
        for name in SENSORS
        for first in range(0, round(seconds * RATE), RECORD)
    ]
    return sorted(pieces, key=lambda piece: piece.start_utc_ns)


def one_disagrees(pieces: list[Piece]) -> list[Piece]:
    """A record that lies over half of the one before it, which has been looked at, and half of the next."""
    odd = Piece("B1", "EHZ", 19 * SECOND + SECOND // 4 * 3, RATE, np.full(RECORD, 12_345.0))
    return sorted([*pieces, odd], key=lambda piece: piece.start_utc_ns)


def one_comes_late(pieces: list[Piece]) -> list[Piece]:
    late = next(piece for piece in pieces if piece.sensor == "G1" and piece.start_utc_ns == 4 * SECOND)
    rest = [piece for piece in pieces if piece is not late]
    return [*rest[:80], late, *rest[80:]]


def one_never_comes(pieces: list[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece.sensor != "B2" or piece.start_utc_ns != 7 * SECOND]


def evidence(series: tuple[SensorSeries, ...], second: int) -> Evidence:
    context = Context(shelter="shed")
    return vibration_evidence(Passage("0" * 26, "s", "1", 0, None, context=context, vibration=series), second * SECOND)


@pytest.mark.parametrize("change", [list, one_disagrees, one_comes_late, one_never_comes])
def test_a_look_that_goes_on_has_the_bits_of_one_from_nothing(change: Change) -> None:
    pieces, memory = change(records()), Memory()
    forget()
    for second in range(1, 31):
        come = pieces[: second * len(SENSORS) * 2]
        series, _ = join(come, RESPONSES, memory=memory)
        prepare_vibration(series, 0)
        if second % 5 == 0:
            going_on = evidence(series, second)
            forget()
            assert going_on == evidence(join(come, RESPONSES)[0], second)


def test_segments_of_samples_that_were_only_added_to_are_not_even_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, memory, asked = records(), Memory(), list[int]()
    segment_at = conditioning._segment_at

    def counted(series: SensorSeries, response: Response, begin_ns: int, k: int, known: int) -> conditioning._Segment:
        asked.append(k)
        return segment_at(series, response, begin_ns, k, known)

    monkeypatch.setattr(conditioning, "_segment_at", counted)
    forget()
    for second in (10, 20, 30):
        asked.clear()
        series, _ = join(pieces[: second * len(SENSORS) * 2], RESPONSES, memory=memory)
        evidence(series, second)
        assert sorted(set(asked)) == [second // 5 - 2, second // 5 - 1]


def test_series_with_other_counts_are_judged_by_their_counts_whatever_was_kept_of_the_first() -> None:
    series, _ = join(records(), RESPONSES, memory=Memory())
    first = evidence(series, 30)
    other = tuple(replace(s, counts=np.ascontiguousarray(s.counts[::-1])) for s in series)
    found = evidence(other, 30)
    forget()
    assert found == evidence(tuple(replace(s, growing=None) for s in other), 30) != first
    assert evidence(series, 30) == first


def test_the_response_may_change_between_looks() -> None:
    memory = Memory()
    evidence(join(records(), RESPONSES, memory=memory)[0], 30)
    louder = {name: Response(2e9, 5.0) for name in RESPONSES}
    found = evidence(join(records(), louder, memory=memory)[0], 30)
    forget()
    assert found == evidence(join(records(), louder)[0], 30)


def test_what_is_shown_cannot_be_written_to() -> None:
    (series, *_), _ = join(records(), RESPONSES, memory=Memory())
    with pytest.raises(ValueError, match="read-only"):
        series.counts[0] = 1.0
