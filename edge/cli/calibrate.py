"""``lanepulse calibrate``: make a sensor tell the truth, and prove it; and what is valid until when."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pwd
import sys
import threading
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from calibration.apply import Calibrations
from calibration.drift import Charted, chart
from calibration.procedures.procedure import BadSetup, Procedure, Step
from calibration.record import Kept, RecordFault, utc_text
from drivers.driver import DriverFault, Surroundings
from edge import keys
from edge.calibrate import catalogue
from edge.calibrate.bookkeeping import store_of, tell_journal
from edge.calibrate.capture import Live
from edge.calibrate.history import history
from edge.calibrate.session import Finished, Session, Told
from edge.cli.main import DONE, NO, UNREACHABLE, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import clean, say, say_json, say_table, tell
from edge.clock import Clock
from edge.config import Device
from edge.lease import LeaseFault, leased
from edge.places import Places

LONGEST_CERTIFICATE = 64 * 1024  # bytes of a references file
EXAMPLES = """\b
Examples:
  lanepulse calibrate co2-rear two-point --references gases.toml
  lanepulse calibrate chassis step --references coil.toml --set seconds=20
  lanepulse calibrate status
"""


class _DeviceFirst(click.Group):
    """``calibrate DEVICE PROCEDURE`` beside ``calibrate status`` and its kind: what is no verb is a device."""

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            return None, run_procedure, args
        return super().resolve_command(context, args)


@click.group("calibrate", cls=_DeviceFirst, epilog=EXAMPLES, subcommand_metavar="DEVICE PROCEDURE | VERB [OPTIONS]")
def command() -> None:
    """Calibrate DEVICE by PROCEDURE, guided step by step; or look at what is in force.

    Without PROCEDURE, the device's procedures are listed. An interrupted calibration goes on where it stopped.
    """


def measuring_options(function: Any) -> Any:
    """What a procedure is told; the same for a calibration and a challenge."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Measure and judge; write no record."),
        click.option("--restart", is_flag=True, help="Measure every step anew."),
        click.option("--yes", is_flag=True, help="Ask nothing: each step begins at once."),
        click.option("--operator", help="Who does it, where that is not the account.", metavar="NAME"),
        click.option("--environment", "surroundings", multiple=True, help="As temperature_c=21; for the record.",
                     metavar="NAME=VALUE"),
        click.option("--set", "parameters", multiple=True, help="A parameter of the procedure.", metavar="NAME=VALUE"),
        click.option("--references", type=click.Path(path_type=Path), help="Certificates, a TOML table each."),
    ):  # fmt: skip
        function = option(function)
    return function


@click.command("DEVICE", epilog=EXAMPLES)
@click.argument("device")
@click.argument("procedure", required=False)
@measuring_options
@common
def run_procedure(settings: Settings, device: str, procedure: str | None, **told: Any) -> int:
    """Calibrate DEVICE by PROCEDURE; without one, say which there are. Exit 1: it did not pass, nothing was changed."""
    one = configured(settings, device)
    there = {name: found for name, found in catalogue.for_modality(str(one.driver.MODALITY)).items() if not found.test}
    if procedure is None:
        return _list(settings, one, there)
    if procedure not in there:
        raise click.UsageError(f"{procedure}: no procedure of {device}; there are {', '.join(there) or 'none'}")
    return measured(settings, one, there[procedure], **told)


def configured(settings: Settings, device: str) -> Device:
    """The lane's device of that name. Raises UsageError."""
    devices = settings.load().devices
    if device not in devices:
        raise click.UsageError(f"{device}: no such device; configured are {', '.join(devices) or 'none'}")
    return devices[device]


def _list(settings: Settings, device: Device, there: dict[str, Procedure]) -> int:
    rows = [(name, one.summary, ", ".join(one.roles) or "-", f"{one.valid_days} days") for name, one in there.items()]
    if settings.json:
        listed = [
            {"name": n, "summary": o.summary, "references": list(o.roles), "parameters": dict(o.parameters)}
            for n, o in there.items()
        ]
        say_json({"device": device.name, "procedures": listed})
    else:
        say_table(("PROCEDURE", "WHAT IT DOES", "NEEDS", "HOLDS"), rows)
    return DONE


