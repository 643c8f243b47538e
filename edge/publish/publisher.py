"""Announces verdicts that are in the journal already, and the lane's state each second, to whoever is allowed.

A late joiner is sent the newest verdict as kind ``last`` and the state at once. ZeroMQ cannot single out one
subscriber, so the others hear it again too; its ``sequence`` is the one they know.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq
import zmq.asyncio

from edge import json_text
from edge.journal.journal import Row
from edge.keys import CurveKeys
from edge.publish import message
from edge.publish.admission import Admission

STATUS_EVERY_S = 1.0  # ARCHITECTURE, Publishing
GREETINGS_APART_S = 0.05  # assumed: joiners within it share one greeting; still "at once" for a person
QUEUE_MESSAGES = 1000  # assumed: a quarter of an hour of a stopped subscriber, a few MB
HEARTBEAT_MS = 1000  # assumed: a dead peer goes within HEARTBEAT_LOST_MS, and its queue with it
HEARTBEAT_LOST_MS = 3000
HANDSHAKE_MS = 5000  # assumed: a peer that connects and says nothing holds a descriptor no longer than this
LONGEST_REQUEST = 4096  # bytes; a subscription has under 100, a CURVE handshake under 1000
LINGER_MS = 200  # assumed: what was sent leaves at shutdown, and nobody holds the shutdown up


class PublishFault(Exception):
    """One line: what cannot be announced, or where it cannot be heard."""


class Publisher:
    """One lane's XPUB socket: make it, `bind`, keep `run` running, `publish` rows, `close`.

    Args:
        last: the newest verdict in the journal, for joiners after a restart.
        status: the lane's state as it is now; called each second and for joiners.
    """

    def __init__(
        self,
        site: str,
        lane: str,
        own: CurveKeys,
        allow_list: Path,
        *,
        boot_id: str,
        status: Callable[[], Mapping[str, Any]],
        last: Row | None = None,
        now_utc_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.site, self.lane, self.boot_id = site, lane, boot_id
        self._own = own
        self._verdicts, self._states = message.topic("verdict", site, lane), message.topic("status", site, lane)
        self._status, self._now_utc_ns = status, now_utc_ns
        self._last = last
        self._greet: set[bytes] = set()
        self._joined = asyncio.Event()
        self.context = zmq.asyncio.Context()
        self.admission = Admission(self.context, allow_list)
        self._socket = self.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.XPUB_VERBOSE, 1)  # the second joiner of a topic is told to us as well

    def socket(self, kind: int) -> zmq.asyncio.Socket:
        """A socket of ``kind`` behind the lane's door, with its limits; not bound yet."""
        made = self.context.socket(kind)
        self.admission.guard(made, self._own)
        set_limits(made)
        return made

    def bind(self, endpoint: str) -> str:
        """Listen; the answer is the endpoint with its real port. Raises PublishFault."""
        self._endpoint = bind(self._socket, endpoint, "publish")
        return self._endpoint

    def shut(self) -> None:
        """Let nobody new in; who is in stays in."""
        unbind(self._socket, self._endpoint)

    def open_again(self) -> None:
        """Listen as before. Raises PublishFault."""
        bind(self._socket, self._endpoint, "publish")

    async def run(self) -> None:
        """Admit, greet and tell the state, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.admission.run())
            tasks.create_task(self._listen())
            tasks.create_task(self._greeter())
            tasks.create_task(self._heart())

    async def publish(self, row: Row) -> None:
        """Announce a verdict. It takes a journal row, so that nothing is told that is not on disk.

        Raises:
            PublishFault: the row is not a verdict of this lane; the audit draw and the like are never told.
        """
        if not is_told(row, self.site, self.lane):
            raise PublishFault(f"journal row {row.sequence} ({row.kind}) is not a verdict of {self.site}/{self.lane}")
        if self._last is None or row.sequence > self._last.sequence:
            self._last = row
        await self._send_verdict(row, "verdict")

    def close(self) -> None:
        """Stop listening, replay included; what was sent has a moment to leave."""
        self._socket.close(LINGER_MS)
        self.context.destroy(0)

    async def _listen(self) -> None:
        while True:
            request = await self._socket.recv()
            if request[:1] != b"\x01":  # 0: unsubscribed; anything else is no business of a subscriber
                continue
            self._greet |= {topic for topic in (self._verdicts, self._states) if topic.startswith(request[1:])}
            self._joined.set()

    async def _greeter(self) -> None:
        while True:
            await self._joined.wait()
            self._joined.clear()
            topics, self._greet = self._greet, set()
            if self._verdicts in topics and self._last is not None:
                await self._send_verdict(self._last, "last")
            if self._states in topics:
                await self._send_status()
            await asyncio.sleep(GREETINGS_APART_S)

    async def _heart(self) -> None:
        while True:
            await self._send_status()
            await asyncio.sleep(STATUS_EVERY_S)

    async def _send_verdict(self, row: Row, kind: message.Kind) -> None:
        parts = message.frames(self._verdicts, kind, row.boot_id, row.sequence, self._now_utc_ns(), row.body)
        await self._socket.send_multipart(parts)

    async def _send_status(self) -> None:
        sequence = self._last.sequence if self._last else 0
        try:
            body = json_text.write(self._status())
        except json_text.JsonRefused as error:  # said, instead of a silence that looks like a cut cable
            body = json_text.write({"fault": f"the state cannot be written: {error!s:.200}"})
        parts = message.frames(self._states, "status", self.boot_id, sequence, self._now_utc_ns(), body)
        await self._socket.send_multipart(parts)


def is_told(row: Row, site: str, lane: str) -> bool:
    """This row is a verdict of this lane; all else in the journal is nobody's business. Raises JsonRefused."""
    if row.kind != "verdict":
        return False
    body = row.document()
    named = (body.get("schema"), body.get("site"), body.get("lane")) if isinstance(body, dict) else None
    return named == ("lanepulse.verdict/1", site, lane)


def bind(socket: zmq.asyncio.Socket, endpoint: str, what: str) -> str:
    """Bind; the answer is the endpoint with its real port. Raises PublishFault naming ``what``."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise PublishFault(f"{endpoint}: {error}; choose another {what} endpoint") from None
    return socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")


def unbind(socket: zmq.asyncio.Socket, endpoint: str) -> None:
    """Stop listening."""
    with contextlib.suppress(zmq.ZMQError):  # it did not listen
        socket.unbind(endpoint)


def set_limits(socket: zmq.asyncio.Socket) -> None:
    """Bounded queues and messages, and dead peers noticed: for every socket that strangers can reach."""
    socket.sndhwm = socket.rcvhwm = QUEUE_MESSAGES
    socket.maxmsgsize = LONGEST_REQUEST
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_LOST_MS)
    socket.setsockopt(zmq.HEARTBEAT_TTL, HEARTBEAT_LOST_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)
    socket.setsockopt(zmq.TCP_KEEPALIVE_IDLE, 10)
    socket.setsockopt(zmq.TCP_KEEPALIVE_INTVL, 5)
    socket.setsockopt(zmq.TCP_KEEPALIVE_CNT, 3)
