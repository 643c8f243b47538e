"""Is a pack what was sealed? Everything that ``check.sh`` finds, and where in the container a byte was changed.

A pack comes from a stranger: names, counts and sizes are limited before anything is read, and nothing is unpacked.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from edge import json_text
from edge.journal.chain import head_message, netstrings
from edge.records.outcome import file_document
from edge.referral.pack import MANIFEST, MOST_BYTES, MOST_MEMBERS, SIGNATURE, PackFault, names_of, write_zip

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*){0,2}")
_LINE = re.compile(r"([0-9a-f]{64})  (\S+)")
_ROW = re.compile(r"journal/row-(\d{1,16})\.txt")
_CHAIN = re.compile(r"journal/chain-(\d{1,16})\.txt")
SMALL_BYTES = 8 * 1024 * 1024  # of what is read whole: rows, chains, manifest
REPEATED = frozenset({"bundle/outcome.json", "bundle/late.json", "bundle/verdicts.jsonl"})


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is not as it was sealed. ``where`` is a file in the pack, or a place in the container."""

    where: str
    cause: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found."""

    case_id: str
    files: int
    rows: int
    key_sha256: str
    own_key: bool  # the pack's own key was used: it proves that the pack is whole, not whose it is
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        """Nothing was found wrong."""
        return not self.faults


def verify(path: Path, key_pem: bytes | None) -> Checked:
    """Check a pack with the lane's public key (PEM), or with the copy in the pack where none is given.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _checked(path, archive, key_pem)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        PackFault,
        RuntimeError,
        ValueError,
    ) as error:
        return Checked("", 0, 0, "", key_pem is None, (Fault(path.name, f"not a pack: {str(error)[:160]}"),))


def _checked(path: Path, archive: zipfile.ZipFile, key_pem: bytes | None) -> Checked:
    faults = list(_container(archive))
    if faults:
        return Checked("", 0, 0, "", key_pem is None, tuple(faults))
    files = {info.filename: info for info in archive.infolist()}
    pack = _Pack(archive, files)
    pem = key_pem if key_pem is not None else pack.small("key/lane.pub")
    key = _public(pem)
    if key is None:
        return Checked("", len(files), 0, "", key_pem is None, (Fault("key", "no Ed25519 public key in PEM"),))
    faults += _manifest(pack, key)
    rows, chain_faults = _journal(pack, key)
    faults += chain_faults
    faults += _promised(pack, rows)
    faults += _seal_beside(path, key)
    if not faults:
        faults += _bytes(path, pack)
    first = pack.small(MANIFEST).split(b"\n", 1)[0].decode("ascii", "replace")
    return Checked(
        first.rpartition(" ")[2][:80],
        len(files),
        len(rows),
        hashlib.sha256(pem).hexdigest(),
        key_pem is None,
        tuple(dict.fromkeys(faults)),
    )


