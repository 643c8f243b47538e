from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from drivers.reading import ClockQuality, Reading, VibrationBlock
from drivers.vibration import seedlink
from edge.quarantine import Quarantine
from edge.resume_notes import OLDEST_S, ResumeNotes
from edge.supervisor import Supervised
from hil.rig import Emulator, emulators

SENSORS = ("B1", "G1")
RATE_HZ = 250
DIGITISER = ("seedlink_server", "--station", "XX_L3", "--sensors", ",".join(SENSORS))


class Took(list[VibrationBlock]):
    """What the lane took; ``news`` is set with each."""

    def __init__(self) -> None:
        super().__init__()
        self.news = asyncio.Event()

    def take(self, reading: Reading) -> None:
        assert isinstance(reading, VibrationBlock)
        self.append(reading)
        self.news.set()

    def samples(self, sensor: str) -> Counter[int]:
        return Counter(int(count) for block in self if block.sensor == sensor for count in block.samples)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(30):
            while any(max(self.samples(sensor), default=-1) < count - 1 for sensor in SENSORS):
                self.news.clear()
                await self.news.wait()


class Digitiser:
    """Feeds an emulator with samples that count up, so that each sample is known by its value."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._began_ns = time.time_ns()
        self._fed = 0

    async def feed(self, samples: int = 500) -> int:
        """That many samples of each sensor; how many there are now."""
        start_ns = self._began_ns + self._fed * 10**9 // RATE_HZ
        counts = list(range(self._fed, self._fed + samples))
        for sensor in SENSORS:
            await self._emulator.tell({"sensor": sensor, "start_utc_ns": str(start_ns), "counts": counts})
        self._fed += samples
        return self._fed


@asynccontextmanager
async def a_run(notes: ResumeNotes, port: str, folder: Path, took: Took) -> AsyncIterator[None]:
    """A daemon's part in it: one device, a queue, and a lane that takes what the queue brings."""
    queue: asyncio.Queue[Reading] = asyncio.Queue(10)
    config = seedlink.Config(
        driver="vibration.seedlink", address=f"127.0.0.1:{port}", streams=tuple(f"XX_L3:{s}" for s in SENSORS)
    )
    device = Supervised(
        "chassis",
        seedlink,
        config,
        queue,
        Quarantine(folder),
        now_utc_ns=time.time_ns,
        monotonic_ns=time.monotonic_ns,
        clock=lambda: ClockQuality(False, None),
        notes=notes.of("chassis"),
    )

    async def lane() -> None:
        while True:
            took.take(await queue.get())
            if queue.empty():
                notes.settle()

    tasks = [asyncio.create_task(device.run()), asyncio.create_task(lane())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while not queue.empty():
            took.take(queue.get_nowait())


def test_after_a_restart_of_the_lane_nothing_of_a_stream_is_missing_nor_comes_twice(tmp_path: Path) -> None:
    took = Took()
    path = tmp_path / "notes.json"

    async def scenario() -> int:
        async with emulators(digitiser=DIGITISER) as rig:
            digitiser = Digitiser(rig["digitiser"])
            fed = 0
            for number in range(3):
                notes = ResumeNotes.load(path)
                async with a_run(notes, rig["digitiser"].place, tmp_path, took):
                    if number == 0:  # a stream without a note begins with what comes after it was asked for
                        while not took:
                            fed = await digitiser.feed(100)
                            await asyncio.sleep(0.05)
                    fed = await digitiser.feed()
                    await took.until(fed)
                notes.settle()
                notes.save()
                fed = await digitiser.feed()  # while nobody is there
            async with a_run(ResumeNotes.load(path), rig["digitiser"].place, tmp_path, took):
                await took.until(fed)
            return fed

    fed = asyncio.run(scenario())
    for sensor in SENSORS:
        found = took.samples(sensor)
        assert set(found.values()) == {1}
        assert sorted(found) == list(range(min(found), fed))


def test_a_killed_lane_asks_again_for_what_was_not_settled_and_misses_nothing(tmp_path: Path) -> None:
    took = Took()
    path = tmp_path / "notes.json"

    async def scenario() -> int:
        async with emulators(digitiser=DIGITISER) as rig:
            digitiser = Digitiser(rig["digitiser"])
            notes = ResumeNotes.load(path)
            async with a_run(notes, rig["digitiser"].place, tmp_path, took):
                while not took:
                    fed = await digitiser.feed(100)
                    await asyncio.sleep(0.05)
                await took.until(fed)
                notes.save()  # what comes after this is not on the disk when it is killed
                fed = await digitiser.feed()
                await took.until(fed)
            fed = await digitiser.feed()
            async with a_run(ResumeNotes.load(path), rig["digitiser"].place, tmp_path, took):
                await took.until(fed)
            return fed

    fed = asyncio.run(scenario())
    for sensor in SENSORS:
        found = took.samples(sensor)
        assert sorted(found) == list(range(min(found), fed))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"written_utc_ns": 1}', b'{"written_utc_ns": "x"}', b"[]"])
def test_notes_that_are_damaged_or_old_let_the_streams_begin_anew(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.json"
    path.write_bytes(content)
    assert ResumeNotes.load(path).of("chassis") == {}


def test_a_note_serves_for_a_minute_whichever_way_the_clock_was_set(tmp_path: Path) -> None:
    path, now_ns = tmp_path / "notes.json", 1_770_000_000_000_000_000
    notes = ResumeNotes.load(path, lambda: now_ns)
    notes.of("chassis")["XX_L3"] = "here"
    notes.settle()
    notes.save()
    beyond_ns = round((OLDEST_S + 1) * 1e9)
    assert ResumeNotes.load(path, lambda: now_ns + beyond_ns // 2).of("chassis") == {"XX_L3": "here"}
    assert ResumeNotes.load(path, lambda: now_ns + beyond_ns).of("chassis") == {}
    assert ResumeNotes.load(path, lambda: now_ns - beyond_ns).of("chassis") == {}


def test_a_note_that_is_not_settled_stays_off_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    notes = ResumeNotes.load(path)
    notes.of("chassis")["XX_L3"] = "taken"
    notes.settle()
    notes.of("chassis")["XX_L3"] = "still in the queue"
    notes.save()
    assert json.loads(path.read_text())["devices"] == {"chassis": {"XX_L3": "taken"}}


def test_a_disk_that_takes_nothing_is_said_once_and_the_old_notes_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "gone" / "notes.json"
    notes = ResumeNotes.load(path)
    for word in ("a", "b", "c"):
        notes.of("chassis")["XX_L3"] = word
        notes.settle()
        notes.save()
    assert len(caplog.records) == 1
    path.parent.mkdir()
    notes.save()
    assert ResumeNotes.load(path).of("chassis") == {"XX_L3": "c"}
