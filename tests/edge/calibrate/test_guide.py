"""The calibration guide names every procedure, and its pictures are there, small, and well formed."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from edge.calibrate import catalogue

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_every_procedure_is_in_the_guide() -> None:
    guide = (DOCS / "calibration.md").read_text()
    missing = [f"{one.modality} {one.name}" for one in catalogue.ALL if f"`{one.name}`" not in guide and not one.test]
    assert missing == []


def test_every_picture_of_the_guide_is_there_and_no_other() -> None:
    named = set(re.findall(r"\]\((pictures/calibration/[a-z-]+\.svg)\)", (DOCS / "calibration.md").read_text()))
    there = {str(path.relative_to(DOCS)) for path in (DOCS / "pictures" / "calibration").iterdir()}
    assert named == there
    for name in named:
        picture = (DOCS / name).read_bytes()
        assert len(picture) < 100_000
        assert b">right: " in picture
        assert b">wrong: " in picture
        ElementTree.fromstring(picture)
