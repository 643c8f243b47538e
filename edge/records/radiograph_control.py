"""Radiographs through the control socket: which are kept without a passage, and a person's word for one of them.

``{"do": "radiographs"}`` lists them; ``{"do": "radiograph", "object": …, "passage_id": …}`` joins one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from edge.control import ControlFault, Handler, Peer
from edge.journal.journal import JournalFault
from edge.radiograph_desk import RadiographDesk
from edge.records.outcome_control import source_of
from fusion.bundle.fault import BundleFault

Assign = Callable[[str, str, str], Awaitable[None]]


def handlers(desk: RadiographDesk, assign: Assign) -> dict[str, Handler]:
    """What the lane answers."""

    async def radiographs(request: Mapping[str, Any], peer: Peer) -> Any:
        return desk.document()

    async def radiograph(request: Mapping[str, Any], peer: Peer) -> Any:
        name, passage_id = request.get("object"), request.get("passage_id")
        if not isinstance(name, str) or not isinstance(passage_id, str):
            raise ValueError("radiograph: give object and passage_id")
        try:
            await assign(name, passage_id, source_of(request, peer))
        except (BundleFault, OSError, JournalFault) as fault:
            raise ControlFault(f"not joined: {fault}") from None
        return {"object": name, "passage_id": passage_id}

    return {"radiographs": radiographs, "radiograph": radiograph}
