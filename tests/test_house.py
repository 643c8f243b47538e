from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REGISTRIES = re.compile(
    "|".join(re.escape(".".join(parts)) for parts in (("pypi", "org"), ("npmjs", "org"))) + "|pythonhos" + "ted"
)
MACHINE = re.compile(r"(?<![\w.])/(root|home/\w+)/")


def tracked() -> list[Path]:
    try:
        listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name]


@pytest.mark.parametrize("forbidden", [REGISTRIES, MACHINE], ids=["registry", "machine path"])
def test_no_file_names_a_registry_or_one_machine(forbidden: re.Pattern[str]) -> None:
    named = []
    for path in tracked():
        if path.is_file() and forbidden.search(path.read_bytes().decode("utf-8", "ignore")):
            named.append(str(path.relative_to(ROOT)))
    assert named == []


def test_every_pin_has_a_hash() -> None:
    for name in ("runtime.txt", "test.txt"):
        lines = (ROOT / "requirements" / name).read_text().splitlines()
        pins = [index for index, line in enumerate(lines) if re.match(r"^[a-z0-9]", line)]
        assert pins
        assert all("--hash=sha256:" in lines[index + 1] for index in pins)


def test_the_runtime_pins_are_those_that_are_tested() -> None:
    pin = re.compile(r"^([a-z0-9._-]+==\S+)", re.MULTILINE)
    runtime, test = ({*pin.findall((ROOT / "requirements" / name).read_text())} for name in ("runtime.txt", "test.txt"))
    assert runtime <= test
