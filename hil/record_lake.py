"""Lorries as a record that is ready to be asked: Parquet by site, lane and day, and each lane's list of its files.

``python -m hil.record_lake --lanes 20 --days 365 --each-day 685 OUT`` writes ten million verdict rows. `hil.record`
writes journals, from which the product makes the same; this one shares no code with the product either, and is a
hundred times faster.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from hil import record_lorries as lorries
from hil.record_lorries import NS, Ints, Lorries, Truths, World, draw, weather

VERSION = 1
DAY_NS = 86_400 * NS
LETTERS = np.frombuffer(b"0123456789ABCDEFGHJKMNPQRSTVWXYZ", np.uint8)
TEXT = pa.string()
VERDICT_AFTER_S = (10, 15)  # two revisions, the second one final


@dataclass(slots=True)
class _Rows:
    """Rows of one table: which lorry each belongs to, when it was written, and further columns."""

    lorry: Ints
    written_ns: Ints
    columns: dict[str, Any] = field(default_factory=dict)
    sequence: Ints = field(default_factory=lambda: np.zeros(0, np.int64))


def write_lane(
    lake: Path, site: str, lane: str, found: Lorries, random: np.random.Generator, *, file_a_day: bool = True
) -> int:
    """A lane's tables and its list; how many rows. Corrected outcomes, late ones and two revisions are among them."""
    ids = _ulids(random, found.began_ns)
    tables = {
        "passages": _Rows(np.arange(len(found)), found.began_ns, {"began_utc_ns": found.began_ns}),
        "verdicts": _verdicts(found),
        "bundles": _bundles(found),
        "audits": _audits(found),
        "outcomes": _outcomes(found, random),
        "covert_tests": _covert(found),
    }
    tables = {name: rows for name, rows in tables.items() if len(rows.lorry)}
    _number(tables)
    last = sum(len(rows.lorry) for rows in tables.values())
    files = {name: list(_files(lake, site, lane, name, rows, ids, file_a_day)) for name, rows in tables.items()}
    listed = {
        "schema": "lanepulse.lake/1",
        "version": VERSION,
        "site": site,
        "lane": lane,
        "first_hash": "1" * 64,
        "through_sequence": last,
        "through_hash": "2" * 64,
        "clock_back": 0,
        "files": files,
    }
    (lake / "lanes").mkdir(parents=True, exist_ok=True)
    (lake / "lanes" / f"{site}.{lane}.json").write_text(json.dumps(listed), encoding="utf-8")
    return last


def write(
    lake: Path,
    lanes: Sequence[tuple[str, str]],
    days: int,
    each_day: float,
    seed: int,
    world: World | None = None,
    *,
    file_a_day: bool = True,
) -> Iterator[tuple[str, str, Lorries]]:
    """A whole lake, lane by lane: what was written of each. Lanes of a site share its weather."""
    world = world or World()
    for site, lane in lanes:
        shared = weather(np.random.default_rng([seed, *site.encode()]), days, world)
        random = np.random.default_rng([seed, *f"{site}/{lane}".encode()])
        found = draw(random, shared, each_day, world)
        write_lane(lake, site, lane, found, random, file_a_day=file_a_day)
        yield site, lane, found


