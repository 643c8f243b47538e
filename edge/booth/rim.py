"""What stands before every page: which host is asked for, how much may be sent, and what a browser may do with it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request

from edge import json_text

LONGEST_BODY = 16 * 1024  # bytes; assumed: an outcome with all checks and seals is a fifth of it
BODY_S = 10.0  # a body that takes longer is no person's
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "font-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), microphone=(), geolocation=()"),
)
MARK = "x-lanepulse"  # a header that no form and no other site's page can send

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Refused(Exception):
    """One line for the page, and its HTTP status."""

    def __init__(self, status: int, cause: str) -> None:
        self.status, self.cause = status, cause
        super().__init__(cause)


class Rim:
    """ASGI: only the hosts that the booth is reached by, and the headers that keep a page to itself."""

    def __init__(self, app: App, hosts: frozenset[str], *, secure: bool) -> None:
        self._app, self._hosts = app, hosts
        self._headers = [*HEADERS, *([(b"strict-transport-security", b"max-age=31536000")] if secure else [])]

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *self._headers]
            await send(message)

        if host_of(scope) not in self._hosts:  # another site's name that was pointed at this machine
            await sending({"type": "http.response.start", "status": 421, "headers": []})
            await sending({"type": "http.response.body", "body": b"not the name of this booth\n"})
            return
        await self._app(scope, receive, sending)


def host_of(scope: Message) -> str:
    """The host that was asked for, without its port."""
    values = [value for name, value in scope["headers"] if name == b"host"]
    if len(values) != 1:
        return ""
    text = str(values[0].decode("latin-1")).casefold()
    host, colon, port = text.rpartition(":")
    return host if colon and port.isdigit() else text


async def document(request: Request) -> dict[str, Any]:
    """The JSON object of a request that only our own page can have sent.

    Raises:
        Refused: another origin, another form, too long, too slow, or no object.
    """
    origin = urlsplit(request.headers.get("origin", "")).netloc
    if request.headers.get(MARK) != "1" or origin != request.headers.get("host"):
        raise Refused(403, "not sent by this page")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise Refused(415, "send application/json")
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for piece in request.stream():
                body += piece
                if len(body) > LONGEST_BODY:
                    raise Refused(413, f"more than {LONGEST_BODY} bytes")
    except TimeoutError:
        raise Refused(408, f"not sent within {BODY_S:g} s") from None
    try:
        found = json_text.read(bytes(body))
    except json_text.JsonRefused as refused:
        raise Refused(400, str(refused)[:200]) from None
    if not isinstance(found, dict):
        raise Refused(400, "send an object")
    return found
