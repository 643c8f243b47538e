"""Practice cases out of bundles whose outcome is known, and out of empty ones with people projected into them."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from edge import json_text
from edge.dataset import open_dataset
from edge.drill.cases import MOST_CASES, SERIES, Truth, new_id, write
from edge.drill.projection import NotProjectable, Threat, project
from edge.drill.score import Kind
from edge.replay import Weighing, replayed
from fusion.bundle.fault import BundleFault, FileFault
from fusion.bundle.read import VERDICTS, BundleContents, read

WHERE = ("front", "middle", "rear")
MOST_PEOPLE = 4  # projected; SCIENCE 6.1: found lorries hold two to four
LONGEST_ABOARD_S = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Prepared:
    """How many cases came of it, by kind; bundles that were left out, by cause."""

    made: Mapping[str, int]
    left_out: Mapping[str, int]


def prepare(
    sources: Sequence[tuple[Path, Kind | None]],
    into: Path,
    weighing: Weighing,
    *,
    project_share: float,
    most: int,
    random: Random,
    progress: Callable[[int, int], None],
) -> Prepared:
    """Write cases below ``into``. A source is a folder of bundles and its kind; None takes what the folder says.

    Raises:
        DatasetFault: a source is no folder of bundles.
        OSError: the cases cannot be written.
    """
    bundles = [
        (path, kind or dataset.kind)
        for folder, kind in sources
        for dataset in (open_dataset(folder),)
        for path in dataset.bundles
    ]
    random.shuffle(bundles)
    bundles = bundles[: min(most, MOST_CASES)]
    made: Counter[str] = Counter()
    left_out: Counter[str] = Counter()
    for number, (path, kind) in enumerate(bundles):
        try:
            made.update(_cases_of(path, kind, into, weighing, project_share, random))
        except (BundleFault, _Unknown) as fault:
            left_out[str(fault).removeprefix(f"{path.name}: ")[:80]] += 1
        progress(number + 1, len(bundles))
    return Prepared(made, left_out)


class _Unknown(Exception):
    """Nobody knows what was in it."""


def _cases_of(
    path: Path, kind: Kind, into: Path, weighing: Weighing, project_share: float, random: Random
) -> list[str]:
    contents = read(path)
    truth = _truth(contents, kind)
    verdict = _published(contents) or replayed(path, weighing).verdicts[-1].document()
    write(into, new_id(), verdict, truth, _series(contents))
    if truth.occupied or random.random() >= project_share:
        return [kind]
    try:
        _projected(contents, into, weighing, random)
    except (NotProjectable, FileFault):
        return [kind]
    return [kind, "projected"]


def _projected(contents: BundleContents, into: Path, weighing: Weighing, random: Random) -> None:
    threat = Threat(random.randint(1, MOST_PEOPLE), random.uniform(300.0, LONGEST_ABOARD_S), random.getrandbits(32))
    case_id = new_id()
    with tempfile.TemporaryDirectory(prefix="lanepulse-drill-") as folder:
        path = project(contents, threat, Path(folder), case_id)
        verdict = replayed(path, weighing).verdicts[-1].document()
        truth = Truth(schema="lanepulse.drill/1", occupied=True, people=threat.people, kind="projected")
        write(into, case_id, verdict, truth, _series(read(path)))


def _truth(contents: BundleContents, kind: Kind) -> Truth:
    outcome = contents.outcome or {}
    found, people, where = outcome.get("found"), outcome.get("people"), outcome.get("where")
    if not isinstance(found, bool) or outcome.get("searched") is False:
        raise _Unknown("nobody knows what was in it")
    counted = people if isinstance(people, int) and not isinstance(people, bool) and 0 < people <= 200 else None
    return Truth(
        schema="lanepulse.drill/1",
        occupied=found,
        people=counted if found else None,
        where=where[:200] if found and isinstance(where, str) else None,
        kind=kind,
    )


def _published(contents: BundleContents) -> dict[str, Any] | None:
    """The last verdict as officers saw it; None where the bundle has none."""
    if VERDICTS not in contents.files.entries:
        return None
    try:
        verdicts = json_text.read_lines(contents.files.read(VERDICTS))
    except (FileFault, json_text.JsonRefused):
        return None
    return verdicts[-1] if verdicts and isinstance(verdicts[-1], dict) else None


def _series(contents: BundleContents) -> dict[str, bytes]:
    found = {}
    for name in SERIES:
        if name in contents.files.entries:
            try:
                found[name] = contents.files.read(name)
            except FileFault:
                continue  # too large to be read: the page says that there is no picture
    return found
