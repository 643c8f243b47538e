"""Asks a lane's replay socket for the verdicts that were missed."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from math import ceil

import zmq
import zmq.asyncio
from pydantic import ValidationError

from edge import json_text
from edge.keys import CurveKeys
from edge.publish import message
from edge.publish.client import connect, set_up
from edge.publish.message import MOST_REPLAYED, Message, MessageFault, ReplayEnd

RETRY_S = 2.0  # assumed: an answer takes hundredths of a second; a request that a broken link swallowed is asked again


class NoReplay(Exception):
    """One line: the replay socket does not answer, or says why it cannot."""


class Missed:
    """One lane's replay socket, seen from a subscriber. A context of `zmq.asyncio` owns its sockets."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        endpoint: str,
        server_key: bytes,
        own: CurveKeys,
        site: str,
        lane: str,
        *,
        patience_s: float,
    ) -> None:
        self._context, self._endpoint, self._server_key, self._own = context, endpoint, server_key, own
        self._verdicts = message.topic("verdict", site, lane).decode()
        self._patience_s = patience_s
        self._socket: zmq.asyncio.Socket | None = None
        self.newest = 0  # verdict of the lane, as the last answer said

    async def since(self, first: int) -> AsyncGenerator[Message]:
        """Every verdict from number ``first`` to the newest, in order.

        Raises:
            NoReplay: no answer for ``patience_s``, or a refusal.
            MessageFault: what comes is no replay.
            ValueError: the endpoint or the key is malformed.
        """
        whole = False
        try:
            asked = first
            await self._ask(asked)
            while True:
                heard = await self._next(first)
                if heard.header.kind != "end":
                    first = self._number(heard, first) + 1
                    yield heard
                    continue
                end = self._end(heard)
                first = max(first, end.next_)
                if end.complete:
                    break
                if first == asked:
                    raise MessageFault(f"{self._endpoint}: an answer from {asked} on that leads nowhere")
                asked = first
                await self._ask(asked)
            whole = True
        finally:
            if not whole:
                self.close()  # what is still on its way must not be taken for the answer to a later question

    def close(self) -> None:
        """Drop the connection, and all that is on its way."""
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None

    async def _ask(self, first: int) -> None:
        if self._socket is None:
            self._socket = self._context.socket(zmq.DEALER)
            set_up(self._socket, self._endpoint, self._server_key, self._own)
            connect(self._socket, self._endpoint)
        await self._socket.send(json_text.write({"from": first, "limit": MOST_REPLAYED}).encode())

    async def _next(self, first: int) -> Message:
        """The next message; where none comes, the question is asked again from ``first`` on."""
        for _ in range(max(1, ceil(self._patience_s / RETRY_S))):
            if self._socket is not None and await self._socket.poll(round(min(RETRY_S, self._patience_s) * 1000)):
                return message.parse(await self._socket.recv_multipart())
            self.close()
            await self._ask(first)
        raise NoReplay(f"{self._endpoint}: no answer for {self._patience_s:g} s; check lane and network")

    def _number(self, heard: Message, first: int) -> int:
        if heard.topic != self._verdicts or heard.header.kind != "replayed" or heard.header.sequence < first:
            told = f"{heard.header.kind} {heard.header.sequence} of {heard.topic}"
            raise MessageFault(f"{self._endpoint}: {told}, but verdicts from {first} on were asked for")
        return heard.header.sequence

    def _end(self, heard: Message) -> ReplayEnd:
        try:
            end = ReplayEnd.model_validate(heard.body)
        except ValidationError as error:
            raise MessageFault(f"{self._endpoint}: end mark: {error.errors()[0]['msg']}") from None
        if end.error is not None:
            raise NoReplay(f"{self._endpoint}: {' '.join(end.error.split())}")
        self.newest = heard.header.sequence
        return end
