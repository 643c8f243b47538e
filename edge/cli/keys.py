"""``lanepulse keys``: made, shown and allowed. A secret is never printed."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from zmq.utils import z85

from edge import keys
from edge.cli.main import DONE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table
from edge.config import NAME
from edge.places import Places


def _name(_: click.Context, __: click.Parameter, name: str | None) -> str | None:
    """A name becomes a file, so it is no path."""
    if name is not None and not re.fullmatch(NAME, name):
        raise click.BadParameter(f"{name[:40]!r}: give 1 to 32 letters, digits, - or _")
    return name


@click.group("keys")
def command() -> None:
    """Make, show and allow keys."""


@command.command("new", epilog="\b\nExamples:\n  lanepulse keys new --root lane/\n  lanepulse keys new booth")
@click.argument("name", required=False, callback=_name)
@common
def new(settings: Settings, name: str | None) -> int:
    """Make the lane's keys (socket, signature, audit draw, and a viewer's that may listen), or NAME's for a subscriber.

    Keys that are there stay as they are.
    """
    places = settings.places()
    if name is not None:
        path = places.keys / f"{name}.key"
        keys.new_curve(path)
        return _made(settings, [(path, "made")])
    rows = [
        (places.curve, _make(places.curve, keys.new_curve)),
        (places.signing, _make(places.signing, keys.new_signing)),
        (places.viewer, _make(places.viewer, keys.new_curve)),
        (places.audit, _make(places.audit, keys.new_secret)),
    ]
    rows.append((places.allowed / "viewer.pub", _allow(places, "viewer", places.viewer.with_suffix(".pub"))))
    return _made(settings, rows)


@command.command("show", epilog="\b\nExamples:\n  lanepulse keys show --root lane/\n  lanepulse keys show --json")
@common
def show(settings: Settings) -> int:
    """The public halves: give them to those who listen to this lane or verify its record."""
    places = settings.places()
    rows = []
    for path in sorted(places.keys.glob("*.key")):
        key = keys.load(path)
        if isinstance(key, keys.CurveKeys):
            rows.append({"name": path.stem, "kind": "curve", "public": key.public.decode()})
        else:
            raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
            rows.append({"name": path.stem, "kind": "ed25519", "public": raw.hex()})
    allowed = [{"name": name, "public": _z85(public)} for public, name in keys.allowed(places.allowed).items()]
    rows += [{"name": row["name"], "kind": "allowed", "public": row["public"]} for row in allowed]
    if settings.json:
        say_json({"keys": rows})
    else:
        say_table(("NAME", "KIND", "PUBLIC"), [tuple(row.values()) for row in rows])
    return DONE


@command.command(
    "allow",
    epilog="\b\nExamples:\n  lanepulse keys allow booth booth.pub\n  lanepulse keys allow hub hub.pub --dry-run",
)
@click.argument("name", callback=_name)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Judge the file and change nothing.")
@common
def allow(settings: Settings, name: str, file: Path, dry_run: bool) -> int:
    """Let the holder of the public key in FILE listen, under NAME. It counts from the next connection on."""
    places = settings.places()
    if dry_run:
        keys.load_curve_public(file)
        return _made(settings, [(places.allowed / f"{name}.pub", "would be allowed")])
    return _made(settings, [(places.allowed / f"{name}.pub", _allow(places, name, file))])


def _make(path: Path, maker: Callable[[Path], Any]) -> str:
    if os.path.lexists(path):
        return "was there"
    maker(path)
    return "made"


def _allow(places: Places, name: str, file: Path) -> str:
    """Raises KeyFault: no public key in ``file``, or the name is another's."""
    public, path = keys.load_curve_public(file), places.allowed / f"{name}.pub"
    if os.path.lexists(path):
        if keys.load_curve_public(path) == public:
            return "was allowed"
        raise keys.KeyFault(f"{path}: another key has this name; choose another, or take that file away")
    fresh = path.with_name(f".{name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(f'metadata\ncurve\n    public-key = "{public.decode()}"\n')
        fresh.replace(path)
    except OSError as error:
        raise keys.KeyFault(f"{path}: {error.strerror}; choose a folder that you may write") from None
    return "allowed"


def _z85(public: bytes) -> str:
    return z85.encode(public).decode()


def _made(settings: Settings, rows: list[tuple[Path, str]]) -> int:
    if settings.json:
        say_json({"files": [{"file": str(path), "state": state} for path, state in rows]})
    else:
        for path, state in rows:
            say(f"{path}: {state}")
    return DONE
