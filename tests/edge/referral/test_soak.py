"""RELIABILITY 11: a month of lorries on a clock of our own. Memory, descriptors, threads and tasks stay flat, retention
holds day by day, and the chain is whole at the end. `make soak` runs thirty days; the tests a few.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from edge import keys
from edge.journal.journal import Journal
from edge.journal.verify import verify
from edge.places import Places
from edge.retention.expire import expire, find
from edge.retention.rules import RetentionTable

from .lanes import LANE, Clock, passage

DAYS = int(os.environ.get("SOAK_DAYS", "4"))
EACH_DAY = int(os.environ.get("SOAK_EACH_DAY", "5"))
RULES = RetentionTable(plates_days=2, bundles_days=1, quarantine_days=1)
MOST_GROWTH_KIB = 8 * 1024  # assumed: over a month less than a tenth of what the lane takes
DAY_S = 86_400.0


@dataclass(frozen=True)
class Taken:
    """What the process has in hand."""

    resident_kib: int
    descriptors: int
    threads: int

    @classmethod
    def now(cls) -> Taken:
        gc.collect()
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return cls(
            pages * os.sysconf("SC_PAGE_SIZE") // 1024,
            len(list(Path("/proc/self/fd").iterdir())),
            threading.active_count(),
        )


def test_days_of_lorries_leave_nothing_behind_but_the_record(tmp_path: Path) -> None:
    places = Places.under(tmp_path)
    places.make()
    (tmp_path / "lane.toml").write_text(LANE)
    key = keys.new_signing(places.signing)
    clock, taken = Clock(), []
    with Journal.open(places.journal, key, now_utc_ns=clock.utc_ns) as journal:
        for day in range(DAYS):
            for number in range(EACH_DAY):
                asyncio.run(a_lorry(tmp_path, journal, clock, day * EACH_DAY + number))
                clock.at_s += DAY_S / EACH_DAY - 8.0
            expire(journal, places, RULES, find(places, RULES, clock.utc_ns()))
            assert len(list(places.bundles.iterdir())) <= EACH_DAY * RULES.bundles_days + 1, day
            left = journal._db.execute("SELECT count(*) FROM private").fetchone()[0]
            assert left <= EACH_DAY * RULES.plates_days + 1, day
            taken.append(Taken.now())
        rows = journal.rows(1, 1_000_000, "bundle")
    assert len(rows) == DAYS * EACH_DAY
    found = verify(places.journal, key.public_key())
    assert found.ok and found.deleted >= (DAYS - 3) * EACH_DAY, found
    half, last = taken[len(taken) // 2], taken[-1]
    print(f"{DAYS} days, {len(rows)} lorries: at half {half}, at the end {last}; {places.journal.stat().st_size} bytes")
    assert last.descriptors <= half.descriptors and last.threads <= half.threads
    assert last.resident_kib - half.resident_kib <= MOST_GROWTH_KIB
    assert not list(places.bundles.glob("*.partial"))


async def a_lorry(root: Path, journal: Journal, clock: Clock, number: int) -> None:
    before = len(asyncio.all_tasks())
    await passage(root, journal, clock, number, lambda row: None)
    assert len(asyncio.all_tasks()) == before
    journal.append("plates", _last(journal), {}, {"plates": [f"PLATE{number}"]})


def _last(journal: Journal) -> str | None:
    row = journal.last("bundle")
    return None if row is None else row.passage_id
