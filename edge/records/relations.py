"""The record as relations: every question is an expression over the tables, written once, and run by whichever engine
the backend stands for. The embedded one is DuckDB.

The heart is `vehicles`: one row for each passage, with its last final verdict, its draw, its bundle's words and its
standing outcome. Everything that is counted is counted there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import combinations
from operator import and_
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ibis
import ibis.expr.datatypes as dt
from ibis import _

from edge.records.kept import vehicles_kept
from edge.records.lake import Contents, File, Listed, listed
from edge.records.schema import BY_NAME, UNDATED, Kind
from fusion.verdict import MODALITIES

KEY = ("site", "lane", "passage_id")
PROMPTS = ("search", "open_now")
OUTCOME = ("searched", "technique", "found", "people", "minutes", "by", "load_secured", "response", "override_reason")
BUNDLE = ("began_utc_ns", "ended_utc_ns", "body_type", "cargo", "shelter", "wind_m_s")
VERDICT = (
    "issued_utc_ns",
    "final",
    "reasons",
    "clock_set",
    "trained_on",
    "prior_log10_odds",
    "log10_odds",
    "config_sha256",
    *(f"{modality}_{what}" for modality in MODALITIES for what in ("state", "cause", "log10_lr")),
)
JOINED = {  # table -> columns that a vehicle is made of, beside the key
    "passages": ("day", "began_utc_ns"),
    "verdicts": ("day", "sequence", "level", *VERDICT),
    "bundles": ("sequence", *BUNDLE),
    "audits": ("sequence", "stratum", "probability", "drawn"),
    "outcomes": ("sequence", "undone", *OUTCOME),
    "covert_tests": ("place", "load", "aboard_s"),
}
PAIRS = {  # rates: cases -> of what
    "prompted": "vehicles",
    "known": "vehicles",
    "searched": "known",
    "found": "searched",
    "prompted_found": "prompted_searched",
    "prompted_known": "prompted",
    "overridden": "answered",
}
SAME_RULE = ("site", "lane", "config_sha256")  # one threshold for all of these
NS = 1_000_000_000
HOUR_NS = 3_600 * NS
WIND_BANDS_M_S = (2.0, 4.0, 8.0)  # SCIENCE 2.4: calm, light, the limit without shelter
ABOARD_BANDS_S = (1_800, 7_200)  # SCIENCE 3.1: CO2 tells of a box after half an hour, of most after two
AT_ONCE_S = 15.0  # assumed: what a lorry that waited at the line takes to roll in
LONGEST_STAY_S = 4 * 3_600.0  # assumed: longer in the bay, and the clock was set meanwhile
THREADS = 2
MEMORY = "1200MB"  # of the engine, which then uses the disk; Python and its libraries need some 300 MB beside
LATEST_NS = (1 << 63) - 1
_TYPES = {Kind.TEXT: "string", Kind.WHOLE: "int64", Kind.NUMBER: "float64", Kind.TRUTH: "boolean"}

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
        self.listed: Listed = listed(lake, lanes)
        self._scratch = TemporaryDirectory(prefix="lanepulse-")
        self.backend = self._engine()
        self._tables: dict[str, Relation] = {}
        self._vehicles: Relation | None = None

    @cached_property
    def contents(self) -> Contents:
        """Every file, looked at."""
        return self.listed.contents()

    def table(self, name: str) -> Relation:
        """All rows of a table; its files are looked at and opened when it is first asked for."""
        if name not in self._tables:
            right = [file for site, lane in self.listed.lanes for file in self.listed.right(site, lane, (name,))]
            self._tables[name] = _read(self.backend, name, self.listed.lake, right)
        return self._tables[name]

    def vehicles(self, period: Period | None = None) -> Relation:
        """`vehicles` of a period. They were joined once, when the record last changed."""
        if self._vehicles is None:
            paths = vehicles_kept(self.listed, Path(self._scratch.name), tuple(JOINED), self._joined)
            self._vehicles = self.backend.read_parquet([str(path) for path in paths], hive_partitioning=False)
        return inside(self._vehicles, period or Period())

    def _joined(self, files: Sequence[File], path: Path) -> None:
        """Each file is opened once, by an engine of its own: what one lane took is free again for the next."""
        engine = self._engine()
        tables = {}
        for name, columns in JOINED.items():
            read = _read(engine, name, self.listed.lake, [file for file in files if file.table == name])
            tables[name] = engine.create_table(name, obj=read.select(*KEY, *columns), temp=True)
        engine.to_parquet(vehicles(tables), path, compression="zstd")
        engine.disconnect()

    def _engine(self) -> Any:
        return ibis.duckdb.connect(threads=THREADS, memory_limit=MEMORY, temp_directory=self._scratch.name)

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *_: object) -> None:
        self.backend.disconnect()
        self._scratch.cleanup()


def _read(engine: Any, name: str, lake: Path, files: Sequence[File]) -> Relation:
    """A table's rows; what files of an older version lack is NULL."""
    schema = ibis.schema({column.name: _TYPES[column.kind] for column in BY_NAME[name].columns})
    if not files:
        return engine.create_table(f"no_{name}", schema=schema, temp=True)
    read = engine.read_parquet([f"{lake}/{file.path}" for file in files], union_by_name=True, hive_partitioning=False)
    lacking = {column: ibis.null(kind) for column, kind in schema.items() if column not in read.columns}
    return (read.mutate(**lacking) if lacking else read).select(*schema.names)


