"""``lanepulse verdicts``: from the record, or as the lane announces them."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any

import click

from edge import json_text
from edge.cli.following import Options, Source, source, source_options
from edge.cli.main import DONE, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell

MOST = 10_000  # verdicts of one answer


@click.command(
    "verdicts",
    epilog="\b\nExamples:\n  lanepulse verdicts --last 5 --root lane/\n  lanepulse verdicts --follow --since 0 --json",
)
@click.option("--follow", is_flag=True, help="Print verdicts as they are announced, until Ctrl-C.")
@click.option("--last", type=click.IntRange(1, MOST), default=20, show_default=True, help="So many of the record.")
@click.option("--count", type=click.IntRange(1), help="With --follow: stop after so many.")
@click.option("--since", type=click.IntRange(0), help="With --follow: first those of the record after this row.")
@source_options
@common
def command(settings: Settings, follow: bool, last: int, count: int | None, since: int | None, at: Options) -> int:
    """Verdicts of this lane. With --json each is one line, as published. Exit 3 when the lane falls silent."""
    if follow:
        asyncio.run(_follow(source(settings, at), settings.json, count, since))
        return DONE
    if count is not None or since is not None:
        raise click.UsageError("--count and --since go with --follow; --last says how many of the record")
    path = settings.places().journal
    try:
        verdicts = _recorded(path, last)
    except (sqlite3.Error, json_text.JsonRefused) as error:
        tell(f"{path}: {error}; give the lane's --root, or judge the file: lanepulse journal verify")
        return WRONG_USE
    if settings.json:
        for verdict in verdicts:
            say_json(verdict)
    else:
        say_table(("ISSUED", "PASSAGE", "REVISION", "LEVEL", "LOG10 ODDS", "WHY"), map_rows(verdicts))
    return DONE


def map_rows(verdicts: Iterable[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    """Table rows; the score is shown as log10 odds, which add up."""
    rows: list[tuple[object, ...]] = []
    for verdict in verdicts:
        why = "; ".join(str(reason["text"]) for reason in verdict["reasons"])
        revision = f"{verdict['revision']}{' final' if verdict['final'] else ''}"
        odds = f"{verdict['log10_odds']:+.2f}"
        rows.append((verdict["issued_utc"], verdict["passage_id"], revision, verdict["level"], odds, why or None))
    return rows


def _recorded(path: Path, last: int) -> list[Any]:
    """The newest ``last`` verdicts, oldest first. Reads only: the daemon may be writing."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        found = db.execute("SELECT body FROM rows WHERE kind = 'verdict' ORDER BY sequence DESC LIMIT ?", (last,))
        return [json_text.read(body) for (body,) in found.fetchall()][::-1]


async def _follow(lane: Source, as_json: bool, count: int | None, since: int | None) -> None:
    newest, printed = since or 0, 0
    async with aclosing(lane.messages(since)) as messages:
        async for message in messages:
            sequence = message.header.sequence
            if message.header.kind == "status":
                if since is None and newest and sequence > newest:
                    tell(f"verdicts up to row {sequence} were missed; they are in the record: lanepulse verdicts")
                    newest = sequence
                continue
            if sequence <= newest:  # the last one again, for somebody who has just joined
                continue
            newest = sequence
            if as_json:
                say_json(message.body)
            else:
                (row,) = map_rows([message.body])
                say("  ".join("-" if cell is None else str(cell) for cell in row))
            printed += 1
            if printed == count:
                return
