"""Journal rows -> rows of the record's tables. Bodies may hold more than is read here; what is read must be right.

RowRefused    a body that lacks what its kind must have, or holds another type; the message names the field
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from edge import json_text
from edge.journal.journal import Row
from edge.records.schema import OF_ROW_KIND, UNDATED, Table
from fusion.bundle.times import parse_utc
from fusion.verdict import MODALITIES, Level, State

CLOCK_NOT_SET = "clock.not_set"
FIRST_TRUE_YEAR, LAST_TRUE_YEAR = 2024, 2200  # no lane ran before; a clock at its epoch says 1970 or 2000
MOST = 1_000_000  # of anything counted in one row
IN_ORDER = frozenset({"ok", "intact", "secured", "yes"})  # words of a check that found nothing wrong
NOT_SAID = frozenset({"not_checked", "unknown", "not_applicable", "n/a", ""})


class RowRefused(ValueError):
    """One line: which field of the body, what is wrong."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class _Opened(_Body):
    began_utc: str


class _Evidence(_Body):
    modality: str
    state: State = Field(strict=False)
    log10_lr: float
    cause: str | None = None


class _Reason(_Body):
    code: str


class _ProducedBy(_Body):
    version: str = ""
    model: str = ""
    model_sha256: str = ""
    config_sha256: str = ""


class _Verdict(_Body):
    site: str
    lane: str
    revision: int = Field(ge=1, le=MOST)
    final: bool
    issued_utc: str
    level: Level = Field(strict=False)
    score: float = Field(ge=0, le=1)
    log10_odds: float
    prior_log10_odds: float
    evidence: list[_Evidence]
    reasons: list[_Reason] = []
    trained_on: str
    produced_by: _ProducedBy


class _Clock(_Body):
    synchronised: bool | None = None


class _Context(_Body):
    engine: str | None = None
    refrigeration: str | None = None
    cargo: str | None = None
    doors: str | None = None
    driver: str | None = None
    shelter: str | None = None
    sealed_for_s: float | None = None


class _Words(_Context):
    body_type: str | None = None


class _Bundle(_Body):
    closing: str
    bundle: str
    passage_json: str
    began_utc: str | None = None
    ended_utc: str | None = None
    body_type: str | None = None
    context: _Context = _Context()
    wind_m_s: float | None = None
    clock: _Clock = _Clock()


class _Declared(_Body):
    source: str = ""
    words: _Words


class _Shown(_Body):
    level: Level = Field(strict=False)


class _Outcome(_Body):
    searched: bool
    technique: str | None = None
    found: bool | None = None
    people: int | None = Field(None, ge=0, le=MOST)
    where: str | None = None
    minutes: float | None = Field(None, ge=0)
    by: str | None = None
    secured: dict[str, Any] | None = None
    response: str | None = None
    reason: str | None = None


class _OutcomeRow(_Body):
    revision: int = Field(1, ge=1, le=MOST)
    corrects: int | None = Field(None, ge=1, le=2**53)
    shown: _Shown | None = None
    entered_utc: str | None = None
    outcome: _Outcome | None


class _Audit(_Body):
    stratum: str
    probability: float = Field(ge=0, le=1)
    drawn: bool = Field(validation_alias=AliasChoices("drawn", "searched"))


class _Covert(_Body):
    people: int | None = Field(None, ge=0, le=MOST)
    place: str | None = Field(None, validation_alias=AliasChoices("place", "where"))
    aboard_s: float | None = None
    load: str | None = None


class _Device(_Body):
    device: str = Field(validation_alias=AliasChoices("device", "name"))
    state: str
    cause: str | None = None


class _Calibration(_Body):
    device: str | None = None
    procedure: str | None = None
    passed: bool | None = Field(None, validation_alias=AliasChoices("passed", "accepted", "ok"))


class _Referral(_Body):
    case_id: str
    stage: str = "referred"
    at_utc: str | None = None
    amount_gbp: float | None = Field(None, ge=0)
    pack_sha256: str | None = None


def table_row(row: Row, site: str, lane: str) -> tuple[str, dict[str, Any]]:
    """Table and values of a journal row; a row that cannot be read goes into ``refused_rows``, any other kind into
    ``other_rows``."""
    try:
        document = json.loads(row.body)
        if not isinstance(document, dict):
            raise RowRefused("body: not an object")
        table = OF_ROW_KIND.get(row.kind)
        if table is None:
            return "other_rows", _common(row, site, lane) | {"row_kind": row.kind}
        values = _READERS[table.name](row, document)
        if (values.get("site", site), values.get("lane", lane)) != (site, lane):
            of = f"{values['site']}/{values['lane']}"
            raise RowRefused(f"lane: the verdict is of {of[:65]}, the journal of {site}/{lane}")
        return table.name, _filled(table, _common(row, site, lane) | values)
    except (ValueError, RecursionError) as error:
        cause = _first(error) if isinstance(error, ValidationError) else str(error)
        return "refused_rows", _common(row, site, lane) | {"row_kind": row.kind, "cause": cause[:200]}


