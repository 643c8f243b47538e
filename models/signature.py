"""Who released a model: an Ed25519 signature over the manifest's bytes, which bind the model's file by its hash.

``<model>.sig`` beside ``<model>.json`` is the bare signature, 64 bytes, as ``openssl pkeyutl -verify -rawin`` takes it.
Public keys are PEM files ``*.pub``: the one that the program was released with, and those that a site trusts beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

SIGNATURE_BYTES = 64  # RFC 8032, 5.1.6
KEY_BYTES_MOST = 8192  # assumed: a PEM of ours has some 113
KEYS_MOST = 64  # assumed: far more than anyone trusts
RELEASED = Path(__file__).parent / "released"


class SignatureRefused(Exception):
    """One line: what is wrong with the signature, what to do."""


def signed_by(manifest: bytes, signature: bytes | None, trusted: Mapping[str, Ed25519PublicKey]) -> str:
    """Name of the trusted key that signed these bytes.

    Args:
        manifest: the bytes of the manifest's file, as they lie on disk.
        signature: the bytes of the signature's file, None where there is none.
        trusted: name -> key.

    Raises:
        SignatureRefused: no signature, not one of 64 bytes, or none that a trusted key made of these bytes.
    """
    if signature is None:
        raise SignatureRefused("not signed: it needs its .sig beside the manifest (python -m models.sign)")
    if len(signature) != SIGNATURE_BYTES:
        raise SignatureRefused(f"its signature has {len(signature)} bytes, not {SIGNATURE_BYTES}; sign it again")
    for name, key in trusted.items():
        try:
            key.verify(signature, manifest)
        except InvalidSignature:
            continue
        return name
    names = ", ".join(trusted) or "none"
    raise SignatureRefused(f"its signature is by no trusted key (trusted: {names}), or the manifest changed since")


def trusted_keys(*folders: Path) -> dict[str, Ed25519PublicKey]:
    """File name without its ending -> key, for every readable ``.pub`` of the folders; the first of a name counts.

    A file that is no such key is trusted by nobody; a folder that is not there is an empty one.
    """
    found: dict[str, Ed25519PublicKey] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.pub"))[:KEYS_MOST]:
            key = _public(path)
            if key is not None:
                found.setdefault(path.stem, key)
    return found


def _public(path: Path) -> Ed25519PublicKey | None:
    try:
        with path.open("rb") as file:
            key = load_pem_public_key(file.read(KEY_BYTES_MOST))
    except (OSError, ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None
