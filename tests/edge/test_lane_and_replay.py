from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from drivers.reading import ClockQuality, GasSample, Point, PresenceChange, Stamp, VibrationBlock
from edge import active_model
from edge.audit import LaneAudit, of_lane
from edge.config import AuditTable, LaneConfig, load
from edge.journal.journal import Journal, Row
from edge.lane import Lane
from edge.models.beside import beside as what_it_would_have_done
from edge.passage_record import Produced, open_record, recover
from edge.replay import Weighing, compared, replayed
from edge.shadow import Shadow
from edge.supervisor import DeviceHealth
from fusion.bundle.times import format_utc, parse_utc
from fusion.decision import Thresholds
from fusion.evidence.evidence import Evidence
from fusion.judge import gather
from fusion.passage import BodyType, Context, Passage
from fusion.policy import Policy
from fusion.verdict import Level
from hil.demo import station_xml
from hil.scenario import Scenario, play

BEGAN_NS = 1_770_000_000_000_000_000
CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)
RATE_HZ = 250.0
DEFAULTS = (BodyType.SOFT_SIDED, Context(shelter="shed", driver="out", engine="off", refrigeration="off"))


@dataclass
class Time:
    """A clock that is set by the test: readings carry the time."""

    at_s: float = 0.0

    def monotonic_ns(self) -> int:
        return round(self.at_s * 1e9)

    def utc_ns(self) -> int:
        return BEGAN_NS + self.monotonic_ns()


@dataclass
class Rig:
    """A lane without wires: what the queue would bring is handed over, what is announced is kept."""

    lane: Lane
    time: Time
    journal: Journal
    bundles: Path
    announced: list[Row] = field(default_factory=list)

    def stamp(self) -> Stamp:
        return Stamp(self.time.utc_ns(), self.time.utc_ns(), self.time.monotonic_ns(), CLOCK)

    def presence(self, present: bool) -> PresenceChange:
        return PresenceChange("gate", self.stamp(), present)

    def verdicts(self) -> list[dict[str, object]]:
        return [json.loads(row.body) for row in self.announced]


@pytest.fixture(scope="module")
def model() -> active_model.ActiveModel:
    return active_model.load(None)


@pytest.fixture
def config(tmp_path: Path) -> LaneConfig:
    (tmp_path / "vibration.xml").write_text(station_xml())
    (tmp_path / "lane.toml").write_text(
        '[lane]\nsite = "calais"\nname = "3"\n'
        '[devices.chassis]\ndriver = "vibration.seedlink"\naddress = "127.0.0.1:18000"\n'
        'streams = ["XX_L3:B1"]\nresponse = "vibration.xml"\n'
        '[devices.probe]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/null"\n'
    )
    return load(tmp_path / "lane.toml", {})


def rig_of(
    tmp_path: Path,
    config: LaneConfig,
    model: active_model.ActiveModel,
    audit: LaneAudit | None = None,
    shadow: active_model.ActiveModel | None = None,
) -> Rig:
    time, announced = Time(), list[Row]()
    journal = Journal.open(tmp_path / "journal.db", None)
    beside = Shadow(journal)
    beside.model = shadow
    bundles = tmp_path / "bundles"
    bundles.mkdir(exist_ok=True)
    produced = Produced("0.1.0", model, config.sha256)
    health = {
        name: DeviceHealth(name, "vibration", True, True, True, "ok", None, 0, 1, 0.0, None)
        for name in ("chassis", "probe")
    }

    async def publish(row: Row) -> None:
        announced.append(row)

    lane = Lane(
        journal,
        publish,
        lambda passage, body, context, clock: open_record(bundles, config, produced, passage, body, context, clock, {}),
        config.policy.looks_s,
        DEFAULTS,
        health=lambda: health,
        clock=lambda: CLOCK,
        now_utc_ns=time.utc_ns,
        monotonic_ns=time.monotonic_ns,
        audit=audit,
        shadow=beside,
    )
    return Rig(lane, time, journal, bundles, announced)


