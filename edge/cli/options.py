"""The options that every command has, and what they stand for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.places import Places

if TYPE_CHECKING:
    from edge.config import LaneConfig

SYSTEM_CONFIG = Path("/etc/lanepulse/lane.toml")


@dataclass(frozen=True, slots=True)
class Settings:
    """Which lane, where, and in which form to answer."""

    config: Path | None
    root: Path | None
    json: bool

    @property
    def config_path(self) -> Path:
        """``--config``, else ``lane.toml`` under ``--root``, else the box's own."""
        if self.config is not None:
            return self.config
        if self.root is not None and (self.root / "lane.toml").exists():
            return self.root / "lane.toml"
        return SYSTEM_CONFIG

    def load(self) -> LaneConfig:
        """The lane's configuration. Raises ConfigErrors."""
        from edge.config import load  # pydantic and the drivers: not for --help

        return load(self.config_path)

    def places(self, config: LaneConfig | None = None) -> Places:
        """Where this lane keeps things: ``--root``, else the file's ``root``, else the box's folders.

        Raises:
            ConfigErrors: the file decides, and cannot be read.
        """
        if self.root is not None:
            return Places.under(self.root)
        if config is None and self.config_path.exists():
            config = self.load()
        return Places.under(None if config is None else config.root)


def common(function: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command ``--config``, ``--root`` and ``--json``, and a `Settings` as its first argument."""

    @click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="LANEPULSE_CONFIG",
        help="The lane's file (or LANEPULSE_CONFIG).",
    )
    @click.option(
        "--root",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="LANEPULSE_ROOT",
        help="Keep state, keys and sockets under this folder (or LANEPULSE_ROOT).",
    )
    @click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")
    @functools.wraps(function)
    def wrapped(*args: Any, config: Path | None, root: Path | None, as_json: bool, **options: Any) -> Any:
        return function(Settings(config, root, as_json), *args, **options)

    return wrapped
