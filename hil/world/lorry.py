"""A lorry on its suspension, on noisy ground, in wind, perhaps with people inside: what the sensors would feel.

A stiff body bounces, pitches and rolls on its springs, and its frame bends; each way of swinging answers a force F at
one place with a velocity at another (SCIENCE 2.2): ``V/F = lever j w / (m (w0^2 - w^2 + 2 j z w0 w))``; under ground
velocity G: ``V/G = (w0^2 + 2 j z w0 w) / (w0^2 - w^2 + 2 j z w0 w)``. At nanometre amplitudes friction holds the
springs and the body rides on its tyres ("stuck"); both regimes are mixed. All ranges are SCIENCE 2, most of it assumed.
Pure numpy; every draw comes from the generator that is handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hil.world.machines import Machine, shaken
from hil.world.people import Person, draw_people, force, shifts
from hil.world.surroundings import (
    Surroundings,
    coloured,
    draw_surroundings,
    ground_asd,
    loudness,
    neighbour,
    wind_force,
)

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

SENSORS = ("B1", "B2", "B3", "G1", "G2")
PITCH, ROLL = 6.0, 6.0  # assumed: 12 for a uniform bar, less as axles hold it
SENSOR_FLOOR_M_S_RTHZ = 0.2e-9  # SCIENCE 2.3
BODIES, BODY_SHARES = ("soft_sided", "hard_sided", "refrigerated", "tanker"), (0.5, 0.22, 0.22, 0.06)
LEAD_S = 4.0  # of the transform: its circle is not felt


@dataclass(frozen=True, slots=True)
class Mode:
    """One way of swinging: share of the motion, natural frequency (Hz), damping ratio; ``bends`` is the frame."""

    share: float
    f0_hz: float
    damping: float
    bends: bool = False


@dataclass(frozen=True, slots=True)
class Lorry:
    """A vehicle: mass, body, modes (shares add to 1), roll under wind, how fast it settles after stopping.

    ``pitch_over_bounce`` is the ratio of their frequencies; ``height`` of the load over its centre, in body lengths,
    turns a push along the vehicle into pitch.
    """

    mass_kg: float
    body_type: str
    modes: tuple[Mode, ...]
    roll_hz: float
    roll_damping: float
    ratchet_m_s: float
    ratchet_s: float
    pitch_over_bounce: float = 1.0
    pitch_lever: float = PITCH
    roll_lever: float = 0.0
    height: float = 0.05
    slosh_m_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a body sensor sits, in lengths and widths from the centre; front is negative."""

    along: float
    across: float = 0.0


USUAL_PLACES: Mapping[str, Place] = {"B1": Place(-0.4), "B2": Place(0.0), "B3": Place(0.4)}


@dataclass(frozen=True, slots=True)
class Layout:
    """Sensors of a lane: places on the body by name, and names on the ground."""

    body: Mapping[str, Place] = field(default_factory=lambda: dict(USUAL_PLACES))
    ground: tuple[str, ...] = ("G1", "G2")


