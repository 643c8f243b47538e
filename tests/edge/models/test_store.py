from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edge import active_model, keys
from edge.cli.main import run
from edge.journal.journal import Journal
from edge.models.changes import take_up
from edge.models.source import RELEASED
from edge.models.store import RELEASED_ID, NoSuchModel
from fusion.classifier import ModelRefused
from fusion.judge import Issue, Look, Occasion, judge
from fusion.policy import Policy
from fusion.verdict import Level, ProducedBy, State
from models.simulated import BEGAN_NS, NS, draw_passage

from .conftest import Made


def models(made: Made, *words: str) -> int:
    return run(["models", *words, "--root", str(made.root)])


def test_a_signed_model_becomes_active_and_is_what_the_lane_loads(made: Made) -> None:
    path = made.model()
    assert models(made, "activate", str(path), "--yes") == 0
    path.unlink()
    assert made.store.active().startswith("trial-2-")
    assert active_model.load(None, made.places).name == "trial-2"
    assert active_model.for_lane(None, made.places).faults == ()


def test_without_places_the_released_model_is_loaded(made: Made) -> None:
    assert models(made, "activate", str(made.model()), "--yes") == 0
    assert active_model.load(None).name == RELEASED.stem


def test_a_dry_run_tries_the_model_and_changes_nothing(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert models(made, "activate", str(made.model()), "--dry-run") == 0
    assert "would be: trial-2-" in capfd.readouterr().out
    assert list(made.places.models.iterdir()) == []


def test_nothing_is_activated_without_a_yes(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert models(made, "activate", str(made.model())) == 2
    assert "give --yes" in capfd.readouterr().err
    assert made.store.active() == RELEASED_ID


def test_rollback_goes_back_and_then_forth_again(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("trial-2", "trial-3"):
        assert models(made, "activate", str(made.model(name)), "--yes") == 0
    assert models(made, "rollback", "--yes", "--json") == 0
    told = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert told["before"].startswith("trial-3-") and told["after"].startswith("trial-2-")
    assert made.store.active() == told["after"] and told["changed"]
    assert models(made, "rollback", "--yes") == 0
    assert made.store.active() == told["before"]


def test_rollback_of_the_first_model_leads_to_the_released_one(made: Made) -> None:
    assert models(made, "activate", str(made.model()), "--yes") == 0
    assert models(made, "rollback", "--yes") == 0
    assert active_model.load(None, made.places).name == RELEASED.stem
    assert models(made, "activate", "trial-2", "--yes") == 0
    assert made.store.active().startswith("trial-2-")


def test_a_rollback_to_what_is_active_changes_nothing(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert models(made, "rollback", "--yes") == 0
    assert "nothing was changed" in capfd.readouterr().out
    assert not (made.places.models / "changes.jsonl").exists()


def test_the_list_says_who_signed_what_and_which_is_active(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert models(made, "activate", str(made.model()), "--yes") == 0
    capfd.readouterr()
    assert models(made, "list", "--json") == 0
    told = json.loads(capfd.readouterr().out)
    assert [(row["state"], row["signed_by"]) for row in told["models"]] == [("active", "ours"), ("previous", "release")]
    assert told["active"] == made.store.active()


def test_a_name_that_no_model_has_is_wrong_use(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    assert models(made, "activate", "concealment-9", "--yes") == 2
    assert models(made, "verify", "nowhere/x.onnx") == 2
    with pytest.raises(NoSuchModel):
        made.store.find("concealment-9")


def test_a_change_is_journalled_with_who_and_when_or_noted_until_it_can_be(made: Made) -> None:
    signing = keys.new_signing(made.places.signing)
    with Journal.open(made.places.journal, signing):  # the lane runs, and holds it
        assert models(made, "activate", str(made.model()), "--yes") == 0
    assert (made.places.models / "changes.jsonl").exists()
    assert models(made, "rollback", "--yes") == 0
    with Journal.open(made.places.journal, signing) as journal:
        rows = [row.document() for row in journal.rows(kind="model")]
        assert take_up(made.places, journal) == 0
    assert [row["what"] for row in rows] == ["activate", "rollback"]
    assert rows[0]["who"].startswith("uid ") and rows[0]["at_utc"].endswith("Z") and rows[0]["signed_by"] == "ours"
    assert not (made.places.models / "changes.jsonl").exists()


def test_a_note_that_was_journalled_before_a_cut_is_not_journalled_twice(made: Made) -> None:
    assert models(made, "activate", str(made.model()), "--yes") == 0
    note = (made.places.models / "changes.jsonl").read_bytes()
    with Journal.open(made.places.journal, None) as journal:
        assert take_up(made.places, journal) == 1
        (made.places.models / "changes.jsonl").write_bytes(note)
        take_up(made.places, journal)
        assert len(journal.rows(kind="model")) == 1


def damage(made: Made, model_id: str) -> None:
    """Other bytes, and still a whole model: an empty doc_string more (onnx.proto3, field 6 of ModelProto)."""
    file = made.store.file(model_id)
    file.write_bytes(file.read_bytes() + b"\x32\x00")


def test_a_lane_whose_active_model_was_damaged_goes_on_with_the_previous_one(made: Made) -> None:
    for name in ("trial-2", "trial-3"):
        assert models(made, "activate", str(made.model(name)), "--yes") == 0
    damage(made, made.store.active())
    with pytest.raises(ModelRefused, match="SHA-256"):
        active_model.load(None, made.places)
    found = active_model.for_lane(None, made.places)
    assert found.name == "trial-2"
    assert len(found.faults) == 1 and "SHA-256" in found.faults[0]


def test_a_lane_whose_configured_model_is_no_good_keeps_the_active_one(made: Made, tmp_path: Path) -> None:
    assert models(made, "activate", str(made.model()), "--yes") == 0
    found = active_model.for_lane(tmp_path / "not there.onnx", made.places)
    assert found.name == "trial-2" and "not there.onnx" in found.faults[0]


def test_a_link_that_leads_out_of_the_store_is_no_model(made: Made, tmp_path: Path) -> None:
    (made.places.models / "active").symlink_to(tmp_path)
    with pytest.raises(ModelRefused, match="no model of this store"):
        active_model.load(None, made.places)
    assert active_model.for_lane(None, made.places).name == RELEASED.stem
    assert models(made, "activate", str(made.model()), "--yes") == 0
    assert active_model.load(None, made.places).name == "trial-2"


def test_without_any_good_model_every_verdict_is_by_policy_and_says_so(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("edge.models.store", "edge.active_model"):
        monkeypatch.setattr(f"{module}.RELEASED", made.folder / "gone.onnx")
    found = active_model.for_lane(None, made.places)
    assert found.name == "none" and "gone.onnx" in found.faults[0]
    by = ProducedBy(version="1", model=found.name, model_sha256=found.sha256, config_sha256="", calibrations={})
    passage = draw_passage(np.random.default_rng(2), True, 45)
    look = Look(4, BEGAN_NS + 45 * NS, Occasion.END)
    for on_timeout in (Level.RECHECK, Level.SEARCH):
        policy = Policy(on_timeout=on_timeout, search_log10_lr=0.0)
        verdict = judge(passage, look, found.model, policy, Issue(1, "2026-03-01T10:15:31Z", by))
        assert verdict.level is on_timeout and verdict.final
        assert [part.state for part in verdict.evidence[:2]] == [State.FAULTY, State.FAULTY]
        assert "no model is active" in next(
            reason.text for reason in verdict.reasons if reason.code == "model.no_number"
        )
