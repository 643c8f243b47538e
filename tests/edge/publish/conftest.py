"""A publishing lane as a process, for every test of this folder."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge import keys

LANE = Path(__file__).with_name("publishing_lane.py")


@dataclass
class Lane:
    """A publishing process, and what a client needs to know of it."""

    process: subprocess.Popen[str]
    endpoint: str
    replay_endpoint: str
    server_key: bytes
    client: keys.CurveKeys
    folder: Path

    def judge(self, level: str) -> int:
        """Journal and announce a verdict; ``!kind`` journals a row of another kind. The row's number."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(level + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def restart(self) -> None:
        """Kill it, at whatever it is doing, and start it again where it was."""
        self.process.kill()
        self.process.communicate()
        self.process = start(self.folder, self.endpoint, self.replay_endpoint)
        assert self.process.stdout is not None
        self.process.stdout.readline()

    def wait_until_a_subscriber_is_let_go(self) -> None:
        assert self.process.stderr is not None
        assert self.process.stderr.readline() == "gone\n"


def start(folder: Path, *endpoints: str) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, str(LANE), str(folder), *endpoints], subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def lane(tmp_path: Path) -> Iterator[Lane]:
    own = keys.new_curve(tmp_path / "lane.key")
    client = keys.new_curve(tmp_path / "allowed" / "booth.key")
    running = Lane(start(tmp_path), "", "", own.public, client, tmp_path)
    try:
        assert running.process.stdout is not None
        running.endpoint, running.replay_endpoint = running.process.stdout.readline().split()
        yield running
        _, said = running.process.communicate(timeout=20)
        assert running.process.returncode == 0, said
    finally:
        running.process.kill()
        running.process.communicate()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cable:
    """The case's relay between a subscriber and one endpoint of a lane."""

    def __init__(self, stack: ExitStack, script: Path, endpoint: str) -> None:
        port = free_port()
        self.endpoint = f"tcp://127.0.0.1:{port}"
        command, pipe = [sys.executable, str(script), str(port), endpoint.removeprefix("tcp://")], subprocess.PIPE
        self.relay = stack.enter_context(subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, text=True))
        stack.callback(self.relay.kill)
        assert self.relay.stdout is not None
        assert self.relay.stdout.readline().startswith("pid ")

    def pull(self) -> None:
        self._flip("dropping")

    def plug(self) -> None:
        self._flip("forwarding")

    def _flip(self, said: str) -> None:
        assert self.relay.stdout is not None
        self.relay.send_signal(signal.SIGUSR1)
        assert self.relay.stdout.readline().strip() == said


@pytest.fixture
def cable_to(cases: Path) -> Iterator[Callable[[str], Cable]]:
    """Lays a cable to an endpoint that can be pulled without either end being told."""
    with ExitStack() as stack:
        yield lambda endpoint: Cable(stack, cases / "54-zmq-half-open" / "blackhole.py", endpoint)
