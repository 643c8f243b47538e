"""A device's results over its calibration records, in order: what drift is charted from."""

from __future__ import annotations

from collections.abc import Sequence

from calibration.drift import Point
from calibration.record import Kept


def history(entries: Sequence[Kept], device: str) -> dict[str, list[Point]]:
    """Result -> its points in order, over all measured records of a device."""
    found: dict[str, list[Point]] = {}
    for kept in entries:
        record = kept.record
        if record.device.name != device or record.kind != "record":
            continue
        for result in record.results:
            point = Point(
                record.performed_utc,
                float(result["value"]),
                float(result["standard_uncertainty"]),
                record.number,
                record.procedure,
            )
            found.setdefault(f"{record.procedure}: {result['name']}", []).append(point)
    return found
