"""The tables of the record: their columns, types, units and meaning. The data dictionary is made from this.

A table holds one row for each journal row of its kind, in the journal's own order, and never changes a row that it has.
Times are int64 nanoseconds UTC (Spark knows no nanosecond timestamp). A new column is a new version: older files stay
readable, what they lack is NULL; a newer version than this program's is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from fusion.verdict import MODALITIES

VERSION = 1  # of the lake; goes up with every new column
UNDATED = "undated"  # the day of rows written while the clock was not set


class Kind(StrEnum):
    """Types that Parquet, CSV, JSON and every engine have."""

    TEXT = "text"
    WHOLE = "int64"
    NUMBER = "float64"
    TRUTH = "bool"


@dataclass(frozen=True, slots=True)
class Column:
    """One column. ``unit`` is empty for what has none."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    personal: bool = False  # points at one passage: a keyed hash of it stands in a pseudonymised export


@dataclass(frozen=True, slots=True)
class Table:
    """One table, made from the journal rows of ``row_kinds``."""

    name: str
    row_kinds: tuple[str, ...]
    meaning: str
    own: tuple[Column, ...]

    @property
    def columns(self) -> tuple[Column, ...]:
        """What every table has, then its own."""
        return COMMON + self.own


COMMON = (
    Column("site", Kind.TEXT, "The site, as the lane's configuration names it."),
    Column("lane", Kind.TEXT, "The lane of that site."),
    Column("day", Kind.TEXT, f"UTC day of writing, YYYY-MM-DD; `{UNDATED}` while the clock was not set."),
    Column("sequence", Kind.WHOLE, "Row number in the lane's journal: the order of all things on this lane."),
    Column("boot_id", Kind.TEXT, "The boot in which the row was written."),
    Column("passage_id", Kind.TEXT, "The passage (ULID); NULL where a row belongs to none.", personal=True),
    Column("written_utc_ns", Kind.WHOLE, "When the row was written, by the clock as it was then.", "ns since 1970 UTC"),
)


def _evidence() -> Iterator[Column]:
    for modality in MODALITIES:
        yield Column(f"{modality}_state", Kind.TEXT, "measured, absent, late, faulty or out_of_limits.")
        yield Column(f"{modality}_cause", Kind.TEXT, "Why it said nothing, in words; a note where it measured.")
        yield Column(f"{modality}_log10_lr", Kind.NUMBER, "What it added to the log10 odds; exactly 0 unless measured.")


CONTEXT_WORDS = ("engine", "refrigeration", "cargo", "doors", "driver", "shelter")

