"""The tutorial, followed word for word in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "tutorial-driver.md"
STEP = re.compile(r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_tutorials_driver_is_built_tested_and_found_by_the_lane(tmp_path: Path) -> None:
    script, listed = ["set -e"], ""
    for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
        if step["path"]:
            file = tmp_path / step["path"]
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(step["text"], encoding="utf-8")
        elif step["language"] == "console":
            script.append(step["text"])
        elif step["language"] == "text":
            listed = step["text"]
    assert listed
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("LANEPULSE_", "PYTEST_"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=110
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "13 passed" in done.stdout
    assert done.stdout.endswith(listed)


def test_the_code_of_the_tutorial_keeps_our_own_rules(tmp_path: Path) -> None:
    for step in STEP.finditer(PAGE.read_text(encoding="utf-8")):
        if step["path"] and step["language"] == "python":
            (tmp_path / Path(step["path"]).name).write_text(step["text"], encoding="utf-8")
    config = str(PAGE.parents[1] / "pyproject.toml")
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--ignore", "I001", "--config", config, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
