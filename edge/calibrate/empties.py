"""The lane's own empties for the `background` procedure: levels of body, ground and wind of each, out of its bundles.

A passage counts where its outcome says that it was searched and nobody was found; what was not searched proves nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from calibration.procedures.procedure import BadSetup
from calibration.procedures.signals import band, velocity_spectra
from calibration.procedures.vibration import BAND_HZ
from calibration.raw import Raw
from fusion.bundle.fault import BundleFault
from fusion.bundle.read import BundleContents, read
from fusion.passage import SensorSeries

MOST = 500  # newest bundles that are read: a lane's background changes with its season
log = logging.getLogger("lanepulse.calibration")


def collect(bundles: Path, told: Callable[[int, int], None]) -> Raw:
    """``empties/body_db``, ``ground_db`` (dB re 1 nm/s, 2-10 Hz) and ``wind_m_s``, one a passage.

    Args:
        bundles: the lane's folder of them.
        told: called with how many were read, of how many.

    Raises:
        BadSetup: there is no bundle at all.
    """
    names = sorted((path for path in bundles.glob("*") if path.is_dir() and not path.name.endswith(".partial")),
                   reverse=True)[:MOST]  # fmt: skip
    if not names:
        raise BadSetup("background: the lane has recorded no passage yet")
    rows = []
    for number, path in enumerate(names, 1):
        told(number, len(names))
        rows += list(_row(path))
    found = np.array(rows, np.float64).reshape(-1, 3)
    columns = ("body_db", "ground_db", "wind_m_s")
    return Raw({f"empties/{name}": found[:, n] for n, name in enumerate(columns)}, {})


def _row(path: Path) -> Iterator[tuple[float, float, float]]:
    try:
        contents = read(path)
    except (BundleFault, OSError) as fault:
        log.warning("%s: not used: %s", path.name, fault)
        return
    outcome = contents.outcome or {}
    if outcome.get("searched") is not True or outcome.get("found") is not False:
        return
    body, ground = (_level_db(contents, kind) for kind in ("B", "G"))
    winds = [kept.reading.wind_m_s for kept in contents.weather if kept.reading.wind_m_s is not None]
    if body is not None and ground is not None:
        yield body, ground, max(winds, default=0.0)


def _level_db(contents: BundleContents, kind: str) -> float | None:
    """Mean square of a kind's sensors, dB re 1 nm/s; None where none of them gave a whole stretch."""
    kinds = [series for series in contents.passage().vibration if series.sensor.startswith(kind)]
    squares = [one for series in kinds for one in _mean_square(series)]
    return 10 * float(np.log10(np.mean(squares))) if squares else None


def _mean_square(series: SensorSeries) -> Iterator[float]:
    counts = np.asarray(series.counts, np.float64)
    if series.response is None or len(counts) < 8 * series.rate_hz or not np.all(np.isfinite(counts)):
        return
    hz, found = velocity_spectra(counts, series.rate_hz, series.response)
    inside = band(hz, *BAND_HZ)
    yield float(np.mean(np.sum(np.abs(found[:, inside]) ** 2, axis=1)) * (hz[1] - hz[0]) * 1e18)
