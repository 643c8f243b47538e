"""When the lane's program started and stopped, and how it ended the time before: rows of kind ``run``.

The service manager leaves its own word in ``last-end`` (systemd.exec: SERVICE_RESULT, EXIT_CODE, EXIT_STATUS), which
says "watchdog" of a lane that hung; where there is none, a run that did not say that it stopped was cut.
"""

from __future__ import annotations

import logging
from pathlib import Path

from edge.journal.journal import Journal, JournalFault

KIND = "run"
CUT = "cut: it was killed, or the power failed"
LETTERS_MOST = 200
log = logging.getLogger("lanepulse")


def started(journal: Journal, last_end: Path, version: str, model: str) -> None:
    """Say that the lane runs again, and how it ended before. A row that cannot be written holds nothing up."""
    before = _before(journal, last_end)
    if before not in (None, "stopped"):
        log.warning("the last run ended by itself: %s", before)
    _append(journal, {"what": "started", "version": version, "model": model, "before": before})


def stopped(journal: Journal) -> None:
    """Say that the lane was asked to stop, and did."""
    _append(journal, {"what": "stopped"})


def _before(journal: Journal, last_end: Path) -> str | None:
    last = journal.last(KIND)
    if last is None:
        return None
    if last.document().get("what") == "stopped":
        return "stopped"
    try:
        words = last_end.read_text(encoding="utf-8", errors="replace")[:LETTERS_MOST].split()
        last_end.unlink()
    except OSError:
        return CUT
    return " ".join(word for word in words if word.isprintable()) or CUT


def _append(journal: Journal, body: dict[str, str | None]) -> None:
    try:
        journal.append(KIND, None, body)
    except JournalFault as fault:
        log.error("journal: %s", fault)
