"""Where a passage's files lie: its sealed folder, or the one that is still being written."""

from __future__ import annotations

import re
from pathlib import Path

from fusion.bundle.write import PARTIAL

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def folder_of(bundles: Path, passage_id: str) -> Path | None:
    """The folder of a passage; None where there is none, or the id can name none."""
    if not _ID.fullmatch(passage_id) or passage_id.endswith(PARTIAL):
        return None
    for name in (passage_id, passage_id + PARTIAL):
        if (bundles / name).is_dir():
            return bundles / name
    return None
