"""Evidence that came after a bundle was sealed: its file beside the others, and a line of ``late.json`` that names it.

The file is whole on disk before the line is, and the line before anybody judges by it; a file without a line is of a
join that the power cut, and readers leave it out.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fusion.bundle import xray_dcs
from fusion.bundle.container import Limits
from fusion.bundle.fault import FileFault
from fusion.bundle.read import LATE, VERDICTS, BundleContents


def same_content(contents: BundleContents, content: bytes) -> str | None:
    """The radiograph of the bundle that has this very content, or None."""
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    return next((name for name in contents.radiographs if contents.files.digest(name) == digest), None)


def room_for(contents: BundleContents, content: bytes) -> str:
    """The name that the next radiograph gets.

    Raises:
        FileFault: the bundle holds as many radiographs, or as many bytes, as it may.
    """
    limits, files = Limits(), contents.files.entries
    name = xray_dcs.next_name(contents.radiographs)
    used = sum(entry.size for entry in files.values())
    if (
        name is None
        or len(files) >= limits.files
        or len(content) > min(limits.image_bytes, limits.unpacked_bytes - used)
    ):
        raise FileFault(f"{xray_dcs.FILE}: {len(content)} bytes; the bundle holds no more radiographs")
    return name


def add(folder: Path, name: str, content: bytes, line: Mapping[str, Any]) -> None:
    """Put the file in its place, then its line, with the digest.

    Raises:
        OSError: the disk is full or gone; a reader finds the bundle as it was.
    """
    replace(folder / name, content)
    told = {"file": name, "digest": "sha256:" + hashlib.sha256(content).hexdigest(), **line}
    text = json.dumps(told, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    late = folder / LATE
    replace(late, (late.read_bytes() if late.is_file() else b"") + text)


def set_verdicts(folder: Path, lines: list[str]) -> None:
    """``verdicts.jsonl`` anew: the journal is the truth, this is its copy. Raises OSError."""
    replace(folder / VERDICTS, b"".join(line.encode() + b"\n" for line in lines))


def replace(path: Path, content: bytes) -> None:
    """The whole file, synced with its folder, in one step. Raises OSError."""
    fresh = path.with_name(f".{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o640)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