def inside(relation: Relation, period: Period) -> Relation:
    """Vehicles that came in a period; those of an unset clock are in none."""
    began = relation.began_utc_ns
    return relation.filter((began >= period.since_utc_ns) & (began < period.until_utc_ns) & (relation.day != UNDATED))


def vehicles(tables: Mapping[str, Relation]) -> Relation:
    """One row a passage. NULL is unknown, never no.

    ``level`` is that of the last final revision, or `open_now` if any revision said so. ``searched``, ``found`` and
    what belongs to them are of the standing outcome. ``advice`` is the level, or `audit` where the draw alone made it a
    search. ``covert`` marks volunteers: leave them out of what is counted.
    """
    verdicts = tables["verdicts"]
    last = verdicts.group_by(KEY).agg(
        sequence=ibis.coalesce(_.sequence.max(where=_.final), _.sequence.max()),
        opened=(_.level == "open_now").any(),
        revisions=_.count(),
    )
    verdict = last.inner_join(verdicts, [*KEY, "sequence"]).select(
        *KEY,
        "revisions",
        *VERDICT,
        level=ibis.ifelse(last.opened, "open_now", verdicts.level),
    )
    base = _keys(tables)
    joined = base
    for other in (
        verdict,
        _last(tables["bundles"], BUNDLE, "b_"),
        _first(tables["audits"], ("stratum", "probability", "drawn")),
        _standing(tables["outcomes"]),
        tables["covert_tests"]
        .group_by(KEY)
        .agg(
            covert=_.count() > 0, covert_place=_.place.max(), load=_.load.max(), aboard=_aboard_band(_.aboard_s.max())
        ),
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
    return _after_which(shaped.drop("b_began_utc_ns", "revisions"))


def _after_which(relation: Relation) -> Relation:
    """With ``gap_s``: how long the lane had been empty; NULL where that is not known, never under 0."""
    before = ibis.window(group_by=("site", "lane"), order_by=("began_utc_ns", "passage_id"))
    left = relation.ended_utc_ns.lag().over(before)
    gap_s = (relation.began_utc_ns - left) / float(NS)
    return relation.mutate(gap_s=ibis.ifelse(gap_s >= 0, gap_s, ibis.null("float64")))


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
        answered=_.response.notnull().sum(),
        overridden=(_.response == "overridden").fill_null(False).sum(),
        minutes=ibis.coalesce(_.minutes.sum(), 0.0),
        minutes_known=_.minutes.notnull().sum(),
        found_timed=(_truth(_.found) & _.minutes.notnull()).sum(),
        checked=_.load_secured.notnull().sum(),
        unsecured=(~_.load_secured).fill_null(False).sum(),
    )


