"""What has had its time: found from the journal and the folders, before anything is touched.

A row's time is its own where a clock can have been right then, else that of the next row that has such a time: never
earlier than the truth, so nothing goes too early because a box started in 1970 (or in 2099).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.journal.chain import row_hash
from edge.journal.journal import Row
from edge.journal.read import Reader
from edge.places import Places
from edge.referral.book import MADE, NOTE
from edge.retention.holds import DAY_NS, held
from edge.retention.rules import RetentionTable
from edge.retention.spools import received_before
from fusion.bundle.write import PARTIAL

GOING = ".expired"  # a bundle whose deletion is recorded; what a crash leaves of it goes with the next run
FIRST_TRUE_NS = 1_704_067_200 * 10**9  # 2024: no lane ran before; a clock at its epoch says 1970 or 2000


@dataclass(frozen=True, slots=True)
class Due:
    """What is to go. Nothing in it is held."""

    openings: tuple[tuple[int, str | None], ...]  # row whose private words go, and its passage
    bundles: tuple[str, ...]
    photos: tuple[str, ...]  # passages
    packs: tuple[Path, ...]
    strays: tuple[Path, ...]  # quarantined items, and radiographs that no passage took
    leftovers: tuple[Path, ...]  # of an earlier run that was cut: recorded already
    held: dict[str, str]
    damaged: tuple[int, ...]  # rows that are not what their hash says: nothing of them is touched

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to do."""
        return not (self.openings or self.bundles or self.photos or self.packs or self.strays or self.leftovers)


def due(reader: Reader, places: Places, rules: RetentionTable, now_utc_ns: int, spools: Sequence[Path] = ()) -> Due:
    """What has expired by ``rules`` at ``now_utc_ns``.

    Args:
        reader: one moment of the journal.
        places: the lane's folders.
        rules: the site's.
        now_utc_ns: by a clock that is known to be right.
        spools: folders in which drivers keep what may name a plate.
    """
    kept = held(reader, now_utc_ns, rules.closed_case_days)
    openings, damaged = _openings(reader, rules, now_utc_ns, kept)
    before_ns = now_utc_ns - round(rules.quarantine_days * DAY_NS)
    spooled_ns = now_utc_ns - round(rules.bundles_days * DAY_NS)
    strays = [path for path in _files(places.quarantine) if _changed_ns(path) < before_ns]
    strays += received_before(spools, spooled_ns)
    return Due(
        openings=tuple(openings),
        bundles=tuple(_bundles(reader, places, rules, now_utc_ns, kept)),
        photos=tuple(_photos(reader, places, rules, now_utc_ns, kept)),
        packs=tuple(_packs(reader, places, rules, now_utc_ns, kept)),
        strays=tuple(strays),
        leftovers=tuple(sorted(places.bundles.glob(f"*{GOING}"))),
        held=kept,
        damaged=tuple(damaged),
    )


def time_of(reader: Reader, row: Row, now_utc_ns: int) -> int | None:
    """When a row was written, or the first later moment that is known; None where there is none."""
    if FIRST_TRUE_NS <= row.written_utc_ns <= now_utc_ns:
        return row.written_utc_ns
    return reader.first_time_after(row.sequence, FIRST_TRUE_NS, now_utc_ns)


def _expired(reader: Reader, row: Row, days: float, now_utc_ns: int) -> bool:
    written_ns = time_of(reader, row, now_utc_ns)
    return written_ns is not None and now_utc_ns - written_ns > days * DAY_NS


def _openings(
    reader: Reader, rules: RetentionTable, now_utc_ns: int, kept: dict[str, str]
) -> tuple[list[tuple[int, str | None]], list[int]]:
    found: list[tuple[int, str | None]] = []
    damaged: list[int] = []
    for row in reader.with_openings():
        if row.passage_id in kept or not _expired(reader, row, rules.plates_days, now_utc_ns):
            continue
        columns = (row.sequence, row.boot_id, row.kind, row.passage_id, row.written_utc_ns, row.body, row.previous_hash)
        if row_hash(*columns) == row.hash:
            found.append((row.sequence, row.passage_id))
        else:
            damaged.append(row.sequence)
    return found, damaged


def _bundles(
    reader: Reader, places: Places, rules: RetentionTable, now_utc_ns: int, kept: dict[str, str]
) -> Iterator[str]:
    for folder in _folders(places.bundles):
        if folder.name.endswith((PARTIAL, GOING)) or folder.name in kept:
            continue
        rows = [row for row in reader.of_passage(folder.name) if row.kind == "bundle"]
        if rows and _expired(reader, rows[-1], rules.bundles_days, now_utc_ns):
            yield folder.name


def _photos(
    reader: Reader, places: Places, rules: RetentionTable, now_utc_ns: int, kept: dict[str, str]
) -> Iterator[str]:
    for folder in _folders(places.cases):
        rows = [row for row in reader.of_passage(folder.name) if row.kind == NOTE]
        if folder.name not in kept and rows and _expired(reader, rows[-1], rules.plates_days, now_utc_ns):
            yield folder.name


def _packs(
    reader: Reader, places: Places, rules: RetentionTable, now_utc_ns: int, kept: dict[str, str]
) -> Iterator[Path]:
    for row in {row.passage_id: row for row in reader.of_kind(MADE)}.values():
        if row.passage_id not in kept and _expired(reader, row, rules.plates_days, now_utc_ns):
            yield from sorted(places.packs.glob(f"R-{row.passage_id}.*"))


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _files(folder: Path) -> list[Path]:
    return (
        sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        if folder.is_dir()
        else []
    )


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 1 << 63  # gone meanwhile
