"""``lanepulse check``: everything that can be judged without touching the lane, each with its mend."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from calibration.stationxml import StationXmlFault, read_stationxml
from edge import active_model, clock, keys
from edge.cli.main import DONE, NO, WRONG_USE
from edge.cli.options import Settings, common
from edge.cli.output import say, say_json, say_table
from edge.config import ConfigErrors, LaneConfig
from edge.control import ControlFault, Unreachable, ask
from edge.places import Places
from edge.port_holder import holder, is_free
from fusion.classifier import ModelRefused

LEAST_FREE_BYTES = 2 * 1024**3  # assumed: a day of bundles of a busy lane


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``state``: ok, warning (it measures or runs less well), failed (it will not run)."""

    subject: str
    state: str
    detail: str


@click.command(
    "check",
    epilog="\b\nExamples:\n  lanepulse check --config lane.toml\n  lanepulse check --effective --root lane/",
)
@click.option("--effective", is_flag=True, help="Print the configuration in force, defaults included, and stop.")
@common
def command(settings: Settings, effective: bool) -> int:
    """Judge configuration, keys, model, disk and clock. Exit 1 if the lane would not run as it should."""
    try:
        config = settings.load()
    except ConfigErrors as errors:
        if not settings.json:
            raise
        say_json({"ok": False, "file": errors.path, "errors": [asdict(problem) for problem in errors.problems]})
        return WRONG_USE
    if effective:
        say_json(config.effective()) if settings.json else _say_toml(config.effective())
        return DONE
    findings = list(_findings(config, settings.places(config)))
    ok = all(finding.state != "failed" for finding in findings)
    if settings.json:
        say_json({"ok": ok, "file": str(config.path), "findings": [asdict(finding) for finding in findings]})
    else:
        say_table(("SUBJECT", "STATE", "DETAIL"), [tuple(asdict(finding).values()) for finding in findings])
    return DONE if ok else NO


def _findings(config: LaneConfig, places: Places) -> Iterator[Finding]:
    lane = f"{config.lane.site}/{config.lane.name}"
    yield Finding("configuration", "ok", f"{config.path}: {lane}, {len(config.devices)} devices")
    if not config.devices:
        yield Finding("devices", "warning", "none: every verdict will be recheck; add [devices.<name>] tables")
    for device in config.devices.values():
        port = getattr(device.config, "port", None)
        if isinstance(port, str) and not Path(port).exists():
            yield Finding(f"device {device.name}", "warning", f"{port}: not there; plug its adapter in")
        if device.response is not None:
            yield from _response(device.name, device.response)
    yield from _keys(places, drawn=bool(config.policy.audit.strata))
    yield _model(config, places)
    yield from _ports(config, places)
    yield _disk(places.state)
    yield _clock()


def _response(device: str, path: Path) -> Iterator[Finding]:
    """A channel without a response measures nothing: its counts cannot become m/s."""
    try:
        channels = read_stationxml(path.read_bytes())
    except (OSError, StationXmlFault) as error:
        yield Finding(f"response {device}", "failed", f"{path}: {error}")
        return
    faults = [found for found in channels.values() if isinstance(found, str)]
    for fault in faults:
        yield Finding(f"response {device}", "warning", f"{path}: {fault}")
    if not faults:
        yield Finding(f"response {device}", "ok", f"{path}: {len(channels)} channels")


def _keys(places: Places, *, drawn: bool) -> Iterator[Finding]:
    for name, path, read in (
        ("curve", places.curve, keys.load_curve),
        ("signing", places.signing, keys.load_signing),
        ("audit", places.audit, keys.load_secret),
    ):
        if name == "audit" and not drawn:
            continue
        if not os.path.lexists(path):
            yield Finding(f"key {name}", "failed", f"{path}: not there yet; make it with: lanepulse keys new")
            continue
        try:
            read(path)
        except keys.KeyFault as error:
            yield Finding(f"key {name}", "failed", str(error))
        else:
            yield Finding(f"key {name}", "ok", str(path))
    for fault in keys.faults(places.allowed):
        yield Finding("allow-list", "warning", fault)


def _model(config: LaneConfig, places: Places) -> Finding:
    try:
        model = active_model.load(config.model, places)
    except ModelRefused as error:
        return Finding("model", "failed", str(error))
    untaught = [look for look in config.policy.looks_s if look not in model.looks_s]
    if untaught:
        taught = ", ".join(f"{look:g}" for look in model.looks_s)
        return Finding("model", "warning", f"{model.name} has no bounds for looks at {untaught} s, only at {taught} s")
    return Finding("model", "ok", model.name)


def _ports(config: LaneConfig, places: Places) -> Iterator[Finding]:
    """Whether the lane could announce; a lane that runs holds its own ports, and rightly."""
    try:
        ask(places.control_socket, {"do": "status"})
        running = True
    except ControlFault as fault:
        running = not isinstance(fault, Unreachable)
    for name in ("bind", "replay"):
        host, _, digits = getattr(config.publish, name).removeprefix("tcp://").rpartition(":")
        port, host = int(digits), "0.0.0.0" if host == "*" else host.strip("[]")
        free = port == 0 or is_free(host, port)
        if running and free and port != 0:
            yield Finding(f"port {name}", "warning", f"{port}: nobody listens there, though the lane runs; see its log")
        elif running or free:
            yield Finding(f"port {name}", "ok", f"{port}{', held by this lane' if running else ''}")
        else:
            detail = (
                f"{port} is taken by {holder(port) or 'another program'}; stop it, or choose another publish.{name}"
            )
            yield Finding(f"port {name}", "failed", detail)


def _disk(folder: Path) -> Finding:
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        return Finding("disk", "warning", f"{there}: not writable by you; the lane's user must be able to write it")
    if free < LEAST_FREE_BYTES:
        return Finding(
            "disk", "warning", f"{there}: {free / 1e9:.1f} GB free; make room for {LEAST_FREE_BYTES / 1e9:.0f}"
        )
    return Finding("disk", "ok", f"{there}: {LEAST_FREE_BYTES / 1e9:.0f} GB or more free")


def _clock() -> Finding:
    tracking = asyncio.run(clock.ask_chrony())
    quality = clock.quality(clock.kernel_quality(), tracking, time.time())
    if not quality.synchronised:
        return Finding("clock", "warning", "not synchronised: verdicts will say so; start chrony")
    return Finding("clock", "ok", "synchronised")


def _say_toml(tables: Mapping[str, Any], header: str = "") -> None:
    """As the file would say it; what is not set stands there as a comment."""
    inner = {key: value for key, value in tables.items() if isinstance(value, dict)}
    plain = {key: value for key, value in tables.items() if key not in inner}
    if header and (plain or not inner):
        say("")
        say(f"[{header}]")
    for key, value in plain.items():
        say(f"# {key} is not set" if value is None else f"{key} = {json.dumps(value, ensure_ascii=False)}")
    for key, value in inner.items():
        _say_toml(value, f"{header}.{key}" if header else key)
