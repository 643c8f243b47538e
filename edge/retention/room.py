"""Before the disk is full: the oldest raw passages that no outcome needs go first, each recorded; the record stays.

A free-space call that fails counts as a full disk, never as an empty one.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from edge.journal.journal import Journal, JournalFault
from edge.journal.read import Reader, reading
from edge.places import Places
from edge.retention.due import GOING
from edge.retention.expire import KIND, take
from edge.retention.holds import held
from fusion.bundle.write import PARTIAL

AT_ONCE = 20  # bundles in one row; then the disk is asked again
log = logging.getLogger("lanepulse.retention")


def free_bytes(folder: Path) -> int:
    """Free space there; 0 where nobody can tell."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return 0


def make_room(
    journal: Journal,
    places: Places,
    least_bytes: int,
    now_utc_ns: int,
    closed_case_days: float,
    free: Callable[[Path], int] = free_bytes,
) -> int:
    """Delete bundles until ``least_bytes`` are free or none may go; how many went. Raises JournalFault."""
    gone = 0
    if free(places.state) >= least_bytes:
        return gone
    with reading(places.journal) as reader:
        names = list(_spare(reader, places, held(reader, now_utc_ns, closed_case_days)))
    while names and free(places.state) < least_bytes:
        some, names = names[:AT_ONCE], names[AT_ONCE:]
        body = {"what": "bundle", "passages": some, "cause": "to make room: the disk is nearly full"}
        try:
            journal.append(KIND, None, body)
        except JournalFault:  # not even a row fits: the first makes room for it
            take(places.bundles / some[0])
            journal.append(KIND, None, body)
        for name in some:
            if (places.bundles / name).exists():
                take(places.bundles / name)
        gone += len(some)
    if free(places.state) < least_bytes:
        log.error("the disk is nearly full, and no passage without an outcome is left to delete: make room")
    return gone


def _spare(reader: Reader, places: Places, kept: dict[str, str]) -> Iterator[str]:
    """Sealed bundles without an outcome and not held, oldest first: a passage's id begins with its time."""
    for folder in sorted(places.bundles.iterdir()):
        if folder.name in kept or folder.name.endswith((PARTIAL, GOING)) or not folder.is_dir():
            continue
        kinds = {row.kind for row in reader.of_passage(folder.name)}
        if "bundle" in kinds and "outcome" not in kinds:
            yield folder.name
