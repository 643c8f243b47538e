"""What a pseudonymised export still tells: how many passages are alone with what somebody at the roadside could see."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

HOUR_NS = 3_600_000_000_000
SEEN = ("site", "lane", "began_utc_ns", "body_type")
FEW = 5  # assumed: fewer than so many alike are as good as alone to somebody who knows a little more
STATED = (
    "Pseudonymous, not anonymous. Whoever saw a vehicle that is alone in its hour on its lane can tell its row, and so"
    " its verdict and outcome, whatever the key. Whoever has the key can make each hash from a passage's id; whoever"
    " has the journal can find each row by its number."
)


def risk(paths: Sequence[Path]) -> dict[str, Any]:
    """From the files of the table ``bundles``: passages that are alone, or among few, by hour and by hour and body."""
    by_hour: Counter[tuple[Any, ...]] = Counter()
    by_body: Counter[tuple[Any, ...]] = Counter()
    for path in paths:
        columns = pq.read_table(path, columns=list(SEEN)).to_pydict()
        for site, lane, began_ns, body in zip(*(columns[name] for name in SEEN), strict=True):
            hour = None if began_ns is None else began_ns // HOUR_NS
            by_hour[site, lane, hour] += 1
            by_body[site, lane, hour, body] += 1
    return {
        "schema": "lanepulse.export-risk/1",
        "passages": by_hour.total(),
        "by_hour": _alone(by_hour.values()),
        "by_hour_and_body_type": _alone(by_body.values()),
        "stated": STATED,
    }


def _alone(groups: Iterable[int]) -> dict[str, int]:
    sizes = list(groups)
    return {
        "alone": sum(size for size in sizes if size == 1),
        f"among_fewer_than_{FEW}": sum(size for size in sizes if size < FEW),
        "smallest_group": min(sizes, default=0),
    }
