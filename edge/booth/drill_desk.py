"""Drills at the page: a session for each who practises, in memory; what was scored goes into the drills' own file."""

from __future__ import annotations

import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Any

from edge.booth.view import prompt_of
from edge.drill.cases import ID, Case, load, mixed
from edge.drill.results import keep
from edge.drill.session import DrillRefused, Session
from fusion.bundle.times import format_utc

COUNTS = (10, 20, 50)  # lorries of a drill
OCCUPIED_SHARE = 0.3  # assumed: far above the lane's own, so that ten lorries are worth practising on
MOST_SESSIONS = 32
IDLE_S = 3600.0
log = logging.getLogger("lanepulse.booth")


@dataclass(slots=True)
class _Open:
    session: Session
    used_s: float


class DrillDesk:
    """Begin, answer, end. Calls block (disk)."""

    def __init__(self, folder: Path, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._monotonic_s = folder, monotonic_s
        self._open: OrderedDict[str, _Open] = OrderedDict()

    @property
    def cases(self) -> Path:
        """Folder of the cases: pictures of one are found there under its name."""
        return self._folder / "cases"

    def begin(self, officer: str | None, count: object) -> dict[str, Any]:
        """A new drill and its first case. Raises DrillRefused where there is nothing to practise on."""
        if isinstance(count, bool) or not isinstance(count, int) or count not in COUNTS:
            raise DrillRefused(f"count: give one of {', '.join(map(str, COUNTS))}")
        readable = [case for case in load(self.cases) if prompt_of(case.verdict) is not None]
        chosen = list(mixed(readable, count, OCCUPIED_SHARE, SystemRandom()))
        if not chosen:
            raise DrillRefused("no cases are prepared here")
        self._forget()
        token = secrets.token_urlsafe(16)
        session = Session(chosen, officer, self._monotonic_s)
        self._open[token] = _Open(session, self._monotonic_s())
        return {"token": token, "total": session.total, "next": _shown(session)}

    def answer(self, token: object, officer: str | None, case_id: object, given: object) -> dict[str, Any]:
        """Take an answer: what was true, then the next case, or the score after the last.

        Raises:
            DrillRefused: there is no such drill, or the answer is none.
        """
        session = self._session(token, officer)
        case = session.case()
        done = session.answer(case_id, given)
        told = {"right": done.right, "truth": _truth(case), "next": None, "score": None}
        if not session.over:
            return told | {"next": _shown(session)}
        return told | self.end(token, officer)

    def end(self, token: object, officer: str | None) -> dict[str, Any]:
        """End a drill; what was answered is kept. Raises DrillRefused."""
        session = self._session(token, officer)
        del self._open[str(token)]
        if not session.answered:
            return {"score": None, "kept": False}
        try:
            keep(self._folder, session, format_utc(time.time_ns()), "booth")
        except OSError as error:
            log.error("drill of %s is not kept: %s", officer or "this booth", error)
            return {"score": session.score(), "kept": False}
        return {"score": session.score(), "kept": True}

    def _session(self, token: object, officer: str | None) -> Session:
        found = self._open.get(token) if isinstance(token, str) else None
        if found is None or found.session.officer != officer:
            raise DrillRefused("no such drill; begin another")
        found.used_s = self._monotonic_s()
        return found.session

    def _forget(self) -> None:
        now_s = self._monotonic_s()
        for token in [token for token, one in self._open.items() if now_s - one.used_s > IDLE_S]:
            del self._open[token]
        while len(self._open) >= MOST_SESSIONS:
            self._open.popitem(last=False)


def is_case(passage_id: str) -> bool:
    """Whether a name is a practice case's, and never a passage's."""
    return ID.fullmatch(passage_id) is not None


def _shown(session: Session) -> dict[str, Any]:
    case = session.case()
    return {"case_id": case.case_id, "number": len(session.answered) + 1, "prompt": prompt_of(case.verdict)}


def _truth(case: Case) -> dict[str, Any]:
    truth = case.truth
    return {"occupied": truth.occupied, "people": truth.people, "where": truth.where, "kind": truth.kind}
