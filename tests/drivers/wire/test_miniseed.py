"""Our reading of miniSEED against libmseed's, an encoder that shares no code with it, and files that break readers."""

from __future__ import annotations

import struct
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymseed import MiniSEEDError, MS3Record

from drivers.wire.miniseed import SPECIMEN_BYTES, BadRecord, Damage, Record, decode, record_length, scan
from hil.devices.miniseed import Channel, encode2, encode3

B1 = Channel("XX", "L3", "B1", "EHZ")
NOON_NS = 1_790_000_000_123_456_000
GOOD = encode2(B1, NOON_NS, 250.0, list(range(-50, 50)))
ODD = "odd/miniseed"


def parted(data: bytes) -> tuple[list[Record], list[Damage]]:
    items = list(scan(data))
    assert sum(len(item.raw) if isinstance(item, Record) else item.lost_bytes for item in items) == len(data)
    return [i for i in items if isinstance(i, Record)], [i for i in items if isinstance(i, Damage)]


def swapped(record: bytes) -> bytes:
    """The same record in little-endian: header, blockettes and samples."""
    out = bytearray(record)
    fixed, b1000, b1001 = ">HHBBBxHHhhBBBBiHH", ">HHBBBB", ">HHBbBB"
    for at, form in ((20, fixed), (48, b1000), (56, b1001)):
        struct.pack_into("<" + form[1:], out, at, *struct.unpack_from(form, record, at))
    out[53] = 0  # byte order of the samples
    count = struct.unpack_from(">H", record, 30)[0]
    struct.pack_into(f"<{count}i", out, 64, *struct.unpack_from(f">{count}i", record, 64))
    return bytes(out)


def dated(record: bytes, year: int, day: int, order: str = ">") -> bytes:
    out = bytearray(record)
    struct.pack_into(f"{order}HH", out, 20, year, day)
    return bytes(out)


def test_a_version_2_record_gives_codes_time_counts_and_quality() -> None:
    record = decode(GOOD)
    assert (record.station, record.location, record.channel) == ("XX_L3", "B1", "EHZ")
    assert (record.start_utc_ns, record.rate_hz, record.timing_quality_pct) == (NOON_NS, 250.0, 100)
    assert record.end_utc_ns == NOON_NS + 400_000_000
    assert record.counts.dtype == np.float64
    assert record.counts.tolist() == list(range(-50, 50))
    assert record.raw == GOOD


@pytest.mark.parametrize("quality", [None, 0, 87])
def test_a_version_3_record_keeps_its_nanosecond_and_quality(quality: int | None) -> None:
    record = decode(encode3(B1, NOON_NS + 7, 500.0, [1, -2, 3], quality))
    assert (record.station, record.location, record.channel) == ("XX_L3", "B1", "EHZ")
    assert (record.start_utc_ns, record.timing_quality_pct, record.version) == (NOON_NS + 7, quality, 3)
    assert record.counts.tolist() == [1, -2, 3]


