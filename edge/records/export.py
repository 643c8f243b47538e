"""The record for other hands: the same tables as Parquet, CSV or JSON lines, and pseudonymised for research.

A pseudonymised export has a keyed hash (HMAC-SHA-256, 128 bits) where a column points at one passage, no free text, and
times cut to the hour. Whoever has the key can make the hashes anew from passage ids; nobody else can.
"""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from edge.records.lake import Contents, arrow_schema
from edge.records.schema import BY_NAME, Column, Kind, Table

FORMATS = ("parquet", "csv", "jsonl")
FREE_TEXT = frozenset({"where_found", "place", "source", "secured"})
HOUR_NS = 3_600_000_000_000
KEY_BYTES = 32
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run what begins so


class ExportFault(Exception):
    """One line: why nothing was written."""


def export(found: Contents, folder: Path, form: str, key: bytes | None = None) -> dict[str, int]:
    """Write every table into ``folder``; table -> rows. Each file appears whole or not at all.

    Args:
        found: what is to be written.
        folder: made where it is missing; files of the same names are replaced.
        form: one of `FORMATS`.
        key: pseudonymise with it; None exports what is there.

    Raises:
        ExportFault: the key is too short.
        OSError: the disk.
    """
    if key is not None and len(key) < KEY_BYTES:
        raise ExportFault(f"--pseudonymise: the key has {len(key)} bytes; give a file of at least {KEY_BYTES}")
    folder.mkdir(parents=True, exist_ok=True)
    writers: dict[str, Callable[[IO[bytes], Table, Iterator[Any]], None]] = {
        "parquet": _parquet,
        "csv": _csv,
        "jsonl": _jsonl,
    }
    counts = {}
    for name, paths in found.files.items():
        table = BY_NAME[name]
        counts[name] = sum(pq.read_metadata(path).num_rows for path in paths)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}.", delete=False) as beside:
            try:
                writers[form](beside, table, _batches(table, paths, key))
                beside.flush()
                os.fsync(beside.fileno())
                Path(beside.name).replace(folder / f"{name}.{form}")
            except BaseException:
                Path(beside.name).unlink(missing_ok=True)
                raise
    return counts


def _batches(table: Table, paths: Sequence[Path], key: bytes | None) -> Iterator[Any]:
    schema = arrow_schema(table)
    for path in paths:
        read = pq.read_table(path)
        columns = []
        for column, field in zip(table.columns, schema, strict=True):
            there = column.name in read.column_names
            values = read[column.name] if there else pa.nulls(read.num_rows, field.type)
            columns.append(values if key is None else _hidden(column, values, key, field.type))
        yield pa.table(columns, schema=schema)


def _hidden(column: Column, values: Any, key: bytes, kind: Any) -> Any:
    if column.name in FREE_TEXT:
        return pa.nulls(len(values), kind)
    if column.personal:
        return pa.array([None if text is None else _pseudonym(key, text) for text in values.to_pylist()], kind)
    if column.name.endswith("_utc_ns"):
        return pa.array([None if ns is None else ns // HOUR_NS * HOUR_NS for ns in values.to_pylist()], kind)
    return values


def _pseudonym(key: bytes, text: str) -> str:
    return hmac.new(key, b"lanepulse export/1\0" + text.encode(), hashlib.sha256).hexdigest()[:32]


def _parquet(file: IO[bytes], table: Table, batches: Iterator[Any]) -> None:
    with pq.ParquetWriter(file, arrow_schema(table), compression="zstd", version="2.6") as writer:
        for batch in batches:
            writer.write_table(batch)


def _csv(file: IO[bytes], table: Table, batches: Iterator[Any]) -> None:
    text = io.TextIOWrapper(file, "utf-8", newline="")
    writer = csv.writer(text)
    writer.writerow([column.name for column in table.columns])
    kinds = [column.kind for column in table.columns]
    for batch in batches:
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            writer.writerow([_csv_cell(cell, kind) for cell, kind in zip(row, kinds, strict=True)])
    text.flush()
    text.detach()


def _csv_cell(cell: Any, kind: Kind) -> Any:
    """Unknown is empty; text that a spreadsheet would run gets an apostrophe before it."""
    if cell is None:
        return ""
    if kind is Kind.TRUTH:
        return "true" if cell else "false"
    if kind is Kind.TEXT and cell.startswith(FORMULA):
        return f"'{cell}"
    return cell


def _jsonl(file: IO[bytes], table: Table, batches: Iterator[Any]) -> None:
    for batch in batches:
        for row in batch.to_pylist():
            plain = {
                name: str(cell) if name.endswith("_utc_ns") and cell is not None else cell for name, cell in row.items()
            }
            file.write(json.dumps(plain, ensure_ascii=False, allow_nan=False, sort_keys=True).encode() + b"\n")
