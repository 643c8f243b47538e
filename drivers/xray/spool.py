"""Where received objects lie: written beside, fsynced, renamed; never overwritten, never deleted here.

A name is ``<arrival, UTC ns>-<SOP instance>-<content>.dcs``, both digests, so that the folder is its own index: it says
after a restart what was there before, and no text of a sender ever becomes a path. Retention belongs to the lane.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

DIGEST_CHARS = 32  # 128 bits: nobody makes two objects meet by chance
SUFFIX = ".dcs"
NO_INSTANCE = hashlib.sha256(b"").hexdigest()[:DIGEST_CHARS]  # of an object whose UID cannot be read


class SpoolFull(OSError):
    """The spool has reached its limit; what is there is kept."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in the spool, by its name alone."""

    path: Path
    arrived_utc_ns: int
    instance: str  # digest of the SOP Instance UID
    content: str  # digest of the data set

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """From a file's name; None where it is not one of ours."""
        parts = path.name.removesuffix(SUFFIX).split("-")
        if path.suffix != SUFFIX or len(parts) != 3 or not parts[0].isdigit():
            return None
        return cls(path, int(parts[0]), parts[1], parts[2])


class Spool:
    """One folder, one writer process; its methods may be called from any thread."""

    def __init__(self, folder: Path, max_bytes: int, now_utc_ns: Callable[[], int], last_read: str = "") -> None:
        """Take the folder over; ``last_read`` is the last name that was given out, new names come after it.

        Raises:
            BlockingIOError: another device works in this folder.
            OSError: the folder cannot be made or read.
        """
        self._folder, self._max_bytes, self._now_utc_ns = folder, max_bytes, now_utc_ns
        self._lock = threading.Lock()
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True, mode=0o750)
        self._claim = os.open(self._incoming, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._take_over(last_read)
        except OSError as error:
            os.close(self._claim)
            if isinstance(error, BlockingIOError):
                raise BlockingIOError(f"{folder}: in use by another device; give each its own folder") from None
            raise

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._claim)

    def _take_over(self, last_read: str) -> None:
        for left_over in self._incoming.iterdir():  # half of something, from before a power cut: it was never confirmed
            left_over.unlink()
        names = [one.path.name for one in self._count_again()] + [last_read]
        self._last_ns = max(int(name.partition("-")[0] or 0) for name in names)
        self._number = 0

    def _count_again(self) -> list[Stored]:
        """What is there now: the lane's retention takes old objects away."""
        known = self.after("")
        self._bytes = sum(one.path.stat().st_size for one in known)
        self._seen = {(one.instance, one.content): one for one in known}
        return known

    def after(self, name: str) -> list[Stored]:
        """What came after the object of that name, oldest first."""
        found = (Stored.of(path) for path in self._folder.iterdir() if path.name > name)
        return sorted((one for one in found if one), key=lambda one: one.path.name)

    def others_before(self, stored: Stored) -> list[Stored]:
        """Earlier objects under the same SOP Instance UID with other content."""
        with self._lock:
            same = [one for one in self._seen.values() if one.instance == stored.instance]
        return [one for one in same if one.path.name < stored.path.name and one.content != stored.content]

    def flags(self, stored: Stored) -> list[str]:
        """What the store knows against an object, in words."""
        others = self.others_before(stored)
        if not others or stored.instance == NO_INSTANCE:
            return []
        return [f"SOPInstanceUID (0008,0018) came before with other content ({others[-1].path.name}): both are kept"]

    def incoming(self) -> Path:
        """A path for an object that is still being written."""
        with self._lock:
            self._number += 1
            return self._incoming / f"{self._number}.part"

    def free_bytes(self) -> int:
        """How much more the spool may take."""
        return self._max_bytes - self._bytes

    def keep(self, part: Path, sop_uid: str, content_sha256: bytes) -> tuple[Stored, bool]:
        """Put a complete, fsynced file in its place; the same instance with the same content is kept once.

        Returns:
            The stored object, and whether it is new.

        Raises:
            SpoolFull: the limit is reached.
            OSError: the disk would not.
        """
        instance = hashlib.sha256(sop_uid.encode("utf-8", "replace")).hexdigest()[:DIGEST_CHARS]
        content = content_sha256.hex()[:DIGEST_CHARS]
        with self._lock:
            if (before := self._seen.get((instance, content))) is not None:
                part.unlink()
                return before, False
            size = part.stat().st_size
            if size > self.free_bytes():
                self._count_again()  # old objects may have expired meanwhile
            if size > self.free_bytes():
                raise SpoolFull(f"{self._folder}: {self._max_bytes} bytes are full; move old objects away")
            self._last_ns = max(self._now_utc_ns(), self._last_ns + 1)  # names go on in order when the clock steps back
            stored = Stored(
                self._folder / f"{self._last_ns:020d}-{instance}-{content}{SUFFIX}", self._last_ns, instance, content
            )
            part.rename(stored.path)
            _sync_folder(self._folder)
            self._seen[instance, content] = stored
            self._bytes += size
            return stored, True


class Part:
    """An object being written: limited, digested on the way, and gone unless it is kept.

    ``write`` never raises: it is called deep inside a protocol engine. What went wrong is in ``failure``.
    """

    def __init__(self, spool: Spool, max_bytes: int) -> None:
        self._spool, self._max_bytes = spool, max_bytes
        self.path = spool.incoming()
        self.failure: OSError | None = None
        self._digest = hashlib.sha256()
        self._size = 0
        self._done = threading.Lock()  # taken once, by whoever ends it: the keeper or the connection that broke
        try:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        except OSError as error:
            self.failure = error
            self._done.acquire()

    def write(self, data: bytes, *, digested: bool = True) -> None:
        """Append; after a failure nothing more is written."""
        if self.failure is not None:
            return
        self._size += len(data)
        try:
            if self._size > min(self._max_bytes, self._spool.free_bytes()):
                raise SpoolFull(f"object above {self._max_bytes} bytes, or the spool is full")
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self.failure = error
        if digested:
            self._digest.update(data)

    def keep(self, sop_uid: str) -> tuple[Stored, bool]:
        """To disk for good; see `Spool.keep`.

        Raises:
            OSError: it could not be written, or its connection broke first.
        """
        if not self._done.acquire(blocking=False):
            raise self.failure or OSError("the connection ended before the object was kept")
        try:
            if self.failure is not None:
                raise self.failure
            os.fsync(self._file)
            return self._spool.keep(self.path, sop_uid, self._digest.digest())
        finally:
            self._end()

    def discard(self) -> bool:
        """Nothing of it remains, unless it was kept; whether this ended it."""
        mine = self._done.acquire(blocking=False)
        if mine:
            self._end()
        return mine

    def _end(self) -> None:
        self.failure = self.failure or OSError("the object has ended")  # its descriptor may soon be another file's
        os.close(self._file)
        self.path.unlink(missing_ok=True)  # after a rename there is nothing here


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
