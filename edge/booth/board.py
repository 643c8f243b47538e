"""What the page shows, from the lane's messages in their order: the lorry that is there, and the last ones.

Pure: no socket and no clock. Silence empties the board: nothing that was true before it is shown as true after it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from edge.booth.view import clipped, line, prompt_of
from edge.publish.message import Message

MOST_LAST = 12  # lorries in the list; at one each 18 s the last four minutes, at the usual pace an hour
MOST_KNOWN = 200  # verdicts kept: late evidence of an earlier lorry still finds its place
MOST_DEVICES = 64
UNRECORDED = ("recheck", "open_now")  # all that a lane without a record says of a vehicle
OF_PAST = ("level", "revision", "issued_utc", "audited")  # each page gets all of it with every event
MOST_WORDS = 16


class Board:
    """One lane's board. ``see`` takes each message; ``lost`` empties it; ``content`` is what the page gets."""

    def __init__(self) -> None:
        self._status: Mapping[str, Any] | None = None
        self._in_hand: str | None = None
        self._newest = 0
        self._prompts: OrderedDict[str, dict[str, Any] | None] = OrderedDict()  # passage -> newest prompt
        self._left: list[str] = []  # oldest first
        self._late: set[str] = set()
        self.outcomes: dict[str, Any] = {}
        self.reliability: Mapping[str, Any] = {}
        self.declared: Mapping[str, Any] = {}  # of the vehicle that was there when the lane was asked

    def see(self, message: Message) -> None:
        """Take one message of the lane."""
        if message.header.kind == "status":
            self._status = message.body
            passage = message.body.get("passage")
            self._enter(str(passage["passage_id"]) if isinstance(passage, dict) and "passage_id" in passage else None)
        elif message.header.sequence > self._newest:
            self._newest = message.header.sequence
            self._judge(message.body, live=message.header.kind == "verdict")

    def lost(self) -> None:
        """The lane is silent: nobody knows which lorry is there."""
        self._status = None
        self._leave()

    @property
    def status(self) -> Mapping[str, Any] | None:
        """The lane's own status document; None while it is silent."""
        return self._status

    @property
    def listed(self) -> list[str]:
        """Passages whose outcome the page shows, newest first."""
        here = [] if self._in_hand is None else [self._in_hand]
        return [*here, *self._left[: -MOST_LAST - 1 : -1]]

    def content(self) -> dict[str, Any]:
        """What the page shows, as JSON types."""
        return {"lane": self._lane(), "now": self._now(), "last": [self._past(name) for name in self._past_names()]}

    def _past_names(self) -> list[str]:
        return self._left[: -MOST_LAST - 1 : -1]

    def _enter(self, passage_id: str | None) -> None:
        if passage_id != self._in_hand:
            self._leave()
            self._in_hand = passage_id
            if passage_id in self._left:  # it was taken for gone while the lane was silent
                self._left.remove(passage_id)
                self._late.discard(passage_id)

    def _leave(self) -> None:
        if self._in_hand is not None and self._in_hand not in self._left:
            self._left.append(self._in_hand)
            del self._left[:-MOST_KNOWN]
        self._in_hand = None

    def _judge(self, verdict: Mapping[str, Any], *, live: bool) -> None:
        passage_id = clipped(str(verdict.get("passage_id")))
        gone = passage_id in self._left
        self._prompts[passage_id] = prompt_of(verdict)
        self._prompts.move_to_end(passage_id)
        while len(self._prompts) > MOST_KNOWN:
            self.outcomes.pop(self._prompts.popitem(last=False)[0], None)
        if gone:
            if live:
                self._late.add(passage_id)
        elif live:  # a verdict may come before the state that tells of its vehicle
            self._enter(passage_id)
        elif passage_id != self._in_hand:
            self._left.append(passage_id)
            del self._left[:-MOST_KNOWN]

    def _lane(self) -> dict[str, Any] | None:
        status = self._status
        if status is None:
            return None
        journal, clock = status.get("journal"), status.get("clock")
        return {
            "recorded": bool(isinstance(journal, dict) and journal.get("recorded")),
            "clock": bool(isinstance(clock, dict) and clock.get("synchronised")),
            "devices": [_device(device) for device in list(status.get("devices") or ())[:MOST_DEVICES]],
        }

    def _now(self) -> dict[str, Any] | None:
        """The vehicle that is there; ``phase`` is what to show of it."""
        if self._in_hand is None:
            return None
        prompt, passage = self._prompts.get(self._in_hand), self._passage()
        level = self._unrecorded(passage)
        if level is not None and (prompt is None or prompt["level"] != level):
            prompt, phase = unrecorded(self._in_hand, level), "prompt"
        elif self._in_hand not in self._prompts:
            phase = "measuring"
        elif prompt is None:
            phase = "unreadable"
        else:
            phase = "measuring" if prompt["measuring"] else "prompt"
        group = None if prompt is None or phase != "prompt" else group_of(prompt)
        return {
            "passage_id": self._in_hand,
            "phase": phase,
            "measured_s": passage.get("measured_s"),
            "allowed_s": passage.get("allowed_s"),
            "prompt": prompt,
            "outcome": self.outcomes.get(self._in_hand),
            "context": self._context(),
            "reliability": None if group is None else self.reliability.get(group),
        }

    def _passage(self) -> Mapping[str, Any]:
        passage = None if self._status is None else self._status.get("passage")
        return passage if isinstance(passage, dict) and passage.get("passage_id") == self._in_hand else {}

    def _unrecorded(self, passage: Mapping[str, Any]) -> str | None:
        """What a lane that cannot write its record says of the vehicle: it has no verdict for it, only a level."""
        journal = None if self._status is None else self._status.get("journal")
        writes = not isinstance(journal, dict) or journal.get("recorded") is not False
        return None if writes or passage.get("level") not in UNRECORDED else str(passage["level"])

    def _context(self) -> dict[str, Any]:
        """Word -> value and who said it; nothing of another vehicle."""
        words = self.declared.get("words")
        if self.declared.get("passage_id") != self._in_hand or not isinstance(words, dict):
            return {}
        return {word: said_by(told) for word, told in list(words.items())[:MOST_WORDS] if isinstance(told, dict)}

    def _past(self, passage_id: str) -> dict[str, Any]:
        prompt = self._prompts.get(passage_id)
        return {
            "passage_id": passage_id,
            "prompt": prompt and {name: prompt[name] for name in OF_PAST},
            "late": passage_id in self._late,
            "outcome": self.outcomes.get(passage_id),
        }


