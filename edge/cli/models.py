"""``lanepulse models``: signed models, tried before they are trusted, made active, and taken back."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from edge import json_text
from edge.cli.main import DONE, NO, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell
from edge.models.acceptance import accept
from edge.models.changes import record
from edge.models.source import RELEASED, Source, read_source, trusted
from edge.models.store import RELEASED_ID, NoSuchModel, Store
from edge.places import Places
from fusion.bundle.times import format_utc
from fusion.classifier import ModelRefused


@dataclass(frozen=True, slots=True)
class Row:
    """One model as `models list` and `models verify` tell it; ``fault`` is None where nothing speaks against it."""

    model: str
    state: str
    trained_on: str | None
    signed_by: str | None
    fault: str | None


@click.group("models")
def command() -> None:
    """Signed models: which there are, whether they are good, which is active."""


@command.command("list", epilog="\b\nExamples:\n  lanepulse models list\n  lanepulse models list --root lane/ --json")
@common
def list_models(settings: Settings) -> int:
    """The models of this lane, and who signed them."""
    places = settings.places()
    store = Store(places.models)
    active, fault = _active(store)
    rows = [_row(store, places, one, active) for one in (*store.ids(), RELEASED_ID)]
    if settings.json:
        say_json({"active": active, "fault": fault, "models": [asdict(row) for row in rows]})
    else:
        say_table(("MODEL", "STATE", "TRAINED ON", "SIGNED BY", "FAULT"), [tuple(asdict(row).values()) for row in rows])
    if fault is not None:
        tell(fault)
    _tell_configured(settings)
    return DONE


@command.command(
    "verify",
    epilog="\b\nExamples:\n  lanepulse models verify\n  lanepulse models verify concealment-2.onnx --json",
)
@click.argument("models", nargs=-1)
@common
def verify(settings: Settings, models: tuple[str, ...]) -> int:
    """Try MODELS (files, or names of the list; all of it for none). Exit 1 if a lane would refuse any."""
    places = settings.places()
    store = Store(places.models)
    active, _ = _active(store)
    rows = []
    for words in models or (*store.ids(), RELEASED_ID):
        try:
            path, model = _resolve(store, words)
        except NoSuchModel as fault:
            tell(f"lanepulse models verify: {fault}")
            return WRONG_USE
        rows.append(_tried(path, places, model, _state(store, model, active)))
    if settings.json:
        say_json({"ok": all(row.fault is None for row in rows), "models": [asdict(row) for row in rows]})
    else:
        for row in rows:
            good = f"good: {row.trained_on}, signed by {row.signed_by}"
            say(f"{row.model}: {good if row.fault is None else f'REFUSED: {row.fault}'}")
    return DONE if all(row.fault is None for row in rows) else NO


@command.command(
    "activate",
    epilog="\b\nExamples:\n  lanepulse models activate concealment-2.onnx --dry-run\n"
    "  lanepulse models activate concealment-2 --yes",
)
@click.argument("model")
@click.option("--dry-run", is_flag=True, help="Try the model and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def activate(settings: Settings, model: str, dry_run: bool, yes: bool) -> int:
    """Try MODEL (a file, or a name of the list) and let the lane judge by it from its next start on."""
    places = settings.places()
    store = Store(places.models)
    try:
        path, _ = _resolve(store, model)
    except NoSuchModel as fault:
        tell(f"lanepulse models activate: {fault}")
        return WRONG_USE
    return _change(settings, places, store, "activate", path, dry_run=dry_run, yes=yes)


@command.command(
    "rollback",
    epilog="\b\nExamples:\n  lanepulse models rollback --dry-run\n  lanepulse models rollback --yes",
)
@click.option("--dry-run", is_flag=True, help="Say what would become active, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def rollback(settings: Settings, dry_run: bool, yes: bool) -> int:
    """Back to the model that was active before; once more, and the later one is active again."""
    places = settings.places()
    store = Store(places.models)
    try:
        path = store.file(store.previous())
    except ModelRefused as refusal:
        tell(f"lanepulse models rollback: {refusal}")
        return NO
    return _change(settings, places, store, "rollback", path, dry_run=dry_run, yes=yes)


@command.command(
    "shadow",
    epilog="\b\nExamples:\n  lanepulse models shadow concealment-2.onnx --yes\n  lanepulse models shadow --json\n"
    "  lanepulse models shadow --off",
)
@click.argument("model", required=False)
@click.option("--off", is_flag=True, help="Let no model run beside the active one any more.")
@click.option("--dry-run", is_flag=True, help="Try the model and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common
def shadow(settings: Settings, model: str | None, off: bool, dry_run: bool, yes: bool) -> int:
    """Let MODEL judge beside the active one: into the journal, never to a prompt or a subscriber.

    Without MODEL: what the one in the shadow would have done. Then activate it, or switch it --off.
    """
    places = settings.places()
    store = Store(places.models)
    if off and model is not None:
        raise click.UsageError("give a model, or --off")
    try:
        if off:
            return _leave_shadow(settings, places, store, dry_run=dry_run)
        if model is None:
            return _tell_beside(settings, places, store)
        path, _ = _resolve(store, model)
    except NoSuchModel as fault:
        tell(f"lanepulse models shadow: {fault}")
        return WRONG_USE
    except ModelRefused as refusal:
        tell(f"lanepulse models shadow: {refusal}")
        return NO
    return _run_beside(settings, places, store, path, dry_run=dry_run, yes=yes)


def _run_beside(settings: Settings, places: Places, store: Store, path: Path, *, dry_run: bool, yes: bool) -> int:
    before, active = store.shadow(), _active(store)[0]
    try:
        source, signer = _accepted(path, places)
        after = RELEASED_ID if path == RELEASED else store.id_of(source)
    except ModelRefused as refusal:
        tell(f"lanepulse models shadow: {refusal}; {before or 'no model'} stays in the shadow")
        return NO
    if after == active:
        tell(f"lanepulse models shadow: {after} is the active model; one beside itself tells nothing")
        return NO
    changes = before != after
    if changes and not dry_run:
        if not yes:
            _ask_to(f"{before or 'no model'} is in the shadow of {active or RELEASED_ID}; make it {after}?")
        _do(places, store, "shadow", source, before, after, signer)
    if settings.json:
        say_json({"before": before, "after": after, "changed": changes and not dry_run, "signed_by": signer})
    elif not changes:
        say(f"{after} is in the shadow already; nothing was changed")
    else:
        say(
            f"{'would be' if dry_run else 'now'} in the shadow: {after}, signed by {signer}; before: {before or 'none'}"
        )
    return DONE


def _leave_shadow(settings: Settings, places: Places, store: Store, *, dry_run: bool) -> int:
    before = _in_shadow(store)
    changes = before is not None
    if changes and not dry_run:
        note = {"what": "shadow", "before": before, "after": None, "who": f"uid {os.getuid()}"}
        try:
            record(places, note | {"at_utc": format_utc(time.time_ns())})
            store.leave_shadow()
        except OSError as error:
            raise click.ClickException(f"{error.filename}: {error.strerror}; nothing was changed") from None
    if settings.json:
        say_json({"before": before, "after": None, "changed": changes and not dry_run})
    elif changes:
        say(f"{'would leave' if dry_run else 'left'} the shadow: {before}; the lane stops running it at its next start")
    else:
        say("no model is in the shadow; nothing was changed")
    return DONE


def _in_shadow(store: Store) -> str | None:
    """The id, or what a link says that leads nowhere: that can be switched off too."""
    try:
        return store.shadow()
    except ModelRefused as refusal:
        return str(refusal)


def _tell_beside(settings: Settings, places: Places, store: Store) -> int:
    """What the model in the shadow would have done. Raises ModelRefused."""
    from edge.models.beside import beside

    model = store.shadow()
    if model is None:
        say_json({"shadow": None}) if settings.json else say("no model is in the shadow: lanepulse models shadow MODEL")
        return DONE
    manifest = read_source(store.file(model)).read_manifest()
    try:
        found = beside(places.journal, manifest.sha256)
    except (sqlite3.Error, json_text.JsonRefused) as error:
        tell(f"{places.journal}: {error}; the lane makes it at its first start, and runs the model from then on")
        return NO
    if settings.json:
        say_json({"shadow": model, "trained_on": manifest.trained_on} | asdict(found))
        return DONE
    say(f"{model}: trained on {manifest.trained_on} cases, beside the active model on {found.passages} vehicles")
    levels = list(found.levels)
    say_table(("ACTIVE SAID", *levels), [(name, *row.values()) for name, row in found.levels.items()])
    for words, known in (("with people", found.with_people), ("empty", found.empty)):
        say(f"known {words}: {known.cases}; search prompted: active {known.active}, in the shadow {known.shadow}")
    tell("outcomes are known where the active model had a vehicle searched: they flatter it")
    return DONE


def _change(
    settings: Settings, places: Places, store: Store, what: str, path: Path, *, dry_run: bool, yes: bool
) -> int:
    """Try it, show before and after, ask, note, change. Whatever is refused leaves the active one active."""
    before, fault = _active(store)
    if fault is not None:
        tell(fault)
    try:
        source, signer = _accepted(path, places)
        after = RELEASED_ID if path == RELEASED else store.id_of(source)
    except ModelRefused as refusal:
        tell(f"lanepulse models {what}: {refusal}; {before or RELEASED_ID} stays active")
        return NO
    changes = before != after
    if changes and not dry_run:
        if not yes:
            _ask(before, after)
        _do(places, store, what, source, before, after, signer)
    _tell_configured(settings)
    if settings.json:
        say_json({"before": before, "after": after, "changed": changes and not dry_run, "signed_by": signer})
    elif not changes:
        say(f"{after} is active already; nothing was changed")
    else:
        say(f"before: {before or 'no good model'}")
        say(f"{'would be' if dry_run else 'now'}: {after}, signed by {signer}")
    return DONE


def _do(places: Places, store: Store, what: str, source: Source, before: str | None, after: str, signer: str) -> None:
    """The note is durable before the change is made: a change without one cannot be."""
    manifest = source.read_manifest()
    change = {
        "what": what,
        "before": before,
        "after": after,
        "name": manifest.name,
        "sha256": manifest.sha256,
        "manifest_sha256": hashlib.sha256(source.manifest).hexdigest(),
        "signed_by": signer,
        "who": f"uid {os.getuid()}",
        "at_utc": format_utc(time.time_ns()),
    }
    try:
        if after != RELEASED_ID:
            store.keep(source)
        journalled = record(places, change)
        if what == "shadow":
            store.run_beside(after)
        else:
            store.activate(after)
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}; nothing was activated") from None
    if not journalled:
        tell("noted; it goes into the journal when the lane starts, which it must to use this model")
    else:
        tell(f"journalled; the lane {'runs it beside' if what == 'shadow' else 'judges by it'} from its next start on")


def _ask(before: str | None, after: str) -> None:
    _ask_to(f"{before or 'no good model'} is active; make it {after}?")


def _ask_to(question: str) -> None:
    if not sys.stdin.isatty():
        raise click.UsageError("nobody can be asked here; give --yes, or --dry-run to change nothing")
    click.confirm(question, abort=True, err=True)


def _accepted(path: Path, places: Places) -> tuple[Source, str]:
    """The files, and who signed them. Raises ModelRefused."""
    source = read_source(path)
    signer = source.signer(trusted(places))
    accept(source)
    return source, signer


def _resolve(store: Store, words: str) -> tuple[Path, str]:
    """The file that ``words`` mean, and the name to tell. Raises NoSuchModel."""
    if "/" in words or words.endswith(".onnx"):
        path = Path(words)
        if not path.is_file():
            raise NoSuchModel(f"{words}: not there; give an .onnx file, or a name of: lanepulse models list")
        return path.absolute(), words
    model = store.find(words)
    return store.file(model), model


def _active(store: Store) -> tuple[str | None, str | None]:
    """The active model's id and None, or None and what is wrong with the link."""
    try:
        return store.active(), None
    except ModelRefused as refusal:
        return None, str(refusal)


