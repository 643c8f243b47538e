"""A case as one sealed zip: files in a fixed order, stored, with no time of their own, so that any byte can be told.

MANIFEST.sha256       what ``sha256sum -c`` reads, signed in MANIFEST.sha256.sig
COVER.html COVER.pdf  for people; HOW-TO-CHECK.txt and check.sh for whoever doubts; case.json for programs
bundle/ photos/       the raw passage and the pictures, as they are
journal/ private/     the rows, the chain to a signed head, and what rows only commit to
key/lane.pub          for comparison only: the key to check with comes from elsewhere
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from edge import json_text
from edge.journal.read import Reader
from edge.places import Places
from edge.referral import cover_html, cover_pdf, how_to_check, proof
from edge.referral.case import Case
from edge.referral.cover import cover

SCHEMA = "lanepulse.referral/1"
MANIFEST, SIGNATURE = "MANIFEST.sha256", "MANIFEST.sha256.sig"
EPOCH = (1980, 1, 1, 0, 0, 0)  # APPNOTE 4.4.6: the earliest time that a zip can say
MOST_MEMBERS = 512  # a bundle has 64 files at most, a case 40 photos; the rest are rows
MOST_BYTES = 2 * 1024**3 - 1  # no zip64: every unzip reads it
CHUNK_BYTES = 1024 * 1024


class PackFault(Exception):
    """One line: why the pack was not made."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """What was made: the pack, and its digest."""

    path: Path
    sha256: str
    files: int


def seal(case: Case, reader: Reader, places: Places, key: Ed25519PrivateKey, made_utc: str, out: Path) -> Sealed:
    """Write ``out`` with ``out.sha256`` and ``out.sha256.sig`` beside it; whole or not at all.

    Args:
        case: complete (`edge.referral.case.missing` finds nothing).
        reader: the journal; a signed head covers every row of the case.
        places: where bundle and photos lie.
        key: the lane's signing key.
        made_utc: now, RFC 3339.
        out: a ``.zip`` that is not there yet.

    Raises:
        PackFault, Unsigned, OSError: nothing is left at ``out``.
    """
    if out.exists():
        raise PackFault(f"{out}: is there already; a pack is never overwritten")
    members = dict(_members(case, reader, places, key, made_utc, out.name))
    digests = {name: _digest(content) for name, content in members.items()}
    manifest = _manifest(f"R-{case.passage_id}", digests)
    ordered = {MANIFEST: manifest, SIGNATURE: key.sign(manifest), **dict(sorted(members.items()))}
    beside = out.with_name(f".{out.name}.{os.getpid()}.new")
    try:
        with beside.open("xb") as file:
            write_zip(file, ordered)
            file.flush()
            os.fsync(file.fileno())
        digest = _digest(beside)
        _check_written(beside, digests)
        line = f"{digest}  {out.name}\n".encode()
        out.with_name(f"{out.name}.sha256").write_bytes(line)
        out.with_name(f"{out.name}.sha256.sig").write_bytes(key.sign(line))
        beside.rename(out)
    finally:
        beside.unlink(missing_ok=True)
    return Sealed(out, digest, len(ordered))


def write_zip(file: IO[bytes], members: Mapping[str, bytes | Path]) -> None:
    """The zip of these members: the same bytes for the same members, on any machine. Raises PackFault: too large."""
    sizes = {name: len(m) if isinstance(m, bytes) else m.stat().st_size for name, m in members.items()}
    if len(members) > MOST_MEMBERS or sum(sizes.values()) > MOST_BYTES:
        raise PackFault(f"pack: {len(members)} files, {sum(sizes.values())} bytes: more than one zip may hold")
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED, allowZip64=False) as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system, info.external_attr, info.file_size = 3, 0o100644 << 16, sizes[name]
            with archive.open(info, "w") as member:
                for chunk in _chunks(content):
                    member.write(chunk)


def public_pem(key: Ed25519PrivateKey) -> bytes:
    """The lane's public key as the ``.pub`` file has it."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _members(
    case: Case, reader: Reader, places: Places, key: Ed25519PrivateKey, made_utc: str, zip_name: str
) -> Iterator[tuple[str, bytes | Path]]:
    pem = public_pem(key)
    fingerprint = hashlib.sha256(pem).hexdigest()
    photos = _photo_names(case)
    shown: dict[str, list[str]] = {}
    for (check, _), name in photos.items():
        shown.setdefault(check, []).append(name)
    made = cover(case, shown, fingerprint, made_utc)
    yield "COVER.html", cover_html.page(made).encode()
    yield "COVER.pdf", cover_pdf.pdf(made)
    yield "HOW-TO-CHECK.txt", how_to_check.page(f"R-{case.passage_id}", zip_name, fingerprint, made_utc).encode()
    yield "check.sh", how_to_check.SCRIPT.read_bytes()
    yield "case.json", json_text.write(_document(case, photos, fingerprint, made_utc)).encode() + b"\n"
    yield "key/lane.pub", pem
    yield from _bundle(places.bundles / case.passage_id)
    for (_, file_name), name in photos.items():
        yield name, places.cases / case.passage_id / file_name
    yield from _journal(case, reader)


