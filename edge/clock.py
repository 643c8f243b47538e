"""What the lane's clock knows of itself: the kernel's word, chrony's where it runs, and steps that we see ourselves.

The kernel always answers (``adjtimex`` with modes 0 changes nothing). Chrony knows more: it clears the kernel's
"unsynchronised" flag only where it also keeps the hardware clock, so where it answers its word counts.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isfinite

from drivers.reading import ClockQuality

TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
STA_UNSYNC = 0x40  # linux/timex.h
STEP_NS = 10_000_000  # DEVICES-serial 6: a change over 10 ms is an event
STALE_UPDATES = 8  # assumed: chrony's reference this many update intervals old means coasting
WATCH_S = 1.0
CHRONY_EVERY_S = 16.0  # assumed: a quarter of chrony's usual update interval
CHRONY_TIMEOUT_S = 2.0
LONGEST_LINE = 1024  # bytes; chronyc's has about 150
_LIBC = ctypes.CDLL(None)


class _Timex(ctypes.Structure):
    """``struct timex`` of linux/timex.h on 64 bit, 208 bytes."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),  # us
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 160),
    )


@dataclass(frozen=True, slots=True)
class Tracking:
    """Chrony's view. ``max_error_ns`` bounds the clock's error; ``reference_utc_s`` is its last measurement."""

    synchronised: bool
    stratum: int
    max_error_ns: int
    reference_utc_s: float
    update_interval_s: float

    def coasting(self, now_utc_s: float) -> bool:
        """Synchronised once, and nothing heard for several update intervals."""
        return now_utc_s - self.reference_utc_s > STALE_UPDATES * max(self.update_interval_s, 1.0)


def parse_tracking(line: str) -> Tracking:
    """One line of ``chronyc -c tracking``: 14 fields, comma separated.

    The error bound is |system offset| + root dispersion + root delay / 2 (chronyc manual). The CSV's sign of the
    offset is the opposite of the text form's "fast" and "slow", so only its magnitude is used.

    Raises:
        ValueError: not such a line; the message says what of it.
    """
    fields = line.strip().split(",")
    if len(line) > LONGEST_LINE or len(fields) != 14:
        raise ValueError(f"chronyc: {len(fields)} fields instead of 14; another chrony than this was made for")
    try:
        reference, offset, delay, dispersion, interval = (float(fields[i]) for i in (3, 4, 10, 11, 12))
        stratum = int(fields[2])
    except ValueError as error:
        raise ValueError(f"chronyc: {error}") from None
    bound_s = abs(offset) + dispersion + delay / 2
    if not (isfinite(bound_s) and isfinite(reference) and isfinite(interval)) or min(dispersion, delay) < 0:
        raise ValueError("chronyc: offset, delay or dispersion is no number that could be true")
    synchronised = fields[13] in ("Normal", "Insert second", "Delete second") and stratum > 0
    return Tracking(synchronised, stratum, ceil(bound_s * 1e9), reference, interval)


def kernel_quality() -> ClockQuality:
    """The kernel's word; where it says unsynchronised its error bound is a cap, not a bound, and is left out."""

    timex = _Timex()
    state = _LIBC.adjtimex(ctypes.byref(timex))
    if state < 0 or state == TIME_ERROR or timex.status & STA_UNSYNC:
        return ClockQuality(False, None)
    return ClockQuality(True, timex.maxerror * 1000)


def quality(kernel: ClockQuality, tracking: Tracking | None, now_utc_s: float) -> ClockQuality:
    """Both words as one. A coasting clock counts as synchronised only while the kernel still says so."""
    if tracking is None:
        return kernel
    if not tracking.synchronised:
        return ClockQuality(False, None)
    if tracking.coasting(now_utc_s):
        return ClockQuality(kernel.synchronised, tracking.max_error_ns)
    return ClockQuality(True, tracking.max_error_ns)


async def ask_chrony() -> Tracking | None:
    """Chrony's tracking, or None where it is not installed, not running, or not understood."""
    program = shutil.which("chronyc")
    if program is None:
        return None
    process = await asyncio.create_subprocess_exec(
        program, "-c", "tracking", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(CHRONY_TIMEOUT_S):
            assert process.stdout is not None
            line = await process.stdout.read(LONGEST_LINE)
            return parse_tracking(line.decode("ascii", "replace")) if await process.wait() == 0 else None
    except (TimeoutError, ValueError):
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class StepDetector:
    """Compares the wall clock with the monotonic one, which is slewed with it but never set."""

    def __init__(self) -> None:
        self._offset_ns: int | None = None

    def see(self, realtime_ns: int, monotonic_ns: int) -> int | None:
        """Nanoseconds by which the wall clock was set since the last call (forward is positive), or None."""
        offset_ns, before_ns = realtime_ns - monotonic_ns, self._offset_ns
        self._offset_ns = offset_ns
        if before_ns is None or abs(offset_ns - before_ns) <= STEP_NS:
            return None
        return offset_ns - before_ns


def both_clocks_ns() -> tuple[int, int]:
    """Wall and monotonic clock at one moment: of a few tries the one with the least time between two looks."""
    tries = []
    for _ in range(3):
        before_ns = time.monotonic_ns()
        wall_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        tries.append((after_ns - before_ns, wall_ns, (before_ns + after_ns) // 2))
    _, wall_ns, monotonic_ns = min(tries)
    return wall_ns, monotonic_ns


class Clock:
    """The lane's clock while the daemon runs: `quality` is cheap enough to ask at each reading."""

    def __init__(self) -> None:
        self._tracking: Tracking | None = None
        self._steps = StepDetector()

    def now_utc_ns(self) -> int:
        """The wall clock."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """The clock for durations."""
        return time.monotonic_ns()

    def quality(self) -> ClockQuality:
        """What is known now."""
        return quality(kernel_quality(), self._tracking, time.time())

    def set_utc_ns(self) -> int | None:
        """The wall clock, None while it is not synchronised: for what must not act by a wrong date."""
        return time.time_ns() if self.quality().synchronised else None

    async def refresh(self) -> None:
        """Ask chrony once."""
        self._tracking = await ask_chrony()

    async def watch(self, on_step: Callable[[int], None]) -> None:
        """Until cancelled: asks chrony from time to time and calls ``on_step`` with each step in nanoseconds."""
        next_chrony_s = 0.0
        while True:
            step_ns = self._steps.see(*both_clocks_ns())
            if step_ns is not None:
                on_step(step_ns)
                next_chrony_s = 0.0  # whoever set it knows more now
            if time.monotonic() >= next_chrony_s:
                await self.refresh()
                next_chrony_s = time.monotonic() + CHRONY_EVERY_S
            await asyncio.sleep(WATCH_S)
