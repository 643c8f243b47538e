"""What speaks for and against, in words, strongest first. Codes are stable; texts are for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fusion.evidence.evidence import Evidence
from fusion.verdict import Reason, State

WORTH_SAYING_LOG10_LR = 0.1  # assumed: under a factor of 1.26 nothing was said


def reasons(evidence: Sequence[Evidence], log10_lr: Mapping[str, float]) -> tuple[Reason, ...]:
    """One reason for each modality: those that spoke by weight, then those that could not and why."""
    spoken = [part for part in evidence if part.state is State.MEASURED]
    spoken.sort(key=lambda part: -abs(log10_lr[part.modality]))
    silent = [part for part in evidence if part.state not in (State.MEASURED, State.ABSENT)]
    return (
        *(_spoken(part, log10_lr[part.modality]) for part in spoken),
        *(
            Reason(code=f"{part.modality}.{part.state.value}", text=f"{_NAME[part.modality]}: {part.cause}")
            for part in silent
        ),
    )


_NAME = {"vibration": "Vibration", "co2": "CO2", "mmwave": "Imager", "xray": "Radiograph"}


def _spoken(part: Evidence, weight: float) -> Reason:
    if abs(weight) < WORTH_SAYING_LOG10_LR:
        return Reason(code=f"{part.modality}.neutral", text=f"{_NAME[part.modality]} speaks neither for nor against")
    side = "for" if weight > 0 else "against"
    text = (
        _TEXT[part.modality](part, weight > 0) if part.modality in _TEXT else f"{_NAME[part.modality]} speaks {side} it"
    )
    return Reason(code=f"{part.modality}.{side}", text=text)


def _vibration(part: Evidence, speaks_for: bool) -> str:
    if not speaks_for:
        return "No more motion than the ground and the empty vehicle explain"
    rhythm = part.features.get("rhythm_bpm")
    text = (
        "Motion that the ground does not explain" if rhythm is None else f"Heartbeat-like rhythm, {rhythm:.0f} a minute"
    )
    return f"{text}, strongest at the {part.where}" if part.where else text


def _co2(part: Evidence, speaks_for: bool) -> str:
    excess, slope = part.features.get("excess_ppm", 0.0), part.features.get("slope_ppm_per_min", 0.0)
    text = f"CO2 inside {excess:+.0f} ppm against outside, {slope:+.0f} ppm a minute"
    return text if speaks_for else f"{text}: no more than an empty vehicle"


def _mmwave(part: Evidence, speaks_for: bool) -> str:
    if not speaks_for:
        share = part.features.get("coverage", 0.0)
        return f"No shape of a person where the imager sees: {share:.0%} of the load space"
    contrast = part.features.get("contrast_k", 0.0)
    text = f"{'Warm' if contrast > 0 else 'Cold'} shape like a person, {abs(contrast):.1f} K against the load"
    return f"{text}, {part.where}" if part.where else text


def _xray(part: Evidence, speaks_for: bool) -> str:
    if not speaks_for:
        share = part.features.get("coverage", 0.0)
        return f"No shape of a person in the radiograph, which shows {share:.0%} of the load space"
    text = "Shape and density of a person in the radiograph"
    return f"{text}, {part.where}" if part.where else text


_TEXT = {"vibration": _vibration, "co2": _co2, "mmwave": _mmwave, "xray": _xray}
