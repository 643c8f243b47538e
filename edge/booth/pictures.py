"""What the sensors saw of a passage, small enough for a page: CO2 inside and outside, and the vibration's envelope.

Read from the passage's own files, those that are still being written too. A file that cannot be read gives no picture
and the reason; it is never an error of the page.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from drivers.reading import ClockQuality, GasSample, Point
from fusion.bundle import records
from fusion.bundle.co2_csv import read_co2
from fusion.bundle.fault import BundleFault
from fusion.bundle.write import PARTIAL

MOST_POINTS = 240  # of one curve: a screen has no more to show
MOST_SENSORS = 12
STEP_NS = 250_000_000  # of the envelope
LONGEST_BYTES = 16 * 1024 * 1024  # of one file; assumed: a passage of an hour is a tenth of it
EVER = records.Window(0, 1 << 62)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def pictures(bundles: Path, passage_id: str) -> dict[str, Any]:
    """``{"co2": {"inside": [[s, ppm]…], "outside": …}, "vibration": {"B1": [[s, counts]…]}}``; null and why where none.

    Seconds are from the first sample of the curve's own file; counts are the largest of each step about their mean.
    """
    folder = _folder(bundles, passage_id)
    if folder is None:
        return {"co2": None, "vibration": None, "why": {"co2": "no file", "vibration": "no file"}}
    found: dict[str, Any] = {}
    why: dict[str, str] = {}
    for name, file, read in (("co2", "co2.csv", _co2), ("vibration", records.FILE, _vibration)):
        found[name], cause = _picture(folder / file, read)
        if cause:
            why[name] = cause
    return {**found, "why": why}


def _folder(bundles: Path, passage_id: str) -> Path | None:
    if not _ID.fullmatch(passage_id) or passage_id.endswith(PARTIAL):
        return None
    for name in (passage_id, passage_id + PARTIAL):
        if (bundles / name).is_dir():
            return bundles / name
    return None


def _picture(path: Path, read: Callable[[bytes], dict[str, Any]]) -> tuple[dict[str, Any] | None, str]:
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST_BYTES + 1)
        if len(raw) > LONGEST_BYTES:
            return None, "too long for a picture"
        found = read(raw)
    except FileNotFoundError:
        return None, "no file"
    except (BundleFault, OSError, ValueError) as fault:
        return None, str(fault)[:200]
    return (found, "") if any(found.values()) else (None, "no valid sample")


def _co2(raw: bytes) -> dict[str, Any]:
    whole = raw[: raw.rfind(b"\n") + 1]  # the last line may be half written
    rows = [row.reading for row in read_co2(whole, ClockQuality(synchronised=False, max_error_ns=None)).rows]
    first_ns = min((row.stamp.time_utc_ns for row in rows), default=0)

    def curve(point: Point) -> list[list[float]]:
        kept = [row for row in rows if row.point is point and row.co2_ppm is not None]
        kept.sort(key=_time)
        thinned = kept[:: max(1, -(-len(kept) // MOST_POINTS))]
        return [[round((row.stamp.time_utc_ns - first_ns) / 1e9, 2), round(float(row.co2_ppm or 0))] for row in thinned]

    return {"inside": curve(Point.INSIDE), "outside": curve(Point.AMBIENT)}


def _time(row: GasSample) -> int:
    return row.stamp.time_utc_ns


def _vibration(raw: bytes) -> dict[str, Any]:
    pieces = [piece for piece in records.scan(raw, EVER).pieces if len(piece.counts)]
    first_ns = min((piece.start_utc_ns for piece in pieces), default=0)
    curves: dict[str, dict[int, tuple[float, float]]] = {}
    for piece in pieces:
        steps = curves.setdefault(piece.sensor, {})
        at_ns = piece.start_utc_ns - first_ns + np.arange(len(piece.counts)) * (1e9 / piece.rate_hz)
        for step in np.unique((at_ns // STEP_NS).astype(np.int64)):
            inside = piece.counts[(at_ns // STEP_NS) == step]
            low, high = steps.get(int(step), (np.inf, -np.inf))
            steps[int(step)] = (min(low, float(inside.min())), max(high, float(inside.max())))
    return {
        sensor: [
            [round(step * STEP_NS / 1e9, 2), round((steps[step][1] - steps[step][0]) / 2, 1)] for step in sorted(steps)
        ][-MOST_POINTS:]
        for sensor, steps in sorted(curves.items())[:MOST_SENSORS]
    }
