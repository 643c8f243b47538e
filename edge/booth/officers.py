"""Who may enter outcomes: ids with a role, and hashes of PIN and badge, in one file of mode 0600. No names.

``officers.json``: ``{"schema": "lanepulse.officers/1", "badge_salt", "officers": [{"id", "role", "pin", "badge"}]}``.
A PIN has a salt of its own; badges share one, so that a badge alone tells whose it is in one slow step.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, Literal

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge import json_text
from edge.records.outcome import OfficerId

SCHEMA: Literal["lanepulse.officers/1"] = "lanepulse.officers/1"
LONGEST_FILE = 256 * 1024  # bytes; assumed: a thousand officers
MOST_OFFICERS = 1_000
SHORTEST_PIN, LONGEST_PIN = 6, 64  # assumed: six digits and a slow lock; a badge's number is longer
MEMORY_KIB, ITERATIONS, LANES = 19_456, 2, 1  # OWASP password storage: argon2id, 19 MiB, two passes
SALT_BYTES, HASH_BYTES = 16, 32
SHORTEST_BADGE = 8  # assumed: what a reader types has ten digits and more; a short one would be guessed
log = logging.getLogger("lanepulse.booth")

Role = Literal["officer", "engineer", "supervisor"]


class OfficersFault(Exception):
    """One line: what is wrong with the file or the id, and what to do."""


class Officer(BaseModel):
    """One id; ``pin`` is a PHC string of argon2id."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: OfficerId
    role: Role
    pin: Annotated[str, Field(max_length=300, pattern=r"^\$argon2id\$", repr=False)]
    badge: Annotated[str | None, Field(pattern=r"^[0-9a-f]{64}$", repr=False)] = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["lanepulse.officers/1"] = Field(SCHEMA, alias="schema")
    badge_salt: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    officers: Annotated[list[Officer], Field(max_length=MOST_OFFICERS)]


@dataclass(frozen=True, slots=True)
class Officers:
    """All ids of one site."""

    by_id: dict[str, Officer]
    badge_salt: str | None = None

    def verify(self, officer_id: str, pin: str) -> Officer | None:
        """The officer, or None. Takes about as long for an id that is not known as for a wrong PIN."""
        officer = self.by_id.get(officer_id)
        known = officer.pin if officer is not None else _NOBODY
        try:
            Argon2id.verify_phc_encoded(pin.encode(), known)
        except (InvalidKey, ValueError):
            return None
        return officer

    def of_badge(self, badge: str) -> Officer | None:
        """Whose badge it is, or None."""
        if self.badge_salt is None or len(badge) < SHORTEST_BADGE:
            return None
        told = _badge_hash(badge, self.badge_salt)
        return next((one for one in self.by_id.values() if one.badge and compare_digest(one.badge, told)), None)


class Roster:
    """The officers of a site as their file has them now: whoever is taken out is out at once.

    A file that can no longer be read leaves those who were known, and is said in the log.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._officers, self._seen = path, load(path), _mark(path)

    def __call__(self) -> Officers:
        """Those who are known now."""
        seen = _mark(self._path)
        if seen != self._seen:
            self._seen = seen
            try:
                self._officers = load(self._path)
            except OfficersFault as fault:
                log.error("%s; those who were known stay", fault)
        return self._officers


def _mark(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def load(path: Path) -> Officers:
    """The officers of a site; none where there is no file.

    Raises:
        OfficersFault: others can read it, or it is not such a file.
    """
    try:
        with path.open("rb") as file:
            mode, raw = os.fstat(file.fileno()).st_mode & 0o777, file.read(LONGEST_FILE + 1)
    except FileNotFoundError:
        return Officers({})
    except OSError as error:
        raise OfficersFault(f"{path}: {error.strerror}") from None
    if mode & 0o077:
        raise OfficersFault(f"{path}: mode {mode:04o} lets others read it: chmod 600")
    if len(raw) > LONGEST_FILE:
        raise OfficersFault(f"{path}: more than {LONGEST_FILE} bytes; not a file of officers")
    try:
        found = _File.model_validate(json_text.read(raw))
    except (ValidationError, json_text.JsonRefused) as error:
        first = error.errors(include_input=False)[0] if isinstance(error, ValidationError) else None
        cause = str(error) if first is None else f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise OfficersFault(f"{path}: {cause}") from None
    return Officers({officer.id: officer for officer in found.officers}, found.badge_salt)


def add(path: Path, officer_id: str, role: Role, pin: str, badge: str | None = None) -> None:
    """Add an officer, or give a known one another role, PIN and badge.

    Raises:
        OfficersFault: id, PIN or badge are not of the form asked for, the badge is another's, or the file cannot be
            written.
    """
    if not SHORTEST_PIN <= len(pin) <= LONGEST_PIN:
        raise OfficersFault(f"a PIN has {SHORTEST_PIN} to {LONGEST_PIN} letters or digits; this one has {len(pin)}")
    if len(set(pin)) < 3:
        raise OfficersFault("this PIN is guessed at once; use at least three different digits")
    try:
        officer = Officer(id=officer_id, role=role, pin=_hashed(pin))
        known = load(path)
        salt = known.badge_salt or os.urandom(SALT_BYTES).hex()
        if badge is not None:
            officer = officer.model_copy(update={"badge": _badge(badge, salt, known, officer_id)})
    except ValidationError:
        raise OfficersFault(f"{officer_id[:40]!r}: an id has 1 to 32 letters, digits or -, and no name in it") from None
    _write(path, [*(one for one in known.by_id.values() if one.id != officer_id), officer], salt)


def _badge(badge: str, salt: str, known: Officers, officer_id: str) -> str:
    """Raises OfficersFault."""
    if not SHORTEST_BADGE <= len(badge) <= LONGEST_PIN:
        raise OfficersFault(f"a badge has {SHORTEST_BADGE} to {LONGEST_PIN} letters or digits; this one {len(badge)}")
    told = _badge_hash(badge, salt)
    if any(one.badge == told and one.id != officer_id for one in known.by_id.values()):
        raise OfficersFault("this badge is another officer's; give each their own")
    return told


def remove(path: Path, officer_id: str) -> None:
    """Take an officer's id out. Raises OfficersFault."""
    known = load(path)
    if officer_id not in known.by_id:
        raise OfficersFault(f"{officer_id[:40]!r}: no such officer here")
    _write(path, [officer for officer in known.by_id.values() if officer.id != officer_id], known.badge_salt)


def _write(path: Path, officers: list[Officer], badge_salt: str | None) -> None:
    document = _File(schema=SCHEMA, badge_salt=badge_salt, officers=officers).model_dump(mode="json", by_alias=True)
    beside = path.with_name(f".{path.name}.new")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside.unlink(missing_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json_text.write(document).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise OfficersFault(f"{path}: {error.strerror}") from None


def _hashed(pin: str) -> str:
    salt = os.urandom(SALT_BYTES)
    made = Argon2id(salt=salt, length=HASH_BYTES, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB)
    return made.derive_phc_encoded(pin.encode())


def _badge_hash(badge: str, salt: str) -> str:
    made = Argon2id(
        salt=bytes.fromhex(salt), length=HASH_BYTES, iterations=ITERATIONS, lanes=LANES, memory_cost=MEMORY_KIB
    )
    return made.derive(badge.encode()).hex()


_NOBODY = _hashed(os.urandom(16).hex())
