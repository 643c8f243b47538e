"""A bundle's files, from a folder or a zip, counted and measured before anything is decoded.

Refused: names that escape, links, a name twice or alike (evidence with two answers is no evidence), a folder where a
file should be, encryption, and anything beyond the limits. One folder around everything and the litter of desktop
systems are read as if they were not there, with a note.
"""

from __future__ import annotations

import hashlib
import os
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from fusion.bundle.fault import BundleRefused, FileFault

PASSAGE = "passage.json"
CALIBRATIONS = "calibrations"
LITTER = ("__macosx", ".ds_store", "thumbs.db", "desktop.ini")
MIB = 1024 * 1024
CHUNK_BYTES = 1024 * 1024
_PRIVATE_FLAGS = 0x1 | 0x40 | 0x2000  # APPNOTE 4.4.4: encrypted, strongly encrypted, masked headers


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, and counts; the defaults are those of FORMATS."""

    file_bytes: int = 64 * MIB
    image_bytes: int = 256 * MIB
    unpacked_bytes: int = 512 * MIB
    files: int = 64
    images: tuple[str, ...] = ("mmwave.tiff", "xray.dcs", *(f"xray-{number}.dcs" for number in range(2, 10)))

    def of(self, name: str) -> int:
        """The most bytes that this file may have."""
        return self.image_bytes if name in self.images else self.file_bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as the container lists it. ``read`` gives at most as many bytes as it is asked for."""

    name: str
    size: int
    read: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Files:
    """Files by name, small enough and of one answer."""

    entries: Mapping[str, Entry]
    limits: Limits
    notes: tuple[str, ...] = ()
    _digests: dict[str, str] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            FileFault: its size is not what the container says, its check sum is wrong, or it cannot be read.
        """
        entry = self.entries[name]
        try:
            content = entry.read(entry.size + 1)
        except (OSError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            raise FileFault(f"{name}: cannot be read: {_one_line(error)}") from None
        if len(content) != entry.size:
            raise FileFault(f"{name}: {len(content)} bytes where the container says {entry.size}")
        self._digests[name] = "sha256:" + hashlib.sha256(content).hexdigest()
        return content

    def digest(self, name: str) -> str:
        """``sha256:`` and the hexadecimal digest of the file. Raises FileFault as `read`."""
        if name not in self._digests:
            self.read(name)
        return self._digests[name]


def open_files(path: Path, limits: Limits) -> Files:
    """The files of a folder or of a zip.

    Raises:
        BundleRefused: see the module.
    """
    try:
        if path.is_dir():
            return _accepted(path.name, _folder(path, limits), limits)
        if not path.is_file():
            raise BundleRefused(f"{path.name}: no such folder or zip file")
        return _accepted(path.name, _zip(path, limits), limits)
    except OSError as error:
        raise BundleRefused(f"{path.name}: cannot be opened: {_one_line(error)}") from None


@dataclass(frozen=True, slots=True)
class _Listed:
    """Everything that the container names: files, and folders with a slash at the end."""

    files: tuple[Entry, ...]
    folders: tuple[str, ...]


def _folder(path: Path, limits: Limits) -> _Listed:
    files: list[Entry] = []
    folders: list[str] = []
    waiting = [path]
    while waiting:
        here = waiting.pop()
        for found in sorted(here.iterdir()):
            name = found.relative_to(path).as_posix()
            mode = found.lstat().st_mode
            if stat.S_ISDIR(mode):
                folders.append(name + "/")
                waiting.append(found)
            elif stat.S_ISREG(mode):
                files.append(Entry(name, found.lstat().st_size, _reader(found)))
            else:
                raise BundleRefused(f"{path.name}: {name!a} is a link or a device, not a file; copy the file itself")
            if len(files) + len(folders) > 4 * limits.files:  # litter is allowed, but not without end
                raise BundleRefused(f"{path.name}: more than {limits.files} files")
    return _Listed(tuple(files), tuple(folders))


def _reader(path: Path) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
            return file.read(most)

    return read


def _zip(path: Path, limits: Limits) -> _Listed:
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise BundleRefused(f"{path.name}: neither a folder nor a zip file: {_one_line(error)}") from None
    if len(infos) > 4 * limits.files:
        raise BundleRefused(f"{path.name}: {len(infos)} files, more than {limits.files}")
    for info in infos:
        _check_info(path.name, info)
    files = [Entry(i.filename, i.file_size, _unzipper(path, i)) for i in infos if not i.is_dir()]
    return _Listed(tuple(files), tuple(i.filename for i in infos if i.is_dir()))


def _check_info(archive: str, info: zipfile.ZipInfo) -> None:
    mode = info.external_attr >> 16
    if mode and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_IFMT(mode) == 0):
        raise BundleRefused(f"{archive}: {info.filename!a} is a link or a device, not a file")
    if info.flag_bits & _PRIVATE_FLAGS:
        raise BundleRefused(f"{archive}: {info.filename!a} is encrypted; unpack it first")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise BundleRefused(f"{archive}: {info.filename!a} is neither stored nor deflated; pack it anew")
    if info.orig_filename != info.filename:  # a NUL cuts the name in some readers and not in others
        raise BundleRefused(f"{archive}: {info.orig_filename!a} is no name for a file")


def _unzipper(path: Path, info: zipfile.ZipInfo) -> Callable[[int], bytes]:
    def read(most: int) -> bytes:
        with zipfile.ZipFile(path) as archive, archive.open(info) as file:
            return file.read(most)

    return read


def _accepted(container: str, listed: _Listed, limits: Limits) -> Files:
    notes: list[str] = []
    names = [entry.name for entry in listed.files] + list(listed.folders)
    for name in names:
        _check_name(container, name)
    litter = [name for name in names if _is_litter(name)]
    if litter:
        notes.append(f"{len(litter)} files of a desktop system are ignored ({litter[0][:40]!a})")
    files = [entry for entry in listed.files if not _is_litter(entry.name)]
    folders = [name for name in listed.folders if not _is_litter(name)]
    prefix = _one_folder(files, folders)
    if prefix:
        notes.append(f"everything lies in one folder {prefix[:-1][:40]!a}; it is read as if the folder were not there")
        files = [Entry(entry.name.removeprefix(prefix), entry.size, entry.read) for entry in files]
        folders = [name.removeprefix(prefix) for name in folders if name != prefix]
    _check_alike(container, [entry.name for entry in files], folders)
    _check_places(container, files, folders)
    _check_sizes(container, files, limits)
    return Files({entry.name: entry for entry in files}, limits, tuple(notes))


def _check_name(container: str, name: str) -> None:
    parts = PurePosixPath(name).parts
    bad = "\\" in name or ":" in name or any(ord(letter) < 32 or ord(letter) == 127 for letter in name)
    if bad or not name or name.startswith("/") or ".." in parts or "//" in name or "." in name.split("/"):
        raise BundleRefused(f"{container}: {name[:80]!a} is no name for a file of a bundle")
    if len(name) > 200 or any("\ud800" <= letter <= "\udfff" for letter in name):
        raise BundleRefused(f"{container}: {name[:80]!a} is no name for a file of a bundle")


def _is_litter(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return any(part.casefold() in LITTER for part in parts) or parts[-1].startswith("._")


def _one_folder(files: Iterable[Entry], folders: Iterable[str]) -> str:
    """The folder that holds everything, with its slash, or nothing."""
    names = [entry.name for entry in files]
    tops = {name.split("/", 1)[0] for name in (*names, *folders)}
    if len(tops) != 1 or not names or not all("/" in name for name in names):
        return ""
    top = tops.pop()
    return "" if top in (CALIBRATIONS, PASSAGE) else top + "/"


def _check_alike(container: str, files: list[str], folders: list[str]) -> None:
    counted = Counter(_plain(name) for name in (*files, *{name.rstrip("/") for name in folders}))
    for plain, count in counted.items():
        if count > 1:
            alike = [name for name in (*files, *folders) if _plain(name.rstrip("/")) == plain]
            raise BundleRefused(f"{container}: {alike[0][:60]!a} is there {count} times or alike ({alike[-1][:60]!a})")


def _plain(name: str) -> str:
    """One form for all names that some file system takes for the same: NFKC and folded case."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def _check_places(container: str, files: list[Entry], folders: list[str]) -> None:
    for name in folders:
        if name.rstrip("/") != CALIBRATIONS:
            raise BundleRefused(f"{container}: {name[:60]!a} is a folder where a bundle has files")
    for entry in files:
        parts = entry.name.split("/")
        if len(parts) > 2 or (len(parts) == 2 and parts[0] != CALIBRATIONS):
            raise BundleRefused(
                f"{container}: {entry.name[:60]!a} lies in a folder; only {CALIBRATIONS}/ may hold files"
            )


def _check_sizes(container: str, files: list[Entry], limits: Limits) -> None:
    if len(files) > limits.files:
        raise BundleRefused(f"{container}: {len(files)} files, more than {limits.files}")
    for entry in files:
        if entry.size > limits.of(entry.name):
            raise BundleRefused(
                f"{container}: {entry.name!a} has {entry.size} bytes, more than {limits.of(entry.name)}"
            )
    total = sum(entry.size for entry in files)
    if total > limits.unpacked_bytes:
        raise BundleRefused(f"{container}: {total} bytes unpacked, more than {limits.unpacked_bytes}")


def _one_line(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split())[:160] or type(error).__name__