def blocked(relation: Relation, by: Sequence[str] = ()) -> Relation:
    """`totals` with the spread over blocks of each of `PAIRS`: ``<cases>_xx``, ``_xn``, ``_nn``, ``_blocks``."""
    each = totals(relation, [*by, "block"])
    sums = {name: each[name].sum() for name in each.columns if name not in (*by, "block")}
    for cases, of in PAIRS.items():
        x, n = each[cases], each[of]
        sums |= {
            f"{cases}_xx": (x * x).sum(),
            f"{cases}_xn": (x * n).sum(),
            f"{cases}_nn": (n * n).sum(),
            f"{cases}_blocks": (n > 0).sum(),
        }
    return (each.group_by(list(by)) if by else each).agg(**sums)


def composition(each: Relation, whole: Sequence[str], part: Sequence[str]) -> Relation:
    """Of each ``whole`` its parts: ``x`` and ``of``, and their spread over blocks; further columns are added up.

    Args:
        each: ``x`` for each whole, part and block, and whatever is to be added up.
        whole: columns; may be none.
        part: columns.
    """
    of_block = each.group_by([*whole, "block"]).agg(n=_.x.sum())
    spread = of_block.group_by(whole) if whole else of_block
    wholes = spread.agg(of=_.n.sum(), nn=(_.n * _.n).sum(), blocks=(_.n > 0).sum())
    further = [name for name in each.columns if name not in (*whole, *part, "block", "x")]
    joined = each.inner_join(of_block, [*whole, "block"])
    parts = joined.group_by([*whole, *part]).agg(
        xx=(_.x * _.x).sum(), xn=(_.x * _.n).sum(), x=_.x.sum(), **{name: _[name].sum() for name in further}
    )
    whole_or_all = parts.inner_join(wholes, whole) if whole else parts.cross_join(wholes)
    return whole_or_all.order_by([*whole, ibis.desc("x"), *part])


def incidents(relation: Relation, apart_s: int = 900) -> Relation:
    """Finds at one site that began less than ``apart_s`` after one another are one incident: one number."""
    finds = relation.filter(_truth(_.found))
    before = _.began_utc_ns.lag().over(ibis.window(group_by="site", order_by=["began_utc_ns", "passage_id"]))
    gaps = finds.mutate(gap_ns=_.began_utc_ns - before)
    return gaps.agg(incidents=(gaps.gap_ns.isnull() | (gaps.gap_ns >= apart_s * NS)).sum())


def states(relation: Relation) -> Relation:
    """How often each modality spoke, and why not; figures in the causes are left out so that like comes to like."""
    each = ibis.union(
        *(
            relation.filter(relation[f"{name}_state"].notnull())
            .group_by(state=_[f"{name}_state"], cause=_[f"{name}_cause"], block=_.block)
            .agg(x=_.count())
            .mutate(modality=ibis.literal(name))
            for name in MODALITIES
        )
    )
    plain = ibis.coalesce(_.cause, "").re_replace(r"-?[0-9]+([.,][0-9]+)?", "#")  # of few rows by now
    like = each.mutate(cause=ibis.ifelse(_.state == "measured", "", plain))
    of_block = like.group_by(["modality", "state", "cause", "block"]).agg(x=_.x.sum())
    return composition(of_block, ("modality",), ("state", "cause"))


def limits(relation: Relation) -> Relation:
    """Of each lane and configuration the smallest sum of contributions at which evidence alone prompted a search."""
    by_evidence = relation.filter((_.level == "search") & ~_.drawn & ~_.reasons.contains("policy."))
    return by_evidence.group_by(SAME_RULE).agg(threshold=(_.log10_odds - _.prior_log10_odds).min())


