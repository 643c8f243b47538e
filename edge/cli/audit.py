"""``lanepulse audit``: were the searches that nobody could foresee drawn as the site says?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from edge import keys
from edge.cli.main import DONE, NO
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell


@click.group("audit")
def command() -> None:
    """Searches that nothing asked for: they tell how many are missed. How many: lanepulse analyse."""


@command.command(
    "verify",
    epilog="\b\nExamples:\n  lanepulse audit verify --root lane/\n"
    "  lanepulse audit verify --journal copy/journal.db --secret audit.secret --json",
)
@click.option("--journal", type=click.Path(path_type=Path, dir_okay=False), help="Another journal than this lane's.")
@click.option("--secret", type=click.Path(path_type=Path, dir_okay=False), help="Another secret than this lane's.")
@common
def verify(settings: Settings, journal: Path | None, secret: Path | None) -> int:
    """Make each draw again under the secret, and compare frequencies with the policy. Exit 1 where anything is off."""
    from edge.journal.read import reading
    from edge.records.audit_check import KINDS, UNLIKELY, check

    places = settings.places() if journal is None or secret is None else None
    path = journal or (places.journal if places else None)
    key_file = secret or (places.audit if places else None)
    assert path is not None
    assert key_file is not None
    with reading(path) as rows:
        found = check(rows.of_kind(*KINDS), keys.load_secret(key_file))
    if settings.json:
        say_json(asdict(found) | {"ok": found.ok, "journal": str(path)})
        return DONE if found.ok else NO
    say_table(
        ("STRATUM", "PROBABILITY", "VEHICLES", "DRAWN", "SHARE", "P"),
        [
            (one.stratum, f"{one.probability:g}", one.vehicles, one.drawn, f"{one.drawn / one.vehicles:.4f}",
             f"{one.p:.3f}{' unlikely' if one.p < UNLIKELY else ''}")
            for one in found.shares
        ],
    )  # fmt: skip
    for fault in found.faults:
        say(fault)
    if found.other_keys:
        tell(f"{found.other_keys} draws are of other keys: their numbers were not made again")
    say(f"{path}: {found.draws} draws, {'as the policy says' if found.ok else 'NOT as the policy says'}")
    return DONE if found.ok else NO
