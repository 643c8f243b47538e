"""``lanepulse prompt``: what the officer reads, in a terminal: word, shape and place, where, and why.

Each level has its own word, shape and row, so that it is told without colour. The prompt goes as soon as the next
vehicle comes, or the lane falls silent: an old prompt never stands beside a new lorry.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections import deque
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import click

from edge.cli.following import Options, Source, source, source_options
from edge.cli.main import DONE
from edge.cli.options import Settings, common
from edge.cli.output import clean, say, say_json, say_screen
from edge.publish.message import Message
from edge.publish.subscriber import Unreachable

# level: word, shape, the same shape where only ASCII can be shown, colour for those who see it (ECMA-48 SGR)
LEVELS = {
    "no_search": ("No search prompted", "○", "( )", "32"),
    "recheck": ("Measure again", "◇", "<?>", "36"),
    "search": ("Search this vehicle", "▲", "/!\\", "33"),
    "open_now": ("Open now, life at risk", "■", "[X]", "31"),
}
UNRECORDED = ("recheck", "open_now")  # all that a lane without a record says of a vehicle
WAITING = "Waiting for a vehicle"
MEASURING = "Measuring: no prompt yet"
MOST_GONE = 1000  # assumed: late evidence comes within a day
NOT_RECORDED = "   NOT RECORDED: the lane cannot write; write down yourself what you decide"
SILENT = "No contact with the lane: decide without it"


@click.command(
    "prompt", epilog="\b\nExamples:\n  lanepulse prompt --config lane.toml\n  lanepulse prompt --once --json"
)
@click.option("--once", is_flag=True, help="Stop after the first prompt.")
@source_options
@common
def command(settings: Settings, once: bool, at: Options) -> int:
    """The officer's prompt for the vehicle in the lane. It advises; you decide. Ctrl-C leaves."""
    asyncio.run(_follow(source(settings, at), settings, once))
    return DONE


def lines(verdict: Mapping[str, Any]) -> list[str]:
    """The prompt of a verdict: headline first, then why."""
    try:
        word, shape, _, _ = LEVELS[verdict["level"]]
        detail = _detail(verdict)
        why = [f"   {reason['text']}" for reason in verdict["reasons"]]
        simulated = (
            [] if verdict["trained_on"] == "recorded" else [f"   (model trained on {verdict['trained_on']} data)"]
        )
    except (KeyError, TypeError):
        return ["?  A prompt that this program cannot read: update it, and decide without it"]
    return [f"{shape}  {word}{f': {detail}' if detail else ''}", *why, *simulated]


def _detail(verdict: Mapping[str, Any]) -> str:
    """Where to search, or what to measure again."""
    evidence = verdict["evidence"]
    if verdict["level"] == "recheck":
        silent = [f"{part['modality']} ({part['cause']})" for part in evidence if part["state"] != "measured"]
        return ", ".join(silent) or "more time"
    if verdict["level"] in ("search", "open_now"):
        speaking = sorted(evidence, key=lambda part: -part["log10_lr"])
        places = [part["where"] for part in speaking if part["where"] and part["log10_lr"] > 0]
        return ", ".join(dict.fromkeys(places))
    return ""


@dataclass(frozen=True, slots=True)
class View:
    """What is to be read now. ``level`` is None while there is no prompt; ``verdict`` is that of the prompt."""

    level: str | None
    text: tuple[str, ...]
    verdict: Mapping[str, Any] | None = None


class Prompter:
    """Which verdict is the prompt, from the lane's messages in their order; a wall clock has no say in it."""

    def __init__(self) -> None:
        self._in_hand: str | None = None
        self._newest = 0
        self._verdict: Mapping[str, Any] | None = None  # of the newest vehicle that has one
        self._gone: deque[str] = deque(maxlen=MOST_GONE)
        self._late: str | None = None
        self._unrecorded: str | None = None  # level of the vehicle in hand while the lane cannot write

    def see(self, message: Message) -> View:
        """The view after this message."""
        if message.header.kind == "status":
            passage = message.body.get("passage")
            self._enter(passage.get("passage_id") if isinstance(passage, dict) else None)
            journal = message.body.get("journal")
            writes = not isinstance(journal, dict) or journal.get("recorded") is not False
            self._unrecorded = None if writes or not isinstance(passage, dict) else str(passage.get("level"))
        elif message.header.sequence > self._newest:
            self._newest = message.header.sequence
            self._judge(message.body, live=message.header.kind == "verdict")
        return self._view()

    def _enter(self, passage_id: str | None) -> None:
        if passage_id == self._in_hand:
            return
        if self._in_hand is not None:
            self._gone.append(self._in_hand)
        self._in_hand = passage_id
        if passage_id is not None:
            self._late = None

    def _judge(self, verdict: Mapping[str, Any], *, live: bool) -> None:
        passage_id = str(verdict.get("passage_id"))
        if passage_id in self._gone:  # late evidence on a vehicle that has left is no prompt for the one here
            self._late = f"   earlier vehicle {passage_id}: {lines(verdict)[0]}"
            return
        self._verdict = verdict
        if live:  # a verdict may come before the state that tells of its vehicle
            self._enter(passage_id)

    def _view(self) -> View:
        verdict, late = self._verdict, () if self._late is None else (self._late,)
        if self._in_hand is None:
            return View(None, (WAITING, *late))
        told = None if verdict is None or verdict.get("passage_id") != self._in_hand else verdict
        if self._unrecorded is not None:
            late = (NOT_RECORDED, *late)
            if self._unrecorded in UNRECORDED and (told is None or told.get("level") != self._unrecorded):
                word, shape, _, _ = LEVELS[self._unrecorded]
                return View(self._unrecorded, (f"{shape}  {word}", *late))
        if told is None:
            return View(None, (MEASURING, *late))
        level = told.get("level")
        return View(level if level in LEVELS else None, (*lines(told), *late), told)


def screen(view: View, *, colour: bool, ascii_only: bool) -> list[str]:
    """Rows of a terminal: each level has a row of its own, and those of the others stay empty."""
    headline, *rest = (clean(line) for line in view.text)
    if view.level is None:
        return [""] * (len(LEVELS) + 1) + [headline, *rest]
    rows = []
    for name, (_, shape, plain, sgr) in LEVELS.items():
        shown = headline.replace(shape, plain, 1) if ascii_only else headline
        rows.append("" if name != view.level else f"\x1b[1;{sgr}m{shown}\x1b[0m" if colour else shown)
    return [*rows, "", *rest]


def _show(settings: Settings, view: View) -> None:
    if settings.json:
        if view.verdict is not None:
            say_json(view.verdict)
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        plain = (sys.stdout.encoding or "").casefold().replace("-", "") != "utf8"
        say_screen(screen(view, colour="NO_COLOR" not in os.environ, ascii_only=plain))
    else:
        say(" | ".join(line.strip() for line in view.text))


async def _follow(lane: Source, settings: Settings, once: bool) -> None:
    shown: View | None = None
    while True:
        prompter = Prompter()
        try:
            async with aclosing(lane.messages()) as messages:
                async for message in messages:
                    view = prompter.see(message)
                    if view != shown:
                        _show(settings, view)
                    shown = view
                    if once and view.verdict is not None:
                        return
        except Unreachable as error:
            if once or settings.json:
                raise
            view = View(None, (SILENT, f"   {error}"))
            if view != shown:
                _show(settings, view)
            shown = view
