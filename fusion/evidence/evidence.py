"""Evidence: what one modality measured of a passage, or why it says nothing. Made by pure functions of this folder.

Only the classifier turns evidence into a likelihood ratio; only a ``measured`` one may have any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite

from fusion.passage import Passage
from fusion.verdict import MODALITIES, State

OK = "ok"
_SILENCES = {state.value: state for state in State if state is not State.MEASURED}


@dataclass(frozen=True, slots=True)
class Evidence:
    """Features of one modality, with a quality in 0..1; any state but ``measured`` has a cause instead.

    Raises:
        ValueError: the modality is unknown, a silent one names no cause, or a measured feature is not finite.
    """

    modality: str
    state: State
    cause: str | None = None
    where: str | None = None
    quality: float | None = None
    features: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.modality not in MODALITIES:
            raise ValueError(f"evidence of {self.modality!r}: not one of {', '.join(MODALITIES)}")
        if self.state is not State.MEASURED and not self.cause:
            raise ValueError(f"{self.modality} is {self.state.value}: a cause must be given")
        for name, value in self.features.items():
            if not isfinite(value):
                raise ValueError(f"{self.modality}.{name} is {value}: a feature that was not measured must be left out")
        if self.quality is not None and not 0.0 <= self.quality <= 1.0:
            raise ValueError(f"{self.modality}: quality {self.quality} is not in 0..1")


def silent(modality: str, state: State, cause: str, features: Mapping[str, float] | None = None) -> Evidence:
    """Evidence that says nothing; ``features`` may carry the figures that made it so."""
    return Evidence(modality, state, cause, features=features or {})


def device_silence(passage: Passage, modality: str) -> Evidence | None:
    """What the first device of this modality that is not "ok" says of itself; None where all are, or none is known."""
    for device in sorted(passage.states):
        if passage.modality_of.get(device) != modality or passage.states[device] == OK:
            continue
        word, _, cause = passage.states[device].partition(":")
        state = _SILENCES.get(word.strip(), State.FAULTY)
        return silent(modality, state, f"{device}: {cause.strip() or word.strip()}")
    return None
