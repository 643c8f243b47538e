"""What every calibration procedure is: steps that a person does, and a pure function from raw data to a verdict.

Nothing here touches a device, a file or a clock: what was measured comes in as `Raw`, with everything that the
procedure was told, so that anybody can compute a record again from its raw data and get the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from calibration.raw import Raw
from calibration.record import Check, RecordFault, Reference
from calibration.uncertainty import Quantity

Floats = NDArray[np.float64]


class BadSetup(RecordFault):
    """One line: the set-up is wrong, what was seen, what to do. No record is written."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a plot; ``dots`` draws points."""

    label: str
    x: Sequence[float] | Floats
    y: Sequence[float] | Floats
    dots: bool = False


@dataclass(frozen=True, slots=True)
class Plot:
    """A picture for the report."""

    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a procedure found. ``settings`` are those that it makes; none for a procedure that only looks."""

    results: tuple[Quantity, ...]
    checks: tuple[Check, ...]
    settings: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, float | None] = field(default_factory=dict)
    after: Mapping[str, float | None] = field(default_factory=dict)
    residuals: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()

    @property
    def passed(self) -> bool:
        """Every check is inside its limits."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    def result(self, name: str) -> Quantity:
        """The result of that name. Raises KeyError."""
        for quantity in self.results:
            if quantity.name == name:
                return quantity
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a person does, then waits while it is measured.

    ``settle`` is the largest drift over the window, in the reading's unit, at which it counts as settled; None: it is
    measured for ``seconds`` as it is.
    """

    key: str
    say: str
    seconds: float
    settle: float | None = None
    role: str | None = None  # the reference that is presented in this step


@dataclass(frozen=True, slots=True)
class Procedure:
    """A named procedure. ``steps`` depends on what it is told (which sensors, how often)."""

    name: str
    modality: str
    version: int
    summary: str
    steps: Callable[[Mapping[str, Any]], tuple[Step, ...]]
    compute: Callable[[Raw], Outcome]
    roles: tuple[str, ...] = ()  # references that it needs
    valid_days: int = 365
    parameters: Mapping[str, Any] = field(default_factory=dict)  # name -> default; all end up in the raw data
    acts: str | None = None  # what it does to the device beside reading it
    test: bool = False  # a test of the device as it stands: recorded whether it passes or not


def reference(raw: Raw, role: str) -> Reference:
    """The reference that was presented as ``role``. Raises RecordFault: none was, or it is not one."""
    given = raw.about.get("references", {})
    if role not in given:
        raise RecordFault(f"reference {role}: not given; name its certificate with --references FILE")
    try:
        return Reference.model_validate(given[role])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise RecordFault(f"reference {role}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def references(raw: Raw) -> tuple[Reference, ...]:
    """All that were presented, in the order of their roles."""
    return tuple(reference(raw, role) for role in sorted(raw.about.get("references", {})))
