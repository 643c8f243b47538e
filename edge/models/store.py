"""The lane's models: a folder each, never changed, and links that choose: ``active``, ``previous`` and ``shadow``.

``<state>/models/<name>-<digest>/`` holds the three files; the digest is the manifest's, which binds the model by its
hash. No link means the model that the program was released with. A folder or a link appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edge.models.source import RELEASED, Source
from fusion.classifier import ModelRefused

DIGEST_LETTERS = 12  # of SHA-256: enough to tell a site's few models apart; the signature is what is trusted
RELEASED_ID = "released"  # stands for the program's own model
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class NoSuchModel(ModelRefused):
    """One line: the store holds no model of this name, or several."""


@dataclass(frozen=True, slots=True)
class Store:
    """The models below ``root``, which need not be there yet."""

    root: Path

    def ids(self) -> list[str]:
        """All that are kept, in order of name."""
        if not self.root.is_dir():
            return []
        return sorted(
            path.name
            for path in self.root.iterdir()
            if path.is_dir() and not path.is_symlink() and _NAME.fullmatch(path.name)
        )

    def active(self) -> str:
        """The id of the active model. Raises ModelRefused: the link leads elsewhere."""
        return self._linked("active")

    def previous(self) -> str:
        """The id of the model that was active before. Raises ModelRefused."""
        return self._linked("previous")

    def shadow(self) -> str | None:
        """The id of the model that runs beside the active one, if any does. Raises ModelRefused: as `active`."""
        path = self.root / "shadow"
        if not os.path.lexists(path):
            return None
        if path.is_symlink() and str(path.readlink()) == RELEASED_ID:
            return RELEASED_ID
        return self._linked("shadow")

    def file(self, model_id: str) -> Path:
        """Its ``.onnx``. Raises ModelRefused: the folder does not hold exactly one."""
        if model_id == RELEASED_ID:
            return RELEASED
        found = sorted((self.root / model_id).glob("*.onnx"))
        if len(found) != 1:
            raise ModelRefused(f"{self.root / model_id}: {len(found)} .onnx files; a model's folder holds one")
        return found[0]

    def find(self, words: str) -> str:
        """The id that ``words`` name: an id, or a model's name where there is one of that name.

        Raises:
            NoSuchModel: none, or several.
        """
        if words in (RELEASED_ID, RELEASED.stem):
            return RELEASED_ID
        ids = self.ids()
        named = [words] if words in ids else [one for one in ids if one.rpartition("-")[0] == words]
        if len(named) != 1:
            have = ", ".join(named or [*ids, RELEASED_ID])
            raise NoSuchModel(f"{words[:80]!r} names {len(named)} models; give one of {have}, or an .onnx file")
        return named[0]

    def id_of(self, source: Source) -> str:
        """The id that a model has here, kept or not.

        Raises:
            ModelRefused: its manifest is none, or its name is no name for a folder.
        """
        name = source.read_manifest().name
        if not _NAME.fullmatch(f"{name}-{'0' * DIGEST_LETTERS}"):
            raise ModelRefused(f"{source.path}: name {name!r}: give letters, digits, dots, - and _, at most 51")
        return f"{name}-{hashlib.sha256(source.manifest).hexdigest()[:DIGEST_LETTERS]}"

    def keep(self, source: Source) -> str:
        """Copy a model into the store, if it is not there; the id.

        Raises:
            ModelRefused: as `id_of`.
            OSError: the store cannot be written.
        """
        model_id = self.id_of(source)
        name, folder = model_id.rpartition("-")[0], self.root / model_id
        if source.path.parent == folder:
            return model_id
        self.root.mkdir(mode=0o750, parents=True, exist_ok=True)
        fresh = self.root / f".{model_id}.{os.getpid()}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o755)
        for suffix, content in ((".onnx", source.model), (".json", source.manifest), (".sig", source.signature)):
            if content is not None:
                _write(fresh / f"{name}{suffix}", content)
        _sync(fresh)
        old = self.root / f".{model_id}.{os.getpid()}.old"
        if folder.exists():  # the same manifest: what was damaged is put right, or signed anew
            folder.replace(old)
        fresh.replace(folder)
        shutil.rmtree(old, ignore_errors=True)
        _sync(self.root)
        return model_id

    def activate(self, model_id: str) -> None:
        """Make it the active one; what was active becomes the previous one. A cut in between harms nothing."""
        before = self._before()
        self._link("previous", before)
        self._link("active", model_id)
        if self._in_shadow() == model_id:
            self.leave_shadow()

    def run_beside(self, model_id: str) -> None:
        """Make it the one in the shadow."""
        self._point("shadow", model_id)

    def leave_shadow(self) -> None:
        """No model runs beside the active one any more."""
        (self.root / "shadow").unlink(missing_ok=True)
        if self.root.is_dir():
            _sync(self.root)

    def _in_shadow(self) -> str | None:
        try:
            return self.shadow()
        except ModelRefused:
            return None

    def _before(self) -> str:
        try:
            return self.active()
        except ModelRefused:
            return RELEASED_ID  # what the link said cannot be gone back to

    def _linked(self, link: str) -> str:
        path = self.root / link
        if not os.path.lexists(path):
            return RELEASED_ID
        target = str(path.readlink()) if path.is_symlink() else ""
        if not _NAME.fullmatch(target) or target not in self.ids():
            raise ModelRefused(f"{path}: leads to {target[:80]!r}, which is no model of this store (models activate)")
        return target

    def _link(self, link: str, model_id: str) -> None:
        if model_id != RELEASED_ID:
            self._point(link, model_id)
            return
        (self.root / link).unlink(missing_ok=True)
        if self.root.is_dir():
            _sync(self.root)

    def _point(self, link: str, model_id: str) -> None:
        self.root.mkdir(mode=0o750, parents=True, exist_ok=True)
        fresh = self.root / f".{link}.{os.getpid()}.new"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(model_id)
        fresh.replace(self.root / link)
        _sync(self.root)


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(0o644)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
