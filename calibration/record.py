"""What one calibration leaves behind: enough for a court, in one file of JSON that nobody can change unseen.

A record is canonical JSON (sorted keys, no spaces, UTF-8). Its id is the SHA-256 of exactly those bytes, so that the id
in a verdict proves which numbers were used. The signature (Ed25519) is over the same bytes, beside them, so that
``openssl pkeyutl -verify -rawin`` checks it without a line of ours.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

LONGEST_BYTES = 4 * 1024 * 1024  # assumed: an X-ray line of 4096 elements with dark and air takes 200 kB
Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]
Text = Annotated[str, Field(max_length=500)]
FIRST_PREVIOUS = "0" * 64


class RecordFault(ValueError):
    """One line: which record, what is wrong with it."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DeviceIdentity(_Part):
    """Which device: the lane's name for it, and what it says of itself."""

    name: Name
    modality: Text
    driver: Text
    vendor: Text = ""
    model: Text = ""
    serial: Text = ""
    firmware: Text = ""


class Reference(_Part):
    """What the device was compared with; ``expanded_uncertainty`` and ``coverage_factor`` as its certificate says."""

    name: Text
    value: float
    unit: Text
    expanded_uncertainty: Annotated[float, Field(ge=0)]
    coverage_factor: Annotated[float, Field(gt=0)] = 2.0
    serial: Text = ""
    certificate: Text = ""
    valid_until_utc: str | None = None

    @property
    def standard(self) -> float:
        """Standard uncertainty, in ``unit``."""
        return self.expanded_uncertainty / self.coverage_factor


class Check(_Part):
    """One acceptance limit; ``low`` and ``high`` None is no limit on that side."""

    name: Text
    value: float | None
    low: float | None = None
    high: float | None = None
    unit: Text = ""
    mend: Text = ""

    @property
    def passed(self) -> bool:
        """Inside the limits; a number that is missing is not."""
        if self.value is None:
            return False
        return (self.low is None or self.value >= self.low) and (self.high is None or self.value <= self.high)

    def text(self) -> str:
        """One line: what was found, what is allowed, what to do."""
        found = "nothing" if self.value is None else f"{self.value:.4g} {self.unit}".strip()
        low, high = self.low, self.high
        if low is not None and high is not None:
            allowed = f"allowed {low:.4g} to {high:.4g}"
        else:
            allowed = f"allowed from {low:.4g}" if low is not None else f"allowed up to {high:.4g}"
        return f"{self.name}: {found}; {allowed}" + ("" if self.passed or not self.mend else f": {self.mend}")


class Setting(_Part):
    """A number, or a table of them, by which readings are made SI; ``record_id`` None: made by this very record."""

    value: Any
    valid_until_utc: str
    record_id: Hex | None = None


class Record(_Part):
    """One calibration, or one entry of the chain that says which one holds from now on.

    ``number`` and ``previous_id`` chain the entries of a lane. ``settings`` are all that the device needs, those of
    earlier records that still hold included; they are in force after an entry with ``activates``. An entry of kind
    ``activation`` carries no measurement: it puts the settings of ``restores`` in force again.
    """

    schema_: Literal["lanepulse.calibration/1"] = Field("lanepulse.calibration/1", alias="schema")
    kind: Literal["record", "activation"] = "record"
    number: Annotated[int, Field(ge=1)]
    previous_id: Hex
    device: DeviceIdentity
    procedure: Text
    procedure_version: int
    performed_utc: str
    valid_until_utc: str
    operator: Text
    verdict: Literal["pass", "fail"]
    activates: bool
    restores: Hex | None = None
    environment: Mapping[str, float | str | None] = {}
    references: tuple[Reference, ...] = ()
    raw_sha256: Hex | None = None
    results: tuple[Mapping[str, Any], ...] = ()
    before: Mapping[str, float | None] = {}
    after: Mapping[str, float | None] = {}
    residuals: Mapping[str, float] = {}
    checks: tuple[Check, ...] = ()
    notes: tuple[Text, ...] = ()
    settings: Mapping[str, Setting] = {}

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True)

    def canonical(self) -> bytes:
        """The bytes that are hashed, signed and kept."""
        return canonical(self.model_dump(mode="json", by_alias=True))


@dataclass(frozen=True, slots=True)
class Kept:
    """A record as it lies on disk."""

    record: Record
    content: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """SHA-256 of the content, lower-case hex."""
        return digest(self.content)

    @property
    def short(self) -> str:
        """What people say: enough of the id to be told from a lane's others."""
        return self.id[:12]


def canonical(document: Any) -> bytes:
    """Sorted keys, no spaces, UTF-8, no NaN: the same bytes from every writer."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return text.encode()


def digest(content: bytes) -> str:
    """SHA-256, lower-case hex."""
    return hashlib.sha256(content).hexdigest()


def read(content: bytes, place: str) -> Record:
    """The record in a file's bytes.

    Raises:
        RecordFault: too long, no record, or not in the canonical form.
    """
    if len(content) > LONGEST_BYTES:
        raise RecordFault(f"{place}: {len(content)} bytes; a record has up to {LONGEST_BYTES}")
    try:
        record = Record.model_validate_json(content)
        utc_ns(record.performed_utc)
        utc_ns(record.valid_until_utc)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise RecordFault(f"{place}: {where or 'file'}: {first['msg']}") from None
    except (ValueError, RecursionError) as error:
        raise RecordFault(f"{place}: {error}") from None
    if record.canonical() != content:
        raise RecordFault(f"{place}: not in the canonical form: it was written by another hand")
    return record


def utc_text(time_utc_ns: int) -> str:
    """RFC 3339 to the millisecond; records are made by people."""
    seconds, rest = divmod(time_utc_ns, 10**9)
    return datetime.fromtimestamp(seconds, tz=_UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{rest // 10**6:03d}Z"


def utc_ns(text: str) -> int:
    """Nanoseconds of an RFC 3339 time with its zone. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone; end it with Z")
    return int(moment.timestamp()) * 10**9 + moment.microsecond * 1000


_UTC = datetime.fromisoformat("1970-01-01T00:00:00+00:00").tzinfo
