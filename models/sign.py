"""``python -m models.sign KEY MANIFEST``: the last step of a release, and the one that a lane asks for.

KEY is an Ed25519 private key in PEM, mode 0600, which never lies in a checkout; make one with
``openssl genpkey -algorithm ed25519 -out KEY``. Nothing is signed that a lane would refuse: the manifest must be one,
and the model beside it must be the one that it names and keep its contract. The signature becomes ``<manifest>.sig``.
"""

from __future__ import annotations

from pathlib import Path

import click
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fusion.classifier import Classifier, ModelRefused
from models.manifest import ManifestRefused, read_manifest
from models.signature import KEY_BYTES_MOST, SignatureRefused, signed_by, trusted_keys


class KeyRefused(click.ClickException):
    """One line: why this is no key to sign with."""


@click.command(epilog="\b\nExample:\n  python -m models.sign release.key models/released/concealment-2.json")
@click.argument("key", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def main(key: Path, manifest: Path) -> None:
    """Sign MANIFEST with KEY, once the model beside it has kept its contract."""
    private, text = private_key(key), manifest.read_bytes()
    try:
        read = read_manifest(text)
        Classifier(manifest.with_suffix(".onnx").read_bytes(), read.contract())
    except (ManifestRefused, ModelRefused) as refusal:
        raise click.ClickException(f"{manifest}: {refusal}; not signed") from None
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}; the model lies beside its manifest") from None
    signature = private.sign(text)
    manifest.with_suffix(".sig").write_bytes(signature)
    click.echo(f"{manifest.with_suffix('.sig')}: {read.name} is signed")
    try:
        click.echo(f"a lane that trusts {manifest.parent} knows the key as {_name(text, signature, manifest.parent)}")
    except SignatureRefused:
        click.echo(f"no .pub in {manifest.parent} is this key's: openssl pkey -in {key} -pubout -out release.pub")


def private_key(path: Path) -> Ed25519PrivateKey:
    """The key of a PEM file.

    Raises:
        KeyRefused: others may read the file, or it holds no such key.
    """
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise KeyRefused(f"{path}: mode {mode:04o} lets others read it: chmod 600, and replace the key if they could")
    try:
        with path.open("rb") as file:
            key = load_pem_private_key(file.read(KEY_BYTES_MOST), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyRefused(f"{path}: not an Ed25519 private key in PEM without a pass phrase")
    return key


def _name(text: bytes, signature: bytes, folder: Path) -> str:
    return signed_by(text, signature, trusted_keys(folder))


if __name__ == "__main__":
    main()
