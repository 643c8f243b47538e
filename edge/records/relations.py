"""The record as relations: every question is an expression over the tables, written once, and run by whichever engine
the backend stands for. The embedded one is DuckDB.

The heart is `vehicles`: one row for each passage, with its last final verdict, its draw, its bundle's words and its
standing outcome. Everything that is counted is counted there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ibis
from ibis import _

from edge.records.lake import Contents, arrow_schema, contents
from edge.records.schema import BY_NAME, TABLES, UNDATED
from fusion.verdict import MODALITIES

KEY = ("site", "lane", "passage_id")
PROMPTS = ("search", "open_now")
NS = 1_000_000_000
QUARTER_NS = 900 * NS  # every zone of today is a whole number of quarters from UTC
WIND_BANDS_M_S = (2.0, 4.0, 8.0)  # SCIENCE 2.4: calm, light, the limit without shelter
LATEST_NS = (1 << 63) - 1

Relation = Any  # ibis gives no types to a checker


@dataclass(frozen=True, slots=True)
class Period:
    """From ``since`` to before ``until``, in ns UTC of a passage's beginning. The default is all that is dated."""

    since_utc_ns: int = 0
    until_utc_ns: int = LATEST_NS


class Record:
    """The tables of a lake behind one backend.

    Raises:
        LakeFault: no lake there, or not the lanes that were asked for.
    """

    def __init__(self, lake: Path, lanes: Sequence[tuple[str, str]] | None = None) -> None:
        self.contents: Contents = contents(lake, lanes)
        self.backend = ibis.duckdb.connect(threads=2)
        self._kept = 0
        self.tables: dict[str, Relation] = {table.name: self._table(table.name) for table in TABLES}

    def _table(self, name: str) -> Relation:
        paths = self.contents.files[name]
        schema = arrow_schema(BY_NAME[name])
        if not paths:
            return self.backend.create_table(name, schema=ibis.schema(schema), temp=True)
        read = self.backend.read_parquet([str(path) for path in paths], union_by_name=True, hive_partitioning=False)
        lacking = {
            field.name: ibis.null(ibis.schema(schema)[field.name]) for field in schema if field.name not in read.columns
        }
        return (read.mutate(**lacking) if lacking else read).select(*schema.names)

    def vehicles(self, period: Period | None = None) -> Relation:
        """`vehicles`, kept in the engine so that every question does not join anew."""
        self._kept += 1
        return self.backend.create_table(f"vehicles_{self._kept}", obj=vehicles(self.tables, period), temp=True)

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.disconnect()


def vehicles(tables: dict[str, Relation], period: Period | None = None) -> Relation:
    """One row a passage. NULL is unknown, never no.

    ``level`` is that of the last final revision, or `open_now` if any revision said so. ``searched``, ``found`` and
    what belongs to them are of the standing outcome. ``advice`` is the level, or `audit` where the draw alone made it a
    search. ``covert`` marks volunteers: leave them out of what is counted.
    """
    period = period or Period()
    verdicts = tables["verdicts"]
    last = verdicts.group_by(KEY).agg(
        sequence=ibis.coalesce(_.sequence.max(where=_.final), _.sequence.max()),
        opened=(_.level == "open_now").any(),
        revisions=_.count(),
    )
    verdict = last.inner_join(verdicts, [*KEY, "sequence"]).select(
        *KEY,
        "revisions",
        "issued_utc_ns",
        "final",
        "reasons",
        "clock_set",
        "trained_on",
        "prior_log10_odds",
        "log10_odds",
        *(f"{modality}_{what}" for modality in MODALITIES for what in ("state", "cause", "log10_lr")),
        level=ibis.ifelse(last.opened, "open_now", verdicts.level),
    )
    base = _keys(tables)
    joined = base
    for other in (
        verdict,
        _last(tables["bundles"], ("began_utc_ns", "ended_utc_ns", "body_type", "cargo", "shelter", "wind_m_s"), "b_"),
        _first(tables["audits"], ("stratum", "probability", "drawn")),
        _standing(tables["outcomes"]),
        tables["covert_tests"].group_by(KEY).agg(covert=_.count() > 0, covert_place=_.place.max(), load=_.load.max()),
    ):
        joined = joined.left_join(other, list(KEY)).drop(*(f"{key}_right" for key in KEY))
    began = ibis.coalesce(_.began_utc_ns, _.b_began_utc_ns, _.issued_utc_ns)
    shaped = joined.mutate(
        began_utc_ns=began,
        body_type=ibis.coalesce(_.body_type, "unknown"),
        cargo=ibis.coalesce(_.cargo, "unknown"),
        level=ibis.coalesce(_.level, "no_verdict"),
        covert=ibis.coalesce(_.covert, False),
        drawn=ibis.coalesce(_.drawn, False),
        bay_s=(_.ended_utc_ns - _.b_began_utc_ns) / float(NS),
        verdict_s=(_.issued_utc_ns - began) / float(NS),
        wind=_wind_band(_.wind_m_s),
        prompted=ibis.coalesce(_.level.isin(PROMPTS), False),
    )
    shaped = shaped.mutate(advice=ibis.ifelse(_.drawn & (_.level == "search"), "audit", _.level))
    inside = (shaped.began_utc_ns >= period.since_utc_ns) & (shaped.began_utc_ns < period.until_utc_ns)
    return shaped.filter(inside & (shaped.day != UNDATED))


