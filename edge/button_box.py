"""Outcomes by a box with plain push-buttons on the lane I/O: no screen, no glove taken off.

A button speaks of the lorry whose prompt has stood for a moment, else of the one before: a finger that was on its way
when the next lorry was judged meant the other one. The page shows what was recorded; a box has no lamp to say it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from drivers.reading import Button, ButtonPress
from edge.journal.journal import JournalFault, Row
from edge.records.outcome import Answer, OutcomeRefused, Press, press_of
from edge.records.outcome_book import OutcomeBook
from fusion.verdict import Level

SETTLE_S = 0.7  # assumed; the page's buttons wait as long
MOST_KNOWN = 16
log = logging.getLogger("lanepulse.buttons")


@dataclass(slots=True)
class _Prompt:
    shown: dict[str, Any]
    since_s: float


class ButtonBox:
    """One lane's box. ``announced`` is told each verdict, ``pressed`` each button."""

    def __init__(self, book: OutcomeBook, monotonic_s: Callable[[], float]) -> None:
        self._book, self._monotonic_s = book, monotonic_s
        self._prompts: OrderedDict[str, _Prompt] = OrderedDict()  # oldest first

    def announced(self, row: Row) -> None:
        """A verdict that officers see; one that only says that measuring goes on is none."""
        verdict = row.document()
        codes = [reason["code"] for reason in verdict["reasons"]]
        if row.passage_id is None or ("measuring" in codes and not verdict["final"]):
            return
        shown = {
            "level": verdict["level"],
            "revision": verdict["revision"],
            "audited": "audit.random" in codes,
        }
        before = self._prompts.get(row.passage_id)
        self._prompts[row.passage_id] = _Prompt(shown, self._monotonic_s() if before is None else before.since_s)
        while len(self._prompts) > MOST_KNOWN:
            self._prompts.popitem(last=False)

    async def pressed(self, reading: ButtonPress) -> None:
        """Record it, once; what cannot be recorded is said in the log."""
        found = self._meant()
        if found is None:
            log.warning("%s: %s: no lorry has a prompt; nothing is recorded", reading.device, reading.button.value)
            return
        passage_id, prompt = found
        try:
            answer = await asyncio.to_thread(self._enter, reading, passage_id, prompt)
        except (OutcomeRefused, JournalFault) as fault:
            log.error("%s: %s of %s is not recorded: %s", reading.device, reading.button.value, passage_id, fault)
            return
        log.info("%s: %s of %s: %s", reading.device, reading.button.value, passage_id, answer)

    def _meant(self) -> tuple[str, _Prompt] | None:
        now_s = self._monotonic_s()
        for passage_id, prompt in reversed(self._prompts.items()):
            if now_s - prompt.since_s >= SETTLE_S:
                return passage_id, prompt
        return None

    def _enter(self, reading: ButtonPress, passage_id: str, prompt: _Prompt) -> str:
        press = self._press(reading, passage_id, prompt)
        if press is None:
            return Answer.CHANGED.value
        answer: str = self._book.enter(press, f"buttons {reading.device.replace('_', '-')}")["answer"]
        return answer

    def _press(self, reading: ButtonPress, passage_id: str, prompt: _Prompt) -> Press | None:
        standing = self._book.standing([passage_id]).get(passage_id)
        undo = reading.button is Button.UNDO
        stands = standing is not None and standing["outcome"] is not None
        if undo and not stands:
            return None
        return press_of(
            {
                "passage_id": passage_id,
                "key": f"box-{os.urandom(12).hex()}",
                "outcome": None if undo else _outcome(reading.button, Level(prompt.shown["level"])),
                "corrects": standing["sequence"] if standing is not None and undo else None,
                "shown": prompt.shown,
            }
        )


def _outcome(button: Button, level: Level) -> Mapping[str, Any]:
    """What one button says. How it was searched, and why against the prompt, is asked on the page."""
    if button is Button.NOT_SEARCHED:
        followed = level is Level.NO_SEARCH
        return {"searched": False, "response": "agreed" if followed else None}
    found = button is Button.FOUND
    followed = level in (Level.SEARCH, Level.OPEN_NOW)
    return {"searched": True, "found": found, "response": "agreed" if followed else None}