TABLES = (
    Table(
        "passages",
        ("passage.opened",),
        "One row for each vehicle that came into the lane.",
        (Column("began_utc_ns", Kind.WHOLE, "Presence on.", "ns since 1970 UTC"),),
    ),
    Table(
        "verdicts",
        ("verdict",),
        "One row for each revision of each verdict. The last final revision is what a passage counts under.",
        (
            Column("revision", Kind.WHOLE, "From 1."),
            Column("final", Kind.TRUTH, "Whether the lane had done with the vehicle."),
            Column("issued_utc_ns", Kind.WHOLE, "When it was issued.", "ns since 1970 UTC"),
            Column("level", Kind.TEXT, "no_search, recheck, search or open_now."),
            Column("score", Kind.NUMBER, "Posterior probability at the site's prior."),
            Column("log10_odds", Kind.NUMBER, "The prior plus all contributions."),
            Column("prior_log10_odds", Kind.NUMBER, "The site's prior."),
            *_evidence(),
            Column("reasons", Kind.TEXT, "Codes of the reasons, strongest first, separated by spaces."),
            Column("clock_set", Kind.TRUTH, "False where the verdict says that the clock was not set."),
            Column("trained_on", Kind.TEXT, "simulated, mixed or recorded: what the model learnt from."),
            Column("version", Kind.TEXT, "The program's version."),
            Column("model", Kind.TEXT, "The model's name."),
            Column("model_sha256", Kind.TEXT, "The model's bytes."),
            Column("config_sha256", Kind.TEXT, "The configuration's bytes."),
        ),
    ),
    Table(
        "bundles",
        ("bundle",),
        "One row for each completed bundle: what is counted of a passage when the bundle itself has expired.",
        (
            Column("closing", Kind.TEXT, "Why the passage ended."),
            Column("bundle", Kind.TEXT, "Name of the folder.", personal=True),
            Column("passage_json", Kind.TEXT, "Digest of passage.json, which binds the other files."),
            Column("began_utc_ns", Kind.WHOLE, "Presence on.", "ns since 1970 UTC"),
            Column("ended_utc_ns", Kind.WHOLE, "Presence off; NULL where a restart hid it.", "ns since 1970 UTC"),
            Column("body_type", Kind.TEXT, "soft_sided, hard_sided, refrigerated, tanker, open or unknown."),
            *(Column(name, Kind.TEXT, "As last known, in FORMATS' words.") for name in CONTEXT_WORDS),
            Column("sealed_for_s", Kind.NUMBER, "Since the load space was last known to be open.", "s"),
            Column("wind_m_s", Kind.NUMBER, "Strongest wind outside while the passage lasted.", "m/s"),
            Column("clock_synchronised", Kind.TRUTH, "Whether the clock was synchronised at the end."),
        ),
    ),
    Table(
        "contexts",
        ("context",),
        "One row for each declaration about a vehicle; what was not said is NULL.",
        (
            Column("source", Kind.TEXT, "Who said it: a device or a user id, never a name."),
            Column("body_type", Kind.TEXT, "As declared."),
            *(Column(name, Kind.TEXT, "As declared, in FORMATS' words.") for name in CONTEXT_WORDS),
            Column("sealed_for_s", Kind.NUMBER, "As declared.", "s"),
        ),
    ),
    Table(
        "outcomes",
        ("outcome",),
        "One row for each entry of what a search found. A correction is a further row; the last one counts.",
        (
            Column("revision", Kind.WHOLE, "From 1, in each passage."),
            Column("corrects", Kind.WHOLE, "Row that this one replaces; NULL for the first."),
            Column("undone", Kind.TRUTH, "The row takes the one before it back: nobody knows the outcome then."),
            Column("shown_level", Kind.TEXT, "The level that the officer saw."),
            Column("response", Kind.TEXT, "agreed or overridden."),
            Column("override_reason", Kind.TEXT, "Why the officer did otherwise than advised."),
            Column("searched", Kind.TRUTH, "Whether the vehicle was searched."),
            Column("technique", Kind.TEXT, "What found it or was used last."),
            Column("found", Kind.TRUTH, "Whether somebody was found; NULL where it was not searched."),
            Column("people", Kind.WHOLE, "How many were found; nothing identifies them."),
            Column("where_found", Kind.TEXT, "In words.", personal=True),
            Column("minutes", Kind.NUMBER, "How long the search took.", "min"),
            Column("by", Kind.TEXT, "officer, contractor, port, police, driver or other: a kind, never a name."),
            Column("secured", Kind.TEXT, "The scheme's checks item by item, as JSON."),
            Column("load_secured", Kind.TRUTH, "All checked items were in order; NULL where none was checked."),
            Column("entered_utc_ns", Kind.WHOLE, "When it was entered.", "ns since 1970 UTC"),
        ),
    ),
    Table(
        "audits",
        ("audit", "audit.draw"),
        "One row for each draw over a vehicle that would not be searched, drawn or not.",
        (
            Column("stratum", Kind.TEXT, "Of the site's policy."),
            Column("probability", Kind.NUMBER, "With which a vehicle of the stratum is searched."),
            Column("drawn", Kind.TRUTH, "Whether this one is to be searched."),
        ),
    ),
    Table(
        "covert_tests",
        ("covert", "covert.entered", "covert.revealed"),
        "Volunteers hidden on purpose. Such passages are tests: they are never counted as finds or misses.",
        (
            Column("people", Kind.WHOLE, "How many were aboard."),
            Column("place", Kind.TEXT, "Where, in words."),
            Column("aboard_s", Kind.NUMBER, "How long they had been aboard.", "s"),
            Column("load", Kind.TEXT, "What they hid in."),
        ),
    ),
    Table(
        "devices",
        ("device", "device.state"),
        "One row for each change of a device's state.",
        (
            Column("device", Kind.TEXT, "Its name in the configuration."),
            Column("state", Kind.TEXT, "ok, or what it is instead."),
            Column("cause", Kind.TEXT, "In words."),
        ),
    ),
    Table(
        "calibrations",
        ("calibration", "challenge"),
        "One row for each calibration and each presentation of a known source.",
        (
            Column("row_kind", Kind.TEXT, "calibration or challenge."),
            Column("device", Kind.TEXT, "Its name in the configuration."),
            Column("procedure", Kind.TEXT, "What was done."),
            Column("passed", Kind.TRUTH, "Whether it was accepted."),
        ),
    ),
    Table(
        "referrals",
        ("referral.made", "referral.stage"),
        "One row for each step of a case towards a penalty.",
        (
            Column("row_kind", Kind.TEXT, "referral.made or referral.stage."),
            Column("case_id", Kind.TEXT, "The case.", personal=True),
            Column("stage", Kind.TEXT, "referred, notified, objected, paid, written_off or withdrawn."),
            Column("at_utc_ns", Kind.WHOLE, "When that happened, as entered.", "ns since 1970 UTC"),
            Column("amount_gbp", Kind.NUMBER, "The penalty where one was set.", "GBP"),
            Column("pack_sha256", Kind.TEXT, "Digest of the sealed pack."),
        ),
    ),
    Table(
        "other_rows",
        (),
        "One row for each journal row of any other kind, so that nothing is left out unseen.",
        (Column("row_kind", Kind.TEXT, "The kind in the journal."),),
    ),
    Table(
        "refused_rows",
        (),
        "One row for each journal row that could not be read. It is in no count but its own.",
        (
            Column("row_kind", Kind.TEXT, "The kind in the journal."),
            Column("cause", Kind.TEXT, "What is wrong with it."),
        ),
    ),
)
BY_NAME = {table.name: table for table in TABLES}
OF_ROW_KIND = {kind: table for table in TABLES for kind in table.row_kinds}
