"""Everything that the record says of one passage, gathered for a case; and what is missing before it can stand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from edge.journal.journal import Row
from edge.journal.read import Reader
from edge.places import Places
from edge.records.outcome import CHECKS
from edge.referral import plates
from edge.referral.book import MADE, NOTE, PLATES, STAGE
from edge.referral.words import Photo, read_words

FAILING = frozenset({"missing", "broken", "cut", "open"})  # states of a check that say: not secured
BROKEN_SEALS = frozenset({"broken", "missing", "changed"})
PROVED = (
    "passage.opened",
    "context",
    "verdict",
    "bundle",
    "radiograph",
    "outcome",
    PLATES,
    NOTE,
)  # kinds of rows that a pack proves
BUNDLE_GROWS = frozenset({"outcome.json", "verdicts.jsonl", "late.json", "passage.json"})
Kind = Literal["entrant", "unsecured"]


@dataclass(frozen=True, slots=True)
class Case:
    """One passage as the record has it. ``None`` is what the record does not say."""

    passage_id: str
    rows: tuple[Row, ...]  # those that the pack proves
    opened: Mapping[str, Any] | None
    verdict: Mapping[str, Any] | None  # the last final one
    bundle: Mapping[str, Any] | None
    passage: Mapping[str, Any] | None  # passage.json, where the bundle is there
    outcome: Mapping[str, Any] | None
    outcome_row: Row | None
    plates: plates.Kept | None
    entry_point: str | None
    checklist: str | None
    account: str | None
    account_text: str | None
    photos: tuple[Photo, ...]
    made_before: bool

    @property
    def kind(self) -> Kind | None:
        """Entrants found; or a vehicle that was not secured, also where nobody was found; None is no case."""
        if self.outcome is None:
            return None
        if self.outcome.get("found"):
            return "entrant"
        return "unsecured" if self.failing else None

    @property
    def secured(self) -> Mapping[str, str]:
        """The scheme's checks as they were entered."""
        return {} if self.outcome is None else dict(self.outcome.get("secured") or {})

    @property
    def failing(self) -> tuple[str, ...]:
        """Checks that say "not secured", in the schedule's order; broken seals count as one."""
        found = {check for check, state in self.secured.items() if state in FAILING}
        seals = [] if self.outcome is None else self.outcome.get("seals") or []
        if any(seal["state"] in BROKEN_SEALS for seal in seals):
            found.add("seals")
        return tuple(check for check in CHECKS if check in found)


@dataclass(frozen=True, slots=True)
class Missing:
    """One thing that a case needs and the record does not have."""

    field: str
    mend: str


def gather(reader: Reader, places: Places, passage_id: str) -> Case:
    """The case of a passage, as complete as the record is. Raises JsonRefused: a row that nobody can read."""
    rows = reader.of_passage(passage_id)
    of = {kind: [row for row in rows if row.kind == kind] for kind in (*PROVED, MADE, STAGE)}
    finals = [row.document() for row in of["verdict"] if row.document()["final"]]
    standing = of["outcome"][-1] if of["outcome"] else None
    notes = [(row, row.document()) for row in of[NOTE]]
    accounts = [(row, note["account"]) for row, note in notes if note["account"] is not None]
    account_row, account = accounts[-1] if accounts else (None, None)
    return Case(
        passage_id=passage_id,
        rows=tuple(row for row in rows if row.kind in PROVED),
        opened=_last(of["passage.opened"]),
        verdict=finals[-1] if finals else None,
        bundle=_last(of["bundle"]),
        passage=_passage_json(places.bundles / passage_id),
        outcome=None if standing is None else standing.document()["outcome"],
        outcome_row=standing,
        plates=plates.plates_of(reader, passage_id),
        entry_point=_last_said(notes, "entry_point"),
        checklist=_last_said(notes, "checklist"),
        account=account,
        account_text=None if account_row is None else reader.openings(account_row.sequence).get("account"),
        photos=tuple(read_words(Photo, photo) for _, note in notes for photo in note["photos"]),
        made_before=bool(of[MADE]),
    )


def missing(case: Case, places: Places | None) -> list[Missing]:
    """What a case lacks, everything at once; nothing where it can stand. Without places no file is looked at."""
    return [
        *_missing_passage(case),
        *_missing_outcome(case),
        *_missing_plates(case),
        *_missing_note(case),
        *(() if places is None else _missing_files(case, places)),
    ]