def measured(
    settings: Settings,
    device: Device,
    procedure: Procedure,
    *,
    references: Path | None,
    parameters: Sequence[str],
    surroundings: Sequence[str],
    operator: str | None,
    yes: bool,
    restart: bool,
    dry_run: bool,
) -> int:
    """Lease the device, run the procedure, write and journal its record; the exit code."""
    places = settings.places(settings.load())
    who = f"uid {os.getuid()} {_account()}" + (f", {operator}" if operator else "")
    told = Told(who, _pairs(parameters), _certificates(references), _pairs(surroundings))
    try:
        key = None if dry_run else keys.load_signing(places.signing)
        with leased(places, device.name):
            session = Session(device, procedure, store_of(places), around(), told, bundles=places.bundles)
            if restart:
                session.restart()
            confirm = _confirming(yes or settings.json, session.steps())
            finished = asyncio.run(session.run(confirm, _Shown(), key))
    except (BadSetup, RecordFault) as fault:
        return _refused(settings, places, device, procedure, who, str(fault), NO)
    except (DriverFault, LeaseFault, TimeoutError, OSError) as error:
        cause = f"{device.name}: lost: {str(error) or type(error).__name__}; nothing was changed"
        return _refused(settings, places, device, procedure, who, cause, UNREACHABLE)
    note = None if finished.outcome.passed or procedure.test else _attempt(device, procedure, who, _failures(finished))
    journalled = False if dry_run else tell_journal(places, note)
    _say_finished(settings, device, procedure, finished, journalled)
    return DONE if finished.outcome.passed else NO


def around() -> Surroundings:
    """Surroundings of a device that the lane has lent."""
    clock = Clock()
    return Surroundings(
        clock.now_utc_ns, clock.monotonic_ns, clock.quality, lambda *_: None, lambda _: None, lambda *_: None
    )


def _account() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return ""


def _attempt(device: Device, procedure: Procedure, who: str, cause: str) -> dict[str, Any]:
    return {
        "event": "failed",
        "device": device.name,
        "procedure": procedure.name,
        "operator": who,
        "cause": cause[:500],
        "at_utc": utc_text(time.time_ns()),
    }


def _failures(finished: Finished) -> str:
    return "; ".join(check.text() for check in finished.outcome.checks if not check.passed)


def _refused(
    settings: Settings, places: Places, device: Device, procedure: Procedure, who: str, cause: str, code: int
) -> int:
    with contextlib.suppress(OSError):
        tell_journal(places, _attempt(device, procedure, who, cause))
    if settings.json:
        say_json({"device": device.name, "procedure": procedure.name, "verdict": "not measured", "cause": cause})
    else:
        tell(f"{cause}")
        tell("no record was written; what was in force is still in force")
    return code


def _say_finished(
    settings: Settings, device: Device, procedure: Procedure, finished: Finished, journalled: bool
) -> None:
    outcome, kept = finished.outcome, finished.kept
    verdict = "pass" if outcome.passed else "fail"
    if settings.json:
        say_json(
            {
                "device": device.name,
                "procedure": procedure.name,
                "verdict": verdict,
                "record_id": None if kept is None else kept.id,
                "number": None if kept is None else kept.record.number,
                "valid_until_utc": None if kept is None else kept.record.valid_until_utc,
                "results": [quantity.document() for quantity in outcome.results],
                "checks": [check.model_dump(mode="json") | {"passed": check.passed} for check in outcome.checks],
                "before": dict(outcome.before),
                "after": dict(outcome.after),
                "notes": list(outcome.notes),
                "resumed": list(finished.resumed),
                "journalled": journalled,
            }
        )
        return
    for quantity in outcome.results:
        say(f"{quantity.name}: {quantity.text()}")
    for check in outcome.checks:
        say(f"{'ok  ' if check.passed else 'FAIL'} {check.text()}")
    for line in outcome.notes:
        say(f"note: {line}")
    said = f"{device.name} {procedure.name}: {verdict.upper()}"
    if kept is None:
        say(f"{said}; no record was written, what was in force is still in force")
    else:
        force = f", in force until {kept.record.valid_until_utc[:10]}" if kept.record.activates else ""
        say(f"{said}; record {kept.record.number} ({kept.short}){force}")
        if not journalled:
            tell("the journal takes it up at the lane's next start")


