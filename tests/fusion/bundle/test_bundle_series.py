"""Records into series: damage is counted, gaps stay gaps, doubt stays doubt, order does not matter."""

from __future__ import annotations

import random
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import obspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calibration.response import Response
from fusion.bundle.fault import FileFault
from fusion.bundle.records import MOST_SAMPLES, Piece, Window, scan
from fusion.bundle.series import Memory, join, window_of
from fusion.bundle.times import parse_utc
from fusion.passage import SensorSeries

EVER = Window(-(1 << 62), 1 << 62)
RESPONSES = {(sensor, channel): Response(1e8, 20.0) for sensor in ("B1", "B2") for channel in ("DPZ", "EHZ")}
BEGAN = parse_utc("2026-01-20T08:00:00Z")
NAN = float("nan")


def _piece(at_s: float, counts: list[float], rate_hz: float = 500.0) -> Piece:
    return Piece("B1", "EHZ", BEGAN + round(at_s * 1e9), rate_hz, np.array(counts, dtype=np.float64))


def _counts(series: SensorSeries) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in series.counts]


def test_a_gap_is_a_gap_and_unequal_overlap_is_left_out(cases: Path) -> None:
    found = scan((cases / "16-mseed-gap-and-overlap" / "vibration.mseed").read_bytes(), EVER)
    (body, other), notes = join(found.pieces, RESPONSES)
    assert (body.sensor, other.sensor) == ("B1", "B2")
    missing = np.flatnonzero(np.isnan(body.counts)) / body.rate_hz
    assert missing.size == round(1.2 * body.rate_hz) + round(0.5 * body.rate_hz)
    assert np.isclose(missing.min(), 4.0) and len(body.counts) == round(10 * body.rate_hz)
    assert not np.isnan(other.counts).any() and other.fault is None
    assert any("250 samples (0.500 s) disagree" in note for note in notes)


def test_the_order_of_the_records_does_not_matter(cases: Path) -> None:
    pieces = list(scan((cases / "16-mseed-gap-and-overlap" / "vibration.mseed").read_bytes(), EVER).pieces)
    expected, notes = join(pieces, RESPONSES)
    for seed in range(5):
        random.Random(seed).shuffle(pieces)
        series, same_notes = join(pieces, RESPONSES)
        assert same_notes == notes
        for one, other in zip(series, expected, strict=True):
            np.testing.assert_array_equal(one.counts, other.counts)


def test_equal_overlap_is_joined_and_three_that_disagree_stay_in_doubt() -> None:
    (series,), notes = join([_piece(0, [1, 2, 3]), _piece(0.002, [2, 3, 4])], RESPONSES)
    assert _counts(series) == [1, 2, 3, 4] and notes == ()
    (series,), _ = join([_piece(0, [1, 2]), _piece(0, [1, 9]), _piece(0, [1, 2])], RESPONSES)
    assert _counts(series) == [1, None]


def test_a_rate_that_is_a_little_off_makes_no_gap_of_one_sample() -> None:
    pieces = [_piece(step * 0.2002, [float(step)] * 100) for step in range(10)]  # 0.1 sample late a record
    (series,), notes = join(pieces, RESPONSES)
    assert len(series.counts) == 1000 and notes == ()


def test_time_that_slips_for_long_is_set_right_by_the_records() -> None:
    pieces = [_piece(step * 0.2008, [float(step)] * 100) for step in range(50)]  # 0.4 samples late a record
    (series,), _ = join(pieces, RESPONSES)
    last = np.flatnonzero(series.counts == 49)[0]
    assert abs(last - 49 * 0.2008 * 500) <= 2.5


@pytest.mark.parametrize(("name", "records", "lost"), [("cut", 5, 200), ("zeros", None, 4096), ("junk-first", 12, 137)])
def test_whole_records_around_damage_are_used_and_lost_bytes_said(
    cases: Path, name: str, records: int | None, lost: int
) -> None:
    found = scan((cases / "20-mseed-cut-and-junk" / f"{name}.mseed").read_bytes(), EVER)
    assert found.lost_bytes == lost and any(f"{lost} of" in note for note in found.notes)
    assert found.pieces and (records is None or len(found.pieces) == records)


def test_a_file_without_any_record_is_faulty() -> None:
    for content in (b"x" * 5000, bytes(5000), b"000001D "):
        with pytest.raises(FileFault, match="no miniSEED record"):
            scan(content, EVER)


