from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from obspy import read as read_seismic

from drivers.reading import Point
from edge.cli.main import run
from edge.drill.cases import Case, Truth, load, mixed
from edge.drill.prepare import prepare
from edge.drill.projection import NotProjectable, Threat, breath_ppm, hearts_m_s, project
from edge.drill.results import keep, results
from edge.drill.score import Answered, score
from edge.drill.session import DrillRefused, Session
from edge.replay import Weighing, replayed
from fusion.bundle.read import read

CROWD = Threat(people=4, aboard_s=7200.0, seed=5)


def case(number: int, occupied: bool) -> Case:
    truth = Truth(schema="lanepulse.drill/1", occupied=occupied, kind="simulated")
    return Case(f"DRILL-{number:016X}", {"level": "search" if occupied else "no_search"}, truth)


def answered(occupied: bool, answer: Any, level: str = "recheck") -> Answered:
    return Answered("DRILL-0", "recorded", occupied, level, answer, 4.0)


def empty_bundle(dataset: Path) -> Path:
    return sorted(path for path in dataset.iterdir() if path.is_dir())[0]


def test_four_people_of_two_hours_raise_the_air_as_the_closed_form_says() -> None:
    steady = 4 * 0.0043e-3 * 3600 / 45 * 1e6  # SCIENCE 3: G / (lambda V)
    assert breath_ppm(0.0, CROWD) == pytest.approx(steady * (1 - np.exp(-2.0)))
    assert breath_ppm(60.0, CROWD) - breath_ppm(0.0, CROWD) == pytest.approx(steady * np.exp(-2.0) / 60, rel=0.02)


def test_a_heart_beats_at_a_hearts_pace_and_is_as_strong_as_the_source_says() -> None:
    at_s = np.arange(0, 60, 1 / 250)
    one = hearts_m_s(at_s, 40_000.0, Threat(1, 0.0, 7))
    assert np.abs(one).max() == pytest.approx(0.65e-6, rel=0.01)
    beats = np.flatnonzero((one[1:-1] > 0.6e-6) & (one[1:-1] > one[:-2]) & (one[1:-1] >= one[2:]))
    assert 57 <= len(beats) <= 96
    assert np.abs(hearts_m_s(at_s, 10_000.0, Threat(1, 0.0, 7))).max() == pytest.approx(2.6e-6, rel=0.01)


def test_projected_people_raise_what_the_lanes_own_model_says_and_leave_the_original_alone(
    dataset: Path, weighing: Weighing, tmp_path: Path
) -> None:
    original = empty_bundle(dataset)
    before = {file.name: file.read_bytes() for file in original.iterdir()}
    path = project(read(original), CROWD, tmp_path, "DRILL-0123456789ABCDEF")
    assert {file.name: file.read_bytes() for file in original.iterdir()} == before
    was, now = replayed(original, weighing).verdicts[-1], replayed(path, weighing).verdicts[-1]
    assert now.log10_odds > was.log10_odds + 1.0
    assert [part.state for part in now.evidence] == [part.state for part in was.evidence]
    inside = [
        np.mean([kept.reading.co2_ppm for kept in read(folder).gas if kept.reading.point is Point.INSIDE])
        for folder in (original, path)
    ]
    assert inside[1] - inside[0] == pytest.approx(breath_ppm(22.0, CROWD), rel=0.02)
    assert now.passage_id == "DRILL-0123456789ABCDEF"


def test_obspy_reads_what_was_projected_and_the_ground_sensors_are_as_they_were(dataset: Path, tmp_path: Path) -> None:
    original = empty_bundle(dataset)
    path = project(read(original), CROWD, tmp_path, "DRILL-0123456789ABCDEF")
    was, now = (read_seismic(str(folder / "vibration.mseed")).merge() for folder in (original, path))
    for trace in was:
        (other,) = now.select(location=trace.stats.location)
        changed = not np.array_equal(trace.data, other.data)
        assert changed == trace.stats.location.startswith("B")


