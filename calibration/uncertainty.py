"""A measured number with its uncertainty, by the GUM (JCGM 100:2008): a budget of type A and B, and a stated factor.

``u_c^2 = sum u_i^2`` of independent components, each already in the result's unit; effective degrees of freedom by
Welch-Satterthwaite, ``nu = u_c^4 / sum(u_i^4 / nu_i)`` (G.4.1); ``U = k u_c`` with k of Student's t for 95 % (G.3.2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

COVERAGE = 0.95


class Kind(StrEnum):
    """How a component was evaluated: by statistics of repeated observations, or by anything else."""

    A = "A"
    B = "B"


@dataclass(frozen=True, slots=True)
class Component:
    """One line of a budget. ``standard`` is in the unit of the result, sensitivity coefficient included.

    ``degrees_of_freedom`` None is infinite: a bound that is known, as from a certificate.
    """

    name: str
    kind: Kind
    standard: float
    degrees_of_freedom: float | None = None
    source: str = ""

    def __post_init__(self) -> None:
        if not isfinite(self.standard) or self.standard < 0:
            raise ValueError(f"uncertainty component {self.name}: {self.standard} is no standard uncertainty")
        if self.degrees_of_freedom is not None and not self.degrees_of_freedom > 0:
            raise ValueError(f"uncertainty component {self.name}: {self.degrees_of_freedom} degrees of freedom")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A result: value, unit, and the budget of its uncertainty."""

    name: str
    unit: str
    value: float
    components: tuple[Component, ...] = ()

    @property
    def standard(self) -> float:
        """Combined standard uncertainty, in ``unit``."""
        return sqrt(sum(component.standard**2 for component in self.components))

    @property
    def degrees_of_freedom(self) -> float:
        """Effective degrees of freedom (GUM G.4.1); infinite where every component's are."""
        spread = sum(c.standard**4 / c.degrees_of_freedom for c in self.components if c.degrees_of_freedom)
        return self.standard**4 / spread if spread > 0 else inf

    @property
    def coverage_factor(self) -> float:
        """k for 95 %."""
        freedom = self.degrees_of_freedom
        return float(stdtrit(freedom if isfinite(freedom) else 1e9, 0.5 + COVERAGE / 2))

    @property
    def expanded(self) -> float:
        """U = k u_c, in ``unit``."""
        return self.coverage_factor * self.standard

    def covers(self, truth: float) -> bool:
        """Whether the 95 % interval holds ``truth``."""
        return abs(self.value - truth) <= self.expanded

    def text(self) -> str:
        """As it is said: two digits of the uncertainty, the value to the same place (GUM 7.2.6)."""
        if self.expanded == 0:
            return f"{self.value:.6g} {self.unit} (no uncertainty)".replace("  ", " ")
        said = f"{shown(self.value, self.expanded)} {self.unit} (k = {self.coverage_factor:.2f}, 95 %)"
        return said.replace("  ", " ")

    def document(self) -> dict[str, Any]:
        """For a record: everything stated, nothing left to be computed by a reader."""
        freedom = self.degrees_of_freedom
        return {
            "name": self.name,
            "unit": self.unit,
            "value": self.value,
            "standard_uncertainty": self.standard,
            "expanded_uncertainty": self.expanded,
            "coverage_factor": self.coverage_factor,
            "coverage": COVERAGE,
            "degrees_of_freedom": freedom if isfinite(freedom) else None,
            "budget": [
                {
                    "name": c.name,
                    "type": c.kind.value,
                    "standard_uncertainty": c.standard,
                    "degrees_of_freedom": c.degrees_of_freedom,
                    "source": c.source,
                }
                for c in self.components
            ],
        }


def shown(value: float, expanded: float) -> str:
    """``value ± expanded`` with two digits of the uncertainty (GUM 7.2.6)."""
    if not expanded > 0:
        return f"{value:.6g}"
    decimals = int(1 - np.floor(np.log10(expanded)))
    if decimals < -3 or (decimals > 6 and abs(value) < 1e-3):
        power = 0 if value == 0 else int(np.floor(np.log10(max(abs(value), expanded))))
        decimals, scale = max(0, decimals + power), 10.0**power
        return f"({value / scale:.{decimals}f} ± {expanded / scale:.{decimals}f}) × 10^{power}"
    places = max(decimals, 0)
    return f"{round(value, decimals):.{places}f} ± {round(expanded, decimals):.{places}f}"


def of_repeats(name: str, repeats: Sequence[float] | NDArray[np.float64], source: str = "") -> tuple[float, Component]:
    """Mean of independent repeats and its type A component, ``s / sqrt(n)`` with n - 1 degrees of freedom (GUM 4.2).

    Raises:
        ValueError: fewer than two repeats: nothing can be said of their spread.
    """
    values = np.asarray(repeats, np.float64)
    if len(values) < 2:
        raise ValueError(f"{name}: {len(values)} repeats; at least 2 are needed")
    spread = float(values.std(ddof=1) / np.sqrt(len(values)))
    return float(values.mean()), Component(name, Kind.A, spread, len(values) - 1, source or f"{len(values)} repeats")


def of_series(name: str, series: NDArray[np.float64], blocks: int = 8) -> tuple[float, Component]:
    """Mean of a correlated series and its type A component, from the means of ``blocks`` stretches (batch means).

    Samples that follow each other are not independent; stretches much longer than the memory are.

    Raises:
        ValueError: the series is shorter than two samples a block.
    """
    if len(series) < 2 * blocks:
        raise ValueError(f"{name}: {len(series)} samples; at least {2 * blocks} are needed")
    kept = series[: len(series) // blocks * blocks].reshape(blocks, -1).mean(axis=1)
    return of_repeats(name, kept, f"{blocks} stretches of {len(series)} samples")
