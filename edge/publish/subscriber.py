"""Follows one lane's publisher: what ``lanepulse verdicts --follow`` uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Literal

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from edge.json_text import LONGEST_BYTES
from edge.keys import CurveKeys
from edge.publish import message
from edge.publish.message import Message

SILENCE_S = 5.0  # five missed states
QUEUE_MESSAGES = 1000  # assumed: what a reader that is slow for some minutes may fall behind
HEARTBEAT_MS, HEARTBEAT_LOST_MS = 1000, 3000  # as the publisher's
RECONNECT_MS, RECONNECT_MOST_MS = 100, 2000  # assumed: back within seconds of the cable's return


class Unreachable(Exception):
    """One line: the lane is silent, or refuses our key."""


async def follow(
    endpoint: str,
    server_key: bytes,
    own: CurveKeys,
    site: str,
    lane: str,
    *,
    streams: Sequence[Literal["verdict", "status"]] = ("verdict", "status"),
    silence_s: float = SILENCE_S,
) -> AsyncIterator[Message]:
    """Messages as they come, states too; close it with ``contextlib.aclosing`` to leave early.

    States are always heard, since they tell silence from health; only the ``streams`` asked for are yielded. A verdict
    of kind ``last`` or with a known ``sequence`` is a repetition; a state whose ``sequence`` is above that of the
    newest verdict means that one was missed.

    Args:
        server_key: the lane's public CURVE key, Z85.

    Raises:
        Unreachable: nothing for ``silence_s``, or the key is refused.
        MessageFault: the peer holds the lane's key and yet sends something else.
        ValueError: the endpoint, the key or a name is malformed.
    """
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB)
    try:
        monitor = _connect(socket, endpoint, server_key, own, site, lane)
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
            heard = message.parse(await socket.recv_multipart())
            if heard.topic.split(".", 1)[0] in streams:
                yield heard
    finally:
        socket.disable_monitor()
        context.destroy(linger=0)  # with the monitor's socket, which disabling does not close


def _connect(
    socket: zmq.asyncio.Socket, endpoint: str, server_key: bytes, own: CurveKeys, site: str, lane: str
) -> zmq.asyncio.Socket:
    """Set the socket up and connect it; the answer is its monitor for refused handshakes."""
    try:
        socket.curve_serverkey = server_key
        socket.curve_publickey, socket.curve_secretkey = own.public, own.secret
        socket.rcvhwm, socket.maxmsgsize = QUEUE_MESSAGES, LONGEST_BYTES
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_LOST_MS)
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MOST_MS)
        socket.subscribe(message.topic("verdict", site, lane))
        socket.subscribe(message.topic("status", site, lane))
        monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        raise ValueError(f"{endpoint}: {error}; give tcp://HOST:PORT and the lane's public key") from None
    return monitor