class _Pack:
    """Members of one zip, read within limits; one that cannot be read is empty, and the manifest finds it."""

    def __init__(self, archive: zipfile.ZipFile, files: Mapping[str, zipfile.ZipInfo]) -> None:
        self.archive, self.files = archive, files
        self.unreadable: dict[str, str] = {}

    def small(self, name: str) -> bytes:
        if name not in self.files or self.files[name].file_size > SMALL_BYTES:
            return b""
        try:
            return self.archive.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            self.unreadable[name] = str(error)[:120]
            return b""

    def digest(self, name: str) -> str:
        try:
            with self.archive.open(name) as member:
                return _file_digest(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            self.unreadable[name] = str(error)[:120]
            return ""


def _container(archive: zipfile.ZipFile) -> Iterator[Fault]:
    infos = archive.infolist()
    if len(infos) > MOST_MEMBERS or sum(info.file_size for info in infos) > MOST_BYTES:
        yield Fault("container", f"{len(infos)} files: more than a pack has, or too large")
        return
    for name, count in Counter(info.filename for info in infos).items():
        if count > 1 or not _NAME.fullmatch(name):
            yield Fault(name[:80], "is there twice" if count > 1 else "is no name in a pack")
    for info in infos:
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
            yield Fault(info.filename[:80], "is compressed or encrypted; a pack's files are stored")
    for name in (MANIFEST, SIGNATURE):
        if name not in archive.namelist():
            yield Fault(name, "is not in the pack")


def _manifest(pack: _Pack, key: Ed25519PublicKey) -> Iterator[Fault]:
    manifest = pack.small(MANIFEST)
    if not _signed(key, manifest, pack.small(SIGNATURE)):
        yield Fault(f"{MANIFEST}, {SIGNATURE}", "not signed with this key")
    listed = {}
    for number, line in enumerate(manifest.decode("utf-8", "replace").splitlines(), 1):
        if line.startswith("#") and number == 1:
            continue
        found = _LINE.fullmatch(line)
        if found is None or found[2] in listed:
            yield Fault(MANIFEST, f"line {number} is not a digest and a name, or names a file twice")
            continue
        listed[found[2]] = found[1]
    for name in pack.files:
        if name not in listed and name not in (MANIFEST, SIGNATURE):
            yield Fault(name, "is in the pack, and not on its list")
    for name, digest in listed.items():
        if name not in pack.files:
            yield Fault(name, "is on the list, and not in the pack")
        elif pack.digest(name) != digest:
            yield Fault(name, f"is not what the list says{_why(pack, name)}")


def _journal(pack: _Pack, key: Ed25519PublicKey) -> tuple[dict[int, bytes], list[Fault]]:
    """Rows by number, and what is wrong with them or with their chains."""
    rows = {int(found[1]): pack.small(name) for name in pack.files if (found := _ROW.fullmatch(name))}
    faults: list[Fault] = []
    proved: set[int] = set()
    for name in pack.files:
        found = _CHAIN.fullmatch(name)
        if found is not None:
            head = pack.small(f"journal/head-{found[1]}.json")
            if not _signed(key, head, pack.small(f"journal/head-{found[1]}.sig")):
                names = f"journal/head-{found[1]}.json, journal/head-{found[1]}.sig"
                faults.append(Fault(names, "not signed with this key"))
            faults += _chain(name, int(found[1]), pack.small(name), head, rows, proved)
    faults += [Fault(f"journal/row-{number}.txt", "no chain proves it") for number in sorted(rows.keys() - proved)]
    return rows, faults


def _chain(
    name: str, head: int, text: bytes, message: bytes, rows: Mapping[int, bytes], proved: set[int]
) -> Iterator[Fault]:
    lines = [line.split() for line in text.decode("ascii", "replace").splitlines()]
    if not lines or len(lines[0]) != 3 or lines[0][0] != "start" or not lines[0][1].isdigit():
        yield Fault(name, "does not begin with a start")
        return
    number, previous = int(lines[0][1]), lines[0][2]
    for line in lines[1:]:
        if len(line) != 2 or line[0] != str(number):
            yield Fault(name, f"row {number} does not come where it should")
            return
        if number in rows:
            if hashlib.sha256(rows[number]).hexdigest() != line[1]:
                yield Fault(f"journal/row-{number}.txt", f"is not the row that {name} proves")
            proved.add(number)
        previous = hashlib.sha256(netstrings(line[1], previous)).hexdigest()
        number += 1
    if number - 1 != head or message.decode("utf-8", "replace") != head_message(head, previous):
        yield Fault(name, "does not lead to the signed head")


def _promised(pack: _Pack, rows: Mapping[int, bytes]) -> Iterator[Fault]:
    """Private values, raw files and photos: each digest stands in a row."""
    text = b"\n".join(rows.values())
    for name in pack.files:
        committed = name.split("/")[0] in ("private", "bundle", "photos") and name not in REPEATED
        if committed and pack.digest(name).encode() not in text:
            yield Fault(name, "its digest stands in no row of the journal")
    for number, line in enumerate(pack.small("bundle/verdicts.jsonl").splitlines(), 1):
        if line not in text:
            yield Fault("bundle/verdicts.jsonl", f"line {number} is a verdict that stands in no row of the journal")
    yield from _outcome(pack, rows)


def _outcome(pack: _Pack, rows: Mapping[int, bytes]) -> Iterator[Fault]:
    """``outcome.json`` says what the last outcome row says."""
    said = [body for number in sorted(rows) if (body := _body(rows[number], b"7:outcome,")) is not None]
    if "bundle/outcome.json" not in pack.files or not said:
        return
    try:
        document = json_text.read(said[-1])
        same = json_text.read(pack.small("bundle/outcome.json")) == file_document(document)
    except (json_text.JsonRefused, KeyError, TypeError):
        same = False
    if not same:
        yield Fault("bundle/outcome.json", "does not say what the last outcome row of the journal says")


def _body(content: bytes, kind: bytes) -> bytes | None:
    """The last netstring of a row of this kind."""
    columns, rest = [], content
    while rest:
        if rest.startswith(b"-,"):
            columns.append(b"")
            rest = rest[2:]
            continue
        length, colon, rest = rest.partition(b":")
        if not colon or not length.isdigit() or len(length) > 9:
            return None
        columns.append(rest[: int(length)])
        rest = rest[int(length) + 1 :]
    return columns[5] if len(columns) == 6 and columns[2] == kind.partition(b":")[2].rstrip(b",") else None


def _seal_beside(path: Path, key: Ed25519PublicKey) -> Iterator[Fault]:
    """The digest and signature beside the pack, where they are there."""
    line_file, signature_file = path.with_name(f"{path.name}.sha256"), path.with_name(f"{path.name}.sha256.sig")
    if not line_file.is_file() or not signature_file.is_file():
        return
    with line_file.open("rb") as file, signature_file.open("rb") as other:
        line, signature = file.read(1024), other.read(1024)
    if not _signed(key, line, signature):
        yield Fault(f"{line_file.name}, {signature_file.name}", "not signed with this key")
    with path.open("rb") as file:
        digest = _file_digest(file)
    if line.split(b" ", 1)[0].decode("ascii", "replace") != digest:
        yield Fault(path.name, f"its digest is not what {line_file.name} says")


def _bytes(path: Path, pack: _Pack) -> Iterator[Fault]:
    """The container, byte by byte: a pack made anew from the same files is the same file."""
    with tempfile.TemporaryDirectory(dir=path.parent if _writable(path.parent) else None) as folder:
        anew = Path(folder) / "anew.zip"
        members = {name: _unpacked(pack, name, Path(folder) / f"{n}") for n, name in enumerate(names_of([*pack.files]))}
        with anew.open("wb") as file:
            write_zip(file, members)
        at = _first_difference(path, anew)
        if at is not None:
            yield Fault(f"container, byte {at}", f"was changed: {_part_at(anew, at)}; every file is as it was sealed")


def _unpacked(pack: _Pack, name: str, aside: Path) -> bytes | Path:
    if pack.files[name].file_size <= SMALL_BYTES:
        return pack.archive.read(name)
    with pack.archive.open(name) as member, aside.open("wb") as file:
        while chunk := member.read(1 << 20):
            file.write(chunk)
    return aside


def _first_difference(one: Path, other: Path) -> int | None:
    at = 0
    with one.open("rb") as a, other.open("rb") as b:
        while True:
            left, right = a.read(1 << 16), b.read(1 << 16)
            if left != right:
                short = min(len(left), len(right))
                return at + next((i for i in range(short) if left[i] != right[i]), short)
            if not left:
                return None
            at += len(left)


def _part_at(anew: Path, at: int) -> str:
    """Which part of the zip a byte belongs to."""
    with zipfile.ZipFile(anew) as archive:
        if at >= archive.start_dir:
            return "in the container's own list of files"
        before = [info for info in archive.infolist() if info.header_offset <= at]
        return f"in the header of {before[-1].filename}" if before else "before the first file"


def _file_digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _public(pem: bytes) -> Ed25519PublicKey | None:
    try:
        key = load_pem_public_key(pem)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, Ed25519PublicKey) else None


def _signed(key: Ed25519PublicKey, message: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _why(pack: _Pack, name: str) -> str:
    return f" ({pack.unreadable[name]})" if name in pack.unreadable else ""


def _writable(folder: Path) -> bool:
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
