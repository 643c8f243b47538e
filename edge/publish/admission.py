"""Who may connect: CURVE, and an allow-list of public keys that is asked at each handshake (ZeroMQ RFC 27, ZAP)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import zmq
import zmq.asyncio

from edge import keys
from edge.keys import CurveKeys

ENDPOINT = "inproc://zeromq.zap.01"  # RFC 27: fixed
DOMAIN = b"lanepulse"
LONGEST_USER = 255  # RFC 27: a short string


class Admission:
    """Answers the handshakes of one ZeroMQ context; sockets of that context are put behind it by `guard`."""

    def __init__(self, context: zmq.asyncio.Context, allow_list: Path) -> None:
        self._allow_list = allow_list
        self.refused = 0  # handshakes, since the start
        self._socket = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(ENDPOINT)

    def guard(self, socket: zmq.asyncio.Socket, own: CurveKeys) -> None:
        """Make ``socket`` a CURVE server behind this door; call before it is bound."""
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = own.public, own.secret
        socket.zap_domain = DOMAIN
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)  # without an answer from here nobody is let in

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            request = await self._socket.recv_multipart()
            known = await asyncio.to_thread(keys.allowed, self._allow_list)  # a slow disk must not hold up a verdict
            await self._socket.send_multipart(self._answer(request, known))

    def close(self) -> None:
        """Let go of the door; no handshake succeeds after it."""
        self._socket.close()

    def _answer(self, request: list[bytes], known: dict[bytes, str]) -> list[bytes]:
        version, number = [*request, b"", b""][:2]
        credentials = request[6:]
        if version == b"1.0" and request[2:3] == [DOMAIN] and request[5:6] == [b"CURVE"] and len(credentials) == 1:
            name = known.get(credentials[0])
            if name is not None:
                return [b"1.0", number, b"200", b"OK", name.encode("utf-8", "replace")[:LONGEST_USER], b""]
        self.refused += 1
        return [b"1.0", number, b"400", b"key not in the allow-list", b"", b""]
