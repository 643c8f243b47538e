"""A receiver on a port of its own, and scanners that are processes of their own."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.xray.scp import Sender, Server, Terms, serve
from drivers.xray.spool import Spool, Stored


class Receiver:
    """A running SCP, what it kept, and what it said."""

    def __init__(self, folder: Path, tls: ssl.SSLContext | None = None, **changes: Any) -> None:
        self.kept: list[tuple[Stored, bool]] = []
        self.said: list[str] = []
        self._news = threading.Condition()
        self.spool = Spool(folder, changes.pop("spool_max_bytes", 2**30), time.time_ns)
        limits: dict[str, Any] = {
            "ae_title": "LANEPULSE",
            "senders": (Sender("SCANNER", "127.0.0.1"),),
            "max_object_bytes": 8 << 20,
            "max_associations": 4,
            "object_s": 1.0,
            "network_s": 5.0,
            "handshake_s": 5.0,
        }
        terms = Terms(**(limits | changes))
        self.server: Server = serve(("127.0.0.1", 0), tls, terms, self.spool, arrived=self._arrived, say=self._say)
        self.port: int = self.server.server_address[1]

    def _arrived(self, stored: Stored, new: bool) -> None:
        with self._news:
            self.kept.append((stored, new))
            self._news.notify_all()

    def _say(self, cause: str) -> None:
        with self._news:
            self.said.append(cause)
            self._news.notify_all()

    def hears(self, word: str) -> bool:
        """Waits until the receiver has said that."""
        with self._news:
            return self._news.wait_for(lambda: any(word in cause for cause in self.said), timeout=10)

    def objects(self) -> list[Path]:
        """What lies in the spool, half of anything included."""
        return sorted(path for path in self.spool.incoming().parent.parent.rglob("*") if path.is_file())

    def close(self) -> None:
        self.server.close()
        self.spool.close()


class Scanner:
    """The emulator, as a process."""

    def __init__(self, port: int, *options: str) -> None:
        command = [sys.executable, "-m", "hil.devices.xray_scanner", "--to", f"127.0.0.1:{port}", *options]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith("ready ")

    def does(self, what: str, **more: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self._process.stdin.flush()
        return dict(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """``receiver(max_associations=2)``: as many as wanted, each with a spool of its own."""
    made: list[Receiver] = []

    def make(tls: ssl.SSLContext | None = None, **changes: Any) -> Receiver:
        made.append(Receiver(tmp_path / f"spool{len(made)}", tls, **changes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def scanner() -> Iterator[Callable[..., Scanner]]:
    """``scanner(port, "--calling", "OTHER")``."""
    made: list[Scanner] = []

    def make(port: int, *options: str) -> Scanner:
        made.append(Scanner(port, *options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def dcmtk(program_of: Callable[[str, str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """``dcmtk("storescu", …)``: a DICOM toolkit that is not ours."""

    def run(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([program_of(program, "DCMTK"), *arguments], capture_output=True, text=True, timeout=60)

    return run
