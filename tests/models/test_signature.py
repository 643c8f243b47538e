from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from models.sign import main
from models.signature import RELEASED, SignatureRefused, signed_by, trusted_keys


def write_key(folder: Path, name: str) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    private = folder / f"{name}.key"
    private.touch(mode=0o600)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (folder / f"{name}.pub").write_bytes(public)
    return key


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """The released model and its manifest, copied, not signed."""
    for path in RELEASED.glob("concealment-2.*"):
        if path.suffix != ".sig":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path / "concealment-2.json"


@pytest.mark.parametrize("manifest", sorted(RELEASED.glob("*.json")), ids=lambda path: path.stem)
def test_every_released_manifest_is_signed_as_it_is(manifest: Path) -> None:
    """After each training: python -m models.sign KEY models/released/<name>.json (docs/models.md)."""
    signature = manifest.with_suffix(".sig").read_bytes()
    assert signed_by(manifest.read_bytes(), signature, trusted_keys(RELEASED)) == "release"


def test_no_private_key_lies_among_the_released_files() -> None:
    assert [path.name for path in RELEASED.iterdir() if b"PRIVATE" in path.read_bytes()] == []


def test_what_models_sign_signs_is_verified_by_openssl_and_by_us(released: Path) -> None:
    write_key(released.parent, "ours")
    done = CliRunner().invoke(main, [str(released.parent / "ours.key"), str(released)])
    assert done.exit_code == 0, done.output
    signature = released.with_suffix(".sig")
    assert signed_by(released.read_bytes(), signature.read_bytes(), trusted_keys(released.parent)) == "ours"
    public = released.parent / "ours.pub"
    verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", public, "-rawin", "-in", released]
    assert subprocess.run([*verify, "-sigfile", signature], timeout=20).returncode == 0


def test_a_manifest_changed_after_its_signature_is_refused(tmp_path: Path) -> None:
    key = write_key(tmp_path, "ours")
    with pytest.raises(SignatureRefused, match=r"changed since"):
        signed_by(b'{"name": "b"}', key.sign(b'{"name": "a"}'), trusted_keys(tmp_path))


@pytest.mark.parametrize(("signature", "said"), [(None, "not signed"), (b"", "0 bytes"), (b"x" * 65, "65 bytes")])
def test_what_is_no_signature_is_refused(signature: bytes | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(SignatureRefused, match=said):
        signed_by(b"{}", signature, trusted_keys(tmp_path))


def test_a_file_that_is_no_key_is_trusted_by_nobody(tmp_path: Path) -> None:
    (tmp_path / "a.pub").write_bytes(b"\xff\x00 not a key")
    (tmp_path / "b.pub").mkdir()
    write_key(tmp_path, "c")
    assert list(trusted_keys(tmp_path, tmp_path / "not there")) == ["c"]


def test_a_key_that_others_may_read_signs_nothing(released: Path) -> None:
    write_key(released.parent, "ours")
    (released.parent / "ours.key").chmod(0o640)
    done = CliRunner().invoke(main, [str(released.parent / "ours.key"), str(released)])
    assert done.exit_code == 1 and "chmod 600" in done.output
    assert not released.with_suffix(".sig").exists()


def test_a_model_that_is_not_the_manifests_is_not_signed(released: Path) -> None:
    write_key(released.parent, "ours")
    model = released.with_suffix(".onnx")
    model.write_bytes(model.read_bytes()[:-1] + b"\x00")
    command = [sys.executable, "-m", "models.sign", released.parent / "ours.key", released]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "not signed" in done.stderr and "Traceback" not in done.stderr
    assert not released.with_suffix(".sig").exists()
