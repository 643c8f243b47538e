"""``lanepulse diagnostics``: one document for support, with nothing in it that support must not see."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from edge.cli.main import DONE, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, tell


@click.command(
    "diagnostics",
    epilog="\b\nExamples:\n  lanepulse diagnostics --root lane/\n  lanepulse diagnostics --output lane-3.json",
)
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Write it there (mode 0600).")
@common
def command(settings: Settings, output: Path | None) -> int:
    """Configuration, versions, state, log counts, journal, clock and disk, as JSON.

    No key, no plate and nothing that a device said stands in it. It works while the lane is down or its file is wrong.
    """
    from edge.config import ConfigErrors  # heavy: not for --help
    from edge.diagnostics import gather
    from edge.places import Places

    try:
        places = settings.places()
    except ConfigErrors:
        places = Places.under(None)
    document = gather(settings.load, places)
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True, allow_nan=False)
    if output is not None:
        try:
            handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            tell(f"lanepulse diagnostics: {output}: {error.strerror}; give a file that is not there yet")
            return WRONG_USE
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
        tell(f"{output}: written; look through it before you send it")
    elif settings.json:
        say_json(document)
    else:
        for line in text.splitlines():
            say(line)
    return DONE