def judged(relation: Relation, told: Relation) -> Relation:
    """Vehicles whose rule is known, with ``rule_limit`` and ``lr_sum``, the sum of contributions.

    Args:
        relation: vehicles.
        told: `limits`.
    """
    known = relation.inner_join(told.rename(rule_limit="threshold"), list(SAME_RULE))
    return known.mutate(lr_sum=_.log10_odds - _.prior_log10_odds)


def added(known: Relation) -> Relation:
    """What each modality added: contributions are additive, so leaving one out is a subtraction. One row.

    Counts vehicles where it spoke, prompts by evidence that would not have come without it (the rest is under the
    limit), prompts that it prevented, vehicles of which only it told anything, and the searches and finds among each.

    Args:
        known: `judged`.
    """
    shown = {
        "own": (_.level == "search") & ~_.drawn,
        "let": _.level.isin(("no_search", "recheck")),
        "passed": _.level == "no_search",
        "over": _.lr_sum >= _.rule_limit,
        "searched": _truth(_.searched),
        "found": _truth(_.found),
        **{f"{name}_rest": _.lr_sum - _[f"{name}_log10_lr"] >= _.rule_limit for name in MODALITIES},
        **{f"{name}_spoke": _[f"{name}_state"] == "measured" for name in MODALITIES},
    }
    alike = known.select(**shown).group_by(list(shown)).agg(n=_.count())  # some hundred rows, whatever the record
    figures: dict[str, Any] = {}
    for modality in MODALITIES:
        made, rest = _.own & _.over & ~_[f"{modality}_rest"], _[f"{modality}_rest"]
        figures |= {
            f"{modality}_spoke": _.n.sum(where=_[f"{modality}_spoke"]),
            f"{modality}_prompts": _.n.sum(where=made),
            f"{modality}_searched": _.n.sum(where=made & _.searched),
            f"{modality}_finds": _.n.sum(where=made & _.found),
            f"{modality}_prevented": _.n.sum(where=_.let & ~_.over & rest),
            f"{modality}_alone": _.n.sum(where=_alone(modality) & _.passed),
        }
    return alike.agg(vehicles=_.n.sum(), **{name: ibis.coalesce(figure, 0) for name, figure in figures.items()})


def between(known: Relation, low: float, high: float) -> Relation:
    """Vehicles whose sum lies that far from their limit (low included, high not), by level and draw.

    Args:
        known: `judged`.
        low: log10, under 0 for below the limit.
        high: log10.
    """
    margin = _.lr_sum - _.rule_limit
    evidence = _.vibration_state.notnull() & ~_.reasons.contains("policy.")
    return (
        known.filter((margin >= low) & (margin < high) & evidence)
        .mutate(level=ibis.ifelse(_.drawn, "no_search", _.level))
        .group_by(["level", "stratum", "probability"])
        .agg(
            vehicles=_.count(),
            drawn=_.drawn.sum(),
            searched=_truth(_.searched).sum(),
            found=_truth(_.found).sum(),
            drawn_searched=(_.drawn & _truth(_.searched)).sum(),
            drawn_found=(_.drawn & _truth(_.found)).sum(),
        )
    )


def _alone(modality: str) -> Any:
    others = [~_[f"{name}_spoke"] for name in MODALITIES if name != modality]
    return _[f"{modality}_spoke"] & reduce(and_, others)


def arrivals(relation: Relation) -> Relation:
    """Vehicles of each site, day and hour (local), and of each the time in the bay."""
    return (
        stays(relation)
        .group_by(["site", "local_day", "local_hour"])
        .agg(
            vehicles=_.count(),
            timed=_.bay_s.count(),
            bay_s=_.bay_s.sum(),
            bay_ss=(_.bay_s * _.bay_s).sum(),
            rolled=(_.gap_s < AT_ONCE_S).sum(),
            roll_s=_.gap_s.sum(where=_.gap_s < AT_ONCE_S),
        )
    )


