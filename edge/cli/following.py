"""Whom to follow, with which keys: shared by ``verdicts --follow`` and ``prompt``."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from edge import keys
from edge.cli.options import Settings
from edge.config import LaneConfig
from edge.publish.message import Message
from edge.publish.subscriber import follow


@dataclass(frozen=True, slots=True)
class Source:
    """One lane's publisher, and the keys for it."""

    endpoint: str
    server_key: bytes
    own: keys.CurveKeys
    site: str
    lane: str

    def messages(self) -> AsyncGenerator[Message]:
        """Verdicts and states as they come. Raises Unreachable."""
        heard = follow(self.endpoint, self.server_key, self.own, self.site, self.lane)
        assert isinstance(heard, AsyncGenerator)  # so that it can be closed early, with its socket
        return heard


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command ``--endpoint``, ``--server-key`` and ``--key``."""

    @click.option("--endpoint", help="Where the lane announces; the configuration's own by default.")
    @click.option("--server-key", type=click.Path(path_type=Path), help="The lane's public key file.")
    @click.option("--key", type=click.Path(path_type=Path), help="Your private key file; keys/viewer.key by default.")
    @functools.wraps(function)
    def wrapped(*args: Any, **options: Any) -> Any:
        return function(*args, **options)

    return wrapped


def source(settings: Settings, endpoint: str | None, server_key: Path | None, key: Path | None) -> Source:
    """Raises ConfigErrors, KeyFault, click.UsageError."""
    config = settings.load()
    places = settings.places(config)
    public = keys.load_curve_public(server_key or places.curve.with_suffix(".pub"))
    return Source(
        endpoint or _local(config), public, keys.load_curve(key or places.viewer), config.lane.site, config.lane.name
    )


def _local(config: LaneConfig) -> str:
    """The publisher as it is reached from this machine."""
    host, _, port = config.publish.bind.removeprefix("tcp://").rpartition(":")
    if int(port) == 0:
        raise click.UsageError("publish.bind takes any free port: give --endpoint (lanepulse status names it)")
    return f"tcp://{'127.0.0.1' if host in ('*', '0.0.0.0') else host}:{port}"
