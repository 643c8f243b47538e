"""Fifty pages on one lane, and one that has stopped reading."""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

PAGES = 50
PATIENCE_S = 60.0


class Pages:
    """Streams of many pages, read by one thread; each keeps the passage that it saw last."""

    def __init__(self, address: str) -> None:
        self.parts = urlsplit(address)
        self.open = ExitStack()
        self.ready = selectors.DefaultSelector()
        self.seen: dict[socket.socket, str | None] = {}
        self.rest: dict[socket.socket, bytes] = {}

    def add(self) -> None:
        until = time.monotonic() + PATIENCE_S
        while b" 200 " not in (stream := self.connect()).recv(15):
            assert time.monotonic() < until, "pages that have gone hold their places"
        self.ready.register(stream, selectors.EVENT_READ)
        self.seen[stream], self.rest[stream] = None, b""

    def connect(self, buffer: int | None = None) -> socket.socket:
        stream = self.open.enter_context(socket.socket())
        if buffer is not None:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        stream.connect((str(self.parts.hostname), int(self.parts.port or 0)))
        stream.sendall(f"GET /events HTTP/1.1\r\nHost: {self.parts.netloc}\r\n\r\n".encode())
        return stream

    def all_see(self, passage_id: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while any(seen != passage_id for seen in self.seen.values()):
            assert time.monotonic() < until, f"{sum(seen != passage_id for seen in self.seen.values())} do not see it"
            for key, _ in self.ready.select(1.0):
                self._read(key.fileobj)

    def _read(self, stream: Any) -> None:
        piece = stream.recv(1 << 20)
        assert piece, "a page that reads was dropped"
        *events, self.rest[stream] = (self.rest[stream] + piece).split(b"\n\n")
        for event in events:
            _, found, text = event.partition(b"data: ")
            if found:
                now = json.loads(text.split(b"\r\n")[0])["now"]
                self.seen[stream] = now and now["passage_id"]


@pytest.fixture
def pages(address: str) -> Iterator[Pages]:
    made = Pages(address)
    with made.open, made.ready:
        yield made


def test_more_pages_than_there_is_room_for_are_told_to_come_again(stage: Any, pages: Pages) -> None:
    for _ in range(64):
        pages.add()
    pages.all_see(stage.lorry("search"))
    refused = pages.connect()
    assert b" 503 " in refused.recv(4096)
    pages.all_see(stage.lorry("recheck"))


def test_fifty_pages_see_every_lorry_and_one_that_reads_nothing_is_dropped(
    stage: Any, pages: Pages, booth: Any
) -> None:
    for _ in range(PAGES):
        pages.add()
    pages.all_see(stage.lorry("search"))
    before = handles(booth)
    pages.connect(buffer=4096)
    pages.all_see(stage.lorry("search"))
    assert handles(booth) == before + 1
    until = time.monotonic() + PATIENCE_S
    while handles(booth) > before:
        assert time.monotonic() < until, "it holds its place for ever"
        pages.all_see(stage.lorry("no_search"))
    pages.all_see(stage.lorry("search"))


def handles(booth: Any) -> int:
    """Open files and sockets of the booth's process."""
    return len(list(Path(f"/proc/{booth.process.pid}/fd").iterdir()))
