from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.cli.main import run
from edge.places import Places

from .lanes import build, outcome

JPEG = b"\xff\xd8\xff\xe0" + bytes(range(256)) + b"\xff\xd9"  # looks like one; nothing of ours decodes it


@dataclass(frozen=True)
class LaneFolder:
    """A stopped lane with three passages; commands run on it as an officer's would."""

    root: Path
    passages: list[str]

    @property
    def places(self) -> Places:
        return Places.under(self.root)

    @property
    def public_key(self) -> Path:
        return self.places.signing.with_suffix(".pub")

    def run(self, *arguments: str) -> int:
        return run([*arguments, "--root", str(self.root)])

    def complete(self, passage_id: str, **words: object) -> None:
        """Everything that a case needs."""
        photo = self.root / "curtain.jpg"
        photo.write_bytes(JPEG)
        account = self.root / "account.txt"
        account.write_text("I slept at the services near Lille.\nI <did> not look at the #roof.\n")
        outcome(self.root, passage_id, **words)
        assert self.run("plates", "set", passage_id, "--tractor", "F:AB-123-CD", "--trailer", "PL:WX 90210") == 0
        said = ["--entry-point", "curtain", "--checklist", "shown", "--account-file", str(account)]
        photos = ["--photo", f"curtain={photo}", "--photo", f"seals={photo}"]
        assert self.run("referral", "note", passage_id, *said, *photos) == 0


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> LaneFolder:
    """Do not write to it."""
    root = tmp_path_factory.mktemp("lane")
    return LaneFolder(root, build(root))


@pytest.fixture
def lane(built: LaneFolder, tmp_path: Path) -> LaneFolder:
    """A copy of its own."""
    shutil.copytree(built.root, tmp_path / "lane")
    return LaneFolder(tmp_path / "lane", built.passages)


@pytest.fixture(scope="session")
def sealed(built: LaneFolder, tmp_path_factory: pytest.TempPathFactory) -> tuple[LaneFolder, Path]:
    """A lane with one sealed pack. Do not write to it."""
    root = tmp_path_factory.mktemp("sealed") / "lane"
    shutil.copytree(built.root, root)
    lane = LaneFolder(root, built.passages)
    lane.complete(lane.passages[1])
    pack = root / "case.zip"
    assert lane.run("referral", "make", lane.passages[1], "--purpose", "penalty team", "--out", str(pack)) == 0
    return lane, pack


class Preloaded:
    """Forks lanes under a library that stands between them and their disk; see ``cut_lane.py``."""

    def __init__(self, library: Path) -> None:
        command = [sys.executable, str(Path(__file__).with_name("cut_lane.py"))]
        environment = os.environ | {"LD_PRELOAD": str(library), "OPENBLAS_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)

    def run(self, root: Path, what: str, **settings: object) -> list[str]:
        """What the lane said before it ended or was killed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        words = [str(root), what, *(f"{name}={value}" for name, value in settings.items())]
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        said = []
        for line in self._process.stdout:
            if line == "end\n":
                return said
            said.append(line.strip())
        raise AssertionError("the lane's process has gone")

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture(scope="module")
def preloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Preloaded]]:
    """``preloaded("lost_writes.c")``: lanes under that library of ``tests/edge/journal``."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here (apt-get install gcc)")
    started: list[Preloaded] = []

    def start(name: str) -> Preloaded:
        source = Path(__file__).parents[1] / "journal" / name
        library = tmp_path_factory.mktemp("shim") / "shim.so"
        command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(library), str(source), "-ldl"]
        subprocess.run(command, check=True, timeout=60)
        started.append(Preloaded(library))
        return started[-1]

    yield start
    for one in started:
        one.close()
