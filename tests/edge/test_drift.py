"""The lane's own vehicles out of its journal: what has moved is told in the status and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.drift import Drift
from edge.journal.journal import Journal
from edge.publish.status_body import DriftState
from fusion.policy import Policy

MODEL = "ab12"
PRIOR = -3.1


def verdict(level: str = "no_search", explained_log: float = 0.0, **change: Any) -> dict[str, Any]:
    vibration = {
        "modality": "vibration",
        "state": "measured",
        "log10_lr": -1.0,
        "features": {"explained_log": explained_log},
    }
    words = {"final": True, "level": level, "score": 0.01, "prior_log10_odds": PRIOR, "evidence": [vibration]}
    return words | {"reasons": [], "produced_by": {"model_sha256": MODEL}} | change


def outcome(found: bool) -> dict[str, Any]:
    return {"outcome": {"searched": True, "found": found}}


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    with Journal.open(tmp_path / "journal.db", None) as opened:
        yield opened


def told(journal: Journal, policy: Policy | None = None) -> dict[str, Any]:
    drift = Drift(journal, MODEL, policy or Policy())
    drift.read_on()
    DriftState.model_validate(drift.told)
    return drift.told


def test_a_lane_without_vehicles_says_that_they_are_too_few(journal: Journal) -> None:
    assert {part["state"] for part in told(journal).values()} == {"few"}


def test_a_ground_that_changed_is_told_and_said_once(journal: Journal, caplog: pytest.LogCaptureFixture) -> None:
    random = np.random.default_rng(2)
    for number in range(320):
        error_db = random.normal(6.0 if number >= 200 else 0.0, 1.2)
        journal.append("verdict", f"p{number}", verdict(explained_log=error_db / 20))
    drift = Drift(journal, MODEL, Policy())
    drift.read_on()
    drift.read_on()
    background = drift.told["background"]
    assert (background["state"], background["seen"]) == ("moved", 320)
    assert background["moved_db"] == pytest.approx(6.0, abs=0.6) and background["sigma_db"] == pytest.approx(
        1.2, abs=0.4
    )
    assert len([line for line in caplog.messages if "against the first ones" in line]) == 1


def test_too_many_prompts_are_told_but_those_by_rule_and_of_other_models_are_not_counted(journal: Journal) -> None:
    for number in range(150):
        level = "search" if number % 10 == 0 else "no_search"
        journal.append("verdict", f"a{number}", verdict(level))
        journal.append("verdict", f"b{number}", verdict("search", reasons=[{"code": "policy.search", "text": ""}]))
        journal.append("verdict", f"c{number}", verdict("search", produced_by={"model_sha256": "other"}))
        journal.append("verdict", f"d{number}", verdict("search", evidence=[]))
    prompts = told(journal)["prompts"]
    assert (prompts["seen"], prompts["happened"], prompts["state"]) == (150, 15, "moved")
    assert prompts["expected"] == pytest.approx(150 * (0.01 + 10**PRIOR), rel=0.01)
    assert told(journal, Policy(search_log10_lr=1.0))["prompts"]["seen"] == 0


def test_finds_are_held_against_the_scores_that_were_stated(journal: Journal) -> None:
    for number in range(60):
        journal.append("verdict", f"p{number}", verdict("search", score=0.3))
        journal.append("outcome", f"p{number}", outcome(False))
        journal.append("outcome", f"p{number}", outcome(True))  # a correction is no second bet
    journal.append("outcome", "unknown", outcome(True))
    finds = told(journal)["finds"]
    assert (finds["seen"], finds["happened"], finds["state"]) == (60, 0, "moved")
    assert finds["times"] < 1 and finds["expected"] == pytest.approx(18)


def test_a_revision_for_late_evidence_and_a_covert_test_are_no_vehicles_more(journal: Journal) -> None:
    journal.append("verdict", "p", verdict(final=False))
    journal.append("verdict", "p", verdict())
    journal.append("verdict", "p", verdict("search"))
    journal.append("covert.entered", "t", {})
    journal.append("verdict", "t", verdict("search"))
    prompts = told(journal)["prompts"]
    assert (prompts["seen"], prompts["happened"]) == (1, 0)


def test_what_is_read_on_and_what_is_read_anew_are_the_same(journal: Journal) -> None:
    drift = Drift(journal, MODEL, Policy())
    random = np.random.default_rng(9)
    for number in range(90):
        journal.append("verdict", f"p{number}", verdict(explained_log=float(random.normal(0, 0.1)), score=0.2))
        if number % 3 == 0:
            journal.append("outcome", f"p{number}", outcome(number % 2 == 0))
        if number % 20 == 0:
            drift.read_on()
    drift.read_on()
    assert drift.told == told(journal)
