from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hil.demo
from fusion.verdict import Level
from hil.scenario import IDLE_M_S, SENSITIVITY_COUNTS_PER_M_S, Scenario, play, read

FILES = sorted(Path(hil.demo.__file__).with_name("scenarios").glob("*.toml"))
EMPTY = Scenario(title="empty", seed=5, body_type="hard_sided", mass_kg=14_000, people=0)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_lorry_of_the_demo_says_which_levels_are_right_for_it_and_why(file: Path) -> None:
    scenario = read(file)
    assert scenario.why
    assert set(scenario.expected) <= {level.value for level in Level}
    assert scenario.expected
    assert not scenario.people or "no_search" not in scenario.expected
    assert len(scenario.title) <= 56  # the table's column


def test_an_idling_engine_shakes_the_body_and_hardly_the_ground() -> None:
    still, running = play(EMPTY, 8.0, 250.0), play(EMPTY.model_copy(update={"idle_rpm": 620.0}), 8.0, 250.0)
    more = {
        name: np.std(running.counts[name] - still.counts[name]) / SENSITIVITY_COUNTS_PER_M_S for name in still.counts
    }
    assert min(more["B1"], more["B2"], more["B3"]) > IDLE_M_S / 4
    assert max(more["G1"], more["G2"]) < IDLE_M_S / 10


def test_a_probe_that_is_pulled_out_shows_outside_air_again() -> None:
    sealed = EMPTY.model_copy(update={"people": 3, "sealed_for_s": 7200.0})
    kept = play(sealed, 60.0, 250.0)
    pulled = play(sealed.model_copy(update={"probe_out_s": 20.0}), 60.0, 250.0)
    assert np.array_equal(kept.inside_ppm[:20], pulled.inside_ppm[:20])
    assert pulled.inside_ppm[-1] - pulled.outside_ppm < 0.5 * (kept.inside_ppm[-1] - kept.outside_ppm)


def test_fruit_raises_the_air_of_a_lorry_without_people() -> None:
    fruit = EMPTY.model_copy(update={"cargo": "produce", "cargo_l_min": 1.0})
    assert play(fruit, 60.0, 250.0).inside_ppm[-1] > play(EMPTY, 60.0, 250.0).inside_ppm[-1] + 100
