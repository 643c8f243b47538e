"""A question to the record: which vehicles, and whose clock. What the analyses are functions of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from edge.records import relations
from edge.records.local_time import offsets
from edge.records.relations import Period, Record, Relation

Group = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """The vehicles of a question, in the engine, with the hours of a place. ``first_ns``, ``last_ns``: when the first
    and the last of them came, ns UTC; 0 where there is none."""

    record: Record
    vehicles: Relation  # volunteers among them
    place: ZoneInfo
    first_ns: int
    last_ns: int

    @property
    def counted(self) -> Relation:
        """Without volunteers."""
        return relations.counted(self.vehicles)


def ask(record: Record, place: ZoneInfo, period: Period | None = None, where: Mapping[str, str] | None = None) -> Asked:
    """The vehicles of a period where every column of ``where`` has its word."""
    vehicles = record.vehicles(period)
    for name, word in (where or {}).items():
        vehicles = vehicles.filter(vehicles[name] == word)
    span = one(vehicles.agg(first=vehicles.began_utc_ns.min(), last=vehicles.began_utc_ns.max()))
    first, last = span["first"] or 0, span["last"] or 0
    return Asked(record, relations.local(vehicles, offsets(place, first, last)), place, first, last)


def rows(relation: Relation) -> list[Group]:
    """A small answer, out of the engine."""
    found: list[Group] = relation.to_pyarrow().to_pylist()
    return found


def one(relation: Relation) -> Group:
    """An answer of one row."""
    return rows(relation)[0]
