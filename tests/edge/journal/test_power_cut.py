"""RELIABILITY 2 and 3: a power cut leaves what was synced, and perhaps some of what was not; every number that the
journal acknowledged is among it.

A kill alone does not test that: the kernel still holds what was written. So a library is put under the journal's
process that keeps, beside, what each sync made safe (``lost_writes.c``); the folder is then rebuilt from that.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.journal.journal import Journal
from edge.journal.verify import Verification, verify

SHIM = Path(__file__).with_name("lost_writes.c")
SECTOR_BYTES = 512  # what a disk writes whole or not at all
CHILD = """
import sys
from pathlib import Path
from edge.journal.journal import Journal, JournalFault
journal = Journal.open(Path(sys.argv[1]), None)
if sys.argv[3] == "OFF":
    journal._db.execute("PRAGMA synchronous=OFF")
last = journal.last("verdict")
print("shown", last.sequence if last else 0, flush=True)
for _ in range(int(sys.argv[2])):
    try:
        print("acknowledged", journal.append("verdict", None, {"x": "y" * 300}), flush=True)
    except JournalFault as fault:
        print("fault", fault, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here (apt-get install gcc)")
    library = tmp_path_factory.mktemp("shim") / "lost_writes.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(SHIM), "-ldl"]
    subprocess.run(command, check=True, timeout=60)
    return library


@dataclass
class Box:
    """A journal on a disk whose power can be cut."""

    folder: Path
    shim: Path

    @property
    def journal(self) -> Path:
        return self.folder / "disk" / "journal.db"

    @property
    def shadow(self) -> Path:
        return self.folder / "shadow"

    def run(self, rows: int, *, synchronous: str = "FULL", **lost: int) -> list[str]:
        """What a process says that appends ``rows`` and is then killed."""
        self.journal.parent.mkdir(exist_ok=True)
        self.shadow.mkdir(exist_ok=True)
        environment = os.environ | {
            "LD_PRELOAD": str(self.shim),
            "LOST_UNDER": str(self.journal.parent),
            "LOST_SHADOW": str(self.shadow),
            **{f"LOST_{name.upper()}": str(number) for name, number in lost.items()},
        }
        command = [sys.executable, "-c", CHILD, str(self.journal), str(rows), synchronous]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
            assert child.stdin is not None and child.stdout is not None
            said = []
            for line in child.stdout:
                said.append(line.strip())
                if len(said) == rows + 1:
                    break
            child.kill()
        return said

    def after_the_cut(self, draw: random.Random | None = None) -> Path:
        """The journal as a disk would hold it: what was synced, and of the rest the sectors that ``draw`` spares."""
        found = self.folder / "found"
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir()
        present = {str(path.stat().st_ino): path for path in self.journal.parent.iterdir()}
        names = self.shadow / f"n{self.journal.parent.stat().st_ino}"
        for line in names.read_text().splitlines() if names.exists() else []:
            inode, name = line.split(" ", 1)
            kept = self.shadow / f"i{inode}"
            synced = kept.read_bytes() if kept.exists() else b""
            written = present[inode].read_bytes() if inode in present else synced
            (found / name).write_bytes(torn(synced, written, draw) if draw else synced)
        (found / "journal.db-shm").unlink(missing_ok=True)  # memory, not disk
        return found / "journal.db"


def torn(synced: bytes, written: bytes, draw: random.Random) -> bytes:
    """Each sector old or new; the file's length is one of the two."""
    length = draw.choice((len(synced), len(written)))
    old, new = synced.ljust(length, b"\0"), written.ljust(length, b"\0")
    starts = range(0, length, SECTOR_BYTES)
    return b"".join(draw.choice((old, new))[at : at + SECTOR_BYTES] for at in starts)[:length]


def numbers(said: list[str], word: str) -> list[int]:
    return [int(line.split()[1]) for line in said if line.startswith(word)]


def recovered(path: Path) -> Verification:
    """What a lane that starts again on that disk has; it starts, whatever was cut."""
    Journal.open(path, None).close()
    return verify(path, None)


@pytest.fixture
def box(tmp_path: Path, shim: Path) -> Box:
    return Box(tmp_path, shim)


def test_what_was_acknowledged_survives_a_power_cut(box: Box) -> None:
    for round_number in range(3):
        said = box.run(5)
        found = recovered(box.after_the_cut())
        assert found.ok and found.rows >= numbers(said, "acknowledged")[-1] == 5 * (round_number + 1), found.cause


def test_without_syncs_the_same_test_fails_so_it_tests_something(box: Box) -> None:
    said = box.run(5, synchronous="OFF")
    assert numbers(said, "acknowledged")[-1] == 5
    found = recovered(box.after_the_cut())
    assert found.rows < 5


def test_sectors_that_were_written_but_not_synced_do_no_harm(box: Box) -> None:
    acknowledged = numbers(box.run(6), "acknowledged")[-1]
    said = box.run(6, kill_at=3)  # in the midst of a commit: the log has more than was synced
    acknowledged = max([acknowledged, *numbers(said, "acknowledged")])
    for seed in range(40):
        found = recovered(box.after_the_cut(random.Random(seed)))
        assert found.ok and found.rows >= acknowledged, (seed, found.cause)


@pytest.mark.parametrize("kill_at", range(1, 9))
def test_a_kill_at_any_sync_and_then_a_power_cut_lose_nothing_acknowledged(box: Box, kill_at: int) -> None:
    said = box.run(4, kill_at=kill_at)
    found = recovered(box.after_the_cut())
    assert found.ok and found.rows >= max([0, *numbers(said, "acknowledged")]), found.cause


@pytest.mark.parametrize("fail_at", range(1, 9))
def test_a_sync_that_fails_once_is_said_and_never_taken_for_done(box: Box, fail_at: int) -> None:
    said = box.run(4, fail_at=fail_at)
    found = recovered(box.after_the_cut())
    assert found.ok and found.rows >= max([0, *numbers(said, "acknowledged")]), found.cause
    faults = [line for line in said if line.startswith("fault")]
    opened = any(line.startswith("shown") for line in said)
    assert not opened or faults or len(numbers(said, "acknowledged")) == 4
    if faults:  # no silent try again: the kernel may have dropped what it could not write
        assert said[-1].startswith("fault")


@pytest.mark.parametrize("kill_at", range(1, 5))
def test_a_row_that_is_shown_after_a_restart_survives_a_power_cut(box: Box, kill_at: int) -> None:
    """A killed process may leave a row that is written and not synced; who shows it must have synced it first."""
    box.run(2)
    box.run(2, kill_at=kill_at)
    shown = numbers(box.run(0), "shown")[-1]
    found = recovered(box.after_the_cut())
    assert found.ok and found.rows >= shown, (shown, found)
