"""Outcomes through the control socket: what the daemon answers to the booth page and to ``lanepulse outcome``.

``{"do": "outcome", …a press…}`` records one; ``{"do": "outcomes", "passage_ids": […]}`` tells which records stand.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from edge.control import ControlFault, Handler, Peer
from edge.journal.journal import JournalFault
from edge.records.outcome import TERMINAL, press_of
from edge.records.outcome_book import OutcomeBook


def source_of(request: Mapping[str, Any], peer: Peer) -> str:
    """Who says it: what the asker calls itself, a booth and its officer's id, and the user that the kernel vouches for.

    Raises:
        ValueError: it calls itself something that is no name of a terminal.
    """
    terminal = request.get("source")
    if terminal is None:
        return f"uid {peer.user_id}"
    if not isinstance(terminal, str) or not re.fullmatch(TERMINAL, terminal):
        raise ValueError("source: give 1 to 64 letters, digits, colons, spaces or -")
    return f"{terminal}, uid {peer.user_id}"


def handlers(book: OutcomeBook) -> dict[str, Handler]:
    """What the lane answers."""

    async def outcome(request: Mapping[str, Any], peer: Peer) -> Any:
        press = press_of({name: value for name, value in request.items() if name != "do"})
        try:
            return await asyncio.to_thread(book.enter, press, f"uid {peer.user_id}")
        except JournalFault as fault:
            raise ControlFault(f"not recorded: {fault}") from None

    async def outcomes(request: Mapping[str, Any], peer: Peer) -> Any:
        asked = request.get("passage_ids")
        if not isinstance(asked, list) or not all(isinstance(passage_id, str) for passage_id in asked):
            raise ValueError("outcomes: give passage_ids, a list of passages")
        return await asyncio.to_thread(book.standing, asked)

    return {"outcome": outcome, "outcomes": outcomes}
