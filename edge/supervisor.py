"""Keeps a device's driver running: restarts it with back-off, and answers three questions about it.

Is it there (a reading within its silence time), is it on time (at least 90 % of its expected rate), and does it
believe itself (its last reading says "ok")? One device's failure never delays another's readings: each has a task
of its own, and all they share is the bounded queue that their readings go into.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from drivers.driver import Driver, DriverFault, Identity, Surroundings
from drivers.reading import ClockQuality, Modality, Reading, VibrationBlock
from edge.lease import MAINTENANCE, DeviceLock
from edge.quarantine import Quarantine

BACKOFF_FIRST_S = 0.5  # assumed: a plug that was only touched is back by then
BACKOFF_LAST_S = 15.0  # assumed: a lane must not wait longer than a lorry for a cable that is back
SETTLED_S = 30.0  # a driver that ran this long starts its next back-off from the first step
ON_TIME_SHARE = 0.9  # of the expected rate
LEASE_GRACE_S = 5.0  # a lease that nobody takes up by then is no lease
LEASE_POLL_S = 0.25  # how soon a device is the lane's again when its holder has gone
log = logging.getLogger("lanepulse.device")


@dataclass(frozen=True, slots=True)
class DeviceHealth:
    """A device at one moment. ``cause`` is None while all three answers are yes."""

    name: str
    modality: str
    there: bool
    on_time: bool
    believes_itself: bool
    state: str  # "ok", or "late", "absent", "faulty" with the cause: what a passage is told of the device
    cause: str | None
    restarts: int
    readings: int
    silent_s: float | None
    identity: Identity | None


class Supervised:
    """One device and the task that keeps its driver alive.

    ``queue`` is bounded by its maker; when it is full this device waits, and its own wire's buffer fills: nothing is
    dropped in the lane's memory and no other device is held up by the wait.
    """

    def __init__(
        self,
        name: str,
        driver: Driver,
        config: Any,
        queue: asyncio.Queue[Reading],
        quarantine: Quarantine,
        *,
        now_utc_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
        clock: Callable[[], ClockQuality],
        notes: dict[str, str],
        lock: DeviceLock | None = None,
    ) -> None:
        self.name = name
        self._driver, self._config, self._queue = driver, config, queue
        self._quarantine, self._monotonic_ns = quarantine, monotonic_ns
        self._identity: Identity | None = None
        self._restarts = self._readings = 0
        self._cause: str | None = "no reading yet"
        self._faulty = False
        self._lost = True
        self._last_ns: int | None = None
        self._last_status = "ok"
        self._arrivals: dict[str, deque[int]] = {}
        self._tells_changes = driver.MODALITY is Modality.PRESENCE  # its driver polls, and says so where nobody answers
        self._lock, self._notes = lock, notes
        self._driving: asyncio.Timeout | None = None
        self._lent_until_ns: int | None = None
        self._was_lent = False
        self._free = asyncio.Event()
        self.around = Surroundings(
            now_utc_ns,
            monotonic_ns,
            clock,
            lambda cause, raw: quarantine.keep(name, cause, raw),
            notes.get,
            notes.__setitem__,
        )

    async def run(self) -> None:
        """Until cancelled: drive the device whenever it is the lane's."""
        while True:
            await self._own()
            try:
                async with asyncio.timeout(None) as self._driving:
                    await self._keep_driving()
            except TimeoutError:  # `lend` alone ends it so
                self._lose(MAINTENANCE, faulty=False)
            finally:
                self._driving = None
                if self._lock is not None:
                    self._lock.release()
                self._free.set()

    async def lend(self) -> None:
        """Let go of the device, and take it back when the lease's holder has gone.

        What it says in the meantime is no evidence: a stream that could be resumed begins anew.

        Raises:
            ValueError: it is lent already.
        """
        if self._lock is None or self._driving is None or self._lent_until_ns is not None:
            holder = "" if self._lock is None else f" ({self._lock.holder()})"
            raise ValueError(f"{self.name}: is {MAINTENANCE} already{holder}; wait for it or stop it")
        self._free.clear()
        self._lent_until_ns = self._monotonic_ns() + round(LEASE_GRACE_S * 1e9)
        self._driving.reschedule(asyncio.get_running_loop().time())
        await self._free.wait()
        self._notes.clear()
        self._was_lent = True

    def take_back(self) -> None:
        """The lease's holder says that it is done: no need to wait for one who comes late."""
        self._lent_until_ns = None

    async def _own(self) -> None:
        """Until the device's lock is ours. A lease counts as taken up once somebody else was seen with the lock."""
        if self._lock is None:
            return
        while True:
            try:
                held_by_others = not self._lock.take()
            except OSError as error:  # a lane without its sensors is worse than one whose lock cannot be kept
                log.error("%s: no lock: %s", self.name, error)
                return
            if held_by_others:
                self._lent_until_ns = None
                self._cause, self._faulty = MAINTENANCE, False
            elif self._lent_until_ns is None or self._monotonic_ns() >= self._lent_until_ns:
                self._lent_until_ns = None
                if self._was_lent and (from_now := getattr(self._driver, "from_now", None)) is not None:
                    self._notes.update(from_now(self.around.now_utc_ns()))
                self._was_lent = False
                return
            else:
                self._lock.release()
            await asyncio.sleep(LEASE_POLL_S)

    async def _keep_driving(self) -> None:
        """A driver's own errors are causes; anything else is our defect and is named as one."""
        backoff_s = BACKOFF_FIRST_S
        while True:
            began_ns = self._monotonic_ns()
            try:
                await self._drive()
                self._lose("the driver ended without a cause", faulty=True)
            except DriverFault as fault:
                self._quarantine.keep(self.name, str(fault), fault.raw)
                self._lose(str(fault), faulty=True)
            except TimeoutError as error:
                self._lose(str(error) or f"silent for over {self._silence_s():g} s", faulty=False)
            except OSError as error:
                self._lose(f"{type(error).__name__}: {error}", faulty=False)
            except Exception as error:
                log.exception("%s: defect in its driver", self.name)
                self._lose(f"defect in driver: {type(error).__name__}: {error}", faulty=True)
            if (self._monotonic_ns() - began_ns) / 1e9 >= SETTLED_S:
                backoff_s = BACKOFF_FIRST_S
            await asyncio.sleep(backoff_s)
            backoff_s = min(BACKOFF_LAST_S, backoff_s * 2)
            self._restarts += 1

    async def _drive(self) -> None:
        if self._identity is None:
            self._identity = await self._driver.probe(self.name, self._config, self.around)
        readings = self._driver.readings(self.name, self._config, self.around)
        try:
            async for reading in readings:
                self._note(reading)
                await self._queue.put(reading)
        finally:  # its port is closed now, not when the generator is collected
            if (close := getattr(readings, "aclose", None)) is not None:
                await close()

    def _note(self, reading: Reading) -> None:
        now_ns = self._monotonic_ns()
        stream = reading.sensor if isinstance(reading, VibrationBlock) else ""
        self._arrivals.setdefault(stream, deque(maxlen=100)).append(now_ns)
        self._last_ns, self._last_status = now_ns, reading.status
        self._readings += 1
        if self._lost:
            self._lost = self._faulty = False
            log.info("%s: back", self.name)
        self._cause = None if reading.status == "ok" else reading.status

    def _lose(self, cause: str, *, faulty: bool) -> None:
        self._cause, self._faulty = cause, faulty
        self._identity = None
        self._arrivals.clear()
        if not self._lost:
            self._lost = True
            log.warning("%s: lost: %s", self.name, cause)

    def _silence_s(self) -> float:
        return max(stream.silence_s for stream in self._driver.expected(self._config))

    def health(self) -> DeviceHealth:
        """The three answers, now."""
        silent_s = None if self._last_ns is None else (self._monotonic_ns() - self._last_ns) / 1e9
        there = not self._lost and silent_s is not None and (self._tells_changes or silent_s <= self._silence_s())
        on_time = there and self._on_time()
        believes = there and self._last_status == "ok"
        cause = self._cause
        if cause is None and not there:
            cause = f"silent for {silent_s:.1f} s"
        if cause is None and not on_time:
            cause = "fewer readings than its rate"
        return DeviceHealth(
            self.name,
            str(self._driver.MODALITY),
            there,
            on_time,
            believes,
            self._state(there, cause),
            cause,
            self._restarts,
            self._readings,
            silent_s,
            self._identity,
        )

    def _state(self, there: bool, cause: str | None) -> str:
        """A device that is there speaks for itself, by the status of its readings."""
        if there:
            return "ok"
        word = "faulty" if self._faulty else "absent" if self._lost else "late"
        return f"{word}: {cause}"

    def _on_time(self) -> bool:
        """At least 90 % of the rate, over the arrivals that are remembered of each stream."""
        for expected in () if self._tells_changes else self._driver.expected(self._config):
            arrivals = self._arrivals.get(expected.stream) or self._arrivals.get("")
            if not arrivals or len(arrivals) < 2:
                continue
            span_s = (arrivals[-1] - arrivals[0]) / 1e9
            if span_s > 0 and (len(arrivals) - 1) * expected.period_s < ON_TIME_SHARE * span_s:
                return False
        return True
