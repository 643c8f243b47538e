"""Real recordings in place of made ones: chests as the force of a heart, ambient ground as the ground.

A folder with ``heartbeat/`` (CSV and tab-separated accelerations, one person a file) and ``ground/`` (miniSEED, one
place a file). Persons and places are cut in two halves by name, so that what trained never examines. Every series is
put on the wanted rate, freed of what lies outside its band, and scaled to unit rms: its loudness is the world's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pymseed
from numpy.random import Generator
from numpy.typing import NDArray

from hil.world.lorry import Borrowed

Floats = NDArray[np.float64]
HALVES = ("train", "test")
HEART_BAND_HZ, GROUND_BAND_HZ = (0.7, 12.0), (0.5, 40.0)  # what a chest says of the heart; what ground sensors hear
LONGEST_S = 600.0


class NoRecordings(Exception):
    """One line: where, and what was looked for."""


@dataclass(frozen=True, slots=True)
class Recordings:
    """Unit-rms series at ``rate_hz``: of persons, by person; of ground, by place and component."""

    rate_hz: float
    hearts: dict[str, Floats]
    ground: dict[str, Floats]

    def borrowed(self, seconds: float, random: Generator, hearts: bool = True, ground: bool = True) -> Borrowed:
        """A piece of each for one passage: one person's chest, one place's ground, other moments of it as local."""
        n = round(seconds * self.rate_hz)
        place = self.ground[str(random.choice(sorted(self.ground)))] if ground and self.ground else None
        chests = tuple(self.hearts.values()) if hearts else ()
        order = random.permutation(len(chests))
        return Borrowed(
            hearts=tuple(_piece(chests[i], n, random) for i in order),
            ground=None if place is None else _piece(place, n, random),
            local=() if place is None else tuple(_piece(place, n, random) for _ in range(4)),
        )


def load(folder: Path, half: str, rate_hz: float) -> Recordings:
    """The recordings of one half.

    Raises:
        NoRecordings: the folder has none.
    """
    hearts = {path.stem: path for path in sorted((folder / "heartbeat").rglob("*.csv"))}
    hearts |= {path.stem: path for path in sorted((folder / "heartbeat").rglob("*.txt"))}
    ground = {path.stem: path for path in sorted((folder / "ground").rglob("*.miniseed"))}
    if not hearts and not ground:
        raise NoRecordings(f"{folder}: no heartbeat/*.csv or *.txt, no ground/*.miniseed below it")
    places: dict[str, Floats] = {}
    for name, path in ground.items():
        if _half(name, list(ground)) == half:
            places |= _ground(name, path, rate_hz)
    chests = {name: _chest(path, rate_hz) for name, path in hearts.items() if _half(name, list(hearts)) == half}
    return Recordings(rate_hz, {name: wave for name, wave in chests.items() if wave is not None}, places)


def _half(name: str, names: list[str]) -> str:
    return HALVES[sorted(names).index(name) % 2]


def _piece(wave: Floats, n: int, random: Generator) -> Floats:
    """A stretch of it from a random moment on, over its end again."""
    return np.roll(wave, -int(random.integers(len(wave))))[:n] if len(wave) >= n else np.resize(wave, n)


def _chest(path: Path, rate_hz: float) -> Floats | None:
    """The axis of the largest heart-band motion; None where the file holds no such table."""
    with path.open(encoding="utf-8") as file:
        head = file.readline()
        rows = np.genfromtxt(file, delimiter="\t" if "\t" in head else ",", dtype=np.float64)
    names = head.replace("\t", ",").strip().split(",")
    if {"seconds_elapsed", "x", "y", "z"} <= set(names):
        t, axes = rows[:, names.index("seconds_elapsed")], rows[:, [names.index(axis) for axis in "xyz"]]
    elif {"AccX", "AccY", "AccZ", "Log Freq"} <= set(names):  # its time column lies (whole seconds): rows are counted
        axes = rows[:, [names.index(axis) for axis in ("AccX", "AccY", "AccZ")]]
        t = np.arange(len(rows)) / rows[0, names.index("Log Freq")]
    else:
        return None
    good = np.isfinite(t) & np.isfinite(axes).all(axis=1)
    t, axes = t[good], axes[good]
    at = np.arange(t[0], t[-1], 1 / rate_hz)
    waves = [_banded(np.interp(at, t, axis), rate_hz, *HEART_BAND_HZ) for axis in axes.T]
    best = max(waves, key=lambda wave: float(np.median(np.abs(wave))))
    clipped = np.clip(best, *np.percentile(best, (0.5, 99.5)))  # the phone being put down is no heart
    return clipped / max(float(clipped.std()), 1e-300)


def _ground(name: str, path: Path, rate_hz: float) -> dict[str, Floats]:
    found = {}
    for trace in pymseed.MS3TraceList.from_file(str(path), unpack_data=True):
        segment = max(trace, key=lambda one: one.samplecnt)
        wave = np.asarray(segment.np_datasamples, np.float64)[: round(LONGEST_S * segment.samprate)]
        at = np.arange(0, len(wave) / segment.samprate, 1 / rate_hz)
        wave = _banded(np.interp(at, np.arange(len(wave)) / segment.samprate, wave), rate_hz, *GROUND_BAND_HZ)
        found[f"{name}:{trace.sourceid}"] = wave / max(float(wave.std()), 1e-300)
    return found


def _banded(wave: Floats, rate_hz: float, low_hz: float, high_hz: float) -> Floats:
    spectrum = np.fft.rfft(wave - wave.mean())
    hz = np.fft.rfftfreq(len(wave), 1 / rate_hz)
    return np.fft.irfft(spectrum * ((hz >= low_hz) & (hz <= high_hz)), len(wave))
