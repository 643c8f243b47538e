"""Photos of a case: kept as they came, under their digest; whether they are pictures is told by their first bytes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from edge.places import Places
from edge.referral.words import MOST_PHOTO_BYTES, Photo, WordsRefused, read_words

SIGNATURES = {b"\xff\xd8\xff": "jpg", b"\x89PNG\r\n\x1a\n": "png"}


def take_in(places: Places, passage_id: str, check: str, path: Path) -> Photo:
    """Copy a photo into the case's folder, whole and synced.

    Raises:
        WordsRefused: it cannot be read, is no JPEG or PNG, is too large, or the check is none of the schedule.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_PHOTO_BYTES + 1)
    except OSError as error:
        raise WordsRefused(f"{path}: {error.strerror}; give a photo") from None
    if len(raw) > MOST_PHOTO_BYTES:
        raise WordsRefused(f"{path}: more than {MOST_PHOTO_BYTES // 1024**2} MiB; make it smaller")
    suffix = next((suffix for signature, suffix in SIGNATURES.items() if raw.startswith(signature)), None)
    if suffix is None:
        raise WordsRefused(f"{path}: neither JPEG nor PNG; save it as one of them")
    photo = read_words(Photo, {"check": check, "sha256": hashlib.sha256(raw).hexdigest(), "suffix": suffix})
    folder = places.cases / passage_id
    try:
        folder.mkdir(mode=0o770, parents=True, exist_ok=True)
        _write(folder / photo.file_name, raw)
    except OSError as error:
        raise WordsRefused(f"{folder}: {error.strerror}; run as a member of the lane's group") from None
    return photo


def _write(path: Path, raw: bytes) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
