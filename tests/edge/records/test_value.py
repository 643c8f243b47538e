"""What things cost, and what would be if: held against generated years whose truth is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from edge.cli.main import run
from edge.records import value
from edge.records.asked import ask
from edge.records.costs import Costs, CostsFault, load
from edge.records.local_time import zone
from edge.records.queueing import mean_wait_s
from edge.records.relations import Record
from edge.records.sections import Section
from fusion.evaluation.exact_share import Estimate
from hil.record_lake import write
from hil.record_lorries import SEARCH, Lorries, World, draw, weather

COSTS = Costs(currency="GBP", searcher_per_hour={"officer": 60.0}, search_each={"dog": 10.0}, lane_per_year=1000.0)
FILE = """\
currency = "GBP"
[searcher_per_hour]
officer = 60
[search_each]
dog = 10
"""


def section(record: Record, code: str) -> Section:
    asked = ask(record, zone("UTC"))
    return value.lanes(asked, COSTS) if code == "lanes" else getattr(value, code)(asked, value.Spent(asked, COSTS))


def year(folder: Path, seed: int, each_day: float = 40, world: World | None = None) -> Lorries:
    ((_site, _lane, found),) = write(folder, (("calais", "1"),), 200, each_day, seed, world, file_a_day=False)
    return found.of(~found.covert)


def test_money_is_minutes_times_wages_and_what_the_technique_took(tmp_path: Path) -> None:
    real = year(tmp_path, 1)
    searched = real.of(real.searched)
    spent = searched.minutes[searched.by == 0].sum() + 10 * (searched.technique == 1).sum()
    with Record(tmp_path) as record:
        table = value.searching(value.Spent(ask(record, zone("UTC")), COSTS), "technique", "")
    rows = {row[0]: row for row in table.rows}
    assert rows["all"][3] == pytest.approx(spent, abs=1)
    dog = searched.of(searched.technique == 1)
    assert rows["dog"][1:3] == (len(dog), int(dog.found.sum()))
    cost = rows["all"][5]
    assert isinstance(cost, Estimate) and cost.value == pytest.approx(spent / searched.found.sum(), rel=1e-3)
    assert any("No price is said for: co2, heartbeat, physical" in note for note in table.notes)


def test_a_moved_threshold_finds_what_it_says_as_often_as_it_says(tmp_path: Path) -> None:
    """Of five years and three moves downwards the truth lies in the interval as often as it should."""
    inside, tried = 0, 0
    for seed in range(5):
        real = year(tmp_path / str(seed), seed)
        with Record(tmp_path / str(seed)) as record:
            table = section(record, "threshold")
        total = real.log10_lr.sum(axis=1)
        limit = total[real.level == SEARCH].min()
        followed = real.searched[real.level >= SEARCH].mean()
        for row, shift in zip(table.rows[:3], (-0.5, -0.2, -0.1), strict=True):
            band = (total >= limit + shift) & (total < limit) & (real.level < SEARCH)
            truth = max(0.0, float(real.occupied[band].sum()) * followed - float(real.found[band].sum()))
            more = row[3]
            assert row[1] == band.sum() and isinstance(more, Estimate)
            inside += (more.low or 0) <= truth <= (more.high or 0)
            tried += 1
    assert stats.binomtest(inside, tried, 0.95, alternative="less").pvalue > 0.001


def test_a_raised_threshold_loses_what_was_found_there(tmp_path: Path) -> None:
    real = year(tmp_path, 3)
    with Record(tmp_path) as record:
        table = section(record, "threshold")
    total = real.log10_lr.sum(axis=1)
    limit = total[real.level == SEARCH].min()
    band = (total >= limit) & (total < limit + 0.2) & (real.level == SEARCH)
    row = table.rows[4]
    lost = row[3]
    assert row[1] == -band.sum() and isinstance(lost, Estimate)
    assert lost.value == -float(real.found[band].sum())
    assert (lost.low or 0) < lost.value < (lost.high or 0) <= 0


def test_one_lane_waits_as_long_as_pollaczek_and_khinchine_say() -> None:
    rate, service = np.array([0.01, 0.02]), 40.0
    expected = rate * service**2 * (1 + 0.25) / (2 * (1 - rate * service))
    assert mean_wait_s(rate, service, 0.25, 1) == pytest.approx(expected)


def test_erlang_is_that_of_the_tables() -> None:
    wait = mean_wait_s(np.array([2.0 / 100]), 100.0, 1.0, 3)[0]
    assert wait * (3 - 2.0) / 100 == pytest.approx(0.4444, abs=1e-4)  # Erlang C of 2 erlangs on 3 servers is 4/9


def test_the_wait_is_that_of_the_generated_queue(tmp_path: Path) -> None:
    world = replace(World(), day_to_day=0.05)
    real = year(tmp_path, 5, 700, world)
    with Record(tmp_path) as record:
        row = section(record, "lanes").rows[0]
    wait = row[2]
    assert row[1] == "1 (now)" and isinstance(wait, Estimate)
    assert wait.value == pytest.approx(real.waited_s.mean(), rel=0.1)


def test_more_lanes_wait_less_and_a_full_hour_is_named() -> None:
    rate = np.array([0.03])
    waits = [float(mean_wait_s(rate, 40.0, 0.1, lanes)[0]) for lanes in (1, 2, 3)]
    assert waits[0] > 200 > waits[1] > waits[2] > 0


def test_a_day_without_a_probe_loses_its_own_finds(tmp_path: Path) -> None:
    real = year(tmp_path, 6)
    with Record(tmp_path) as record:
        table = section(record, "modalities")
    total = real.log10_lr.sum(axis=1)
    limit = total[real.level == SEARCH].min()
    own = (real.level == SEARCH) & (total >= limit) & (total - real.log10_lr[:, 0] < limit) & real.found
    row = next(row for row in table.rows if row[0] == "vibration")
    assert row[1] == own.sum()
    lost = row[5]
    assert isinstance(lost, Estimate) and lost.value == pytest.approx(own.sum() / 200, rel=0.01)
    assert row[4] == Estimate(None, None, None) and any("vibration" in note for note in table.notes)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("currency = 'pounds'\nsearcher_per_hour = {}", "costs.toml:1: currency"),
        ("currency = 'GBP'\n[searcher_per_hour]\nofficr = 3", "costs.toml:3: searcher_per_hour.officr"),
        ("currency = 'GBP'\n[searcher_per_hour]\nofficer = -3", "greater than or equal to 0"),
        ("currency = 'GBP'\n[searcher_per_hour]\nofficer = nan", "costs.toml:3"),
        ("currency = 'GBP", "costs.toml"),
    ],
)
def test_wrong_costs_are_told_with_their_line(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "costs.toml").write_text(text)
    with pytest.raises(CostsFault, match=says.replace(".", "\\.")):
        load(tmp_path / "costs.toml")


def test_value_from_the_command_line_and_without_costs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    year(tmp_path / "lake", 8, 5)
    (tmp_path / "costs.toml").write_text(FILE)
    arguments = ("analyse", "value", "--lake", str(tmp_path / "lake"), "--json")
    assert run((*arguments, "--costs", str(tmp_path / "costs.toml"))) == 0
    codes = [section["code"] for section in json.loads(capfd.readouterr().out)["sections"]]
    assert codes == [f"value.{name}" for name in ("technique", "by", "shift", "modality", "threshold", "lanes")]
    assert run((*arguments, "--root", str(tmp_path / "nowhere"))) == 2
    assert "costs.toml" in capfd.readouterr().err


def test_the_generated_queue_is_one_at_a_time() -> None:
    random = np.random.default_rng(1)
    found = draw(random, weather(random, 3, World()), 900, World())
    assert (found.began_ns[1:] > found.ended_ns[:-1]).all() and found.waited_s.min() >= 0
