"""Frames and radiographs through the lane: gathered, judged, late ones joined or kept, and replayed bit for bit."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.reading import ClockQuality, PresenceChange, Radiograph, RadiometricFrame, Stamp, WeatherSample
from drivers.xray.judging import Judge, Rules
from edge import active_model
from edge.config import LaneConfig, load
from edge.frame_plan import FramePlan
from edge.journal.journal import Journal, Row
from edge.lane import Lane
from edge.passage_record import Produced, open_record, recover
from edge.radiograph_desk import RadiographDesk, Scanner
from edge.reading_queue import ReadingQueue
from edge.replay import Weighing, compared, replayed
from edge.supervisor import DeviceHealth
from fusion.bundle.read import read
from fusion.bundle.taken import taken_look
from fusion.judge import gather
from fusion.passage import BodyType, Context
from fusion.policy import Policy
from fusion.verdict import State
from hil.devices.dicos_object import Scan, part10
from hil.world.radiometry import Drive, draw_side, draw_view, film

BEGAN_NS = 1_770_000_000_000_000_000  # 2026-02-02T02:40:00Z
CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)
LARGE = {"rows": 160, "columns": 400, "spacing_mm": "20\\20"}  # 3.2 m x 8 m: a load space
RATE_HZ = 10.0


@dataclass
class Rig:
    """A lane without wires, whose clock the test sets."""

    folder: Path
    config: LaneConfig
    model: active_model.ActiveModel
    rules: Rules = field(default_factory=Rules)
    at_s: float = 0.0
    announced: list[Row] = field(default_factory=list)
    scans: int = 0

    def __post_init__(self) -> None:
        self.spool, self.bundles = self.folder / "spool", self.folder / "bundles"
        self.spool.mkdir(exist_ok=True)
        self.bundles.mkdir(exist_ok=True)
        self.start()

    def start(self) -> list[Row]:
        """The lane's process begins, on what lies on disk."""
        self.journal = Journal.open(self.folder / "journal.db", None)
        produced = Produced("0.1.0", self.model, self.config.sha256)
        health = {
            name: DeviceHealth(name, "mmwave", True, True, True, "ok", None, 0, 1, 0.0, None) for name in ("imager",)
        }
        self.desk = RadiographDesk(
            self.journal, self.bundles, produced, {"scanner": Scanner(self.rules, self.spool)}, self.utc_ns
        )

        async def publish(row: Row) -> None:
            self.announced.append(row)

        self.lane = Lane(
            self.journal,
            publish,
            lambda passage, body, context, clock: open_record(
                self.bundles, self.config, produced, passage, body, context, clock, {}
            ),
            self.config.policy.looks_s,
            (BodyType.SOFT_SIDED, Context(shelter="shed", driver="out", engine="off", refrigeration="off")),
            health=lambda: health,
            clock=lambda: CLOCK,
            now_utc_ns=self.utc_ns,
            monotonic_ns=lambda: round(self.at_s * 1e9),
            radiographs=self.desk,
        )
        return [*recover(self.bundles, self.journal, self.config, produced), *self.desk.take_up()]

    def utc_ns(self) -> int:
        return BEGAN_NS + round(self.at_s * 1e9)

    def stamp(self) -> Stamp:
        return Stamp(self.utc_ns(), self.utc_ns(), round(self.at_s * 1e9), CLOCK)

    def scanned(self, **scan: Any) -> Radiograph:
        """A radiograph as its driver gives it, its object in the spool."""
        self.scans += 1
        moment = {"date": "20260202", "time": f"{24000 + round(self.at_s) // 60 * 100 + round(self.at_s) % 60:06d}"}
        path = self.spool / f"{self.utc_ns():020d}-{self.scans:032d}-{self.scans:032d}.dcs"
        path.write_bytes(part10(Scan(**{**LARGE, **moment, "seed": self.scans, **scan})))
        found = Judge("scanner", self.rules).read(path, self.stamp())
        assert found is not None
        return found

    async def come(self) -> str:
        await self.lane.handle(PresenceChange("gate", self.stamp(), True))
        in_hand = self.lane.in_hand
        assert in_hand is not None
        return in_hand.passage_id

    async def leave(self) -> None:
        await self.lane.handle(PresenceChange("gate", self.stamp(), False))

    async def pass_by(self, seconds: float = 6.0) -> str:
        """A vehicle that comes, is looked at, and leaves; the next second nobody is there."""
        passage_id = await self.come()
        self.at_s += seconds
        await self.lane.due()
        await self.leave()
        self.at_s += 1.0
        return passage_id

    def verdicts(self) -> list[dict[str, Any]]:
        return [json.loads(row.body) for row in self.announced]

    def again(self, passage_id: str) -> list[str]:
        """What a replay of the bundle finds different."""
        return compared(replayed(self.bundles / passage_id, Weighing(self.model, Policy())))