async def drive(
    rig: Rig,
    scenario: Scenario,
    seconds: float,
    until: Callable[[Rig], bool] = lambda _: False,
    air: Callable[[float], tuple[float, float | None]] | None = None,
    cargo: str | None = None,
) -> None:
    """Play a scenario's signals into the lane, half a second at a time; ``air``: second -> ppm, temperature inside."""
    signals = play(scenario, seconds + 1, RATE_HZ)
    await rig.lane.handle(GasSample("outside", rig.stamp(), Point.AMBIENT, signals.outside_ppm))
    await rig.lane.handle(rig.presence(True))
    if cargo is not None and rig.lane.in_hand is not None:
        await rig.lane.declare(rig.lane.in_hand.passage_id, {"cargo": cargo}, "test")
    chunk = round(RATE_HZ / 2)
    random = np.random.default_rng(1)
    for index in range(round(seconds * 2)):
        start_ns = BEGAN_NS + index * 500_000_000
        rig.time.at_s = (index + 1) / 2
        for sensor, counts in signals.counts.items():
            stamp = Stamp(start_ns, rig.time.utc_ns(), rig.time.monotonic_ns(), CLOCK)
            part = counts[index * chunk : (index + 1) * chunk].astype(np.float64)
            await rig.lane.handle(VibrationBlock("chassis", stamp, sensor, "DHZ", RATE_HZ, part, index))
        if index % 2 == 0:
            ppm, warm_c = (float(signals.inside_ppm[index // 2]), None) if air is None else air(rig.time.at_s)
            await rig.lane.handle(GasSample("probe", rig.stamp(), Point.INSIDE, ppm, temperature_c=warm_c))
            outside = float(signals.outside_ppm + random.normal())
            await rig.lane.handle(GasSample("outside", rig.stamp(), Point.AMBIENT, outside))
        await rig.lane.due()
        if until(rig):
            return


def scenario(people: int = 0, **change: object) -> Scenario:
    words = {"title": "test", "seed": 3, "body_type": "soft_sided", "mass_kg": 14_000, "people": people}
    return Scenario.model_validate(words | change)


def test_a_passage_leaves_verdicts_a_bundle_and_a_chain_that_agree(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)

    async def passage() -> None:
        await drive(rig, scenario(), 46.0)
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    verdicts = rig.verdicts()
    assert [verdict["revision"] for verdict in verdicts] == list(range(1, len(verdicts) + 1))
    assert [verdict["final"] for verdict in verdicts].count(True) == 1
    bundle = next(rig.bundles.iterdir())
    again = replayed(bundle, Weighing(model, Policy()))
    assert compared(again) == []
    assert [row.kind for row in rig.journal.rows()][-1] == "bundle"


def test_one_changed_byte_of_a_series_is_named(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)

    async def passage() -> None:
        await drive(rig, scenario(), 6.0)
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    bundle = next(rig.bundles.iterdir())
    series = bundle / "vibration.mseed"
    content = bytearray(series.read_bytes())
    content[700] ^= 1
    series.write_bytes(content)
    found = compared(replayed(bundle, Weighing(model, Policy())))
    assert len(found) == 1
    assert found[0].startswith("vibration.mseed:")


def test_a_lorry_that_leaves_early_gets_its_final_verdict_from_what_there_was(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)

    async def passage() -> None:
        await drive(rig, scenario(), 3.0)
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    (verdict,) = rig.verdicts()
    assert verdict["final"]
    assert verdict["level"] == "recheck"
    assert compared(replayed(next(rig.bundles.iterdir()), Weighing(model, Policy()))) == []


def test_dangerous_air_is_announced_at_once_and_replays(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)

    async def passage() -> None:
        await rig.lane.handle(rig.presence(True))
        rig.time.at_s = 1.0
        await rig.lane.handle(GasSample("probe", rig.stamp(), Point.INSIDE, 5_200.0))
        assert [verdict["level"] for verdict in rig.verdicts()] == ["open_now"]
        rig.time.at_s = 4.0
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    assert compared(replayed(next(rig.bundles.iterdir()), Weighing(model, Policy()))) == []


def test_a_passage_cut_by_a_kill_is_a_recheck_and_its_bundle_is_completed(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)
    asyncio.run(drive(rig, scenario(), 12.0, until=lambda rig: len(rig.announced) == 1))
    rig.journal.close()  # as a kill leaves it: nothing was finished
    with Journal.open(tmp_path / "journal.db", None) as journal:
        rows = list(recover(rig.bundles, journal, config, Produced("0.1.0", model, config.sha256)))
        assert [json.loads(row.body)["reasons"][0]["code"] for row in rows] == ["restarted"]
        assert json.loads(rows[0].body)["level"] == "recheck"
        assert list(recover(rig.bundles, journal, config, Produced("0.1.0", model, config.sha256))) == []
    (bundle,) = rig.bundles.iterdir()
    assert compared(replayed(bundle, Weighing(model, Policy()))) == []


def test_what_is_declared_counts_from_the_next_look_on_and_replays(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)

    async def passage() -> None:
        await drive(rig, scenario(), 6.0, until=lambda rig: len(rig.announced) == 1)
        in_hand = rig.lane.in_hand
        assert in_hand is not None
        await rig.lane.declare(in_hand.passage_id, {"engine": "on"}, "test")
        rig.time.at_s += 1.0
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    states = [verdict["evidence"][0]["state"] for verdict in rig.verdicts()]  # type: ignore[index]
    assert states[-1] == "out_of_limits"
    assert compared(replayed(next(rig.bundles.iterdir()), Weighing(model, Policy()))) == []


def drawing(probability: float, tell: str = "random_check", times: float = 5.0) -> LaneAudit:
    strata = [{"name": "all", "probability": probability}]
    table = AuditTable.model_validate({"tell": tell, "declared_times": times, "strata": strata})
    return of_lane(table, "Europe/Paris", bytes(range(32)))


async def empty_lorry(rig: Rig) -> None:
    await drive(rig, scenario(), 46.0, until=lambda rig: any(verdict["final"] for verdict in rig.verdicts()))
    await rig.lane.handle(rig.presence(False))


@pytest.mark.parametrize(("tell", "code"), [("random_check", "audit.random"), ("search", "policy.search")])
def test_a_vehicle_that_the_audit_draws_is_a_search_told_as_the_site_wants_it_and_replays(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel, tell: str, code: str
) -> None:
    rig = rig_of(tmp_path, config, model, drawing(1.0, tell))
    asyncio.run(empty_lorry(rig))
    last = rig.verdicts()[-1]
    assert (last["level"], last["final"]) == ("search", True)
    codes = [reason["code"] for reason in last["reasons"]]  # type: ignore[attr-defined]
    assert codes[0] == code
    assert "score.under" not in codes
    (row,) = rig.journal.rows(kind="audit")
    assert (row.document()["drawn"], row.document()["stratum"], row.document()["said"]) == (True, "all", code)
    assert row.sequence < rig.announced[-1].sequence
    bundle = next(rig.bundles.iterdir())
    assert compared(replayed(bundle, Weighing(model, Policy()))) == []
    told = (bundle / "passage.json").read_text() + (bundle / "verdicts.jsonl").read_text()
    assert str(row.document()["number"]) not in told
    assert "probability" not in told
    assert "stratum" not in told


def test_a_vehicle_that_is_not_drawn_is_journalled_with_its_probability_and_told_nothing(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model, drawing(0.0))
    asyncio.run(empty_lorry(rig))
    assert rig.verdicts()[-1]["level"] == "no_search"
    (row,) = rig.journal.rows(kind="audit")
    assert (row.document()["drawn"], row.document()["probability"], row.document()["said"]) == (False, 0.0, None)
    assert compared(replayed(next(rig.bundles.iterdir()), Weighing(model, Policy()))) == []


def test_a_declaration_that_lowers_suspicion_is_drawn_more_often(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model, drawing(0.01, times=30.0))

    async def passage() -> None:
        await drive(
            rig,
            scenario(),
            46.0,
            until=lambda rig: any(verdict["final"] for verdict in rig.verdicts()),
            cargo="produce",
        )
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    assert rig.verdicts()[-1]["level"] in ("no_search", "search")
    (row,) = rig.journal.rows(kind="audit")
    assert row.document()["declared_down"]
    assert (row.document()["stratum"], row.document()["probability"]) == ("all, declared", 0.3)


def strip(bundle: Path, keep: tuple[str, ...] = ()) -> None:
    """A bundle without its series, as one made elsewhere might be: nothing but what ``keep`` names."""
    for file in bundle.iterdir():
        if file.name not in ("passage.json", *keep):
            file.unlink()
    document = json.loads((bundle / "passage.json").read_text())
    for key in ("looks", "digests"):
        del document[key]
    (bundle / "passage.json").write_text(json.dumps(document))


@pytest.mark.parametrize("looks", [True, False], ids=["looks as taken", "looks assumed"])
def test_a_bundle_stripped_of_all_series_is_never_no_search(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel, looks: bool
) -> None:
    rig = rig_of(tmp_path, config, model)

    async def passage() -> None:
        await drive(rig, scenario(), 46.0)
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    bundle = next(rig.bundles.iterdir())
    if looks:
        for name in ("vibration.mseed", "vibration.xml", "co2.csv"):
            (bundle / name).unlink()
    else:
        strip(bundle)
    for verdict in replayed(bundle, Weighing(model, Policy())).verdicts:
        assert verdict.level is not Level.NO_SEARCH
        assert abs(verdict.prior_log10_odds + sum(p.log10_lr for p in verdict.evidence) - verdict.log10_odds) < 1e-9


def test_a_bundle_with_only_a_rising_probe_is_never_no_search(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)

    async def passage() -> None:
        await drive(rig, scenario(), 46.0)
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    bundle = next(rig.bundles.iterdir())
    strip(bundle)
    began = json.loads((bundle / "passage.json").read_text())["began_utc"]
    start_ns = parse_utc(began)
    rows = ["time_utc,probe,point,co2_ppm,temperature_c,humidity_pct,pressure_hpa,status"]
    for second in range(46):
        at = format_utc(start_ns + second * 1_000_000_000)
        rows.append(f"{at},outside,ambient,{430 + second % 3},,,,ok")
        rows.append(f"{at},probe,inside,{400.0 + 0.9 * second},,,,ok")
    (bundle / "co2.csv").write_text("\n".join(rows) + "\n")
    for verdict in replayed(bundle, Weighing(model, Policy())).verdicts:
        assert verdict.level is not Level.NO_SEARCH
        assert verdict.evidence[1].log10_lr >= 0.0


def test_a_load_of_produce_that_agrees_is_asked_again_and_says_nothing(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)
    below, above = 4_900.0, 5_200.0

    def air(second: float) -> tuple[float, float | None]:  # over the limit only once the vehicle has been measured
        return (below if second < 25.0 else above) + second % 3, 6.0

    async def passage() -> None:
        await drive(rig, scenario(body_type="refrigerated"), 34.0, air=air, cargo="produce")
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    levels = [verdict["level"] for verdict in rig.verdicts()]
    assert levels
    assert "open_now" not in levels
    assert compared(replayed(next(rig.bundles.iterdir()), Weighing(model, Policy()))) == []


def test_a_load_of_produce_that_nothing_speaks_for_opens_once(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    rig = rig_of(tmp_path, config, model)

    async def passage() -> None:
        await rig.lane.handle(rig.presence(True))
        in_hand = rig.lane.in_hand
        assert in_hand is not None
        await rig.lane.declare(in_hand.passage_id, {"cargo": "produce"}, "test")
        for second in range(1, 5):
            rig.time.at_s = float(second)
            await rig.lane.handle(GasSample("probe", rig.stamp(), Point.INSIDE, 5_200.0 + second, temperature_c=6.0))
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())
    assert [verdict["level"] for verdict in rig.verdicts()].count("open_now") == 1
    assert compared(replayed(next(rig.bundles.iterdir()), Weighing(model, Policy()))) == []


class Doubtful:
    """Stands in for a model's bounds: searches whatever speaks at all."""

    def __call__(self, spoke: Sequence[str], look: int, alpha: float, delta: float, pfa: float) -> Thresholds:
        return Thresholds(None, -9.0)


def whole_passage(rig: Rig) -> None:
    async def passage() -> None:
        await drive(rig, scenario(), 46.0)
        await rig.lane.handle(rig.presence(False))

    asyncio.run(passage())


def without_names(verdict: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in verdict.items() if name not in ("passage_id", "issued_utc", "produced_by")}


def test_a_model_in_the_shadow_changes_nothing_that_anybody_hears(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel
) -> None:
    doubtful = replace(model, name="doubtful", sha256="d0", model=replace(model.model, bounds=Doubtful()))
    (tmp_path / "alone").mkdir()
    (tmp_path / "beside").mkdir()
    alone, beside = (
        rig_of(tmp_path / "alone", config, model),
        rig_of(tmp_path / "beside", config, model, None, doubtful),
    )
    whole_passage(alone)
    whole_passage(beside)
    assert [without_names(one) for one in alone.verdicts()] == [without_names(one) for one in beside.verdicts()]
    assert {row.kind for row in beside.announced} == {"verdict"}
    bundle = next(beside.bundles.iterdir())
    assert compared(replayed(bundle, Weighing(model, Policy()))) == []

    rows = [row.document() for row in beside.journal.rows(1, 1000, "shadow")]
    assert [row["beside"]["sequence"] for row in rows] == [row.sequence for row in beside.announced]
    assert [row["revision"] for row in rows] == list(range(1, len(rows) + 1))
    assert {(row["model"], row["level"], row["final"]) for row in rows} == {("doubtful", "search", True)}
    assert {row["beside"]["level"] for row in rows} == {one["level"] for one in beside.verdicts()}
    assert alone.journal.rows(1, 1000, "shadow") == []
    found = what_it_would_have_done(beside.journal.path, "d0")
    last = str(beside.verdicts()[-1]["level"])
    assert (found.passages, found.levels[last]["search"]) == (1, 1)


def test_a_model_in_the_shadow_that_breaks_costs_the_lane_nothing_and_is_said_once(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Doubtful):
        def __call__(self, spoke: Sequence[str], look: int, alpha: float, delta: float, pfa: float) -> Thresholds:
            raise ZeroDivisionError("of the shadow")

    broken = replace(model, name="broken", model=replace(model.model, bounds=Broken()))
    rig = rig_of(tmp_path, config, model, None, broken)
    whole_passage(rig)
    assert [verdict["final"] for verdict in rig.verdicts()].count(True) == 1
    assert [line for line in caplog.messages if "ZeroDivisionError" in line] == [
        "the model in the shadow gave nothing: broken: ZeroDivisionError: of the shadow; the lane goes on without it"
    ]
    assert rig.journal.rows(1, 1000, "shadow") == []


def test_evidence_is_gathered_once_for_both_models(
    tmp_path: Path, config: LaneConfig, model: active_model.ActiveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(passage: Passage, until_utc_ns: int) -> tuple[Evidence, ...]:
        asked.append(until_utc_ns)
        return gather(passage, until_utc_ns)

    monkeypatch.setattr("edge.lane.gather", counted)
    monkeypatch.setattr("fusion.judge.gather", counted)
    rig = rig_of(tmp_path, config, model, None, replace(model, name="same"))
    whole_passage(rig)
    assert len(asked) == len(rig.announced) == len(rig.journal.rows(1, 1000, "shadow"))