def counted(relation: Relation) -> Relation:
    """Vehicles that count: no volunteers."""
    return relation.filter(~_.covert)


def totals(relation: Relation, by: Sequence[str] = ()) -> Relation:
    """Vehicles, prompts, searches, finds and people of each group; everything else is made from these.

    ``prompted_*`` are of vehicles prompted by evidence or policy; ``drawn_*`` of those that the audit draw picked.
    """
    grouped = relation.group_by(list(by)) if by else relation
    evident = _.prompted & ~_.drawn
    return grouped.agg(
        vehicles=_.count(),
        prompted=evident.sum(),
        drawn=_.drawn.sum(),
        known=_.searched.notnull().sum(),
        searched=_truth(_.searched).sum(),
        found=_truth(_.found).sum(),
        people=ibis.coalesce(_.people.sum(), 0),
        prompted_known=(evident & _.searched.notnull()).sum(),
        prompted_searched=(evident & _truth(_.searched)).sum(),
        prompted_found=(evident & _truth(_.found)).sum(),
        drawn_searched=(_.drawn & _truth(_.searched)).sum(),
        drawn_found=(_.drawn & _truth(_.found)).sum(),
        overridden=(_.response == "overridden").fill_null(False).sum(),
        minutes=ibis.coalesce(_.minutes.sum(), 0.0),
        minutes_known=_.minutes.notnull().sum(),
        checked=_.load_secured.notnull().sum(),
        unsecured=(~_.load_secured).fill_null(False).sum(),
    )


def incidents(relation: Relation, apart_s: int = 900) -> Relation:
    """Finds at one site that began less than ``apart_s`` after one another are one incident: one number."""
    finds = relation.filter(_truth(_.found))
    before = _.began_utc_ns.lag().over(ibis.window(group_by="site", order_by=["began_utc_ns", "passage_id"]))
    gaps = finds.mutate(gap_ns=_.began_utc_ns - before)
    return gaps.agg(incidents=(gaps.gap_ns.isnull() | (gaps.gap_ns >= apart_s * NS)).sum())


def states(relation: Relation, modality: str) -> Relation:
    """How often a modality spoke, and why not; figures in the causes are left out so that like comes to like."""
    cause = ibis.coalesce(_[f"{modality}_cause"], "").re_replace(r"-?[0-9]+([.,][0-9]+)?", "#")
    spoke = _[f"{modality}_state"] == "measured"
    return (
        relation.filter(_[f"{modality}_state"].notnull())
        .mutate(state=_[f"{modality}_state"], cause=ibis.ifelse(spoke, "", cause))
        .group_by(["state", "cause"])
        .agg(vehicles=_.count())
        .order_by([ibis.desc("vehicles"), "state", "cause"])
    )


def without(relation: Relation, modality: str, threshold_log10_lr: float) -> Relation:
    """What a modality added: contributions are additive, so leaving one out is a subtraction.

    Counts vehicles where it spoke, prompts that evidence reached only with it (the sum is over the threshold, and
    under it without), prompts that it prevented, and the finds among each.
    """
    total = _.log10_odds - _.prior_log10_odds
    rest = total - _[f"{modality}_log10_lr"]
    made = (total >= threshold_log10_lr) & (rest < threshold_log10_lr)
    kept = (total < threshold_log10_lr) & (rest >= threshold_log10_lr)
    return relation.filter(_.log10_odds.notnull()).agg(
        spoke=(_[f"{modality}_state"] == "measured").sum(),
        prompts=made.sum(),
        prompts_searched=(made & _truth(_.searched)).sum(),
        finds=(made & _truth(_.found)).sum(),
        prevented=kept.sum(),
        prevented_found=(kept & _truth(_.found)).sum(),
    )


def threshold(relation: Relation) -> Relation:
    """Smallest sum of contributions at which evidence alone prompted a search: one number, NULL where none did."""
    by_evidence = relation.filter((_.level == "search") & ~_.drawn & ~_.reasons.contains("policy."))
    return by_evidence.agg(threshold_log10_lr=(_.log10_odds - _.prior_log10_odds).min())


def seen_by(relation: Relation, first: str, second: str, speaks_log10_lr: float) -> Relation:
    """Finds in which one of two modalities, the other or both spoke for somebody at ``speaks_log10_lr`` or more."""
    a = _[f"{first}_log10_lr"] >= speaks_log10_lr
    b = _[f"{second}_log10_lr"] >= speaks_log10_lr
    both = (_[f"{first}_state"] == "measured") & (_[f"{second}_state"] == "measured")
    return relation.filter(_truth(_.found) & both).agg(
        finds=_.count(), first=a.sum(), second=b.sum(), both=(a & b).sum()
    )