def seen_by(relation: Relation, speaks_log10_lr: float) -> Relation:
    """Of finds in which both of two modalities measured: in how many the first, the second and both of them spoke for
    somebody at ``speaks_log10_lr`` or more. One row; columns ``<first>_<second>_first``, ``_second``, ``_both``."""
    figures: dict[str, Any] = {}
    for first, second in combinations(MODALITIES, 2):
        measured = (_[f"{first}_state"] == "measured") & (_[f"{second}_state"] == "measured")
        a, b = (measured & (_[f"{name}_log10_lr"] >= speaks_log10_lr) for name in (first, second))
        pair = f"{first}_{second}"
        figures |= {f"{pair}_first": a.sum(), f"{pair}_second": b.sum(), f"{pair}_both": (a & b).sum()}
    return relation.filter(_truth(_.found)).agg(**figures)


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


def sealed(record: Record) -> int:
    """Covert tests that were sealed before and never opened after: an opened one has two rows, a seal alone has one."""
    opened = record.vehicles().filter(_.covert).count()
    return max(
        0,
        record.listed.rows("covert_tests")
        - 2 * int(record.backend.raw_sql(record.backend.compile(opened)).fetchone()[0]),
    )


def overrides(relation: Relation) -> Relation:
    """Of each advice and each answer: how often, and what a search found all the same."""
    each = (
        relation.filter(_.response.notnull())
        .mutate(override_reason=ibis.coalesce(_.override_reason, ""))
        .group_by(["advice", "response", "override_reason", "block"])
        .agg(x=_.count(), searched=_truth(_.searched).sum(), found=_truth(_.found).sum())
    )
    return composition(each, ("advice",), ("response", "override_reason"))


def stays(relation: Relation) -> Relation:
    """Vehicles whose time in the bay can be true, or is not known."""
    return relation.filter(_.bay_s.isnull() | ((_.bay_s >= 0) & (_.bay_s <= LONGEST_STAY_S)))


def occupation(relation: Relation) -> Relation:
    """Of each lane: vehicles timed, seconds in the bay, from when to when, and how many came at once, with spread."""
    lane_block = ["site", "lane", "block"]
    each = (
        stays(relation)
        .group_by(lane_block)
        .agg(
            timed=_.bay_s.count(),
            bay_s=_.bay_s.sum(),
            first=_.began_utc_ns.min(),
            last=_.began_utc_ns.max(),
            x=(_.gap_s < AT_ONCE_S).fill_null(False).sum(),
            n=_.gap_s.count(),
        )
    )
    return each.group_by(["site", "lane"]).agg(
        timed=_.timed.sum(),
        bay_s=_.bay_s.sum(),
        first=_.first.min(),
        last=_.last.max(),
        xx=(_.x * _.x).sum(),
        xn=(_.x * _.n).sum(),
        nn=(_.n * _.n).sum(),
        blocks=(_.n > 0).sum(),
        x=_.x.sum(),
        of=_.n.sum(),
    )


@ibis.udf.agg.builtin(name="quantile_disc")  # type: ignore[untyped-decorator]  # ibis gives no types
def _at_ranks(values: float, levels: dt.Array[dt.Float64]) -> dt.Array[dt.Float64]:
    """The engine's own: the value at rank ceil(level times how many there are)."""


def quantiles(
    relation: Relation, levels: Mapping[str, Sequence[float]], ranks: Mapping[str, Sequence[float]], by: Sequence[str]
) -> Relation:
    """Of each group, for each column a list of its quantiles, and ``<column>_ranks``: its values at ranks.

    Args:
        relation: rows; those where the column is NULL are not among its values.
        levels: of each column, ascending; between two values a quantile is interpolated.
        ranks: of each column, ascending, as shares of its values: the rank is that share rounded up.
        by: columns.
    """
    figures = {name: relation[name].quantile(list(of)) for name, of in levels.items()}
    figures |= {f"{name}_ranks": _at_ranks(relation[name], ibis.literal(list(of))) for name, of in ranks.items()}
    return relation.group_by(list(by)).agg(**figures)


