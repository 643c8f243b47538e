"""Radiographs that are of no vehicle on the lane now: joined to the passage that they are of, or kept and shown.

A late join is on disk in this order: the object in the bundle, its line in ``late.json``, the verdict in the journal,
the bundle's copy of the verdicts, the row that says how it was joined. `take_up` goes on where a crash cut it.
"""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from drivers.reading import ClockQuality, Radiograph, Stamp
from drivers.xray.judging import Judge, Rules
from edge.journal.journal import Journal, Row
from edge.passage_record import MADE, Produced
from edge.radiograph_join import Candidate, Joined, Kept, Terms, place
from fusion.bundle import late, xray_dcs
from fusion.bundle.container import PASSAGE
from fusion.bundle.document import read_document
from fusion.bundle.fault import BundleFault
from fusion.bundle.read import LATE, VERDICTS, BundleContents, read
from fusion.bundle.taken import policy_of, taken_look
from fusion.bundle.times import format_utc, parse_utc
from fusion.judge import Issue, Occasion, judge
from fusion.policy import Policy
from fusion.verdict import Level

JOINED, KEPT = "radiograph", "radiograph.kept"  # kinds of journal rows
LATE_REASON = "late.xray"  # code of the reason that each verdict by late evidence carries
LOOK_BACK_ROWS = 20_000  # assumed: four hours of a busy lane are a fifth of it
MOST_PASSAGES, MOST_KEPT = 2_000, 200  # assumed: a busy day; what a person looks through
NOTHING = np.empty((0, 0), dtype=np.float32)
NS = 1_000_000_000
log = logging.getLogger("lanepulse.radiograph")


@dataclass(frozen=True, slots=True)
class Scanner:
    """One X-ray device: how the site judges its objects, and where its driver keeps them."""

    rules: Rules
    spool: Path

    @classmethod
    def of(cls, config: Any) -> Self:
        """From the table of a driver of this modality; one of somebody else's may have no such rules."""
        rules = config if isinstance(config, Rules) else Rules()
        return cls(rules, Path(getattr(config, "spool", "")))

    @property
    def terms(self) -> Terms:
        """How its scans join passages."""
        return Terms(self.rules.late_s, self.rules.in_lane)