def day_of(written_utc_ns: int) -> str:
    """UTC day, or ``undated`` for a time that no lane can have lived in."""
    try:
        moment = datetime.fromtimestamp(written_utc_ns // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return UNDATED
    return moment.strftime("%Y-%m-%d") if FIRST_TRUE_YEAR <= moment.year <= LAST_TRUE_YEAR else UNDATED


def load_secured(items: Mapping[str, Any] | None) -> bool | None:
    """Whether all checked items are in order; None where none was checked.

    An item is a word, or an object with the word as its ``state``.
    """
    words = [str(item.get("state", "")) if isinstance(item, dict) else str(item) for item in (items or {}).values()]
    said = [word.strip().casefold() for word in words if word.strip().casefold() not in NOT_SAID]
    return all(word in IN_ORDER for word in said) if said else None


def _common(row: Row, site: str, lane: str) -> dict[str, Any]:
    return {
        "site": site,
        "lane": lane,
        "day": day_of(row.written_utc_ns),
        "sequence": row.sequence,
        "boot_id": row.boot_id,
        "passage_id": row.passage_id,
        "written_utc_ns": row.written_utc_ns,
    }


def _filled(table: Table, values: Mapping[str, Any]) -> dict[str, Any]:
    return {column.name: values.get(column.name) for column in table.columns}


def _opened(row: Row, body: Any) -> dict[str, Any]:
    return {"began_utc_ns": _utc_ns(_Opened.model_validate(body).began_utc)}


def _verdict(row: Row, body: Any) -> dict[str, Any]:
    said = _Verdict.model_validate(body)
    values = said.model_dump(exclude={"evidence", "reasons", "produced_by", "issued_utc"})
    values |= said.produced_by.model_dump() | {"issued_utc_ns": _utc_ns(said.issued_utc), "level": said.level.value}
    if tuple(part.modality for part in said.evidence) != MODALITIES:
        raise RowRefused(f"evidence: not {', '.join(MODALITIES)} in this order")
    for part in said.evidence:
        values[f"{part.modality}_state"] = part.state.value
        values[f"{part.modality}_cause"] = part.cause
        values[f"{part.modality}_log10_lr"] = part.log10_lr
    codes = [reason.code for reason in said.reasons]
    return values | {"reasons": " ".join(codes), "clock_set": CLOCK_NOT_SET not in codes}


def _bundle(row: Row, body: Any) -> dict[str, Any]:
    kept = _Bundle.model_validate(body)
    return {
        **kept.model_dump(include={"closing", "bundle", "passage_json", "body_type", "wind_m_s"}),
        **kept.context.model_dump(),
        "began_utc_ns": None if kept.began_utc is None else _utc_ns(kept.began_utc),
        "ended_utc_ns": None if kept.ended_utc is None else _utc_ns(kept.ended_utc),
        "clock_synchronised": kept.clock.synchronised,
    }


def _declared(row: Row, body: Any) -> dict[str, Any]:
    said = _Declared.model_validate(body)
    return {"source": said.source, **said.words.model_dump()}


def _outcome(row: Row, body: Any) -> dict[str, Any]:
    entry = _OutcomeRow.model_validate(body)
    values = entry.model_dump(include={"revision", "corrects"}) | {
        "undone": entry.outcome is None,
        "shown_level": None if entry.shown is None else entry.shown.level.value,
        "entered_utc_ns": row.written_utc_ns if entry.entered_utc is None else _utc_ns(entry.entered_utc),
    }
    told = entry.outcome
    if told is None:
        return values
    if not told.searched and told.found is not None:
        raise RowRefused("outcome.found: nothing can be said of a vehicle that was not searched; give null")
    return values | {
        **told.model_dump(exclude={"secured", "where", "reason"}),
        "override_reason": told.reason,
        "where_found": told.where,
        "secured": json_text.write(told.secured) if told.secured else None,
        "load_secured": load_secured(told.secured),
    }


def _case(row: Row, body: Any) -> dict[str, Any]:
    step = _Referral.model_validate(body)
    at_utc_ns = row.written_utc_ns if step.at_utc is None else _utc_ns(step.at_utc)
    return step.model_dump(exclude={"at_utc"}) | {"at_utc_ns": at_utc_ns, "row_kind": row.kind}


def _calibration(row: Row, body: Any) -> dict[str, Any]:
    return {"row_kind": row.kind, **_Calibration.model_validate(body).model_dump()}


_READERS: dict[str, Callable[[Row, Any], dict[str, Any]]] = {
    "passages": _opened,
    "verdicts": _verdict,
    "bundles": _bundle,
    "contexts": _declared,
    "outcomes": _outcome,
    "audits": lambda row, body: _Audit.model_validate(body).model_dump(),
    "covert_tests": lambda row, body: _Covert.model_validate(body).model_dump(),
    "devices": lambda row, body: _Device.model_validate(body).model_dump(),
    "calibrations": _calibration,
    "referrals": _case,
}


def _utc_ns(text: str) -> int:
    """As `parse_utc`; refuses what 64 bits of nanoseconds cannot hold."""
    time_utc_ns = parse_utc(text)
    if abs(time_utc_ns) >= 1 << 63:
        raise RowRefused(f"{text[:40]!r} is outside the years that 64 bits of nanoseconds hold (1678 to 2262)")
    return time_utc_ns


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    return f"{'.'.join(map(str, detail['loc'])) or 'body'}: {detail['msg']}"