@dataclass(frozen=True, slots=True)
class Borrowed:
    """Real recordings in place of made ones, unit rms, each (n,) or longer: forces of hearts, and ground motion."""

    hearts: tuple[Floats, ...] = ()
    ground: Floats | None = None
    local: tuple[Floats, ...] = ()


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is true of one passage and can shake it."""

    lorry: Lorry
    people: tuple[Person, ...]
    around: Surroundings
    machines: tuple[Machine, ...] = ()
    layout: Layout = Layout()


def draw_lorry(random: Generator) -> Lorry:
    """A vehicle of the ranges of SCIENCE 2.2: 4-40 t, on tyres, on springs, or between."""
    mass = float(np.exp(random.uniform(np.log(4e3), np.log(40e3))))
    body = str(random.choice(BODIES, p=BODY_SHARES))
    tyres = 6 if mass < 10e3 else 12
    stuck_hz = float(np.sqrt(tyres * 0.9e6 / mass) / (2 * np.pi) * random.uniform(0.8, 1.2))
    stuck = float(random.beta(2, 1))
    bend = float(random.uniform(0.02, 0.15))
    modes = (
        Mode(stuck * (1 - bend), stuck_hz, float(random.uniform(0.03, 0.1))),
        Mode((1 - stuck) * (1 - bend), float(random.uniform(1.1, 2.1)), float(random.uniform(0.15, 0.35))),
        Mode(bend, float(random.uniform(5, 10)), float(random.uniform(0.02, 0.06)), bends=True),
    )
    return Lorry(
        mass,
        body,
        modes,
        roll_hz=float(random.uniform(0.8, 1.5)),
        roll_damping=float(random.uniform(0.1, 0.2)),
        ratchet_m_s=float(10 ** random.uniform(-8, -6)),
        ratchet_s=float(random.uniform(10, 30)),
        pitch_over_bounce=float(random.uniform(0.9, 1.4)),
        pitch_lever=float(random.uniform(4, 10)),
        roll_lever=float(random.uniform(3, 9)),
        height=float(random.uniform(0.03, 0.12)),
        slosh_m_s=float(10 ** random.uniform(-6, -4)) if body == "tanker" else 0.0,
    )


def draw_layout(random: Generator) -> Layout:
    """One to four body sensors from front to rear, one or two beside the wheels."""
    bodies = int(random.choice([1, 2, 3, 4], p=[0.08, 0.27, 0.4, 0.25]))
    along = np.linspace(-0.4, 0.4, bodies) if bodies > 1 else np.array([random.uniform(-0.4, 0.4)])
    body = {
        f"B{i + 1}": Place(float(x + random.uniform(-0.08, 0.08)), float(random.uniform(-0.4, 0.4)))
        for i, x in enumerate(along)
    }
    return Layout(body, ("G1", "G2") if random.random() < 0.7 else ("G1",))


def draw_scene(random: Generator, occupied: bool) -> Scene:
    """A random passage; the vehicle and its surroundings are drawn first, so they do not depend on ``occupied``."""
    lorry, around = draw_lorry(random), draw_surroundings(random)
    return Scene(lorry, draw_people(random) if occupied else (), around)


def vibration(
    scene: Scene, duration_s: float, rate_hz: float, random: Generator, borrowed: Borrowed | None = None
) -> dict[str, Floats]:
    """Velocity in m/s at each sensor of the layout, (n,) float64, before the sensor's own response."""
    n = round(duration_s * rate_hz)
    padded = 1 << (n + round(LEAD_S * rate_hz) - 1).bit_length()
    hz: Floats = np.fft.rfftfreq(padded, 1 / rate_hz).astype(np.float64)
    box = _Box(scene, hz, padded, rate_hz, random, borrowed or Borrowed())
    found = {name: box.on_body(place) for name, place in scene.layout.body.items()}
    found |= {name: box.on_ground() for name in scene.layout.ground}
    floor = SENSOR_FLOOR_M_S_RTHZ * np.sqrt(rate_hz / 2)
    return {name: wave[:n] + random.normal(size=n) * floor for name, wave in found.items()}


