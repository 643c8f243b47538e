"""Folders in which drivers keep what they received: their objects may name a plate, and expire as bundles do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.xray.spool import Stored

if TYPE_CHECKING:
    from edge.config import Device


def spools_of(devices: Mapping[str, Device]) -> tuple[Path, ...]:
    """The spools that the lane's file names."""
    found = (getattr(device.config, "spool", None) for device in devices.values())
    return tuple(spool for spool in found if isinstance(spool, Path))


def received_before(spools: Sequence[Path], before_utc_ns: int) -> Iterator[Path]:
    """Objects that arrived before then; nothing else that lies in such a folder."""
    for spool in spools:
        for path in sorted(spool.iterdir()) if spool.is_dir() else ():
            stored = Stored.of(path)
            if stored is not None and path.is_file() and stored.arrived_utc_ns < before_utc_ns:
                yield path
