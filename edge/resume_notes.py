"""Where each device's stream stopped, kept over a restart, so that nothing of it is missing nor comes twice.

A note counts as settled once the lane has taken every reading that it speaks of; only settled notes reach the disk. A
crash in between asks for some readings again, and never passes one over.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

OLDEST_S = 60.0  # what is older lies outside every passage that is still to come (fusion.bundle.series.MARGIN_NS)
LONGEST_FILE = 1024 * 1024  # bytes; assumed: a note takes a few hundred
MOST_KEYS = 64  # a device; assumed: one for each station
log = logging.getLogger("lanepulse.resume")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    written_utc_ns: int
    devices: dict[str, dict[str, str]] = Field(default_factory=dict)


class ResumeNotes:
    """Notes of all devices. `of` gives a device's own; `settle` and `save` are called by who takes the readings."""

    def __init__(self, path: Path, notes: dict[str, dict[str, str]], now_utc_ns: Callable[[], int]) -> None:
        self._path, self._notes, self._now_utc_ns = path, notes, now_utc_ns
        self._settled = self._saved = json.dumps(notes, sort_keys=True)
        self._failing = False

    @classmethod
    def load(cls, path: Path, now_utc_ns: Callable[[], int] = time.time_ns) -> Self:
        """What the last run left. A file that is damaged or old is no reason not to start: the streams begin anew."""
        return cls(path, _read(path, now_utc_ns()), now_utc_ns)

    def of(self, device: str) -> dict[str, str]:
        """The notes of one device, to be read and written in place."""
        return self._notes.setdefault(device, {})

    def settle(self) -> None:
        """The lane has taken all that the notes speak of. Cheap enough for each time that its queue is empty."""
        for notes in self._notes.values():
            while len(notes) > MOST_KEYS:
                notes.pop(next(iter(notes)))
        self._settled = json.dumps(self._notes, sort_keys=True)

    def save(self) -> None:
        """Write the settled notes, the old file or the new one and nothing between. A full disk is said once."""
        settled = self._settled
        if settled == self._saved:
            return
        text = json.dumps({"written_utc_ns": self._now_utc_ns(), "devices": json.loads(settled)})
        try:
            _replace(self._path, text.encode())
        except OSError as error:
            if not self._failing:
                log.error("%s: not written: %s; a restart may ask for some readings again", self._path, error.strerror)
            self._failing = True
            return
        self._saved, self._failing = settled, False


def _read(path: Path, now_utc_ns: int) -> dict[str, dict[str, str]]:
    try:
        with path.open("rb") as file:
            found = _File.model_validate_json(file.read(LONGEST_FILE))
    except FileNotFoundError:
        return {}
    except OSError as error:
        log.warning("%s: %s; streams begin anew", path, error.strerror)
        return {}
    except ValidationError as error:
        log.warning("%s: %s; streams begin anew", path, _first(error.errors()))
        return {}
    if abs(now_utc_ns - found.written_utc_ns) > OLDEST_S * 1e9:
        log.info("%s: is over %g s old; streams begin anew", path, OLDEST_S)
        return {}
    return found.devices


def _first(errors: list[Any]) -> str:
    return f"{'.'.join(map(str, errors[0]['loc'])) or 'file'}: {errors[0]['msg']}"


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    with beside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
