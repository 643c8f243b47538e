"""``lanepulse referral``: from a find, or a vehicle that was not secured, to a case that stands."""

from __future__ import annotations

import time
import typing
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge.cli.main import DONE, NO, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table, tell
from edge.cli.record_options import need
from edge.records.outcome import CHECKS
from edge.referral.words import STAGES, Account, Checklist, EntryPoint

if typing.TYPE_CHECKING:
    from edge.referral.queue import Waiting

OFFICER = click.option("--officer", help="Who does it: an id, never a name.")


def _choice(words: Any) -> click.Choice[str]:
    return click.Choice([str(word) for word in typing.get_args(words)])


@click.group("referral")
def command() -> None:
    """Sealed evidence packs, their queue, and what became of them."""


@command.command(
    "note",
    epilog="\b\nExamples:\n  lanepulse referral note 01JQ0F7Y3W8V5R2M9K4T6B1N0D --entry-point roof --checklist shown\n"
    "  lanepulse referral note 01JQ0F7Y3W8V5R2M9K4T6B1N0D --photo curtain=cut.jpg --account declined",
)
@click.argument("passage")
@click.option("--entry-point", type=_choice(EntryPoint), help="Where they got in.")
@click.option("--checklist", type=_choice(Checklist), help="The driver's checklist of the vehicle's security.")
@click.option("--account", type=click.Choice(["declined", "no_driver"]), help="Why there is no account of the driver.")
@click.option("--account-file", type=click.Path(path_type=Path, dir_okay=False), help="The driver's account, as text.")
@click.option(
    "--photo", "photos", multiple=True, metavar="CHECK=FILE", help=f"A picture of one of {', '.join(CHECKS)}."
)
@OFFICER
@common
def note(
    settings: Settings,
    passage: str,
    account: Account | None,
    account_file: Path | None,
    photos: tuple[str, ...],
    **said: Any,
) -> int:
    """Record what a case needs beside the outcome of PASSAGE. What is not given stays as it is."""
    from edge.referral.control import record
    from edge.referral.photos import take_in

    if account is not None and account_file is not None:
        raise click.UsageError("give either --account or --account-file")
    places = settings.places()
    words = {"passage_id": passage, **said, "account": account}
    if account_file is not None:
        words |= {"account": "given", "account_text": _text(account_file)}
    pairs = [_pair(photo) for photo in photos]
    words["photos"] = [take_in(places, passage, check, path).model_dump() for check, path in pairs]
    sequence = record(places, "case.note", words)
    say_json({"passage_id": passage, "row": sequence}) if settings.json else say(f"{passage}: noted as row {sequence}")
    return DONE


@command.command(
    "make",
    epilog="\b\nExamples:\n  lanepulse referral make 01JQ0F7Y3W8V5R2M9K4T6B1N0D --purpose 'penalty team'\n"
    "  lanepulse referral make 01JQ0F7Y3W8V5R2M9K4T6B1N0D --purpose appeal --again --out second.zip",
)
@click.argument("passage")
@click.option("--purpose", required=True, help="Why it is made; it is recorded.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The pack; else under the lane's state.")
@click.option("--again", is_flag=True, help="A pack was made before; make another.")
@click.option("--dry-run", is_flag=True, help="Say what is missing, and make nothing.")
@OFFICER
@common
def make(
    settings: Settings,
    passage: str,
    purpose: str,
    out: Path | None,
    again: bool,
    dry_run: bool,
    officer: str | None,
) -> int:
    """Seal the case of PASSAGE. Exit 1 names every field that is missing."""
    need("report", "typst")
    from edge.referral import make as making
    from edge.referral.pack import PackFault
    from edge.referral.proof import Unsigned

    places = settings.places()
    if dry_run:
        return _dry_run(settings, passage)
    if out is None:
        places.packs.mkdir(mode=0o750, parents=True, exist_ok=True)
        out = _free(places.packs, passage)
    try:
        sealed = making.make(places, making.Asked(passage, purpose, officer, again), out, time.time_ns)
    except making.Incomplete as incomplete:
        return _incomplete(settings, passage, incomplete.fields)
    except (PackFault, Unsigned, OSError) as fault:
        tell(str(fault))
        return WRONG_USE
    if settings.json:
        say_json(
            {"passage_id": passage, "complete": True, "missing": [], "pack": str(sealed.path), "sha256": sealed.sha256}
        )
    else:
        say(f"{sealed.path}: sealed, {sealed.files} files; give it with {sealed.path.name}.sha256 and .sha256.sig")
    return DONE