def strata(relation: Relation) -> Relation:
    """Of each stratum of the audit: vehicles, draws, searches made, finds. Vehicles without a draw have no stratum."""
    return (
        relation.filter(_.probability.notnull())
        .group_by(["stratum", "probability"])
        .agg(
            vehicles=_.count(),
            drawn=_.drawn.sum(),
            searched=(_.drawn & _truth(_.searched)).sum(),
            found=(_.drawn & _truth(_.found)).sum(),
        )
        .order_by(["stratum", "probability"])
    )


def covert(relation: Relation, by: Sequence[str] = ()) -> Relation:
    """Volunteers aboard: how many vehicles, and at how many a search was prompted by evidence."""
    tests = relation.filter(_.covert & (_.level != "no_verdict"))
    grouped = tests.group_by(list(by)) if by else tests
    return grouped.agg(tests=_.count(), prompted=(_.prompted & ~_.drawn).sum(), rechecked=(_.level == "recheck").sum())


def overrides(relation: Relation) -> Relation:
    """Of each advice and each answer: how often, and what a search found all the same."""
    return (
        relation.filter(_.response.notnull())
        .mutate(override_reason=ibis.coalesce(_.override_reason, ""))
        .group_by(["advice", "response", "override_reason"])
        .agg(vehicles=_.count(), searched=_truth(_.searched).sum(), found=_truth(_.found).sum())
        .order_by(["advice", "response", "override_reason"])
    )


def times(relation: Relation, by: Sequence[str] = ()) -> Relation:
    """Seconds in the bay and to the verdict, minutes of a search: median and 95th percentile."""
    sane = relation.filter((_.bay_s >= 0).fill_null(True))  # a clock that was set in mid-passage
    grouped = sane.group_by(list(by)) if by else sane
    return grouped.agg(
        timed=_.bay_s.notnull().sum(),
        bay_p50_s=_.bay_s.quantile(0.5),
        bay_p95_s=_.bay_s.quantile(0.95),
        verdict_p50_s=_.verdict_s.quantile(0.5),
        verdict_p95_s=_.verdict_s.quantile(0.95),
        search_p50_min=_.minutes.quantile(0.5),
        search_p95_min=_.minutes.quantile(0.95),
    )


def quarters(relation: Relation, by: Sequence[str] = ()) -> Relation:
    """As `totals` for each quarter of an hour (UTC), from which local hours of any zone are made."""
    return totals(relation.mutate(quarter=_.began_utc_ns // QUARTER_NS), [*by, "quarter"]).order_by([*by, "quarter"])


def left_out(tables: dict[str, Relation]) -> Relation:
    """Rows that are in no count: refused, or written while the clock was not set."""
    refused = tables["refused_rows"].group_by(["row_kind", "cause"]).agg(rows=_.count())
    undated = tables["verdicts"].filter(_.day == UNDATED).agg(rows=_.count())
    return refused.order_by(["row_kind", "cause"]), undated


def _keys(tables: dict[str, Relation]) -> Relation:
    """Every passage once: also those of which only a verdict is there."""
    opened = tables["passages"].select(*KEY, "day", "began_utc_ns")
    judged = tables["verdicts"].select(*KEY, "day", began_utc_ns=ibis.null("int64"))
    return opened.union(judged).group_by(KEY).agg(began_utc_ns=_.began_utc_ns.min(), day=_.day.min())


def _last(table: Relation, columns: Sequence[str], prefix: str) -> Relation:
    newest = table.group_by(KEY).agg(sequence=_.sequence.max())
    joined = newest.inner_join(table, [*KEY, "sequence"])
    renamed = {(f"{prefix}{name}" if name == "began_utc_ns" else name): joined[name] for name in columns}
    return joined.select(*KEY, **renamed)


def _first(table: Relation, columns: Sequence[str]) -> Relation:
    """The first draw counts: it was made before the score was known."""
    oldest = table.group_by(KEY).agg(sequence=_.sequence.min())
    return oldest.inner_join(table, [*KEY, "sequence"]).select(*KEY, *columns)


def _standing(outcomes: Relation) -> Relation:
    """The last outcome of each passage, unless it took its predecessor back."""
    kept = ("searched", "technique", "found", "people", "minutes", "by", "load_secured", "response", "override_reason")
    newest = outcomes.group_by(KEY).agg(sequence=_.sequence.max())
    return newest.inner_join(outcomes, [*KEY, "sequence"]).filter(~_.undone).select(*KEY, *kept)


def _truth(column: Any) -> Any:
    return column.fill_null(False)


def _wind_band(wind_m_s: Any) -> Any:
    calm, light, strong = WIND_BANDS_M_S
    return ibis.cases(
        (wind_m_s.isnull(), "unknown"),
        (wind_m_s < calm, f"0 to {calm:g} m/s"),
        (wind_m_s < light, f"{calm:g} to {light:g} m/s"),
        (wind_m_s < strong, f"{light:g} to {strong:g} m/s"),
        else_=f"{strong:g} m/s and more",
    )
