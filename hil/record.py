"""A journal at scale with a truth that is known: years of lanes, so that every estimate can be held against it.

``python -m hil.record --days 365 --lanes 2 --each-day 20 OUT`` writes ``OUT/<site>.<lane>.db`` and ``OUT/truth.json``.
It shares no code with the journal that it imitates: tables, chain and bodies are written from their description.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

TABLES = """
CREATE TABLE rows (
    sequence INTEGER PRIMARY KEY, boot_id TEXT NOT NULL, kind TEXT NOT NULL, passage_id TEXT,
    written_utc_ns INTEGER NOT NULL, body TEXT NOT NULL, previous_hash TEXT NOT NULL, hash TEXT NOT NULL);
CREATE INDEX rows_by_kind ON rows (kind, sequence);
CREATE TABLE heads (sequence INTEGER PRIMARY KEY, message TEXT NOT NULL, signature BLOB NOT NULL);
"""
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
BODIES = (("soft_sided", 0.5), ("hard_sided", 0.2), ("refrigerated", 0.2), ("tanker", 0.05), ("open", 0.05))
STRATA = {"soft_sided": ("soft", 0.05), "refrigerated": ("insulated", 0.02)}  # others: ("rest", 0.005)
TECHNIQUES = ("physical", "dog", "heartbeat", "co2")
BY = (("officer", 0.5), ("contractor", 0.4), ("port", 0.1))
MODALITIES = ("vibration", "co2", "mmwave", "xray")


@dataclass(frozen=True, slots=True)
class World:
    """What the lanes live in. Shares are of lorries; log10 ratios are normal, clipped at 1.5 as released models do."""

    occupied: float = 1 / 100  # far more than on any road, so that a small year has cases
    search_log10_lr: float = 1.2
    no_search_log10_lr: float = -0.2
    mean_occupied: float = 0.9
    mean_empty: float = -0.6
    spread: float = 0.5
    vibration_fails: float = 0.05
    co2_absent: float = 0.3
    prompts_followed: float = 0.95
    rechecks_searched: float = 0.2
    audits_followed: float = 1.0
    search_finds: float = 1.0
    covert_each_day: float = 0.5
    first_day: str = "2025-01-01"


@dataclass(slots=True)
class Truth:
    """Per lane: what the record cannot know."""

    passages: int = 0
    occupied: int = 0
    found: int = 0
    not_prompted: int = 0  # occupied, and the lane said no_search
    missed: int = 0  # occupied, and not found
    people: int = 0
    people_found: int = 0
    covert: int = 0
    covert_prompted: int = 0
    finds_by_level: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Chain:
    db: sqlite3.Connection
    sequence: int = 0
    last: str = "0" * 64
    boot: str = "00000000-0000-4000-8000-000000000001"
    to_come: list[tuple[int, int, str, str | None, Any]] = field(default_factory=list)
    pushed: int = 0

    def add(self, kind: str, passage_id: str | None, at_ns: int, body: Any) -> None:
        """A row that is written when its time comes: an outcome follows its search, other lorries in between."""
        self.pushed += 1
        heapq.heappush(self.to_come, (at_ns, self.pushed, kind, passage_id, body))

    def until(self, moment_ns: float) -> None:
        """Write all rows whose time has come."""
        while self.to_come and self.to_come[0][0] <= moment_ns:
            at_ns, _, kind, passage_id, body = heapq.heappop(self.to_come)
            self._write(kind, passage_id, at_ns, body)

    def _write(self, kind: str, passage_id: str | None, at_ns: int, body: Any) -> None:
        """One row, chained as ``edge/journal/chain.py`` describes it."""
        self.sequence += 1
        text = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        content = _hashed(self.sequence, self.boot, kind, passage_id, at_ns, text)
        hash_of_row = _hashed(content, self.last)
        row = (self.sequence, self.boot, kind, passage_id, at_ns, text, self.last, hash_of_row)
        self.db.execute("INSERT INTO rows VALUES (?,?,?,?,?,?,?,?)", row)
        self.last = hash_of_row


def _hashed(*columns: object) -> str:
    digest = hashlib.sha256()
    for column in columns:
        raw = None if column is None else str(column).encode()
        digest.update(b"-," if raw is None else b"%d:%b," % (len(raw), raw))
    return digest.hexdigest()


def write(path: Path, site: str, lane: str, days: int, each_day: int, seed: int, world: World | None = None) -> Truth:
    """A lane's journal at ``path``, and its truth."""
    world, truth = world or World(), Truth()
    random = np.random.default_rng([seed, *f"{site}.{lane}".encode()])
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF;" + TABLES)
        chain = _Chain(db)
        for moment in _moments(random, days, each_day, world):
            chain.until(moment)
            _lorry(chain, random, site, lane, moment, world, truth)
        chain.until(inf)
        db.commit()
    return truth