@pytest.mark.parametrize("filler", [b"\x00", b"000001D ", b"MS\x03", b"D "])
def test_the_search_for_the_next_record_is_bounded_in_time(filler: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(FileFault):
        scan(filler * (20_000_000 // len(filler)), EVER)
    assert time.perf_counter() - began < 10  # generous: the bound is on work, the machine may be busy


@pytest.mark.parametrize("name", ["year-1970", "year-2056", "year-2080"])
def test_a_device_without_a_clock_is_never_joined(cases: Path, name: str) -> None:
    content = (cases / "18-mseed-wrong-year" / f"{name}.mseed").read_bytes()
    found = scan(content, window_of(BEGAN, BEGAN + 60 * 10**9))
    (series,), notes = join(found.pieces, RESPONSES)
    assert len(series.counts) == 0 and str(series.fault).startswith("clock") and notes


def test_a_series_longer_than_a_passage_takes_no_memory() -> None:
    pieces = [_piece(0, [1.0]), _piece(2 * MOST_SAMPLES / 500, [1.0])]
    (series,), _ = join(pieces, RESPONSES)
    assert len(series.counts) == 0 and "span" in str(series.fault)


def test_rates_that_differ_or_are_no_geophones_are_faults() -> None:
    (series,), _ = join([_piece(0, [1.0]), _piece(1, [1.0], 250.0)], RESPONSES)
    assert str(series.fault).startswith("rate")
    (series,), _ = join([_piece(0, [1.0], 1.0)], RESPONSES)
    assert str(series.fault).startswith("rate")


def test_every_strange_recording_gives_records_or_one_refusal(recordings: Path) -> None:
    opened = 0
    for file in sorted((recordings / "odd" / "miniseed").iterdir()):
        try:
            scan(file.read_bytes(), EVER)
            opened += 1
        except FileFault as fault:
            assert "\n" not in str(fault)
    assert opened > 50


def test_samples_are_those_that_obspy_reads(cases: Path) -> None:
    path = cases / "00-control" / "bundle" / "vibration.mseed"
    stream = obspy.read(str(path)).merge()
    found, _ = join(scan(path.read_bytes(), EVER).pieces, RESPONSES)
    assert [series.sensor for series in found] == [trace.stats.location for trace in stream] == ["B1", "G1"]
    for series, trace in zip(found, stream, strict=True):
        np.testing.assert_array_equal(series.counts, trace.data)
        assert series.start_utc_ns == trace.stats.starttime.ns


@settings(max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.lists(st.sampled_from([0.0, 1.0, 2.0, NAN]), min_size=1, max_size=6)),
        min_size=1,
        max_size=8,
    ),
    st.randoms(use_true_random=False),
)
def test_each_sample_is_what_all_its_records_say_or_nothing(
    given_pieces: list[tuple[int, list[float]]], shuffler: random.Random
) -> None:
    pieces = [_piece(at / 500, counts) for at, counts in given_pieces]
    (series,), _ = join(pieces, RESPONSES)
    shuffler.shuffle(pieces)
    (again,), _ = join(pieces, RESPONSES)
    np.testing.assert_array_equal(series.counts, again.counts)
    first = min(at for at, _ in given_pieces)
    said: dict[int, set[float]] = {}
    for at, counts in given_pieces:
        for index, value in enumerate(counts, at - first):
            if not np.isnan(value):
                said.setdefault(index, set()).add(value)
    expected = [said[i].copy().pop() if len(said.get(i, ())) == 1 else NAN for i in range(len(series.counts))]
    np.testing.assert_array_equal(series.counts, expected)


@settings(max_examples=60)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=40))
def test_any_damage_to_records_gives_records_or_one_refusal(small_records: bytes, at: int, junk: bytes) -> None:
    at %= len(small_records)
    try:
        found = scan(small_records[:at] + junk + small_records[at + len(junk) :], EVER)
    except FileFault:
        return
    assert all(piece.sensor in ("B1", "G1") or piece.sensor[0] in "BG" for piece in found.pieces)


def test_a_piece_outside_makes_its_sensor_faulty_and_keeps_the_rest() -> None:
    stray = replace(_piece(0, []), start_utc_ns=0, outside=True)
    (series,), _ = join([_piece(0, [1, 2]), stray], RESPONSES)
    assert _counts(series) == [1, 2] and str(series.fault).startswith("clock: 1 of 2")


@pytest.mark.parametrize(
    ("name", "field"), [("day-367", "day of year 367"), ("fraction-10000", "fraction of a second")]
)
def test_a_field_that_cannot_be_is_named(cases: Path, name: str, field: str) -> None:
    with pytest.raises(FileFault, match=field):
        scan((cases / "18-mseed-wrong-year" / f"{name}.mseed").read_bytes(), EVER)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.integers(0, 40), st.lists(st.sampled_from([0.0, 1.0, NAN]), min_size=1, max_size=6)),
        min_size=1,
        max_size=10,
    ),
    st.booleans(),
    st.sets(st.integers(0, 10)),
)
def test_series_that_grow_from_look_to_look_have_the_bits_of_those_joined_from_nothing(
    records: list[tuple[int, list[float]]], in_order: bool, looks: set[int]
) -> None:
    records = sorted(records, key=lambda record: record[0]) if in_order else records
    pieces = [_piece(at / 500, counts) for at, counts in records]
    memory: Memory = {}
    for end in (*sorted(looks), len(pieces)):
        grown, notes = join(pieces[:end], RESPONSES, memory=memory)
        fresh, same_notes = join(pieces[:end], RESPONSES)
        assert notes == same_notes
        assert [(s.start_utc_ns, s.fault, s.counts.tobytes()) for s in grown] == [
            (s.start_utc_ns, s.fault, s.counts.tobytes()) for s in fresh
        ]


def test_what_was_joined_for_an_earlier_look_does_not_change_under_it() -> None:
    memory: Memory = {}
    pieces = [_piece(0, [1, 2]), _piece(0.008, [5])]
    (before,), _ = join(pieces, RESPONSES, memory=memory)
    (after,), _ = join([*pieces, _piece(0.01, [6, 7])], RESPONSES, memory=memory)
    assert _counts(before) == [1, 2, None, None, 5] and _counts(after) == [1, 2, None, None, 5, 6, 7]
