"""What an engineer keeps an eye on beside the devices' own answers: calibrations with their drift, and the disk.

Read from the lane's own files; nothing is changed, and what cannot be read is said in a line.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from calibration.apply import Calibrations
from calibration.drift import chart
from calibration.record import Kept, RecordFault
from calibration.store import Store
from edge.calibrate.history import history
from edge.places import Places

EVERY_S = 10.0  # assumed: however many pages ask, the files are looked at this often
MOST_POINTS = 60  # of one result's chart


class Upkeep:
    """``document`` is made anew at most each `EVERY_S`."""

    def __init__(self, places: Places, devices: Mapping[str, str], now_utc_ns: Callable[[], int]) -> None:
        """``devices`` is name -> what it measures, of all that are calibrated."""
        self._places, self._devices, self._now_utc_ns = places, devices, now_utc_ns
        self._made_ns: int | None = None
        self._document: dict[str, Any] = {}
        self._count = -1
        self._entries: list[Kept] = []
        self._active: Mapping[str, Kept] = {}

    def document(self) -> dict[str, Any]:
        """JSON types: ``disk``, ``calibrations`` and ``fault``, which says why there are none."""
        now_ns = self._now_utc_ns()
        if self._made_ns is None or abs(now_ns - self._made_ns) >= EVERY_S * 1e9:
            self._document, self._made_ns = self._made(), now_ns
        return self._document

    def _made(self) -> dict[str, Any]:
        store, fault = Store(self._places.calibrations), None
        try:
            count = store.count()
            if count != self._count:
                self._entries, self._active, self._count = store.entries(), store.active(), count
            rows = [self._row(name, measures) for name, measures in self._devices.items()]
        except (RecordFault, OSError) as error:
            rows, fault = [], f"calibrations: {error}"
        return {"disk": self._disk(), "calibrations": rows, "fault": fault}

    def _row(self, name: str, measures: str) -> dict[str, Any]:
        kept = self._active.get(name)
        row: dict[str, Any] = {"device": name, "modality": measures, "drift": _drift(self._entries, name)}
        if kept is None:
            return row | {"record": None}
        record = kept.record
        return row | {
            "record": record.number,
            "procedure": record.procedure,
            "performed": record.performed_utc[:10],
            "valid_until": min((setting.valid_until_utc[:10] for setting in record.settings.values()), default=None),
            "warning": Calibrations({name: kept}).warning(name, self._now_utc_ns()),
        }

    def _disk(self) -> dict[str, Any] | None:
        try:
            usage = shutil.disk_usage(self._places.state)
        except OSError:
            return None
        writable = os.access(self._places.state, os.W_OK)
        return {"total_bytes": usage.total, "free_bytes": usage.free, "writable": writable}


def _drift(entries: Sequence[Kept], device: str) -> list[dict[str, Any]]:
    found = []
    for result, points in history(entries, device).items():
        line = chart(points)[-MOST_POINTS:]
        if line:
            found.append(
                {
                    "result": result,
                    "inside": line[-1].inside,
                    "points": [[one.point.value, one.mean, one.low, one.high] for one in line],
                }
            )
    return found