class _Shown:
    """The live reading, on one line of a terminal; in a pipe only what changes: settled or not."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._settled: bool | None = None

    def __call__(self, live: Live) -> None:
        word = "" if live.settled is None else ", settled" if live.settled else ", not settled yet"
        if self._terminal:
            sys.stderr.write(f"\r\x1b[K  {live.share:4.0%}  {clean(live.text)}{word}")
            sys.stderr.flush()
        elif live.share == 0 or (live.settled and not self._settled):
            tell(f"  {live.text}{word}")
        self._settled = live.settled


def _confirming(yes: bool, steps: tuple[Step, ...]) -> Any:
    keyed = [step.key for step in steps]

    async def confirm(step: Step) -> None:
        number = f"step {keyed.index(step.key) + 1} of {len(keyed)}: " if step.key in keyed else ""
        tell(f"{number}{step.say}")
        if not yes:
            click.echo("Enter when ready: ", nl=False, err=True)
            await _enter()

    return confirm


async def _enter() -> None:
    """A line on stdin, awaited so that Ctrl-C ends the wait: nobody waits for the thread that reads."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bytes] = loop.create_future()

    def answer(line: bytes) -> None:
        if not answered.done():
            answered.set_result(line)

    def read() -> None:
        line = os.read(0, 4096)
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(answer, line)

    threading.Thread(target=read, daemon=True).start()
    if not await answered:
        raise click.Abort  # stdin has ended: nobody can confirm anything


