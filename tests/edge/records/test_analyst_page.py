"""Every block of the analyst's page runs, in its order, on a small lane."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from edge.cli.analyse import PARTS
from edge.cli.main import run
from edge.records import answers
from hil.record import World, write

PAGE = Path(__file__).resolve().parents[3] / "docs" / "analyst.md"


@pytest.fixture
def lane(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "lane" / "state" / "journal.db", "calais", "3", 4, 40, seed=4, world=World(occupied=0.1))
    (tmp_path / "lane" / "lane.toml").write_text('[lane]\nsite = "calais"\nname = "3"\n')
    return tmp_path


@pytest.mark.timeout(600)  # three whole answers and eight short ones, on a machine that may be busy
def test_the_page_is_true(lane: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text()
    (costs,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (lane / "lane" / "costs.toml").write_text(costs)
    lines = [line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    assert len(lines) >= 8
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "lanepulse"
        assert run(arguments) == 0, f"{line}: {capfd.readouterr().err[-500:]}"
    assert (lane / "reports" / "annual-2025.pdf").exists() and (lane / "year.html").exists()


def test_every_part_is_on_the_page_and_the_command_knows_all() -> None:
    assert set(PARTS) == {*answers.PARTS, *answers.ALL, "value"}
    named = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\| `.*$", PAGE.read_text(), re.MULTILINE))))
    assert set(PARTS) <= named
