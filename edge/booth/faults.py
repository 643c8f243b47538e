"""The last faults of the lane's devices, as its state tells them each second: from when to when, and what was said."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.booth import causes
from edge.booth.view import clipped

MOST_FAULTS = 40  # of a booth's own time; what is older stands in the lane's log
MOST_DEVICES = 64
ANSWERS = ("there", "on_time", "believes_itself")


@dataclass(slots=True)
class _Fault:
    device: str
    modality: str
    answers: tuple[str, ...]  # those that are "no"
    cause: str
    began_ms: int
    ended_ms: int | None = None

    def document(self) -> dict[str, Any]:
        return {
            "device": self.device,
            "modality": self.modality,
            "answers": list(self.answers),
            "cause": {"key": causes.key_of(self.cause), "text": self.cause},
            "began_ms": self.began_ms,
            "ended_ms": self.ended_ms,
        }


class Faults:
    """``see`` takes each state of the lane; ``document`` is the newest first."""

    def __init__(self) -> None:
        self._open: dict[str, _Fault] = {}
        self._all: deque[_Fault] = deque(maxlen=MOST_FAULTS)

    def see(self, status: Mapping[str, Any], now_ms: int) -> None:
        """Take the lane's state; a fault ends when all three answers are yes, or its kind changes."""
        devices = [device for device in list(status.get("devices") or ())[:MOST_DEVICES] if isinstance(device, dict)]
        for device in devices:
            self._look(device, now_ms)
        named = {clipped(str(device.get("name"))) for device in devices}
        for gone in [name for name in self._open if name not in named]:
            self._open.pop(gone).ended_ms = now_ms

    def document(self) -> list[dict[str, Any]]:
        """JSON types, newest first."""
        return [fault.document() for fault in reversed(self._all)]

    def _look(self, device: Mapping[str, Any], now_ms: int) -> None:
        name, cause = clipped(str(device.get("name"))), clipped(str(device.get("cause") or ""))
        answers = tuple(answer for answer in ANSWERS if device.get(answer) is not True)
        before = self._open.get(name)
        if before is not None and answers and causes.key_of(before.cause) == causes.key_of(cause):
            before.answers, before.cause = answers, cause or before.cause
            return
        if before is not None:
            self._open.pop(name).ended_ms = now_ms
        if answers:
            fault = _Fault(name, clipped(str(device.get("modality"))), answers, cause, now_ms)
            self._open[name] = fault
            self._all.append(fault)