def _moments(random: np.random.Generator, days: int, each_day: int, world: World) -> Iterator[int]:
    """Times of arrival, busier by night, as on the roads to the coast."""
    first = datetime.fromisoformat(world.first_day).replace(tzinfo=UTC)
    hours = np.array([1.5] * 6 + [1.0] * 10 + [0.8] * 4 + [1.2] * 4)
    for day in range(days):
        start_s = (first + timedelta(days=day)).timestamp()
        count = int(random.poisson(each_day))
        at = random.choice(24, count, p=hours / hours.sum()) * 3600 + random.random(count) * 3500
        for second in np.sort(at):
            yield int((start_s + float(second)) * 1000) * 1_000_000


def _lorry(
    chain: _Chain, random: np.random.Generator, site: str, lane: str, at_ns: int, world: World, truth: Truth
) -> None:
    passage_id = _ulid(random, at_ns)
    covert = bool(random.random() < world.covert_each_day / 200)
    occupied = covert or bool(random.random() < world.occupied)
    people = int(random.integers(1, 7)) if occupied else 0
    body = str(random.choice([name for name, _ in BODIES], p=[p for _, p in BODIES]))
    wind = float(round(random.gamma(2.0, 2.0), 1))
    evidence = _evidence(random, occupied, wind, world)
    total = sum(part["log10_lr"] for part in evidence)
    spoke = any(part["state"] == "measured" for part in evidence)
    level = "search" if total >= world.search_log10_lr else "recheck"
    if spoke and total <= world.no_search_log10_lr:
        level = "no_search"
    if covert:
        chain.add("covert.entered", passage_id, at_ns, {"people": people, "place": "rear", "aboard_s": 1800.0})
    chain.add("passage.opened", passage_id, at_ns, {"began_utc": _utc(at_ns)})
    stratum, probability = STRATA.get(body, ("rest", 0.005))
    drawn = level == "no_search" and bool(random.random() < probability)
    verdict_ns = at_ns + 15_000_000_000
    if level == "no_search":
        draw = {"stratum": stratum, "probability": probability, "drawn": drawn}
        chain.add("audit", passage_id, verdict_ns, draw)
    shown = "search" if drawn else level
    chain.add("verdict", passage_id, verdict_ns, _verdict(passage_id, site, lane, verdict_ns, shown, evidence, drawn))
    searched = _searched(random, level, drawn, world)
    found = searched and occupied and bool(random.random() < world.search_finds)
    ended_ns = at_ns + int(random.normal(32, 6) * 1000) * 1_000_000
    chain.add("bundle", passage_id, ended_ns, _bundle(passage_id, at_ns, ended_ns, body, wind))
    entered_ns = ended_ns + 600_000_000_000
    outcome = _outcome(random, shown, searched, found, people, entered_ns)
    if level != "no_search" or drawn or searched:
        chain.add("outcome", passage_id, entered_ns, outcome)
    _count(truth, covert, occupied, found, people, level, shown)


def _evidence(random: np.random.Generator, occupied: bool, wind: float, world: World) -> list[dict[str, Any]]:
    mean = world.mean_occupied if occupied else world.mean_empty
    ratios = np.clip(random.normal(mean, world.spread, 2), -1.5, 1.5).round(6)
    faulty = bool(random.random() < world.vibration_fails)
    states = {
        "vibration": ("out_of_limits", f"wind {wind} m/s, limit 8 m/s") if wind > 8 else ("measured", None),
        "co2": ("absent", "no probe presented") if random.random() < world.co2_absent else ("measured", None),
        "mmwave": ("absent", "no imager"),
        "xray": ("absent", "no radiograph"),
    }
    if faulty:
        states["vibration"] = ("faulty", "chassis: silent for 3.0 s")
    found = []
    for index, modality in enumerate(MODALITIES):
        state, cause = states[modality]
        ratio = float(ratios[index]) if state == "measured" else 0.0
        quality = 0.9 if state == "measured" else None
        found.append(
            {
                "modality": modality,
                "state": state,
                "log10_lr": ratio,
                "cause": cause,
                "quality": quality,
                "where": None,
                "features": {},
            }
        )
    return found


def _searched(random: np.random.Generator, level: str, drawn: bool, world: World) -> bool:
    chance = world.prompts_followed if level == "search" else world.rechecks_searched
    if level == "no_search":
        chance = world.audits_followed if drawn else 0.0
    return bool(random.random() < chance)


