"""What every rate that is printed of `hil.record_lorries` should be, counted from what really happened.

A key is (code of the section, words of the row, name of the column). Counts are added over many years, so that their
shares are those of the world. Written from the definitions that the product prints, and from none of its code.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from hil import record_lorries as world
from hil.record_lorries import Lorries, Truths

Key = tuple[str, tuple[str, ...], str]
AT_ONCE_S = 15.0
WIND_BANDS = ((2.0, "0 to 2 m/s"), (4.0, "2 to 4 m/s"), (8.0, "4 to 8 m/s"), (np.inf, "8 m/s and more"))
ABOARD_BANDS = ((1_800, "under 30 min"), (7_200, "30 to 120 min"), (np.inf, "120 min and more"))
SHIFTS = ((6, 14, "06-14"), (14, 22, "14-22"))
ADVICE = ("no_search", "recheck", "search", "open_now", "audit")


class Truth:
    """Shares of the world: cases and of how many, added up."""

    def __init__(self) -> None:
        self._sums: dict[Key, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._stays_s: list[Any] = []

    def add(self, found: Lorries, lanes: Sequence[str], days: int) -> None:
        """One lane's ``days``; ``lanes`` are the names of all such lanes that are in the record together."""
        self._stays_s.append((found.ended_ns - found.began_ns)[~found.covert] / world.NS)
        for key, cases, of in (*_shares(found, lanes), *_coming(found, lanes, days)):
            both = self._sums[key]
            both[0] += cases
            both[1] += of

    def share(self, key: Key) -> float | None:
        """None where nothing is known of it."""
        cases, of = self._sums.get(key, (0.0, 0.0))
        return cases / of if of else None

    def stay_s(self, quantile: float) -> float:
        """Of the time in the bay."""
        return float(np.quantile(np.concatenate(self._stays_s), quantile))


def let_pass(found: Lorries) -> int:
    """Occupied, and the lane said no_search: what an audit estimates."""
    real = found.of(~found.covert)
    return int((real.occupied & (real.level == world.NO_SEARCH)).sum())


def prompted(found: Lorries) -> Truths:
    """By evidence or policy, not by the draw."""
    return found.level >= world.SEARCH


def _shares(found: Lorries, lanes: Sequence[str]) -> Iterator[tuple[Key, float, float]]:
    yield from _covert(found.of(found.covert))
    real = found.of(~found.covert)
    everyone = np.ones(len(real), bool)
    shares: Any = (
        (_advice(real), "advice", ("outcome known", "searched", "yield", "minutes a find")),
        (_technique(real), "technique", ("yield", "minutes a find")),
        (_contractors(real), "contractors", ("yield",)),
        (_by(real.body, world.BODY_TYPES), "by.body_type", FACTOR_COLUMNS),
        (_by(real.cargo, world.CARGOES), "by.cargo", FACTOR_COLUMNS),
        (_by(np.zeros(len(real), int), ("open",)), "by.shelter", FACTOR_COLUMNS),
        (_bands(real.wind_m_s, WIND_BANDS), "by.wind", FACTOR_COLUMNS),
        ((((lane,), everyone) for lane in lanes), "by.lane", FACTOR_COLUMNS),
        (_by(_hour(real), [f"{hour:02d}" for hour in range(24)]), "hours", ("prompted",)),
    )
    for groups, code, columns in shares:
        for words, which in groups:
            for column in columns:
                cases, of = _rate(real, which, column)
                yield (code, words, column), cases, of
    yield from _answers(real)
    yield from _sensors(real)
    yield from _draws(real)


FACTOR_COLUMNS = ("prompted", "yield of prompts", "yield of all searches", "overridden")


def _rate(real: Lorries, which: Truths, column: str) -> tuple[float, float]:
    there = prompted(real)
    answered = real.answer > 0
    if column == "minutes a find":
        return float((real.minutes * (which & real.searched)).sum()), float((which & real.found).sum())
    cases, of = {
        "outcome known": (real.known, which),
        "searched": (real.searched, which & real.known),
        "yield": (real.found, which & real.searched),
        "yield of all searches": (real.found, which & real.searched),
        "prompted": (there, which),
        "yield of prompts": (real.found, which & there & real.searched),
        "overridden": (real.answer == 2, which & answered),
    }[column]
    return float((cases & of).sum()), float(of.sum())


