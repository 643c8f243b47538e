"""A folder into which a scanner's own software drops DICOS or DICOM files.

A file is taken when it has not changed for ``settle_s``; it is copied into our spool and fsynced, and only then removed
from the folder, where the site wants that. A file that changes afterwards is a new object, kept beside the first. Names
there mean nothing, and links are not followed. The folder is scanned, not watched: network mounts lose events.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field

from drivers.driver import DriverFault, Expected, Identity, Surroundings
from drivers.reading import Modality, Radiograph, Stamp
from drivers.wire.dicom import DicomFault, parse
from drivers.xray.judging import Judge, Rules
from drivers.xray.spool import Part, Spool, SpoolFull, Stored

MODALITY = Modality.XRAY
READ = "xray.read"  # resume note: name of the last object that became a reading
SUFFIXES = (".dcs", ".dcm", ".dic", ".dicom")
MAX_FILES = 10_000  # assumed: beyond, the folder is somebody's archive
CHUNK = 1 << 20


class Config(Rules):
    """The ``[devices.<name>]`` table of a drop folder."""

    driver: Literal["xray.folder"]
    folder: Path = Field(description="Where the scanner's software drops its files")
    spool: Path = Field(description="Folder of our own copies, this device's alone")
    spool_max_bytes: int = Field(20 * 2**30, ge=2**20)
    poll_s: float = Field(1.0, ge=0.01, le=60)
    settle_s: float = Field(2.0, ge=0, le=60, description="A file is whole when it has not changed for so long")
    remove: bool = Field(False, description="Remove a file from the folder when our copy is on disk")


@dataclass(frozen=True, slots=True)
class Seen:
    """What tells one state of a file from the next."""

    inode: int
    size: int
    changed_ns: int


def expected(config: Config) -> tuple[Expected, ...]:
    """Scans come when vehicles do: no rate, and only a very long silence is a fault."""
    return (Expected("objects", config.silence_s, config.silence_s),)


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Look into the folder once.

    Raises:
        DriverFault: it holds more files than a drop folder does.
        OSError: it is not there, or not readable.
    """
    await asyncio.to_thread(_files, name, config.folder)
    return Identity(model="drop folder")


def from_now(now_utc_ns: int) -> dict[str, str]:
    """Resume notes of a device that was lent: what came in the meantime was not a lorry's."""
    return {READ: f"{now_utc_ns:020d}"}


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[Radiograph]:
    """A reading for each file that is new in content; files that lie there at the start are new to a new spool.

    Raises:
        DriverFault: the spool is not usable, or the folder is no drop folder.
        OSError: the folder is not there.
    """
    last = around.recall(READ) or ""
    try:
        spool = Spool(config.spool, config.spool_max_bytes, around.now_utc_ns, last)
    except OSError as error:
        raise DriverFault(f"{name}: spool {config.spool}: {error.strerror or error}; give it its own folder") from error
    try:
        watch, judge = _Watch(name, config, spool, around), Judge(name, config)
        while True:
            for cause in await asyncio.to_thread(watch.look):
                around.reject(cause, b"")
            for stored in await asyncio.to_thread(spool.after, last):
                last = stored.path.name
                reading = await asyncio.to_thread(_read, judge, spool, stored, around)
                if reading is not None:
                    yield reading
                around.remember(READ, last)
            await asyncio.sleep(config.poll_s)
    finally:
        spool.close()


def _read(judge: Judge, spool: Spool, stored: Stored, around: Surroundings) -> Radiograph | None:
    arrived = Stamp(stored.arrived_utc_ns, stored.arrived_utc_ns, around.monotonic_ns(), around.clock())
    return judge.read(stored.path, arrived, spool.flags(stored))


def _files(name: str, folder: Path) -> dict[Path, Seen]:
    """Plain files that may be radiographs, as they are now."""
    found: dict[Path, Seen] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.lower().endswith(SUFFIXES) or entry.name.startswith("."):
                continue
            try:
                state = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # renamed or removed meanwhile
            if stat.S_ISREG(state.st_mode):
                found[Path(entry.path)] = Seen(state.st_ino, state.st_size, state.st_mtime_ns)
            if len(found) > MAX_FILES:
                raise DriverFault(f"{name}: {folder} holds over {MAX_FILES} files; a drop folder is emptied (remove)")
    return found


class _Watch:
    """Which files have settled, and which of them were taken already."""

    def __init__(self, name: str, config: Config, spool: Spool, around: Surroundings) -> None:
        self._name, self._config, self._spool, self._around = name, config, spool, around
        self._since_ns: dict[Path, tuple[Seen, int]] = {}
        self._taken: dict[Path, Seen] = {}
        self._said: dict[Path, str] = {}

    def look(self) -> list[str]:
        """Take what has settled; what could not be taken is said once, and tried again."""
        files, now_ns = _files(self._name, self._config.folder), self._around.monotonic_ns()
        self._taken = {path: seen for path, seen in self._taken.items() if files.get(path) == seen}
        self._since_ns = {
            path: before if (before := self._since_ns.get(path)) and before[0] == seen else (seen, now_ns)
            for path, seen in files.items()
        }
        causes: list[str] = []
        for path, seen in sorted(files.items(), key=lambda one: one[1].changed_ns):
            settled = now_ns - self._since_ns[path][1] >= self._config.settle_s * 1e9
            if not settled or path in self._taken:
                continue
            cause = self._take(path, seen) or ""
            if cause and self._said.get(path) != cause:
                causes.append(cause)
            self._said[path] = cause
        self._said = {path: cause for path, cause in self._said.items() if path in files}
        return causes

    def _take(self, path: Path, seen: Seen) -> str | None:
        """Copy one file into the spool; None, or why not."""
        part = Part(self._spool, self._config.max_object_bytes)
        try:
            if not _copied(path, seen, part):
                return None  # it changed under our hands: it settles again
            part.keep(_instance(part.path, self._config.max_object_bytes))
        except SpoolFull:
            return "not taken: above max_object_bytes, or the spool is full"
        except OSError as error:
            return f"not taken: {error.strerror or type(error).__name__}"
        finally:
            part.discard()
        self._taken[path] = seen
        if self._config.remove:
            path.unlink(missing_ok=True)
        return None


def _copied(path: Path, seen: Seen, part: Part) -> bool:
    """Whether the file was the same from the first byte to the last."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
        while chunk := source.read(CHUNK):
            part.write(chunk)
            if part.failure is not None:
                raise part.failure
        state = os.fstat(source.fileno())
    return Seen(state.st_ino, state.st_size, state.st_mtime_ns) == seen


def _instance(path: Path, max_bytes: int) -> str:
    """SOP Instance UID of a copy; empty where it cannot be read, and its reading will say why."""
    try:
        return parse(path.read_bytes(), max_bytes=max_bytes).text(0x00080018) or ""
    except DicomFault:
        return ""
