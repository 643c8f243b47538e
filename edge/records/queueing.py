"""How long vehicles wait before a number of lanes: M/G/c, by Erlang's formula and Allen and Cunneen's correction.

``W = C(c, a) / (c / s - rate) * (1 + v) / 2`` with a = rate s, C Erlang's probability of waiting, v the squared
coefficient of variation of the service time. Exact for one lane (Pollaczek and Khinchine), an approximation for more.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FULLEST = 0.95  # assumed: over this use, an hour does not last long enough to reach the formula's steady state


def mean_wait_s(rate_per_s: Floats, service_s: float, variation: float, lanes: int) -> Floats:
    """Mean wait (n,) in s at arrival rates (n,), one hour each.

    In an hour that is fuller than `FULLEST` the wait is that of `FULLEST`, plus half of what an hour's surplus takes
    to be served; what is left over for the next hour is not carried on.

    Raises:
        ValueError: no lane, or a service that takes no time.
    """
    if lanes < 1 or service_s <= 0:
        raise ValueError(f"{lanes} lanes at {service_s} s a vehicle; give at least one, and a time")
    capacity = lanes / service_s
    held = np.minimum(rate_per_s, FULLEST * capacity)
    waits = _erlang_c(held * service_s, lanes) / (capacity - held) * (1 + variation) / 2
    surplus = np.maximum(0.0, rate_per_s - capacity) * 3_600.0
    return waits + surplus / 2 / capacity


def _erlang_c(load: Floats, lanes: int) -> Floats:
    """Probability that a vehicle has to wait."""
    blocked = np.ones_like(load)  # Erlang B, by its recursion
    for number in range(1, lanes + 1):
        blocked = load * blocked / (number + load * blocked)
    use = load / lanes
    return blocked / (1 - use * (1 - blocked))
