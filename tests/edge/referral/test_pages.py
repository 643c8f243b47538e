"""Every command of the two pages runs, in their order, on a lane with a case."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest

from edge.journal.read import reading

from .conftest import JPEG, LaneFolder
from .lanes import outcome

DOCS = Path(__file__).resolve().parents[3] / "docs"
PASSAGE = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"


@pytest.mark.parametrize("name", ["referral.md", "retention.md"])
def test_every_block_of_the_page_runs_in_its_order(
    lane: LaneFolder, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome(lane.root, lane.passages[0])
    monkeypatch.chdir(lane.root)
    (lane.root / "curtain.jpg").write_bytes(JPEG)
    shutil.copy(lane.public_key, lane.root / "signing.pub")
    blocks = re.findall(r"```console\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.strip().splitlines()]
    assert len(lines) >= 4
    for line in lines:
        program, *arguments = shlex.split(line.replace(PASSAGE, lane.passages[0]))
        assert program == "lanepulse"
        code = lane.run(*arguments)
        waits = "prune" in arguments and "not synchronised" in capfd.readouterr().err
        assert code == 0 or waits, line


def test_who_looked_is_told(lane: LaneFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    passage = lane.passages[0]
    lane.run("plates", "set", passage, "--tractor", "AB1", "--trailer", "none")
    lane.run("plates", "show", passage, "--purpose", "driver asks", "--officer", "o17")
    assert lane.run("journal", "backup", str(tmp_path / "copy.db")) == 0
    capfd.readouterr()
    assert lane.run("journal", "looks", "--json") == 0
    looks = json.loads(capfd.readouterr().out)["looks"]
    assert [(look["what"], look["officer"]) for look in looks] == [("plates show", "o17"), ("journal backup", None)]
    assert lane.run("journal", "looks", "--passage", passage) == 0
    assert "driver asks" in (said := capfd.readouterr().out) and "journal backup" not in said


def test_a_pseudonymised_export_states_its_risk_and_is_recorded(lane: LaneFolder, tmp_path: Path) -> None:
    lane.run("plates", "set", lane.passages[0], "--tractor", "SECRETPLATE", "--trailer", "none")
    (tmp_path / "key").write_bytes(bytes(range(32)))
    out = tmp_path / "out"
    pseudonymise = ["--pseudonymise", str(tmp_path / "key"), "--format", "csv", "--purpose", "university of Ghent"]
    assert lane.run("export", str(out), *pseudonymise) == 0
    risk = json.loads((out / "RISK.json").read_text())
    assert risk["passages"] == 3 and risk["by_hour"] == {"alone": 0, "among_fewer_than_5": 3, "smallest_group": 3}
    content = b"".join(path.read_bytes() for path in out.iterdir())
    assert b"SECRETPLATE" not in content and lane.passages[0].encode() not in content
    with reading(lane.places.journal) as reader:
        access = reader.of_kind("access")[-1].document()
    assert (access["what"], access["purpose"]) == ("export pseudonymised", "university of Ghent")
