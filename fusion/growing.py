"""Samples that are only ever added to, so that what was computed of some of them may be kept beside them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True, eq=False)
class Growing:
    """One for as long as no sample that was shown has changed; a change begins another.

    ``latest`` (n,) is what was shown last: whoever has that very array has what was shown before at its beginning.
    ``kept`` belongs to who computes; it is gone with the samples.
    """

    latest: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    kept: object = None
