"""A question to the record: which vehicles, and whose clock. What the analyses are functions of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from ibis.util import gen_name

from edge.records import relations
from edge.records.intervals import Blocks, Rate, block_share
from edge.records.local_time import HOUR_NS, offsets
from edge.records.relations import PAIRS, Period, Record, Relation

Group = dict[str, Any]
DAY_NS = 24 * HOUR_NS
FEWEST_BLOCKS = 20  # assumed: fewer days tell little of how much days differ; then hours are compared


@dataclass(frozen=True, slots=True)
class Asked:
    """The vehicles of a question, in the engine, with the hours of a place. ``first_ns``, ``last_ns``: when the first
    and the last of them came, ns UTC; 0 where there is none."""

    record: Record
    vehicles: Relation  # volunteers among them
    place: ZoneInfo
    first_ns: int
    last_ns: int
    trained_on: tuple[str, ...] = ()  # what the verdicts' models learnt from, sorted

    @property
    def counted(self) -> Relation:
        """Without volunteers."""
        return relations.counted(self.vehicles)


def ask(record: Record, place: ZoneInfo, period: Period | None = None, where: Mapping[str, str] | None = None) -> Asked:
    """The vehicles of a period where every column of ``where`` has its word."""
    vehicles = record.vehicles(period)
    for name, word in (where or {}).items():
        vehicles = vehicles.filter(vehicles[name] == word)
    began = vehicles.began_utc_ns
    spans = rows(vehicles.group_by("trained_on").agg(first=began.min(), last=began.max()))
    first, last = min((s["first"] for s in spans), default=0), max((s["last"] for s in spans), default=0)
    block_ns = DAY_NS if last - first >= FEWEST_BLOCKS * DAY_NS else HOUR_NS
    local = relations.local(vehicles, offsets(place, first, last), block_ns)
    trained_on = sorted({span["trained_on"] for span in spans} - {None})
    return Asked(record, local, place, first, last, tuple(trained_on))


def rows(relation: Relation) -> list[Group]:
    """A small answer, out of the engine and straight into Python: by way of Arrow the library would import pandas."""
    engine = relation.get_backend()
    answer = engine.raw_sql(engine.compile(relation))
    names = [column[0] for column in answer.description]
    return [dict(zip(names, row, strict=True)) for row in answer.fetchall()]


def once(relation: Relation) -> Relation:
    """The same, worked out now: for what several questions are asked of."""
    return relation.get_backend().create_table(gen_name("once"), obj=relation, temp=True)


def one(relation: Relation) -> Group:
    """An answer of one row."""
    return rows(relation)[0]


def rate(group: Group, cases: str) -> Rate:
    """One of `relations.PAIRS`, out of a group of `relations.blocked`."""
    spread = Blocks(*(group[f"{cases}_{what}"] for what in ("xx", "xn", "nn", "blocks")))
    return block_share(group[cases], group[PAIRS[cases]], spread)


def part(group: Group) -> Rate:
    """Share of a part, out of a group of `relations.composition`."""
    return block_share(group["x"], group["of"], Blocks(group["xx"], group["xn"], group["nn"], group["blocks"]))
