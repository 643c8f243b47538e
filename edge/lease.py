"""Who owns a device: the lane while it runs, or one maintenance program at a time.

The owner holds a lock on the device's lock file. The kernel gives the lock back when its holder ends, however it ends,
so a lease outlives nobody. The lane is asked through its control socket to let go; where no lane runs the same lock is
there for the taking, and a lane that starts meanwhile waits for it.

    LeaseFault          the device is not to be had: who holds it
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from edge.control import ControlFault, Unreachable, ask
from edge.places import Places

MAINTENANCE = "in maintenance"  # the cause of such a device's state
LOCK_MODE = 0o640  # the group may lock it too: flock(2) needs no right to write
TAKE_S = 3.0  # assumed: a driver closes its port within one read
RETRY_S = 0.05
LOCKS = Path("/proc/locks")


class LeaseFault(Exception):
    """One line: which device, who holds it, what to do."""


class DeviceLock:
    """One device's lock file, held or not by this process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Hold the lock; False where somebody else does. Raises OSError: the file cannot be made or opened."""
        if self._handle is None:
            handle = _open(self.path)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(handle)
                return False
            except BaseException:
                os.close(handle)
                raise
            self._handle = handle
        return True

    def release(self) -> None:
        """Let it go, if it is held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def holder(self) -> str:
        """Who holds it, by the kernel's list, or that it does not say."""
        try:
            file = self.path.stat()
            place = f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}:{file.st_ino}"
            for line in LOCKS.read_text().splitlines():
                words = line.split()
                if words[1:2] == ["FLOCK"] and place in words:
                    return f"process {words[4]}"
        except OSError:
            pass
        return "another program"


def lock_of(places: Places, device: str) -> DeviceLock:
    """A device's lock. Its file is never removed: who waits for it must find the same one."""
    return DeviceLock(places.leases / f"{device}.lock")


@contextlib.contextmanager
def leased(places: Places, device: str, take_s: float = TAKE_S) -> Iterator[None]:
    """Own the device while the body runs; the lane, if one runs, is without it until then.

    Raises:
        LeaseFault: somebody else holds it, or its lock file cannot be used.
        ControlFault: the lane runs and refuses.
    """
    nobody, lane = "", True
    try:
        ask(places.control_socket, {"do": "lease", "device": device})
    except Unreachable as error:
        nobody, lane = str(error), False  # most likely no lane runs; if one does, it holds the lock
    lock = lock_of(places, device)
    try:
        _take(lock, take_s, device, nobody)
        yield
    finally:
        lock.release()
        if lane:  # it finds out by itself, a little later
            with contextlib.suppress(ControlFault):
                ask(places.control_socket, {"do": "release", "device": device})


def _take(lock: DeviceLock, take_s: float, device: str, nobody: str) -> None:
    until_s = time.monotonic() + take_s
    try:
        while not lock.take():
            if time.monotonic() >= until_s:
                reason = f" ({nobody})" if nobody else ""
                raise LeaseFault(f"{device}: is held by {lock.holder()}{reason}; wait for it or stop it")
            time.sleep(RETRY_S)
    except OSError as error:
        cause = f"{lock.path}: {error.strerror or error}"
        raise LeaseFault(f"{device}: {cause}; run this as the lane's user, or join its group") from None


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        return os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, LOCK_MODE)