def _verdict(
    passage_id: str, site: str, lane: str, at_ns: int, level: str, evidence: list[dict[str, Any]], drawn: bool
) -> dict[str, Any]:
    odds = -3.0966 + sum(part["log10_lr"] for part in evidence)
    code = "audit.random" if drawn else "vibration.for"
    return {
        "schema": "lanepulse.verdict/1",
        "passage_id": passage_id,
        "revision": 1,
        "final": True,
        "site": site,
        "lane": lane,
        "issued_utc": _utc(at_ns),
        "level": level,
        "score": round(1 / (1 + 10**-odds), 9),
        "log10_odds": odds,
        "prior_log10_odds": -3.0966,
        "evidence": evidence,
        "reasons": [{"code": code, "text": code}],
        "trained_on": "simulated",
        "produced_by": {
            "version": "0.1.0",
            "model": "concealment-2",
            "model_sha256": "0" * 64,
            "config_sha256": "0" * 64,
            "calibrations": {},
        },
    }


def _bundle(passage_id: str, began_ns: int, ended_ns: int, body: str, wind: float) -> dict[str, Any]:
    words = {"engine": "off", "refrigeration": "off", "cargo": "general", "doors": "closed", "driver": "out"}
    return {
        "closing": "presence_off",
        "bundle": passage_id,
        "passage_json": "sha256:" + "0" * 64,
        "digests": {},
        "began_utc": _utc(began_ns),
        "ended_utc": _utc(ended_ns),
        "body_type": body,
        "context": {**words, "shelter": "open", "sealed_for_s": None},
        "wind_m_s": wind,
        "clock": {"synchronised": True, "max_error_ns": 250_000},
    }


def _outcome(
    random: np.random.Generator, shown: str, searched: bool, found: bool, people: int, entered_ns: int
) -> dict[str, Any]:
    agreed = searched == (shown != "no_search")
    outcome: dict[str, Any] = {
        "searched": searched,
        "technique": None,
        "found": None,
        "people": None,
        "where": None,
        "minutes": None,
        "by": "officer",
        "secured": {},
        "seals": [],
        "response": "agreed" if agreed else "overridden",
        "reason": None if agreed else "no_time",
    }
    if searched:
        outcome["technique"] = str(random.choice(TECHNIQUES, p=(0.6, 0.2, 0.1, 0.1)))
        outcome["found"] = found
        outcome["people"] = people if found else None
        outcome["where"] = "between pallets" if found else None
        outcome["minutes"] = round(float(random.gamma(4.0, 2.0 if not found else 5.0)), 1)
        outcome["by"] = str(random.choice([name for name, _ in BY], p=[p for _, p in BY]))
        outcome["secured"] = {"locks": "ok", "curtain": "cut" if random.random() < 0.3 else "ok"}
    return {
        "schema": "lanepulse.outcome/1",
        "revision": 1,
        "corrects": None,
        "key": "generated-key",
        "entered_utc": _utc(entered_ns),
        "officer": None,
        "via": "generated",
        "shown": {"level": shown, "revision": 1},
        "outcome": outcome,
    }


def _count(truth: Truth, covert: bool, occupied: bool, found: bool, people: int, level: str, shown: str) -> None:
    truth.passages += 1
    if covert:
        truth.covert += 1
        truth.covert_prompted += level == "search"
        return
    truth.occupied += occupied
    truth.people += people
    truth.found += found
    truth.people_found += people if found else 0
    truth.missed += occupied and not found
    truth.not_prompted += occupied and level == "no_search"
    if found:
        truth.finds_by_level[shown] = truth.finds_by_level.get(shown, 0) + 1


def _ulid(random: np.random.Generator, at_ns: int) -> str:
    number = at_ns // 1_000_000 << 80 | int.from_bytes(random.bytes(10), "big")
    return "".join(LETTERS[number >> shift & 31] for shift in range(125, -5, -5))


def _utc(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (
        f".{at_ns % 1_000_000_000 // 1_000_000:03d}Z"
    )


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--site", default="calais")
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--lanes", type=int, default=2)
    parser.add_argument("--each-day", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    truths = {}
    for lane in map(str, range(1, chosen.lanes + 1)):
        path = chosen.out / f"{chosen.site}.{lane}.db"
        truths[lane] = asdict(write(path, chosen.site, lane, chosen.days, chosen.each_day, chosen.seed))
    (chosen.out / "truth.json").write_text(json.dumps(truths, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