class _Box:
    """What drives the vehicle in this passage, as spectra, made once; then the answer at each place."""

    def __init__(self, scene: Scene, hz: Floats, n: int, rate_hz: float, random: Generator, borrowed: Borrowed) -> None:
        self._scene, self._hz, self._n, self._rate, self._random = scene, hz, n, rate_hz, random
        lorry, around = scene.lorry, scene.around
        self._w = 2 * np.pi * hz
        self._asd = ground_asd(around, hz)
        self._loud = loudness(around, n, rate_hz, random)
        self._lines = np.fft.rfft(neighbour(around, n, rate_hz, random))
        self._locals = list(borrowed.local)
        self._shared = self._ground(around.ground_coherence, borrowed.ground) + self._lines
        alone = (1 - around.ground_coherence) * around.wheels**2
        self._axles = [self._ground(alone, self._local()) if alone else 0.0 for _ in range(2)]
        self._hearts = _hearts(scene.people, n, rate_hz, random, borrowed.hearts)
        self._wind = wind_force(around, hz, n, rate_hz, random)
        self._knocks = [(float(random.uniform(-0.5, 0.5)), _knocks(scene, n, rate_hz, random)) for _ in range(2)]
        self._machines = [np.fft.rfft(shaken(machine, n, rate_hz, random)) for machine in scene.machines]
        self._bounce = [(mode, *_answers(mode.f0_hz, mode.damping, self._w)) for mode in lorry.modes]
        self._pitch = [
            (mode, *_answers(mode.f0_hz * lorry.pitch_over_bounce, mode.damping, self._w))
            for mode in lorry.modes
            if not mode.bends
        ]
        self._roll, _ = _answers(lorry.roll_hz, lorry.roll_damping, self._w)

    def on_ground(self) -> Floats:
        """Beside the wheels: what all feel, and what this sensor alone does; m/s (n,)."""
        own = self._ground(1 - self._scene.around.ground_coherence, self._local())
        return self._wave(self._shared + own + sum(0.01 * part for part in self._machines))

    def on_body(self, place: Place) -> Floats:
        """On the chassis, m/s (n,)."""
        random, lorry = self._random, self._scene.lorry
        front, rear = (self._shared + axle for axle in self._axles)
        lag = np.exp(-1j * self._w * random.uniform(-0.02, 0.02))
        shaken_by_ground = np.zeros(len(self._hz), np.complex128)
        for mode, _, passes in self._bounce:
            form = _bend(place.along) if mode.bends else 1.0
            shaken_by_ground += mode.share * form * passes * (front + rear) / 2
        for mode, _, passes in self._pitch:
            shaken_by_ground += mode.share * passes * place.along * (rear - front)
        total = shaken_by_ground * random.uniform(0.8, 1.2) * lag
        total += self._wind * self._roll / lorry.mass_kg * random.uniform(0.7, 1.3)
        for person, push in self._hearts:
            total += push * self._mobility(person, place) * person.coupling
        for at, knocks in self._knocks:
            total += knocks * (1 + lorry.pitch_lever * at * place.along) / 2
        for part in self._machines:
            total += part * random.uniform(0.6, 1.4)
        wave = self._wave(total)
        if self._scene.around.rain_m_s:
            wave = wave + random.normal(size=self._n) * self._scene.around.rain_m_s
        return wave

    def _mobility(self, person: Person, place: Place) -> Complexes:
        lorry = self._scene.lorry
        upright, along = 1 - person.along_share, person.along_share * lorry.height * lorry.pitch_lever
        total = np.zeros(len(self._hz), np.complex128)
        for mode, moves, _ in self._bounce:
            lever = _bend(person.at) * _bend(place.along) if mode.bends else 1.0
            total += upright * mode.share * lever * moves
        for mode, moves, _ in self._pitch:
            total += (upright * lorry.pitch_lever * person.at + along) * place.along * mode.share * moves
        total += upright * lorry.roll_lever * person.across * place.across * self._roll
        return total / lorry.mass_kg

    def _ground(self, share: float, real: Floats | None) -> Complexes:
        """Ground motion with this share of the power, made or borrowed, as loud as it is at the time."""
        scale = self._asd * np.sqrt(max(0.0, share))
        if real is None:
            wave = np.fft.irfft(coloured(scale, self._n, self._rate, self._random), self._n)
        else:
            rms = np.sqrt(np.sum(scale**2) * self._rate / self._n)
            wave = np.resize(real, self._n) * rms
        return np.fft.rfft(wave * self._loud)

    def _local(self) -> Floats | None:
        return self._locals.pop() if self._locals else None

    def _wave(self, spectrum: Complexes) -> Floats:
        return np.fft.irfft(spectrum, self._n)


