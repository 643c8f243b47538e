"""A tenth of gain error on a device moves the verdict; its calibration brings the reference verdict back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calibration.apply import response_setting
from calibration.procedures import co2, mmwave, vibration, xray
from calibration.procedures.procedure import Outcome
from calibration.procedures.signals import geophone
from calibration.raw import Raw
from calibration.store import Store
from drivers.reading import (
    ClockQuality,
    GasSample,
    Point,
    PresenceChange,
    Radiograph,
    RadiometricFrame,
    Reading,
    Stamp,
    VibrationBlock,
)
from drivers.xray.judging import Judge, Rules
from edge import active_model
from edge.calibrate.in_force import InForce
from edge.config import LaneConfig, load
from edge.journal.journal import Journal, Row
from edge.lane import Lane
from edge.passage_record import Produced, open_record
from edge.radiograph_desk import RadiographDesk, Scanner
from edge.replay import Weighing, compared, replayed
from edge.supervisor import DeviceHealth
from fusion.bundle.read import read
from fusion.bundle.taken import taken_look
from fusion.evidence.evidence import Evidence
from fusion.evidence.xray import FEATURES as XRAY_FEATURES
from fusion.judge import gather
from fusion.passage import BodyType, Context
from fusion.policy import Policy
from fusion.verdict import State
from hil.demo import VIEW, station_xml
from hil.devices.dicos_object import Scan, part10
from hil.scenario import FRAMES_HZ, SCAN_PIXEL_M, Scenario, Signals, play, radiograph, side_view
from hil.world import geophones
from hil.world.lorry import SENSORS
from hil.world.receivers import detuned

BEGAN_NS = 1_770_000_000_000_000_000  # 2026-02-02T02:40:00Z
CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)
ERROR = 1.1
RATE_HZ, SECONDS = 250.0, 16.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
DEVICES = {"chassis": "vibration", "probe": "co2", "outside": "co2", "imager": "mmwave", "scanner": "xray"}
DARK = 0.05  # share of full scale
SCENE = {"title": "one person", "seed": 52, "body_type": "soft_sided", "mass_kg": 14000, "people": 1,
         "sealed_for_s": 900, "radiograph": "here", "load_g_cm2": 12.0}  # fmt: skip


@dataclass(frozen=True)
class Scenery:
    """What happens, the same in every run."""

    signals: Signals
    film: Any
    scan: Path


@pytest.fixture(scope="module")
def scenery(tmp_path_factory: pytest.TempPathFactory) -> Scenery:
    scenario = Scenario.model_validate(SCENE)
    picture = tmp_path_factory.mktemp("scan") / "scan.npy"
    np.save(picture, radiograph(scenario))
    return Scenery(play(scenario, SECONDS + 1, RATE_HZ), side_view(scenario, SECONDS, VIEW), picture)


@pytest.fixture(scope="module")
def model() -> active_model.ActiveModel:
    return active_model.load(None)


@dataclass(frozen=True)
class Found:
    """A verdict, and the evidence of all four modalities, whatever the model makes of it."""

    verdict: dict[str, Any]
    evidence: Mapping[str, Evidence]

    def ratios(self) -> dict[str, float]:
        return {part["modality"]: part["log10_lr"] for part in self.verdict["evidence"]}

    def off(self, other: Found, modality: str) -> float:
        """Largest relative difference of a feature that is not small; infinite where the states differ."""
        mine, its = self.evidence[modality], other.evidence[modality]
        if mine.state != its.state:
            return float("inf")
        names = XRAY_FEATURES if modality == "xray" else mine.features  # beside them, the level of the open beam
        pairs = [(mine.features[name], its.features[name]) for name in names]
        return max((abs(a - b) / max(abs(a), abs(b), 0.1) for a, b in pairs), default=0.0)


def config_of(folder: Path) -> LaneConfig:
    folder.mkdir()
    (folder / "vibration.xml").write_text(station_xml())
    (folder / "lane.toml").write_text(
        '[lane]\nsite = "test"\nname = "1"\n'
        '[devices.chassis]\ndriver = "vibration.seedlink"\naddress = "127.0.0.1:18000"\n'
        'streams = ["XX_L3:B1"]\nresponse = "vibration.xml"\n'
        '[devices.probe]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/null"\n'
        '[devices.outside]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/zero"\npoint = "ambient"\n'
        f'[devices.imager]\ndriver = "mmwave.gigevision"\naddress = "127.0.0.2"\nrows = {VIEW.rows}\n'
        f'columns = {VIEW.columns}\nside = "left"\n'
        f'[devices.scanner]\ndriver = "xray.dicos"\nspool = "{folder / "spool"}"\n'
        'senders = [{ ae_title = "SCANNER", address = "127.0.0.1" }]\n'
    )
    (folder / "spool").mkdir()
    (folder / "bundles").mkdir()
    return load(folder / "lane.toml", {})


class Time:
    """A clock that the test sets."""

    at_s = 0.0

    def utc_ns(self) -> int:
        return BEGAN_NS + round(self.at_s * 1e9)

    def stamp(self) -> Stamp:
        return Stamp(self.utc_ns(), self.utc_ns(), round(self.at_s * 1e9), CLOCK)


def verdict_of(
    folder: Path,
    scenery: Scenery,
    model: active_model.ActiveModel,
    gains: Mapping[str, float],
    store: Store | None = None,
    dark: float = 0.0,
) -> Found:
    """What one passage gave, whose devices show ``gains`` times the truth."""
    config, time, announced = config_of(folder), Time(), list[Row]()
    force = InForce(store or Store(folder / "calibrations"), None, lambda: BEGAN_NS)

    async def publish(row: Row) -> None:
        announced.append(row)

    async def go() -> str:
        with Journal.open(folder / "journal.db", None) as journal:
            produced = Produced("0.1.0", model, config.sha256)
            desk = RadiographDesk(
                journal, folder / "bundles", produced, {"scanner": Scanner(Rules(), folder / "spool")}, time.utc_ns
            )
            health = {n: DeviceHealth(n, m, True, True, True, "ok", None, 0, 1, 0.0, None) for n, m in DEVICES.items()}
            lane = Lane(
                journal, publish,
                lambda *words: open_record(folder / "bundles", config, produced, *words, {}, force.calibrations),
                config.policy.looks_s,
                (BodyType.SOFT_SIDED, Context(shelter="shed", driver="out", engine="off", refrigeration="off")),
                health=lambda: health, clock=lambda: CLOCK, now_utc_ns=time.utc_ns,
                monotonic_ns=lambda: round(time.at_s * 1e9), radiographs=desk,
            )  # fmt: skip

            async def come(reading: Reading) -> None:
                await lane.handle(force.apply(reading))

            return await _drive(lane, come, time, scenery, gains, (folder, dark))

    passage_id = asyncio.run(go())
    assert compared(replayed(folder / "bundles" / passage_id, Weighing(model, Policy()))) == []
    contents = read(folder / "bundles" / passage_id)
    passage, look = taken_look(contents, len(contents.looks) - 1)
    evidence = {part.modality: part for part in gather(passage, look.until_utc_ns)}
    return Found(json.loads(announced[-1].body), evidence)


async def _drive(
    lane: Lane,
    come: Callable[[Reading], Any],
    time: Time,
    scenery: Scenery,
    gains: Mapping[str, float],
    scan: tuple[Path, float],
) -> str:
    signals, random = scenery.signals, np.random.default_rng(1)
    outside = gains.get("outside", 1.0)
    await come(GasSample("outside", time.stamp(), Point.AMBIENT, signals.outside_ppm * outside))
    await come(PresenceChange("gate", time.stamp(), True))
    assert lane.in_hand is not None
    passage_id, chunk = lane.in_hand.passage_id, round(RATE_HZ / 2)
    for index in range(round(SECONDS * 2)):
        start = Stamp(time.utc_ns(), time.utc_ns() + 500_000_000, round((time.at_s + 0.5) * 1e9), CLOCK)
        for at in range(round(FRAMES_HZ / 2)):
            frame = scenery.film[index * round(FRAMES_HZ / 2) + at] * np.float32(gains.get("imager", 1.0))
            await come(RadiometricFrame("imager", start, frame.astype(np.float32), index * 5 + at + 1, "left"))
        time.at_s += 0.5
        for sensor, counts in signals.counts.items():
            wave = np.rint(counts[index * chunk : (index + 1) * chunk] * gains.get("chassis", 1.0))
            await come(VibrationBlock("chassis", start, sensor, "DHZ", RATE_HZ, wave.astype(np.float64), index))
        if index % 2 == 0:
            inside = float(signals.inside_ppm[index // 2]) + random.normal(0, 0.3)
            await come(GasSample("probe", time.stamp(), Point.INSIDE, inside * gains.get("probe", 1.0)))
            air = (signals.outside_ppm + random.normal()) * outside
            await come(GasSample("outside", time.stamp(), Point.AMBIENT, float(air)))
        if index == 4:
            await come(_scanned(scenery, time, gains.get("scanner", 1.0), *scan, passage_id))
        await lane.due()
    await come(PresenceChange("gate", time.stamp(), False))
    return passage_id


def _scanned(scenery: Scenery, time: Time, gain: float, folder: Path, dark: float, vehicle: str) -> Radiograph:
    np.save(folder / "scan.npy", dark + np.load(scenery.scan) * gain)
    spacing = f"{SCAN_PIXEL_M * 1000:g}"
    scan = Scan(
        vehicle=vehicle,
        image=str(folder / "scan.npy"),
        spacing_mm=f"{spacing}\\{spacing}",
        date="20260202",
        time="024003",
    )
    path = folder / "spool" / f"{time.utc_ns():020d}-{'1':>032}-{'1':>032}.dcs"
    path.write_bytes(part10(scan))
    found = Judge("scanner", Rules()).read(path, time.stamp())
    assert found is not None
    return found


# --- each device calibrated by its own procedure, out of tune as it is -----------------------------------------------


def cert(value: float, unit: str, expanded: float) -> dict[str, Any]:
    return {"name": "reference", "value": value, "unit": unit, "expanded_uncertainty": expanded}


def _chassis(gain: float) -> Outcome:
    elements = {sensor: geophones.Element(gain=gain) for sensor in SENSORS}
    waves = geophones.releases(elements, 24, RATE_HZ, np.random.default_rng(5))
    sheet = response_setting(geophone(geophones.VOLTS_PER_M_S * geophones.COUNTS_PER_VOLT, 4.5, 0.7))
    given = {
        "current": cert(geophones.CURRENT_A, "A", 1e-3 * geophones.CURRENT_A),
        "moving_mass": cert(geophones.MASS_KG, "kg", 2e-3 * geophones.MASS_KG),
        "digitizer": cert(geophones.COUNTS_PER_VOLT, "counts/V", 1e-3 * geophones.COUNTS_PER_VOLT),
    }
    told = {
        "rates_hz": dict.fromkeys(elements, RATE_HZ),
        "responses": dict.fromkeys(elements, sheet),
        "references": given,
    }
    return vibration.step(Raw({f"release/{sensor}": wave for sensor, wave in waves.items()}, told))


def _gas(gain: float) -> Outcome:
    random, t = np.random.default_rng(6), np.arange(0.0, 60.0, 0.5)
    levels = {"zero": 0.5, "span": 2000.0, "check": 2000.0}
    arrays = {f"{step}/ppm": gain * (ppm + random.normal(0, 0.5, len(t))) for step, ppm in levels.items()}
    given = {"zero": cert(0.5, "ppm", 0.5), "span": cert(2000.0, "ppm", 10.0)}
    return co2.two_point(Raw(arrays | {f"{step}/t_s": t for step in levels}, {"references": given}))


def _imager(gain: float) -> Outcome:
    receivers, random = detuned(VIEW.rows, VIEW.columns, {"gain": 1 / gain}), np.random.default_rng(7)
    scenes = {"ambient": 290.0, "hot": 335.0, "again": 290.0}
    whole = np.ones((VIEW.rows, VIEW.columns))
    arrays = {f"{n}/frames": np.stack([receivers.shown(k * whole, 0.0, random) for _ in range(48)])
              for n, k in scenes.items()}  # fmt: skip
    given = {"ambient": cert(290.0, "K", 0.2), "hot": cert(335.0, "K", 0.2)}
    return mmwave.two_point(Raw(arrays, {"references": given}))


def _scanner(gain: float) -> Outcome:
    picture, random = radiograph(Scenario.model_validate(SCENE)), np.random.default_rng(8)
    rows = len(picture)
    dark = xray.dark(Raw({f"dark/image-{n}": DARK + random.normal(0, 1e-4, (rows, 64)) for n in range(2)}))
    level = DARK + gain * float(np.median(picture[:, :20]))
    arrays = {f"air/image-{n}": level + random.normal(0, 1e-3, (rows, 64)) for n in range(2)}
    air = xray.air(Raw(arrays, {"known": dark.settings}))
    return Outcome(air.results, (*dark.checks, *air.checks), {**dark.settings, **air.settings})


CALIBRATE = {"chassis": _chassis, "probe": _gas, "outside": _gas, "imager": _imager, "scanner": _scanner}


def calibrated(folder: Path, gains: Mapping[str, float]) -> Store:
    store, until = Store(folder), "2030-01-01T00:00:00.000Z"
    for name, gain in gains.items():
        outcome = CALIBRATE[name](gain)
        assert outcome.passed, [check.text() for check in outcome.checks if not check.passed]
        codes = {"channel": "DHZ"}
        settings = {k: {**v, **codes} if k.startswith("response.") else v for k, v in outcome.settings.items()}
        store.append(
            {
                "device": {"name": name, "modality": DEVICES[name], "driver": "test"}, "procedure": "test",
                "procedure_version": 1, "performed_utc": "2026-01-01T00:00:00.000Z", "valid_until_utc": until,
                "operator": "uid 1", "verdict": "pass", "activates": True,
                "settings": {k: {"value": v, "valid_until_utc": until} for k, v in settings.items()},
            },
            None, KEY,
        )  # fmt: skip
    return store


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, scenery: Scenery, model: active_model.ActiveModel) -> Found:
    found = verdict_of(tmp_path_factory.mktemp("reference") / "lane", scenery, model, {})
    assert {part.state for part in found.evidence.values()} == {State.MEASURED}
    return found


@pytest.mark.parametrize("device", [name for name in DEVICES if name != "scanner"])
def test_one_device_out_of_tune_changes_its_evidence_and_is_brought_back(
    device: str, tmp_path: Path, scenery: Scenery, model: active_model.ActiveModel, reference: Found
) -> None:
    gains = {device: ERROR}
    off = verdict_of(tmp_path / "off", scenery, model, gains)
    assert reference.off(off, DEVICES[device]) > 0.05
    back = verdict_of(tmp_path / "back", scenery, model, gains, calibrated(tmp_path / "records", gains))
    assert reference.off(back, DEVICES[device]) < 0.01
    assert set(back.verdict["produced_by"]["calibrations"]) == {device, "chassis"}  # the chassis has its StationXML


def test_a_scanners_gain_is_in_each_picture_and_its_dark_is_not(
    tmp_path: Path, scenery: Scenery, model: active_model.ActiveModel, reference: Found
) -> None:
    gain = {"scanner": 1 / ERROR}
    assert reference.off(verdict_of(tmp_path / "gain", scenery, model, gain), "xray") < 0.01  # air is its own reference
    off = verdict_of(tmp_path / "off", scenery, model, gain, dark=DARK)
    assert reference.off(off, "xray") > 0.02
    records = calibrated(tmp_path / "records", gain)
    back = verdict_of(tmp_path / "back", scenery, model, gain, records, dark=DARK)
    assert reference.off(back, "xray") < 0.01, (reference.evidence["xray"].features, back.evidence["xray"].features)


def test_all_devices_out_of_tune_change_the_verdict_and_are_brought_back(
    tmp_path: Path, scenery: Scenery, model: active_model.ActiveModel, reference: Found
) -> None:
    gains = {name: (1 / ERROR if name == "scanner" else ERROR) for name in DEVICES}
    off = verdict_of(tmp_path / "off", scenery, model, gains, dark=DARK)
    assert max(abs(off.ratios()[name] - reference.ratios()[name]) for name in off.ratios()) > 0.02
    back = verdict_of(tmp_path / "back", scenery, model, gains, calibrated(tmp_path / "records", gains), dark=DARK)
    assert back.verdict["level"] == reference.verdict["level"]
    assert back.ratios() == pytest.approx(reference.ratios(), abs=0.005)
    assert sorted(back.verdict["produced_by"]["calibrations"]) == sorted(DEVICES)
