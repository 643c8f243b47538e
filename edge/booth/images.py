"""An imager's frame or a radiograph of a passage, as a grey picture small enough for a page.

Read by the house's own bounded readers only: a frame is a slice of a page that the lane wrote, a radiograph goes
through the reader that the lane judged it with. Nothing that a file says decides more memory than its limit allows.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.reading import ClockQuality
from edge.booth import png
from edge.booth.folders import folder_of
from fusion.bundle import mmwave_tiff, xray_dcs
from fusion.bundle.fault import BundleFault

MOST_PIXELS_WIDE = 1_600  # a booth's screen shows no more of it
LONGEST_BYTES = 64 * 1024 * 1024  # assumed: the largest radiograph in use is a fifth of it
MOST_KEPT = 24  # pictures; assumed: fifty pages ask for the same two or three
LEAST_SPAN_K = 4.0  # assumed: noise of a scene without contrast is not blown up to one
DARKEST = 0.003  # SCIENCE 5: transmission at which photons run out
FRAME = re.compile(r"frame-([0-9]{1,2})")
UNKNOWN_CLOCK = ClockQuality(synchronised=False, max_error_ns=None)
Floats = NDArray[np.float32]


class NoImage(Exception):
    """One line: why there is none."""


class Images:
    """PNGs by passage and name; one is made at a time, and the last ones are kept."""

    def __init__(self, bundles: Path) -> None:
        self._bundles = bundles
        self._making = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def png(self, passage_id: str, name: str) -> bytes:
        """The PNG of ``frame-0`` to ``frame-63``, or of ``xray.dcs`` and its sisters.

        Raises:
            NoImage: no such picture, or its file cannot be read.
        """
        folder, number = folder_of(self._bundles, passage_id), FRAME.fullmatch(name)
        if folder is None or (number is None and name not in xray_dcs.NAMES):
            raise NoImage("no such picture")
        path = folder / (name if number is None else mmwave_tiff.FILE)
        try:
            with self._making:
                key = (passage_id, name)  # a page and a radiograph stay as they are once they are whole
                if key not in self._kept:
                    content = _content(path)
                    self._kept[key] = _xray(name, content) if number is None else _frame(content, int(number[1]))
                    while len(self._kept) > MOST_KEPT:
                        self._kept.popitem(last=False)
                return self._kept[key]
        except (BundleFault, OSError) as fault:
            raise NoImage(str(fault)[:200]) from None


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(LONGEST_BYTES + 1)
    if len(content) > LONGEST_BYTES:
        raise NoImage(f"{path.name}: more than {LONGEST_BYTES} bytes")
    return content


def _frame(content: bytes, number: int) -> bytes:
    """Warmer is brighter, between the 1st and 99th percentile of the frame."""
    counts = mmwave_tiff.own_page(content, number)
    if counts is None:
        raise NoImage(f"{mmwave_tiff.FILE}: no frame {number} of this lane's own")
    known = counts > 0
    if not known.any():
        raise NoImage("no pixel of the frame is good")
    kelvin = _smaller(np.where(known, counts * np.float32(mmwave_tiff.SCALE_K), np.float32(np.nan)))
    low, high = np.nanpercentile(kelvin, (1, 99))
    middle, span = (low + high) / 2, max(high - low, LEAST_SPAN_K)
    return _drawn(((kelvin - middle) / span + 0.5).astype(np.float32))


def _xray(name: str, content: bytes) -> bytes:
    """Dense is dark, on a scale of equal steps of mass: the logarithm of what came through."""
    found = xray_dcs.read_radiograph(name, content, None, name, 0, UNKNOWN_CLOCK)
    if not found.transmission.size:
        raise NoImage(found.status)
    share = _smaller(found.transmission)
    mass = np.log(np.clip(share, DARKEST, 1.0)) / np.log(DARKEST)
    low, high = np.nanpercentile(mass, (1, 99.5))
    return _drawn((1 - (mass - low) / max(high - low, 0.05)).astype(np.float32))


def _drawn(share: Floats) -> bytes:
    known = np.isfinite(share)
    return png.encode((np.clip(np.where(known, share, 0), 0, 1) * 255).astype(np.uint8), known)


def _smaller(picture: Floats) -> Floats:
    """Mean of each square of pixels, where the picture is wider than a screen; NaN only where none is known."""
    step = -(-max(picture.shape) // MOST_PIXELS_WIDE)
    rows, columns = picture.shape[0] // step, picture.shape[1] // step
    if step == 1 or not rows or not columns:
        return picture
    parts = picture[: rows * step, : columns * step].reshape(rows, step, columns, step)
    known = np.isfinite(parts)
    count = known.sum(axis=(1, 3))
    total = np.where(known, parts, np.float32(0)).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
