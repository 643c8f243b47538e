"""Whoever was away is given what was said meanwhile, once and in order, out of the journal."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import zmq
import zmq.asyncio
from hypothesis import given
from hypothesis import strategies as st

from edge import keys
from edge.journal.journal import Journal, Row
from edge.publish import message, replay
from edge.publish.client import set_up
from edge.publish.message import Message
from edge.publish.publisher import Publisher
from edge.publish.replay import Pace, Replay
from edge.publish.subscriber import OutOfStep, Unreachable, follow

if TYPE_CHECKING:
    from tests.edge.publish.conftest import Lane


class Asker:
    """A plain DEALER."""

    def __init__(self, context: zmq.asyncio.Context, endpoint: str, server_key: bytes, own: keys.CurveKeys) -> None:
        self.socket = context.socket(zmq.DEALER)
        set_up(self.socket, endpoint, server_key, own)
        self.socket.connect(endpoint)

    async def ask(self, request: bytes) -> list[Message]:
        await self.socket.send(request)
        return await self.answer()

    async def answer(self) -> list[Message]:
        messages: list[Message] = []
        while not messages or messages[-1].header.kind != "end":
            messages.append(message.parse(await asyncio.wait_for(self.socket.recv_multipart(), 10)))
        return messages


@asynccontextmanager
async def replaying(folder: Path, journal: Any) -> AsyncIterator[tuple[Asker, Replay]]:
    """A lane in this process that replays ``journal``, with a client."""
    own, client = keys.new_curve(folder / "lane.key"), keys.new_curve(folder / "allowed" / "hub.key")
    publisher = Publisher("calais", "3", own, folder / "allowed", boot_id="b", status=dict)
    served = Replay(publisher, journal, now_utc_ns=lambda: 0)
    endpoint = served.bind("tcp://127.0.0.1:*")
    running = [asyncio.create_task(each) for each in (publisher.run(), served.run())]
    context = zmq.asyncio.Context()
    try:
        yield Asker(context, endpoint, own.public, client), served
    finally:
        context.destroy(0)
        for task in running:
            task.cancel()
        done, _ = await asyncio.wait(running)
        publisher.close()
        assert all(task.cancelled() for task in done)


def verdict(level: str = "search", lane: str = "3") -> dict[str, Any]:
    return {"schema": "lanepulse.verdict/1", "site": "calais", "lane": lane, "level": level}


def numbers(messages: list[Message]) -> list[int]:
    return [each.header.sequence for each in messages if each.header.kind == "replayed"]


def asked(folder: Path, journal: Any, *requests: bytes) -> list[list[Message]]:
    async def scene() -> list[list[Message]]:
        async with replaying(folder, journal) as (client, _):
            return [await client.ask(request) for request in requests]

    return asyncio.run(asyncio.wait_for(scene(), 30))


def test_verdicts_from_a_number_on_come_in_order_with_an_end_mark(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", None) as journal:
        for kind in ("verdict", "passage", "verdict", "audit_draw", "verdict"):
            journal.append(kind, None, verdict())
        whole, some, none = asked(tmp_path, journal, b'{"from": 2}', b'{"from": 1, "limit": 2}', b'{"from": 6}')
    assert (numbers(whole), numbers(some), numbers(none)) == ([3, 5], [1, 3], [])
    assert whole[-1].body == {"schema": "lanepulse.replay-end/1", "next": 6, "complete": True, "error": None}
    assert some[-1].body == {"schema": "lanepulse.replay-end/1", "next": 4, "complete": False, "error": None}
    assert {each.topic for each in whole} == {"verdict.calais.3.", "end.calais.3."}
    assert whole[-1].header.sequence == none[-1].header.sequence == 5


def test_a_replayed_verdict_differs_from_the_published_one_in_kind_and_time_only(lane: Lane) -> None:
    lane.judge("search")

    async def scene() -> list[Message]:
        context = zmq.asyncio.Context()
        try:
            asker = Asker(context, lane.replay_endpoint, lane.server_key, lane.client)
            found = await asker.ask(b'{"from": 1, "limit": 1}')
        finally:
            context.destroy(0)
        stream = follow(lane.endpoint, lane.server_key, lane.client, "calais", "3", streams=["verdict"])
        async with aclosing(stream):
            return [*found, await anext(stream)]

    again, _, first = asyncio.run(asyncio.wait_for(scene(), 15))
    assert (again.header.kind, first.header.kind) == ("replayed", "last")
    assert (again.topic, again.body, again.header.boot_id) == (first.topic, first.body, first.header.boot_id)
    assert again.header.sequence == first.header.sequence == 1


def test_nothing_of_another_lane_and_no_audit_draw_is_given(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", None) as journal:
        journal.append("verdict", None, verdict(lane="30"))
        journal.append("audit_draw", None, verdict())
        (answer,) = asked(tmp_path, journal, b'{"from": 0}')
    assert numbers(answer) == [] and answer[-1].body["complete"]


def test_a_long_answer_is_cut_into_pages_that_join_without_gap(tmp_path: Path) -> None:
    class Endless:
        """A journal of 450 verdicts, without the disk."""

        def rows(self, first: int = 1, limit: int = 1000, kind: str | None = None) -> list[Row]:
            return [made(number) for number in range(first, min(first + limit, 451))]

        def last(self, kind: str) -> Row | None:
            return made(450)

    async def scene() -> list[int]:
        found, first = [], 1
        async with replaying(tmp_path, Endless()) as (client, _):
            while True:
                page = await client.ask(b'{"from": %d, "limit": 999999}' % first)
                assert len(page) <= message.MOST_REPLAYED + 1
                found += numbers(page)
                first = page[-1].body["next"]
                if page[-1].body["complete"]:
                    return found

    assert asyncio.run(asyncio.wait_for(scene(), 30)) == list(range(1, 451))


def made(number: int, body: str = '{"lane":"3","schema":"lanepulse.verdict/1","site":"calais"}') -> Row:
    columns = (number, "b", "verdict", None, 0, body, "")
    return Row(*columns, replay.row_hash(*columns))


@given(st.one_of(st.binary(max_size=60), st.recursive(st.integers() | st.text(), st.lists).map(json.dumps)))
def test_any_request_is_understood_or_refused_in_one_line(raw: bytes | str) -> None:
    try:
        replay._request(raw if isinstance(raw, bytes) else raw.encode())
    except replay._Stopped as stopped:
        assert "\n" not in str(stopped) and len(str(stopped)) < 1000


def test_a_wrong_request_is_answered_with_its_mend(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", None) as journal:
        requests = (
            b"",
            b"{}",
            b'{"from": "1"}',
            b'{"from": -1}',
            b'{"from": 1, "limt": 3}',
            b'{"from": 1, "limit": 0}',
        )
        answers = asked(tmp_path, journal, *requests, b'{"from": 0}')
    assert all('ask {"from": 1, "limit": 200}' in answer[-1].body["error"] for answer in answers[:-1])
    assert answers[-1][-1].body["error"] is None


def test_a_damaged_row_is_never_given_and_is_named(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", None) as journal:
        for _ in range(3):
            journal.append("verdict", None, verdict())
        db = sqlite3.connect(tmp_path / "journal.db")
        db.executescript(
            "DROP TRIGGER rows_stay; UPDATE rows SET body = replace(body, 'search', 'no_search') WHERE sequence = 2"
        )
        db.close()
        (answer,) = asked(tmp_path, journal, b'{"from": 1}')
    assert numbers(answer) == [1]
    assert "row 2 of the journal is damaged" in answer[-1].body["error"] and answer[-1].body["next"] == 2


def test_a_journal_that_cannot_be_read_is_said_and_the_lane_goes_on(tmp_path: Path) -> None:
    with Journal.open(tmp_path / "journal.db", None) as journal:
        pass
    first, second = asked(tmp_path, journal, b'{"from": 1}', b'{"from": 1}')
    assert "cannot be read" in first[-1].body["error"] and "cannot be read" in second[-1].body["error"]


def test_a_stranger_is_not_answered(lane: Lane, tmp_path: Path) -> None:
    stranger = keys.new_curve(tmp_path / "stranger.key")

    async def scene() -> int:
        context = zmq.asyncio.Context()
        try:
            asker = Asker(context, lane.replay_endpoint, lane.server_key, stranger)
            monitor = asker.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
            await asker.socket.send(b'{"from": 1}')
            await asyncio.wait_for(monitor.recv_multipart(), 10)
            return int(await asker.socket.poll(0))
        finally:
            context.destroy(0)

    assert asyncio.run(scene()) == 0


def test_who_asks_without_reading_is_given_up_and_holds_nobody_up(tmp_path: Path) -> None:
    """The client's own queue is one message, the bodies are large: what it leaves unread stays with the lane."""
    large = json.dumps(verdict() | {"filling": "x" * 100_000}, sort_keys=True, separators=(",", ":"))

    class Large:
        def rows(self, first: int = 1, limit: int = 1000, kind: str | None = None) -> list[Row]:
            return [made(number, large) for number in range(first, first + limit)]

        def last(self, kind: str) -> Row | None:
            return made(10**6, large)

    async def scene() -> None:
        async with replaying(tmp_path, Large()) as (client, served):
            endpoint = client.socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
            server_key, own = (
                keys.load_curve(tmp_path / "lane.key").public,
                keys.load_curve(tmp_path / "allowed/hub.key"),
            )
            stuck = client.socket.context.socket(zmq.DEALER)
            set_up(stuck, endpoint, server_key, own)
            stuck.rcvhwm = 1
            stuck.connect(endpoint)
            while not served.unread:
                await stuck.send(b'{"from": 1}')
                answer = await client.ask(b'{"from": 7, "limit": 3}')
                assert numbers(answer) == [7, 8, 9]

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_what_is_asked_before_the_answer_has_ended_is_thrown_away(tmp_path: Path) -> None:
    async def scene() -> None:
        with Journal.open(tmp_path / "journal.db", None) as journal:
            async with replaying(tmp_path, journal) as (client, served):
                for _ in range(50):
                    await client.socket.send(b'{"from": 1}')
                await client.answer()
                while served.early == 0:
                    await client.ask(b'{"from": 1}')

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_the_pace_lets_a_burst_through_and_then_holds_the_rate() -> None:
    pace = Pace(rows_per_s=100, burst_rows=50, now_s=0)
    assert pace.wait_s(50, 0) == 0
    assert pace.wait_s(100, 0) == pytest.approx(1.0)
    assert pace.wait_s(0, 1.0) == pytest.approx(0.0)
    assert pace.wait_s(50, 100.0) == 0


