"""Gives verdicts again out of the journal, so that a subscriber that was away loses nothing.

A DEALER sends ``{"from": n, "limit": k}`` and is answered by the verdicts numbered n and up, in order, in the frames in
which they were published but for the kind ``replayed``, and by an end mark (kind ``end``, body `ReplayEnd`). One
question at a time: what a client asks before its answer has ended is thrown away, and one that does not read fills the
queue that is kept for it and is answered no more; nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from typing import Protocol

import zmq
import zmq.asyncio
from pydantic import ValidationError

from edge import json_text
from edge.journal.chain import row_hash
from edge.journal.journal import Row
from edge.publish import message
from edge.publish.message import MOST_REPLAYED, ReplayEnd, ReplayRequest
from edge.publish.publisher import Publisher, bind, is_told, unbind

ROWS_AT_ONCE = 16  # assumed: the journal is locked while rows are read; a new verdict waits about a millisecond
MOST_BYTES = 1024 * 1024  # assumed: an answer's bodies end soon after it, so that large ones do not pile up
QUEUE_MESSAGES = 2 * (MOST_REPLAYED + 1)  # two answers: one is being read, one may be asked for already
MOST_WAITING = 256  # assumed: clients with a question open at one time, many times those that a lane has
ROWS_PER_S = 2000  # assumed: a fifth of one core on a small box; a year of a busy lane in a quarter of an hour
BURST_ROWS = 2000  # assumed: what a subscriber misses in an hour comes without any wait
REQUEST_ROWS = 20  # an empty answer costs the lane about as much as this many rows
MEND = "run on the lane: lanepulse journal verify"


class Rows(Protocol):
    """What is needed of `edge.journal.journal.Journal`; called off the loop."""

    def rows(self, first: int = 1, limit: int = 1000, kind: str | None = None) -> list[Row]:
        """At most ``limit`` rows of ``kind`` from number ``first`` on, in order."""

    def last(self, kind: str) -> Row | None:
        """The newest row of ``kind``."""


class Pace:
    """How long to wait after an answer so that, over time, no more than ``rows_per_s`` are given."""

    def __init__(self, rows_per_s: float, burst_rows: float, now_s: float) -> None:
        self._rows_per_s, self._burst, self._credit, self._at_s = rows_per_s, burst_rows, burst_rows, now_s

    def wait_s(self, rows: int, now_s: float) -> float:
        """Seconds until the rows given, ``rows`` of them just now, are paid for; 0 within the burst."""
        self._credit = min(self._burst, self._credit + (now_s - self._at_s) * self._rows_per_s) - rows
        self._at_s = now_s
        return max(0.0, -self._credit / self._rows_per_s)


class _Stopped(Exception):
    """One line for the end mark: why the answer ends before what was asked for."""


class Replay:
    """One lane's ROUTER socket, behind the publisher's door: make it, `bind`, keep `run` running.

    ``early`` counts questions that were thrown away, ``unread`` answers that were given up because the client did not
    read or was gone.
    """

    def __init__(self, publisher: Publisher, journal: Rows, *, now_utc_ns: Callable[[], int] = time.time_ns) -> None:
        self._site, self._lane, self._boot_id = publisher.site, publisher.lane, publisher.boot_id
        self._verdicts = message.topic("verdict", self._site, self._lane)
        self._ends = message.topic("end", self._site, self._lane)
        self._journal, self._now_utc_ns = journal, now_utc_ns
        self._waiting: dict[bytes, list[bytes]] = {}  # client -> what it asked, in order of arrival
        self._asked = asyncio.Event()
        self.early = self.unread = 0
        self._socket = publisher.socket(zmq.ROUTER)
        self._socket.sndhwm = QUEUE_MESSAGES
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a full queue is an error here, not a hole in the answer

    def bind(self, endpoint: str) -> str:
        """Listen; the answer is the endpoint with its real port. Raises PublishFault."""
        self._endpoint = bind(self._socket, endpoint, "replay")
        return self._endpoint

    def shut(self) -> None:
        """Let nobody new in; who is in stays in."""
        unbind(self._socket, self._endpoint)

    def open_again(self) -> None:
        """Listen as before. Raises PublishFault."""
        bind(self._socket, self._endpoint, "replay")

    async def run(self) -> None:
        """Answer, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._serve())

    def close(self) -> None:
        """Stop listening; `Publisher.close` does it too."""
        self._socket.close(0)

    async def _listen(self) -> None:
        """Read whatever comes: libzmq 4.3.5 may abort where heartbeats meet input that nobody reads (libzmq#4767)."""
        while True:
            client, *question = await self._socket.recv_multipart()
            if client in self._waiting or len(self._waiting) >= MOST_WAITING:
                self.early += 1
                continue
            self._waiting[client] = question
            self._asked.set()

    async def _serve(self) -> None:
        """One answer after the other, so that replaying never takes more than its share of the lane."""
        pace = Pace(ROWS_PER_S, BURST_ROWS, time.monotonic())
        while True:
            await self._asked.wait()
            self._asked.clear()
            while self._waiting:
                client, (*between, request) = next(iter(self._waiting.items()))
                given = 0
                try:
                    given = await self._answer([client, *between], request)
                except zmq.ZMQError as error:
                    if error.errno not in (zmq.EAGAIN, zmq.EHOSTUNREACH):
                        raise
                    self.unread += 1  # its queue is full, or it has gone
                del self._waiting[client]
                await asyncio.sleep(pace.wait_s(max(given, REQUEST_ROWS), time.monotonic()))

    async def _answer(self, envelope: list[bytes], raw: bytes) -> int:
        """Send verdicts and end mark; the number of verdicts. Raises zmq.ZMQError."""
        next_sequence, newest, given, size, complete, error = 0, 0, 0, 0, False, None
        try:
            request = _request(raw)
            next_sequence, most = request.from_, min(request.limit, MOST_REPLAYED)
            newest = await asyncio.to_thread(self._newest)
            while given < most and size < MOST_BYTES and not complete:
                asked = min(ROWS_AT_ONCE, most - given)
                rows = await asyncio.to_thread(self._read, next_sequence, asked)
                for row in rows:
                    if self._is_told(row):
                        await self._send(envelope, self._frames(row))
                        given += 1
                    next_sequence, size = row.sequence + 1, size + len(row.body)
                complete = len(rows) < asked
        except _Stopped as stopped:
            error = str(stopped)
        end = ReplayEnd(next=next_sequence, complete=complete, error=error)
        body = json_text.write(end.model_dump(by_alias=True))
        await self._send(envelope, message.frames(self._ends, "end", self._boot_id, newest, self._now_utc_ns(), body))
        return given

    async def _send(self, envelope: list[bytes], parts: list[bytes]) -> None:
        await self._socket.send_multipart([*envelope, *parts], zmq.NOBLOCK)

    def _frames(self, row: Row) -> list[bytes]:
        return message.frames(self._verdicts, "replayed", row.boot_id, row.sequence, self._now_utc_ns(), row.body)

    def _read(self, first: int, limit: int) -> list[Row]:
        """Runs in a thread. Raises _Stopped."""
        try:
            return self._journal.rows(first, limit, "verdict")
        except sqlite3.Error as error:
            raise _Stopped(f"the journal cannot be read: {error!s:.200}; {MEND}") from None

    def _newest(self) -> int:
        """Runs in a thread. Raises _Stopped."""
        try:
            newest = self._journal.last("verdict")
        except sqlite3.Error as error:
            raise _Stopped(f"the journal cannot be read: {error!s:.200}; {MEND}") from None
        return newest.sequence if newest else 0

    def _is_told(self, row: Row) -> bool:
        columns = (row.sequence, row.boot_id, row.kind, row.passage_id, row.written_utc_ns, row.body, row.previous_hash)
        damaged = f"row {row.sequence} of the journal is damaged; {MEND}"
        if row_hash(*columns) != row.hash:
            raise _Stopped(damaged)
        try:
            return is_told(row, self._site, self._lane)
        except json_text.JsonRefused:
            raise _Stopped(damaged) from None


def _request(raw: bytes) -> ReplayRequest:
    """Raises _Stopped."""
    example = 'ask {"from": 1, "limit": 200}'
    try:
        return ReplayRequest.model_validate(json_text.read(raw))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "request"
        raise _Stopped(f"{where[:80]}: {first['msg']}; {example}") from None
    except json_text.JsonRefused as error:
        raise _Stopped(f"request {error!s:.200}; {example}") from None
