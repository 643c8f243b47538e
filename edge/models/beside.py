"""What the model in the shadow would have done beside the active one, out of the journal."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge import json_text
from fusion.verdict import Level

PROMPTS = (Level.SEARCH.value, Level.OPEN_NOW.value)


@dataclass(frozen=True, slots=True)
class Known:
    """Vehicles whose outcome is known: how many, and how many of them each model would have had searched."""

    cases: int
    active: int
    shadow: int


@dataclass(frozen=True, slots=True)
class Beside:
    """``levels``: the active model's last level -> that of the shadow -> vehicles."""

    passages: int
    levels: dict[str, dict[str, int]]
    with_people: Known
    empty: Known


def beside(journal: Path, model_sha256: str) -> Beside:
    """All vehicles that a model judged from the shadow. Reads only: the daemon may be writing.

    Raises:
        sqlite3.Error, JsonRefused: there is no journal, or a row is none.
    """
    with closing(sqlite3.connect(f"{journal.absolute().as_uri()}?mode=ro", uri=True)) as db:
        pairs = {
            passage_id: (body["beside"]["level"], body["level"])
            for passage_id, body in _rows(db, "shadow")
            if body["model_sha256"] == model_sha256
        }  # the last of each passage stays
        outcomes = {passage_id: body.get("outcome") for passage_id, body in _rows(db, "outcome")}
    counted = Counter(pairs.values())
    levels = {a.value: {b.value: counted[a.value, b.value] for b in Level} for a in Level}
    found = {name: (outcomes.get(name) or {}).get("found") for name in pairs}
    return Beside(len(pairs), levels, _known(pairs, found, True), _known(pairs, found, False))


def _known(pairs: dict[str, tuple[str, str]], found: dict[str, Any], people: bool) -> Known:
    mine = [pair for name, pair in pairs.items() if found[name] is people]
    return Known(len(mine), sum(a in PROMPTS for a, _ in mine), sum(b in PROMPTS for _, b in mine))


def _rows(db: sqlite3.Connection, kind: str) -> Iterator[tuple[str, Any]]:
    for passage_id, body in db.execute("SELECT passage_id, body FROM rows WHERE kind = ? ORDER BY sequence", (kind,)):
        yield passage_id, json_text.read(body)