def _answers(f0_hz: float, damping: float, w: Floats) -> tuple[Complexes, Complexes]:
    """Velocity times mass under a force, and share of the ground's velocity that is passed on."""
    w0 = 2 * np.pi * f0_hz
    below = w0**2 - w**2 + 2j * damping * w0 * w
    return 1j * w / below, (w0**2 + 2j * damping * w0 * w) / below


def _bend(along: float) -> float:
    """The frame's first bending, free at both ends, as a cosine (assumed); mean square 1."""
    return float(np.sqrt(2) * np.cos(2 * np.pi * along))


def _hearts(
    people: tuple[Person, ...], n: int, rate_hz: float, random: Generator, real: tuple[Floats, ...]
) -> list[tuple[Person, Complexes]]:
    found = []
    for index, person in enumerate(people):
        if index < len(real):  # a recorded chest: unit rms, a beat's peak to peak is some five times that (assumed)
            wave = np.resize(real[index], n) * person.force_n / 5 + shifts(person, n, rate_hz, random)
        else:
            wave = force(person, n, rate_hz, random)
        found.append((person, np.fft.rfft(wave)))
    return found


def _knocks(scene: Scene, n: int, rate_hz: float, random: Generator) -> Complexes:
    """Springs that creep after the stop, a load that creaks, slosh: small knocks that ring at the first mode."""
    lorry, around = scene.lorry, scene.around
    t = np.arange(n) / rate_hz
    settling = random.random(n) < 2.0 / rate_hz * np.exp(-t / lorry.ratchet_s)
    blows = np.where(settling, lorry.ratchet_m_s * random.exponential(size=n), 0.0)
    if around.creaks_per_s:
        creaks = random.random(n) < around.creaks_per_s / rate_hz
        blows = blows + np.where(creaks, around.creak_m_s * random.exponential(size=n), 0.0)
    mode = lorry.modes[0]
    x = t[: round(LEAD_S * rate_hz)]
    ring = np.exp(-2 * np.pi * mode.f0_hz * mode.damping * x) * np.sin(2 * np.pi * mode.f0_hz * x)
    spectrum = np.fft.rfft(blows) * np.fft.rfft(ring, n)
    if lorry.slosh_m_s:
        slosh_hz = random.uniform(0.3, 0.8)
        slow = coloured(np.exp(-0.5 * ((np.fft.rfftfreq(n, 1 / rate_hz) - slosh_hz) / 0.05) ** 2), n, rate_hz, random)
        spectrum = spectrum + slow * lorry.slosh_m_s
    return np.asarray(spectrum, np.complex128)


def geophone(velocity: Floats, rate_hz: float, f0_hz: float = 4.5, damping: float = 0.7) -> Floats:
    """What a coil sensor gives of it, gain 1 above its corner: ``s^2 / (s^2 + 2 z w0 s + w0^2)``; (n,) -> (n,)."""
    long = 1 << (len(velocity) + round(LEAD_S * rate_hz) - 1).bit_length()
    s = 2j * np.pi * np.fft.rfftfreq(long, 1 / rate_hz)
    w0 = 2 * np.pi * f0_hz
    spectrum = np.fft.rfft(velocity, long) * s**2 / (s**2 + 2 * damping * w0 * s + w0**2)
    return np.fft.irfft(spectrum, long)[: len(velocity)]


def geophone_poles(f0_hz: float = 4.5, damping: float = 0.7) -> tuple[complex, complex]:
    """Poles of `geophone`, rad/s; its zeros are two at 0."""
    w0 = 2 * np.pi * f0_hz
    real, imaginary = -damping * w0, w0 * np.sqrt(1 - damping**2)
    return complex(real, imaginary), complex(real, -imaginary)