@given(year=st.integers(1970, 2150), day=st.integers(1, 365))
def test_byte_order_is_found_whatever_the_clock_of_the_digitiser_says(year: int, day: int) -> None:
    big, little = decode(dated(GOOD, year, day)), decode(dated(swapped(GOOD), year, day, "<"))
    assert big.start_utc_ns == little.start_utc_ns
    assert big.counts.tolist() == little.counts.tolist() == list(range(-50, 50))
    moment = time.gmtime(big.start_utc_ns // 10**9)
    assert (moment.tm_year, moment.tm_yday) == (year, day)


def test_every_wrong_year_is_read_as_it_is_or_refused_by_its_field(cases: Path) -> None:
    folder = next(cases.glob("18-*"))
    for year in (1970, 2056, 2080):
        records, damage = parted((folder / f"year-{year}.mseed").read_bytes())
        assert {time.gmtime(record.start_utc_ns // 10**9).tm_year for record in records} == {year}
        assert sum(len(record.counts) for record in records) == 2000
        assert damage == []
    for name, field in (("day-367", "day of year 367 is"), ("fraction-10000", "fraction of a second 10000 is")):
        records, damage = parted((folder / f"{name}.mseed").read_bytes())
        assert records == []
        assert [item.cause.startswith(field) for item in damage] == [True]


@pytest.mark.parametrize(
    ("name", "records", "lost"),
    [("cut", 5, [200]), ("zeros", 12, [4096]), ("junk-first", 12, [137]), ("empty", 0, [])],
)
def test_whole_records_around_damage_are_read_and_lost_bytes_said(
    cases: Path, name: str, records: int, lost: list[int]
) -> None:
    found, damage = parted((next(cases.glob("20-*")) / f"{name}.mseed").read_bytes())
    assert len(found) == records
    assert [item.lost_bytes for item in damage] == lost


def test_a_gap_and_an_overlap_stay_in_the_times_of_the_records(cases: Path) -> None:
    records, damage = parted((next(cases.glob("16-*")) / "vibration.mseed").read_bytes())
    assert damage == []
    steps_s = []
    b1 = [record for record in records if record.location == "B1"]
    for before, after in pairwise(b1):
        steps_s.append(round((after.start_utc_ns - before.end_utc_ns) / 1e9, 3))
    assert sorted(step for step in steps_s if step) == [-0.5, 1.2]
    assert sum(len(record.counts) for record in records if record.location == "B2") == 5000


@pytest.mark.parametrize(
    "junk",
    [bytes(20 << 20), b"123456D " * (1 << 19), b"MS\x03" * (1 << 18)],
    ids=["zeros", "nearly 2", "nearly 3"],
)
def test_junk_is_passed_in_bounded_time_and_the_record_after_it_found(junk: bytes) -> None:
    began = time.perf_counter()
    records, damage = parted(junk + GOOD)
    assert time.perf_counter() - began < 10  # a second or so alone; the machine may be busy
    assert [record.start_utc_ns for record in records] == [NOON_NS]
    assert sum(item.lost_bytes for item in damage) == len(junk)
    assert all(len(item.raw) <= SPECIMEN_BYTES for item in damage)


@pytest.mark.parametrize("version", [2, 3])
def test_one_damaged_record_costs_one_record(version: int) -> None:
    def made(index: int) -> bytes:
        start_ns = NOON_NS + index * 10**9
        return encode2(B1, start_ns, 100.0, [index] * 100) if version == 2 else encode3(B1, start_ns, 100.0, [index])

    second = bytearray(made(1))
    second[30:32] = b"\xff\xff"  # in version 2 the samples, in version 3 its checksum
    records, damage = parted(made(0) + bytes(second) + made(2))
    assert [record.counts[0] for record in records] == [0, 2]
    assert [item.lost_bytes for item in damage] == [len(second)]


@pytest.mark.parametrize(
    ("offset", "value", "cause"),
    [
        (20, struct.pack(">H", 1066), "year 1066"),
        (24, b"\x18", "hour 24"),
        (25, b"\x3c", "minute 60"),
        (26, b"\x3d", "second 61"),
        (30, struct.pack(">H", 60_000), "samples: 60000 cannot be in 448 bytes"),
        (32, struct.pack(">h", 0), "sample rate 0 Hz with 100 samples"),
        (46, struct.pack(">H", 8), "blockette offset 8"),
        (50, struct.pack(">H", 48), "blockette chain 1000 at 48 leads back to 48"),
        (52, b"\x63", "encoding 99 is unknown"),
        (54, b"\xff", "record length 2\\*\\*255"),
    ],
)
def test_a_field_that_cannot_be_is_refused_by_its_name(offset: int, value: bytes, cause: str) -> None:
    with pytest.raises(BadRecord, match=f"^{cause}"):
        decode(GOOD[:offset] + value + GOOD[offset + len(value) :])


def test_a_record_whose_last_sample_disagrees_with_its_differences_is_refused(recordings: Path) -> None:
    whole = bytearray((recordings / ODD / "obspy__BW.UH3.__.EHZ.D.2010.171.first_record").read_bytes())
    data_offset = struct.unpack_from(">H", whole, 44)[0]
    whole[data_offset + 10] ^= 1  # the Steim frame's own last sample
    with pytest.raises(BadRecord, match="Steim"):
        decode(bytes(whole))


def test_length_is_known_as_soon_as_the_bytes_that_say_it_are_there() -> None:
    assert record_length(GOOD[:63]) is None
    assert record_length(GOOD[:64]) == 512
    assert record_length(encode3(B1, NOON_NS, 250.0, [1, 2])[:64]) == 40 + len("FDSN:XX_L3_B1_E_H_Z") + 8
    with pytest.raises(BadRecord, match="no miniSEED header"):
        record_length(bytes(64))


def test_each_odd_file_gives_records_or_a_named_damage_and_libmseed_agrees_on_what_it_reads(recordings: Path) -> None:
    agreed = 0
    files = [path for path in sorted((recordings / ODD).iterdir()) if path.suffix != ".json"]
    for path in files:
        data = path.read_bytes()
        records, damage = parted(data)
        assert records or damage, path.name
        assert all(item.cause for item in damage), path.name
        try:
            theirs = [
                (record.starttime, list(record.datasamples) if record.sampletype != "t" else [])
                for record in MS3Record.from_buffer(data, unpack_data=True)
            ]
        except MiniSEEDError:
            continue  # they stop at the first damage; we go on
        assert [record.start_utc_ns for record in records] == [start_ns for start_ns, _ in theirs], path.name
        for record, (_, samples) in zip(records, theirs, strict=True):
            np.testing.assert_array_equal(record.counts, np.array(samples, dtype=np.float64), err_msg=path.name)
        agreed += 1
    assert len(files) > 80
    assert agreed > 65


@given(st.binary(max_size=2000))
def test_any_bytes_are_records_or_damage_to_the_last(data: bytes) -> None:
    parted(data)


@settings(max_examples=300)
@given(
    st.sampled_from([GOOD, swapped(GOOD), encode3(B1, NOON_NS, 250.0, [5] * 20, 99)]),
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_a_record_with_any_bytes_changed_is_read_or_refused_and_its_neighbours_stay(
    record: bytes, changes: list[tuple[int, int]]
) -> None:
    broken = bytearray(record)
    for at, value in changes:
        broken[at % len(broken)] = value
    records, _ = parted(GOOD + bytes(broken) + GOOD)
    assert [found.raw for found in records].count(GOOD) >= 1
    assert records[0].raw == GOOD
