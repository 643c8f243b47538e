"""The questions of the record as a person would ask the engine in SQL, with nothing of ours.

``joining`` is the raw tables' join, written from the data dictionary: last final verdict, standing outcome, first draw,
no volunteers. ``QUESTIONS`` ask the joined vehicles: the same tables, without intervals, words or layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

# what the library imports before its first answer
IMPORT = "import ibis, ibis.backends.duckdb.converter, duckdb\ndb = duckdb.connect()\ndb.execute('SET threads = 2')\n"
COUNTED = "FROM vehicles WHERE NOT covert"
TOTALS = (
    "count(*), count(*) FILTER (prompted AND NOT drawn), sum(drawn::INT), count(searched), count(*) FILTER (searched),"
    " count(*) FILTER (found), sum(people), count(*) FILTER (prompted AND NOT drawn AND searched),"
    " count(*) FILTER (prompted AND NOT drawn AND found), count(*) FILTER (response = 'overridden'), count(response),"
    " sum(minutes), count(minutes), count(*) FILTER (NOT load_secured)"
)
HOUR = "began_utc_ns // 3600000000000 % 24"
SHIFT = f"CASE WHEN {HOUR} BETWEEN 6 AND 13 THEN 1 WHEN {HOUR} BETWEEN 14 AND 21 THEN 2 ELSE 3 END"
STATE = "SELECT {0}_state, regexp_replace({0}_cause, '-?[0-9]+([.,][0-9]+)?', '#', 'g'), count(*) " + (
    COUNTED + " AND {0}_state IS NOT NULL GROUP BY 1, 2"
)
MODALITIES = ("vibration", "co2", "mmwave", "xray")
SUM = "(log10_odds - prior_log10_odds)"
OWN = ", ".join(
    f"count(*) FILTER ({m}_state = 'measured'), "
    + "".join(
        f"count(*) FILTER ({which}level = 'search' AND NOT drawn AND {SUM} >= 1.2 AND {SUM} - {m}_log10_lr < 1.2), "
        for which in ("", "searched AND ", "found AND ")
    )
    + f"count(*) FILTER (level IN ('no_search', 'recheck') AND {SUM} < 1.2 AND {SUM} - {m}_log10_lr >= 1.2)"
    for m in MODALITIES
)
LIMIT = f"SELECT min({SUM}) {COUNTED} AND level = 'search' AND NOT drawn AND reasons NOT LIKE '%policy.%'"
INCIDENTS = (
    "SELECT count(*) FROM (SELECT began_utc_ns - lag(began_utc_ns) OVER (PARTITION BY site ORDER BY began_utc_ns)"
    f" AS gap {COUNTED} AND found) WHERE gap IS NULL OR gap >= 900000000000"
)
STRATA = (
    "SELECT stratum, probability, count(*), sum(drawn::INT), count(*) FILTER (drawn AND searched),"
    f" count(*) FILTER (drawn AND found) {COUNTED} AND probability IS NOT NULL GROUP BY 1, 2"
)
SEEN = (
    "SELECT "
    + ", ".join(
        f"count(*) FILTER ({a}_log10_lr >= 0.5), count(*) FILTER ({a}_log10_lr >= 0.5 AND {b}_log10_lr >= 0.5)"
        for a, b in (("vibration", "co2"), ("vibration", "mmwave"), ("co2", "mmwave"))
    )
    + f" {COUNTED} AND found"
)
COVERT = "SELECT {} count(*), count(*) FILTER (prompted AND NOT drawn) FROM vehicles WHERE covert {}"
DAILY = f"SELECT site, lane, began_utc_ns // 86400000000000, {TOTALS}, " + ", ".join(
    f"count(*) FILTER ({m}_state = 'measured')" for m in MODALITIES
)


def by(*columns: str) -> str:
    """Totals of each combination."""
    numbers = ", ".join(str(index + 1) for index in range(len(columns)))
    return f"SELECT {', '.join(columns)}, {TOTALS} {COUNTED} GROUP BY {numbers}"


TIMES = (
    "SELECT site, lane, count(bay_s), quantile_cont(bay_s, [0.5, 0.95]), quantile_cont(verdict_s, [0.5, 0.95])"
    f" {COUNTED} AND bay_s BETWEEN 0 AND 14400 GROUP BY 1, 2"
)
QUEUE = f"SELECT site, lane, count(gap_s), count(*) FILTER (gap_s < 15), sum(bay_s) {COUNTED} GROUP BY 1, 2"
FINDS = tuple(
    f"SELECT {factor}, began_utc_ns // 86400000000000, count(*) {COUNTED} AND found GROUP BY 1, 2"
    for factor in ("lane", "site", "body_type")
)
QUESTIONS: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
    "counts": (("counts",), (f"SELECT {TOTALS} {COUNTED}", INCIDENTS)),
    "misses": (("misses",), (STRATA, SEEN, by("level", "drawn"), COVERT.format("", ""))),
    "covert": (
        ("covert",),
        [
            COVERT.format(f"{column},", "GROUP BY 1")
            for column in ("body_type", "wind", "load", "aboard", "cargo", "covert_place")
        ],
    ),
    "advice": (("advice",), (by("level", "drawn"),)),
    "technique": (("technique",), (by("technique"),)),
    "contractors": (("contractors",), (by('"by"', SHIFT),)),
    "overrides": (
        ("overrides",),
        (f"SELECT level, drawn, response, override_reason, count(*) {COUNTED} AND response IS NOT NULL GROUP BY ALL",),
    ),
    "modalities": (("modalities",), (LIMIT, f"SELECT {OWN} {COUNTED}")),
    "availability": (("availability",), [STATE.format(modality) for modality in MODALITIES]),
    "times": (("times",), (TIMES,)),
    "queue": (("queue",), (QUEUE,)),
    "hours": (("hours",), (by(HOUR),)),
    "factors": (("factors",), [by(column) for column in ("body_type", "wind", "cargo", "shelter", "site || lane")]),
    "changes": (("changes",), (f"{DAILY} {COUNTED} GROUP BY 1, 2, 3", *FINDS)),
    "technique x shift x body": (
        ("--by", "technique,shift,body_type"),
        (by("technique", SHIFT, "body_type"),),
    ),
}


def asking(lake: Path, statements: Sequence[str]) -> str:
    """A program that asks the joined vehicles."""
    view = f"db.execute(\"CREATE VIEW vehicles AS FROM read_parquet('{lake}/kept/*.parquet')\")\n"
    return IMPORT + view + "".join(f"db.execute({statement!r}).fetchall()\n" for statement in statements)


def joining(lake: Path) -> str:
    """A program that joins the raw tables and counts."""
    return IMPORT + f"db.execute({JOIN.replace('LAKE', str(lake))!r}).fetchall()\n"


JOIN = (
    """
