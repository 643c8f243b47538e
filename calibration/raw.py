"""The raw data of a calibration as one file: a zip of NumPy arrays (``.npz``) with what the procedure was told.

``numpy.load`` opens it, and so does any zip program; nothing in it is ever executed (no pickles are written or read).
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from calibration.record import RecordFault, canonical

ABOUT = "about.json"  # a member of the zip: parameters of the procedure
LARGEST_BYTES = 256 * 1024 * 1024  # assumed: ten minutes of twelve sensors at 1 kHz take 60 MB
MOST_ARRAYS = 512
Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Raw:
    """What was measured, by name (``<step>/<what>``), and what the procedure was told."""

    arrays: Mapping[str, Array]
    about: Mapping[str, Any] = field(default_factory=dict)

    def floats(self, name: str) -> NDArray[np.float64]:
        """One array as float64. Raises RecordFault where it was not measured."""
        if name not in self.arrays:
            raise RecordFault(f"raw data: {name} was not measured; do that step again")
        return np.asarray(self.arrays[name], np.float64)

    def names(self, step: str) -> list[str]:
        """What a step measured: the parts after its name."""
        return sorted(name.partition("/")[2] for name in self.arrays if name.partition("/")[0] == step)

    def number(self, key: str, default: float) -> float:
        """A parameter. Raises RecordFault where it is no number."""
        value = self.about.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RecordFault(f"parameter {key}: {value!r} is no number")
        return float(value)


def pack(raw: Raw) -> bytes:
    """The file's bytes; the same arrays and parameters give the same bytes.

    Raises:
        RecordFault: more than `unpack` would take.
    """
    if len(raw.arrays) >= MOST_ARRAYS or sum(array.nbytes + 256 for array in raw.arrays.values()) > LARGEST_BYTES:
        raise RecordFault(f"raw data: more than {MOST_ARRAYS} arrays or {LARGEST_BYTES} bytes; measure for less long")
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name, array in sorted(raw.arrays.items()):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            file.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED)
        file.writestr(zipfile.ZipInfo(ABOUT), canonical(dict(raw.about)), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


def unpack(content: bytes, place: str) -> Raw:
    """The inverse of `pack`.

    Raises:
        RecordFault: not such a file, or beyond the bounds of this module.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            members = file.infolist()
            if len(members) > MOST_ARRAYS or sum(member.file_size for member in members) > LARGEST_BYTES:
                raise RecordFault(f"{place}: more than {MOST_ARRAYS} arrays or {LARGEST_BYTES} bytes")
            arrays = {
                member.filename.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(file.read(member)), allow_pickle=False
                )
                for member in members
                if member.filename.endswith(".npy")
            }
            about = json.loads(file.read(ABOUT))
    except RecordFault:
        raise
    except (zipfile.BadZipFile, ValueError, KeyError, OSError, NotImplementedError, RuntimeError) as error:
        raise RecordFault(f"{place}: not the raw data of a calibration: {str(error)[:120]}") from None
    if not isinstance(about, dict):
        raise RecordFault(f"{place}: {ABOUT} is no object")
    return Raw(arrays, about)