def test_a_passage_with_pictures_is_refused(dataset: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    contents = replace(read(empty_bundle(dataset)), radiographs={"xray.dcs": None})  # type: ignore[dict-item]
    with pytest.raises(NotProjectable, match="pictures"):
        project(contents, CROWD, tmp_path, "DRILL-0123456789ABCDEF")
    assert list(tmp_path.iterdir()) == []


def test_cases_know_the_truth_and_neither_plate_nor_passage(dataset: Path, weighing: Weighing, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    done = prepare(
        [(dataset, None)], tmp_path, weighing, project_share=1.0, most=10, random=Random(3),
        progress=lambda done, total: steps.append((done, total)),
    )  # fmt: skip
    assert done.made == {"simulated": 4, "projected": 2}
    assert steps[-1] == (4, 4)
    cases = load(tmp_path)
    assert Counter((one.truth.kind, one.truth.occupied) for one in cases) == {
        ("simulated", False): 2,
        ("simulated", True): 2,
        ("projected", True): 2,
    }
    for one in cases:
        files = {file.name: file.read_bytes() for file in (tmp_path / one.case_id).iterdir()}
        assert {"case.json", "truth.json", "co2.csv", "vibration.mseed"} == set(files)
        assert b"01JQ0F7Y" not in files["case.json"]
        assert b"occupied" not in files["case.json"]
        assert one.verdict["passage_id"] == one.case_id
        assert one.verdict["site"] == "drill"


def test_passages_of_which_nobody_knows_are_left_out(dataset: Path, weighing: Weighing, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "dataset"
    shutil.copytree(dataset, copy)
    first, second, *_ = sorted(path for path in copy.iterdir() if path.is_dir())
    (first / "outcome.json").unlink()
    (second / "passage.json").write_text("{")
    done = prepare(
        [(copy, None)], tmp_path / "cases", weighing, project_share=0.0, most=10, random=Random(3),
        progress=lambda done, total: None,
    )  # fmt: skip
    assert sum(done.made.values()) == 2
    assert sum(done.left_out.values()) == 2
    assert done.left_out["nobody knows what was in it"] == 1


def test_a_damaged_case_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "DRILL-0123456789ABCDEF"
    folder.mkdir()
    (folder / "case.json").write_text('{"verdict": []}')
    (folder / "truth.json").write_text("{}")
    (tmp_path / "DRILL-..").mkdir()
    assert load(tmp_path) == []


def test_about_the_share_asked_for_is_occupied_and_the_order_tells_nothing() -> None:
    cases = [case(number, number % 2 == 0) for number in range(200)]
    drawn = [one for seed in range(40) for one in mixed(cases, 20, 0.3, Random(seed))]
    assert len(drawn) == 800
    share = sum(one.truth.occupied for one in drawn) / 800
    assert abs(share - 0.3) < 5 * (0.3 * 0.7 / 800) ** 0.5
    assert len(list(mixed(cases[:3], 20, 0.3, Random(1)))) == 3


def test_the_truth_of_a_case_comes_after_its_answer_and_each_is_answered_once() -> None:
    now = [10.0]
    session = Session([case(1, True), case(2, False)], "o17", lambda: now[0])
    first = session.case()
    now[0] += 3.25
    with pytest.raises(DrillRefused, match="give one of"):
        session.answer(first.case_id, "maybe")
    done = session.answer(first.case_id, "search")
    assert (done.right, done.seconds) == (True, 3.2)
    with pytest.raises(DrillRefused, match="answered already"):
        session.answer(first.case_id, "let_go")
    session.answer(session.case().case_id, "let_go")
    with pytest.raises(DrillRefused, match="over"):
        session.case()


def test_the_score_counts_what_was_found_overlooked_and_searched_in_vain() -> None:
    told = score(
        [
            *[answered(True, "search")] * 8,
            *[answered(True, "let_go", "no_search")] * 2,
            *[answered(False, "search", "search")] * 1,
            *[answered(False, "let_go")] * 9,
            answered(False, "again"),
        ]
    )
    assert (told["hits"], told["overlooked"], told["in_vain"], told["let_go_rightly"], told["again"]) == (8, 2, 1, 9, 1)
    assert told["found"]["value"] == pytest.approx(0.8)
    assert told["d_prime"] == pytest.approx(1.84, abs=0.02)  # z(8.5/11) - z(1.5/11)
    assert (told["misleading_prompts"], told["not_misled"]) == (3, 0)
    assert score([answered(True, "search")])["d_prime"] is None
    assert score([])["cases"] == 0


def test_results_are_kept_in_a_file_of_their_own_and_a_torn_line_costs_only_itself(tmp_path: Path) -> None:
    session = Session([case(1, True)], "o17", lambda: 0.0)
    session.answer(session.case().case_id, "search")
    keep(tmp_path, session, "2026-03-01T10:15:31Z", "booth")
    with (tmp_path / "results.jsonl").open("a") as file:
        file.write('{"schema": "lanepulse.drill-res\n')
    keep(tmp_path, session, "2026-03-01T10:16:31Z", "booth")
    assert [one["officer"] for one in results(tmp_path)] == ["o17", "o17"]


def test_from_the_command_line_to_the_score_and_no_journal_is_made(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = ["--root", str(tmp_path / "lane")]
    assert run(["drill", "run", *root]) == 2
    assert "lanepulse drill prepare" in capfd.readouterr().err
    assert run(["drill", "prepare", str(dataset), "--json", *root]) == 0
    assert json.loads(capfd.readouterr().out)["made"] == {"simulated": 4}
    monkeypatch.setattr("sys.stdin", io.StringIO("x\ns\nl\ns\nl\n"))
    assert run(["drill", "run", "--officer", "o17", "--json", *root]) == 0
    told = capfd.readouterr()
    assert told.err.count("PRACTICE, not the lane") == 4
    assert json.loads(told.out)["score"]["cases"] == 4
    assert run(["drill", "scores", "--json", *root]) == 0
    assert len(json.loads(capfd.readouterr().out)["drills"]) == 1
    assert sorted(path.name for path in (tmp_path / "lane" / "state").iterdir()) == ["drills"]
