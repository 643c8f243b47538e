"""The process whose disk fails: forks a lane for each line on its input, and says what that lane told.

A line: ``<root> <what> <NAME=value …>``; ``what`` names a function here, the rest is for the preloaded library.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import lanes  # type: ignore[import-not-found]

from edge import keys
from edge.journal.journal import Journal, JournalFault
from edge.places import Places
from edge.retention.expire import expire, find
from edge.retention.rules import RetentionTable

LATER_NS = lanes.BEGAN_NS + 91 * 86_400 * 10**9


def passage(root: Path) -> None:
    lanes.build(root, 1, _told)
    _sealed(root)


def two(root: Path) -> None:
    """Two lorries in one process: what failed for the first may work again for the second."""
    lanes.build(root, 2, _told, lambda number: print("unrecorded", number, flush=True))
    os.environ.pop("FAIL_FROM", None)
    _sealed(root)


def careless(root: Path) -> None:
    """A lane that writes and never syncs its bundles: what the test must find."""
    os.fsync = lambda fd: None  # type: ignore[assignment]
    passage(root)


def slow(root: Path) -> None:
    """How often the event loop came round while a passage was recorded on a slow disk."""
    rounds = 0

    async def count() -> None:
        nonlocal rounds
        while True:
            await asyncio.sleep(0.01)
            rounds += 1

    async def both() -> None:
        counting = asyncio.create_task(count())
        with Journal.open(Places.under(root).journal, None) as journal:
            await lanes.passage(root, journal, lanes.Clock(), 0, _told)
        counting.cancel()

    places = Places.under(root)
    places.make()
    (root / "lane.toml").write_text(lanes.LANE)
    asyncio.run(both())
    print("rounds", rounds, flush=True)


def prune(root: Path) -> None:
    places = Places.under(root)
    with Journal.open(places.journal, keys.load_signing(places.signing), now_utc_ns=lambda: LATER_NS) as journal:
        done = expire(journal, places, RetentionTable(), find(places, RetentionTable(), LATER_NS))
        print("pruned", done.openings, done.bundles, flush=True)


def _told(row: object) -> None:
    print("told", row.sequence, flush=True)  # type: ignore[attr-defined]


def _sealed(root: Path) -> None:
    with Journal.open(Places.under(root).journal, None) as journal:
        for row in journal.rows(1, 100, "bundle"):
            print("sealed", row.passage_id, flush=True)


def main() -> None:
    for line in sys.stdin:
        root, what, *settings = line.split()
        child = os.fork()
        if child == 0:
            os.environ |= dict(setting.split("=", 1) for setting in settings)
            try:
                globals()[what](Path(root))
            except (JournalFault, OSError) as fault:
                print("fault", str(fault).replace("\n", " "), flush=True)
            except BaseException:
                traceback.print_exc()
                print("crash", flush=True)
                os._exit(1)
            os._exit(0)
        os.waitpid(child, 0)
        print("end", flush=True)


main()
