"""A lorry on its suspension, on noisy ground, in wind, perhaps with people inside: what the sensors would feel.

Velocity of the body under a force F (SCIENCE 2.2), per mode: ``V/F = j w / (m (w0^2 - w^2 + 2 j z w0 w))``; under
ground velocity G: ``V/G = (w0^2 + 2 j z w0 w) / (w0^2 - w^2 + 2 j z w0 w)``. At nanometre amplitudes friction holds the
springs and the body rides on its tyres ("stuck"); both regimes are mixed. All ranges are SCIENCE 2, most of it assumed.
Pure numpy; every draw comes from the generator that is handed in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Complexes = NDArray[np.complex128]

SENSORS = ("B1", "B2", "B3", "G1", "G2")
BODY_AT = {"B1": -0.4, "B2": 0.0, "B3": 0.4}  # along the body, in lengths from its centre; front is negative
PITCH = 6.0  # assumed: 12 for a uniform bar, less as axles hold it
SENSOR_FLOOR_M_S_RTHZ = 0.2e-9  # SCIENCE 2.3
# Peterson high-noise model as velocity ASD (SCIENCE 2.4): Hz -> m/s/rtHz; flat outside.
_GROUND_HZ = np.array([0.5, 1.0, 3.0, 5.0, 8.0, 20.0, 40.0])
_GROUND_ASD = np.array([300e-9, 229e-9, 151e-9, 466e-9, 437e-9, 200e-9, 100e-9])


@dataclass(frozen=True, slots=True)
class Mode:
    """One way of swinging: share of the motion, natural frequency (Hz), damping ratio."""

    share: float
    f0_hz: float
    damping: float


@dataclass(frozen=True, slots=True)
class Lorry:
    """A vehicle: mass, body, modes (shares add to 1), roll under wind, how fast it settles after stopping."""

    mass_kg: float
    body_type: str
    modes: tuple[Mode, ...]
    roll_hz: float
    roll_damping: float
    ratchet_m_s: float
    ratchet_s: float


@dataclass(frozen=True, slots=True)
class Person:
    """A heart and its coupling to the floor; ``at`` along the body as `BODY_AT`."""

    rate_bpm: float
    force_n: float  # peak to peak
    breath_hz: float
    coupling: float
    at: float
    shifts_per_s: float
    co2_l_min: float


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Wind at the vehicle (not outdoors), ground against the high-noise model, what the neighbours do."""

    wind_m_s: float
    sheltered: bool
    ground_gain: float
    ground_coherence: float
    trucks_per_s: float
    neighbour_rpm: float | None


@dataclass(frozen=True, slots=True)
class Scene:
    """All that is true of one passage."""

    lorry: Lorry
    people: tuple[Person, ...]
    around: Surroundings


def draw_lorry(random: Generator) -> Lorry:
    """A vehicle of the ranges of SCIENCE 2.2: 4-40 t, on tyres, on springs, or between."""
    mass = float(np.exp(random.uniform(np.log(4e3), np.log(40e3))))
    body = str(random.choice(["soft_sided", "hard_sided", "refrigerated", "tanker"], p=[0.5, 0.22, 0.22, 0.06]))
    tyres = 6 if mass < 10e3 else 12
    stuck_hz = float(np.sqrt(tyres * 0.9e6 / mass) / (2 * np.pi) * random.uniform(0.85, 1.15))
    stuck = float(np.clip(random.beta(2, 1), 0.0, 1.0))
    bend = float(random.uniform(0.02, 0.15))
    modes = (
        Mode(stuck * (1 - bend), stuck_hz, float(random.uniform(0.03, 0.08))),
        Mode((1 - stuck) * (1 - bend), float(random.uniform(1.2, 2.0)), float(random.uniform(0.2, 0.35))),
        Mode(bend, float(random.uniform(5, 10)), float(random.uniform(0.02, 0.06))),
    )
    roll = (float(random.uniform(0.8, 1.5)), float(random.uniform(0.1, 0.2)))
    return Lorry(mass, body, modes, *roll, float(10 ** random.uniform(-8, -5.5)), float(random.uniform(10, 30)))


def draw_people(random: Generator) -> tuple[Person, ...]:
    """One to five hidden people (found lorries hold 2-5, SCIENCE 0.4), lying or sitting, on floor or load."""
    count = int(random.choice([1, 2, 3, 4, 5], p=[0.35, 0.25, 0.2, 0.12, 0.08]))
    return tuple(
        Person(
            rate_bpm=float(random.uniform(55, 120)),
            force_n=float(random.uniform(1.0, 4.0)),
            breath_hz=float(random.uniform(0.2, 0.4)),
            coupling=float(10 ** (-random.uniform(0, 15) / 20)),
            at=float(random.uniform(-0.45, 0.45)),
            shifts_per_s=float(random.choice([0.0, 1 / 60, 1 / 20], p=[0.5, 0.35, 0.15])),
            co2_l_min=float(random.uniform(0.15, 0.5)),
        )
        for _ in range(count)
    )


