"""People in a load space: a heart that pushes, a breath that modulates it, a shift now and then (SCIENCE 2.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
COUNTS, SHARES = (
    (1, 2, 3, 4, 5, 6, 8),
    (0.3, 0.22, 0.18, 0.13, 0.09, 0.05, 0.03),
)  # found lorries hold 2-5 (SCIENCE 0.4)
BEAT_S = 0.6  # assumed: half length of what one beat does
TREMOR_HZ = (3.0, 12.0)  # assumed: of muscles that hold a posture
SHIFT_N = 30.0  # SCIENCE 2.1: half a second


@dataclass(frozen=True, slots=True)
class Burst:
    """One wavelet of a beat: when it comes after the beat, its middle frequency, width, phase and strength."""

    delay_s: float = 0.0
    centre_hz: float = 5.0
    width_s: float = 0.08
    phase: float = 0.0
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Beat:
    """The shape of one person's beats, and how it strays from beat to beat. All assumed, around SCIENCE 2.1.

    ``late_s`` and ``uneven`` are the standard deviations of each burst's moment and log strength; ``tremor`` is the rms
    of what muscles do between beats, against the beat's peak to peak.
    """

    bursts: tuple[Burst, ...] = (Burst(),)
    breath_jitter: float = 0.03
    own_jitter: float = 0.02
    breath_share: float = 0.3
    late_s: float = 0.0
    uneven: float = 0.0
    tremor: float = 0.0


@dataclass(frozen=True, slots=True)
class Person:
    """A heart and its coupling to the floor. ``at`` and ``across`` in lengths and widths of the body from its centre.

    ``along_share`` is the part of the force that pushes along the trailer, as a lying person's does; ``force_n`` is
    peak to peak. ``recorded`` names a real recording that takes the place of the force's shape.
    """

    rate_bpm: float
    force_n: float
    breath_hz: float
    coupling: float
    at: float
    shifts_per_s: float
    co2_l_min: float
    across: float = 0.0
    along_share: float = 0.0
    beat: Beat = Beat()


def draw_people(random: Generator, count: int | None = None) -> tuple[Person, ...]:
    """So many hidden people, or as many as found lorries hold; they chose one place, and sit on one kind of load."""
    if count is None:
        count = int(random.choice(COUNTS, p=SHARES))
    middle = random.uniform(-0.45, 0.45)
    loose_db = random.uniform(0, 1) if random.random() < 0.4 else random.uniform(3, 12)  # SCIENCE 2.1: floor, or load
    return tuple(_draw_person(random, middle, loose_db) for _ in range(count))


def _draw_person(random: Generator, middle: float, loose_db: float) -> Person:
    rested = random.random() < 0.8
    return Person(
        rate_bpm=float(random.uniform(50, 100) if rested else random.uniform(90, 140)),
        force_n=float(random.uniform(1.0, 4.0)),
        breath_hz=float(random.uniform(0.2, 0.4)),
        coupling=float(10 ** (-(loose_db + random.uniform(0, 3)) / 20)),
        at=float(np.clip(middle + random.normal(0, 0.08), -0.47, 0.47)),
        shifts_per_s=float(random.choice([0.0, 1 / 120, 1 / 40, 1 / 15], p=[0.35, 0.3, 0.25, 0.1])),
        co2_l_min=float(random.uniform(0.2, 0.3) * (random.uniform(0.6, 1.2) if rested else random.uniform(1.2, 3.0))),
        across=float(random.uniform(-0.45, 0.45)),
        along_share=float(random.uniform(0.0, 1.0) if random.random() < 0.4 else random.uniform(0.0, 0.3)),
        beat=draw_beat(random),
    )


def draw_beat(random: Generator) -> Beat:
    """A shape within what is known of recoil (energy mostly in 3-8 Hz), or, of one in two, as chests are: several
    bursts of their own frequencies that change from beat to beat (24 phones on chests were looked at; ranges assumed).
    """
    plain = random.random() < 0.5
    return Beat(
        bursts=_plain(random) if plain else _several(random),
        breath_jitter=float(random.uniform(0.01, 0.06)),
        own_jitter=float(random.uniform(0.01, 0.04)),
        breath_share=float(random.uniform(0.1, 0.45)),
        late_s=0.0 if plain else float(random.uniform(0.003, 0.03)),
        uneven=0.0 if plain else float(random.uniform(0.05, 0.5)),
        tremor=0.0 if plain else float(10 ** random.uniform(-2.0, -0.7)),
    )


def _plain(random: Generator) -> tuple[Burst, ...]:
    centre_hz, width_s = float(random.uniform(3.5, 7.0)), float(random.uniform(0.05, 0.12))
    first = Burst(0.0, centre_hz, width_s, float(random.uniform(0, 2 * np.pi)))
    return first, Burst(float(random.uniform(0.22, 0.38)), centre_hz, width_s, 0.0, float(random.uniform(0.0, 0.6)))


def _several(random: Generator) -> tuple[Burst, ...]:
    return tuple(
        Burst(
            delay_s=float(random.uniform(-0.05, 0.05) if number == 0 else random.uniform(0.1, 0.5)),
            centre_hz=float(random.uniform(2.5, 10.0)),
            width_s=float(random.uniform(0.04, 0.16)),
            phase=float(random.uniform(0, 2 * np.pi)),
            strength=1.0 if number == 0 else float(random.uniform(0.2, 1.0)),
        )
        for number in range(int(random.integers(2, 5)))
    )


def force(person: Person, n: int, rate_hz: float, random: Generator) -> Floats:
    """Force on what the person sits or lies on, N (n,): beats, breath, shifts."""
    t = np.arange(n) / rate_hz
    breath = np.sin(2 * np.pi * person.breath_hz * t + random.uniform(0, 2 * np.pi))
    made = 0.05 * breath  # SCIENCE 2.1: 0.1 N peak to peak
    at, strength = _beats(person, t[-1], random)
    made += _placed(at, strength, person.beat, n, rate_hz, random) * (person.force_n / 2)
    made += _tremor(n, rate_hz, random) * (person.beat.tremor * person.force_n)
    return made + shifts(person, n, rate_hz, random)


def shifts(person: Person, n: int, rate_hz: float, random: Generator) -> Floats:
    """Changes of posture, N (n,)."""
    t = np.arange(n) / rate_hz
    made = np.zeros(n)
    for moment in t[random.random(n) < person.shifts_per_s / rate_hz]:
        made += SHIFT_N * np.exp(-0.5 * ((t - moment) / 0.15) ** 2) * random.uniform(0.1, 1)
    return made


def _beats(person: Person, until_s: float, random: Generator) -> tuple[Floats, Floats]:
    """Moments and strengths of beats: the interval strays with the breath and by chance."""
    beat, interval = person.beat, 60 / person.rate_bpm
    chance = random.normal(size=int(2 * until_s / interval) + 8)
    moments = [random.uniform(-interval, 0)]
    for one in chance:
        breath = np.sin(2 * np.pi * person.breath_hz * moments[-1])
        moments.append(moments[-1] + interval * max(0.4, 1 + beat.breath_jitter * breath + beat.own_jitter * one))
        if moments[-1] > until_s:
            break
    at = np.asarray(moments, np.float64)
    return at, 1 + beat.breath_share * np.sin(2 * np.pi * person.breath_hz * at)


def _placed(at: Floats, strength: Floats, beat: Beat, n: int, rate_hz: float, random: Generator) -> Floats:
    """The bursts of ``beat`` at each moment, of that strength; (n,)."""
    span, made = np.arange(round(2 * BEAT_S * rate_hz)), np.zeros(n)
    for burst in beat.bursts:
        moment = at + burst.delay_s + beat.late_s * random.normal(size=len(at))
        strong = strength * burst.strength * np.exp(beat.uneven * random.normal(size=len(at)))
        index = np.floor((moment - BEAT_S) * rate_hz).astype(int)[:, None] + span[None, :]
        x = index / rate_hz - moment[:, None]
        shape = np.exp(-0.5 * (x / burst.width_s) ** 2) * np.cos(2 * np.pi * burst.centre_hz * x + burst.phase)
        inside = (index >= 0) & (index < n)
        made += np.bincount(index[inside], (strong[:, None] * shape)[inside], n)[:n]
    return np.asarray(made, np.float64)


def _tremor(n: int, rate_hz: float, random: Generator) -> Floats:
    """Muscles at work, unit rms in `TREMOR_HZ`; (n,)."""
    spectrum = np.fft.rfft(random.normal(size=n))
    hz = np.fft.rfftfreq(n, 1 / rate_hz)
    wave = np.fft.irfft(spectrum * ((hz >= TREMOR_HZ[0]) & (hz <= TREMOR_HZ[1])), n)
    return np.asarray(wave / max(float(np.std(wave)), 1e-300), np.float64)
