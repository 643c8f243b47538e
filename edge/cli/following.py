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
from edge.publish.message import Message
from edge.publish.subscriber import follow


@dataclass(frozen=True, slots=True)
class Source:
    """One lane's publisher, and the keys for it."""

    endpoint: str
    replay_endpoint: str
    server_key: bytes
    own: keys.CurveKeys
    site: str
    lane: str

    def messages(self, since: int | None = None) -> AsyncGenerator[Message]:
        """Verdicts and states as they come, after those of the record from row ``since`` on where it is given.

        Raises:
            Unreachable: the lane is silent, refuses our key, or does not replay.
            OutOfStep: the lane has another journal than the one that ``since`` came from.
        """
        replay = None if since is None else self.replay_endpoint
        return follow(
            self.endpoint,
            self.server_key,
            self.own,
            self.site,
            self.lane,
            replay_endpoint=replay,
            last_seen=since,
        )


@dataclass(frozen=True, slots=True)
class Options:
    """What was given on the command line; None takes the configuration's."""

    endpoint: str | None
    replay_endpoint: str | None
    server_key: Path | None
    key: Path | None


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command ``--endpoint``, ``--replay-endpoint``, ``--server-key`` and ``--key``."""

    @click.option("--endpoint", help="Where the lane announces; the configuration's own by default.")
    @click.option("--replay-endpoint", help="Where the lane replays; the configuration's own by default.")
    @click.option("--server-key", type=click.Path(path_type=Path), help="The lane's public key file.")
    @click.option("--key", type=click.Path(path_type=Path), help="Your private key file; keys/viewer.key by default.")
    @functools.wraps(function)
    def wrapped(
        *args: Any,
        endpoint: str | None,
        replay_endpoint: str | None,
        server_key: Path | None,
        key: Path | None,
        **options: Any,
    ) -> Any:
        return function(*args, at=Options(endpoint, replay_endpoint, server_key, key), **options)

    return wrapped


def source(settings: Settings, at: Options) -> Source:
    """Raises ConfigErrors, KeyFault, click.UsageError."""
    config = settings.load()
    places = settings.places(config)
    return Source(
        endpoint=at.endpoint or _local("bind", config.publish.bind),
        replay_endpoint=at.replay_endpoint or _local("replay", config.publish.replay, needed=at.endpoint is None),
        server_key=keys.load_curve_public(at.server_key or places.curve.with_suffix(".pub")),
        own=keys.load_curve(at.key or places.viewer),
        site=config.lane.site,
        lane=config.lane.name,
    )


def _local(name: str, address: str, *, needed: bool = True) -> str:
    """A socket of the lane as it is reached from this machine."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    if int(port) == 0 and needed:
        raise click.UsageError(f"publish.{name} takes any free port: give the endpoint that lanepulse status names")
    return f"tcp://{'127.0.0.1' if host in ('*', '0.0.0.0') else host}:{port}"
