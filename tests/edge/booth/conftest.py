"""A staged lane, the real ``lanepulse booth`` on it, and a real chromium in front."""

from __future__ import annotations

import contextlib
import itertools
import json
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from edge import keys
from edge.places import Places

STAGE = Path(__file__).with_name("staged_lane.py")
PATIENCE_MS = 15_000
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 12\r\nconnection: close\r\n\r\n<h1>502</h1>"
_ids = itertools.count(1)


class Stage:
    """The lane's process; `order` makes things happen on it."""

    def __init__(self, root: Path) -> None:
        self.root, self.process = root, start_stage(root)

    def order(self, **order: Any) -> Any:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def enter(self) -> str:
        passage_id = f"01JQ0F7Y3W8V5R2M9K4T{next(_ids):06d}"
        self.order(do="enter", passage_id=passage_id)
        return passage_id

    def verdict(self, passage_id: str, level: str, **changes: Any) -> Any:
        return self.order(do="verdict", verdict=verdict(passage_id, level, **changes))

    def lorry(self, level: str, **changes: Any) -> str:
        """A lorry that is there, judged."""
        passage_id = self.enter()
        self.verdict(passage_id, level, **changes)
        return passage_id

    def example(self, level: str) -> dict[str, Any]:
        """A verdict of the lane's own form."""
        return verdict("01JQ0F7Y3W8V5R2M9K4T999999", level)

    def leave(self) -> None:
        self.order(do="leave")

    def outcomes(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.order(do="rows", kind="outcome")
        return rows

    def wait_for_outcomes(self, passage_id: str, count: int) -> None:
        until = time.monotonic() + PATIENCE_MS / 1000
        while sum(row["passage_id"] == passage_id for row in self.outcomes()) < count:
            assert time.monotonic() < until, f"no {count} outcomes of {passage_id}"

    def start(self) -> None:
        self.process = start_stage(self.root)

    def stop(self, *, kill: bool = False) -> None:
        if kill:
            self.process.kill()
        self.process.communicate(timeout=20)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


def start_stage(root: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, str(STAGE), str(root)], stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def verdict(passage_id: str, level: str, **changes: Any) -> dict[str, Any]:
    """A verdict of the lane's own form, of a lorry that vibrates a little."""
    ratio = {"search": 1.44, "open_now": 1.2}.get(level, -0.8)
    speaks = {
        "modality": "vibration", "state": "measured", "log10_lr": ratio, "quality": 0.9, "cause": None,
        "where": "rear", "features": {"rhythm_bpm": 71.5},
    }  # fmt: skip
    silent = [
        {"modality": modality, "state": state, "log10_lr": 0.0, "quality": None, "cause": cause, "where": None,
         "features": {}}
        for modality, state, cause in (
            ("co2", "absent", "no probe presented"),
            ("mmwave", "absent", "no imager"),
            ("xray", "absent", "no radiograph"),
        )
    ]  # fmt: skip
    first = {
        "search": {"code": "score.over", "text": "Evidence for a person is over the site's threshold"},
        "no_search": {"code": "score.under", "text": "Evidence against a person meets the miss bound"},
        "recheck": {"code": "policy.timeout", "text": "Time is up and the evidence is not sufficient"},
        "open_now": {"code": "life.co2", "text": "CO2 inside 6200 ppm"},
    }[level]
    side = "for" if ratio > 0 else "against"
    return {
        "schema": "lanepulse.verdict/1", "passage_id": passage_id, "revision": 1, "final": True, "site": "calais",
        "lane": "3", "issued_utc": "2026-03-01T10:15:31.482Z", "level": level, "score": 0.02,
        "log10_odds": -3.1 + ratio, "prior_log10_odds": -3.1, "evidence": [speaks, *silent],
        "reasons": [first, {"code": f"vibration.{side}", "text": "Vibration speaks"}], "trained_on": "simulated",
        "produced_by": {"version": "0.1.0", "model": "m", "model_sha256": "0", "config_sha256": "0",
                        "calibrations": {}},
    } | changes  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def lane_folder(root: Path, booth: str = "") -> Path:
    """A lane's folder with its keys and configuration; the booth's table may be added to."""
    places = Places.under(root)
    places.make()
    keys.new_curve(places.curve)
    keys.new_curve(places.viewer)
    shutil.copy(places.viewer.with_suffix(".pub"), places.allowed / "viewer.pub")
    (root / "lane.toml").write_text(
        '[lane]\nsite = "calais"\nname = "3"\n'
        f'[publish]\nbind = "tcp://127.0.0.1:{free_port()}"\nreplay = "tcp://127.0.0.1:{free_port()}"\n'
        f'[booth]\nbind = "127.0.0.1:0"\nzone = "Europe/Paris"\n{booth}'
    )
    return root


@dataclass
class Booth:
    """The booth's process, and where it is."""

    process: subprocess.Popen[str]
    address: str

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


@contextmanager
def serving(root: Path) -> Iterator[Booth]:
    """The real command."""
    command = [sys.executable, "-m", "edge.cli.main", "booth", "--root", str(root)]
    with (root / "booth.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http"), (root / "booth.log").read_text()[-2000:]
        yield Booth(process, address)
        process.terminate()
        assert process.wait(timeout=20) == 0, (root / "booth.log").read_text()[-2000:]
    finally:
        process.kill()
        process.communicate()


class Wire:
    """A TCP proxy in threads of its own; ``mode`` is "pass", "502", "swallow" (kept and sent later) or "cut"."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._to = (str(parts.hostname), int(parts.port or 0))
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.mode = "pass"
        self._open: set[socket.socket] = set()
        self._closing = False
        threading.Thread(target=self._accept, daemon=True).start()

    def switch(self, mode: str) -> None:
        """From now on; those that are connected are hung up on, unless they are only to wait."""
        self.mode = mode
        if mode in ("502", "cut"):
            for one in list(self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._closing = True
        self._listening.close()
        self.switch("cut")

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while not self._closing:
                asked = self._listening.accept()[0]
                threading.Thread(target=self._serve, args=(asked,), daemon=True).start()

    def _serve(self, asked: socket.socket) -> None:
        with asked, contextlib.suppress(OSError):
            if self.mode == "cut":
                return
            if self.mode == "502":
                asked.recv(65536)
                asked.sendall(BAD_GATEWAY)
                return
            with socket.create_connection(self._to) as asking:
                self._open |= {asked, asking}
                try:
                    self._forward(asked, asking)
                finally:
                    self._open -= {asked, asking}

    def _forward(self, asked: socket.socket, asking: socket.socket) -> None:
        other = {asked: asking, asking: asked}
        kept: list[tuple[socket.socket, bytes]] = []
        while not self._closing:
            for source in select.select(list(other), [], [], 0.05)[0]:
                piece = source.recv(65536)
                if not piece:
                    return
                kept.append((other[source], piece))
            if self.mode != "swallow":
                for to, piece in kept:
                    to.sendall(piece)
                kept.clear()


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    running = Stage(lane_folder(tmp_path_factory.mktemp("lane")))
    try:
        yield running
        running.stop()
    finally:
        running.process.kill()


@pytest.fixture
def example() -> Callable[..., dict[str, Any]]:
    """A verdict of the lane's own form, by passage and level."""
    return verdict


@pytest.fixture
def https(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a booth with a certificate, and that certificate."""
    certificate, key = tmp_path / "booth.crt", tmp_path / "booth.key"
    asked = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=booth",
    ]
    named = "subjectAltName=IP:127.0.0.1,DNS:booth.site.example"
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", named]
    subprocess.run(["openssl", *asked, *files], check=True, capture_output=True, timeout=60)
    table = 'hosts = ["booth.site.example"]\ncertificate = "booth.crt"\nprivate_key = "booth.key"\n'
    with serving(lane_folder(tmp_path, table)) as running:
        yield running.address, str(certificate)


@pytest.fixture(scope="module")
def booth(stage: Stage) -> Iterator[Booth]:
    with serving(stage.root) as running:
        yield running


@pytest.fixture(scope="module")
def address(booth: Booth) -> str:
    return booth.address


@pytest.fixture(scope="module")  # while it runs, this thread has an event loop: it ends before other modules begin
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Playwright) -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium here (tests/setup/packages.txt)")
    options = ["--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    running = playwright.chromium.launch(executable_path=chromium, args=options)
    yield running
    running.close()


@pytest.fixture
def new_page(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Opens the booth's page in a browser profile of its own; what its script complains about fails the test."""
    contexts, complaints = [], []

    def opened(where: str | None = None, **options: Any) -> Page:
        context = browser.new_context(**({"locale": "en-GB", "viewport": {"width": 1280, "height": 800}} | options))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(where or address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(new_page: Callable[..., Page]) -> Page:
    return new_page()


@pytest.fixture
def wire(address: str) -> Iterator[Wire]:
    between = Wire(address)
    yield between
    between.close()
