"""The CSV files of a bundle: a number is never another number."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.reading import ClockQuality, ContactState, Point
from fusion.bundle.co2_csv import NAMES, read_co2
from fusion.bundle.contacts_csv import read_contacts
from fusion.bundle.fault import FileFault
from fusion.bundle.times import format_utc, parse_utc
from fusion.bundle.weather_csv import read_weather

CLOCK = ClockQuality(True, 1000)
HEADER = ",".join(NAMES).encode() + b"\n"
ROW = b"2026-03-01T10:15:02.25Z,probe,inside,451.5,6.2,81,1012.4,ok\n"


def _own_words(text: bytes) -> bytes:
    """The case with the product's own words for its invented place and states."""
    text = text.replace(b"rear-door", b"inside").replace(b",0\r\n", b",ok\r\n").replace(b",0\n", b",ok\n")
    return text.replace(b",16\n", b",0x0010\n")


def test_a_byte_order_mark_changes_nothing(cases: Path) -> None:
    folder = cases / "63-csv-decimal-comma-bom"
    good = read_co2(_own_words((folder / "good.csv").read_bytes()), CLOCK)
    marked = read_co2(_own_words((folder / "bom.csv").read_bytes()), CLOCK)
    assert [row.reading for row in good.rows] == [row.reading for row in marked.rows]
    assert [row.reading.co2_ppm for row in good.rows] == [451.5 + i for i in range(20)]


@pytest.mark.parametrize(
    ("name", "column"), [("semicolon-comma", "co2_ppm"), ("thousands", "co2_ppm"), ("utf16", "time_utc")]
)
def test_a_spreadsheets_work_is_refused_by_line_2_and_the_column(cases: Path, name: str, column: str) -> None:
    text = (cases / "63-csv-decimal-comma-bom" / f"{name}.csv").read_bytes()
    with pytest.raises(FileFault, match=f"line 2, column {column}"):
        read_co2(text, CLOCK)


def test_rows_of_a_warming_probe_carry_no_co2_but_their_words(cases: Path) -> None:
    table = read_co2(_own_words((cases / "07-co2-warm-up-zero" / "co2.csv").read_bytes()), CLOCK)
    bad = [row.reading for row in table.rows if row.reading.status != "ok"]
    assert len(bad) == 10 and all(sample.co2_ppm is None and sample.status == "0x0010" for sample in bad)
    assert all(sample.temperature_c == 6.2 for sample in bad)


def test_half_a_row_at_the_end_is_left_out_and_said(cases: Path) -> None:
    text = _own_words((cases / "70-bundle-half-written" / "half-row" / "co2.csv").read_bytes())
    table = read_co2(text, CLOCK)
    assert len(table.rows) == text.count(b"\n") - 1
    assert len(table.notes) == 1 and "half a row" in table.notes[0]


@pytest.mark.parametrize("cut", range(1, len(ROW)))
def test_no_cut_makes_another_number(cut: int) -> None:
    table = read_co2(HEADER + ROW + ROW[:cut], CLOCK)
    assert {row.reading.co2_ppm for row in table.rows} == {451.5}
    assert len(table.rows) + len(table.notes) == 2


@pytest.mark.parametrize(
    ("cell", "column"),
    [
        (b"1.250,5", "co2_ppm"),
        (b'"1.250,5"', "co2_ppm"),
        (b'"1,250.5"', "co2_ppm"),
        (b"1 250.5", "co2_ppm"),
        (b"0x10", "co2_ppm"),
        (b"nan", "co2_ppm"),
        (b"1e999", "co2_ppm"),
        ("٤٥١".encode(), "co2_ppm"),
        (b"1_000", "co2_ppm"),
    ],
)
def test_a_number_in_another_form_is_refused_with_its_column(cell: bytes, column: str) -> None:
    with pytest.raises(FileFault, match=f"co2.csv: line 2, column {column}"):
        read_co2(HEADER + ROW.replace(b"451.5", cell), CLOCK)


@pytest.mark.parametrize(
    ("old", "new", "column"),
    [
        (b"2026-03-01T10:15:02.25Z", b"2026-03-01T10:15:02.25", "time_utc"),
        (b"2026-03-01T10:15:02.25Z", b"01/03/2026 10:15", "time_utc"),
        (b"2026-03-01T10:15:02.25Z", b"2026-02-30T10:15:02Z", "time_utc"),
        (b"inside", b"Inside", "point"),
    ],
)
def test_a_word_of_another_form_is_refused_with_its_column(old: bytes, new: bytes, column: str) -> None:
    with pytest.raises(FileFault, match=f"line 2, column {column}"):
        read_co2(HEADER + ROW.replace(old, new), CLOCK)


@pytest.mark.parametrize(("ppm", "status"), [(b"", b"ok"), (b"-1", b"ok"), (b"2000000", b"ok"), (b"451.5", b"")])
def test_what_the_probe_does_not_vouch_for_is_none(ppm: bytes, status: bytes) -> None:
    row = ROW.replace(b"451.5", ppm).replace(b",ok", b"," + status)
    (kept,) = read_co2(HEADER + row, CLOCK).rows
    assert kept.reading.co2_ppm is None and kept.reading.status != "ok"


def test_columns_may_come_in_another_order_and_empty_cells_are_unknown() -> None:
    (kept,) = read_co2(b"status,co2_ppm,point,probe,time_utc,x\nok,5,ambient,p,2026-03-01T10:15:02Z,9\n", CLOCK).rows
    assert (kept.reading.point, kept.reading.co2_ppm, kept.reading.humidity_pct) == (Point.AMBIENT, 5.0, None)


def test_weather_and_contacts_are_read_with_their_bounds() -> None:
    (wind,) = read_weather(b"time_utc,wind_m_s,gust_m_s\n2026-03-01T10:15:02Z,1.2,\n", "mast", CLOCK).rows
    assert (wind.reading.device, wind.reading.wind_m_s, wind.reading.gust_m_s) == ("mast", 1.2, None)
    with pytest.raises(FileFault, match="line 2, column gust_m_s"):
        read_weather(b"time_utc,wind_m_s,gust_m_s\n2026-03-01T10:15:02Z,1.2,-4\n", "mast", CLOCK)
    (lamp,) = read_contacts(b"time_utc,device,state\n2026-03-01T10:15:02Z,hb,red", CLOCK).rows
    assert lamp.reading.state is ContactState.RED
    with pytest.raises(FileFault, match="line 2, column state"):
        read_contacts(b"time_utc,device,state\n2026-03-01T10:15:02Z,hb,blue\n", CLOCK)


def test_a_last_number_without_a_line_feed_is_not_trusted() -> None:
    table = read_weather(b"time_utc,wind_m_s\n2026-03-01T10:15:02Z,1.2", "mast", CLOCK)
    assert table.rows == () and "half a row" in table.notes[0]


@given(st.binary(max_size=300))
def test_any_bytes_give_rows_or_one_refusal(junk: bytes) -> None:
    for text in (junk, HEADER + junk, HEADER + ROW + junk):
        try:
            read_co2(text, CLOCK)
        except FileFault as fault:
            assert "\n" not in str(fault)


@given(st.integers(-62135596800 * 10**9, 253402300799 * 10**9))
def test_every_nanosecond_comes_back(time_utc_ns: int) -> None:
    assert parse_utc(format_utc(time_utc_ns)) == time_utc_ns
