"""From a verdict to its subscriber (journal commit, then CURVE) against a bare CURVE round and one FULL commit."""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from typing import Any

import zmq
import zmq.asyncio

from edge import keys
from edge.journal.journal import Journal
from edge.publish.publisher import Publisher
from edge.publish.subscriber import follow
from hil.bench.measure import Row

RUNS = 200
SITE, LANE = "bench", "1"


def rows() -> list[Row]:
    """One row, in milliseconds: medians of the same number of rounds, in turn."""
    with tempfile.TemporaryDirectory(prefix="lanepulse-bench-") as folder:
        measured, floor = asyncio.run(_measure(Path(folder)))
    return [
        Row("verdict: commit to subscriber, CURVE", measured, floor, "ms", "a bare CURVE round and one FULL commit")
    ]


async def _measure(folder: Path) -> tuple[float, float]:
    own = keys.new_curve(folder / "lane.key")
    mine = keys.new_curve(folder / "allowed" / "bench.key")
    with Journal.open(folder / "journal.db", None) as journal:
        publisher = Publisher(SITE, LANE, own, folder / "allowed", boot_id=journal.boot_id, status=dict)
        endpoint = publisher.bind("tcp://127.0.0.1:0")
        running = asyncio.create_task(publisher.run())
        heard = follow(endpoint, own.public, mine, SITE, LANE, streams=("verdict",))
        first = asyncio.ensure_future(anext(heard))
        await asyncio.sleep(0.5)  # the subscription has to arrive before anything can be timed

        async def announce(number: int) -> None:
            body = {"schema": "lanepulse.verdict/1", "site": SITE, "lane": LANE, "revision": number, "pad": "x" * 1500}
            sequence = await asyncio.to_thread(journal.append, "verdict", "0" * 26, body)
            await publisher.publish(journal.rows(sequence, 1)[0])

        await announce(0)
        await first

        async def round_trip(number: int) -> None:
            await announce(number)
            while (await anext(heard)).header.kind != "verdict":
                pass

        async with _Bare(folder) as bare:
            found = await _in_turn(round_trip, bare.round_trip)
        await heard.aclose()
        running.cancel()
        publisher.close()
    return found


async def _in_turn(
    work: Callable[[int], Awaitable[Any]], floor: Callable[[int], Awaitable[Any]]
) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(RUNS):
        for kept, piece in zip(times, (work, floor), strict=True):
            began = time.perf_counter()
            await piece(number)
            kept.append((time.perf_counter() - began) * 1e3)
    return median(times[0]), median(times[1])


class _Bare:
    """A PUB and a SUB with CURVE and nothing else, and a table with nothing else."""

    def __init__(self, folder: Path) -> None:
        self._context = zmq.asyncio.Context()
        self._db = sqlite3.connect(folder / "bare.db", isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE rows (body TEXT);")

    async def __aenter__(self) -> _Bare:
        public, secret = zmq.curve_keypair()
        self._pub, self._sub = self._context.socket(zmq.PUB), self._context.socket(zmq.SUB)
        self._pub.curve_server, self._pub.curve_publickey, self._pub.curve_secretkey = True, public, secret
        port = self._pub.bind_to_random_port("tcp://127.0.0.1")
        self._sub.curve_publickey, self._sub.curve_secretkey = zmq.curve_keypair()
        self._sub.curve_serverkey = public
        self._sub.subscribe(b"")
        self._sub.connect(f"tcp://127.0.0.1:{port}")
        while not await self._sub.poll(20):  # until the subscription is there
            await self._pub.send(b"warm")
        while await self._sub.poll(50):
            await self._sub.recv()
        return self

    async def round_trip(self, number: int) -> None:
        """One commit, one message."""
        text = f"{number}" + "x" * 1700
        self._db.execute("INSERT INTO rows VALUES (?)", (text,))
        await self._pub.send(text.encode())
        await self._sub.recv()

    async def __aexit__(self, *_: object) -> None:
        self._db.close()
        self._context.destroy(linger=0)
