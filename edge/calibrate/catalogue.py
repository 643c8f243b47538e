"""Which procedures there are for a device."""

from __future__ import annotations

from calibration.procedures import challenges, co2, geometry, lane, mmwave, vibration, xray
from calibration.procedures.procedure import Procedure

ALL: tuple[Procedure, ...] = (
    *vibration.PROCEDURES,
    *co2.PROCEDURES,
    *mmwave.PROCEDURES,
    *geometry.PROCEDURES,
    *xray.PROCEDURES,
    *lane.PROCEDURES,
    *challenges.PROCEDURES,
)


def for_modality(modality: str) -> dict[str, Procedure]:
    """Name -> procedure, in the order in which an engineer does them."""
    return {one.name: one for one in ALL if one.modality == modality}


def version(modality: str, name: str, number: int) -> Procedure | None:
    """The procedure that made a record, where this program still has that version."""
    found = for_modality(modality).get(name)
    return found if found is not None and found.version == number else None
