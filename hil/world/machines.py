"""Machines on the vehicle itself: an engine left running, a refrigeration unit (SCIENCE 2.4; levels unverified)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
IDLE_ORDERS = ((0.5, 1.0), (1.0, 0.5), (1.5, 0.6), (3.0, 1.0))  # half orders and firing; shares assumed
IDLE_M_S = 50e-6  # SCIENCE 2.4: up to 100 um/s on the chassis (unverified)
DIESEL_ORDERS = ((1.0, 0.6), (1.5, 1.0), (2.0, 0.6))  # of a small diesel; shares assumed


@dataclass(frozen=True, slots=True)
class Machine:
    """``kind`` is engine, diesel (of a refrigeration unit) or standby (its compressor on mains)."""

    kind: str
    rpm: float
    level_m_s: float


def draw_machine(random: Generator, kind: str) -> Machine:
    """Engine 500-750 rpm at idle, diesel 1,400-2,200, compressor on 50 Hz."""
    rpm = {"engine": (500, 750), "diesel": (1400, 2200), "standby": (1460, 1500)}[kind]
    level = {"engine": (20e-6, 100e-6), "diesel": (5e-6, 60e-6), "standby": (2e-6, 30e-6)}[kind]
    return Machine(kind, float(random.uniform(*rpm)), float(random.uniform(*level)))


def shaken(machine: Machine, n: int, rate_hz: float, random: Generator) -> Floats:
    """Velocity of the chassis from it, m/s (n,); the ground beside feels a hundredth (assumed)."""
    t = np.arange(n) / rate_hz
    orders = IDLE_ORDERS if machine.kind == "engine" else DIESEL_ORDERS
    hunting = 1 + 0.004 * np.sin(2 * np.pi * 0.15 * t + random.uniform(0, 6))  # assumed: a governor's slow swing
    made = np.zeros(n)
    for order, share in orders:
        if machine.rpm / 60 * order < 0.45 * rate_hz:
            phase = 2 * np.pi * np.cumsum(machine.rpm / 60 * order * hunting) / rate_hz + random.uniform(0, 6)
            made += share * random.uniform(0.6, 1.4) * machine.level_m_s * np.sin(phase)
    return made
