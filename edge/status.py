"""The lane's state at one moment, as JSON types: for the publisher each second, the command line and the booth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from drivers.reading import ClockQuality
from edge.supervisor import DeviceHealth


@dataclass(frozen=True, slots=True)
class InHand:
    """The passage that is on the lane now; ``level`` is that of its newest verdict, None before the first look."""

    passage_id: str
    measured_s: float
    allowed_s: float
    level: str | None
    final: bool


@dataclass(frozen=True, slots=True)
class LaneState:
    """What only the lane itself knows."""

    site: str
    lane: str
    boot_id: str
    version: str
    up_s: float
    model: str
    model_faults: tuple[str, ...]  # what was refused, each in a line
    endpoints: Mapping[str, str]
    journal_sequence: int
    recorded: bool  # False while the journal cannot be written: verdicts then say so
    in_hand: InHand | None
    shadow: str | None = None  # the model that runs beside the active one
    shadow_fault: str | None = None  # why none does that should
    drift: Mapping[str, Any] | None = None  # whether the world still fits the model
    cases: Mapping[str, Any] | None = None  # those that wait too long; None while nobody has looked


def document(
    state: LaneState,
    devices: Sequence[DeviceHealth],
    clock: ClockQuality,
    quarantined: Mapping[str, Mapping[str, int]],
    radiographs_kept: int = 0,
) -> dict[str, Any]:
    """The status document, ``lanepulse.status/1``. Seconds are rounded to tenths: it is for people."""
    in_hand = state.in_hand
    return {
        "schema": "lanepulse.status/1",
        "site": state.site,
        "lane": state.lane,
        "boot_id": state.boot_id,
        "version": state.version,
        "up_s": round(state.up_s, 1),
        "state": "empty" if in_hand is None else "decided" if in_hand.final else "measuring",
        "passage": None
        if in_hand is None
        else asdict(in_hand) | {"measured_s": round(in_hand.measured_s, 1), "allowed_s": in_hand.allowed_s},
        "model": state.model,
        "model_faults": list(state.model_faults),
        "shadow": {"model": state.shadow, "fault": state.shadow_fault},
        "drift": None if state.drift is None else dict(state.drift),
        "cases": None if state.cases is None else dict(state.cases),
        "endpoints": dict(state.endpoints),
        "journal": {"sequence": state.journal_sequence, "recorded": state.recorded},
        "clock": {"synchronised": clock.synchronised, "max_error_ns": clock.max_error_ns},
        "radiographs": {"kept": radiographs_kept},
        "devices": [_device(health, quarantined.get(health.name, {})) for health in devices],
    }


def _device(health: DeviceHealth, quarantined: Mapping[str, int]) -> dict[str, Any]:
    return {
        "name": health.name,
        "modality": health.modality,
        "there": health.there,
        "on_time": health.on_time,
        "believes_itself": health.believes_itself,
        "cause": health.cause,
        "restarts": health.restarts,
        "readings": health.readings,
        "silent_s": None if health.silent_s is None else round(health.silent_s, 1),
        "identity": None if health.identity is None else asdict(health.identity),
        "quarantined": dict(quarantined),
    }
