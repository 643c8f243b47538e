from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

from edge.journal.journal import Journal
from edge.keys import load_signing

ROOT = Path(__file__).resolve().parents[1]
LANE = '[lane]\nsite = "calais"\nname = "3"\n\n[publish]\nbind = "tcp://127.0.0.1:0"\nreplay = "tcp://127.0.0.1:0"\n'


def test_every_block_of_the_engineers_guide_runs_in_its_order(tmp_path: Path) -> None:
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "docs" / "engineer.md").read_text(), re.DOTALL)
    lines = [line for block in blocks for line in block.strip().splitlines()]
    assert len(lines) >= 5
    (tmp_path / "lane").mkdir()
    (tmp_path / "lane" / "lane.toml").write_text(LANE)
    for line in lines:
        program, *arguments = shlex.split(line)
        assert program == "lanepulse"
        if arguments[:2] == ["journal", "verify"]:  # the guide's lane has run by then
            state = tmp_path / "lane" / "state"
            state.mkdir(exist_ok=True)
            with Journal.open(
                state / "journal.db", load_signing(tmp_path / "lane" / "keys" / "signing.key")
            ) as journal:
                journal.append("test", None, {})
        command = [sys.executable, "-m", "edge.cli.main", *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, f"{line}: {done.stdout[-500:]}{done.stderr[-500:]}"


def test_every_command_named_in_the_docs_exists() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "edge.cli.main", "--help"], capture_output=True, text=True, timeout=60
    ).stdout
    named = set()
    for page in (ROOT / "docs").glob("*.md"):
        named |= set(re.findall(r"`lanepulse ([a-z]+)", page.read_text()))
    assert named
    assert [verb for verb in sorted(named) if f"\n  {verb} " not in help_text] == []
