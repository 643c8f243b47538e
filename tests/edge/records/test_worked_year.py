"""The worked year (7,120 audits, 1,250 finds, 300 covert tests, two blind modalities) through the whole way:
Parquet, the engine, the statement. Of vehicles that were neither drawn nor found only some are there: nothing hangs on
their number."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from edge.records.analysis_misses import all_missed, misses
from edge.records.asked import ask
from edge.records.local_time import zone
from edge.records.relations import Record
from edge.records.schema import VERSION

BEGAN_NS = 1_740_000_000_000_000_000
STRATA = (("near", 0.05, 4_000, 6), ("middle", 0.005, 2_000, 2), ("far", 0.001, 1_120, 0))
NOT_DRAWN, FINDS, TESTS, PROMPTED_TESTS = 3_000, 1_250, 300, 285
VIBRATION, CO2, BOTH = 120, 90, 75


def write(lake: Path, tables: dict[str, dict[str, Any]]) -> None:
    """A lane's tables and its list, sequence numbers in the tables' order."""
    files, first = {}, 1
    for name, columns in tables.items():
        n = len(columns["passage_id"])
        fixed = {"site": ["dover"] * n, "lane": ["1"] * n, "day": ["2025-02-19"] * n}
        numbers = {"sequence": np.arange(first, first + n), "written_utc_ns": np.full(n, BEGAN_NS)}
        path = f"{name}/site=dover/lane=1/day=2025-02-19/{first}-{first + n - 1}.parquet"
        (lake / path).parent.mkdir(parents=True)
        table = pa.table({**fixed, **numbers, **columns})
        pq.write_table(table.replace_schema_metadata({"lanepulse.version": str(VERSION)}), lake / path)
        content = (lake / path).read_bytes()
        file = {"path": path, "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "rows": n}
        files[name] = [file | {"first": first, "last": first + n - 1}]
        first += n
    (lake / "lanes").mkdir()
    listed = {"schema": "lanepulse.lake/1", "version": VERSION, "site": "dover", "lane": "1", "files": files}
    (lake / "lanes" / "dover.1.json").write_text(json.dumps(listed))


def ids(kind: str, n: int) -> list[str]:
    return [f"{kind}{number:06d}" for number in range(n)]


def audited() -> tuple[list[str], list[str], list[float], list[bool], list[bool]]:
    passages, strata, chances, drawn, found = [], list[str](), list[float](), list[bool](), list[bool]()
    for name, chance, audits, finds in STRATA:
        n = audits + NOT_DRAWN
        passages += ids(name, n)
        strata += [name] * n
        chances += [chance] * n
        drawn += [True] * audits + [False] * NOT_DRAWN
        found += [True] * finds + [False] * (n - finds)
    return passages, strata, chances, drawn, found


def tables() -> dict[str, dict[str, Any]]:
    passages, strata, chances, drawn, found = audited()
    finds, tests = ids("find", FINDS), ids("test", TESTS)
    judged = finds + tests
    number = np.arange(len(judged))
    sees_vibration, sees_co2 = number < VIBRATION, (number < BOTH) | ((number >= 500) & (number < 500 + CO2 - BOTH))
    searches = [name for name, there in zip(passages, drawn, strict=True) if there] + finds
    somebody = [there for there, is_drawn in zip(found, drawn, strict=True) if is_drawn] + [True] * FINDS
    every = passages + judged
    level = np.where((number < FINDS) | (number < FINDS + PROMPTED_TESTS), "search", "no_search")
    return {
        "passages": {"passage_id": every, "began_utc_ns": np.full(len(every), BEGAN_NS)},
        "audits": {"passage_id": passages, "stratum": strata, "probability": chances, "drawn": drawn},
        "verdicts": {
            "passage_id": judged,
            "revision": np.ones(len(judged), int),
            "final": np.ones(len(judged), bool),
            "level": level,
            "reasons": ["vibration.rhythm"] * len(judged),
            **{f"{name}_state": ["measured"] * len(judged) for name in ("vibration", "co2")},
            "vibration_log10_lr": np.where(sees_vibration, 1.0, 0.0),
            "co2_log10_lr": np.where(sees_co2, 1.0, 0.0),
        },
        "outcomes": {
            "passage_id": searches,
            "undone": np.zeros(len(searches), bool),
            "searched": np.ones(len(searches), bool),
            "found": somebody,
        },
        "covert_tests": {"passage_id": tests, "people": np.ones(TESTS, int)},
    }


def test_the_worked_year_comes_out_to_the_digit(tmp_path: Path) -> None:
    write(tmp_path, tables())
    with Record(tmp_path) as record:
        asked = ask(record, zone("UTC"))
        told, section = all_missed(asked), misses(asked)
    assert told.audit is not None and told.recapture is not None
    missed, stopped, tried = told.audit.missed, told.audit_pd, told.covert.estimate
    assert told.audit.searches == 7_120
    assert [round(x or 0) for x in (missed.value, missed.low, missed.high)] == [520, 118, 4_132]
    assert [round(x or 0, 2) for x in (stopped.value, stopped.low, stopped.high)] == [0.71, 0.23, 0.91]
    assert [round(x or 0, 3) for x in (tried.value, tried.low, tried.high)] == [0.95, 0.919, 0.972]
    assert (round(told.recapture.estimate.value or 0), told.recapture.seen) == (144, 135)
    words = " ".join(section.notes)
    for part in ("7,120 audits found 8: about 520", "118 to 4,132", "71 % (95 %: 23 to 91 %)", "about 144 ± 4", "135"):
        assert part in words
