"""Practice cases: a folder each, with the series that the page draws, the verdict as on the lane, and the truth apart.

``case.json`` has what an officer may see, ``truth.json`` what is told after the answer. A case has a name of its own:
neither plate nor passage nor hour is kept, so that nobody recognises the lorry.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge import json_text
from edge.drill.score import Kind
from fusion.bundle import mmwave_tiff, records, xray_dcs

SCHEMA: Literal["lanepulse.drill/1"] = "lanepulse.drill/1"
CASE, TRUTH = "case.json", "truth.json"
SERIES = (records.FILE, "co2.csv", mmwave_tiff.FILE, *xray_dcs.NAMES)
ID = re.compile(r"DRILL-[0-9A-F]{16}")
MOST_CASES = 2_000
LONGEST_FILE = 256 * 1024  # bytes; a verdict has a fiftieth of it


class Truth(BaseModel):
    """What was found, or projected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["lanepulse.drill/1"] = Field(SCHEMA, alias="schema")
    occupied: bool
    people: Annotated[int, Field(ge=1, le=200)] | None = None
    where: Annotated[str, Field(max_length=200)] | None = None
    kind: Kind


@dataclass(frozen=True, slots=True)
class Case:
    """One case; ``verdict`` is of FORMATS' form, under the case's own name."""

    case_id: str
    verdict: Mapping[str, Any]
    truth: Truth


def new_id() -> str:
    """A name that tells nothing."""
    return f"DRILL-{os.urandom(8).hex().upper()}"


def write(root: Path, case_id: str, verdict: Mapping[str, Any], truth: Truth, series: Mapping[str, bytes]) -> None:
    """A whole case, or none. Raises OSError."""
    beside = root / f".{case_id}.new"
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(mode=0o750, parents=True)
    shown = {**verdict, "passage_id": case_id, "site": "drill", "lane": "drill"}
    files = {
        CASE: json_text.write({"schema": SCHEMA, "verdict": shown}).encode(),
        TRUTH: json_text.write(truth.model_dump(mode="json", by_alias=True)).encode(),
        **series,
    }
    for name, content in files.items():
        (beside / name).write_bytes(content)
    beside.rename(root / case_id)


def load(root: Path) -> list[Case]:
    """All cases that can be read, in order of name."""
    if not root.is_dir():
        return []
    folders = sorted(path for path in root.iterdir() if ID.fullmatch(path.name) and path.is_dir())
    return [case for folder in folders[:MOST_CASES] if (case := _case(folder)) is not None]


def clear(root: Path) -> int:
    """Take all cases away; how many there were."""
    folders = [path for path in root.iterdir() if ID.fullmatch(path.name)] if root.is_dir() else []
    for folder in folders:
        shutil.rmtree(folder)
    return len(folders)


def _case(folder: Path) -> Case | None:
    try:
        shown, truth = _read(folder / CASE), Truth.model_validate(_read(folder / TRUTH))
        verdict = shown["verdict"] if isinstance(shown, dict) else None
    except (OSError, ValidationError, json_text.JsonRefused, KeyError):
        return None
    return Case(folder.name, verdict, truth) if isinstance(verdict, dict) else None


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        raw = file.read(LONGEST_FILE + 1)
    if len(raw) > LONGEST_FILE:
        raise OSError(f"{path}: more than {LONGEST_FILE} bytes")
    return json_text.read(raw)


def mixed(cases: Sequence[Case], count: int, occupied_share: float, random: Any) -> Iterator[Case]:
    """``count`` cases in random order, about ``occupied_share`` of them with somebody aboard, as far as there are any.

    ``random`` is a `random.Random`; whoever takes part must not be able to foresee it.
    """
    held, empty = [one for one in cases if one.truth.occupied], [one for one in cases if not one.truth.occupied]
    random.shuffle(held)
    random.shuffle(empty)
    wanted = min(len(held), sum(random.random() < occupied_share for _ in range(count)))
    chosen = held[:wanted] + empty[: count - wanted]
    chosen += held[wanted : wanted + count - len(chosen)]
    random.shuffle(chosen)
    yield from chosen