async def followed(lane: Lane, until: int, last_seen: int | None = None) -> list[tuple[str, int]]:
    """Kind and number of each verdict, up to number ``until``."""
    found = []
    stream = follow(
        lane.endpoint,
        lane.server_key,
        lane.client,
        "calais",
        "3",
        streams=["verdict"],
        replay_endpoint=lane.replay_endpoint,
        last_seen=last_seen,
    )
    async with aclosing(stream):
        async for each in stream:
            found.append((each.header.kind, each.header.sequence))
            if each.header.sequence >= until:
                break
    return found


def test_a_follower_that_was_away_is_given_what_it_missed_once_and_in_order(lane: Lane) -> None:
    for level in ("search", "!passage", "search", "!outcome", "!passage", "search"):
        lane.judge(level)
    found = asyncio.run(asyncio.wait_for(followed(lane, 6, last_seen=1), 15))
    assert [number for _, number in found] == [3, 6]


def test_a_follower_without_a_past_begins_with_the_newest_verdict(lane: Lane) -> None:
    for _ in range(3):
        lane.judge("search")
    assert [number for _, number in asyncio.run(asyncio.wait_for(followed(lane, 3), 15))] == [3]


def test_numbers_that_skip_over_other_rows_are_no_loss_and_the_verdict_is_the_live_one(lane: Lane) -> None:
    lane.judge("search")

    async def scene() -> list[tuple[str, int]]:
        watching = asyncio.create_task(followed(lane, 5, last_seen=0))
        await followed(lane, 1)
        for level in ("!passage", "search", "!passage", "search"):
            await asyncio.to_thread(lane.judge, level)
        return await watching

    found = asyncio.run(asyncio.wait_for(scene(), 15))
    assert [number for _, number in found] == [1, 3, 5]


