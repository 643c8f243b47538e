"""One fault of an imaging device, from a short file whose name is the fault (DEVICES-imaging 9): what the emulator is
told, and in which state and words the lane must say it.

``python -m hil.imaging_fault > docs/faults-imaging.md`` makes the table from the files.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

FOLDER = Path(__file__).parent / "scenarios" / "imaging"
WIRES = ("GVSP", "GVCP", "imager", "folder", "C-STORE", "DICOS")
HEAD = """# What goes wrong with the imager and the X-ray scanner, and how the lane says it

Made from `hil/scenarios/imaging/` by `python -m hil.imaging_fault`; each line is played on the emulated device by
`tests/hil/test_imaging_faults.py`, which finds the state and the words. "ok" is a fault that costs nothing: it is
counted, and the picture is right.

| wire | fault | state | in these words | what the lane does |
| --- | --- | --- | --- | --- |
"""


class Fault(BaseModel):
    """What the file says."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    wire: Literal["GVSP", "GVCP", "imager", "folder", "C-STORE", "DICOS"]
    device: Literal["imager", "imager folder", "scanner", "scanner over TLS", "scanner folder"]
    seen: Literal["device", "reading", "counted", "evidence", "refused", "kept"]
    state: Literal["ok", "absent", "faulty", "late", "measured", "out_of_limits", "kept", "refused"]
    words: str = Field(min_length=2, description="Part of the cause that is said")
    does: str = Field(min_length=4, description="What the lane does with it, for people")
    before: tuple[dict[str, Any], ...] = Field((), description="Told before the lane opens the device")
    orders: tuple[dict[str, Any], ...] = Field((), description="Told once the device is heard")
    answers: tuple[dict[str, Any], ...] = Field((), description="What a scanner hears, order by order")
    config: dict[str, Any] = Field({}, description="Of the device's table")


def read(path: Path) -> Fault:
    """Raises ValueError: the file does not fit."""
    return Fault.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))


def every() -> dict[str, Fault]:
    """Name -> fault, in the order of the wires."""
    found = {path.stem: read(path) for path in sorted(FOLDER.glob("*.toml"))}
    return dict(sorted(found.items(), key=lambda one: (WIRES.index(one[1].wire), one[0])))


def page() -> str:
    """The table as Markdown."""
    rows = [f"| {f.wire} | {name} | {f.state} | {f.words} | {f.does} |" for name, f in every().items()]
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(page(), end="")
