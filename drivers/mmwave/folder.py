"""Passive millimetre-wave imager whose own software drops TIFF files into a folder: kelvin float32, or counts uint16.

The maker's software writes to another name and renames, or writes in place: a file is taken only when its size and
time have rested for a whole look and it parses. The folder is looked through again and again, because notifications
are lost on network mounts. Compressed files are refused: the size of what they unpack to cannot be known before.
"""

from __future__ import annotations

import asyncio
import io
import os
import stat
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import ConfigDict, Field

from drivers.driver import DriverFault, Expected, Identity, Surroundings
from drivers.mmwave.radiometry import Scale, Watch, kelvin, plausible
from drivers.reading import Modality, RadiometricFrame, Stamp

MODALITY = Modality.MMWAVE
SUFFIXES = (".tif", ".tiff")
MOST_FILES = 20_000  # assumed: a day at one frame in four seconds; more is a folder that nobody clears
MOST_PAGES = 64  # as in a passage's own mmwave.tiff
ROOM_FOR_TAGS = 1 << 20  # beside the pixels of a file
AHEAD_S = 2.0  # assumed: what two clocks of one site may differ
HIGHEST_COUNTS = 0xFFFF
NOTE = "mmwave.folder.newest"  # resume note: time of the newest file taken, ns UTC


