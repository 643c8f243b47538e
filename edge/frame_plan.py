"""Which of an imager's frames a passage keeps: close together while the vehicle rolls in, then fewer, 64 at most.

A frame is kept or not when it comes, so that what a look used is never taken away again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from drivers.reading import RadiometricFrame
from fusion.bundle.mmwave_tiff import MOST_FRAMES

# (until, one frame each), s: 25 + 20 + 19 frames. Walking pace is 0.3 m in 0.2 s, under half a body's length.
STEPS_S = ((5.0, 0.2), (15.0, 0.5), (45.0, 1.6))
EARLY_SHARE = 0.5  # of a step: an imager's own rhythm must not make every second frame too early


@dataclass(slots=True)
class FramePlan:
    """The frames of one passage; each of ``imagers`` has its share of the places."""

    imagers: int
    _began_ns: dict[str, int] = field(default_factory=dict)
    _due_s: dict[str, float] = field(default_factory=dict)
    _kept: int = 0

    def takes(self, frame: RadiometricFrame) -> bool:
        """Whether this frame has a place; asked once for each frame, in order of arrival."""
        began_ns = self._began_ns.setdefault(frame.device, frame.stamp.arrival_monotonic_ns)
        at_s = (frame.stamp.arrival_monotonic_ns - began_ns) / 1e9
        step_s = next((step_s for until_s, step_s in STEPS_S if at_s < until_s), None)
        due_s = self._due_s.get(frame.device, 0.0)
        if step_s is None or self._kept >= MOST_FRAMES:
            return False
        step_s *= max(1, self.imagers)
        if at_s < due_s - EARLY_SHARE * min(step_s, 0.1):
            return False
        self._due_s[frame.device] = max(due_s, at_s - step_s) + step_s
        self._kept += 1
        return True
