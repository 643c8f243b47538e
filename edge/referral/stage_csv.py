"""What became of many cases, from a spreadsheet: ``case_id,stage,at,amount_gbp``. Nothing is guessed.

UTF-8 with or without a byte order mark; commas, or semicolons throughout. An amount is digits with at most one point
(``6000`` or ``6000.50``): ``6.000`` and ``6,000`` mean different things to different people and are refused.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from edge.referral.words import Step, WordsRefused, read_words

COLUMNS = ("case_id", "stage", "at", "amount_gbp")
MOST_BYTES = 4 * 1024 * 1024
MOST_ROWS = 10_000
_AMOUNT = re.compile(r"\d{1,7}(\.\d{1,2})?")
_DAY = re.compile(r"\d{4}-\d\d-\d\d")


def read_steps(path: Path, officer: str | None) -> list[Step]:
    """All steps of a file, or none.

    Raises:
        WordsRefused: file, line and column of the first thing that is wrong.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise WordsRefused(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WordsRefused(f"{path}: not UTF-8; save it as CSV UTF-8") from None
    if len(raw) > MOST_BYTES or "\0" in text:
        raise WordsRefused(f"{path}: no table of cases (longer than {MOST_BYTES // 1024**2} MiB, or not text)")
    first = text.split("\n", 1)[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in first else ",", strict=True)
    steps: list[Step] = []
    try:
        if tuple(rows.fieldnames or ()) != COLUMNS:
            raise WordsRefused(f"{path}:1: the columns are {', '.join(COLUMNS)}, in this order")
        for row in rows:
            steps.append(_step(path, rows.line_num, row, officer))
            if len(steps) > MOST_ROWS:
                raise WordsRefused(f"{path}: more than {MOST_ROWS} rows; give them in parts")
    except csv.Error as error:
        raise WordsRefused(f"{path}:{rows.line_num}: {error}") from None
    return steps


def _step(path: Path, line: int, row: dict[str, str], officer: str | None) -> Step:
    if None in row or None in row.values():
        raise WordsRefused(f"{path}:{line}: not {len(COLUMNS)} cells")
    words: dict[str, object] = {"case_id": row["case_id"].strip(), "stage": row["stage"].strip(), "officer": officer}
    amount, moment = row["amount_gbp"].strip(), row["at"].strip()
    if amount:
        if not _AMOUNT.fullmatch(amount):
            raise WordsRefused(f"{path}:{line}: amount_gbp: {amount[:20]!r} is no amount like 6000 or 6000.50")
        words["amount_gbp"] = float(amount)
    if moment:
        words["at_utc"] = f"{moment}T00:00:00Z" if _DAY.fullmatch(moment) else moment
    try:
        return read_words(Step, words)
    except WordsRefused as refused:
        raise WordsRefused(f"{path}:{line}: {refused}") from None
