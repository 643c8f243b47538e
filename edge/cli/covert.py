"""``lanepulse covert``: volunteers hidden on purpose; sealed before the test, opened after it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from edge import json_text
from edge.cli.main import DONE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell
from edge.control import ask

LONGEST_SECRET = 4096  # bytes; one has a tenth of it


@click.group("covert")
def command() -> None:
    """Volunteers hidden on purpose: how many does the lane catch? Entered before, revealed after, never a find."""


@command.command(
    "enter",
    epilog="\b\nExamples:\n  lanepulse covert enter --people 2 --place rear --aboard-min 30 --secret test-7.json\n"
    "  lanepulse covert enter --people 1 --load pallets --secret test-8.json --json",
)
@click.option("--people", type=click.IntRange(1, 50), required=True, help="How many hide.")
@click.option("--place", help="Where.")
@click.option("--aboard-min", type=click.FloatRange(0, 10_080), help="How long they will have been aboard, in minutes.")
@click.option("--load", help="In what.")
@click.option("--secret", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="Where to keep the words until then; a new file that only you can read.")  # fmt: skip
@common
def enter(settings: Settings, people: int, place: str | None, aboard_min: float | None, load: str | None,
          secret: Path) -> int:  # fmt: skip
    """Seal a test before it is made. The journal gets a digest only: nobody on the lane can know of it."""
    from edge.records.covert import CovertRefused, new_secret

    aboard_s = None if aboard_min is None else aboard_min * 60.0
    try:
        made = new_secret({"people": people, "place": place, "aboard_s": aboard_s, "load": load})
    except CovertRefused as refused:
        raise click.UsageError(str(refused)) from None
    _keep(secret, json_text.write(made.model_dump(mode="json", by_alias=True)))
    try:
        answer = ask(settings.places().control_socket, {"do": "covert.enter", "seal": made.seal})
    except BaseException:
        secret.unlink()  # it was not entered: words without a seal in the journal prove nothing
        raise
    if settings.json:
        say_json(answer | {"secret": str(secret)})
    else:
        say(f"sealed as {made.seal[:12]}… in row {answer['sequence']}; its words are in {secret}")
    return DONE


@command.command(
    "reveal",
    epilog="\b\nExamples:\n  lanepulse covert reveal test-7.json 01JQ0F7Y3W8V5R2M9K4T6B1N0D\n"
    "  lanepulse covert reveal test-8.json 01JQ0F7Y3W8V5R2M9K4T6B1N0E --json",
)
@click.argument("secret", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("passage")
@common
def reveal(settings: Settings, secret: Path, passage: str) -> int:
    """Say that PASSAGE was the test whose words are in SECRET. The passage then counts as a test, never as a find."""
    request = {"do": "covert.reveal", "secret": _read(secret), "passage_id": passage}
    answer = ask(settings.places().control_socket, request)
    if settings.json:
        say_json(answer)
    else:
        say(f"{passage}: a covert test with {answer['people']} aboard, row {answer['sequence']}")
    return DONE


@command.command("list", epilog="\b\nExamples:\n  lanepulse covert list\n  lanepulse covert list --json")
@common
def list_tests(settings: Settings) -> int:
    """All tests; those still sealed have no passage. How often they were prompted: lanepulse analyse covert."""
    tests: list[dict[str, Any]] = ask(settings.places().control_socket, {"do": "covert.list"})
    if settings.json:
        say_json({"tests": tests})
        return DONE
    header = ("ENTERED", "SEAL", "PASSAGE", "PEOPLE", "PLACE", "LEVEL")
    rows = [
        (test["entered_utc"], test["seal"][:12], test["passage_id"] or "sealed", test.get("people"),
         test.get("place"), test["level"])
        for test in tests
    ]  # fmt: skip
    say_table(header, rows)
    tell(f"{sum(test['passage_id'] is None for test in tests)} of {len(tests)} still sealed")
    return DONE


def _keep(path: Path, text: str) -> None:
    """Raises click.UsageError: it is there already, or cannot be written."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}; give a new file") from None


def _read(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST_SECRET + 1)
        if len(raw) > LONGEST_SECRET:
            raise click.UsageError(f"{path}: more than {LONGEST_SECRET} bytes; not a test's words")
        return json_text.read(raw)
    except (OSError, json_text.JsonRefused) as error:
        raise click.UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