def unrecorded(passage_id: str, level: str) -> dict[str, Any]:
    """The prompt of a level that stands in no record: nothing is known of its evidence."""
    return {
        "passage_id": passage_id,
        "level": level,
        "revision": None,
        "final": False,
        "issued_utc": None,
        "measuring": False,
        "audited": False,
        "lines": [line("reason.not_recorded", {}, "The lane cannot write its record")],
        "parts": [],
        "trained_on": "",
    }


def group_of(prompt: Mapping[str, Any]) -> str:
    """Under which heading a prompt's reliability is counted: its level, or the disclosed audit draw."""
    return "audit" if prompt["audited"] else str(prompt["level"])


def said_by(told: Mapping[str, Any]) -> dict[str, Any]:
    """A word's value, and its source as a page says it: the lane's file, a booth and its officer, or a terminal."""
    source, value = str(told.get("source")), told.get("value")
    kind, _, rest = source.partition(",")[0].partition(" ")
    known = kind if kind in ("lane", "booth") else "terminal"
    shown = value if isinstance(value, int | float) else clipped(str(value))
    return {"value": shown, "by": known, "officer": (clipped(rest) or None) if known == "booth" else None}


def _device(device: Any) -> dict[str, Any]:
    if not isinstance(device, dict):
        return {"modality": "", "good": False}
    good = all(device.get(answer) is True for answer in ("there", "on_time", "believes_itself"))
    return {"modality": clipped(str(device.get("modality"))), "good": good}
