"""What commands print into a pipe is the same whatever the environment says of terminals, colours and letters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edge import active_model
from edge.journal.journal import Journal
from edge.places import Places
from edge.replay import Weighing, replayed
from fusion.policy import Policy
from hil.bench.passages import write_passages

PLAIN: dict[str, str] = {}
NARROW = {"COLUMNS": "20", "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "POSIX", "PYTHONIOENCODING": "ascii"}
COLOURED = {"COLUMNS": "400", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "LANG": "C", "PYTHONIOENCODING": "utf-16"}
COMMANDS = (
    ("models", "list"),
    ("verdicts",),
    ("verdicts", "--json"),
    ("journal", "verify", "--json"),
    ("replay", "DATASET/01JQ0F7Y3W8V5R2M9K4T6B0001"),
    ("evaluate", "DATASET", "--json", "--workers", "1"),
)
WHY = "a reason of ünusual léngth, longer than any terminal is wide: " + "vibration, " * 30 + "end"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lane with one verdict in its journal, and a dataset of two bundles."""
    root = tmp_path_factory.mktemp("lane")
    (root / "dataset").mkdir()
    first, _ = write_passages(root / "dataset", 2)
    places = Places.under(root)
    places.make()
    verdict = replayed(first, Weighing(active_model.load(None), Policy())).verdicts[-1].document()
    verdict["reasons"] = [{"code": "test", "text": WHY}]
    with Journal.open(places.journal, None) as journal:
        journal.append("verdict", verdict["passage_id"], verdict)
    return root


def piped(root: Path, words: tuple[str, ...], environment: dict[str, str]) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LANEPULSE_", "PYTHONIO"))}
    words = tuple(word.replace("DATASET", str(root / "dataset")) for word in words)
    command = [sys.executable, "-m", "edge.cli.main", *words, "--root", str(root)]
    return subprocess.run(command, env={**kept, **environment}, capture_output=True, timeout=100)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_pipe_gets_the_same_whole_bytes(root: Path, words: tuple[str, ...]) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda environment: piped(root, words, environment), (PLAIN, NARROW, COLOURED)))
    assert {answer.returncode for answer in answers} == {0}, answers[0].stderr
    (output,) = {answer.stdout for answer in answers}
    assert output and b"\x1b" not in output and b"\r" not in output
    assert all(b"\x1b" not in answer.stderr for answer in answers)
    if words == ("verdicts",):
        assert WHY.encode() in output  # nothing is folded, nothing is cut
    if "--json" in words:
        assert json.loads(output)


def test_json_of_every_command_passes_the_checker_of_others(root: Path, cases: Path, tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_bytes(b"".join(piped(root, w, PLAIN).stdout for w in COMMANDS if "--json" in w))
    check = [sys.executable, str(cases / "58-json-nan-in-messages" / "check.py"), str(tmp_path / "all.jsonl")]
    done = subprocess.run(check, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
