"""``lanepulse run``: the lane daemon, as the service manager starts it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

import click

from edge.cli.main import DONE, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import tell

_PRIORITY = {logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}  # syslog(3)


class _Lines(logging.Formatter):
    """One line an event; under the service manager with its priority in front (sd-daemon(3))."""

    def __init__(self, journalled: bool) -> None:
        super().__init__("%(message)s" if journalled else "%(asctime)s %(levelname)-7s %(message)s")
        self._journalled = journalled

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"<{_PRIORITY.get(record.levelno, 5)}>{text}" if self._journalled else text


@click.command(
    "run",
    epilog="\b\nExamples:\n  lanepulse run --config /etc/lanepulse/lane.toml\n  lanepulse run --root lane/",
)
@common
def command(settings: Settings) -> int:
    """Run the lane until SIGTERM. Exit 2 if it cannot start: one line says why."""
    from edge.control import ControlFault  # the daemon's own imports are heavy: not for --help
    from edge.daemon import run
    from edge.journal.journal import JournalFault
    from edge.keys import KeyFault
    from edge.publish.publisher import PublishFault
    from fusion.classifier import ModelRefused

    config = settings.load()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines("JOURNAL_STREAM" in os.environ))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        asyncio.run(run(config, settings.places(config)))
    except (ModelRefused, JournalFault, PublishFault, KeyFault, ControlFault) as fault:
        tell(f"lanepulse run: {fault}")
        return WRONG_USE
    return DONE
