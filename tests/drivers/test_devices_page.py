"""docs/devices.md says what is there: every driver in it exists, its peers are pinned, its example is valid."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from edge import drivers

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "devices.md").read_text(encoding="utf-8")


def table(first_column: str) -> list[dict[str, str]]:
    """Rows of the table whose first heading is that."""
    lines = PAGE.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_column} |"))
    head = [cell.strip() for cell in lines[start].strip("|").split("|")]
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert len(cells) == len(head), line
        rows.append(dict(zip(head, cells, strict=True)))
    return rows


DEVICES = table("device")


def module_file(row: dict[str, str], root: str, form: str) -> Path:
    modality, _, name = row["driver"].strip("`").partition(".")
    return ROOT / root / form.format(modality=modality, name=name)


@pytest.mark.parametrize("row", DEVICES, ids=lambda row: row["driver"].strip("`"))
def test_a_driver_on_the_page_exists_with_tests(row: dict[str, str]) -> None:
    assert drivers.find(row["driver"].strip("`"))
    assert module_file(row, "tests/drivers", "{modality}/test_{name}.py").is_file()


@pytest.mark.parametrize("row", DEVICES, ids=lambda row: row["driver"].strip("`"))
def test_a_driver_that_is_called_fit_for_the_field_is_unplugged_and_fuzzed(row: dict[str, str]) -> None:
    tests = module_file(row, "tests/drivers", "{modality}/test_{name}.py").read_text(encoding="utf-8")
    if row["field"].startswith("yes"):
        assert "@given" in tests
        assert "hil.devices." in tests or "emulated(" in tests
        assert "unplug" in tests


@pytest.mark.parametrize("row", DEVICES, ids=lambda row: row["driver"].strip("`"))
def test_a_peer_on_the_page_is_the_pinned_one_and_is_used(row: dict[str, str]) -> None:
    if row["proven"].startswith("no"):
        return
    peers = re.findall(r"([a-z]\w+) (\d+(?:\.\d+)+)", row["proven"])
    assert peers, row["proven"]
    pins = (ROOT / "requirements" / "test.txt").read_text(encoding="utf-8")
    modality = row["driver"].strip("`").partition(".")[0]
    used = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "drivers" / modality).glob("*.py"))
    for name, version in peers:
        assert re.search(rf"^{name.replace('_', '[-_]')}=={re.escape(version)}\b", pins, re.MULTILINE), name
        assert name in used


def test_every_driver_with_a_row_has_its_faults() -> None:
    assert [row["driver"] for row in table("driver")] == [row["driver"] for row in DEVICES]


def test_the_example_is_a_valid_configuration_of_each_driver() -> None:
    for example in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        for settings in tomllib.loads(example)["devices"].values():
            assert drivers.find(settings["driver"]).Config.model_validate(settings)