@pytest.fixture(scope="module")
def model() -> active_model.ActiveModel:
    return active_model.load(None)


def lane_of(tmp_path: Path) -> LaneConfig:
    (tmp_path / "lane.toml").write_text(
        '[lane]\nsite = "calais"\nname = "3"\n'
        '[devices.imager]\ndriver = "mmwave.gigevision"\naddress = "127.0.0.2"\nrows = 48\ncolumns = 64\n'
        'side = "left"\n'
        f'[devices.scanner]\ndriver = "xray.dicos"\nspool = "{tmp_path / "spool"}"\n'
        'senders = [{ ae_title = "SCANNER", address = "127.0.0.1" }]\n'
    )
    return load(tmp_path / "lane.toml", {})


@pytest.fixture
def rig(tmp_path: Path, model: active_model.ActiveModel) -> Rig:
    return Rig(tmp_path, lane_of(tmp_path), model)


async def roll_in(rig: Rig, seconds: float, seed: int = 5, people: int = 1) -> None:
    """Frames of a curtain-sider at the imager's rate, and looks when they are due."""
    random = np.random.default_rng(seed)
    side = replace(draw_side(random, "soft_sided", people), wet=0.0, sun_k=0.0, inside_k=283.0, air_k=282.0)
    moments = np.arange(0, seconds, 1 / RATE_HZ)
    pictures = film(side, draw_view(random), Drive(1.2, 5.0, 1), moments.tolist(), random).frames
    await rig.lane.handle(WeatherSample("mast", rig.stamp(), 1.0, temperature_c=9.0))
    began_s = rig.at_s
    for number, (at, picture) in enumerate(zip(moments, pictures, strict=True)):
        rig.at_s = began_s + float(at)
        await rig.lane.handle(RadiometricFrame("imager", rig.stamp(), picture, number, "left"))
        await rig.lane.due()


def test_frames_and_a_scan_in_the_lane_are_judged_kept_and_weigh_the_same_again(rig: Rig) -> None:
    async def passage() -> str:
        passage_id = await rig.come()
        await rig.lane.handle(rig.scanned(vehicle=passage_id))
        await roll_in(rig, 46.0)
        await rig.leave()
        return passage_id

    passage_id = asyncio.run(passage())
    passage, look = taken_look(read(rig.bundles / passage_id), 4)
    states = {part.modality: (part.state, part.cause) for part in gather(passage, look.until_utc_ns)}
    assert states["mmwave"] == (State.MEASURED, None)
    assert states["xray"] == (State.MEASURED, None)
    told = json.loads((rig.bundles / passage_id / "passage.json").read_text())
    assert 3 <= len(told["mmwave"]["frames_utc"]) <= 64
    assert told["mmwave"]["side"] == "left"
    assert told["xray"]["files"]["xray.dcs"]["joined_by"] == "the passage's id"
    assert told["xray"]["scans"] == 1
    assert "dose_usv" not in told["xray"]  # unknown is never 0
    assert rig.again(passage_id) == []


def test_a_scan_from_down_the_road_makes_a_new_revision_that_says_so(rig: Rig) -> None:
    async def lane() -> tuple[str, str]:
        passage_id = await rig.pass_by()
        other = await rig.pass_by()
        rig.at_s += 600.0
        await rig.lane.handle(rig.scanned(vehicle=passage_id, extra={"00408302:DS": "0.0001"}))
        return passage_id, other

    passage_id, other = asyncio.run(lane())
    mine = [verdict for verdict in rig.verdicts() if verdict["passage_id"] == passage_id]
    assert [verdict["revision"] for verdict in mine] == list(range(1, len(mine) + 1))
    assert mine[-1]["final"]
    assert mine[-1]["reasons"][0]["code"] == "late.xray"
    assert "passage's id" in mine[-1]["reasons"][0]["text"]
    assert mine[-1]["evidence"][3]["cause"] != "no radiograph"
    line = json.loads((rig.bundles / passage_id / "late.json").read_text())
    assert line["file"] == "xray.dcs"
    assert line["xray"]["dose_usv"] == pytest.approx(0.1)
    assert (rig.bundles / passage_id / "verdicts.jsonl").read_text().count("\n") == len(mine)
    assert rig.again(passage_id) == []
    assert rig.again(other) == []
    (joined,) = rig.journal.rows(kind="radiograph")
    assert joined.passage_id == passage_id
    assert rig.desk.document() == {"kept": []}


