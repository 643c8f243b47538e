"""``lanepulse booth``: serves the officer's page; and the ids of those who may enter outcomes there."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edge.cli.following import Options, source, source_options
from edge.cli.main import DONE, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell

if TYPE_CHECKING:
    from edge.publish.message import Message


@click.group(
    "booth",
    invoke_without_command=True,
    epilog="\b\nExamples:\n  lanepulse booth --config /etc/lanepulse/lane.toml\n"
    "  lanepulse booth officers add o17 --role officer",
)
@source_options
@common
@click.pass_context
def command(context: click.Context, settings: Settings, at: Options) -> int:
    """Serve the officer's page until SIGTERM. It follows the lane like anyone else, and asks nothing of any network."""
    context.obj = settings
    if context.invoked_subcommand is not None:
        return DONE
    from edge.booth.officers import OfficersFault
    from edge.booth.serve import BoothFault, run
    from edge.booth.watch import SILENCE_S
    from edge.publish.subscriber import follow

    config = settings.load()
    lane = source(settings, at)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format=_form())

    def following(since: int | None) -> AsyncGenerator[Message, None]:
        return follow(
            lane.endpoint,
            lane.server_key,
            lane.own,
            lane.site,
            lane.lane,
            silence_s=SILENCE_S,
            replay_endpoint=lane.replay_endpoint,
            last_seen=since,
        )

    try:
        asyncio.run(run(config, settings.places(config), following, say))
    except (BoothFault, OfficersFault) as fault:
        tell(f"lanepulse booth: {fault}")
        return WRONG_USE
    return DONE


def _form() -> str:
    return "%(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(levelname)-7s %(message)s"


@command.group(
    "officers", epilog="\b\nExamples:\n  lanepulse booth officers list\n  lanepulse booth officers remove o17"
)
def officers() -> None:
    """Ids, roles and PINs of those who may enter outcomes. No names: an id is all that the record keeps."""


@officers.command("add", epilog="\b\nExamples:\n  lanepulse booth officers add o17 --role officer\n"
                  "  lanepulse booth officers add e2 --role engineer --pin-file /dev/stdin")  # fmt: skip
@click.argument("officer_id", metavar="ID")
@click.option("--role", type=click.Choice(["officer", "engineer", "supervisor"]), default="officer")
@click.option(
    "--pin-file", type=click.Path(path_type=Path, dir_okay=False), help="Its first line is the PIN; else asked for."
)
@click.option("--badge", help="What the badge reader types: signs on by itself.")
@common
def add(settings: Settings, officer_id: str, role: str, pin_file: Path | None, badge: str | None) -> int:
    """Add ID, or give it another role, PIN and badge. It counts at once, and who was signed on under it is out."""
    from edge.booth.officers import OfficersFault, Role
    from edge.booth.officers import add as add_officer

    roles: dict[str, Role] = {"officer": "officer", "engineer": "engineer", "supervisor": "supervisor"}
    pin = click.prompt("PIN", hide_input=True, confirmation_prompt=True) if pin_file is None else _first_line(pin_file)
    path = settings.places().officers
    try:
        add_officer(path, officer_id, roles[role], pin, badge)
    except OfficersFault as fault:
        raise click.UsageError(str(fault)) from None
    _done(settings, officer_id, f"is entered as {role}")
    return DONE


@officers.command("remove", epilog="\b\nExamples:\n  lanepulse booth officers remove o17\n"
                  "  lanepulse booth officers remove o17 --json")  # fmt: skip
@click.argument("officer_id", metavar="ID")
@common
def remove(settings: Settings, officer_id: str) -> int:
    """Take ID out, at once; what it entered stays in the record."""
    from edge.booth.officers import OfficersFault
    from edge.booth.officers import remove as remove_officer

    try:
        remove_officer(settings.places().officers, officer_id)
    except OfficersFault as fault:
        raise click.UsageError(str(fault)) from None
    _done(settings, officer_id, "is taken out")
    return DONE


@officers.command(
    "list", epilog="\b\nExamples:\n  lanepulse booth officers list\n  lanepulse booth officers list --json"
)
@common
def list_officers(settings: Settings) -> int:
    """The ids that are known, and their roles."""
    from edge.booth.officers import OfficersFault, load

    try:
        known = load(settings.places().officers).by_id.values()
    except OfficersFault as fault:
        raise click.UsageError(str(fault)) from None
    if settings.json:
        say_json({"officers": [{"id": officer.id, "role": officer.role} for officer in known]})
    else:
        say_table(("ID", "ROLE"), [(officer.id, officer.role) for officer in known])
    return DONE


def _done(settings: Settings, officer_id: str, what: str) -> None:
    if settings.json:
        say_json({"id": officer_id, "done": what})
    else:
        say(f"{officer_id}: {what}")


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(4096).strip()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from None
