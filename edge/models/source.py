"""A model's three files, read once: whatever is judged, tried, copied or run afterwards is these very bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.places import Places
from fusion.classifier import MODEL_BYTES_MOST, ModelRefused
from models.manifest import MANIFEST_BYTES_MOST, Manifest, ManifestRefused, read_manifest
from models.signature import RELEASED as RELEASED_FOLDER
from models.signature import SIGNATURE_BYTES, SignatureRefused, signed_by, trusted_keys

RELEASED = RELEASED_FOLDER / "concealment-2.onnx"  # the model of this program: as good as its code, and tested with it


@dataclass(frozen=True, slots=True)
class Source:
    """The bytes of ``<path>.onnx``, of the manifest beside it, and of the signature, None where there is none."""

    path: Path
    model: bytes = field(repr=False)
    manifest: bytes = field(repr=False)
    signature: bytes | None = field(repr=False)

    def read_manifest(self) -> Manifest:
        """Raises ModelRefused: it is none; the message names the file and the field."""
        try:
            return read_manifest(self.manifest)
        except ManifestRefused as refusal:
            raise ModelRefused(f"{self.path.with_suffix('.json')}: {refusal}") from None

    def signer(self, trusted: Mapping[str, Ed25519PublicKey]) -> str:
        """Name of the trusted key that signed it. Raises ModelRefused."""
        try:
            return signed_by(self.manifest, self.signature, trusted)
        except SignatureRefused as refusal:
            raise ModelRefused(f"{self.path.with_suffix('.json')}: {refusal}") from None


def read_source(path: Path) -> Source:
    """The model at ``path``, which ends in ``.onnx``, with what lies beside it.

    Raises:
        ModelRefused: model or manifest cannot be read, or is larger than any of ours.
    """
    if path.suffix != ".onnx":
        raise ModelRefused(f"{path}: not the name of a model; give the .onnx file, its .json and .sig lie beside it")
    signature = path.with_suffix(".sig")
    return Source(
        path,
        _bytes(path, MODEL_BYTES_MOST),
        _bytes(path.with_suffix(".json"), MANIFEST_BYTES_MOST),
        _bytes(signature, 4 * SIGNATURE_BYTES) if signature.exists() else None,
    )


def trusted(places: Places | None) -> dict[str, Ed25519PublicKey]:
    """The release's key, and those that this lane trusts beside it: ``keys/models/*.pub``."""
    return trusted_keys(RELEASED_FOLDER, *(() if places is None else (places.keys / "models",)))


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror}; give the path of an .onnx file with its .json") from None
    if len(content) > most:
        raise ModelRefused(f"{path}: over {most} bytes; this is no model of ours")
    return content
