"""Covert tests through the control socket: ``covert.enter``, ``covert.reveal`` and ``covert.list``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from edge.control import ControlFault, Handler, Peer
from edge.journal.journal import JournalFault
from edge.records.covert import CovertBook


def handlers(book: CovertBook) -> dict[str, Handler]:
    """What the lane answers."""

    async def enter(request: Mapping[str, Any], peer: Peer) -> Any:
        return await _recorded(lambda: book.enter(request.get("seal"), f"uid {peer.user_id}"))

    async def reveal(request: Mapping[str, Any], peer: Peer) -> Any:
        secret, passage_id = request.get("secret"), request.get("passage_id")
        return await _recorded(lambda: book.reveal(secret, passage_id, f"uid {peer.user_id}"))

    async def tests(request: Mapping[str, Any], peer: Peer) -> Any:
        return await asyncio.to_thread(book.tests)

    return {"covert.enter": enter, "covert.reveal": reveal, "covert.list": tests}


async def _recorded(write: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return await asyncio.to_thread(write)
    except JournalFault as fault:
        raise ControlFault(f"not recorded: {fault}") from None
