from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import obspy
import pytest
from click.testing import CliRunner

from fusion.bundle.read import read
from fusion.bundle.taken import assumed_looks
from fusion.judge import gather
from fusion.policy import Policy
from fusion.verdict import State
from hil.world import bundle, real
from hil.world.__main__ import main
from hil.world.beyond import Outside, draw_beyond
from hil.world.incidents import INCIDENTS, LIMIT_PPM, incident
from hil.world.make import BEGAN_NS, Order, make_one, name_of
from hil.world.passage import draw_truth, record
from models.features import FEATURES
from models.simulated import passage_of


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def order(out: Path) -> Order:
    return Order(out, 8, 12.0, 0.5, None, True, 0.5, 0.0, None, "test")


def test_a_case_is_the_same_whoever_makes_it_and_is_not_made_twice(tmp_path: Path) -> None:
    for folder, indices in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        assert all(make_one(order(tmp_path / folder), index) for index in indices)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") != {}
    assert not make_one(order(tmp_path / "a"), 1)
    assert not [path for path in (tmp_path / "a").iterdir() if path.name.startswith(".")]


def test_the_people_are_drawn_last_so_an_empty_lorry_differs_by_them_alone() -> None:
    empty, full = (draw_truth(np.random.default_rng(8), people) for people in (0, 3))
    assert len(full.scene.people) == len(full.side.people) == len(full.load.people) == 3
    assert replace(full, scene=empty.scene, side=empty.side, load=empty.load) == empty
    assert replace(full.scene, people=()) == empty.scene


def test_a_bundle_of_the_world_is_read_back_as_what_was_recorded(tmp_path: Path) -> None:
    random = np.random.default_rng(12)
    truth = replace(draw_truth(random, 2), scanned=True, imager=True, probe=True)
    recorded = record(truth, 12.0, random)
    name = bundle.passage_id(BEGAN_NS, 1, 0)
    contents = read(bundle.write(tmp_path, recorded, name, BEGAN_NS))
    assert not contents.notes
    found = contents.passage(None)
    assert {series.sensor: series.counts.tolist() for series in found.vibration} == {
        sensor: counts.tolist() for sensor, counts in recorded.counts.items()
    }
    mine = passage_of(recorded)
    assert sorted(s.co2_ppm or 0.0 for s in found.gas) == sorted(s.co2_ppm or 0.0 for s in mine.gas)
    until = 10 * 10**9
    read_back = gather(found, BEGAN_NS + until)
    for one, other in zip(read_back, gather(mine, mine.began_utc_ns + until), strict=True):
        assert one.state is other.state, (one, other)
        for feature in FEATURES[one.modality] if one.state is State.MEASURED else ():
            assert one.features[feature] == pytest.approx(other.features[feature], abs=0.02)


def test_another_program_reads_the_geophones(tmp_path: Path) -> None:
    random = np.random.default_rng(13)
    recorded = record(draw_truth(random, 0), 12.0, random)
    path = bundle.write(tmp_path, recorded, bundle.passage_id(BEGAN_NS, 1, 0), BEGAN_NS)
    stream = obspy.read(str(path / "vibration.mseed"))
    assert {trace.stats.location for trace in stream} == set(recorded.counts)
    for trace in stream:
        assert trace.stats.starttime.ns == BEGAN_NS
        assert np.array_equal(trace.data, recorded.counts[trace.stats.location])
    inventory = obspy.read_inventory(str(path / "vibration.xml"))
    told = inventory[0][0][0].response.instrument_sensitivity.value
    assert told == pytest.approx(recorded.truth.geophones.counts_per_m_s)


@pytest.mark.parametrize("which", INCIDENTS, ids=lambda which: which.name)
def test_an_incident_crosses_the_limit_and_its_first_look_is_within_ten_seconds_of_it(
    which: object, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    recorded = record(incident(which, random), 47.0, random)  # type: ignore[arg-type]
    path = bundle.write(tmp_path, recorded, bundle.passage_id(BEGAN_NS, 1, 0), BEGAN_NS)
    looks = assumed_looks(read(path), Policy())
    inside = [gas for gas in recorded.gas if gas.point == "inside"]
    over = [at for gas in inside for at, ppm in zip(gas.at_s.tolist(), gas.ppm, strict=True) if ppm >= LIMIT_PPM]
    alarms = [(look.until_utc_ns - BEGAN_NS) / 1e9 for _, look in looks if look.occasion.value == "life"]
    assert alarms and (not over or alarms[0] <= max(over[0], 0.0) + 10.0)


def test_beyond_draws_from_outside_every_range() -> None:
    stretched = Outside(np.random.default_rng(1), 0.2)
    values = np.array([stretched.uniform(2.0, 4.0) for _ in range(200)])
    assert np.all((values <= 2.0) | (values >= 4.0))
    assert values.min() >= 1.6 and values.max() <= 4.4
    assert record(draw_beyond(np.random.default_rng(2), 2, 1.0, 0.2), 12.0, np.random.default_rng(2)).counts


def test_the_command_says_what_it_made_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    words = ["make", "--cases", "4", "--out", str(tmp_path), "--seed", "8", "--seconds", "12", "--workers", "1",
             "--scanned", "0"]  # fmt: skip
    first = CliRunner().invoke(main, words)
    assert first.exit_code == 0, first.output
    names = sorted(path.name for path in tmp_path.iterdir() if path.is_dir())
    assert names == [name_of(order(tmp_path), index) for index in range(4)]
    before = digest(tmp_path)
    assert CliRunner().invoke(main, words).exit_code == 0
    assert digest(tmp_path) == before
    people = [json.loads((tmp_path / name / "outcome.json").read_text())["people"] for name in names]
    assert any(people) and not all(people)


def test_persons_and_places_that_train_do_not_examine(recordings: Path) -> None:
    train, test = (real.load(recordings, half, 100.0) for half in real.HALVES)
    assert train.hearts and test.hearts and train.ground and test.ground
    assert not set(train.hearts) & set(test.hearts)
    assert not {name.partition(":")[0] for name in train.ground} & {name.partition(":")[0] for name in test.ground}
    random = np.random.default_rng(5)
    borrowed = test.borrowed(20.0, random)
    truth = draw_truth(random, 1)
    lane = replace(truth, geophones=replace(truth.geophones, rate_hz=100.0))
    waves = record(lane, 12.0, np.random.default_rng(6), borrowed).counts
    made = record(lane, 12.0, np.random.default_rng(6)).counts
    both = waves.keys() & made.keys()  # which sensors a lane lost is drawn after its people
    assert both and all(not np.array_equal(waves[name], made[name]) for name in both)
