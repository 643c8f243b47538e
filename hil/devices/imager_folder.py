"""An imager's own software that drops TIFF files, by hand: ``python -m hil.devices.imager_folder --folder DIR``.

Prints ``folder DIR``; takes one JSON object a line, each answered with ``done``. ``{"write": "a.tiff"}`` writes a
picture in kelvin, beside and renamed, as a good program does. Faults: ``keep`` (only the first bytes, in place),
``same_pixels``, ``hours`` (its clock is off by so much), ``empty`` (0 bytes), ``bomb`` ([columns, rows] that the file
claims with the data of a small one).
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np


def tiff(pixels: bytes, columns: int, rows: int) -> bytes:
    """One page of float32 kelvin, uncompressed (TIFF 6.0: header, one directory, pixels)."""
    short, long = 3, 4
    entries = (
        (256, long, columns), (257, long, rows), (258, short, 32), (259, short, 1), (262, short, 1),
        (273, long, 8 + 2 + 12 * 10 + 4), (277, short, 1), (278, long, rows), (279, long, len(pixels)), (339, short, 3),
    )  # fmt: skip
    directory = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, v) for tag, kind, v in entries
    )
    return b"II*\0" + struct.pack("<I", 8) + directory + bytes(4) + pixels


class Software:
    """What writes the files."""

    def __init__(self, folder: Path, rows: int, columns: int) -> None:
        self._folder, self._rows, self._columns = folder, rows, columns
        self._chance = np.random.default_rng(1)
        self._last = b""

    def write(self, order: dict[str, Any]) -> None:
        """One file, good or bad."""
        picture = self._chance.normal(283.0, 2.0, (self._rows, self._columns)).astype("<f4").tobytes()
        pixels = self._last if order.get("same_pixels") and self._last else picture
        self._last = pixels
        columns, rows = order.get("bomb") or (self._columns, self._rows)
        content = b"" if order.get("empty") else tiff(pixels, columns, rows)
        path = self._folder / order["write"]
        if "keep" in order:
            path.write_bytes(content[: order["keep"]])
            return
        beside = path.with_suffix(".part")
        beside.write_bytes(content)
        if "hours" in order:
            moment = time.time() + 3600 * float(order["hours"])
            os.utime(beside, (moment, moment))
        beside.rename(path)


def main() -> None:
    """Until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--columns", type=int, default=48)
    given = parser.parse_args()
    software = Software(given.folder, given.rows, given.columns)
    print("folder", given.folder, flush=True)
    for line in sys.stdin:
        software.write(json.loads(line))
        print("done", flush=True)


if __name__ == "__main__":
    main()
