"""What a line-scan detector with its own truth shows of nothing, of open air, of a step wedge and of a tilted plate.

``stored = dark + air x T``, T by Beer and Lambert with a scatter pedestal, photons counted; rows are detector elements,
columns exposures (SCIENCE 5). The plate's rim is a Gaussian's integral: what the spot and the detector make of an edge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import ndtr

Floats = NDArray[np.float64]
PIECES = ("dark", "air", "wedge", "plate")


@dataclass(frozen=True, slots=True)
class Detector:
    """``dark`` and ``air`` are (elements,), share of full scale; ``stuck`` and ``deaf`` are elements."""

    dark: Floats
    air: Floats
    photons: float = 20_000.0
    read_noise: float = 3e-4
    mu_cm2_g: float = 0.05
    scatter: float = 0.02
    blur_pixels: float = 1.2
    stuck: tuple[int, ...] = ()
    deaf: tuple[int, ...] = ()
    noisy: tuple[int, ...] = ()

    def stored(self, transmission: Floats, random: Generator) -> Floats:
        """Share of full scale for a transmission (elements, exposures)."""
        seen = random.poisson(np.maximum(transmission, 0.0) * self.photons) / self.photons
        gain = self.air.copy()
        gain[list(self.deaf)] *= 0.3
        share = self.dark[:, None] + gain[:, None] * seen + random.normal(0, self.read_noise, transmission.shape)
        for element in self.noisy:
            share[element] += random.normal(0, 0.08, share.shape[1])
        share[list(self.stuck)] = 0.5
        return np.asarray(np.clip(share, 0.0, 1.0), np.float64)


def detector(rows: int, order: dict[str, Any]) -> Detector:
    """A detector by an order: ``dark`` and ``air`` are levels, with a smooth pattern of their own over the elements."""
    at = np.linspace(0, 1, rows)
    dark = float(order.get("dark", 0.03)) * (1 + 0.3 * np.sin(9 * at))
    air = float(order.get("air", 0.8)) * (1 - 0.15 * (2 * at - 1) ** 2 + 0.02 * np.sin(40 * at))
    numbers = ("photons", "read_noise", "mu_cm2_g", "scatter", "blur_pixels")
    told: dict[str, Any] = {name: float(order[name]) for name in numbers if name in order}
    told |= {name: tuple(map(int, order.get(name, ()))) for name in ("stuck", "deaf", "noisy")}
    return Detector(dark, air, **told)


def wedge(one: Detector, shape: tuple[int, int], thickest_g_cm2: float, steps: int = 8) -> Floats:
    """Transmission of a wedge in the middle of the picture: equal steps, the thinnest first, air round it."""
    mass = np.zeros(shape)
    rows, columns = shape
    top, foot, left, right = rows // 4, rows - rows // 4, columns // 10, columns - columns // 10
    at = np.arange(left, right)
    mass[top:foot, left:right] = (np.floor((at - left) * steps / (right - left)) + 1) / steps * thickest_g_cm2
    share = np.exp(-one.mu_cm2_g * mass)
    return np.where(mass > 0, share + one.scatter * (1 - share), 1.0)


def plate(one: Detector, shape: tuple[int, int], tilt_deg: float, through: float = 0.2) -> Floats:
    """Transmission of a tilted plate: its left and its upper edge lie in the picture, blurred."""
    row, column = np.mgrid[0 : shape[0], 0 : shape[1]]
    tilt = np.tan(np.radians(tilt_deg))
    y, x = row - 0.3 * shape[0], column - 0.3 * shape[1]
    right, below = (x - tilt * y) * np.cos(np.radians(tilt_deg)), (y + tilt * x) * np.cos(np.radians(tilt_deg))
    inside = ndtr(right / one.blur_pixels) * ndtr(below / one.blur_pixels)
    return np.asarray(1 - (1 - through) * inside, np.float64)


@dataclass(frozen=True, slots=True)
class Exposure:
    """What an operator scans: a piece before a detector."""

    piece: str
    order: dict[str, Any] = field(default_factory=dict)

    def share(self, shape: tuple[int, int], random: Generator) -> Floats:
        """The picture, share of full scale. Raises ValueError for an unknown piece."""
        one = detector(shape[0], self.order)
        match self.piece:
            case "dark":
                return one.stored(np.zeros(shape), random)
            case "air":
                return one.stored(np.ones(shape), random)
            case "wedge":
                thickest, steps = float(self.order.get("thickest", 120.0)), int(self.order.get("steps", 8))
                return one.stored(wedge(one, shape, thickest, steps), random)
            case "plate":
                return one.stored(plate(one, shape, float(self.order.get("tilt_deg", 4.0))), random)
            case unknown:
                raise ValueError(f"piece {unknown!r}: one of {', '.join(PIECES)}")