def draw_surroundings(random: Generator) -> Surroundings:
    """Sheds and open lanes, ports quieter and louder than the high-noise model."""
    sheltered = bool(random.random() < 0.6)
    outdoor = float(random.weibull(2.0) * 3.0)
    return Surroundings(
        wind_m_s=outdoor,
        sheltered=sheltered,
        ground_gain=float(10 ** random.uniform(-1.0, 0.4)),
        ground_coherence=float(random.uniform(0.8, 0.99)),
        trucks_per_s=float(random.choice([0.0, 1 / 60, 1 / 20], p=[0.4, 0.4, 0.2])),
        neighbour_rpm=float(random.uniform(500, 750)) if random.random() < 0.25 else None,
    )


def draw_scene(random: Generator, occupied: bool) -> Scene:
    """A random passage; the vehicle and its surroundings are drawn first, so they do not depend on ``occupied``."""
    lorry, around = draw_lorry(random), draw_surroundings(random)
    return Scene(lorry, draw_people(random) if occupied else (), around)


def vibration(scene: Scene, duration_s: float, rate_hz: float, random: Generator) -> dict[str, Floats]:
    """Velocity in m/s at each of `SENSORS`, (n,) float64, before the sensor's own response."""
    n = round(duration_s * rate_hz)
    padded = 1 << (n + round(4 * rate_hz) - 1).bit_length()  # 4 s more, so that the circle of the FFT is not felt
    hz: Floats = np.fft.rfftfreq(padded, 1 / rate_hz).astype(np.float64)
    ground, local = _ground(scene, hz, padded, rate_hz, random)
    wind = _wind(scene, hz, padded, rate_hz, random)
    forces = [(person, np.fft.rfft(_heart_force(person, padded, rate_hz, random))) for person in scene.people]
    shaken = ground * _transmissibility(scene.lorry, hz)
    found: dict[str, Floats] = {}
    for index, sensor in enumerate(SENSORS):
        if sensor.startswith("G"):
            spectrum = ground + local[index - 3]
        else:
            at = BODY_AT[sensor]
            lag = np.exp(-2j * np.pi * hz * random.uniform(-0.02, 0.02))
            spectrum = shaken * random.uniform(0.8, 1.2) * lag + wind * random.uniform(0.7, 1.3)
            for person, force in forces:
                lever = 1 + PITCH * person.at * at
                spectrum = spectrum + force * _mobility(scene.lorry, hz) * (person.coupling * lever)
        wave = np.fft.irfft(spectrum, padded)[:n]
        wave = wave + random.normal(size=n) * SENSOR_FLOOR_M_S_RTHZ * np.sqrt(rate_hz / 2)
        found[sensor] = wave + _settling(scene.lorry, n, rate_hz, random) if sensor.startswith("B") else wave
    return found


def geophone(velocity: Floats, rate_hz: float, f0_hz: float = 4.5, damping: float = 0.7) -> Floats:
    """What a coil sensor gives of it, gain 1 above its corner: ``s^2 / (s^2 + 2 z w0 s + w0^2)``; (n,) -> (n,)."""
    s = 2j * np.pi * np.fft.rfftfreq(2 * len(velocity), 1 / rate_hz)
    w0 = 2 * np.pi * f0_hz
    spectrum = np.fft.rfft(velocity, 2 * len(velocity)) * s**2 / (s**2 + 2 * damping * w0 * s + w0**2)
    return np.fft.irfft(spectrum, 2 * len(velocity))[: len(velocity)]


def geophone_poles(f0_hz: float = 4.5, damping: float = 0.7) -> tuple[complex, complex]:
    """Poles of `geophone`, rad/s; its zeros are two at 0."""
    w0 = 2 * np.pi * f0_hz
    real, imaginary = -damping * w0, w0 * np.sqrt(1 - damping**2)
    return complex(real, imaginary), complex(real, -imaginary)


def _mobility(lorry: Lorry, hz: Floats) -> Complexes:
    w = 2 * np.pi * hz
    total = np.zeros(len(hz), np.complex128)
    for mode in lorry.modes:
        w0 = 2 * np.pi * mode.f0_hz
        total += mode.share * 1j * w / (lorry.mass_kg * (w0**2 - w**2 + 2j * mode.damping * w0 * w))
    return total


def _transmissibility(lorry: Lorry, hz: Floats) -> Complexes:
    w = 2 * np.pi * hz
    total = np.zeros(len(hz), np.complex128)
    for mode in lorry.modes:
        w0 = 2 * np.pi * mode.f0_hz
        spring = w0**2 + 2j * mode.damping * w0 * w
        total += mode.share * spring / (spring - w**2)
    return total


def _coloured(asd: Floats, n: int, rate_hz: float, random: Generator) -> Complexes:
    """Spectrum (as of ``rfft`` over n samples) of Gaussian noise with one-sided amplitude density ``asd``."""
    scale = asd * np.sqrt(n * rate_hz / 4)
    draws = random.normal(size=(2, len(asd)))
    spectrum = np.asarray(scale * (draws[0] + 1j * draws[1]), np.complex128)
    spectrum[0] = 0.0
    return spectrum


