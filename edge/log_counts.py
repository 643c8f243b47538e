"""What the log said, counted: by level and form of words, without the words that were filled in."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

MOST_FORMS = 200  # assumed: our own code has about fifty; the rest is counted as one


@dataclass(slots=True)
class _Count:
    level: str
    logger: str
    form: str
    times: int = 0
    last_utc_s: float = 0.0


class LogCounts(logging.Handler):
    """A handler that keeps numbers only: what fills a form may hold what a device or a person said."""

    def __init__(self) -> None:
        super().__init__()
        self._counts: dict[tuple[str, str, str], _Count] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Count one line."""
        key = record.levelname, record.name, str(record.msg)
        if key not in self._counts and len(self._counts) >= MOST_FORMS:
            key = record.levelname, "", "another form"
        count = self._counts.setdefault(key, _Count(*key))
        count.times += 1
        count.last_utc_s = time.time()

    def document(self) -> list[dict[str, Any]]:
        """The counts, the gravest level first, then the most frequent."""
        order = sorted(
            self._counts.values(), key=lambda count: (-logging.getLevelNamesMapping()[count.level], -count.times)
        )
        return [asdict(count) | {"last_utc_s": round(count.last_utc_s, 3)} for count in order]
