"""Has the world moved since the model was made? Pure figures that a lane keeps of itself; they never change a model.

Bets (SCIENCE 6.6): whoever says "this happens with probability p" is offered a bet at those odds, and the capital
that grows out of 1 is an e-process: if the word is true, it ever reaches 1/a with probability a at most (Ville 1939),
however often one looks. Bets are on odds some times as high or as low, and one begins at every moment with a part of
the capital, so that a change that comes late is found too.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from math import log
from statistics import median

MOVED_AT = 100.0  # assumed: once in a hundred lanes, ever, nothing has moved and it says so
CAPITAL_MOST = 1e12  # beyond it nothing is learned
TIMES_BOTH = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 2.0, 4.0, 8.0, 16.0)
TIMES_MORE = (2.0, 4.0, 8.0, 16.0)
REFERENCE, RECENT = 200, 100  # vehicles; assumed: a median of so many is good to 0.2 dB at a sigma of 1.5
FEWEST = 30  # assumed: below, a spread is a guess
MOVED_SIGMAS, MOVED_DB = 4.0, 1.0  # assumed: surely, and enough to matter (SCIENCE 2.5: the goal is 1-2 dB)
MAD_TO_SIGMA = 1.4826  # of a normal distribution
MEDIAN_LOSS = 1.2533  # sqrt(pi / 2): a median's standard error over that of a mean


class Bets:
    """An e-process against stated probabilities. ``times``: odds to bet on, as multiples of the stated ones."""

    def __init__(self, times: Sequence[float]) -> None:
        self._times = tuple(times)
        self._running = [0.0] * len(self._times)
        self._highest = 1.0
        self.seen, self.happened, self.expected = 0, 0, 0.0

    def see(self, probability: float, happened: bool) -> None:
        """One event, with what was said of it before."""
        if not 0.0 < probability < 1.0:
            return
        begins = _kept(self.seen) - _kept(self.seen + 1)  # the part of the capital whose bets begin now
        for index, times in enumerate(self._times):
            odds = times * probability / (1.0 - probability)
            other = odds / (1.0 + odds)
            factor = other / probability if happened else (1.0 - other) / (1.0 - probability)
            self._running[index] = min(CAPITAL_MOST, (self._running[index] + begins) * factor)
        self.seen += 1
        self.happened += happened
        self.expected += probability
        self._highest = max(self._highest, self.capital)

    @property
    def capital(self) -> float:
        """What 1 has become."""
        return sum(self._running) / len(self._running) + _kept(self.seen)

    @property
    def highest(self) -> float:
        """The most that it ever was: that is what `MOVED_AT` is compared with."""
        return self._highest

    @property
    def moved(self) -> bool:
        """Whether the stated probabilities can be believed no longer."""
        return self._highest >= MOVED_AT

    @property
    def times(self) -> float:
        """The bet that did best: odds so many times the stated ones."""
        return self._times[max(range(len(self._times)), key=self._running.__getitem__)]


def _kept(seen: int) -> float:
    """Part of the capital that has not begun to bet after so many events; falls slowly, so that late bets weigh."""
    return 1.0 / (1.0 + log(1.0 + seen))


@dataclass(frozen=True, slots=True)
class BackgroundError:
    """How far vehicles shook from what their background predicted, dB: nearly all of them are empty.

    ``bias_db`` and ``sigma_db`` (robust) of the recent ones; ``moved_db`` is the bias less that of the first ones.
    None where there are too few.
    """

    seen: int
    bias_db: float | None
    sigma_db: float | None
    moved_db: float | None
    moved: bool


class Background:
    """Keeps the first `REFERENCE` and the last `RECENT` errors."""

    def __init__(self) -> None:
        self._first: list[float] = []
        self._last: deque[float] = deque(maxlen=RECENT)
        self._seen = 0

    def see(self, error_db: float) -> None:
        """Of one vehicle, in order."""
        self._seen += 1
        if len(self._first) < REFERENCE:
            self._first.append(error_db)
        self._last.append(error_db)

    def error(self) -> BackgroundError:
        """As it stands."""
        if len(self._last) < FEWEST:
            return BackgroundError(self._seen, None, None, None, False)
        bias, sigma = _middle_and_spread(list(self._last))
        if self._seen < REFERENCE + RECENT:  # they overlap
            return BackgroundError(self._seen, bias, sigma, None, False)
        before, spread = _middle_and_spread(self._first)
        moved_db = bias - before
        error = MEDIAN_LOSS * (spread**2 / len(self._first) + sigma**2 / len(self._last)) ** 0.5
        moved = abs(moved_db) > max(MOVED_DB, MOVED_SIGMAS * error)
        return BackgroundError(self._seen, bias, sigma, moved_db, moved)


def _middle_and_spread(errors_db: Sequence[float]) -> tuple[float, float]:
    middle = median(errors_db)
    return middle, MAD_TO_SIGMA * median(abs(error - middle) for error in errors_db)