def _bundle(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise PackFault(f"{path}: neither a file nor a folder; a bundle has no links")
        if path.is_file():
            yield f"bundle/{path.relative_to(folder).as_posix()}", path


def _journal(case: Case, reader: Reader) -> Iterator[tuple[str, bytes]]:
    for row in case.rows:
        yield f"journal/row-{row.sequence}.txt", proof.content(row)
        for name, text in reader.opening_texts(row.sequence).items():
            yield f"private/{row.sequence}-{name}.json", text.encode()
    for segment in proof.segments(reader, case.rows):
        yield f"journal/chain-{segment.head}.txt", segment.chain.encode()
        yield f"journal/head-{segment.head}.json", segment.message.encode()
        yield f"journal/head-{segment.head}.sig", segment.signature


def _photo_names(case: Case) -> dict[tuple[str, str], str]:
    """(check, file in the case's folder) -> path in the pack."""
    names: dict[tuple[str, str], str] = {}
    for photo in case.photos:
        number = 1 + sum(check == photo.check for check, _ in names)
        names.setdefault((photo.check, photo.file_name), f"photos/{photo.check}-{number}.{photo.suffix}")
    return names


def _document(case: Case, photos: Mapping[tuple[str, str], str], fingerprint: str, made_utc: str) -> dict[str, Any]:
    assert case.passage is not None
    return {
        "schema": SCHEMA,
        "case_id": f"R-{case.passage_id}",
        "kind": case.kind,
        "passage_id": case.passage_id,
        "site": case.passage.get("site"),
        "lane": case.passage.get("lane"),
        "made_utc": made_utc,
        "key_sha256": fingerprint,
        "outcome": case.outcome,
        "failing": list(case.failing),
        "plates": list(case.plates.plates or ()) if case.plates else [],
        "no_trailer": bool(case.plates and case.plates.no_trailer),
        "entry_point": case.entry_point,
        "checklist": case.checklist,
        "account": case.account,
        "account_text": case.account_text,
        "photos": [{"check": check, "file": name} for (check, _), name in photos.items()],
        "verdict": case.verdict,
        "rows": [{"sequence": row.sequence, "kind": row.kind} for row in case.rows],
    }


def _manifest(case_id: str, digests: Mapping[str, str]) -> bytes:
    lines = [f"# {SCHEMA} {case_id}", *(f"{digest}  {name}" for name, digest in sorted(digests.items()))]
    return ("\n".join(lines) + "\n").encode()


def _check_written(path: Path, digests: Mapping[str, str]) -> None:
    """A file that changed between its digest and its copy gives no pack."""
    with zipfile.ZipFile(path) as archive:
        for name, digest in digests.items():
            with archive.open(name) as member:
                if hashlib.file_digest(member, "sha256").hexdigest() != digest:  # type: ignore[arg-type]
                    raise PackFault(f"{name}: changed while the pack was made; make it again")


def _digest(content: bytes | Path) -> str:
    digest = hashlib.sha256()
    for chunk in _chunks(content):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    with content.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def names_of(members: Sequence[str]) -> list[str]:
    """Names in the order in which a pack has them."""
    return [MANIFEST, SIGNATURE, *sorted(set(members) - {MANIFEST, SIGNATURE})]
