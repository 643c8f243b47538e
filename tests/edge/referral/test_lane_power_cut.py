"""RELIABILITY 2 and 3 for the whole lane: power goes at any sync of a passage, or of a retention run; what was told is
in the journal, what the journal names is on disk whole, and the next start takes up the rest.

The disk is that of ``tests/edge/journal/lost_writes.c``: after the cut it holds what was synced, and of the rest, by
chance, some sectors. Each ``make powercut`` tries every sync, with many chances.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import active_model, keys
from edge.config import load
from edge.journal.journal import Journal
from edge.journal.verify import verify
from edge.passage_record import Produced, recover
from edge.places import Places
from edge.retention.expire import expire, find
from edge.retention.rules import RetentionTable

from .conftest import Preloaded
from .lanes import BEGAN_NS, build

EVERY = int(os.environ.get("POWERCUT_EVERY", "11"))  # each so-manieth sync of a passage; `make powercut` takes all
CHANCES = int(os.environ.get("POWERCUT_CHANCES", "2"))
MOST_SYNCS = 400
SECTOR_BYTES = 512
LATER_NS = BEGAN_NS + 91 * 86_400 * 10**9


@pytest.fixture(scope="module")
def lane(preloaded: Callable[[str], Preloaded]) -> Lane:
    return Lane(preloaded("lost_writes.c"))


class Lane:
    """Lanes on a disk whose power can be cut."""

    def __init__(self, preloaded: Preloaded) -> None:
        self._preloaded = preloaded

    def run(self, root: Path, what: str = "passage", *, kill_at: int = 0, fail_at: int = 0) -> list[str]:
        """What the lane said before it ended or was killed."""
        shadow = root.with_name(f"{root.name}.shadow")
        shadow.mkdir(exist_ok=True)
        lost = {"LOST_UNDER": f"{root}/state", "LOST_SHADOW": shadow, "LOST_KILL_AT": kill_at, "LOST_FAIL_AT": fail_at}
        return self._preloaded.run(root, what, **lost)


def after_the_cut(root: Path, draw: random.Random | None) -> Path:
    """The folder as its disk holds it when power comes back."""
    found = root.with_name(f"{root.name}.found")
    shutil.rmtree(found, ignore_errors=True)
    shutil.copytree(root / "keys", found / "keys")
    shutil.copy(root / "lane.toml", found / "lane.toml")
    present = {str(path.stat().st_ino): path for path in (root / "state").rglob("*")}
    _rebuild(root.with_name(f"{root.name}.shadow"), root / "state", found / "state", present, draw)
    (found / "state" / "journal.db-shm").unlink(missing_ok=True)  # memory, not disk
    return found


def _rebuild(
    shadow: Path, live: Path, target: Path, present: dict[str, Path], draw: random.Random | None, inode: str = ""
) -> None:
    target.mkdir(parents=True)
    names = shadow / f"n{inode or live.stat().st_ino}"
    for line in names.read_text().splitlines() if names.exists() else []:
        number, name = line.split(" ", 1)
        path = present.get(number)
        if (shadow / f"n{number}").exists() or (path is not None and path.is_dir()):
            _rebuild(shadow, path or live, target / name, present, draw, number)
            continue
        kept = shadow / f"i{number}"
        synced = kept.read_bytes() if kept.exists() else b""
        written = path.read_bytes() if path is not None else synced
        (target / name).write_bytes(_torn(synced, written, draw) if draw else synced)


def _torn(synced: bytes, written: bytes, draw: random.Random) -> bytes:
    length = draw.choice((len(synced), len(written)))
    old, new = synced.ljust(length, b"\0"), written.ljust(length, b"\0")
    return b"".join(draw.choice((old, new))[at : at + SECTOR_BYTES] for at in range(0, length, SECTOR_BYTES))[:length]


def judged(found: Path, said: list[str]) -> None:
    """A start on that disk, and what must hold then."""
    places, config = Places.under(found), load(found / "lane.toml", {})
    places.make()
    key = keys.load_signing(places.signing)
    produced = Produced("0.1.0", active_model.load(None), config.sha256)
    with Journal.open(places.journal, key) as journal:
        list(recover(places.bundles, journal, config, produced))
        told = [int(line.split()[1]) for line in said if line.startswith("told")]
        verdicts = {row.sequence: row for row in journal.rows(1, 1000, "verdict")}
        assert set(told) <= verdicts.keys(), "a verdict that was told is not in the journal"
        for row in journal.rows(1, 1000, "bundle"):
            _whole(places.bundles / str(row.passage_id), row.document())
        sealed = {str(row.passage_id) for row in journal.rows(1, 1000, "bundle")}
        assert {line.split()[1] for line in said if line.startswith("sealed")} <= sealed
        for folder in places.bundles.iterdir():
            assert folder.name.endswith(".partial") or (folder / "passage.json").is_file(), folder.name
            assert folder.name.endswith(".partial") or folder.name in sealed, f"{folder.name}: no row names it"
    checked = verify(places.journal, key.public_key())
    assert checked.ok, checked.cause


def _whole(folder: Path, named: dict[str, object]) -> None:
    digests = named["digests"]
    assert isinstance(digests, dict)
    for name, digest in {"passage.json": named["passage_json"], **digests}.items():
        content = (folder / name).read_bytes()
        assert "sha256:" + hashlib.sha256(content).hexdigest() == digest, f"{folder.name}/{name}"
    assert json.loads((folder / "passage.json").read_bytes())["passage_id"] == folder.name


def test_power_that_goes_at_any_sync_of_a_passage_costs_nothing_that_was_told(lane: Lane, tmp_path: Path) -> None:
    chance, tried = random.Random(8), 0
    for kill_at in range(1 + EVERY // 2, MOST_SYNCS, EVERY):
        root = tmp_path / f"cut{kill_at}"
        said = _fresh(lane, root, kill_at=kill_at)
        for draw in (None, *(random.Random(chance.random()) for _ in range(CHANCES))):
            judged(after_the_cut(root, draw), said)
        tried += 1
        if any(line.startswith("sealed") for line in said):
            break
        shutil.rmtree(root)
    else:
        raise AssertionError(f"{MOST_SYNCS} syncs and no end")
    assert tried >= 3


def test_a_sync_that_fails_once_anywhere_in_a_passage_is_said_and_loses_nothing_that_was_told(
    lane: Lane, tmp_path: Path
) -> None:
    most = 16
    while not any(line.startswith("sealed") for line in _fresh(lane, tmp_path / f"most{most}", kill_at=most)):
        most *= 2
    for fail_at in range(1 + EVERY // 2, most, EVERY):
        root = tmp_path / f"fail{fail_at}"
        said = _fresh(lane, root, fail_at=fail_at)
        judged(after_the_cut(root, None), said)


def test_a_lane_that_does_not_sync_fails_the_same_test_so_it_tests_something(lane: Lane, tmp_path: Path) -> None:
    root = tmp_path / "careless"
    root.mkdir()
    said = lane.run(root, "careless")
    assert any(line.startswith("sealed") for line in said)
    with pytest.raises((AssertionError, OSError, ValueError)):
        judged(after_the_cut(root, None), said)


def _fresh(lane: Lane, root: Path, **lost: int) -> list[str]:
    root.mkdir()
    return lane.run(root, **lost)


def test_power_that_goes_while_retention_deletes_leaves_no_plate_that_a_row_calls_deleted(
    lane: Lane, tmp_path: Path
) -> None:
    """After the next run all is gone, the chain is whole, and no folder without its suffix is half."""
    clean = tmp_path / "clean"
    clean.mkdir()
    passages = build(clean, 2)
    places = Places.under(clean)
    with Journal.open(
        places.journal, keys.load_signing(places.signing), now_utc_ns=lambda: BEGAN_NS + 10**12
    ) as journal:
        for passage in passages:
            journal.append("plates", passage, {"positions": [], "no_trailer": True}, {"plates": ["SECRET-PLATE"]})
    step = max(1, EVERY // 4)
    for kill_at in range(1, MOST_SYNCS, step):
        root = tmp_path / f"prune{kill_at}"
        shutil.copytree(clean, root)
        _settle(root)
        said = lane.run(root, "prune", kill_at=kill_at)
        found = after_the_cut(root, random.Random(kill_at))
        _pruned_at_last(found)
        shutil.rmtree(root)
        if any(line.startswith("pruned") for line in said):
            assert kill_at > 2
            return
    raise AssertionError(f"{MOST_SYNCS} syncs and no end")


def _settle(root: Path) -> None:
    """Everything that is there is on the disk."""
    shadow = root.with_name(f"{root.name}.shadow")
    shadow.mkdir()
    for path in [root / "state", *(root / "state").rglob("*")]:
        if path.is_dir():
            lines = [f"{inner.stat().st_ino} {inner.name}\n" for inner in path.iterdir() if inner.name[0] != "."]
            (shadow / f"n{path.stat().st_ino}").write_text("".join(lines))
        else:
            (shadow / f"i{path.stat().st_ino}").write_bytes(path.read_bytes())


def _pruned_at_last(found: Path) -> None:
    places = Places.under(found)
    key = keys.load_signing(places.signing)
    with Journal.open(places.journal, key, now_utc_ns=lambda: LATER_NS) as journal:
        for row in journal.rows(1, 1000, "redaction"):
            for sequence in row.document()["rows"]:
                assert journal.openings(sequence) == {}
        expire(journal, places, RetentionTable(), find(places, RetentionTable(), LATER_NS))
    checked = verify(places.journal, key.public_key())
    assert checked.ok and checked.openings == 0 and checked.deleted == 2, checked
    assert list(places.bundles.iterdir()) == []
    assert b"SECRET-PLATE" not in b"".join(path.read_bytes() for path in found.rglob("*") if path.is_file())
