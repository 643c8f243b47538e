"""One row of the bench: a measured time beside the floor that was measured in the same run, and their ratio."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Row:
    """Both in the same ``unit``; ``floor_is`` says what the floor does."""

    what: str
    measured: float
    floor: float
    unit: str
    floor_is: str

    def text(self) -> str:
        """A line for people."""
        ratio = self.measured / self.floor if self.floor > 0 else float("inf")
        both = f"{self.measured:9.3f} {self.unit:2} {self.floor:9.3f} {self.unit:2}"
        return f"{self.what:52} {both} {ratio:6.2f} x  {self.floor_is}"


def paired_ms(
    work: Callable[[], object],
    floor: Callable[[], object],
    runs: int,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Medians in milliseconds of two pieces of work done in turn, after one warm-up of each.

    ``clock`` may be `time.process_time`, for what is claimed of one core: others on the machine then do not count.
    """
    work()
    floor()
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for kept, piece in zip(times, (work, floor), strict=True):
            began = clock()
            piece()
            kept.append((clock() - began) * 1e3)
    return median(times[0]), median(times[1])
