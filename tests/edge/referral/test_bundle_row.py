"""The row that names a sealed bundle may be refused (the disk is full just then) or cut off: it is written later."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge import active_model, keys
from edge.config import load
from edge.journal.journal import Journal, JournalFault, Row
from edge.journal.verify import verify
from edge.passage_record import Produced, recover
from edge.places import Places
from edge.retention.expire import find
from edge.retention.rules import RetentionTable

from .conftest import LaneFolder
from .lanes import BEGAN_NS, build
from .test_lane_power_cut import LATER_NS, _whole

Refuse = Callable[[int], list[str]]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """``refuse(2)``: a full disk refuses the next two bundle rows; the list that comes back names whose they were."""

    def from_now_on(times: int) -> list[str]:
        refused: list[str] = []
        commit = Journal._commit

        def _commit(journal: Journal, steps: Sequence[tuple[str, tuple[Any, ...]]]) -> None:
            values = steps[0][1]
            if "bundle" in values and len(refused) < times:
                refused.append(str(values[3]))
                raise JournalFault("row not written: database or disk is full; make room")
            commit(journal, steps)

        monkeypatch.setattr(Journal, "_commit", _commit)
        return refused

    return from_now_on


def start(root: Path) -> list[Row]:
    """What a start of the lane takes up; the journal's bundle rows after it."""
    places, config = Places.under(root), load(root / "lane.toml", {})
    produced = Produced("0.1.0", active_model.load(None), config.sha256)
    with Journal.open(
        places.journal, keys.load_signing(places.signing), now_utc_ns=lambda: BEGAN_NS + 10**12
    ) as journal:
        assert list(recover(places.bundles, journal, config, produced)) == []
        return journal.rows(1, 1000, "bundle")


def test_a_row_that_a_full_disk_refused_is_written_by_the_same_lane_when_there_is_room(
    refuse: Refuse, tmp_path: Path
) -> None:
    refused, unrecorded = refuse(1), list[int]()
    passages = build(tmp_path, 1, unrecorded=unrecorded.append)
    assert refused == passages and len(passages) == 1
    assert unrecorded == []
    (row,) = start(tmp_path)  # not named twice
    assert row.document()["closing"] == "left"
    _whole(Places.under(tmp_path).bundles / passages[0], row.document())


def test_a_row_that_was_never_written_is_written_by_the_next_start_and_the_passage_is_like_any_other(
    refuse: Refuse, tmp_path: Path
) -> None:
    refused = refuse(2)  # at the end, and when it is tried again
    assert build(tmp_path, 1) == []
    lane = LaneFolder(tmp_path, refused[:1])
    (row,), passage_id = start(tmp_path), refused[0]
    assert row.passage_id == passage_id
    told = row.document()
    _whole(lane.places.bundles / passage_id, told)
    assert told["closing"] == "unknown" and told["body_type"] == "soft_sided" and told["ended_utc"] is not None
    assert start(tmp_path) == [row]
    assert verify(lane.places.journal, keys.load_signing(lane.places.signing).public_key()).ok
    assert find(lane.places, RetentionTable(), LATER_NS).bundles == (passage_id,)
    lane.complete(passage_id)
    pack = ["--purpose", "penalty team", "--out", str(tmp_path / "case.zip")]
    assert lane.run("referral", "make", passage_id, *pack) == 0


def test_a_bundle_that_is_damaged_or_of_another_lane_is_not_named_and_that_is_said(
    refuse: Refuse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    refused = refuse(2)
    build(tmp_path, 1)
    bundle = Places.under(tmp_path).bundles / refused[0]
    shutil.copytree(bundle, bundle.with_name("01STRANGER"))
    with (bundle / "co2.csv").open("r+b") as file:
        file.seek(-3, 2)
        file.write(b"9")
    caplog.clear()
    assert start(tmp_path) == []
    said = {record.args[0]: record.getMessage() for record in caplog.records if isinstance(record.args, tuple)}
    assert "co2.csv" in said[refused[0]]
    assert "no final verdict" in said["01STRANGER"]
    assert json.loads((bundle / "passage.json").read_bytes())["passage_id"] == refused[0]