class RadiographDesk:
    """One lane's radiographs. Calls block (journal, disk) and come one at a time."""

    def __init__(
        self,
        journal: Journal,
        bundles: Path,
        produced: Produced,
        scanners: Mapping[str, Scanner],
        now_utc_ns: Callable[[], int],
    ) -> None:
        self._journal, self._bundles, self._produced = journal, bundles, produced
        self._scanners, self._now_utc_ns = scanners, now_utc_ns
        self._passages: deque[Candidate] = deque(maxlen=MOST_PASSAGES)
        self._plates: dict[str, tuple[str, ...]] = {}
        self._kept: dict[str, dict[str, Any]] = {}  # object -> what is told of it
        self._waiting: dict[str, Radiograph] = {}  # object -> without its picture
        self._seen: deque[str] = deque(maxlen=MOST_PASSAGES)

    def terms(self, device: str) -> Terms:
        """The site's rules for this scanner."""
        return self._scanners[device].terms

    def take_up(self) -> Iterator[Row]:
        """After a start: know the last passages, what was kept, and finish joins that a crash cut. Rows to announce."""
        first = max(1, max((row.sequence for row in self._last_rows()), default=0) - LOOK_BACK_ROWS)
        for row in self._journal.rows(first, LOOK_BACK_ROWS, "bundle"):
            self._know(row)
        for row in self._journal.rows(first, LOOK_BACK_ROWS, JOINED):
            self._seen.append(str(row.document().get("object")))
        for row in self._journal.rows(first, LOOK_BACK_ROWS, KEPT):
            told = row.document()
            if told["object"] not in self._seen:
                self._show(told)
        for told in self._kept.values():
            self._wait_again(told)
        longest_s = max((scanner.terms.late_s for scanner in self._scanners.values()), default=0.0)
        oldest_ns = self._now_utc_ns() - round(longest_s * NS)
        for passage in [one for one in self._passages if (one.ended_utc_ns or 0) >= oldest_ns]:
            if (self._bundles / passage.passage_id / LATE).is_file():
                try:
                    yield from self._judged(passage.passage_id)
                except (BundleFault, OSError, ValueError) as fault:
                    log.error("passage %s: late evidence is not judged: %s", passage.passage_id, fault)

    def ended(self, passage_id: str) -> None:
        """A passage has its bundle now."""
        for row in self._journal.of_passage(passage_id, "bundle")[-1:]:
            self._know(row)

    def placed(self, radiograph: Radiograph, in_hand: Candidate | None) -> Joined | Kept | None:
        """Which passage it is of, the one in hand among them; None where it was placed before (a scanner sends again,
        or a crash came between joining it and the driver's note of it)."""
        if radiograph.path.name in self._seen:
            return None
        terms = self.terms(radiograph.device)
        oldest_ns = self._now_utc_ns() - round((terms.late_s + 86_400) * NS)
        while self._passages and (self._passages[0].ended_utc_ns or 0) < oldest_ns:
            self._plates.pop(self._passages.popleft().passage_id, None)
        by_plate = radiograph.plate_text is not None
        known = [self._with_plates(one) if by_plate else one for one in self._passages]
        return place(radiograph, [*known, in_hand] if in_hand else known, terms)

    def keep(self, radiograph: Radiograph, cause: str) -> None:
        """It fits no passage: recorded and shown, and tried again when the next passage has ended."""
        name = radiograph.path.name
        self._waiting[name] = replace(radiograph, transmission=NOTHING)
        if len(self._waiting) > MOST_KEPT:
            del self._waiting[next(iter(self._waiting))]
        told = self._told(radiograph) | {"cause": cause}
        if self._kept.get(name, {}).get("cause") == cause:
            return
        log.warning("%s: a radiograph is kept and joined to no passage: %s", radiograph.device, cause)
        self._journal.append(KEPT, None, told)
        self._show(told)

    def waiting(self) -> list[Radiograph]:
        """What may still join: kept, and not older than its scanner's ``late_s``. Their pictures stay on disk."""
        now_ns = self._now_utc_ns()
        for name, one in list(self._waiting.items()):
            if now_ns - one.stamp.arrival_utc_ns > self.terms(one.device).late_s * NS:
                del self._waiting[name]
        return list(self._waiting.values())

    def joined(self, radiograph: Radiograph, passage_id: str, by: str, file: str | None) -> None:
        """Record that it is in the bundle, as ``file``; None: the same scan was there already."""
        name = radiograph.path.name
        self._seen.append(name)
        self._waiting.pop(name, None)
        self._kept.pop(name, None)
        log.info("passage %s: a radiograph joined, by %s", passage_id, by)
        path = self._bundles / passage_id / (file or "")
        digest = "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None  # sealed later
        told = self._told(radiograph) | {"file": file, "joined_by": by, "digest": digest}
        self._journal.append(JOINED, passage_id, told)

    def join(self, radiograph: Radiograph, passage_id: str, by: str) -> Iterator[Row]:
        """Late evidence into its bundle, and the new revision that it makes. Rows are verdicts to announce.

        Raises:
            BundleFault, OSError: it is not in the bundle.
            JournalFault: it is in the bundle and not judged; the next start goes on.
        """
        folder = self._bundles / passage_id
        contents, content = read(folder), xray_dcs.content_of(radiograph)
        name = late.same_content(contents, content)
        if name is None:
            name = late.room_for(contents, content)
            record = xray_dcs.record(radiograph, by)
            line: dict[str, Any] = {"joined_utc": format_utc(self._now_utc_ns()), "xray": record}
            if (look := _late_look(contents, name, len(content), by)) is not None:
                line["look"] = look
            late.add(folder, name, content, line)
        yield from self._judged(passage_id)
        self.joined(radiograph, passage_id, by, name)

    def assign(self, name: str, passage_id: str, source: str) -> Iterator[Row]:
        """A person says which passage a kept radiograph is of.

        Raises:
            ValueError: no such radiograph is kept, or no such passage has a bundle.
        """
        told = self._kept.get(name)
        radiograph = None if told is None else self._waiting.get(name) or self._read_again(told)
        if radiograph is None:
            raise ValueError(f"{name[:80]}: no such radiograph is kept; see lanepulse radiographs")
        if not any(one.passage_id == passage_id for one in self._passages):
            raise ValueError(
                f"passage {passage_id[:40]}: no bundle of it among this lane's last; see lanepulse verdicts"
            )
        yield from self.join(radiograph, passage_id, source)

    def document(self) -> dict[str, Any]:
        """For the status and the command line: what is kept, newest last."""
        return {"kept": [dict(told) for told in self._kept.values()]}

    def _judged(self, passage_id: str) -> Iterator[Row]:
        """Verdicts of late looks that have none yet, in the journal and in the bundle."""
        folder = self._bundles / passage_id
        contents = read(folder)
        rows = self._journal.of_passage(passage_id, "verdict")
        spoken = [row.document() for row in rows]
        looks = [i for i, look in enumerate(contents.looks) if _is_late(look.model_extra)]
        done = sum(any(reason["code"] == LATE_REASON for reason in verdict["reasons"]) for verdict in spoken)
        for index in looks[done:]:
            passage, look = taken_look(contents, index)
            issue = self._issue(contents, spoken)
            verdict = judge(
                passage, look, self._produced.model.model, policy_of(contents.document.policy, Policy()), issue
            )
            sequence = self._journal.append("verdict", passage_id, verdict.document())
            row = self._journal.rows(sequence, 1)[0]
            rows.append(row)
            spoken.append(row.document())
            late.set_verdicts(folder, [one.body for one in rows])
            yield row
        if not looks[done:] and len(rows) > _copied(contents):
            late.set_verdicts(folder, [one.body for one in rows])

    def _issue(self, contents: BundleContents, spoken: list[dict[str, Any]]) -> Issue:
        made = (contents.document.model_extra or {}).get(MADE) or {}
        return Issue(
            revision=len(spoken) + 1,
            issued_utc=format_utc(self._now_utc_ns()),
            produced_by=self._produced.by(made.get("calibrations") or {}).model_copy(
                update={"config_sha256": str(made.get("config_sha256", ""))}
            ),
            final_before=any(verdict["final"] for verdict in spoken),
            opened_before=any(verdict["level"] == Level.OPEN_NOW.value for verdict in spoken),
            searched_before=any(verdict["final"] and verdict["level"] == Level.SEARCH.value for verdict in spoken),
        )

    def _wait_again(self, told: Mapping[str, Any]) -> None:
        scanner = self._scanners.get(str(told["device"]))
        since_s = (self._now_utc_ns() - parse_utc(told["arrived_utc"])) / NS
        if scanner is not None and since_s <= scanner.terms.late_s:
            radiograph = self._read_again(told)
            if radiograph is not None:
                self._waiting[told["object"]] = replace(radiograph, transmission=NOTHING)

    def _read_again(self, told: Mapping[str, Any]) -> Radiograph | None:
        """A kept object from its driver's spool, None where it is gone; what its driver said of it stands."""
        scanner = self._scanners.get(str(told["device"]))
        if scanner is None:
            return None
        path, at_ns = scanner.spool / Path(str(told["object"])).name, parse_utc(told["arrived_utc"])
        arrived = Stamp(at_ns, at_ns, 0, ClockQuality(synchronised=False, max_error_ns=None))
        try:
            found = Judge(str(told["device"]), scanner.rules).read(path, arrived)
        except OSError as error:
            log.error("%s: %s: %s", told["device"], path.name, error.strerror or error)
            return None
        return None if found is None else replace(found, status=str(told["status"]))

    def _know(self, row: Row) -> None:
        told = row.document()
        if row.passage_id is None or told.get("ended_utc") is None:
            return
        began, ended = parse_utc(told["began_utc"]), parse_utc(told["ended_utc"])
        self._passages.append(Candidate(row.passage_id, began, ended))

    def _with_plates(self, passage: Candidate) -> Candidate:
        """Plates are in the bundle alone, so that they go with it; they are never in the journal."""
        if passage.passage_id not in self._plates:
            try:
                document = read_document((self._bundles / passage.passage_id / PASSAGE).read_bytes())
                self._plates[passage.passage_id] = tuple(plate.text for plate in document.vehicle.plates)
            except (BundleFault, OSError):
                return passage
        return replace(passage, plates=self._plates[passage.passage_id])

    def _show(self, told: dict[str, Any]) -> None:
        self._kept.pop(told["object"], None)
        self._kept[told["object"]] = told
        if len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]

    def _told(self, radiograph: Radiograph) -> dict[str, Any]:
        """What the journal says of one: never its plate."""
        acquired = radiograph.acquired_utc_ns
        return {
            "device": radiograph.device,
            "object": radiograph.path.name,
            "arrived_utc": format_utc(radiograph.stamp.arrival_utc_ns),
            "acquired_utc": None if acquired is None else format_utc(acquired),
            "dose_usv": radiograph.dose_usv,
            "status": " ".join(radiograph.status.split())[: xray_dcs.LONGEST_STATUS],
        }

    def _last_rows(self) -> list[Row]:
        return [row for kind in ("bundle", JOINED, KEPT) if (row := self._journal.last(kind)) is not None]


def _copied(contents: BundleContents) -> int:
    """How many verdicts the bundle's copy holds."""
    if VERDICTS not in contents.files.entries:
        return 0
    return contents.files.read(VERDICTS).count(b"\n")


def _late_look(contents: BundleContents, file: str, size: int, by: str) -> dict[str, Any] | None:
    """The last look again, with this file: what else the lane measured after it stays as unused as it was."""
    if not contents.looks:
        return None
    last = contents.looks[-1].model_dump(mode="json")
    used = dict(last.get("used_bytes") or {})
    return last | {"used_bytes": used | {file: size}, "occasion": Occasion.LATE.value, "joined_by": by}


def _is_late(extra: Mapping[str, Any] | None) -> bool:
    return (extra or {}).get("occasion") == Occasion.LATE.value