def _state(store: Store, model: str, active: str | None) -> str:
    if model == active:
        return "active"
    if model == _in_shadow(store):
        return "shadow"
    try:
        return "previous" if model == store.previous() else "kept"
    except ModelRefused:
        return "kept"


def _row(store: Store, places: Places, model: str, active: str | None) -> Row:
    """What can be told without trying it."""
    state = _state(store, model, active)
    try:
        source = read_source(store.file(model))
        manifest = source.read_manifest()
    except ModelRefused as refusal:
        return Row(model, state, None, None, str(refusal))
    try:
        return Row(model, state, manifest.trained_on, source.signer(trusted(places)), None)
    except ModelRefused as refusal:
        return Row(model, state, manifest.trained_on, None, str(refusal))


def _tried(path: Path, places: Places, model: str, state: str) -> Row:
    try:
        source, signer = _accepted(path, places)
    except ModelRefused as refusal:
        return Row(model, state, None, None, str(refusal))
    return Row(model, state, source.read_manifest().trained_on, signer, None)


def _tell_configured(settings: Settings) -> None:
    """A path in the lane's file goes before the store: whoever changes the store should know."""
    if not settings.config_path.exists():
        return
    configured: Any = settings.load().model
    if configured is not None:
        tell(f"{settings.config_path}: model = {configured} goes before all of these; take the line out to use them")
