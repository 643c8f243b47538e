from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edge.journal.journal import BOOT_ID
from edge.lease import LOCKS
from edge.places import Places

UNITS = Path(__file__).resolve().parents[2] / "systemd"
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


@needs_systemd
@pytest.mark.parametrize("name", ["lanepulse.service", "lanepulse-booth.service"])
def test_the_unit_verifies_without_a_word(tmp_path: Path, name: str) -> None:
    # `verify` exits 0 on a misspelt key and only prints it, so any output is a failure.
    text = (UNITS / name).read_text().replace("/usr/bin/lanepulse ", "/bin/true ")
    unit = tmp_path / name
    unit.write_text(text)
    result = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, timeout=60)
    ours = [line for line in (result.stdout + result.stderr).splitlines() if name in line]
    assert ours == []


@needs_systemd
@pytest.mark.parametrize("name", ["lanepulse.service", "lanepulse-booth.service"])
def test_the_unit_is_hardened(tmp_path: Path, name: str) -> None:
    unit = tmp_path / name
    shutil.copy(UNITS / name, unit)
    result = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 0, result.stdout[-2000:]


@pytest.mark.parametrize("name", ["lanepulse.service", "lanepulse-booth.service"])
def test_no_service_is_ever_root(name: str) -> None:
    assert "\nUser=lanepulse\n" in (UNITS / name).read_text()


def test_the_lane_can_read_what_it_reads_of_proc() -> None:
    assert str(BOOT_ID).startswith("/proc/sys/") and Path("/proc/locks") == LOCKS  # gone with ProcSubset=pid
    settings = [line for line in (UNITS / "lanepulse.service").read_text().splitlines() if not line.startswith("#")]
    assert not any(line.startswith("ProcSubset=") for line in settings)


def test_the_manager_leaves_its_word_where_the_lane_looks_for_it() -> None:
    text = (UNITS / "lanepulse.service").read_text()
    state = Places().state
    assert f"StateDirectory={state.name}\n" in text and Places().last_end == state / "last-end"
    (line,) = [line for line in text.splitlines() if line.startswith("ExecStopPost=")]
    assert '> "$STATE_DIRECTORY/last-end"' in line and "$SERVICE_RESULT" in line
