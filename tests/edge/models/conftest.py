"""A lane that trusts a key of its own, and models that are good or broken in one way, signed with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge.models.source import RELEASED
from edge.models.store import Store
from edge.places import Places


@dataclass(frozen=True, slots=True)
class Made:
    """A lane's places, and a workshop that makes signed models."""

    places: Places
    root: Path
    folder: Path
    key: Ed25519PrivateKey

    @property
    def store(self) -> Store:
        return Store(self.places.models)

    def model(
        self,
        name: str = "trial-2",
        change: Callable[[onnx.ModelProto], None] | None = None,
        key: Ed25519PrivateKey | None = None,
        **manifest: Any,
    ) -> Path:
        """The released model under another name, changed, with a manifest that binds it, signed."""
        whole = onnx.load(RELEASED)
        if change is not None:
            change(whole)
        return self.files(name, whole.SerializeToString(), key=key, **manifest)

    def files(self, name: str, model: bytes, key: Ed25519PrivateKey | None = None, **manifest: Any) -> Path:
        """Any bytes as a model, with a manifest that binds them, signed."""
        words = json.loads(RELEASED.with_suffix(".json").read_bytes())
        words |= {"name": name, "sha256": hashlib.sha256(model).hexdigest()} | manifest
        return self.write(name, model, json.dumps(words).encode(), key)

    def write(self, name: str, model: bytes, manifest: bytes, key: Ed25519PrivateKey | None = None) -> Path:
        """Three files, the manifest signed as it is."""
        path = self.folder / f"{name}.onnx"
        path.write_bytes(model)
        path.with_suffix(".json").write_bytes(manifest)
        path.with_suffix(".sig").write_bytes((key or self.key).sign(manifest))
        return path


@pytest.fixture
def made(tmp_path: Path) -> Made:
    root, folder = tmp_path / "lane", tmp_path / "workshop"
    folder.mkdir()
    places = Places.under(root)
    places.make()
    key = Ed25519PrivateKey.generate()
    (places.keys / "models").mkdir()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (places.keys / "models" / "ours.pub").write_bytes(public)
    return Made(places, root, folder, key)