def _verdicts(found: Lorries) -> _Rows:
    n = len(found)
    final = np.tile([False, True], n)
    lorry = np.repeat(np.arange(n), 2)
    after = np.tile(np.array(VERDICT_AFTER_S) * NS, n)
    shown = np.where(final, np.where(found.drawn, lorries.SEARCH, found.level)[lorry], lorries.RECHECK)
    ratios = np.where(final[:, None], found.log10_lr[lorry], 0.0)
    issued = found.began_ns[lorry] + after
    columns: dict[str, Any] = {
        "revision": np.tile([1, 2], n),
        "final": final,
        "issued_utc_ns": issued,
        "level": _words(lorries.LEVELS, shown),
        "log10_odds": lorries.PRIOR_LOG10_ODDS + ratios.sum(axis=1),
        "prior_log10_odds": np.full(2 * n, lorries.PRIOR_LOG10_ODDS),
        "reasons": _words(("vibration.rhythm", "audit.random"), (found.drawn[lorry] & final).astype(int)),
        "clock_set": np.ones(2 * n, bool),
        "trained_on": _words(("simulated",), np.zeros(2 * n, int)),
        "config_sha256": _words(("c" * 64,), np.zeros(2 * n, int)),
        "model_sha256": _words(("d" * 64,), np.zeros(2 * n, int)),
    }
    for column, name in enumerate(lorries.MODALITIES):
        columns[f"{name}_state"] = _words(lorries.STATES, found.state[lorry, column])
        columns[f"{name}_cause"] = _words(_told(), found.cause[lorry, column])
        columns[f"{name}_log10_lr"] = ratios[:, column]
    return _Rows(lorry, issued, columns)


def _told() -> tuple[str, ...]:
    """Causes as a lane words them, with figures."""
    return tuple(cause.replace("#", "8.4", 1).replace("#", "8") for cause in lorries.CAUSES)


def _bundles(found: Lorries) -> _Rows:
    n = len(found)
    columns = {
        "closing": _words(("presence_off",), np.zeros(n, int)),
        "began_utc_ns": found.began_ns,
        "ended_utc_ns": found.ended_ns,
        "body_type": _words(lorries.BODY_TYPES, found.body),
        "cargo": _words(lorries.CARGOES, found.cargo),
        "shelter": _words(("open",), np.zeros(n, int)),
        "wind_m_s": found.wind_m_s,
        "clock_synchronised": np.ones(n, bool),
    }
    return _Rows(np.arange(n), np.maximum(found.ended_ns, found.began_ns + 16 * NS), columns)


def _audits(found: Lorries) -> _Rows:
    lorry = np.flatnonzero(found.probability > 0)
    columns = {
        "stratum": _words(lorries.STRATA, found.stratum[lorry]),
        "probability": found.probability[lorry],
        "drawn": found.drawn[lorry],
    }
    return _Rows(lorry, found.began_ns[lorry] + VERDICT_AFTER_S[1] * NS - 1_000_000, columns)


def _outcomes(found: Lorries, random: np.random.Generator) -> _Rows:
    """One entry each; of one in fifty an earlier, wrong one that it corrects."""
    known = np.flatnonzero(found.known)
    wrong = known[random.random(len(known)) < 0.02]
    lorry = np.concatenate([wrong, known])
    first = np.arange(len(lorry)) < len(wrong)
    searched = np.where(first, False, found.searched[lorry])
    there, somebody = ~searched, ~(searched & found.found[lorry])
    kind = np.where(found.drawn, lorries.SEARCH, found.level)[lorry]
    entered = found.ended_ns[lorry] + np.where(first, 300, 600) * NS
    columns = {
        "revision": np.where(first | ~np.isin(lorry, wrong), 1, 2),
        "undone": np.zeros(len(lorry), bool),
        "shown_level": _words(lorries.LEVELS, kind),
        "response": _words(("agreed", "overridden"), np.maximum(found.answer[lorry] - 1, 0), found.answer[lorry] == 0),
        "override_reason": _words(lorries.REASONS, found.reason[lorry], found.reason[lorry] == 0),
        "searched": searched,
        "technique": _words(lorries.TECHNIQUES, found.technique[lorry], there),
        "found": pa.array(found.found[lorry], mask=there),
        "people": pa.array(found.people[lorry], mask=somebody),
        "minutes": pa.array(found.minutes[lorry], mask=there),
        "by": _words(lorries.SEARCHERS, found.by[lorry]),
        "load_secured": pa.array(found.secured[lorry], mask=there),
        "entered_utc_ns": entered,
    }
    return _Rows(lorry, entered, columns)


def _covert(found: Lorries) -> _Rows:
    lorry = np.flatnonzero(found.covert)
    columns = {
        "people": found.people[lorry],
        "place": _words(lorries.PLACES, found.place[lorry]),
        "aboard_s": found.aboard_s[lorry],
        "load": _words(lorries.LOADS, found.load[lorry]),
    }
    return _Rows(lorry, found.began_ns[lorry] - 60 * NS, columns)