def _coming(found: Lorries, lanes: Sequence[str], days: int) -> Iterator[tuple[Key, float, float]]:
    """Of each hour of the day how many came to all lanes, and how many came at once after another."""
    hours = _hour(found.of(~found.covert))
    for hour in range(24):
        yield ("hours", (f"{hour:02d}",), "vehicles an hour"), float((hours == hour).sum()), days / len(lanes)
    gap_s = (found.began_ns[1:] - found.ended_ns[:-1]) / world.NS
    counted = ~found.covert[1:] & (gap_s >= 0)
    for lane in lanes:
        yield ("queue", (lane,), "came at once"), float((counted & (gap_s < AT_ONCE_S)).sum()), float(counted.sum())


def _advice_of(real: Lorries) -> Any:
    return np.where(real.drawn, 4, real.level)


def _advice(real: Lorries) -> Iterator[tuple[tuple[str, ...], Truths]]:
    return _by(_advice_of(real), ADVICE)


def _technique(real: Lorries) -> Iterator[tuple[tuple[str, ...], Truths]]:
    for words, which in _by(real.technique, world.TECHNIQUES):
        yield words, which & real.searched


def _contractors(real: Lorries) -> Iterator[tuple[tuple[str, ...], Truths]]:
    hour = _hour(real)
    for words, which in _by(real.by, world.SEARCHERS):
        night = np.ones(len(real), bool)
        for begin, end, name in SHIFTS:
            there = (hour >= begin) & (hour < end)
            night &= ~there
            yield (*words, name), which & there
        yield (*words, "22-06"), which & night


def _answers(real: Lorries) -> Iterator[tuple[Key, float, float]]:
    answered = real.answer > 0
    for (advice,), which in _advice(real):
        for answer, name in ((1, "agreed"), (2, "overridden")):
            for reason, word in enumerate(world.REASONS):
                cell = which & (real.answer == answer) & (real.reason == reason)
                words = ("overrides", (advice, name, word))
                yield (*words, "vehicles"), float(cell.sum()), float((which & answered).sum())
                yield (*words, "yield of those"), float((cell & real.found).sum()), float((cell & real.searched).sum())


def _sensors(real: Lorries) -> Iterator[tuple[Key, float, float]]:
    total = real.log10_lr.sum(axis=1)
    for column, name in enumerate(world.MODALITIES):
        rest = total - real.log10_lr[:, column]
        own = (real.level == world.SEARCH) & (total >= LIMIT) & (rest < LIMIT) & real.searched
        yield ("modalities", (name,), "yield of own prompts"), float((own & real.found).sum()), float(own.sum())
        for state, word in enumerate(world.STATES):
            for cause, why in enumerate(world.CAUSES):
                cell = (real.state[:, column] == state) & (real.cause[:, column] == cause)
                yield ("availability", (name, word, why), "vehicles"), float(cell.sum()), float(len(real))


LIMIT = world.World().search_log10_lr


def _draws(real: Lorries) -> Iterator[tuple[Key, float, float]]:
    for (stratum,), which in _by(real.stratum, world.STRATA):
        there = which & (real.probability > 0)
        yield ("misses", (stratum,), "drawn"), float((there & real.drawn).sum()), float(there.sum())
        drawn = there & real.drawn
        yield ("misses", (stratum,), "draws followed"), float((drawn & real.searched).sum()), float(drawn.sum())


def _covert(tests: Lorries) -> Iterator[tuple[Key, float, float]]:
    there = prompted(tests)
    groups: tuple[tuple[str, Any], ...] = (
        ("all", ((("",), np.ones(len(tests), bool)),)),
        ("body_type", _by(tests.body, world.BODY_TYPES)),
        ("wind", _bands(tests.wind_m_s, WIND_BANDS)),
        ("load", _by(tests.load, world.LOADS)),
        ("aboard", _bands(tests.aboard_s, ABOARD_BANDS)),
        ("cargo", _by(tests.cargo, world.CARGOES)),
        ("place", _by(tests.place, world.PLACES)),
    )
    for factor, cells in groups:
        for (word,), which in cells:
            yield ("covert", (factor, word), "prompted"), float((which & there).sum()), float(which.sum())


def _by(index: Any, words: Sequence[str]) -> Iterator[tuple[tuple[str, ...], Truths]]:
    for number, word in enumerate(words):
        yield (word,), index == number


def _bands(values: Any, bands: Sequence[tuple[float, str]]) -> Iterator[tuple[tuple[str, ...], Truths]]:
    low = -np.inf
    for high, word in bands:
        yield (word,), (values >= low) & (values < high)
        low = high


def _hour(real: Lorries) -> Any:
    return real.began_ns // (3_600 * world.NS) % 24
