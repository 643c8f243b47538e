from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from edge.records.local_time import ZoneFault, begin_utc_ns, day_hours, local_hour, moment_utc_ns, zone
from fusion.bundle.times import parse_utc

LONDON = zone("Europe/London")
NIGHT = [f"2026-10-25T{hour:02d}:{minute:02d}:00Z" for hour in (0, 1, 2) for minute in (5, 25, 45)]


def quarter(text: str) -> int:
    return parse_utc(text) // 900_000_000_000


def test_the_repeated_hour_is_two_hours_each_marked() -> None:
    hours = Counter(local_hour(quarter(text), LONDON) for text in NIGHT)
    assert {hour.text: count for hour, count in hours.items()} == {
        "2026-10-25 01 BST": 3,
        "2026-10-25 01 GMT": 3,
        "2026-10-25 02 GMT": 3,
    }
    assert [hour.repeated for hour in hours] == [True, True, False]


def test_the_night_of_the_case_comes_out_as_it_says(cases: Path) -> None:
    folder = cases / "74-time-dst-two-zones"
    expected = json.loads((folder / "expected.json").read_text())
    with (folder / "passages.csv").open() as file:
        passages = list(csv.DictReader(file))
    assert (
        Counter(local_hour(quarter(row["presence_on_utc"]), LONDON).text for row in passages)
        == expected["per_local_hour_london"]
    )
    for row in passages:
        for column, place in (("london", LONDON), ("paris", zone("Europe/Paris"))):
            found = local_hour(quarter(row["presence_on_utc"]), place)
            assert (found.text[:13], found.zone) == (row[column][:13], row[column].split()[2])
    for day, hours in expected["hours_in_day"].items():
        assert len(day_hours(date.fromisoformat(day), LONDON)) == hours


def test_days_have_twenty_three_twenty_four_and_twenty_five_hours() -> None:
    counts = [len(day_hours(date(2026, *day), LONDON)) for day in ((3, 29), (7, 1), (10, 25))]
    assert counts == [23, 24, 25]
    lengths = [
        (begin_utc_ns(date(2026, month, day + 1), LONDON) - begin_utc_ns(date(2026, month, day), LONDON)) / 3.6e12
        for month, day in ((3, 29), (7, 1), (10, 25))
    ]
    assert lengths == counts


def test_a_zone_of_half_hours_has_its_own_hours() -> None:
    assert local_hour(quarter("2026-01-01T00:40:00Z"), zone("Asia/Kolkata")).hour == 6
    assert len(day_hours(date(2026, 4, 5), zone("Australia/Lord_Howe"))) in (24, 25)


@pytest.mark.parametrize(
    ("text", "says"), [("2026-10-25 01:30", "twice"), ("2026-03-29 01:30", "not at all"), ("noon", "no time")]
)
def test_a_local_time_that_is_none_or_two_is_asked_back(text: str, says: str) -> None:
    with pytest.raises(ZoneFault, match=says):
        moment_utc_ns(text, LONDON)


def test_a_local_time_that_is_one_is_understood() -> None:
    assert moment_utc_ns("2026-07-01 12:00", LONDON) == parse_utc("2026-07-01T11:00:00Z")
    assert moment_utc_ns("2026-10-25 01:30+01:00", LONDON) == parse_utc("2026-10-25T00:30:00Z")
    assert moment_utc_ns("2026-10-25T01:30:00Z", LONDON) == parse_utc("2026-10-25T01:30:00Z")


def test_a_zone_that_nobody_knows_is_named() -> None:
    with pytest.raises(ZoneFault, match="Europe/Londres"):
        zone("Europe/Londres")
    with pytest.raises(ZoneFault):
        zone("../etc/passwd")