def _ground(
    scene: Scene, hz: Floats, n: int, rate_hz: float, random: Generator
) -> tuple[Complexes, tuple[Complexes, Complexes]]:
    """Ground motion that the body feels too, and what each ground sensor alone feels (incoherent share)."""
    around = scene.around
    asd = around.ground_gain * np.exp(np.interp(hz, _GROUND_HZ, np.log(_GROUND_ASD)))
    shared = _coloured(asd * np.sqrt(around.ground_coherence), n, rate_hz, random)
    passing = np.zeros(n)
    for at in np.flatnonzero(random.random(n) < around.trucks_per_s / rate_hz):
        width = random.uniform(1.0, 2.5) * rate_hz  # a heavy vehicle at 10 m: 2-5 s, 10-100 times (unverified)
        passing += random.uniform(3, 30) * np.exp(-0.5 * ((np.arange(n) - at) / width) ** 2)
    swell = np.fft.irfft(_coloured(asd, n, rate_hz, random), n) * passing
    shared = shared + np.fft.rfft(swell)
    if around.neighbour_rpm is not None:
        t = np.arange(n) / rate_hz
        for order in (0.5, 1.0, 1.5, 3.0):
            f = around.neighbour_rpm / 60 * order * (1 + 0.003 * np.sin(2 * np.pi * 0.1 * t))
            level = random.uniform(0.02, 0.5) * 1e-6
            shared = shared + np.fft.rfft(level * np.sin(2 * np.pi * np.cumsum(f) / rate_hz + random.uniform(0, 6)))
    alone = asd * np.sqrt(1 - around.ground_coherence)
    return shared, (_coloured(alone, n, rate_hz, random), _coloured(alone, n, rate_hz, random))


def _wind(scene: Scene, hz: Floats, n: int, rate_hz: float, random: Generator) -> Complexes:
    """Wind on the side (SCIENCE 2.4): Kaimal gusts, a big side averages them out, the body rolls; doors rattle."""
    u = scene.around.wind_m_s * (random.uniform(0.0, 0.15) if scene.around.sheltered else random.uniform(0.7, 1.0))
    u = max(u, 0.02)
    area, drag, density, length, turbulence = 13.6 * 2.7, 1.2, 1.2, 20.0, 0.2  # assumed
    f = np.maximum(hz, 0.05)
    kaimal = (turbulence * u) ** 2 * 4 * length / u / (1 + 6 * f * length / u) ** (5 / 3)
    admittance = 1 / (1 + (2 * f * np.sqrt(area) / u) ** (4 / 3)) ** 2
    force = density * drag * area * u * np.sqrt(kaimal * admittance)
    w, w0 = 2 * np.pi * f, 2 * np.pi * scene.lorry.roll_hz
    moved = w / (scene.lorry.mass_kg * np.abs(w0**2 - w**2 + 2j * scene.lorry.roll_damping * w0 * w))
    return _coloured(force * moved, n, rate_hz, random)


def _heart_force(person: Person, n: int, rate_hz: float, random: Generator) -> Floats:
    """Beats with jitter (3 % breathing, 2 % chance) and breathing +-30 %, breath itself, and now and then a shift."""
    t = np.arange(n) / rate_hz
    force = 0.05 * np.sin(2 * np.pi * person.breath_hz * t)
    at, centre_hz = random.uniform(0, 1), random.uniform(4, 6)
    while at < t[-1]:
        breath = np.sin(2 * np.pi * person.breath_hz * at)
        first, last = (int(np.clip((at + d) * rate_hz, 0, n)) for d in (-0.5, 0.5))
        x = t[first:last] - at
        beat = np.exp(-0.5 * (x / 0.08) ** 2) * np.cos(2 * np.pi * centre_hz * x)
        force[first:last] += person.force_n / 2 * (1 + 0.3 * breath) * beat
        at += 60 / person.rate_bpm * (1 + 0.03 * breath + 0.02 * random.normal())
    for moment in t[random.random(n) < person.shifts_per_s / rate_hz]:
        force += 30 * np.exp(-0.5 * ((t - moment) / 0.15) ** 2) * random.uniform(0.2, 1)  # 30 N for half a second
    return force


def _settling(lorry: Lorry, n: int, rate_hz: float, random: Generator) -> Floats:
    """Springs creep after the stop in small random steps that ring at the first mode and die out (assumed)."""
    t = np.arange(n) / rate_hz
    wave = np.zeros(n)
    mode = lorry.modes[0]
    for moment in np.flatnonzero(random.random(n) < 2.0 / rate_hz * np.exp(-t / lorry.ratchet_s)):
        x = t[moment:] - t[moment]
        level = lorry.ratchet_m_s * random.exponential()
        ring = np.exp(-2 * np.pi * mode.f0_hz * mode.damping * x) * np.sin(2 * np.pi * mode.f0_hz * x)
        wave[moment:] += level * ring
    return wave
