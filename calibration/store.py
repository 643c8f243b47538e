"""A lane's calibrations on disk: a chain of signed records that only grows, and their raw data.

``<state>/calibrations/000001.json`` with ``000001.sig``, and ``raw/<sha256>.npz``. An entry's number and the hash of
the entry before it are inside what is signed, so that none can be changed, taken out or put in another order unseen;
that the last ones were not cut off is known from the journal, which names each. The last activating entry of a device
is its active calibration. A file appears whole or not at all, and never over another.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from calibration.raw import LARGEST_BYTES as LARGEST_RAW
from calibration.raw import Raw, pack, unpack
from calibration.record import FIRST_PREVIOUS, LONGEST_BYTES, Kept, Record, RecordFault, digest, read

DIGITS = 6
MOST_ENTRIES = 10**DIGITS - 1
SIGNATURE_BYTES = 64  # Ed25519, RFC 8032


class StoreFault(RecordFault):
    """One line: what in the store is wrong, what to do."""


@dataclass(frozen=True, slots=True)
class Store:
    """The chain below ``root``, which need not be there yet."""

    root: Path

    def count(self) -> int:
        """How many entries there are; cheap enough to ask before every passage."""
        if not self.root.is_dir():
            return 0
        names = [path.stem for path in self.root.glob("*.json") if path.stem.isdigit()]
        return int(max(names, default="0"))

    def entries(self) -> list[Kept]:
        """The chain, oldest first; links are checked, signatures are not (see `verify`).

        Raises:
            RecordFault: an entry is missing or unreadable, or does not follow from the one before it.
        """
        found: list[Kept] = []
        for number in range(1, self.count() + 1):
            found.append(self._entry(number, found[-1].id if found else FIRST_PREVIOUS))
        return found

    def of_device(self, device: str) -> list[Kept]:
        """A device's entries, oldest first. Raises RecordFault as `entries`."""
        return [kept for kept in self.entries() if kept.record.device.name == device]

    def active(self) -> dict[str, Kept]:
        """Device -> the entry whose settings are in force. Raises RecordFault as `entries`."""
        entries = self.entries()
        by_id = {kept.id: kept for kept in entries}
        found: dict[str, Kept] = {}
        for kept in entries:
            if kept.record.activates:
                found[kept.record.device.name] = by_id.get(kept.record.restores or "", kept)
        return found

    def find(self, words: str) -> Kept:
        """The entry that ``words`` name: its number, its id, or a beginning of its id that no other has.

        Raises:
            StoreFault: none, or several.
        """
        entries = self.entries()
        if words.isdigit() and len(words) <= DIGITS:
            named = [kept for kept in entries if kept.record.number == int(words)]
        else:
            named = [kept for kept in entries if len(words) >= 4 and kept.id.startswith(words.removeprefix("sha256:"))]
        if len(named) != 1:
            raise StoreFault(f"record {words[:70]!r}: {len(named)} match; see lanepulse calibrate status")
        return named[0]

    def raw(self, record: Record) -> Raw:
        """The raw data of a record. Raises RecordFault: it has none, or it was changed or taken away."""
        if record.raw_sha256 is None:
            raise StoreFault(f"record {record.number}: it has no raw data")
        return unpack(self.raw_bytes(record.raw_sha256), f"raw/{record.raw_sha256[:12]}.npz")

    def raw_bytes(self, sha256: str) -> bytes:
        """A raw file, whose content is what its name says. Raises StoreFault."""
        path = self.raw_path(sha256)
        content = _read(path, LARGEST_RAW)
        if digest(content) != sha256:
            raise StoreFault(f"{path}: its SHA-256 is {digest(content)[:12]}…, not {sha256[:12]}…: it was changed")
        return content

    def raw_path(self, sha256: str) -> Path:
        """Where a raw file lies."""
        return self.root / "raw" / f"{sha256}.npz"

    def path(self, number: int) -> Path:
        """Where an entry lies."""
        return self.root / f"{number:0{DIGITS}d}.json"

    def append(self, draft: Mapping[str, Any], raw: Raw | None, key: Ed25519PrivateKey) -> Kept:
        """Add an entry: raw data first, then the signature, then the record, which makes it so.

        Args:
            draft: fields of `Record` but ``number``, ``previous_id`` and ``raw_sha256``.
            raw: what was measured.
            key: the lane's signing key.

        Raises:
            RecordFault: the chain cannot be read, or the draft is no record.
            OSError: the disk is full or gone; nothing was added then.
        """
        with self._locked():
            entries = self.entries()
            content = None if raw is None else pack(raw)
            record = Record.model_validate(
                {
                    **draft,
                    "number": len(entries) + 1,
                    "previous_id": entries[-1].id if entries else FIRST_PREVIOUS,
                    "raw_sha256": None if content is None else digest(content),
                }
            )
            text = record.canonical()
            read(text, "new record")  # what could not be read again is not written
            if content is not None and not self.raw_path(digest(content)).exists():
                self._put(self.raw_path(digest(content)), content)
            path = self.path(record.number)
            path.with_suffix(".sig").unlink(missing_ok=True)  # left behind by a cut: its record never was
            signature = key.sign(text)
            self._put(path.with_suffix(".sig"), signature)
            self._put(path, text)
            return Kept(record, text, signature)

    def verify(self, public_key: Ed25519PublicKey | None) -> list[str]:
        """Everything that is wrong: entries, their order, signatures, raw data. Empty where all is whole."""
        faults: list[str] = []
        previous = FIRST_PREVIOUS
        for number in range(1, self.count() + 1):
            try:
                kept = self._entry(number, previous)
                previous = kept.id
                if public_key is not None:
                    public_key.verify(kept.signature, kept.content)
                if kept.record.raw_sha256 is not None:
                    self.raw_bytes(kept.record.raw_sha256)
            except InvalidSignature:
                faults.append(f"calibration {number}: its signature is not of this key, or it was changed")
            except RecordFault as fault:
                faults.append(f"calibration {number}: {fault}")
                previous = self._id_of(number)
        return faults

    def _id_of(self, number: int) -> str:
        try:
            return digest(_read(self.path(number), LONGEST_BYTES))
        except RecordFault:
            return FIRST_PREVIOUS

    def _entry(self, number: int, previous_id: str) -> Kept:
        path = self.path(number)
        content = _read(path, LONGEST_BYTES)
        record = read(content, path.name)
        if record.number != number:
            raise StoreFault(f"{path.name}: holds entry {record.number}: entries were put in another order")
        if record.previous_id != previous_id:
            raise StoreFault(f"{path.name}: does not follow from the entry before it: one of the two was changed")
        return Kept(record, content, _read(path.with_suffix(".sig"), SIGNATURE_BYTES))

    def _put(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}.new")
        beside.unlink(missing_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.chmod(0o440)  # it is never written again
            os.link(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.root.mkdir(mode=0o750, parents=True, exist_ok=True)
        with (self.root / ".lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # two engineers: the second waits for the milliseconds of a write
            yield


def follows(entries: Sequence[Kept], known: Mapping[int, str]) -> list[str]:
    """What a list of (number -> id), as the journal has it, says against the chain: entries cut off or replaced."""
    by_number = {kept.record.number: kept.id for kept in entries}
    return [
        f"calibration {number}: " + ("is missing" if number not in by_number else f"is not {known[number][:12]}…")
        for number in sorted(known)
        if by_number.get(number) != known[number]
    ]


def _read(path: Path, most_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most_bytes + 1)
    except FileNotFoundError:
        raise StoreFault(f"{path.name}: is missing") from None
    except OSError as error:
        raise StoreFault(f"{path.name}: {error.strerror or error}") from None
    if len(content) > most_bytes:
        raise StoreFault(f"{path.name}: more than {most_bytes} bytes")
    return content