def test_a_scan_while_the_decided_vehicle_still_stands_there_is_late_too(rig: Rig) -> None:
    async def lane() -> str:
        passage_id = await rig.come()
        for at_s in (5.0, 10.0, 15.0, 30.0, 45.0):
            rig.at_s = at_s
            await rig.lane.due()
        assert rig.verdicts()[-1]["final"]
        await rig.lane.handle(rig.scanned(vehicle=passage_id))
        rig.at_s += 5.0
        await rig.leave()
        return passage_id

    passage_id = asyncio.run(lane())
    assert rig.verdicts()[-1]["reasons"][0]["code"] == "late.xray"
    assert not (rig.bundles / passage_id / "late.json").exists()
    assert rig.again(passage_id) == []


def test_a_plate_joins_its_own_passage_and_a_look_alike_is_a_persons_choice(rig: Rig) -> None:
    async def lane() -> tuple[str, str]:
        await rig.pass_by()
        passage_id = await rig.come()
        await rig.lane.declare(passage_id, {"plates": ("AB-012-CD",)}, "test")
        rig.at_s += 6.0
        await rig.leave()
        await rig.lane.handle(rig.scanned(vehicle="AB O12 CD"))
        assert len(rig.desk.document()["kept"]) == 1
        await rig.lane.handle(rig.scanned(vehicle="ab012cd"))
        return passage_id, rig.desk.document()["kept"][0]["object"]

    passage_id, kept = asyncio.run(lane())
    late = rig.verdicts()[-1]
    assert (late["passage_id"], late["reasons"][0]["text"].endswith("joined by plate")) == (passage_id, True)
    assert "a person must say" in rig.desk.document()["kept"][0]["cause"]
    asyncio.run(rig.lane.assign(kept, passage_id, "uid 7"))
    assert "a person (uid 7)" in rig.verdicts()[-1]["reasons"][0]["text"]
    assert rig.desk.document()["kept"] == []
    assert rig.again(passage_id) == []
    for row in rig.journal.rows():  # plates expire with their bundle
        assert "012" not in row.body or "AB" not in row.body.upper()


@pytest.mark.parametrize(
    ("scan", "cause"),
    [
        ({"vehicle": "unknown"}, "neither a passage nor a plate"),
        ({"vehicle": "XY99ZZZ"}, "plate is that of no passage"),
        ({"vehicle": "01JQ0F7Y3W8V5R2M9K4T6B1N0D"}, "none of this lane's last"),
        ({"vehicle": "unknown", "date": "20310101"}, "check the scanner's clock"),
        ({"vehicle": "unknown", "zone": None}, "neither a passage nor a plate"),
    ],
)
def test_what_fits_no_passage_is_kept_and_shown_and_never_guessed(rig: Rig, scan: dict[str, Any], cause: str) -> None:
    async def lane() -> None:
        await rig.pass_by()
        await rig.lane.handle(rig.scanned(**scan))
        await rig.lane.handle(rig.scanned(**{**scan, "vehicle": "unknown"}))

    asyncio.run(lane())
    kept = rig.desk.document()["kept"]
    assert len(kept) == 2
    assert cause in kept[0]["cause"]
    assert all("late" not in reason["code"] for verdict in rig.verdicts() for reason in verdict["reasons"])
    assert [row.passage_id for row in rig.journal.rows(kind="radiograph.kept")] == [None, None]


def test_a_scanner_that_stands_in_the_lane_joins_by_a_sure_time_alone(
    tmp_path: Path, model: active_model.ActiveModel
) -> None:
    rig = Rig(tmp_path, lane_of(tmp_path), model, Rules(in_lane=True))

    async def lane() -> str:
        passage_id = await rig.come()
        rig.at_s += 3.0
        await rig.lane.handle(rig.scanned())
        rig.at_s += 3.0
        await rig.leave()
        rig.at_s += 3.0
        await rig.lane.handle(rig.scanned())  # between two vehicles
        return passage_id

    passage_id = asyncio.run(lane())
    assert (rig.bundles / passage_id / "xray.dcs").is_file()
    assert not (rig.bundles / passage_id / "xray-2.dcs").exists()
    assert "no vehicle was on the lane" in rig.desk.document()["kept"][0]["cause"]
    assert rig.again(passage_id) == []


def test_an_object_that_cannot_be_read_makes_the_passage_say_faulty(
    tmp_path: Path, model: active_model.ActiveModel
) -> None:
    rig = Rig(tmp_path, lane_of(tmp_path), model, Rules(in_lane=True))

    async def lane() -> str:
        passage_id = await rig.come()
        path = rig.spool / "00000000000000000001-0-0.dcs"
        path.write_bytes(b"\xff\xd8\xff\xe0 no DICOM" * 20)
        found = Judge("scanner", rig.rules).read(path, rig.stamp())
        assert found is not None
        await rig.lane.handle(found)
        rig.at_s += 6.0
        await rig.lane.due()
        await rig.leave()
        return passage_id

    passage_id = asyncio.run(lane())
    xray = rig.verdicts()[-1]["evidence"][3]
    assert (xray["state"], "DICOM" in xray["cause"]) == ("faulty", True)
    assert rig.again(passage_id) == []


