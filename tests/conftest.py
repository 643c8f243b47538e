"""Where the real recordings and the awkward inputs lie, when they lie beside the checkout."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import settings

# The same inputs each time, however busy the machine: searching for new ones is `make fuzz`'s.
settings.register_profile("tests", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=int(os.environ.get("FUZZ_RUNS", "2000")), deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does, before anything imports numpy

# A shell that starts us in the background has children ignore Ctrl-C; ours must be able to hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(os.environ.get("LANEPULSE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def program_of() -> Callable[[str, str], str]:
    """``program_of("storescp", "DCMTK")``: the system's own program, or a skip.

    Never one of this environment: pynetdicom brings programs of the same names, and would judge itself.
    """
    own = Path(sys.executable).parent
    places = [place for place in os.environ.get("PATH", "").split(os.pathsep) if place and Path(place) != own]

    def find(name: str, package: str) -> str:
        found = shutil.which(name, path=os.pathsep.join(places))
        if found is None:
            pytest.skip(f"{package} is not installed")
        return found

    return find


@pytest.fixture(scope="session")
def cases() -> Path:
    """Folder of small inputs that break programs like ours."""
    if not (SHARED / "cases").is_dir():
        pytest.skip("no cases folder beside the checkout (LANEPULSE_SHARED)")
    return SHARED / "cases"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no recordings beside the checkout (LANEPULSE_SHARED)")
    return SHARED / "data"


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``ca.pem``, and ``lane``, ``scanner`` (by that CA) and ``stranger`` (by another), .pem and .key."""
    folder = tmp_path_factory.mktemp("certificates")
    key, authority = _authority("Lane CA")
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name in ("lane", "scanner"):
        _leaf(folder, name, key, authority)
    _leaf(folder, "stranger", *_authority("Another CA"))
    return folder


def _certificate(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
    )


def _authority(name: str) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _certificate(name, issuer, key).add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
    return key, builder.sign(key, hashes.SHA256())


def _leaf(folder: Path, name: str, authority_key: ec.EllipticCurvePrivateKey, authority: x509.Certificate) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signed = _certificate(name, authority.subject, key).sign(authority_key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    (folder / f"{name}.key").write_bytes(pem)
