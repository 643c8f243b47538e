from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import models
from hil.world.lorry import Lorry, Mode
from models.trials import as_heavy, main

RELEASED = Path(models.__file__).with_name("released") / "concealment-2.onnx"


def told(name: str, cases: int) -> dict[str, object]:
    result = CliRunner().invoke(main, [name, "--model", str(RELEASED), "--cases", str(cases), "--seed", "3"])
    assert result.exit_code == 0, result.output
    found: dict[str, object] = json.loads(result.stdout)
    assert (found["trial"], found["seed"], found["cases"]) == (name, 3, cases)
    return found


@pytest.mark.timeout(300)
def test_one_person_in_forty_tonnes_is_found_on_the_bare_floor_more_often_than_not() -> None:
    found = told("heavy", 40)
    shares = found["3 N on the bare floor"]
    assert isinstance(shares, dict)
    assert shares["pd"]["low"] <= shares["pd"]["value"] <= shares["pd"]["high"]
    assert shares["pd"]["value"] > 0.6 and shares["pfa"]["value"] < 0.2


@pytest.mark.timeout(300)
def test_a_lane_predicts_the_background_of_its_own_empties() -> None:
    sigma = told("background", 80)["40 t, ground at the high-noise model"]
    assert isinstance(sigma, dict) and sigma["lanes"] == 2 and 0.3 < sigma["sigma_db"] < 3.0


@pytest.mark.timeout(300)
def test_most_loads_of_produce_are_kept_shut() -> None:
    ends = told("produce", 40)["ends"]
    assert isinstance(ends, dict) and sum(ends.values()) == 40
    assert ends["kept"] > 2 * ends.get("opened: life.co2", 0)


def test_chests_want_a_folder_of_recordings() -> None:
    result = CliRunner().invoke(main, ["chests", "--model", str(RELEASED)])
    assert result.exit_code == 2 and "--recordings" in result.output


def test_the_same_springs_under_more_mass_swing_slower() -> None:
    lorry = Lorry(10e3, "soft_sided", (Mode(0.9, 4.0, 0.05), Mode(0.1, 7.0, 0.04)), 1.0, 0.15, 0.0, 10.0)
    heavy = as_heavy(lorry, 40e3)
    assert heavy.mass_kg == 40e3 and heavy.modes[0].f0_hz == pytest.approx(2.0) and heavy.modes[1] == lorry.modes[1]