def local(relation: Relation, offsets: Sequence[tuple[int, int]], block_ns: int) -> Relation:
    """With ``local_ns``, ``local_hour``, ``local_day`` (counted from 1970) of a place's clock, and ``block``: which
    stretch of time it belongs to, for intervals.

    Args:
        relation: vehicles.
        offsets: `edge.records.local_time.offsets`: from when, ns UTC, and by how much, ns.
        block_ns: length of a block.
    """
    ahead = [(relation.began_utc_ns >= since, by) for since, by in reversed(offsets)]
    local_ns = relation.began_utc_ns + ibis.cases(*ahead, else_=offsets[0][1])
    return relation.mutate(
        local_ns=local_ns,
        local_hour=(local_ns // HOUR_NS) % 24,
        local_day=local_ns // (24 * HOUR_NS),
        block=local_ns // block_ns,
    )


def hourly(relation: Relation) -> Relation:
    """Of each local hour: ``vehicles`` and the sum of their squares over the days, prompts with spread, finds."""
    each = totals(relation, ["local_hour", "local_day"])
    x, n = each.prompted, each.vehicles
    return each.group_by("local_hour").agg(
        vehicles=n.sum(),
        nn=(n * n).sum(),
        x=x.sum(),
        xx=(x * x).sum(),
        xn=(x * n).sum(),
        found=_.found.sum(),
        blocks=_.count(),
    )


def daily(relation: Relation, by: Sequence[str]) -> Relation:
    """`totals` of each local day, and how many were ``judged`` and how often each modality spoke."""
    keys = [*by, "local_day"]
    spoke = {f"{name}_spoke": (_[f"{name}_state"] == "measured").sum() for name in MODALITIES}
    sensors = relation.group_by(keys).agg(judged=_.vibration_state.count(), **spoke)
    return totals(relation, keys).inner_join(sensors, keys).order_by(keys)


def doubts(relation: Relation) -> Relation:
    """Vehicles that are counted, though something about them is not as it should be. One row."""
    stay_s = relation.bay_s
    return relation.agg(
        stays=((stay_s < 0) | (stay_s > LONGEST_STAY_S)).sum(),
        clocks=(~relation.clock_set).sum(),
        open=(~relation.final).sum(),
        unjudged=(relation.level == "no_verdict").sum(),
    )


def refused(record: Record) -> Relation:
    """Rows that could not be read, by why."""
    each = record.table("refused_rows").group_by(["row_kind", "cause"]).agg(rows=_.count())
    return each.order_by(["row_kind", "cause"])


def _keys(tables: Mapping[str, Relation]) -> Relation:
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
    newest = outcomes.group_by(KEY).agg(sequence=_.sequence.max())
    return newest.inner_join(outcomes, [*KEY, "sequence"]).filter(~_.undone).select(*KEY, *OUTCOME)


def _truth(column: Any) -> Any:
    return column.fill_null(False)


def _aboard_band(aboard_s: Any) -> Any:
    short, long = ABOARD_BANDS_S
    return ibis.cases(
        (aboard_s.isnull(), "unknown"),
        (aboard_s < short, f"under {short // 60} min"),
        (aboard_s < long, f"{short // 60} to {long // 60} min"),
        else_=f"{long // 60} min and more",
    )


def _wind_band(wind_m_s: Any) -> Any:
    calm, light, strong = WIND_BANDS_M_S
    return ibis.cases(
        (wind_m_s.isnull(), "unknown"),
        (wind_m_s < calm, f"0 to {calm:g} m/s"),
        (wind_m_s < light, f"{calm:g} to {light:g} m/s"),
        (wind_m_s < strong, f"{light:g} to {strong:g} m/s"),
        else_=f"{strong:g} m/s and more",
    )
