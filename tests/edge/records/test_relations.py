from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edge.journal.journal import Journal
from edge.records import relations
from edge.records.asked import ask
from edge.records.lake import update
from edge.records.local_time import zone
from edge.records.relations import Period, Record, counted, totals


def one(relation: Any) -> dict[str, Any]:
    found: dict[str, Any] = relation.to_pyarrow().to_pylist()[0]
    return found


def many(relation: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = relation.to_pyarrow().to_pylist()
    return found


@pytest.fixture(scope="module")
def vehicles(record: Record) -> Any:
    return ask(record, zone("UTC")).vehicles


def bodies(journal: Path, kind: str) -> Iterator[tuple[str, Any]]:
    with closing(sqlite3.connect(journal)) as db:
        for passage_id, body in db.execute("SELECT passage_id, body FROM rows WHERE kind = ?", (kind,)):
            yield passage_id, json.loads(body)


def test_what_is_counted_is_what_happened(vehicles: Any, year: Any) -> None:
    told = one(totals(counted(vehicles)))
    truth = year.truth
    assert told["vehicles"] == truth.passages - truth.covert
    assert (told["found"], told["people"]) == (truth.found, truth.people_found)


def test_groups_add_up_to_the_whole(vehicles: Any) -> None:
    whole = one(totals(counted(vehicles)))
    for by in ("advice", "body_type", "wind", "by", "technique", "lane"):
        groups = many(totals(counted(vehicles), [by]))
        assert {name: sum(group[name] for group in groups) for name in ("vehicles", "found", "searched")} == {
            name: whole[name] for name in ("vehicles", "found", "searched")
        }


def test_volunteers_are_neither_finds_nor_vehicles(vehicles: Any, year: Any) -> None:
    told = one(relations.covert(vehicles))
    assert (told["tests"], told["prompted"]) == (year.truth.covert, year.truth.covert_prompted)


def test_finds_by_advice_agree_with_the_truth(vehicles: Any, year: Any) -> None:
    groups = {group["advice"]: group["found"] for group in many(totals(counted(vehicles), ["advice"]))}
    assert groups["search"] + groups["audit"] == year.truth.finds_by_level["search"]


def test_leaving_a_modality_out_is_a_subtraction(vehicles: Any, year: Any) -> None:
    told = relations.limits(counted(vehicles))
    (limit,) = (group["threshold"] for group in many(told))
    assert 1.2 <= limit < 1.35
    covert = {passage_id for passage_id, _ in bodies(year.journal, "covert.entered")}
    prompts, prevented = 0, 0
    for passage_id, verdict in bodies(year.journal, "verdict"):
        ratios = {part["modality"]: part["log10_lr"] for part in verdict["evidence"]}
        total = verdict["log10_odds"] - verdict["prior_log10_odds"]
        rest = total - ratios["co2"]
        prompts += passage_id not in covert and total >= limit and rest < limit
        prevented += passage_id not in covert and total < limit and rest >= limit and verdict["level"] != "search"
    added = many(relations.added(relations.judged(counted(vehicles), told)))[0]
    assert (added["co2_prompts"], added["co2_prevented"]) == (prompts, prevented)
    assert prompts > 20


def test_causes_are_grouped_without_their_figures(vehicles: Any) -> None:
    groups = many(relations.states(counted(vehicles)))
    causes = {group["cause"] for group in groups if group["modality"] == "vibration"}
    assert causes == {"", "wind # m/s, limit # m/s", "chassis: silent for # s"}


def test_a_period_takes_what_began_in_it(record: Record, vehicles: Any) -> None:
    february, march = 1_738_368_000 * relations.NS, 1_740_787_200 * relations.NS
    part = one(totals(record.vehicles(Period(february, march))))
    before = one(totals(record.vehicles(Period(0, february))))
    after = one(totals(record.vehicles(Period(march))))
    assert part["vehicles"] + before["vehicles"] + after["vehicles"] == one(totals(vehicles))["vehicles"]
    assert 1_500 < part["vehicles"] < 1_900


def test_a_correction_replaces_and_taking_back_forgets(tmp_path: Path) -> None:
    told = {"searched": True, "found": True, "people": 4}
    entries = [
        ("one", {"revision": 1, "outcome": told}),
        ("one", {"revision": 2, "corrects": 3, "outcome": told | {"people": 2}}),
        ("two", {"revision": 1, "outcome": told}),
        ("two", {"revision": 2, "corrects": 5, "outcome": None}),
    ]
    with Journal.open(tmp_path / "j.db", None, boot_id="b", now_utc_ns=lambda: 1_740_000_000 * relations.NS) as journal:
        for passage_id in ("one", "two"):
            journal.append("passage.opened", passage_id, {"began_utc": "2025-02-20T10:00:00Z"})
        for passage_id, body in entries:
            journal.append("outcome", passage_id, body)
    update(tmp_path / "lake", tmp_path / "j.db", "calais", "3")
    with Record(tmp_path / "lake") as record:
        groups = many(totals(record.vehicles()))[0]
    assert (groups["vehicles"], groups["found"], groups["people"], groups["known"]) == (2, 1, 2, 1)


def test_finds_within_a_quarter_of_an_hour_at_a_site_are_one_incident(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "j.db", None, boot_id="b", now_utc_ns=lambda: 1_740_000_000 * relations.NS) as journal:
        for minute in (0, 10, 24, 50):
            began = f"2025-02-20T10:{minute:02d}:00Z"
            journal.append("passage.opened", f"at-{minute:02d}", {"began_utc": began})
            journal.append("outcome", f"at-{minute:02d}", {"outcome": {"searched": True, "found": True}})
    update(tmp_path / "lake", tmp_path / "j.db", "calais", "3")
    with Record(tmp_path / "lake") as record:
        assert one(relations.incidents(record.vehicles()))["incidents"] == 2
