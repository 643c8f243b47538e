"""Every case, how old it is and what it waits for; what should be one and is not; and whether like cases end alike."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from edge.journal.journal import Row
from edge.journal.read import Reader
from edge.places import Places
from edge.records.outcome_book import KIND as OUTCOME
from edge.referral.book import MADE, STAGE
from edge.referral.case import Case, gather, missing
from edge.referral.words import CLOSED, case_id_of
from fusion.bundle.times import format_utc, parse_utc

NOT_REFERRED = "not_referred"
WAITS_FOR = {
    "referred": "the penalty team's notice",
    "notified": "payment, or an objection",
    "objected": "a decision on the objection",
}
COVERT = ("covert", "covert.entered", "covert.revealed")  # tests are no cases
DAY_NS = 86_400 * 10**9


@dataclass(frozen=True, slots=True)
class Waiting:
    """One case, or a passage that should be one."""

    case_id: str
    passage_id: str
    kind: str
    stage: str
    since_utc: str
    age_days: float  # since the search
    stage_days: float  # in this stage
    waits_for: str
    alarm: bool
    amount_gbp: float | None
    failing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Alike:
    """Cases of one kind with the same failing checks, and how they ended."""

    kind: str
    failing: tuple[str, ...]
    ended: Mapping[str, int]
    open: int
    amounts_gbp: tuple[float, float, float] | None  # least, median, most of those paid
    differ: bool  # like cases did not end alike: somebody should say why


def queue(reader: Reader, places: Places, now_utc_ns: int, alarm_days: Mapping[str, float]) -> list[Waiting]:
    """All cases, the longest in its stage first; closed ones last."""
    outcomes = _standing(reader)
    steps: dict[str, list[Row]] = defaultdict(list)
    for row in reader.of_kind(MADE, STAGE):
        steps[str(row.passage_id)].append(row)
    tests = {row.passage_id for row in reader.of_kind(*COVERT)}
    found = []
    for passage_id in dict.fromkeys([*steps, *outcomes]):
        case = gather(reader, places, passage_id)
        if passage_id in steps:
            found.append(_referred(case, steps[passage_id], now_utc_ns, alarm_days))
        elif case.kind is not None and passage_id not in tests:
            found.append(_not_referred(case, outcomes[passage_id], now_utc_ns, alarm_days))
    return sorted(found, key=lambda waiting: (waiting.stage in CLOSED, not waiting.alarm, -waiting.stage_days))


def alike(cases: list[Waiting]) -> list[Alike]:
    """Groups of like cases, those that ended differently first."""
    groups: dict[tuple[str, tuple[str, ...]], list[Waiting]] = defaultdict(list)
    for case in cases:
        if case.stage != NOT_REFERRED:
            groups[case.kind, case.failing].append(case)
    found = [_alike(kind, failing, group) for (kind, failing), group in sorted(groups.items())]
    return sorted(found, key=lambda group: not group.differ)


def _standing(reader: Reader) -> dict[str, Row]:
    """Passage -> its last outcome row, where that found somebody or a check failed; cheap, for a year of outcomes."""
    last = {str(row.passage_id): row for row in reader.of_kind(OUTCOME)}
    suspect = ('"found":true', ':"missing"', ':"broken"', ':"cut"', ':"open"', ':"changed"')
    return {passage_id: row for passage_id, row in last.items() if any(word in row.body for word in suspect)}


def _referred(case: Case, steps: list[Row], now_ns: int, alarm_days: Mapping[str, float]) -> Waiting:
    last = steps[-1].document()
    amounts = [amount for row in steps if (amount := row.document().get("amount_gbp")) is not None]
    return _waiting(
        case, last["stage"], last["at_utc"], WAITS_FOR.get(last["stage"], "-"), now_ns, alarm_days,
        amounts[-1] if amounts else None,
    )  # fmt: skip


def _not_referred(case: Case, outcome: Row, now_ns: int, alarm_days: Mapping[str, float]) -> Waiting:
    lacking = missing(case, None)
    waits = ", ".join(field.field for field in lacking) or f"lanepulse referral make {case.passage_id}"
    since = format_utc(outcome.written_utc_ns)
    return _waiting(case, NOT_REFERRED, since, waits, now_ns, alarm_days, None)


def _waiting(
    case: Case,
    stage: str,
    since_utc: str,
    waits_for: str,
    now_ns: int,
    alarm_days: Mapping[str, float],
    amount: float | None,
) -> Waiting:
    stage_days = (now_ns - parse_utc(since_utc)) / DAY_NS
    searched_ns = now_ns if case.outcome_row is None else case.outcome_row.written_utc_ns
    limit = alarm_days.get(stage)
    return Waiting(
        case_id=case_id_of(case.passage_id),
        passage_id=case.passage_id,
        kind=case.kind or "taken back",
        stage=stage,
        since_utc=since_utc,
        age_days=round((now_ns - searched_ns) / DAY_NS, 1),
        stage_days=round(stage_days, 1),
        waits_for=waits_for,
        alarm=limit is not None and stage_days > limit,
        amount_gbp=amount,
        failing=case.failing,
    )


def _alike(kind: str, failing: tuple[str, ...], group: list[Waiting]) -> Alike:
    ended = Counter(case.stage for case in group if case.stage in CLOSED)
    paid = sorted(case.amount_gbp for case in group if case.stage == "paid" and case.amount_gbp is not None)
    return Alike(
        kind=kind,
        failing=failing,
        ended=dict(sorted(ended.items())),
        open=sum(case.stage not in CLOSED for case in group),
        amounts_gbp=(paid[0], median(paid), paid[-1]) if paid else None,
        differ=len(ended) > 1 or len(set(paid)) > 1,
    )


def said(groups: list[Alike]) -> Iterator[tuple[Any, ...]]:
    """Rows for a table of people."""
    for group in groups:
        ended = ", ".join(f"{count} {stage.replace('_', ' ')}" for stage, count in group.ended.items()) or "none yet"
        amounts = "-" if group.amounts_gbp is None else "/".join(f"{amount:g}" for amount in group.amounts_gbp)
        yield (group.kind, ",".join(group.failing) or "-", ended, group.open, amounts, "DIFFER" if group.differ else "")
