"""Coil sensors on a digitizer, each with its own truth: what they give at rest, on a plate, when tapped, when released.

``s^2 / (s^2 + 2 h w0 s + w0^2)`` of ground velocity, times volts per m/s, times counts per volt (DEVICES-serial 1.6).
A release is the textbook's: a current I holds the mass m by a force G I; cut, it swings back and gives
``v = (G^2 I / m) e^(-h w0 t) sin(wd t) / wd`` volts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
VOLTS_PER_M_S, COUNTS_PER_VOLT = 28.8, 4e5 * 100  # DEVICES-serial 1.6, gain 100 assumed
MASS_KG, CURRENT_A = 0.0113, 2e-4  # datasheet mass; assumed current: 3 mm/s at the most
OWN_M_S_RTHZ = 0.2e-9  # SCIENCE 2.3
_GROUND_HZ = np.array([0.5, 1.0, 3.0, 5.0, 8.0, 20.0, 40.0])
_GROUND_ASD = np.array([300e-9, 229e-9, 151e-9, 466e-9, 437e-9, 200e-9, 100e-9])  # high-noise model, m/s/rtHz


@dataclass(frozen=True, slots=True)
class Element:
    """One sensor's truth. ``gain`` is against the sheet's G; ``coupled`` False is one that lies loose."""

    f0_hz: float = 4.5
    damping: float = 0.7
    gain: float = 1.0
    polarity: int = 1
    coupled: bool = True

    @property
    def counts_per_m_s(self) -> float:
        """Sensitivity in the flat band."""
        return self.polarity * self.gain * VOLTS_PER_M_S * COUNTS_PER_VOLT

    def counts(self, velocity: Floats, rate_hz: float, random: Generator, own: float = OWN_M_S_RTHZ) -> Floats:
        """Counts of a ground velocity (n,) m/s, with its own noise."""
        n = len(velocity)
        s = 2j * np.pi * np.fft.rfftfreq(2 * n, 1 / rate_hz)
        w0 = 2 * np.pi * self.f0_hz
        spectrum = np.fft.rfft(velocity if self.coupled else np.zeros(n), 2 * n)
        shape = s**2 / (s**2 + 2 * self.damping * w0 * s + w0**2)
        shown = np.fft.irfft(spectrum * shape, 2 * n)[:n] + random.normal(size=n) * own * np.sqrt(rate_hz / 2)
        return np.asarray(np.rint(shown * self.counts_per_m_s), np.float64)

    def released(self, at_s: Floats, start_s: float, sign: int, current_a: float = CURRENT_A) -> Floats:
        """Counts (n,) of one release at ``start_s``."""
        w0 = 2 * np.pi * self.f0_hz
        wd = w0 * np.sqrt(1 - self.damping**2)
        volts = self.gain * VOLTS_PER_M_S
        x = np.maximum(at_s - start_s, 0.0)
        size = sign * COUNTS_PER_VOLT * volts**2 * current_a / MASS_KG
        return np.asarray(size / wd * np.exp(-self.damping * w0 * x) * np.sin(wd * x), np.float64)


def ground(seconds: float, rate_hz: float, random: Generator, level: float = 0.3) -> Floats:
    """Ground velocity, m/s (n,): the high-noise model times ``level``."""
    n = round(seconds * rate_hz)
    hz = np.fft.rfftfreq(2 * n, 1 / rate_hz)
    asd = level * np.exp(np.interp(hz, _GROUND_HZ, np.log(_GROUND_ASD)))
    draws = random.normal(size=(2, len(hz)))
    return np.asarray(np.fft.irfft(asd * np.sqrt(n * rate_hz / 2) * (draws[0] + 1j * draws[1]), 2 * n)[:n], np.float64)


def at_rest(
    elements: dict[str, Element], seconds: float, rate_hz: float, random: Generator, level: float = 0.3
) -> dict[str, Floats]:
    """Each where it is mounted: ground of its own."""
    return {
        name: one.counts(ground(seconds, rate_hz, random, level), rate_hz, random) for name, one in elements.items()
    }


def on_a_plate(
    elements: dict[str, Element], seconds: float, rate_hz: float, random: Generator, level: float = 0.3
) -> dict[str, Floats]:
    """All feel the same."""
    shared = ground(seconds, rate_hz, random, level)
    return {name: one.counts(shared, rate_hz, random) for name, one in elements.items()}


def tapped(
    elements: dict[str, Element], at: str, seconds: float, rate_hz: float, random: Generator, strength: float = 1e-4
) -> dict[str, Floats]:
    """A blow downwards beside ``at``: the others feel a thirtieth of it, later."""
    found = {}
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    for number, (name, one) in enumerate(elements.items()):
        share, late = (1.0, 0.0) if name == at else (0.03, 0.02 + 0.01 * number)
        x = np.maximum(t - 0.4 * seconds - late, 0.0)
        blow = -strength * share * np.exp(-x / 0.01) * np.sin(2 * np.pi * 25 * x)
        found[name] = one.counts(blow + ground(seconds, rate_hz, random, 0.1), rate_hz, random)
    return found


def releases(
    elements: dict[str, Element], seconds: float, rate_hz: float, random: Generator, level: float = 0.05
) -> dict[str, Floats]:
    """Releases every 3 s in turn each way, on quiet ground."""
    found = {}
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    for name, one in elements.items():
        shown = one.counts(ground(seconds, rate_hz, random, level), rate_hz, random)
        start, sign = 2.0 + float(random.uniform(0, 0.5)), 1
        while start < seconds - 2.0:
            shown = shown + one.polarity * one.released(t, start, sign)
            start, sign = start + 3.0 + float(random.uniform(0, 0.01)), -sign
        found[name] = np.rint(shown)
    return found