@command.command(
    "verify",
    epilog="\b\nExamples:\n  lanepulse referral verify R-01JQ0F7Y3W8V5R2M9K4T6B1N0D.zip --public-key lane.pub\n"
    "  lanepulse referral verify R-01JQ0F7Y3W8V5R2M9K4T6B1N0D.zip --json",
)
@click.argument("pack", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--public-key", type=click.Path(path_type=Path, dir_okay=False), help="The lane's public key (PEM).")
@common
def verify_pack(settings: Settings, pack: Path, public_key: Path | None) -> int:
    """Is PACK what was sealed? Exit 1 says what is not, and where. Needs no lane."""
    from edge.referral.verify import verify

    try:
        pem = None
        if public_key is not None:
            with public_key.open("rb") as file:
                pem = file.read(8192)
        found = verify(pack, pem)
    except OSError as error:
        raise click.UsageError(f"{error.filename}: {error.strerror}") from None
    if settings.json:
        say_json({"pack": str(pack), "ok": found.ok, **asdict(found)})
        return DONE if found.ok else NO
    for fault in found.faults:
        say(f"FAILED  {fault.where}: {fault.cause}")
    if found.ok:
        key = f"the key in the pack, {found.key_sha256}: compare it" if found.own_key else "the key given"
        say(f"GOOD    {found.case_id}: {found.files} files, {found.rows} journal rows, signed with {key}")
    return DONE if found.ok else NO


@command.command(
    "list",
    epilog="\b\nExamples:\n  lanepulse referral list --root lane/\n  lanepulse referral list --alarms --json",
)
@click.option("--all", "closed", is_flag=True, help="Closed cases too.")
@click.option("--alarms", is_flag=True, help="Only what waits too long; exit 1 if there is any.")
@common
def list_cases(settings: Settings, closed: bool, alarms: bool) -> int:
    """Each case with its age, its stage and what it waits for; and whether like cases ended alike."""
    from edge.journal.read import reading
    from edge.referral.queue import alike, queue, said
    from edge.referral.words import CLOSED

    config = settings.load()
    with reading(settings.places(config).journal) as reader:
        cases = queue(reader, settings.places(config), time.time_ns(), config.referral.alarm_days())
    groups = alike(cases)
    shown = [case for case in cases if (closed or case.stage not in CLOSED) and (case.alarm or not alarms)]
    if settings.json:
        say_json({"cases": [asdict(case) for case in shown], "alike": [asdict(group) for group in groups]})
    else:
        header = ("CASE", "KIND", "STAGE", "DAYS", "IN STAGE", "", "WAITS FOR")
        say_table(header, [_case_row(case) for case in shown])
        if groups and not alarms:
            say("")
            say_table(("LIKE CASES", "NOT IN ORDER", "ENDED", "OPEN", "GBP LEAST/MEDIAN/MOST", ""), list(said(groups)))
    return NO if alarms and shown else DONE


@command.command(
    "stage",
    epilog="\b\nExamples:\n  lanepulse referral stage R-01JQ0F7Y3W8V5R2M9K4T6B1N0D paid --amount-gbp 6000\n"
    "  lanepulse referral stage --csv stages.csv --dry-run",
)
@click.argument("case_id", metavar="CASE", required=False)
@click.argument("stage", required=False, type=click.Choice(STAGES))
@click.option("--at", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"]), help="When it happened (UTC); else now.")
@click.option("--amount-gbp", type=click.FloatRange(0), help="The penalty, where one was set.")
@click.option(
    "--csv", "table", type=click.Path(path_type=Path, dir_okay=False), help="Many: case_id,stage,at,amount_gbp."
)
@click.option("--dry-run", is_flag=True, help="Judge it, and record nothing.")
@OFFICER
@common
def stage_of(
    settings: Settings,
    case_id: str | None,
    stage: str | None,
    at: Any,
    amount_gbp: float | None,
    table: Path | None,
    dry_run: bool,
    officer: str | None,
) -> int:
    """Record what became of CASE, or of all cases in a table. Exit 1 if the record refuses one."""
    from edge.control import ControlFault, Unreachable
    from edge.referral.control import record
    from edge.referral.stage_csv import read_steps
    from edge.referral.words import Step, WordsRefused, read_words

    if (table is None) == (case_id is None or stage is None):
        raise click.UsageError("give CASE and STAGE, or --csv FILE")
    if table is not None:
        steps = read_steps(table, officer)
    else:
        moment = None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")
        words = {"case_id": case_id, "stage": stage, "at_utc": moment, "amount_gbp": amount_gbp, "officer": officer}
        steps = [read_words(Step, words)]
    recorded, refused = [], {}
    for step in steps if not dry_run else []:
        try:
            record(settings.places(), "referral.stage", step.model_dump(mode="json"))
            recorded.append(step.case_id)
        except Unreachable:
            raise
        except (WordsRefused, ControlFault) as fault:
            refused[step.case_id] = str(fault)
    if settings.json:
        say_json({"read": len(steps), "recorded": recorded, "refused": refused})
    else:
        for name, cause in refused.items():
            tell(f"{name}: {cause}")
        say(f"{len(steps)} read, {len(recorded)} recorded, {len(refused)} refused")
    return NO if refused else DONE


@command.command(
    "hold",
    epilog="\b\nExamples:\n  lanepulse referral hold 01JQ0F7Y3W8V5R2M9K4T6B1N0D --cause 'court asks'\n"
    "  lanepulse referral hold 01JQ0F7Y3W8V5R2M9K4T6B1N0D --release --cause 'court is done'",
)
@click.argument("passage")
@click.option("--cause", required=True, help="Why; it is recorded.")
@click.option("--release", is_flag=True, help="No longer: its plates and bundle expire by rule again.")
@OFFICER
@common
def hold(settings: Settings, passage: str, cause: str, release: bool, officer: str | None) -> int:
    """Keep plates and bundle of PASSAGE beyond their time. An open case is held without it."""
    from edge.referral.control import record

    words = {"passage_id": passage, "held": not release, "cause": cause, "officer": officer}
    sequence = record(settings.places(), "hold", words)
    done = "held no longer" if release else "held"
    say_json({"passage_id": passage, "held": not release, "row": sequence}) if settings.json else say(
        f"{passage}: {done}, row {sequence}"
    )
    return DONE


def _case_row(case: Waiting) -> tuple[object, ...]:
    alarm = "ALARM" if case.alarm else ""
    return (case.case_id, case.kind, case.stage, case.age_days, case.stage_days, alarm, case.waits_for)


def _dry_run(settings: Settings, passage: str) -> int:
    from edge.journal.read import reading
    from edge.referral.case import gather, missing

    places = settings.places()
    with reading(places.journal) as reader:
        fields = missing(gather(reader, places, passage), places)
    if fields:
        return _incomplete(settings, passage, fields)
    say_json({"passage_id": passage, "complete": True, "missing": []}) if settings.json else say(
        f"{passage}: complete; a pack can be made"
    )
    return DONE


def _incomplete(settings: Settings, passage: str, fields: Any) -> int:
    if settings.json:
        say_json({"passage_id": passage, "complete": False, "missing": [asdict(field) for field in fields]})
    else:
        for field in fields:
            tell(f"{passage}: {field.field} is missing: {field.mend}")
        say(f"{passage}: no pack was made: {len(fields)} fields are missing")
    return NO


def _free(folder: Path, passage: str) -> Path:
    """The first name that is free: R-<passage>.zip, then R-<passage>.2.zip."""
    path, number = folder / f"R-{passage}.zip", 1
    while path.exists():
        number += 1
        path = folder / f"R-{passage}.{number}.zip"
    return path


def _pair(given: str) -> tuple[str, Path]:
    check, equals, name = given.partition("=")
    if not equals or check not in CHECKS:
        raise click.UsageError(f"--photo {given[:60]}: give CHECK=FILE; checks: {', '.join(CHECKS)}")
    return check, Path(name)


def _text(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(20_000).strip()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from None
