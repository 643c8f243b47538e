"""Results of drills, one line of JSON each, in a file of their own: no journal has them and no analysis counts them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from edge import json_text
from edge.drill.session import Session

SCHEMA: Literal["lanepulse.drill-result/1"] = "lanepulse.drill-result/1"
FILE = "results.jsonl"
LONGEST_FILE = 64 * 1024 * 1024  # bytes; assumed: some hundred thousand drills


def keep(folder: Path, session: Session, ended_utc: str, via: str) -> dict[str, Any]:
    """Add a drill that ended, or was broken off after at least one answer. Raises OSError."""
    result = {
        "schema": SCHEMA,
        "officer": session.officer,
        "via": via,
        "ended_utc": ended_utc,
        "complete": session.over,
        "score": session.score(),
        "cases": [asdict(one) for one in session.answered],
    }
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o640)
    with os.fdopen(descriptor, "ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the booth and a terminal may end theirs in the same moment
        file.write(json_text.write(result).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return result


def results(folder: Path) -> Iterator[dict[str, Any]]:
    """All that can be read, oldest first."""
    try:
        raw = (folder / FILE).read_bytes()[:LONGEST_FILE]
    except FileNotFoundError:
        return
    for line in raw.splitlines():
        try:
            found = json_text.read(line)
        except json_text.JsonRefused:
            continue  # torn by a power cut
        if isinstance(found, dict) and found.get("schema") == SCHEMA:
            yield found
