"""What support needs to know of a lane, and nothing that it must not: no key, no plate, no raw payload.

Made of parts that fail alone: a lane that is down or a journal that is damaged is what the dump is for. Texts that came
from devices or people are left out or have what they quote masked; before it is given away the whole is searched for
every secret that lies on this disk.
"""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from edge import clock, keys
from edge.config import ConfigErrors, LaneConfig
from edge.control import ControlFault, ask
from edge.journal.verify import verify
from edge.places import Places
from fusion.bundle.times import format_utc

SCHEMA = "lanepulse.diagnostics/1"
REDACTED = "(redacted)"
LONGEST_TEXT = 400  # of any one text from the lane
MOST_FILES = 100_000  # of a folder that is counted
_SECRET_NAME = re.compile(r"key|secret|passw|token|credential|plate|pin$", re.IGNORECASE)
_PEM = re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|$)", re.DOTALL)
_IN_ADDRESS = re.compile(r"(?<=://)[^/@\s]+@")  # user:password@ of a URL
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|b'[^']*'")
_Z85 = re.compile(r"(?<![0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-])[0-9A-Za-z.:+=^!/*?&<>()\[\]{}@%$#-]{40}(?![^\s\"',;])")
_HEX64 = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class Leak(Exception):
    """A secret of this lane stands in the dump: our defect, and nothing is given away."""


def gather(load: Callable[[], LaneConfig], places: Places) -> dict[str, Any]:
    """The whole document, as JSON types. Raises Leak."""
    config: LaneConfig | None = None
    try:
        config = load()
        configuration: dict[str, Any] = {"ok": True, "sha256": config.sha256, "effective": config.effective()}
    except ConfigErrors as errors:
        configuration = {
            "ok": False,
            "problems": [asdict(problem) | {"found": REDACTED} for problem in errors.problems],
        }
    document = {
        "schema": SCHEMA,
        "made_utc": format_utc(time.time_ns()),
        "versions": _part(_versions),
        "machine": _part(_machine),
        "configuration": redact(configuration),
        "status": _part(lambda: _said(ask(places.control_socket, {"do": "status"}))),
        "process": _part(lambda: _said(ask(places.control_socket, {"do": "diagnostics"}))),
        "journal": _part(lambda: _journal(places)),
        "clock": _part(_clock),
        "disk": _part(lambda: _disk(places)),
        "files": _part(lambda: _files(places)),
        "keys": _part(lambda: _keys(places)),
        "responses": _part(lambda: _responses(config)),
    }
    _search(str(document), places)
    return document


def of_process() -> dict[str, Any]:
    """The daemon's own numbers; a leak of descriptors or tasks shows here first."""
    return {
        "process_id": os.getpid(),
        "descriptors": len(list(Path("/proc/self/fd").iterdir())) - 1,  # one of them is this listing
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "resident_bytes": _resident_bytes(),
    }


