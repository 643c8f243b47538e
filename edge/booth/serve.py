"""The booth's process: one socket, the pages, the lane followed; READY, and on until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from edge.booth import officers
from edge.booth.events import STUCK_S, Hub
from edge.booth.server import Booth, Pages
from edge.booth.upkeep import Upkeep
from edge.booth.watch import Follow, Watch
from edge.calibrate.in_force import MEASURING
from edge.config import LaneConfig
from edge.control import ask
from edge.places import Places
from edge.service_notify import notify

BACKLOG = 64
SEND_BUFFER_BYTES = 64 * 1024  # what a page that does not read can hold back: some seconds of events
MOST_CONNECTIONS = 128
KEEP_ALIVE_S = 20
PARTING_S = 2
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
log = logging.getLogger("lanepulse.booth")


class BoothFault(Exception):
    """One line: why the booth cannot open."""


async def run(config: LaneConfig, places: Places, follow: Follow, opened: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``opened`` is told where.

    Raises:
        BoothFault: the port is taken, or the certificate cannot be used.
        OfficersFault: the file of officers is damaged, or others can read it.
    """
    booth = _booth(config, places)
    watch = Watch(follow, lambda request: ask(places.control_socket, request), lambda: hub.publish())
    hub = Hub(lambda: _content(watch))
    pages = Pages(booth, watch, hub, lambda request: ask(places.control_socket, request))
    server = uvicorn.Server(_settings(pages, config))
    listening = _listen(*config.booth.address)
    host, port = listening.getsockname()[:2]
    hub.publish()
    with _stopped_quietly():
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(watch.run()), tasks.create_task(hub.run())]
            opened(f"{'https' if booth.secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")
            notify("READY=1\nSTATUS=the booth is open")
            serving = tasks.create_task(server.serve(sockets=[listening]))
            while not serving.done() and not server.should_exit:
                await asyncio.wait((serving,), timeout=0.2)
            notify("STOPPING=1")
            hub.close()
            await serving
            for task in others:
                task.cancel()


def _booth(config: LaneConfig, places: Places) -> Booth:
    table = config.booth
    return Booth(
        site=config.lane.site,
        lane=config.lane.name,
        zone=table.zone,
        language=table.language,
        bundles=places.bundles,
        drills=places.drills,
        officers=officers.Roster(places.officers),
        upkeep=Upkeep(places, _calibrated(config), time.time_ns),
        hosts=frozenset((*table.hosts, *LOOPBACK)),
        local=table.local,
        secure=table.certificate is not None,
    )


def _calibrated(config: LaneConfig) -> dict[str, str]:
    """Device -> what it measures, of those that are calibrated."""
    measures = {name: device.driver.MODALITY for name, device in config.devices.items()}
    return {name: str(modality) for name, modality in measures.items() if modality in MEASURING}


def _content(watch: Watch) -> dict[str, Any]:
    heard_s = watch.heard_s
    return {
        "sent_ms": time.time_ns() // 1_000_000,
        "heard_ago_ms": None if heard_s is None else round((time.monotonic() - heard_s) * 1000),
        "cause": watch.cause,
        **watch.board.content(),
    }


def _settings(pages: Pages, config: LaneConfig) -> uvicorn.Config:
    table, folder = config.booth, config.path.parent
    if table.certificate is not None and table.private_key is not None:
        certificate, key = folder / table.certificate, folder / table.private_key
        _try_certificate(certificate, key)
        tls: dict[str, Any] = {"ssl_certfile": certificate, "ssl_keyfile": key}
    else:
        tls = {}
    return uvicorn.Config(
        pages.app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=PARTING_S,
        h11_max_incomplete_event_size=16 * 1024,
        **tls,
    )


def _try_certificate(certificate: Path, key: Path) -> None:
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
    except OSError as error:  # ssl.SSLError is one
        raise BoothFault(f"{certificate}: cannot be used with {key.name}: {error.strerror or error}") from None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)  # accepted sockets inherit it
    # A page that takes nothing is closed with bytes still on their way: only the kernel can then let go of it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(STUCK_S * 1000))
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise BoothFault(f"booth.bind {host}:{port}: {error.strerror}; give it a port of its own") from None
    listening.listen(BACKLOG)
    return listening


class _stopped_quietly:  # noqa: N801 - reads as a word in the with statement
    """uvicorn takes the signals while it serves and raises them again afterwards: by then they have been obeyed."""

    def __enter__(self) -> None:
        self._before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
