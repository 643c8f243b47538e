"""RELIABILITY 4 and 5 for the whole lane: any call that makes, grows or names a file may fail, once or for a while. The
lane says it, tells nobody what is not recorded, and goes on by itself when the disk takes writes again.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edge import keys
from edge.config import load
from edge.journal.journal import Journal
from edge.journal.verify import verify
from edge.places import Places

from .conftest import Preloaded
from .test_lane_power_cut import judged

EVERY = int(os.environ.get("POWERCUT_EVERY", "60"))
FULL_FOR = 40  # calls; a passage makes some hundred


@pytest.fixture(scope="module")
def lane(preloaded: Callable[[str], Preloaded]) -> Preloaded:
    return preloaded("fail_calls.c")


def run(lane: Preloaded, root: Path, what: str, first: int, count: int, number: int, **more: int) -> list[str]:
    root.mkdir()
    refuse = {"FAIL_UNDER": f"{root}/state", "FAIL_FROM": first, "FAIL_COUNT": count, "FAIL_ERRNO": number}
    return lane.run(root, what, **refuse, **more)


@pytest.fixture(scope="module")
def calls(lane: Preloaded, tmp_path_factory: pytest.TempPathFactory) -> int:
    """At least as many as two lorries make: refusals from that number on change nothing."""
    folder, most = tmp_path_factory.mktemp("calls"), 128
    while sum(line.startswith("sealed") for line in run(lane, folder / f"{most}", "two", most, 1 << 30, errno.EIO)) < 2:
        most *= 2
        assert most < 1 << 16
    return most


def taken(root: Path) -> list[str]:
    with Journal.open(Places.under(root).journal, None) as journal:
        return [str(row.passage_id) for row in journal.rows(1, 1000, "bundle")]


def test_a_disk_that_is_full_for_a_while_ends_no_lane_and_the_next_lorry_is_recorded(
    lane: Preloaded, calls: int, tmp_path: Path
) -> None:
    wrong = []
    for first in range(1 + EVERY // 2, calls // 2, EVERY):
        root = tmp_path / f"full{first}"
        said = run(lane, root, "two", first, FULL_FOR, errno.ENOSPC)
        if "crash" in said:
            wrong.append((first, said))
        if any(line.startswith("fault") for line in said) and not any(line.startswith("told") for line in said):
            continue  # it could not begin at all, and said so
        judged(root, said)
        in_time = not any(line == "unrecorded 1" for line in said)  # else it was full while the second stood there too
        if in_time and not taken(root):
            wrong.append((first, said))
    assert wrong == []


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_one_call_that_fails_anywhere_is_survived_or_said(
    lane: Preloaded, calls: int, tmp_path: Path, number: int
) -> None:
    for first in range(1 + number % EVERY, calls, EVERY):
        root = tmp_path / f"one{first}"
        said = run(lane, root, "two", first, 1, number)
        assert "crash" not in said, (first, said)
        if any(line.startswith("told") for line in said):
            judged(root, said)
        else:
            assert any(line.startswith(("fault", "unrecorded")) for line in said), (first, said)


def test_a_disk_that_is_full_from_the_start_is_one_line(lane: Preloaded, tmp_path: Path) -> None:
    said = run(lane, tmp_path / "full", "two", 1, 1 << 30, errno.ENOSPC)
    assert len(said) == 1 and said[0].startswith("fault") and "No space left" in said[0]


def test_the_event_loop_comes_round_while_a_slow_disk_syncs(lane: Preloaded, tmp_path: Path) -> None:
    """Each sync takes 0.2 s; some ten of them: a loop that waited for them would have come round hardly ever."""
    (tmp_path / "slow" / "state").mkdir(parents=True)
    said = lane.run(tmp_path / "slow", "slow", FAIL_UNDER=tmp_path / "slow" / "state", FAIL_SLOW_US=200_000)
    rounds = [int(line.split()[1]) for line in said if line.startswith("rounds")]
    assert rounds and rounds[0] > 40, said


def test_what_was_refused_is_found_whole_by_the_next_start(lane: Preloaded, tmp_path: Path) -> None:
    root = tmp_path / "again"
    run(lane, root, "two", 40, 20, errno.ENOSPC)
    places = Places.under(root)
    if places.signing.exists() and places.journal.exists():
        key = keys.load_signing(places.signing)
        assert verify(places.journal, key.public_key()).ok
        assert load(root / "lane.toml", {}).lane.site == "calais"