def test_a_scan_that_is_sent_again_is_one_scan_and_other_pixels_are_another(rig: Rig) -> None:
    async def lane() -> str:
        passage_id = await rig.pass_by()
        first = rig.scanned(vehicle=passage_id, seed=1)
        for radiograph in (first, first, rig.scanned(vehicle=passage_id, seed=1, time="024001"), first):
            await rig.lane.handle(radiograph)
        await rig.lane.handle(rig.scanned(vehicle=passage_id, seed=2))
        return passage_id

    passage_id = asyncio.run(lane())
    names = sorted(path.name for path in (rig.bundles / passage_id).glob("*.dcs"))
    late = [v for v in rig.verdicts() if v["reasons"][0]["code"] == "late.xray"]
    assert len(late) == len(names) == 3
    assert rig.again(passage_id) == []


@pytest.mark.parametrize("cut", ["before the verdict", "before its copy"])
def test_a_late_join_that_a_power_cut_broke_is_finished_by_the_next_start(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, cut: str
) -> None:
    passage_id = asyncio.run(rig.pass_by())
    before = len(rig.announced)

    def cut_off(*_: object) -> None:
        raise KeyboardInterrupt

    target = "edge.radiograph_desk.judge" if cut == "before the verdict" else "edge.radiograph_desk.late.set_verdicts"
    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(target, cut_off)
        list(rig.desk.join(rig.scanned(vehicle=passage_id), passage_id, "the passage's id"))
    assert len(rig.announced) == before
    rig.journal.close()
    rows = rig.start()
    assert len(rows) == (1 if cut == "before the verdict" else 0)
    assert (rig.bundles / passage_id / "verdicts.jsonl").read_text().count("\n") == before + 1
    assert rig.again(passage_id) == []


def test_a_scan_that_waits_outlives_a_restart_and_can_still_be_given_its_passage(rig: Rig) -> None:
    async def lane() -> str:
        passage_id = await rig.pass_by()
        await rig.lane.handle(rig.scanned(vehicle="unknown"))
        return passage_id

    passage_id = asyncio.run(lane())
    (kept,) = rig.desk.document()["kept"]
    rig.journal.close()
    rig.start()
    assert rig.desk.document()["kept"] == [kept]
    asyncio.run(rig.lane.assign(kept["object"], passage_id, "uid 7"))
    assert rig.again(passage_id) == []
    with pytest.raises(ValueError, match="no such radiograph"):
        asyncio.run(rig.lane.assign(kept["object"], passage_id, "uid 7"))


def test_a_scan_before_its_passage_joins_when_that_has_ended(rig: Rig) -> None:
    async def lane() -> str:
        await rig.lane.handle(rig.scanned(vehicle="AB 012 CD"))
        rig.at_s += 60.0
        passage_id = await rig.come()
        await rig.lane.declare(passage_id, {"plates": ("AB012CD",)}, "test")
        rig.at_s += 6.0
        await rig.leave()
        return passage_id

    passage_id = asyncio.run(lane())
    assert rig.verdicts()[-1]["passage_id"] == passage_id
    assert rig.desk.document()["kept"] == []
    assert rig.again(passage_id) == []


def test_the_frame_plan_bounds_an_imager_whatever_its_rate() -> None:
    still = np.zeros((4, 4), np.float32)
    for rate_hz in (2.0, 9.7, 25.0, 400.0):
        plan = FramePlan(1)
        taken = 0
        for number in range(round(rate_hz * 120)):
            at_ns = round(number / rate_hz * 1e9)
            frame = RadiometricFrame("imager", Stamp(at_ns, at_ns, at_ns, CLOCK), still, number, "left")
            taken += plan.takes(frame)
        assert taken <= 64
        assert taken >= 45


def test_the_queue_holds_few_images_and_many_small_readings() -> None:
    async def fill() -> tuple[int, int]:
        queue = ReadingQueue(100, 1_000_000)
        stamp = Stamp(0, 0, 0, CLOCK)
        images = 0
        while not queue.full():
            queue.put_nowait(RadiometricFrame("imager", stamp, np.zeros((256, 256), np.float32), images, "left"))
            images += 1
        while not queue.empty():
            queue.get_nowait()
        small = 0
        while not queue.full():
            queue.put_nowait(WeatherSample("mast", stamp, 1.0))
            small += 1
        return images, small

    assert asyncio.run(fill()) == (4, 100)
