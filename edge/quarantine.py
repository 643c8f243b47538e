"""What could not be parsed: kept, counted, and limited, so that a babbling wire cannot fill the disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

MAX_ITEM_BYTES = 64 * 1024  # assumed: a whole frame or record of any of our wires fits
MAX_FILES = 200  # a device; the oldest goes first
MOST_CAUSES = 64  # a device; a cause may name a frame or a file, and there is no end of these
OTHER = "further causes"


class Quarantine:
    """One folder a device under ``folder``; counts by cause since start."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counts: dict[str, Counter[str]] = {}
        self._next: dict[str, int] = {}

    def keep(self, device: str, cause: str, raw: bytes) -> None:
        """Count the cause and keep the bytes; on a full disk the count alone remains.

        The order of the files is their number, which goes on after a restart.
        """
        counts = self._counts.setdefault(device, Counter())
        counts[cause if cause in counts or len(counts) < MOST_CAUSES else OTHER] += 1
        if not raw:
            return
        folder = self._folder / device
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            number = self._number(device, folder)
            (folder / f"{number:08d}.bin").write_bytes(raw[:MAX_ITEM_BYTES])
            (folder / f"{number - MAX_FILES:08d}.bin").unlink(missing_ok=True)
        except OSError as error:
            self._counts[device][f"not kept: {error.strerror}"] += 1

    def counts(self, device: str) -> dict[str, int]:
        """Rejected items by cause, since start."""
        return dict(self._counts.get(device, {}))

    def _number(self, device: str, folder: Path) -> int:
        if device not in self._next:
            self._next[device] = max((int(path.stem) for path in folder.glob("[0-9]*.bin")), default=0)
        self._next[device] += 1
        return self._next[device]