def test_more_than_one_answer_holds_is_followed_without_gap(lane: Lane) -> None:
    lane.process.communicate("")
    with Journal.open(lane.folder / "journal.db", None) as journal:
        journal._db.execute("PRAGMA synchronous=OFF")  # how it got there is not in question here
        for _ in range(2 * message.MOST_REPLAYED + 50):
            journal.append("verdict", None, verdict())
    lane.restart()
    found = asyncio.run(asyncio.wait_for(followed(lane, 450, last_seen=0), 30))
    assert [number for _, number in found] == list(range(1, 451))


def test_a_journal_that_was_replaced_is_said_and_never_taken_for_silence(lane: Lane) -> None:
    lane.judge("search")
    with pytest.raises(OutOfStep, match="verdict 7 was seen, but the lane's newest is 1"):
        asyncio.run(asyncio.wait_for(followed(lane, 8, last_seen=7), 15))


def test_a_replay_socket_that_is_not_there_is_said(lane: Lane) -> None:
    lane.judge("!passage")
    lane.judge("search")
    lane.replay_endpoint = "tcp://127.0.0.1:9"  # discard: nobody listens
    with pytest.raises(Unreachable, match="no answer for 5 s"):
        asyncio.run(asyncio.wait_for(followed(lane, 2, last_seen=0), 15))


def test_a_past_without_a_replay_endpoint_is_refused(lane: Lane) -> None:
    stream = follow(lane.endpoint, lane.server_key, lane.client, "calais", "3", last_seen=3)
    with pytest.raises(ValueError, match="replay endpoint"):
        asyncio.run(anext(stream))  # type: ignore[arg-type]
