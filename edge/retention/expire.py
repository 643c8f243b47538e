"""What has had its time is deleted: each deletion is in the journal first, and the record counts as it did before."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.journal.journal import Journal
from edge.journal.read import reading
from edge.places import Places
from edge.retention.due import GOING, Due, due
from edge.retention.rules import RetentionTable

KIND = "expired"  # of the journal's rows: bundles, photos, packs and stray files that were deleted
AT_ONCE = 500  # of one kind in one row; assumed: a row stays far below the longest document
log = logging.getLogger("lanepulse.retention")


@dataclass(frozen=True, slots=True)
class Expired:
    """How much went, and what could not."""

    openings: int = 0
    bundles: int = 0
    photos: int = 0
    packs: int = 0
    strays: int = 0
    held: int = 0
    purged: bool = True  # False: the write-ahead log still has deleted words until its last reader has gone
    faults: tuple[str, ...] = ()

    def said(self) -> dict[str, object]:
        """JSON types."""
        return {
            "private_words": self.openings,
            "bundles": self.bundles,
            "photos": self.photos,
            "packs": self.packs,
            "strays": self.strays,
            "held": self.held,
            "purged": self.purged,
            "faults": list(self.faults),
        }


def counted(found: Due) -> Expired:
    """What a run would do."""
    return Expired(
        len(found.openings), len(found.bundles), len(found.photos), len(found.packs), len(found.strays), len(found.held)
    )


def find(places: Places, rules: RetentionTable, now_utc_ns: int, spools: Sequence[Path] = ()) -> Due:
    """What has had its time. Raises JournalFault."""
    with reading(places.journal) as reader:
        return due(reader, places, rules, now_utc_ns, spools)


def expire(journal: Journal, places: Places, rules: RetentionTable, found: Due) -> Expired:
    """Delete it.

    Raises:
        JournalFault: what is not recorded is not deleted; what was before it, was.
    """
    faults = [f"row {sequence} is not what its hash says: not touched (journal verify)" for sequence in found.damaged]
    for path in found.leftovers:
        faults += _remove(path)
    rows = [sequence for sequence, _ in found.openings]
    for at in range(0, len(rows), AT_ONCE):
        journal.redact(rows[at : at + AT_ONCE], f"plates and words are kept for {rules.plates_days:g} days")
    for what, names, days in (
        ("bundle", found.bundles, rules.bundles_days),
        ("photos", found.photos, rules.plates_days),
    ):
        for at in range(0, len(names), AT_ONCE):
            some = list(names[at : at + AT_ONCE])
            journal.append(KIND, None, {"what": what, "passages": some, "cause": f"kept for {days:g} days"})
            for name in some:
                faults += take(places.bundles / name) if what == "bundle" else _remove(places.cases / name)
    for what, paths, days in (
        ("pack", found.packs, rules.plates_days),
        ("stray", found.strays, rules.quarantine_days),
    ):
        if paths:
            journal.append(KIND, None, {"what": what, "count": len(paths), "cause": f"kept for {days:g} days"})
        for path in paths:
            faults += _remove(path)
    done = counted(found)
    purged = journal.purge() if rows else True
    for fault in faults:
        log.error("retention: %s", fault)
    return Expired(done.openings, done.bundles, done.photos, done.packs, done.strays, done.held, purged, tuple(faults))


def take(folder: Path) -> list[str]:
    """Out of sight in one step, then file by file: a folder without a suffix is never half."""
    going = folder.with_name(folder.name + GOING)
    try:
        folder.rename(going)
    except OSError as error:
        return [f"{folder}: {error.strerror or error}"]
    return _remove(going)


def _remove(path: Path) -> list[str]:
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        return [f"{error.filename or path}: {error.strerror or error}"]
    return []
