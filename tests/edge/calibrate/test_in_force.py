"""Calibrations in force on a running lane: applied, kept in the bundle, replayed, and grown old."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calibration.apply import response_setting
from calibration.procedures.signals import geophone
from calibration.record import utc_text
from calibration.stationxml import read_stationxml
from calibration.store import Store
from drivers.reading import (
    ClockQuality,
    GasSample,
    Point,
    PresenceChange,
    RadiometricFrame,
    Reading,
    Stamp,
    VibrationBlock,
)
from edge import active_model
from edge.calibrate.in_force import InForce, stationxml
from edge.config import LaneConfig, load
from edge.journal.journal import Journal, Row
from edge.lane import Lane
from edge.passage_record import Produced, open_record
from edge.replay import Weighing, compared, replayed
from edge.supervisor import DeviceHealth
from fusion.bundle.read import read
from fusion.passage import BodyType, Context
from fusion.policy import Policy
from hil.demo import station_xml

NOW_NS = 1_770_000_000_000_000_000
DAY_NS = 86_400 * 10**9
CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)
STAMP = Stamp(NOW_NS, NOW_NS, 0, CLOCK)
KEY = Ed25519PrivateKey.generate()


def put(store: Store, device: str, modality: str, settings: dict[str, Any], days: float = 100.0) -> str:
    """A record in force until ``days`` from now; its id."""
    until = utc_text(NOW_NS + round(days * DAY_NS))
    draft = {
        "device": {"name": device, "modality": modality, "driver": modality}, "procedure": "test",
        "procedure_version": 1, "performed_utc": utc_text(NOW_NS), "valid_until_utc": until, "operator": "uid 1",
        "verdict": "pass", "activates": True,
        "settings": {name: {"value": value, "valid_until_utc": until} for name, value in settings.items()},
    }  # fmt: skip
    return store.append(draft, None, KEY).id


def gas(ppm: float) -> GasSample:
    return GasSample("probe", STAMP, Point.INSIDE, ppm)


def health(modality: str = "co2") -> DeviceHealth:
    return DeviceHealth("probe", modality, True, True, True, "ok", None, 0, 1, 0.0, None)


def in_force(store: Store, grace_days: float | None = None, now_ns: int = NOW_NS) -> InForce:
    return InForce(store, grace_days, lambda: now_ns)


def test_a_new_record_is_taken_up_and_a_rolled_back_one_too(tmp_path: Path) -> None:
    store = Store(tmp_path)
    lane = in_force(store)
    assert lane.apply(gas(1000.0)) == gas(1000.0)
    put(store, "probe", "co2", {"scale": {"gain": 0.9, "offset_ppm": 5.0}})
    lane.refresh()
    found = lane.apply(gas(1000.0))
    assert isinstance(found, GasSample)
    assert found.co2_ppm == pytest.approx(905.0)


def test_a_reading_that_does_not_fit_its_calibration_is_a_fault_and_no_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    put(store, "eye", "mmwave", {"channels": {"gain": [1.0] * 4, "offset_k": [0.0] * 4}})
    put(store, "probe", "co2", {"scale": {"offset_ppm": 3.0}})
    lane = in_force(store)
    found = lane.apply(RadiometricFrame("eye", STAMP, np.full((3, 5), 280.0, np.float32), 1, "left"))
    assert "calibration of 4 channels" in getattr(found, "status", "")
    sample = lane.apply(gas(400.0))
    assert isinstance(sample, GasSample)
    assert (sample.co2_ppm, sample.status[:6]) == (None, "faulty")
    lane.apply(gas(400.0))
    assert len([one for one in caplog.records if "does not fit" in one.message]) == 2  # once a device


@pytest.mark.parametrize(
    ("expired_days", "grace_days", "state", "said"),
    [(-1, 0.0, "ok", None), (3, None, "ok", "expired 3"), (3, 7.0, "ok", "expired 3"),
     (3, 0.0, "faulty: calibration expired", "expired 3"), (8, 7.0, "faulty: calibration expired", "expired 8")],
)  # fmt: skip
def test_an_expired_calibration_warns_and_is_then_faulty_by_the_sites_rule(
    tmp_path: Path, expired_days: float, grace_days: float | None, state: str, said: str | None
) -> None:
    store = Store(tmp_path)
    put(store, "probe", "co2", {"scale": {"gain": 1.0, "offset_ppm": 0.0}}, days=-expired_days)
    found = in_force(store, grace_days).judged(health())
    assert found.state == state
    assert (found.cause is None) if said is None else (said in str(found.cause))


def test_records_that_nobody_can_read_make_the_measuring_devices_faulty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = Store(tmp_path)
    put(store, "probe", "co2", {"scale": {"gain": 1.0, "offset_ppm": 0.0}})
    good = in_force(store)
    path = store.path(1)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"gain":1.0', b'"gain":1.5'))
    lane = in_force(store)
    lane.refresh()
    assert lane.judged(health()).state == "ok"  # the first entry hangs on nothing: `journal verify` finds it
    path.write_bytes(b"{")
    lane = in_force(store)
    with caplog.at_level(logging.ERROR):
        lane.refresh()
        lane.refresh()
    assert lane.judged(health()).state.startswith("faulty: its calibration cannot be read")
    assert lane.judged(health("presence")).state == "ok"
    assert len({one.message for one in caplog.records if "calibrations:" in one.message}) == 1
    put_again = good.apply(gas(500.0))
    assert isinstance(put_again, GasSample)
    assert put_again.co2_ppm == 500.0  # a lane that had read them goes on with those


def test_the_passages_stationxml_is_the_sheet_with_the_calibrations_over_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    value = {**response_setting(geophone(2e9, 4.7, 0.6)), "channel": "DHZ"}
    put(store, "chassis", "vibration", {"response.B1": value})
    made = stationxml(in_force(store).calibrations, {"chassis": station_xml().encode()}, "2026-01-01T00:00:00Z")
    assert made is not None
    found = read_stationxml(made)
    sheet = read_stationxml(station_xml().encode())
    assert found["B1", "DHZ"].sensitivity_counts_per_m_s == pytest.approx(value["sensitivity_counts_per_m_s"])  # type: ignore[union-attr]
    assert {name: one for name, one in found.items() if name[0] != "B1"} == {
        name: one for name, one in sheet.items() if name[0] != "B1"
    }


@pytest.fixture
def config(tmp_path: Path) -> LaneConfig:
    (tmp_path / "vibration.xml").write_text(station_xml())
    (tmp_path / "lane.toml").write_text(
        '[lane]\nsite = "calais"\nname = "3"\n[calibration]\ngrace_days = 7\n'
        '[devices.chassis]\ndriver = "vibration.seedlink"\naddress = "127.0.0.1:18000"\n'
        'streams = ["XX_L3:B1", "XX_L3:B2"]\nresponse = "vibration.xml"\n'
        '[devices.probe]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/null"\n'
    )
    return load(tmp_path / "lane.toml", {})


def test_a_passage_is_measured_in_si_names_its_records_and_replays(tmp_path: Path, config: LaneConfig) -> None:
    assert config.calibration.grace_days == 7
    store = Store(tmp_path / "calibrations")
    scale = put(store, "probe", "co2", {"scale": {"gain": 2.0, "offset_ppm": -100.0}})
    response = {**response_setting(geophone(1e9, 4.5, 0.7)), "channel": "DHZ"}
    swap = put(store, "chassis", "vibration", {"channels": {"B1": "B2", "B2": "B1"}, "response.B1": response})
    lane_force = in_force(store)
    model = active_model.load(None)
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    announced: list[Row] = []
    at_s = 0.0

    async def publish(row: Row) -> None:
        announced.append(row)

    def stamp() -> Stamp:
        return Stamp(NOW_NS + round(at_s * 1e9), NOW_NS + round(at_s * 1e9), round(at_s * 1e9), CLOCK)

    async def go() -> None:
        nonlocal at_s
        with Journal.open(tmp_path / "journal.db", None) as journal:
            lane = Lane(
                journal,
                publish,
                lambda *words: open_record(
                    bundles, config, Produced("0.1.0", model, config.sha256), *words, {}, lane_force.calibrations
                ),
                (5.0, 10.0),
                (BodyType.SOFT_SIDED, Context()),
                health=dict,
                clock=lambda: CLOCK,
                now_utc_ns=lambda: NOW_NS + round(at_s * 1e9),
                monotonic_ns=lambda: round(at_s * 1e9),
            )

            async def come(reading: Reading) -> None:
                await lane.handle(lane_force.apply(reading))

            await come(PresenceChange("gate", stamp(), True))
            for index in range(24):
                noise = np.random.default_rng(index).integers(-900, 900, 125).astype(np.float64)
                await come(VibrationBlock("chassis", stamp(), "B1", "DHZ", 250.0, noise, index))
                await come(GasSample("probe", stamp(), Point.INSIDE, 300.0 + index))
                at_s += 0.5
                await lane.due()
            await come(PresenceChange("gate", stamp(), False))

    asyncio.run(go())
    bundle = next(bundles.iterdir())
    said = json.loads((bundle / "passage.json").read_bytes())
    assert {one["name"]: one["calibration_id"] for one in said["devices"]} == {"chassis": swap, "probe": scale}
    assert json.loads(announced[-1].body)["produced_by"]["calibrations"] == {"chassis": swap, "probe": scale}
    assert sorted(path.stem for path in (bundle / "calibrations").iterdir()) == sorted((scale, swap))
    assert (bundle / "calibrations" / f"{scale}.json").read_bytes() == store.active()["probe"].content
    contents = read(bundle)
    assert {piece.sensor for piece in contents.pieces} == {"B2"}
    assert contents.gas[0].reading.co2_ppm == pytest.approx(500.0)
    assert contents.responses["B1", "DHZ"].sensitivity_counts_per_m_s == pytest.approx(
        response["sensitivity_counts_per_m_s"]
    )
    assert compared(replayed(bundle, Weighing(model, Policy()))) == []
