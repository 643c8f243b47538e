"""Readers that stop and cables that are pulled: others do not notice, and afterwards nothing is missing."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, aclosing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edge.publish.subscriber import Unreachable, follow

if TYPE_CHECKING:
    from tests.edge.publish.conftest import Cable, Lane

READER = Path(__file__).with_name("following_reader.py")
BACK_WITHIN_S = 10.0  # docs/integrators.md: a handshake that was begun in the dark (3 s), a new try (2 s), and some


@contextmanager
def running(*command: str) -> Iterator[subprocess.Popen[str]]:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, *command], stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def reader(lane: Lane, endpoint: str = "", replay_endpoint: str = "") -> AbstractContextManager[subprocess.Popen[str]]:
    return running(str(READER), str(lane.folder), endpoint or lane.endpoint, replay_endpoint or lane.replay_endpoint)


def numbers(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [int(process.stdout.readline()) for _ in range(count)]


def test_a_stopped_reader_holds_nobody_up_and_misses_nothing_when_it_goes_on(lane: Lane) -> None:
    with reader(lane) as stopped, reader(lane) as other:
        told = [lane.judge("search")]
        assert numbers(stopped, 1) == numbers(other, 1) == told
        stopped.send_signal(signal.SIGSTOP)
        began_s = time.monotonic()
        told = [lane.judge(level) for level in ("search", "!passage", "recheck", "!passage", "search") * 6]
        verdicts = [number for index, number in enumerate(told) if index % 5 in (0, 2, 4)]
        assert numbers(other, 18) == verdicts
        assert time.monotonic() - began_s < 10
        lane.wait_until_a_subscriber_is_let_go()  # its queue is gone with it: only the journal has them now
        verdicts.append(lane.judge("no_search"))
        assert numbers(other, 1) == verdicts[-1:]
        stopped.send_signal(signal.SIGCONT)
        assert numbers(stopped, 19) == verdicts


def test_a_lane_can_stop_while_a_reader_is_stopped(lane: Lane) -> None:
    with reader(lane) as stopped:
        lane.judge("search")
        numbers(stopped, 1)
        stopped.send_signal(signal.SIGSTOP)
        for _ in range(20):
            lane.judge("search")
        lane.process.communicate(timeout=10)
        assert lane.process.returncode == 0


def test_a_cable_that_was_pulled_for_a_while_costs_no_verdict(lane: Lane, cable_to: Callable[[str], Cable]) -> None:
    cables = [cable_to(endpoint) for endpoint in (lane.endpoint, lane.replay_endpoint)]
    with reader(lane, *(cable.endpoint for cable in cables)) as behind:
        assert [lane.judge("search")] == numbers(behind, 1)
        for cable in cables:
            cable.pull()
        missed = [lane.judge("search") for _ in range(3)]
        lane.wait_until_a_subscriber_is_let_go()  # heartbeats: the lane keeps no queue for it
        missed += [lane.judge("search") for _ in range(3)]
        assert behind.stderr is not None and "check lane and network" in behind.stderr.readline()
        for cable in cables:
            cable.plug()
        began_s = time.monotonic()
        assert numbers(behind, 6) == missed
        assert time.monotonic() - began_s < BACK_WITHIN_S


def test_a_follower_behind_a_pulled_cable_says_so_within_seconds(lane: Lane, cable_to: Callable[[str], Cable]) -> None:
    async def scene(cable: Cable) -> float:
        stream = follow(cable.endpoint, lane.server_key, lane.client, "calais", "3", silence_s=3)
        async with aclosing(stream):
            await anext(stream)
            await asyncio.to_thread(cable.pull)
            began_s = time.monotonic()
            with pytest.raises(Unreachable, match="nothing from calais/3 for 3 s"):
                async for _ in stream:
                    pass
            return time.monotonic() - began_s

    assert asyncio.run(asyncio.wait_for(scene(cable_to(lane.endpoint)), 20)) < 6
