"""One passage whose outcome is known, as an evaluation counts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from fusion.passage import BodyType
from fusion.verdict import MODALITIES, Level

ALARMS = (Level.SEARCH, Level.OPEN_NOW)  # the levels at which somebody opens the vehicle
WIND_BANDS_M_S = (3.0, 6.0, 10.0)  # SCIENCE 2.4 and 9: to 3 is the goals' own, to 4 an open lane works, 10 is a storm
MANY_PEOPLE = 4  # so many and more are one group


@dataclass(frozen=True, slots=True)
class Step:
    """A verdict on the way: the policy's own time of its look, its level, and the evidence of all that was measured."""

    look_s: float
    level: Level
    log10_lr: float


@dataclass(frozen=True, slots=True)
class Case:
    """One passage: what was found, and the last verdict.

    ``log10_lr`` has the modalities that were measured. ``over`` says of each whether it would have alarmed alone, at
    its own threshold for that look; a modality without one is left out. ``wind_m_s`` is the strongest mean wind
    outside, None where none was measured. ``steps`` are all verdicts in their order.
    """

    name: str
    passage_id: str
    found: bool
    body_type: BodyType
    level: Level
    log10_lr: Mapping[str, float]
    over: Mapping[str, bool]
    people: int | None = None
    shelter: str = "unknown"
    wind_m_s: float | None = None
    steps: tuple[Step, ...] = ()
    why: str = ""  # the first reason of the last verdict

    @property
    def total_log10_lr(self) -> float:
        """The evidence of all that was measured: 0 where nothing was."""
        return sum(self.log10_lr.get(name, 0.0) for name in MODALITIES)

    @property
    def pattern(self) -> str:
        """Which modalities spoke."""
        return "+".join(name for name in MODALITIES if name in self.log10_lr) or "none"

    @property
    def wind_band(self) -> str:
        """Where it stood in what wind: ``shed``, ``open to 3 m/s``, ... ``open over 10 m/s``, ``open unknown``."""
        if self.shelter == "shed":
            return "shed"
        if self.wind_m_s is None:
            return "open unknown"
        low = 0.0
        for high in WIND_BANDS_M_S:
            if self.wind_m_s <= high:
                return f"open {low:g} to {high:g} m/s" if low else f"open to {high:g} m/s"
            low = high
        return f"open over {low:g} m/s"

    @property
    def crowd(self) -> str | None:
        """How many were found: ``1`` to ``3``, ``4+``; None for nobody, or where nobody counted."""
        if not self.found or self.people is None or self.people < 1:
            return None
        return str(self.people) if self.people < MANY_PEOPLE else f"{MANY_PEOPLE}+"

    def by_then(self, look_s: float) -> Step | None:
        """The newest verdict at or before a look; None where it had none yet."""
        then = [step for step in self.steps if step.look_s <= look_s]
        return then[-1] if then else None

    @property
    def missed(self) -> bool:
        """People were in it, and nobody was prompted to search."""
        return self.found and self.level not in ALARMS

    @property
    def false_alarm(self) -> bool:
        """Nobody was in it, and a search was prompted."""
        return not self.found and self.level in ALARMS

    def document(self) -> dict[str, Any]:
        """One line of the file that ``cases_detail`` names."""
        words = asdict(self) | {"body_type": self.body_type.value, "level": self.level.value}
        words["steps"] = [{**asdict(step), "level": step.level.value} for step in self.steps]
        return words | {"wind_band": self.wind_band, "pattern": self.pattern}
