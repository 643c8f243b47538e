"""RELIABILITY 13, short: whatever is killed or stopped, the histories of all readers and the journal agree.

Operations are drawn at random from a seed; every reader writes down what it saw and whether that was in the journal at
that moment; a checker that knows nothing of how it works then looks for contradictions.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from edge import json_text
from edge.journal.journal import Journal, Row
from edge.journal.verify import verify
from edge.publish.message import Message
from edge.publish.subscriber import Unreachable, follow

if TYPE_CHECKING:
    from tests.edge.publish.conftest import Lane

READERS = 3
OPERATIONS = 120
CATCH_UP_S = 30


@dataclass(frozen=True)
class Seen:
    """A verdict as a reader got it."""

    number: int
    body: str
    in_journal: bool  # at the moment when it was seen
    kind: str = "verdict"


def contradictions(rows: Sequence[Row], acknowledged: Sequence[int], histories: Sequence[Sequence[Seen]]) -> list[str]:
    """What cannot be, given the journal at the end; the readers began at number 1 and have caught up."""
    verdicts = {row.sequence: row.body for row in rows if row.kind == "verdict"}
    found = [f"{number} was acknowledged and is not in the journal" for number in set(acknowledged) - set(verdicts)]
    for reader, history in enumerate(histories):
        numbers = [seen.number for seen in history]
        found += [f"reader {reader}: {b} came after {a}" for a, b in pairwise(numbers) if b <= a]
        found += [f"reader {reader}: lost {number}" for number in sorted(set(verdicts) - set(numbers))]
        found += [f"reader {reader}: invented {number}" for number in sorted(set(numbers) - set(verdicts))]
        found += [
            f"reader {reader}: {seen.number} was shown before it was durable" for seen in history if not seen.in_journal
        ]
        found += [
            f"reader {reader}: {s.number} was changed" for s in history if verdicts.get(s.number, s.body) != s.body
        ]
    return found


ROWS = [Row(number, "b", "verdict", None, 0, f"body {number}", "", "") for number in (1, 2, 4)]
TRUE = [Seen(row.sequence, row.body, True) for row in ROWS]


@pytest.mark.parametrize(
    ("history", "word"),
    [
        (TRUE[:1] + TRUE[2:], "lost 2"),
        (TRUE[:2], "lost 4"),
        ([*TRUE, TRUE[2]], "4 came after 4"),
        ([TRUE[1], TRUE[0], TRUE[2]], "1 came after 2"),
        ([*TRUE, Seen(5, "body 5", True)], "invented 5"),
        ([TRUE[0], replace(TRUE[1], in_journal=False), TRUE[2]], "before it was durable"),
        ([TRUE[0], replace(TRUE[1], body="else"), TRUE[2]], "changed"),
    ],
)
def test_the_checker_finds_each_planted_contradiction(history: list[Seen], word: str) -> None:
    assert contradictions(ROWS, [1, 4], [TRUE]) == []
    assert any(word in line for line in contradictions(ROWS, [1, 4], [TRUE, history]))
    assert contradictions(ROWS, [3], []) == ["3 was acknowledged and is not in the journal"]


class Reader:
    """Follows the lane for ever, begins again where it was, and writes down what it sees."""

    def __init__(self, lane: Lane, grown: asyncio.Condition, replay: bool) -> None:
        self._lane, self._grown, self._replay = lane, grown, replay
        self._journal = sqlite3.connect(f"{(lane.folder / 'journal.db').as_uri()}?mode=ro", uri=True)
        self.history: list[Seen] = []
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def restart(self) -> None:
        await self.stop()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        await self.stop()
        self._journal.close()

    async def _run(self) -> None:
        lane = self._lane
        while True:
            stream = follow(
                lane.endpoint,
                lane.server_key,
                lane.client,
                "calais",
                "3",
                streams=["verdict"],
                replay_endpoint=lane.replay_endpoint if self._replay else None,
                last_seen=(self.history[-1].number if self.history else 0) if self._replay else None,
            )
            with suppress(Unreachable):
                async with aclosing(stream):
                    async for each in stream:
                        self._see(each)
                        async with self._grown:
                            self._grown.notify_all()

    def _see(self, message: Message) -> None:
        number, body = message.header.sequence, json_text.write(message.body)
        found = self._journal.execute("SELECT body FROM rows WHERE sequence = ?", (number,)).fetchone()
        self.history.append(Seen(number, body, found == (body,), message.header.kind))


def judge_and_kill(lane: Lane, count: int, waited_for: int) -> list[int]:
    """Ask for ``count`` verdicts, kill the lane in the midst of them, start it again; those that it acknowledged."""
    process = lane.process
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write("search\n" * count)
    process.stdin.flush()
    acknowledged = [int(process.stdout.readline()) for _ in range(waited_for)]
    process.kill()
    said, _ = process.communicate()
    lane.restart()
    return acknowledged + [int(line) for line in said.split("\n")[:-1]]


async def operate(lane: Lane, draw: random.Random, readers: list[Reader]) -> list[int]:
    acknowledged = []
    for _ in range(OPERATIONS):
        operation = draw.choices(("judge", "other row", "restart a reader", "kill the lane"), (60, 20, 14, 6))[0]
        if operation == "judge":
            acknowledged.append(await asyncio.to_thread(lane.judge, draw.choice(("search", "recheck", "no_search"))))
        elif operation == "other row":
            await asyncio.to_thread(lane.judge, "!passage")
        elif operation == "restart a reader":
            await draw.choice(readers).restart()
        else:
            count = draw.randrange(1, 20)
            acknowledged += await asyncio.to_thread(judge_and_kill, lane, count, draw.randrange(count))
    acknowledged.append(await asyncio.to_thread(lane.judge, "search"))
    return acknowledged


async def play(lane: Lane, seed: int, replay: bool = True) -> tuple[list[int], list[list[Seen]]]:
    grown = asyncio.Condition()
    lane.judge("!boot")  # so that the journal is there to be read
    readers = [Reader(lane, grown, replay) for _ in range(READERS)]
    try:
        acknowledged = await operate(lane, random.Random(seed), readers)
        async with asyncio.timeout(CATCH_UP_S), grown:
            await grown.wait_for(
                lambda: all(reader.history and reader.history[-1].number >= acknowledged[-1] for reader in readers)
            )
    finally:
        for reader in readers:
            await reader.close()
    return acknowledged, [reader.history for reader in readers]


def journal_of(lane: Lane) -> list[Row]:
    """All rows, once the lane has ended."""
    lane.process.communicate("", timeout=20)
    path = lane.folder / "journal.db"
    assert verify(path, None).ok
    with Journal.open(path, None) as journal:
        return journal.rows(limit=100_000)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_reader_contradicts_the_journal_whatever_is_killed(lane: Lane, seed: int) -> None:
    acknowledged, histories = asyncio.run(play(lane, seed))
    assert contradictions(journal_of(lane), acknowledged, histories) == []
    kinds = {seen.kind for history in histories for seen in history}
    assert {"verdict", "replayed"} <= kinds  # or nothing was tried


def test_the_same_without_replay_loses_verdicts_so_the_test_can_fail(lane: Lane) -> None:
    acknowledged, histories = asyncio.run(play(lane, 1, replay=False))
    found = contradictions(journal_of(lane), acknowledged, histories)
    assert any("lost" in line for line in found) and not any("invented" in line for line in found)