def _pairs(words: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for word in words:
        name, mark, text = word.partition("=")
        if not mark or not name:
            raise click.UsageError(f"{word!r}: give NAME=VALUE")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text.split(",") if "," in text else text
    return found


def _certificates(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        text = path.read_bytes()[: LONGEST_CERTIFICATE + 1]
        if len(text) > LONGEST_CERTIFICATE:
            raise ValueError(f"more than {LONGEST_CERTIFICATE} bytes")
        tables = tomllib.loads(text.decode())
    except OSError as error:
        raise click.UsageError(f"{path}: {error.strerror}; name a file of certificates") from None
    except ValueError as error:
        raise click.UsageError(f"{path}: not TOML: {error}") from None
    return {role: table for role, table in tables.items() if isinstance(table, dict)}


# --- what is in force ------------------------------------------------------------------------------------------------


@command.command("status", epilog="\b\nExamples:\n  lanepulse calibrate status\n  lanepulse calibrate status --json")
@common
def status(settings: Settings) -> int:
    """What is valid until when, of every configured device. Exit 1 where something has expired."""
    config = settings.load()
    store = store_of(settings.places(config))
    now_ns = time.time_ns()
    active = store.active()
    calibrations = Calibrations(active)
    rows = [
        _status_row(name, device, active.get(name), calibrations, now_ns) for name, device in config.devices.items()
    ]
    if settings.json:
        say_json({"devices": rows})
    else:
        header = ("device", "record", "procedure", "performed", "valid_until", "state")
        say_table([word.upper().replace("_", " ") for word in header], [[row[word] for word in header] for row in rows])
    return NO if any(row["expired"] for row in rows) else DONE


def _status_row(
    name: str, device: Device, kept: Kept | None, calibrations: Calibrations, now_ns: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"device": name, "modality": str(device.driver.MODALITY)}
    if kept is None:
        return {
            **row, "record": None, "record_id": None, "procedure": None, "performed": None, "valid_until": None,
            "state": "never calibrated", "expired": False, "settings": {},
        }  # fmt: skip
    warning = calibrations.warning(name, now_ns)
    record = kept.record
    return {
        **row,
        "record": record.number,
        "record_id": kept.id,
        "procedure": record.procedure,
        "performed": record.performed_utc[:10],
        "valid_until": min(setting.valid_until_utc for setting in record.settings.values())[:10],
        "state": warning or "valid",
        "expired": warning is not None,
        "settings": {name: one.valid_until_utc for name, one in sorted(record.settings.items())},
    }


@command.command(
    "show", epilog="\b\nExamples:\n  lanepulse calibrate show 3\n  lanepulse calibrate show 41c09f31 --json"
)
@click.argument("record")
@common
def show(settings: Settings, record: str) -> int:
    """One record: its number, or the beginning of its id."""
    kept = _found(settings, record)
    if settings.json:
        say_json({"id": kept.id, "record": json.loads(kept.content)})
        return DONE
    one = kept.record
    say(f"record {one.number} {kept.id}")
    say(f"{one.device.name}: {one.device.vendor} {one.device.model} {one.device.serial}".rstrip())
    say(f"{one.procedure} version {one.procedure_version}, {one.performed_utc}, by {one.operator}: {one.verdict}")
    say(f"valid until {one.valid_until_utc}")
    for given in one.references:
        half = f"{given.value:g} ± {given.expanded_uncertainty:g} {given.unit} (k = {given.coverage_factor:g})"
        say(f"reference {given.name}: {half}, certificate {given.certificate or '-'}, serial {given.serial or '-'}")
    for result in one.results:
        say(f"{result['name']}: {result['value']:.6g} ± {result['expanded_uncertainty']:.2g} {result['unit']} "
            f"(k = {result['coverage_factor']:.2f}, 95 %)")  # fmt: skip
    for check in one.checks:
        say(f"{'ok  ' if check.passed else 'FAIL'} {check.text()}")
    for name, setting in one.settings.items():
        say(f"setting {name}: until {setting.valid_until_utc[:10]}, of record {(setting.record_id or kept.id)[:12]}")
    if one.raw_sha256:
        say(f"raw data: {store_of(settings.places()).raw_path(one.raw_sha256)}")
    return DONE


@command.command("compare", epilog="\b\nExamples:\n  lanepulse calibrate compare 3 5")
@click.argument("first")
@click.argument("second")
@common
def compare(settings: Settings, first: str, second: str) -> int:
    """Results of two records side by side; En above 1 is a change that their uncertainties do not explain."""
    one, other = _found(settings, first), _found(settings, second)
    there = {result["name"]: result for result in other.record.results}
    rows = []
    for result in one.record.results:
        if (later := there.get(result["name"])) is None:
            continue
        change = later["value"] - result["value"]
        both = (result["expanded_uncertainty"] ** 2 + later["expanded_uncertainty"] ** 2) ** 0.5
        rows.append(
            {"name": result["name"], "unit": result["unit"], "first": result["value"], "second": later["value"],
             "change": change, "en": abs(change) / both if both else None}
        )  # fmt: skip
    if settings.json:
        say_json({"first": one.id, "second": other.id, "results": rows})
        return DONE
    if not rows:
        tell(f"records {one.record.number} and {other.record.number} have no result in common")
        return NO
    table = [
        (row["name"], row["unit"], f"{row['first']:.6g}", f"{row['second']:.6g}", f"{row['change']:+.3g}",
         "-" if row["en"] is None else f"{row['en']:.2f}")
        for row in rows
    ]  # fmt: skip
    say_table(("RESULT", "UNIT", f"RECORD {one.record.number}", f"RECORD {other.record.number}", "CHANGE", "EN"), table)
    return DONE


@command.command(
    "drift",
    epilog="\b\nExamples:\n  lanepulse calibrate drift co2-rear\n  lanepulse calibrate drift --html drift.html\n"
    "  lanepulse calibrate drift --json",
)
@click.argument("devices", nargs=-1)
@click.option("--html", "page", type=click.Path(path_type=Path), help="A page of control charts, written there.")
@common
def drift(settings: Settings, devices: tuple[str, ...], page: Path | None) -> int:
    """Results over records and challenges, with control limits (EWMA). Exit 1 where one has left its limits."""
    charts: dict[str, dict[str, list[Charted]]] = {}
    entries = store_of(settings.places()).entries()
    for name in devices or sorted({kept.record.device.name for kept in entries}):
        charts[name] = {result: chart(points) for result, points in history(entries, name).items()}
    out = any(line and not line[-1].inside for found in charts.values() for line in found.values())
    if page is not None and not _drift_page(page, charts):
        return WRONG_USE
    if settings.json:
        say_json({"devices": {name: _drift_json(found) for name, found in charts.items()}, "inside": not out})
        return NO if out else DONE
    rows = []
    for name, found in charts.items():
        for result, line in found.items():
            if not line:
                rows.append((name, result, "-", "fewer than 3 points", ""))
                continue
            last = line[-1]
            state = "inside" if last.inside else "OUT OF LIMITS: calibrate it"
            rows.append((name, result, str(len(line)), f"{last.mean:.5g} in {last.low:.5g} to {last.high:.5g}", state))
    say_table(("DEVICE", "RESULT", "POINTS", "MEAN AND LIMITS", "STATE"), rows)
    for name, found in charts.items():
        for result, line in found.items():
            if line:
                say(f"{name} {result}: {spark([one.point.value for one in line])}")
    return NO if out else DONE


def _drift_page(page: Path, charts: dict[str, dict[str, list[Charted]]]) -> bool:
    from edge.calibrate import reporting

    try:
        page.write_text(reporting.drift_page(charts))
    except (OSError, reporting.NotInstalled) as error:
        tell(f"{page}: {error}")
        return False
    return True


def spark(values: Sequence[float]) -> str:
    """A plot of one line."""
    low, high = min(values), max(values)
    marks = "▁▂▃▄▅▆▇█"
    return "".join(marks[round((value - low) / (high - low) * 7) if high > low else 3] for value in values[-60:])


def _drift_json(found: dict[str, list[Charted]]) -> dict[str, Any]:
    return {
        result: [
            {"utc": one.point.utc, "record": one.point.record, "value": one.point.value, "mean": one.mean,
             "low": one.low, "high": one.high, "inside": one.inside}
            for one in line
        ]
        for result, line in found.items()
    }  # fmt: skip


@command.command(
    "report",
    epilog="\b\nExamples:\n  lanepulse calibrate report 3\n  lanepulse calibrate report 41c09f31 --out for-court --pdf",
)
@click.argument("record")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder for it; the raw data come too.")
@click.option("--pdf", is_flag=True, help="A PDF beside the page.")
@common
def report(settings: Settings, record: str, out: Path, pdf: bool) -> int:
    """A record as one page that stands alone: results, budget, plots, proof. Exit 1 where its proof does not hold."""
    from edge.calibrate import reporting

    kept, places = _found(settings, record), settings.places()
    try:
        made = reporting.write(store_of(places), kept, keys.load_signing(places.signing).public_key(), out, pdf=pdf)
    except OSError as error:
        tell(f"{out}: {error.strerror or error}; give another folder with --out")
        return WRONG_USE
    except reporting.NotInstalled as fault:
        tell(str(fault))
        return WRONG_USE
    if settings.json:
        say_json({"record": kept.record.number, "record_id": kept.id, "files": [str(path) for path in made.files],
                  "holds": made.holds})  # fmt: skip
    else:
        for path in made.files:
            say(str(path))
    return DONE if made.holds else NO


@command.command("rollback", epilog="\b\nExamples:\n  lanepulse calibrate rollback 3 --yes")
@click.argument("record")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@common
def rollback(settings: Settings, record: str, yes: bool, dry_run: bool) -> int:
    """Put the settings of an earlier RECORD of a device in force again. The chain keeps both."""
    places = settings.places()
    store, kept = store_of(places), _found(settings, record)
    one = kept.record
    now = store.active().get(one.device.name)
    if not one.settings or one.kind != "record" or not one.activates:
        tell(f"record {one.number}: it put nothing in force; choose one that did (lanepulse calibrate status)")
        return WRONG_USE
    before = "nothing" if now is None else f"record {now.record.number} ({now.short})"
    tell(f"{one.device.name}: in force: {before}; then: record {one.number} ({kept.short}) of {one.performed_utc[:10]}")
    if dry_run:
        return DONE
    if not yes:
        click.confirm("Put it in force?", abort=True, err=True)
    draft = {
        "kind": "activation",
        "device": one.device.model_dump(),
        "procedure": "rollback",
        "procedure_version": 1,
        "performed_utc": utc_text(time.time_ns()),
        "valid_until_utc": one.valid_until_utc,
        "operator": f"uid {os.getuid()} {_account()}",
        "verdict": "pass",
        "activates": True,
        "restores": kept.id,
    }
    made = store.append(draft, None, keys.load_signing(places.signing))
    journalled = tell_journal(places)
    answer = {"number": made.record.number, "record_id": made.id, "restores": kept.id, "journalled": journalled}
    if settings.json:
        say_json(answer)
    else:
        say(f"{one.device.name}: record {one.number} is in force again (entry {made.record.number})")
    return DONE


def _found(settings: Settings, words: str) -> Kept:
    try:
        return store_of(settings.places()).find(words)
    except RecordFault as fault:
        raise click.UsageError(str(fault)) from None
