"""A lane's state folder with real passages: a real lane, a real journal, real bundles; only the wires are missing."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from drivers.reading import ClockQuality, GasSample, Point, PresenceChange, Stamp, VibrationBlock
from edge import active_model, keys
from edge.config import load
from edge.journal.journal import Journal, Row
from edge.lane import RECORD_AGAIN_S, Lane
from edge.passage_record import Produced, open_record
from edge.places import Places
from edge.records.outcome import CHECKS, press_of
from edge.records.outcome_book import OutcomeBook
from edge.supervisor import DeviceHealth
from fusion.passage import BodyType, Context

BEGAN_NS = 1_770_000_000_000_000_000
CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)
LANE = (
    '[lane]\nsite = "calais"\nname = "3"\n[policy]\nlooks_s = [5]\n'
    '[devices.chassis]\ndriver = "vibration.seedlink"\naddress = "127.0.0.1:18000"\nstreams = ["XX_L3:B1"]\n'
    '[devices.probe]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/null"\n'
)


@dataclass
class Clock:
    """Set by the test: readings carry the time."""

    at_s: float = 0.0

    def monotonic_ns(self) -> int:
        return round(self.at_s * 1e9)

    def utc_ns(self) -> int:
        return BEGAN_NS + self.monotonic_ns()


@functools.cache
def _model() -> active_model.ActiveModel:
    return active_model.load(None)


def build(
    root: Path,
    passages: int = 3,
    told: Callable[[Row], None] = lambda row: None,
    unrecorded: Callable[[int], None] = lambda number: None,
) -> list[str]:
    """Passages of eight seconds each under ``root``; their ids.

    ``told`` hears what is announced, ``unrecorded`` each passage after which the lane says that it cannot record.
    """
    places = Places.under(root)
    places.make()
    (root / "lane.toml").write_text(LANE)
    if not places.signing.exists():
        keys.new_signing(places.signing)
    with Journal.open(places.journal, keys.load_signing(places.signing), now_utc_ns=lambda: clock.utc_ns()) as journal:
        clock = Clock()
        for number in range(passages):
            if not asyncio.run(passage(root, journal, clock, number, told)):
                unrecorded(number)
            clock.at_s += 60.0
        return [str(row.passage_id) for row in journal.rows(1, 1000, "bundle")]


async def passage(root: Path, journal: Journal, clock: Clock, number: int, told: Callable[[Row], None]) -> bool:
    config, places = load(root / "lane.toml", {}), Places.under(root)
    model = _model()
    produced = Produced("0.1.0", model, config.sha256)
    health = {
        name: DeviceHealth(name, "vibration", True, True, True, "ok", None, 0, 1, 0.0, None)
        for name in ("chassis", "probe")
    }

    async def publish(row: Row) -> None:
        told(row)

    book = OutcomeBook(journal, places.bundles, clock.utc_ns)
    lane = Lane(
        journal,
        publish,
        lambda passage, body, context, q: open_record(places.bundles, config, produced, passage, body, context, q, {}),
        config.policy.looks_s,
        (BodyType.SOFT_SIDED, Context(shelter="shed", driver="out", engine="off")),
        health=lambda: health,
        clock=lambda: CLOCK,
        now_utc_ns=clock.utc_ns,
        monotonic_ns=clock.monotonic_ns,
        random_bytes=lambda count: number.to_bytes(count, "big"),
        sealed=book.write_file,
    )
    counts = np.random.default_rng(number)

    def stamp() -> Stamp:
        return Stamp(clock.utc_ns(), clock.utc_ns(), clock.monotonic_ns(), CLOCK)

    await lane.handle(PresenceChange("gate", stamp(), True))
    for index in range(16):
        samples = np.rint(counts.normal(0, 1000, 125))
        await lane.handle(VibrationBlock("chassis", stamp(), "B1", "GHZ", 250.0, samples, index))
        await lane.handle(GasSample("probe", stamp(), Point.INSIDE, 450.0))
        clock.at_s += 0.5
        await lane.due()
    await lane.handle(PresenceChange("gate", stamp(), False))
    clock.at_s += RECORD_AGAIN_S  # a daemon ticks on
    await lane.due()
    return lane.recorded


def outcome(root: Path, passage_id: str, **words: object) -> int:
    """Record an outcome as an officer would; the row."""
    places = Places.under(root)
    found = {
        "searched": True,
        "technique": "physical",
        "found": True,
        "people": 2,
        "where": "between pallets, rear",
        "minutes": 11.0,
        "secured": dict.fromkeys(CHECKS, "ok") | {"curtain": "cut"},
        "seals": [{"number": "EU 4471 902", "state": "broken"}],
    } | words
    press = {"passage_id": passage_id, "key": f"key-{passage_id}", "outcome": found, "officer": "o17"}
    with Journal.open(places.journal, keys.load_signing(places.signing)) as journal:
        answer = OutcomeBook(journal, places.bundles, lambda: BEGAN_NS + 10**12).enter(press_of(press), "uid 0")
    return int(answer["record"]["sequence"])
