"""The data dictionary, made from the schema: ``python -m edge.records.dictionary > docs/data-dictionary.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from edge.records.schema import COMMON, TABLES, UNDATED, VERSION, Column

HEAD = f"""# Data dictionary of the record

Made from `edge/records/schema.py`, version {VERSION}; a test holds the two together. `lanepulse export` writes
these tables as Parquet, CSV or JSON lines. A lake holds them as `<table>/site=…/lane=…/day=…/*.parquet`, with
the list of its files and their digests in `lanes/<site>.<lane>.json`: a file that is not on the list, or is no
longer what the list says, is never counted.

Rows written while the clock was not set have the day `{UNDATED}`: they are counted as such and are in no period.
In a pseudonymised export, columns marked * hold a keyed hash, free text is left out, and times are cut to the
hour.

## In every table

"""


def text() -> str:
    """``docs/data-dictionary.md``, whole."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield from HEAD.splitlines()
    yield from _columns(COMMON)
    for table in TABLES:
        yield ""
        yield f"## {table.name}"
        yield ""
        made = ", ".join(f"`{kind}`" for kind in table.row_kinds)
        yield f"{table.meaning} Made from journal rows of kind {made}." if made else table.meaning
        yield ""
        yield from _columns(table.own)


def _columns(columns: tuple[Column, ...]) -> Iterator[str]:
    yield "| column | type | unit | meaning |"
    yield "| --- | --- | --- | --- |"
    for column in columns:
        mark = " *" if column.personal else ""
        yield f"| `{column.name}`{mark} | {column.kind.value} | {column.unit} | {column.meaning} |"


if __name__ == "__main__":
    sys.stdout.write(text())
