"""Key files: CURVE key pairs for sockets, Ed25519 keys for signatures, and the folder of those who may listen.

Private files have mode 0600 (or a service manager's 0400) and appear whole or not at all. CURVE files are ZeroMQ's
own certificate text, so that its tools read them; Ed25519 files are PEM, so that openssl does. No secret is printed:
``repr`` hides it and no error quotes a file's content.
"""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from zmq.utils import z85

LONGEST_FILE = 8192  # bytes; a key file has a few hundred
MOST_ALLOWED = 4096  # assumed: far more listeners than a lane has
SECRET_BYTES = 32
_SECRET = re.compile(rb"[0-9a-f]{64}")
_FIELD = re.compile(r'^\s*(public-key|secret-key)\s*=\s*"([^"\s]{40})"\s*$', re.MULTILINE)


class KeyFault(Exception):
    """One line: which file, what is wrong with it, what to do."""


@dataclass(frozen=True, slots=True)
class CurveKeys:
    """A CURVE key pair, both in Z85 (40 ASCII bytes)."""

    public: bytes
    secret: bytes = field(repr=False)


def new_curve(path: Path) -> CurveKeys:
    """Make a key pair: the private file at ``path``, the public one beside it as ``<name>.pub``.

    Raises:
        KeyFault: a file is there already; it is never overwritten.
    """
    public, secret = zmq.curve_keypair()
    text = f'metadata\ncurve\n    public-key = "{public.decode()}"\n'
    _create(path, f'{text}    secret-key = "{secret.decode()}"\n'.encode(), 0o600)
    _create(_beside(path), text.encode(), 0o644)
    return CurveKeys(public, secret)


def load_curve(path: Path) -> CurveKeys:
    """The key pair of a private CURVE file. Raises KeyFault."""
    fields = _fields(_read(path, private=True))
    public, secret = fields.get("public-key"), fields.get("secret-key")
    if public is None or secret is None:
        raise KeyFault(f"{path}: not a private CURVE key file; make one with: lanepulse keys new")
    try:
        matches = zmq.curve_public(secret) == public
    except (ValueError, zmq.ZMQError):
        matches = False
    if not matches:
        raise KeyFault(f"{path}: its two keys do not belong together; copy the file again from its source")
    return CurveKeys(public, secret)


def load_curve_public(path: Path) -> bytes:
    """The public key (Z85) of a public CURVE file. Raises KeyFault."""
    fields = _fields(_read(path, private=False))
    if "secret-key" in fields:
        raise KeyFault(f"{path}: holds a secret key; give out the .pub file beside it, and replace this pair")
    public = fields.get("public-key")
    if public is None or not _is_key(public):
        raise KeyFault(f"{path}: no public CURVE key in it")
    return public


def allowed(folder: Path) -> dict[bytes, str]:
    """Public key (32 raw bytes) -> name of its file, for every readable ``.pub`` file; others let nobody in.

    The folder is read anew at each handshake, so a key added or taken away counts from the next connection on. A
    missing folder is an empty one: nobody may listen.
    """
    found: dict[bytes, str] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.glob("*.pub"))[:MOST_ALLOWED]:
        try:
            found[z85.decode(load_curve_public(path))] = path.stem
        except KeyFault:
            continue  # `faults` names it
    return found


def faults(folder: Path) -> list[str]:
    """One line for every file of an allow-list that lets nobody in."""
    lines = []
    for path in sorted(folder.glob("*.pub")):
        try:
            load_curve_public(path)
        except KeyFault as error:
            lines.append(str(error))
    return lines


def new_secret(path: Path) -> bytes:
    """Make 32 random bytes, kept in hexadecimal. Raises KeyFault."""
    secret = os.urandom(SECRET_BYTES)
    _create(path, secret.hex().encode() + b"\n", 0o600)
    return secret


def load_secret(path: Path) -> bytes:
    """The 32 bytes of a secret file. Raises KeyFault."""
    text = _read(path, private=True).strip()
    if not _SECRET.fullmatch(text):
        raise KeyFault(f"{path}: not {2 * SECRET_BYTES} hexadecimal digits; make one with: lanepulse keys new")
    return bytes.fromhex(text.decode())


def new_signing(path: Path) -> Ed25519PrivateKey:
    """Make a signing key: PEM at ``path``, the public PEM beside it as ``<name>.pub``. Raises KeyFault."""
    key = Ed25519PrivateKey.generate()
    _create(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), 0o600)
    _create(_beside(path), key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), 0o644)
    return key


def load_signing(path: Path) -> Ed25519PrivateKey:
    """The signing key of a PEM file. Raises KeyFault."""
    try:
        key = load_pem_private_key(_read(path, private=True), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyFault(f"{path}: not an Ed25519 private key in PEM")
    return key


def load_signing_public(path: Path) -> Ed25519PublicKey:
    """The public key of a PEM file. Raises KeyFault."""
    try:
        key = load_pem_public_key(_read(path, private=False))
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyFault(f"{path}: not an Ed25519 public key in PEM")
    return key


def load(path: Path) -> CurveKeys | Ed25519PrivateKey:
    """Whichever private key the file holds. Raises KeyFault."""
    return load_signing(path) if _read(path, private=True).startswith(b"-----BEGIN") else load_curve(path)


def _beside(path: Path) -> Path:
    return path.with_suffix(".pub")


def _is_key(text: bytes) -> bool:
    try:
        return len(z85.decode(text)) == 32
    except (ValueError, KeyError, struct.error, zmq.ZMQError):  # five letters may say more than 32 bits hold
        return False


def _fields(raw: bytes) -> dict[str, bytes]:
    return {name: value.encode("ascii", "replace") for name, value in _FIELD.findall(raw.decode("utf-8", "replace"))}


def _read(path: Path, *, private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode & 0o777
            raw = file.read(LONGEST_FILE + 1)
    except OSError as error:
        raise KeyFault(f"{path}: {error.strerror}; name a key file") from None
    if private and mode & 0o077:
        raise KeyFault(f"{path}: mode {mode:04o} lets others read it: chmod 600, and replace the key if they could")
    if len(raw) > LONGEST_FILE:
        raise KeyFault(f"{path}: more than {LONGEST_FILE} bytes; not a key file")
    return raw


def _create(path: Path, content: bytes, mode: int) -> None:
    """The whole file or none, never over another: written under a name of its own, then linked into place."""
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(beside, path)
        finally:
            beside.unlink()
    except FileExistsError:
        raise KeyFault(f"{path}: is there already; keys are never overwritten, choose another name") from None
    except OSError as error:
        raise KeyFault(f"{path}: {error.strerror}; choose a folder that you may write") from None
