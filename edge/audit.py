"""The lane's audit draw: the site's strata and key, and the rows that the journal keeps of both.

The journal names key and strata before the first draw under them, so that each number was fixed the moment its vehicle
came into the lane. Numbers and probabilities are never published: who knew them could tell which lorries are let pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from edge.config import AuditTable
from edge.journal.journal import Journal
from fusion.audit_draw import Case, Draw, Stratum, audit, key_id, keyed_number

KIND, KIND_KEY = "audit", "audit.key"
TELL = {"random_check": "audit.random", "search": "policy.search"}


@dataclass(frozen=True, slots=True)
class LaneAudit:
    """What decides on a lane's draws."""

    key: bytes
    strata: tuple[Stratum, ...]
    declared_times: float
    code: str  # the reason that the officer is given
    zone: ZoneInfo

    def number(self, passage_id: str) -> float:
        """Drawn when the vehicle comes, before anything of it is known."""
        return keyed_number(self.key, passage_id)

    def hour(self, utc_ns: int) -> int:
        """Hour of the site's clock."""
        return datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC).astimezone(self.zone).hour

    def draw(self, number: float, case: Case) -> Draw | None:
        """None where the vehicle is searched anyway, or fits no stratum."""
        return audit(number, case, self.strata, self.declared_times)

    def row(self, draw: Draw, case: Case) -> dict[str, Any]:
        """The journal's body of a draw, drawn or not."""
        return {
            "stratum": draw.stratum,
            "probability": draw.probability,
            "number": draw.number,
            "drawn": draw.searched,
            "declared_down": case.declared_down,
            "margin_log10_lr": case.margin_log10_lr,
            "key_id": key_id(self.key),
            "said": self.code if draw.searched else None,
        }

    def announce(self, journal: Journal) -> None:
        """Name key and strata in the journal, where they are not the last that it names. Raises JournalFault."""
        said = {
            "key_id": key_id(self.key),
            "strata": [_described(stratum) for stratum in self.strata],
            "declared_times": self.declared_times,
            "said": self.code,
        }
        last = journal.last(KIND_KEY)
        if last is None or last.document() != said:
            journal.append(KIND_KEY, None, said)


def of_lane(table: AuditTable, zone: str, key: bytes) -> LaneAudit:
    """The site's draw, as the lane's file has it."""
    strata = tuple(
        Stratum(
            each.name,
            each.probability,
            None if each.body_types is None else frozenset(each.body_types),
            each.hours,
            each.near_log10_lr,
        )
        for each in table.strata
    )
    return LaneAudit(key, strata, table.declared_times, TELL[table.tell], ZoneInfo(zone))


def _described(stratum: Stratum) -> Mapping[str, Any]:
    return {
        "name": stratum.name,
        "probability": stratum.probability,
        "body_types": None if stratum.body_types is None else sorted(stratum.body_types),
        "hours": None if stratum.hours is None else list(stratum.hours),
        "near_log10_lr": stratum.near_log10_lr,
    }