WITH v AS (
  SELECT site, lane, passage_id, max(sequence) FILTER (final) AS last, bool_or(level = 'open_now') AS opened
  FROM read_parquet('LAKE/verdicts/**/*.parquet') GROUP BY ALL),
verdict AS (
  SELECT v.site, v.lane, v.passage_id, if(v.opened, 'open_now', w.level) AS level, w.log10_odds, w.prior_log10_odds
  FROM v JOIN read_parquet('LAKE/verdicts/**/*.parquet') w
    ON w.site = v.site AND w.lane = v.lane AND w.sequence = v.last),
o AS (
  SELECT site, lane, passage_id, arg_max(searched, sequence) AS searched, arg_max(found, sequence) AS found,
    arg_max(people, sequence) AS people, arg_max(minutes, sequence) AS minutes,
    arg_max(response, sequence) AS response, arg_max(load_secured, sequence) AS load_secured
  FROM read_parquet('LAKE/outcomes/**/*.parquet') GROUP BY ALL),
a AS (
  SELECT site, lane, passage_id, arg_min(drawn, sequence) AS drawn
  FROM read_parquet('LAKE/audits/**/*.parquet') GROUP BY ALL),
b AS (
  SELECT site, lane, passage_id, any_value(body_type) AS body_type, any_value(ended_utc_ns) AS ended_utc_ns
  FROM read_parquet('LAKE/bundles/**/*.parquet') GROUP BY ALL),
c AS (SELECT DISTINCT site, lane, passage_id, true AS covert FROM read_parquet('LAKE/covert_tests/**/*.parquet')),
vehicles AS (
  SELECT p.*, verdict.level, coalesce(verdict.level IN ('search', 'open_now'), false) AS prompted,
    coalesce(a.drawn, false) AS drawn, o.searched, o.found, o.people, o.minutes, o.response, o.load_secured,
    b.body_type, b.ended_utc_ns, coalesce(c.covert, false) AS covert
  FROM read_parquet('LAKE/passages/**/*.parquet') p
  LEFT JOIN verdict USING (site, lane, passage_id) LEFT JOIN o USING (site, lane, passage_id)
  LEFT JOIN a USING (site, lane, passage_id) LEFT JOIN b USING (site, lane, passage_id)
  LEFT JOIN c USING (site, lane, passage_id))
SELECT """
    + f"{TOTALS} {COUNTED}"
)
