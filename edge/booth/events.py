"""The page's stream: server-sent events, each of which is all that there is to show.

No queue: a page that reads slowly gets the newest state and misses what lies between, and one that does not read at all
is dropped. So a tab that slept finds no old prompts waiting for it here; what waits in the network's buffers the page
recognises by its age.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, MutableMapping
from typing import Any

from edge import json_text

STUCK_S = 5.0  # assumed: a page that takes this long to accept one event is asleep
MOST_STREAMS = 64  # assumed: booth, tablets and phones of one lane, many times over
BEAT_S = 1.0  # the longest time without an event
_RETRY = b"retry: 1000\n\n"

Message = MutableMapping[str, Any]


class Hub:
    """The newest state, and those who wait for the next one."""

    def __init__(self, content: Callable[[], dict[str, Any]]) -> None:
        self._content = content
        self._number = 0
        self._text = b""
        self._changed = asyncio.Event()
        self.streams = 0
        self.dropped = 0
        self._closing = False

    def publish(self) -> None:
        """The state changed."""
        self._number += 1
        text = json_text.write({"number": self._number} | self._content())
        self._text = f"event: lane\ndata: {text}\n\n".encode()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """End all streams."""
        self._closing = True
        self._changed.set()

    async def run(self) -> None:
        """A beat at least each second, so that silence means that something is broken."""
        while not self._closing:
            changed = self._changed
            try:
                async with asyncio.timeout(BEAT_S):
                    await changed.wait()
            except TimeoutError:
                self.publish()

    async def after(self, number: int) -> tuple[int, bytes]:
        """The newest state, as soon as it is another one than ``number``; empty when all is closing."""
        while self._number == number and not self._closing:
            await self._changed.wait()
        return self._number, b"" if self._closing else self._text


class Stream:
    """The ASGI endpoint of one page's stream."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def __call__(self, scope: Message, receive: Callable[[], Any], send: Callable[[Message], Any]) -> None:
        if self._hub.streams >= MOST_STREAMS:
            headers = [(b"retry-after", b"5"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body", "body": b"too many pages are open\n"})
            return
        self._hub.streams += 1
        try:
            async with asyncio.TaskGroup() as tasks:
                feeding = tasks.create_task(self._feed(send))
                gone = tasks.create_task(_gone(receive))
                await asyncio.wait((feeding, gone), return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                feeding.cancel()
        except* (TimeoutError, OSError):
            self._hub.dropped += 1
        finally:
            self._hub.streams -= 1

    async def _feed(self, send: Callable[[Message], Any]) -> None:
        headers = [
            (b"content-type", b"text/event-stream"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": _RETRY, "more_body": True})
        number, text = -1, b""
        while True:
            number, text = await self._hub.after(number)
            if not text:
                await send({"type": "http.response.body", "body": b""})
                return
            async with asyncio.timeout(STUCK_S):
                await send({"type": "http.response.body", "body": text, "more_body": True})


async def _gone(receive: Callable[[], Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