def redact(value: Any, name: str = "") -> Any:
    """A JSON value without secrets: by the names of fields, and by the forms of texts."""
    if _SECRET_NAME.search(name) and value is not None and not isinstance(value, bool | Mapping):
        return REDACTED
    if isinstance(value, Mapping):
        return {str(key): redact(inner, str(key)) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [redact(inner, name) for inner in value]
    return _masked(value) if isinstance(value, str) else value


def _masked(text: str) -> str:
    text = _IN_ADDRESS.sub(f"{REDACTED}@", _PEM.sub(REDACTED, text))
    return text if _HEX64.fullmatch(text) else _Z85.sub(REDACTED, text)


def _said(value: Any) -> Any:
    """What the lane says of itself: as `redact`, and what its causes quote of a device's bytes is masked too."""
    if isinstance(value, Mapping):
        return {_unquoted(str(key)): _said(inner) for key, inner in redact(value).items()}
    if isinstance(value, list):
        return [_said(inner) for inner in value]
    return _unquoted(value) if isinstance(value, str) else value


def _unquoted(text: str) -> str:
    return _masked(_QUOTED.sub("'...'", text))[:LONGEST_TEXT]


def _part(make: Callable[[], Any]) -> Any:
    """What ``make`` gives, or why it gave nothing: one part that fails is no reason to lose the others."""
    try:
        return make()
    except (ControlFault, OSError, sqlite3.Error, keys.KeyFault, ValueError) as error:
        return {"unavailable": _unquoted(f"{type(error).__name__}: {error}")}


def _versions() -> dict[str, Any]:
    wanted = [
        re.split(r"[\s;<>=!\[(]", line)[0] for line in metadata.requires("lanepulse") or () if "extra ==" not in line
    ]
    found = {}
    for name in ("lanepulse", *sorted(set(wanted))):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return {"python": sys.version.split()[0], "packages": found}


def _machine() -> dict[str, Any]:
    memory = {line.split(":")[0]: line.split()[1] for line in Path("/proc/meminfo").read_text().splitlines()}
    return {
        "kernel": platform.release(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": [round(value, 2) for value in os.getloadavg()],
        "memory_kib": int(memory["MemTotal"]),
        "memory_available_kib": int(memory["MemAvailable"]),
        "up_s": float(Path("/proc/uptime").read_text().split()[0]),
    }


def _journal(places: Places) -> dict[str, Any]:
    """Whether it is whole, and how many rows of each kind there are; no row's body."""
    beside = places.signing.with_suffix(".pub")
    found = verify(places.journal, keys.load_signing_public(beside) if beside.exists() else None)
    kinds: dict[str, int] = {}
    with closing(sqlite3.connect(f"{places.journal.resolve().as_uri()}?mode=ro", uri=True)) as db:
        kinds = dict(db.execute("SELECT kind, count(*) FROM rows GROUP BY kind ORDER BY kind").fetchall())
    size = sum(path.stat().st_size for path in places.journal.parent.glob("journal.db*"))
    return {"ok": found.ok} | asdict(found) | {"cause": _unquoted(found.cause), "kinds": kinds, "bytes": size}


def _clock() -> dict[str, Any]:
    tracking = asyncio.run(clock.ask_chrony())
    kernel = clock.kernel_quality()
    quality = clock.quality(kernel, tracking, time.time())
    return {
        "synchronised": quality.synchronised,
        "max_error_ns": quality.max_error_ns,
        "kernel_synchronised": kernel.synchronised,
        "chrony": None if tracking is None else asdict(tracking),
    }


def _disk(places: Places) -> dict[str, Any]:
    there = next(path for path in (places.state, *places.state.absolute().parents) if path.exists())
    usage, inodes = shutil.disk_usage(there), os.statvfs(there)
    return {
        "total_bytes": usage.total,
        "free_bytes": usage.free,
        "files_free": inodes.f_favail,
        "writable": os.access(there, os.W_OK),
    }


def _files(places: Places) -> dict[str, Any]:
    """How much lies in each folder; names are left out, as they may say whose passage it was."""
    found = {}
    for name in ("bundles", "quarantine", "models"):
        files: list[os.stat_result] = []
        for path in getattr(places, name).rglob("*"):
            if path.is_file() and len(files) < MOST_FILES:
                files.append(path.stat())
        newest = max((file.st_mtime_ns for file in files), default=None)
        found[name] = {
            "files": len(files),
            "bytes": sum(file.st_size for file in files),
            "newest_utc": None if newest is None else format_utc(newest // 10**9 * 10**9),
        }
    found["bundles"]["unfinished"] = len(list(places.bundles.glob("*.partial")))
    return found


def _keys(places: Places) -> dict[str, Any]:
    """Which key files there are and who may read them; nothing of what they hold."""
    found: dict[str, Any] = {}
    for name in ("curve", "signing", "viewer"):
        path: Path = getattr(places, name)
        found[name] = f"mode {path.stat().st_mode & 0o777:04o}" if path.exists() else "not there"
    found["allowed"] = len(list(places.allowed.glob("*"))) if places.allowed.is_dir() else 0
    return found


def _responses(config: LaneConfig | None) -> dict[str, str]:
    devices = {} if config is None else config.devices
    return {
        name: "not there" if not device.response.is_file() else f"{device.response.stat().st_size} bytes"
        for name, device in devices.items()
        if device.response is not None
    }


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _search(text: str, places: Places) -> None:
    """Refuse a text that holds a secret of this lane."""
    for path in sorted(places.keys.glob("*.key")) if places.keys.is_dir() else ():
        try:
            lines = path.read_text("ascii", "replace").splitlines()
        except OSError:
            continue  # who may not read a key cannot give it away
        for line in lines:
            for secret in re.findall(r'secret-key = "(.{40})"', line) or [line.strip()]:
                if len(secret) >= 32 and not secret.startswith("-----") and "public-key" not in line and secret in text:
                    raise Leak(f"{path.name}: its content stands in the dump; nothing was written; report this defect")
