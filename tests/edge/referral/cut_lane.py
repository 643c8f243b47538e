"""The process whose disk loses power: forks a lane for each line on its input, and says what that lane told.

A line: ``<root> <shadow> <sync at which it is killed> <sync that fails> <what>``; ``what`` names a function here.
"""

from __future__ import annotations

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
    lanes.build(root, 1, lambda row: print("told", row.sequence, flush=True))
    with Journal.open(Places.under(root).journal, None) as journal:
        for row in journal.rows(1, 100, "bundle"):
            print("sealed", row.passage_id, flush=True)


def careless(root: Path) -> None:
    """A lane that writes and never syncs its bundles: what the test must find."""
    os.fsync = lambda fd: None  # type: ignore[assignment]
    passage(root)


def prune(root: Path) -> None:
    places = Places.under(root)
    with Journal.open(places.journal, keys.load_signing(places.signing), now_utc_ns=lambda: LATER_NS) as journal:
        done = expire(journal, places, RetentionTable(), find(places, RetentionTable(), LATER_NS))
        print("pruned", done.openings, done.bundles, flush=True)


def main() -> None:
    for line in sys.stdin:
        root, shadow, kill_at, fail_at, what = line.split()
        child = os.fork()
        if child == 0:
            os.environ |= {"LOST_UNDER": f"{root}/state", "LOST_SHADOW": shadow}
            os.environ |= {"LOST_KILL_AT": kill_at, "LOST_FAIL_AT": fail_at}
            try:
                {"passage": passage, "careless": careless, "prune": prune}[what](Path(root))
            except (JournalFault, OSError) as fault:
                print("fault", str(fault).replace("\n", " "), flush=True)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        os.waitpid(child, 0)
        print("end", flush=True)


main()