class Config(Scale):
    """The ``[devices.<name>]`` table of a watched folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    driver: Literal["mmwave.folder"]
    path: Path = Field(description="Folder that the imager's software writes to; only read by us")
    look_s: float = Field(0.25, ge=0.02, le=60, description="Time between two looks; a file must rest for one")
    period_s: float = Field(1.0, gt=0, le=600, description="Time from file to file")
    silence_s: float = Field(10.0, gt=0, le=3600)
    give_up_s: float = Field(5.0, gt=0, le=600, description="A file that rests and does not parse is refused then")
    oldest_s: float = Field(30.0, gt=0, le=3600, description="Older files are of a vehicle that has gone")


@dataclass(frozen=True, slots=True)
class Sight:
    """A file as one look saw it: any writing changes it, and so does a new file of the same name."""

    inode: int
    size: int
    modified_ns: int


def expected(config: Config) -> tuple[Expected, ...]:
    """One stream of files."""
    return (Expected("frames", config.period_s, config.silence_s),)


async def probe(name: str, config: Config, around: Surroundings) -> Identity:
    """Whether the folder is there and may be read. Raises OSError."""
    await asyncio.to_thread(look, config.path)
    return Identity(model="folder of TIFF")


def look(folder: Path) -> dict[str, Sight]:
    """What lies in the folder, by name; links and other things than files are not looked at.

    Raises:
        DriverFault: too many files.
        OSError: the folder cannot be read.
    """
    seen: dict[str, Sight] = {}
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
                continue
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # gone, or renamed, since the folder was read
            if stat.S_ISREG(status.st_mode):
                seen[entry.name] = Sight(status.st_ino, status.st_size, status.st_mtime_ns)
            if len(seen) > MOST_FILES:
                raise DriverFault(f"{folder}: over {MOST_FILES} files; have the imager's software clear it")
    return seen


def content(path: Path, sight: Sight, most_bytes: int) -> bytes | None:
    """The file's bytes, or None where it is no longer the file that was seen.

    Raises:
        DriverFault: it is empty, or larger than such an image can be.
        OSError: it cannot be read.
    """
    if not 0 < sight.size <= most_bytes:
        raise DriverFault(f"{path.name}: {sight.size} bytes, an image has at least 1 and at most {most_bytes}")
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        text = file.read(sight.size + 1)
        status = os.fstat(file.fileno())
    after = Sight(status.st_ino, status.st_size, status.st_mtime_ns)
    return text if after == sight and len(text) == sight.size else None


def decode(text: bytes, scale: Scale) -> list[NDArray[Any]]:
    """The pages of a TIFF, each (rows, columns), uint16 counts or float32 kelvin.

    Raises:
        DriverFault: it is no TIFF, is cut short, compressed, or of another size; the message says which.
    """
    try:
        with tifffile.TiffFile(io.BytesIO(text)) as tiff:
            return [_page(page, scale, len(text)) for page in _pages(tiff)]
    except DriverFault:
        raise
    except Exception as error:  # tifffile has no one base for what damaged files do to it
        raise DriverFault(f"not a whole TIFF: {type(error).__name__}: {str(error)[:120]}", text[:256]) from error


def _pages(tiff: tifffile.TiffFile) -> Iterator[tifffile.TiffPage]:
    for number, page in enumerate(tiff.pages):
        if number == MOST_PAGES:
            raise DriverFault(f"over {MOST_PAGES} pages in one TIFF")
        if not isinstance(page, tifffile.TiffPage):
            raise DriverFault(f"page {number} is no whole page")
        yield page


def _page(page: tifffile.TiffPage, scale: Scale, size: int) -> NDArray[Any]:
    """One page; everything that decides how much memory it takes is judged before it is decoded."""
    wanted = (scale.rows, scale.columns)
    if page.shape != wanted:
        raise DriverFault(f"page of {_shown(page.shape)} pixels where rows, columns are {_shown(wanted)}")
    if page.dtype not in (np.dtype(np.uint16), np.dtype(np.float32)):
        raise DriverFault(f"pixels are {page.dtype}; float32 kelvin or uint16 counts are read")
    if page.is_tiled:
        raise DriverFault("the TIFF is tiled; have the imager's software write strips")
    if page.compression != 1:
        raise DriverFault(
            f"the TIFF is compressed (tag 259, Compression, is {int(page.compression)}); have it written uncompressed"
        )
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if any(offset <= 0 or count < 0 or offset + count > size for offset, count in parts):
        raise DriverFault("pixels lie outside the file; it is cut short")
    if sum(count for _, count in parts) < page.nbytes:
        raise DriverFault(f"{sum(count for _, count in parts)} bytes of pixels where {page.nbytes} are due")
    return np.ascontiguousarray(page.asarray(), page.dtype)  # in this machine's byte order


def _shown(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape[:4]))


@dataclass(frozen=True, slots=True)
class _Found:
    """A file that was taken; ``skew_s`` is how far its time lies from ours, 0 where it may be true."""

    sight: Sight
    pages: list[NDArray[Any]]
    skew_s: float


class _Folder:
    """What was seen at the last look, and what is done with. Looks run in a thread: nothing here calls the lane."""

    def __init__(self, config: Config, newest_taken_ns: int) -> None:
        """``newest_taken_ns``: what was there before us and is not newer was taken by a run before this one."""
        self._config, self._newest_taken_ns = config, newest_taken_ns
        self._before: dict[str, Sight] | None = None
        self._done: dict[str, Sight] = {}
        self._resting_since_ns: dict[str, int] = {}
        self._most_bytes = config.rows * config.columns * 4 * MOST_PAGES + ROOM_FOR_TAGS
        self.refused: list[tuple[str, bytes]] = []
        self.trouble = ""

    def look(self, now_utc_ns: int, monotonic_ns: int) -> list[_Found]:
        """Files that became ready since the last look, oldest first. Raises DriverFault, OSError."""
        now = look(self._config.path)
        if self._before is None:
            self._leave_alone(now, now_utc_ns)
            self._before = {}
        rested = [name for name, sight in now.items() if self._before.get(name) == sight != self._done.get(name)]
        self._before = now
        self._done = {name: sight for name, sight in self._done.items() if name in now}
        self._resting_since_ns = {name: since for name, since in self._resting_since_ns.items() if name in rested}
        found, taken_bytes = [], 0
        for file in sorted(rested, key=lambda name: (now[name].modified_ns, name)):
            if pages := self._take(file, now[file], monotonic_ns):
                found.append(_Found(now[file], pages, self._skew_s(now[file], now_utc_ns)))
                taken_bytes += now[file].size
            if taken_bytes >= self._most_bytes:
                break  # the rest at the next look: memory is bounded by what one file may hold
        return found

    def _leave_alone(self, now: dict[str, Sight], now_utc_ns: int) -> None:
        """Files that lay here before us are of another vehicle, but for the newest."""
        oldest_ns = max(self._newest_taken_ns + 1, now_utc_ns - round(self._config.oldest_s * 1e9))
        self._done = {name: sight for name, sight in now.items() if sight.modified_ns < oldest_ns}
        if self._done:
            self.trouble = f"; {len(self._done)} files lay there before and are left alone"

    def _skew_s(self, sight: Sight, now_utc_ns: int) -> float:
        late_s = (now_utc_ns - sight.modified_ns) / 1e9
        return 0.0 if -AHEAD_S <= late_s <= self._config.oldest_s else -late_s

    def _take(self, file: str, sight: Sight, monotonic_ns: int) -> list[NDArray[Any]]:
        """Pages of a file that rests; none while it may still be written to, and none where it is refused."""
        text: bytes | None = b""
        try:
            text = content(self._config.path / file, sight, self._most_bytes)
            pages = [] if text is None else decode(text, self._config)
        except DriverFault as fault:
            return self._refuse_later(file, sight, str(fault), (text or b"")[:256], monotonic_ns)
        except OSError as error:
            return self._refuse_later(file, sight, f"cannot be read: {error.strerror}", b"", monotonic_ns)
        if pages:
            self._done[file] = sight
        return pages

    def _refuse_later(self, file: str, sight: Sight, cause: str, head: bytes, monotonic_ns: int) -> list[NDArray[Any]]:
        """A file may be half-written though it rests: it has ``give_up_s`` to become whole."""
        self.trouble = f"; last refused: {file[:80]!r}: {cause}"
        since_ns = self._resting_since_ns.setdefault(file, monotonic_ns)
        if monotonic_ns - since_ns >= self._config.give_up_s * 1e9:
            self._done[file] = sight
            self.refused.append((f"{file[:80]!r}: {cause}", head))
        return []


@dataclass(slots=True)
class _Session:
    """Frames from what was found."""

    name: str
    config: Config
    around: Surroundings
    watch: Watch
    number: int = 0

    def frames(self, found: _Found) -> Iterator[RadiometricFrame]:
        """A frame for each page, with the file's own time where it can be true."""
        now_ns = self.around.now_utc_ns()
        skewed = "ok"
        if found.skew_s:
            way = "future" if found.skew_s > 0 else "past"
            skewed = f"clock skew: the file lies {abs(found.skew_s):.0f} s in the {way}; set the imager's clock"
        began_ns = now_ns if found.skew_s else min(now_ns, found.sight.modified_ns)
        for values in found.pages:
            self.number += 1
            is_counts = values.dtype == np.uint16
            in_kelvin = kelvin(values, self.config, HIGHEST_COUNTS) if is_counts else plausible(values)
            frame_k, status = self.watch.judge(values, in_kelvin)
            stamp = Stamp(began_ns, now_ns, self.around.monotonic_ns(), self.around.clock())
            status = skewed if status == "ok" else status
            yield RadiometricFrame(self.name, stamp, frame_k, self.number, self.config.side, status)


async def readings(name: str, config: Config, around: Surroundings) -> AsyncIterator[RadiometricFrame]:
    """A frame for each page of each file that comes, oldest first; what cannot be read goes to ``around.reject``.

    Raises:
        DriverFault: the folder holds too many files.
        TimeoutError: no whole file for ``silence_s``.
        OSError: the folder cannot be read.
    """
    session, loop = _Session(name, config, around, Watch(config)), asyncio.get_running_loop()
    note = around.recall(NOTE) or ""
    folder = _Folder(config, int(note) if note.isascii() and note.isdigit() else 0)
    heard_s = loop.time()
    while True:
        found_now = await asyncio.to_thread(folder.look, around.now_utc_ns(), around.monotonic_ns())
        for cause, head in folder.refused:
            around.reject(f"{name}: {cause}", head)
        folder.refused.clear()
        for found in found_now:
            for frame in session.frames(found):
                yield frame
            around.remember(NOTE, str(found.sight.modified_ns))
            heard_s = loop.time()
        if loop.time() - heard_s > config.silence_s:
            came = f"no whole TIFF came into {config.path} in {config.silence_s:g} s"
            raise TimeoutError(f"{name}: {came}{folder.trouble}")
        await asyncio.sleep(config.look_s)
