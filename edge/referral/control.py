"""Cases through the control socket, or without it: what is said goes to the daemon, where none runs to the book."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any

from edge import keys
from edge.control import ControlFault, Handler, Peer, Unreachable, ask
from edge.journal.journal import Journal, JournalFault
from edge.places import Places
from edge.referral.book import CaseBook

SAY, SIGN = "case", "sign"


def handlers(book: CaseBook) -> dict[str, Handler]:
    """What the lane answers: ``{"do": "case", "say": "plates", "words": {…}}`` records, ``{"do": "sign"}`` signs."""
    one_at_a_time = asyncio.Lock()

    async def say(request: Mapping[str, Any], peer: Peer) -> Any:
        kind, words = request.get("say"), request.get("words")
        if not isinstance(kind, str) or not isinstance(words, dict):
            raise ValueError("case: give say, a kind, and words")
        async with one_at_a_time:
            try:
                return await asyncio.to_thread(book.enter, kind, words, f"uid {peer.user_id}")
            except JournalFault as fault:
                raise ControlFault(f"not recorded: {fault}") from None

    async def sign(request: Mapping[str, Any], peer: Peer) -> Any:
        try:
            await asyncio.to_thread(book.sign)
        except (JournalFault, OSError) as fault:
            raise ControlFault(f"not signed: {fault}") from None
        return {}

    return {SAY: say, SIGN: sign}


def record(places: Places, kind: str, words: Mapping[str, Any]) -> int:
    """Record what is said of a case; the number of its row.

    Raises:
        WordsRefused, ControlFault, JournalFault, KeyFault: it is not recorded; one line.
    """
    try:
        answer = ask(places.control_socket, {"do": SAY, "say": kind, "words": dict(words)})
        return int(answer["sequence"])
    except Unreachable as unreachable:
        with _own(places, unreachable) as journal:
            book = CaseBook(journal, places, time.time_ns)
            return int(book.enter(kind, words, f"uid {os.getuid()}")["sequence"])


def sign(places: Places) -> None:
    """Have a signed head cover all rows up to now. Raises ControlFault, JournalFault, KeyFault."""
    try:
        ask(places.control_socket, {"do": SIGN})
    except Unreachable as unreachable:
        with _own(places, unreachable) as journal:
            journal.sign_head()


def _own(places: Places, unreachable: Unreachable) -> Journal:
    """The journal of a lane that does not run. Its lock refuses while another writes it."""
    if not places.journal.exists():
        raise unreachable
    key = keys.load_signing(places.signing) if places.signing.exists() else None  # the lane signs with its next head
    return Journal.open(places.journal, key)
