"""Verdicts are told after they are on disk, to those who are allowed, and to late ones as well."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import aclosing
from ctypes import CDLL, byref, c_int, c_void_p, create_string_buffer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import keys
from edge.journal.journal import Journal
from edge.publish import message
from edge.publish.message import Message
from edge.publish.publisher import Publisher, PublishFault
from edge.publish.subscriber import Unreachable, follow

if TYPE_CHECKING:
    from tests.edge.publish.conftest import Lane


async def heard(lane: Lane, count: int, client: keys.CurveKeys | None = None, lane_name: str = "3") -> list[Message]:
    messages: list[Message] = []
    own = client or lane.client
    async with aclosing(follow(lane.endpoint, lane.server_key, own, "calais", lane_name, silence_s=4)) as stream:
        async for each in stream:
            messages.append(each)
            if len(messages) == count:
                break
    return messages


def test_a_late_joiner_gets_the_last_verdict_and_the_state_at_once(lane: Lane) -> None:
    lane.judge("no_search")
    sequence = lane.judge("search")
    first, second = asyncio.run(asyncio.wait_for(heard(lane, 2), 10))
    by_kind = {each.header.kind: each for each in (first, second)}
    assert by_kind.keys() == {"last", "status"}
    assert by_kind["last"].topic == "verdict.calais.3." and by_kind["last"].body["level"] == "search"
    assert by_kind["last"].header.sequence == by_kind["status"].header.sequence == sequence


def test_states_go_on_while_nothing_happens(lane: Lane) -> None:
    messages = asyncio.run(asyncio.wait_for(heard(lane, 3), 15))
    assert [each.header.kind for each in messages] == ["status"] * 3


def test_a_follower_hears_each_verdict_once_and_in_order(lane: Lane) -> None:
    async def scene() -> list[int]:
        seen: list[int] = []
        async with aclosing(follow(lane.endpoint, lane.server_key, lane.client, "calais", "3")) as stream:
            async for each in stream:
                if each.header.kind == "status" and not seen:
                    for number in range(5):
                        await asyncio.to_thread(lane.judge, f"level{number}")
                if each.header.kind == "verdict":
                    seen.append(each.header.sequence)
                if len(seen) == 5:
                    break
        return seen

    assert asyncio.run(asyncio.wait_for(scene(), 15)) == [1, 2, 3, 4, 5]


def test_a_stranger_with_a_fresh_key_pair_is_refused_and_told_so(lane: Lane, tmp_path: Path) -> None:
    stranger = keys.new_curve(tmp_path / "stranger.key")
    with pytest.raises(Unreachable, match="refuses our key"):
        asyncio.run(asyncio.wait_for(heard(lane, 1, stranger), 15))


def test_a_key_that_is_added_counts_from_the_next_handshake(lane: Lane, tmp_path: Path) -> None:
    late = keys.new_curve(tmp_path / "allowed" / "late.key")
    assert asyncio.run(asyncio.wait_for(heard(lane, 1, late), 15))


def test_another_lane_s_follower_hears_nothing(lane: Lane) -> None:
    with pytest.raises(Unreachable, match="nothing from calais/30"):
        asyncio.run(asyncio.wait_for(heard(lane, 1, lane_name="30"), 15))


def test_only_verdicts_of_this_lane_are_told(tmp_path: Path) -> None:
    async def scene() -> None:
        with Journal.open(tmp_path / "journal.db", None) as journal:
            own = keys.new_curve(tmp_path / "lane.key")
            publisher = Publisher("calais", "3", own, tmp_path, boot_id="b", status=dict)
            try:
                for kind, name in (("audit_draw", "3"), ("verdict", "30")):
                    body = {"schema": "lanepulse.verdict/1", "site": "calais", "lane": name}
                    row = journal.rows(journal.append(kind, None, body), 1)[0]
                    with pytest.raises(PublishFault, match="not a verdict of calais/3"):
                        await publisher.publish(row)
            finally:
                publisher.close()

    asyncio.run(scene())


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_frames_are_refused_in_one_line(parts: list[bytes]) -> None:
    with pytest.raises(message.MessageFault) as refused:
        message.parse(parts)
    assert "\n" not in str(refused.value)


def test_the_case_s_joiner_gets_the_state_well_within_a_second_ten_times(lane: Lane, cases: Path) -> None:
    lane.judge("search")
    script = cases / "52-zmq-late-joiner" / "join.py"
    options = {"server-key": lane.server_key, "public": lane.client.public, "secret": lane.client.secret}
    command = [sys.executable, str(script), "--endpoint", lane.endpoint]
    command += [f"--{name}={key.decode()}" for name, key in options.items()]  # a key may begin with a dash
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    joins = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(joins) == 10 and all(join["first_s"] is not None and join["first_s"] < 1 for join in joins)
    kinds = [{message[1][1].split('"kind":"')[1].split('"')[0] for message in join["first"]} for join in joins]
    assert kinds == [{"last", "status"}] * 10


def test_the_case_s_checker_accepts_all_that_was_published(lane: Lane, cases: Path, tmp_path: Path) -> None:
    lane.judge('plate "é\u202e" NaN')
    written = asyncio.run(asyncio.wait_for(heard(lane, 3), 15))
    with Journal.open(tmp_path / "other.db", None) as journal:
        journal.append("verdict", None, dict(written[0].body))
        lines = [row.body for row in journal.rows()]
    lines += [each.header.model_dump_json(by_alias=True) for each in written]
    (tmp_path / "out.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    script = cases / "58-json-nan-in-messages" / "check.py"
    done = subprocess.run([sys.executable, str(script), str(tmp_path / "out.jsonl")], capture_output=True, timeout=20)
    assert done.returncode == 0, done.stdout


def test_plain_libzmq_without_our_code_receives_a_verdict(lane: Lane) -> None:
    try:
        zmq = CDLL("libzmq.so.5")
    except OSError:
        pytest.skip("no libzmq.so.5 here (apt-get install libzmq5)")
    zmq.zmq_ctx_new.restype = zmq.zmq_socket.restype = c_void_p
    context = c_void_p(zmq.zmq_ctx_new())
    socket = c_void_p(zmq.zmq_socket(context, 2))  # ZMQ_SUB
    text = {48: lane.client.public, 49: lane.client.secret, 50: lane.server_key, 6: b"verdict.calais.3."}
    for option, value in text.items():  # CURVE_PUBLICKEY, _SECRETKEY, _SERVERKEY, SUBSCRIBE
        size = len(value) + (option != 6)  # Z85 keys with their closing zero
        assert zmq.zmq_setsockopt(socket, option, create_string_buffer(value), size) == 0
    for option, number in ((27, 10_000), (17, 0)):  # RCVTIMEO in ms, LINGER
        assert zmq.zmq_setsockopt(socket, option, byref(c_int(number)), 4) == 0
    lane.judge("open_now")
    assert zmq.zmq_connect(socket, lane.endpoint.encode()) == 0
    parts = []
    for _ in range(3):
        buffer = create_string_buffer(65536)
        size = zmq.zmq_recv(socket, buffer, 65536, 0)
        assert size >= 0
        parts.append(buffer.raw[:size])
    zmq.zmq_close(socket)
    zmq.zmq_ctx_term(context)
    assert parts[0] == b"verdict.calais.3." and json.loads(parts[2])["level"] == "open_now"
    assert json.loads(parts[1])["kind"] == "last" and json.loads(parts[1])["sequence"] == 1
