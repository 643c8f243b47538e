"""A model in the shadow: chosen by name, tried as any, seen in the list, and out of it once it is active."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge import active_model
from edge.cli.main import run
from edge.journal.journal import Journal
from edge.models.changes import take_up
from edge.models.store import RELEASED_ID
from fusion.classifier import ModelRefused

from .conftest import Made


def shadow(made: Made, *words: str) -> int:
    return run(["models", "shadow", *words, "--root", str(made.root)])


def told(made: Made, capfd: pytest.CaptureFixture[str], *words: str) -> Any:
    capfd.readouterr()
    assert run(["models", *words, "--json", "--root", str(made.root)]) == 0
    return json.loads(capfd.readouterr().out)


def test_a_model_runs_in_the_shadow_until_it_is_switched_off(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert active_model.in_shadow(made.places) is None
    assert shadow(made, str(made.model()), "--yes") == 0
    found = active_model.in_shadow(made.places)
    assert found is not None and found.name == "trial-2"
    assert active_model.load(None, made.places).name == "concealment-2"
    states = {row["model"]: row["state"] for row in told(made, capfd, "list")["models"]}
    assert sorted(states.values()) == ["active", "shadow"] and states[RELEASED_ID] == "active"
    assert told(made, capfd, "shadow", "--off")["changed"]
    assert active_model.in_shadow(made.places) is None
    assert not told(made, capfd, "shadow", "--off")["changed"]
    with Journal.open(made.places.journal, None) as journal:
        take_up(made.places, journal)
        rows = [row.document() for row in journal.rows(kind="model")]
    assert [(row["what"], row["before"], row["after"] is None) for row in rows] == [
        ("shadow", None, False),
        ("shadow", rows[0]["after"], True),
    ]


def test_the_released_model_can_be_watched_from_the_shadow_of_its_successor(made: Made) -> None:
    assert run(["models", "activate", str(made.model()), "--yes", "--root", str(made.root)]) == 0
    assert shadow(made, RELEASED_ID, "--yes") == 0
    found = active_model.in_shadow(made.places)
    assert found is not None and found.name == "concealment-2"


def test_what_becomes_active_leaves_the_shadow(made: Made) -> None:
    assert shadow(made, str(made.model()), "--yes") == 0
    assert run(["models", "activate", "trial-2", "--yes", "--root", str(made.root)]) == 0
    assert made.store.shadow() is None
    assert run(["models", "rollback", "--yes", "--root", str(made.root)]) == 0
    assert made.store.active() == RELEASED_ID


def test_the_active_model_has_no_shadow_of_itself(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert shadow(made, RELEASED_ID, "--yes") == 1
    assert "one beside itself tells nothing" in capfd.readouterr().err


@pytest.mark.parametrize("words", [["--dry-run"], []])
def test_nothing_changes_without_a_yes(made: Made, words: list[str]) -> None:
    assert shadow(made, str(made.model()), *words) == (0 if words else 2)
    assert made.store.shadow() is None


def test_a_model_that_a_lane_would_refuse_does_not_run_in_the_shadow_either(
    made: Made, capfd: pytest.CaptureFixture[str]
) -> None:
    path = made.model()
    path.write_bytes(path.read_bytes() + b"\x32\x00")
    assert shadow(made, str(path), "--yes") == 1
    assert "no model stays in the shadow" in capfd.readouterr().err
    assert shadow(made, str(made.model("trial-3")), "--yes") == 0
    file = made.store.file(str(made.store.shadow()))
    file.write_bytes(file.read_bytes() + b"\x32\x00")
    with pytest.raises(ModelRefused, match="SHA-256"):
        active_model.in_shadow(made.places)


def test_a_shadow_that_has_judged_nothing_yet_says_so(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert told(made, capfd, "shadow") == {"shadow": None}
    assert shadow(made, str(made.model()), "--yes") == 0
    assert shadow(made) == 1
    Journal.open(made.places.journal, None).close()
    assert told(made, capfd, "shadow")["passages"] == 0


def test_what_it_would_have_done_is_told_beside_what_was_found(
    made: Made, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert shadow(made, str(made.model()), "--yes") == 0
    sha256 = made.store.file(str(made.store.shadow())).with_suffix(".json").read_text()
    sha256 = json.loads(sha256)["sha256"]
    with Journal.open(made.places.journal, None) as journal:
        for number, (active, other, found) in enumerate(
            [("search", "search", True), ("recheck", "search", True), ("search", "no_search", False)]
        ):
            body = {"model_sha256": sha256, "level": other, "beside": {"level": active}}
            journal.append("shadow", f"p{number}", body | {"level": "recheck"})
            journal.append("shadow", f"p{number}", body)
            journal.append("outcome", f"p{number}", {"outcome": {"searched": True, "found": found}})
        journal.append("shadow", "p9", {"model_sha256": "another", "level": "search", "beside": {"level": "search"}})
    answer = told(made, capfd, "shadow")
    assert (answer["passages"], answer["levels"]["search"]["no_search"]) == (3, 1)
    assert answer["with_people"] == {"cases": 2, "active": 1, "shadow": 2}
    assert answer["empty"] == {"cases": 1, "active": 1, "shadow": 0}
    assert shadow(made) == 0
    assert "known with people: 2; search prompted: active 1, in the shadow 2" in capfd.readouterr().out
