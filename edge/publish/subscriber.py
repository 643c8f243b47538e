"""Follows one lane's publisher: what ``lanepulse verdicts --follow`` and the hub use.

Unreachable     the lane is silent, refuses our key, or does not replay
OutOfStep       what the lane announces and what its journal replays do not belong together
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Literal

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from edge.keys import CurveKeys
from edge.publish import message
from edge.publish.client import connect, set_up
from edge.publish.message import Message
from edge.publish.missed import Missed, NoReplay

SILENCE_S = 5.0  # five missed states

Stream = Literal["verdict", "status"]


class Unreachable(Exception):
    """One line: the lane is silent, refuses our key, or does not replay."""


class OutOfStep(Exception):
    """One line: the lane's journal is not the one that was followed, or lacks what the lane announced."""


async def follow(
    endpoint: str,
    server_key: bytes,
    own: CurveKeys,
    site: str,
    lane: str,
    *,
    streams: Sequence[Stream] = ("verdict", "status"),
    silence_s: float = SILENCE_S,
    replay_endpoint: str | None = None,
    last_seen: int | None = None,
) -> AsyncGenerator[Message, None]:
    """Messages as they come, states too; close it with ``contextlib.aclosing`` to leave early.

    States are always heard, since they tell silence from health; only the ``streams`` asked for are yielded.

    Without ``replay_endpoint`` verdicts are yielded as they come: one of kind ``last`` or with a known ``sequence`` is
    a repetition, and some may be missing. With it each verdict comes exactly once and in order: those missed are
    asked for, and come as kind ``replayed``. After an Unreachable call again, with the last number that you dealt with.

    Args:
        server_key: the lane's public CURVE key, Z85.
        last_seen: ``sequence`` of the last verdict that was dealt with; 0 for all from the first on. None begins with
            the newest one there is.

    Raises:
        Unreachable: nothing for ``silence_s``, the key is refused, or the replay socket does not answer.
        OutOfStep: the lane has another journal than the one that ``last_seen`` came from.
        MessageFault: the peer holds the lane's key and yet sends something else.
        ValueError: an endpoint, the key or a name is malformed, or ``last_seen`` is given without a replay endpoint.
    """
    if last_seen is not None and replay_endpoint is None:
        raise ValueError("last_seen is of use only with a replay endpoint; give [publish] replay of the lane")
    context = zmq.asyncio.Context()
    try:
        heard = _hear(context, endpoint, server_key, own, site, lane, silence_s)
        if replay_endpoint is not None and "verdict" in streams:
            missed = Missed(context, replay_endpoint, server_key, own, site, lane, patience_s=silence_s)
            heard = _complete(heard, missed, last_seen)
        async with aclosing(heard):
            async for each in heard:
                if each.topic.split(".", 1)[0] in streams:
                    yield each
    except NoReplay as error:
        raise Unreachable(str(error)) from None
    finally:
        context.destroy(linger=0)


async def _hear(
    context: zmq.asyncio.Context,
    endpoint: str,
    server_key: bytes,
    own: CurveKeys,
    site: str,
    lane: str,
    silence_s: float,
) -> AsyncGenerator[Message, None]:
    """All of the lane's messages as they come; some may be missing."""
    socket = context.socket(zmq.SUB)
    set_up(socket, endpoint, server_key, own)
    socket.subscribe(message.topic("verdict", site, lane))
    socket.subscribe(message.topic("status", site, lane))
    monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
    try:
        connect(socket, endpoint)
        poller = zmq.asyncio.Poller()
        poller.register(socket, zmq.POLLIN)
        poller.register(monitor, zmq.POLLIN)
        while True:
            ready = dict(await poller.poll(round(silence_s * 1000)))
            if monitor in ready:
                await recv_monitor_message(monitor)  # only refusals are watched for
                raise Unreachable(f"{endpoint}: refuses our key; add {own.public.decode()} to the lane's allow-list")
            if not ready:
                raise Unreachable(f"{endpoint}: nothing from {site}/{lane} for {silence_s:g} s; check lane and network")
            yield message.parse(await socket.recv_multipart())
    finally:
        socket.disable_monitor()


async def _complete(
    messages: AsyncGenerator[Message, None], missed: Missed, last_seen: int | None
) -> AsyncGenerator[Message, None]:
    """States as they come, and each verdict exactly once and in order.

    A verdict is in the journal before it is announced, and so is every one before it. A number that does not follow
    on directly may hide others, or rows that are no verdicts: the journal is asked.
    """
    async with aclosing(messages):
        async for heard in messages:
            announced = heard.header.sequence
            known = max(announced - 1, 0) if last_seen is None else last_seen
            is_verdict = heard.header.kind != "status"
            if announced < known and not is_verdict:
                await _same_journal(missed, known)
            if announced > known + is_verdict:
                async with aclosing(missed.since(known + 1)) as older:
                    async for each in older:
                        known = each.header.sequence
                        yield heard if is_verdict and known == announced else each
                if known < announced:
                    raise OutOfStep(f"verdict {announced} was announced, but the lane's journal ends at {known}")
            elif is_verdict and announced > known:
                known = announced
                yield heard
            last_seen = known
            if not is_verdict:
                yield heard


async def _same_journal(missed: Missed, known: int) -> None:
    """An older state may have waited here while newer verdicts were asked for; or the journal is another one."""
    async with aclosing(missed.since(known + 1)) as newer:
        async for _ in newer:
            return
    if missed.newest < known:
        raise OutOfStep(
            f"verdict {known} was seen, but the lane's newest is {missed.newest}: its journal was replaced; "
            "find out why, then begin again with last_seen 0"
        )
