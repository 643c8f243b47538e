"""Which passages are kept beyond their time: those that somebody holds, and those of a case that is not long closed."""

from __future__ import annotations

from collections.abc import Mapping

from edge.journal.journal import Row
from edge.journal.read import Reader
from edge.referral.book import HOLD, MADE, STAGE
from edge.referral.words import CLOSED
from fusion.bundle.times import parse_utc

DAY_NS = 86_400 * 10**9


def held(reader: Reader, now_utc_ns: int, closed_case_days: float) -> dict[str, str]:
    """Passage -> why it is held."""
    found: dict[str, str] = {}
    for passage_id, row in _last(reader.of_kind(MADE, STAGE)).items():
        step = row.document()
        open_for_ns = now_utc_ns - parse_utc(step["at_utc"])
        if step["stage"] not in CLOSED:
            found[passage_id] = f"its case is {step['stage'].replace('_', ' ')}"
        elif open_for_ns < closed_case_days * DAY_NS:
            found[passage_id] = f"its case was closed less than {closed_case_days:g} days ago"
    for passage_id, row in _last(reader.of_kind(HOLD)).items():
        if row.document()["held"]:
            found[passage_id] = "held by hand"
    return found


def _last(rows: list[Row]) -> Mapping[str, Row]:
    return {str(row.passage_id): row for row in rows}