def _number(tables: Mapping[str, _Rows]) -> None:
    """Row numbers of the journal that this could have come from: in the order of writing."""
    written = np.concatenate([rows.written_ns for rows in tables.values()])
    sequence = np.empty(len(written), np.int64)
    sequence[np.argsort(written, kind="stable")] = np.arange(1, len(written) + 1)
    begin = 0
    for rows in tables.values():
        rows.sequence = sequence[begin : begin + len(rows.lorry)]
        begin += len(rows.lorry)


def _files(
    lake: Path, site: str, lane: str, name: str, rows: _Rows, ids: Any, file_a_day: bool
) -> Iterator[dict[str, Any]]:
    order = np.argsort(rows.sequence)
    days = rows.written_ns // DAY_NS
    first = int(days.min())
    names = tuple(str(np.datetime64(day, "D")) for day in range(first, int(days.max()) + 1))
    columns = {
        "site": _words((site,), np.zeros(len(order), int)),
        "lane": _words((lane,), np.zeros(len(order), int)),
        "day": _words(names, days - first),
        "sequence": rows.sequence,
        "boot_id": _words(("00000000-0000-4000-8000-000000000001",), np.zeros(len(order), int)),
        "passage_id": ids.take(pa.array(rows.lorry)),
        "written_utc_ns": rows.written_ns,
        **rows.columns,
    }
    table = pa.table(columns).take(pa.array(order)).replace_schema_metadata({"lanepulse.version": str(VERSION)})
    in_order = days[order]
    ends = [*np.flatnonzero(np.diff(in_order)) + 1, len(order)] if file_a_day else [len(order)]
    begin = 0
    for end in ends:
        numbers = rows.sequence[order[begin]], rows.sequence[order[end - 1]]
        day = names[int(in_order[begin]) - first]
        path = f"{name}/site={site}/lane={lane}/day={day}/{numbers[0]}-{numbers[1]}.parquet"
        (lake / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(begin, end - begin), lake / path, compression="zstd", version="2.6")
        content = (lake / path).read_bytes()
        yield {
            "path": path,
            "sha256": hashlib.sha256(content).hexdigest(),
            "bytes": len(content),
            "rows": int(end - begin),
            "first": int(numbers[0]),
            "last": int(numbers[1]),
        }
        begin = end


def _words(words: Sequence[str], index: Ints, unknown: Truths | None = None) -> Any:
    return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32(), mask=unknown), pa.array(words)).cast(TEXT)


def _ulids(random: np.random.Generator, began_ns: Ints) -> Any:
    """26 letters each: ten of the time in ms, sixteen at random."""
    ms = began_ns // 1_000_000
    text = np.empty((len(ms), 26), np.uint8)
    for place in range(10):
        text[:, place] = LETTERS[(ms >> (5 * (9 - place))) & 31]
    text[:, 10:] = LETTERS[random.integers(0, 32, (len(ms), 16))]
    return pa.array(text.reshape(-1).view("S26") if len(ms) else np.empty(0, "S26")).cast(TEXT)


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--sites", type=int, default=4)
    parser.add_argument("--lanes", type=int, default=4, help="of all sites together")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--each-day", type=float, default=100)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    lanes = [(f"site{number % chosen.sites + 1}", str(number // chosen.sites + 1)) for number in range(chosen.lanes)]
    truth = {}
    for site, lane, found in write(chosen.out, lanes, chosen.days, chosen.each_day, chosen.seed):
        real = found.of(~found.covert)
        truth[f"{site}/{lane}"] = {
            "vehicles": len(real),
            "occupied": int(real.occupied.sum()),
            "found": int(real.found.sum()),
            "let_pass": int((real.occupied & (real.level == lorries.NO_SEARCH)).sum()),
        }
        print(f"{site}/{lane}: {2 * len(found)} verdict rows", flush=True)
    (chosen.out / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