def _missing_passage(case: Case) -> Iterator[Missing]:
    if case.opened is None and case.bundle is None:
        yield Missing("passage", "this lane knows no such passage; see lanepulse verdicts")
    if case.verdict is None:
        yield Missing("verdict", "no final verdict is recorded; wait for the passage to end")


def _missing_outcome(case: Case) -> Iterator[Missing]:
    if case.outcome is None:
        yield Missing("outcome", f"record what the search found: lanepulse outcome {case.passage_id} …")
        return
    if not case.outcome["searched"]:
        yield Missing("outcome.searched", "the vehicle was not searched: there is no case")
        return
    if case.kind is None:
        yield Missing("outcome.found", "nobody was found and no check failed: there is no case")
    if case.outcome.get("technique") is None:
        yield Missing("outcome.technique", "say how it was searched: --searched TECHNIQUE")
    if case.outcome["found"]:
        for field, option in (("people", "--people N"), ("where", "--where TEXT")):
            if case.outcome.get(field) is None:
                yield Missing(f"outcome.{field}", f"correct the outcome with {option}")
    for check in CHECKS:
        if check not in case.secured:
            yield Missing(f"outcome.secured.{check}", f"correct the outcome with --secured {check}=STATE")
    if case.secured.get("seals") in {"ok", "broken", "cut"} and not case.outcome.get("seals"):
        yield Missing("outcome.seals", "the seals were seen: enter their numbers at the booth")


def _missing_plates(case: Case) -> Iterator[Missing]:
    mend = f"lanepulse plates set {case.passage_id} --tractor … --trailer …"
    if case.plates is None:
        yield Missing("plates.tractor", mend)
        yield Missing("plates.trailer", f"{mend}; 'none' for a rigid lorry")
    elif case.plates.plates is None:
        yield Missing("plates", "they have expired, and no hold kept them; enter them again if you have them")
    else:
        if "tractor" not in case.plates.positions:
            yield Missing("plates.tractor", mend)
        if "trailer" not in case.plates.positions and not case.plates.no_trailer:
            yield Missing("plates.trailer", f"{mend}; 'none' for a rigid lorry")


def _missing_note(case: Case) -> Iterator[Missing]:
    note = f"lanepulse referral note {case.passage_id}"
    if case.kind == "entrant" and case.entry_point is None:
        yield Missing("entry_point", f"{note} --entry-point …")
    if case.checklist is None:
        yield Missing("checklist", f"{note} --checklist shown|not_shown|not_asked")
    if case.account is None:
        yield Missing("account", f"{note} --account-file FILE, or --account declined|no_driver")
    elif case.account == "given" and case.account_text is None:
        yield Missing("account", "the driver's words have expired, and no hold kept them")
    photographed = {photo.check for photo in case.photos}
    for check in case.failing:
        if check not in photographed:
            yield Missing(f"photos.{check}", f"{note} --photo {check}=FILE")


def _missing_files(case: Case, places: Places) -> Iterator[Missing]:
    if case.bundle is None:
        yield Missing("bundle", "the raw passage is not sealed yet; wait, or look at the lane's log")
        return
    folder = places.bundles / case.passage_id
    if case.passage is None:
        yield Missing("bundle", f"{folder}: the raw passage is not there, or its passage.json cannot be read")
        return
    expected = {"passage.json": case.bundle["passage_json"], **case.bundle["digests"]}
    for name, digest in sorted(expected.items()):
        found = _digest(folder / name)
        if found != digest:
            what = "is not there" if found is None else "is not what the journal says"
            yield Missing(f"bundle.{name}", f"{folder / name} {what}; restore it from a backup")
    for photo in case.photos:
        path = places.cases / case.passage_id / photo.file_name
        if _digest(path) != f"sha256:{photo.sha256}":
            yield Missing(f"photos.{photo.check}", f"{path} is not there or was changed; give the photo again")


def _last(rows: list[Row]) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = rows[-1].document() if rows else None
    return found


def _last_said(notes: list[tuple[Row, Any]], field: str) -> str | None:
    said = [note[field] for _, note in notes if note[field] is not None]
    return str(said[-1]) if said else None


def _passage_json(folder: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads((folder / "passage.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
