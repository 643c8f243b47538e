from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from edge import control
from edge.control import ControlFault, Handler, Peer, Unreachable, ask, serve


async def status(request: Mapping[str, Any], peer: Peer) -> Any:
    return {"lane": "3", "asked_by": peer.user_id, "extra": request.get("extra")}


async def refuse(request: Mapping[str, Any], peer: Peer) -> Any:
    raise ControlFault("no passage is open; wait for a vehicle")


async def defect(request: Mapping[str, Any], peer: Peer) -> Any:
    raise KeyError("secret")


HANDLERS: dict[str, Handler] = {"status": status, "context": refuse, "broken": defect}


def served(path: Path, act: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        async with asyncio.timeout(20), serve(path, HANDLERS):
            return await act()

    return asyncio.run(main())


def asked(path: Path, request: Mapping[str, Any]) -> Any:
    return served(path, lambda: asyncio.to_thread(ask, path, request))


def test_a_question_is_answered_and_the_asker_known(tmp_path: Path) -> None:
    answer = asked(tmp_path / "c.sock", {"do": "status", "extra": "ä"})
    assert answer == {"lane": "3", "asked_by": os.getuid(), "extra": "ä"}


def test_a_refusal_is_the_daemons_own_line(tmp_path: Path) -> None:
    with pytest.raises(ControlFault, match="no passage is open"):
        asked(tmp_path / "c.sock", {"do": "context"})


def test_an_unknown_request_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(ControlFault, match="broken, context, status"):
        asked(tmp_path / "c.sock", {"do": "statsu"})


def test_a_defect_is_named_without_its_content(tmp_path: Path) -> None:
    with pytest.raises(ControlFault, match="defect in the lane: KeyError") as raised:
        asked(tmp_path / "c.sock", {"do": "broken"})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "line", [b"\n", b"[]\n", b'{"do": NaN}\n', b'{"do": 1}\n', b"\xff\xfe\n", b"{" * 70_000 + b"\n"]
)
def test_whatever_is_sent_is_answered_by_a_refusal(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "c.sock"

    async def send() -> bytes:
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(line)
        answer = await reader.readline()
        writer.close()
        return answer

    assert json.loads(served(path, send))["ok"] is False


def test_only_owner_and_group_may_ask_and_nothing_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def mode() -> int:
        return path.stat().st_mode & 0o777

    assert served(path, mode) == 0o660
    assert list(tmp_path.iterdir()) == []


def test_a_socket_left_by_a_killed_lane_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    assert asked(path, {"do": "status"})["lane"] == "3"


def test_a_lane_that_answers_is_not_pushed_aside(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def second() -> None:
        async with serve(path, HANDLERS):
            pass

    with pytest.raises(ControlFault, match="another lane answers here"):
        served(path, second)


def test_a_folder_deeper_than_a_socket_name_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    assert asked(deep / "control.sock", {"do": "status"})["lane"] == "3"


def test_nobody_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="no lane is running here"):
        ask(tmp_path / "control.sock", {"do": "status"})


def test_a_peer_that_never_asks_does_not_hold_up_the_end(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def connect() -> None:
        await asyncio.open_unix_connection(path)
        await asyncio.to_thread(ask, path, {"do": "status"})

    served(path, connect)


def test_more_peers_than_the_limit_are_turned_away(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"

    async def crowd() -> bytes:
        here = [await asyncio.open_unix_connection(path) for _ in range(control.MOST_PEERS)]
        for reader, writer in here:
            writer.write(b'{"do": "status"}\n')
            await reader.readline()
        reader, _ = await asyncio.open_unix_connection(path)
        return await reader.read()

    assert served(path, crowd) == b""
