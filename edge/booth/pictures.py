"""What the sensors saw of a passage, small enough for a page: CO2 inside and outside, the vibration's envelope, and
which pictures there are of it (`images` makes them).

Read from the passage's own files, those that are still being written too. A file that cannot be read gives no picture
and the reason; it is never an error of the page.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from drivers.reading import ClockQuality, GasSample, Point
from edge.booth.folders import folder_of
from fusion.bundle import mmwave_tiff, records, xray_dcs
from fusion.bundle.co2_csv import read_co2
from fusion.bundle.fault import BundleFault

MOST_POINTS = 240  # of one curve: a screen has no more to show
MOST_SENSORS = 12
STEP_NS = 250_000_000  # of the envelope
LONGEST_BYTES = 64 * 1024 * 1024  # of one file; FORMATS: what a bundle's file may have
EVER = records.Window(0, 1 << 62)
Read = Callable[[bytes], dict[str, Any]]


def pictures(bundles: Path, passage_id: str) -> dict[str, Any]:
    """``{"co2": {"inside": [[s, ppm]…], "outside": …}, "vibration": {"B1": [[s, counts]…]}, "mmwave": {"frames": 12},
    "xray": {"files": ["xray.dcs"]}, "why": {…}}``; null where there is none, and ``why`` where that needs one.

    Seconds are from the first sample of the curve's own file; counts are the largest of each step about their mean.
    """
    folder = folder_of(bundles, passage_id)
    found: dict[str, Any] = {}
    why: dict[str, str] = {}
    readers: tuple[tuple[str, str, Read], ...] = (
        ("co2", "co2.csv", _co2),
        ("vibration", records.FILE, _vibration),
        ("mmwave", mmwave_tiff.FILE, _frames),
    )
    for name, file, read in readers:
        found[name], cause = (None, "no file") if folder is None else _picture(folder / file, read)
        if cause:
            why[name] = cause
    files = [] if folder is None else [name for name in xray_dcs.NAMES if (folder / name).is_file()]
    return {**found, "xray": {"files": files} if files else None, "why": why}


def _picture(path: Path, read: Read) -> tuple[dict[str, Any] | None, str]:
    try:
        state = path.stat()
    except OSError:
        return None, "no file"
    return _read(path, read, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=64)  # a page asks every few seconds, and there may be fifty of them
def _read(path: Path, read: Read, _size: int, _mtime_ns: int) -> tuple[dict[str, Any] | None, str]:
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


def _frames(raw: bytes) -> dict[str, Any]:
    return {"frames": len(mmwave_tiff.whole_pages(raw))}


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
