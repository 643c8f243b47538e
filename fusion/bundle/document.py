"""``passage.json``: read strictly as JSON, leniently as a document: what is not known is kept.

Refused: no JSON, NaN, a key twice, a lone surrogate, another schema or a higher major version of it, a moment that is
none. A word that is not known (a newer body type) counts as ``unknown`` and is noted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from drivers.reading import ClockQuality
from fusion.bundle.fault import BundleFault
from fusion.bundle.times import parse_utc

SCHEMA, MAJOR = "lanepulse.passage", 1
LONGEST_BYTES = 16 * 1024 * 1024  # assumed: 45 looks of 20 devices are below 200 kB
DEEPEST = 64  # assumed: ours is nested five deep


def _moment(text: str) -> str:
    parse_utc(text)
    return text


Utc = Annotated[str, AfterValidator(_moment)]
Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class Clock(_Part):
    """What the lane's clock knew of itself; a bundle that does not say is not doubted."""

    synchronised: bool = True
    max_error_ns: Annotated[int, Field(ge=0)] | None = None

    def quality(self) -> ClockQuality:
        """The same as the house's own type."""
        return ClockQuality(self.synchronised, self.max_error_ns)


class Plate(_Part):
    """A number plate as it was read."""

    text: str
    country: str | None = None
    position: str = "unknown"
    confidence: Number | None = None


class Vehicle(_Part):
    """What is known of the vehicle."""

    body_type: str = "unknown"
    gross_mass_kg: Annotated[Number, Field(ge=0)] | None = None
    plates: tuple[Plate, ...] = ()


class Surroundings(_Part):
    """Words about the vehicle and the place, see FORMATS."""

    engine: str = "unknown"
    refrigeration: str = "unknown"
    cargo: str = "unknown"
    doors: str = "unknown"
    driver: str = "unknown"
    shelter: str = "unknown"
    sealed_for_s: Annotated[Number, Field(ge=0)] | None = None


class Device(_Part):
    """A device of the lane. ``sensors`` is ours: location codes of a vibration device, where there are several."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    modality: str
    driver: str = ""
    vendor: str | None = ""
    model: str | None = ""
    serial: str | None = ""
    calibration_id: str | None = None
    sensors: tuple[str, ...] = ()


class LookRecord(_Part):
    """A look as it was taken.

    ``used_bytes`` is ours: how long each file was at that moment, so that a replay uses exactly the samples that had
    arrived; ``used_until_utc`` says nearly the same for readers that do not know it.
    """

    at_s: Annotated[Number, Field(ge=0)]
    used_until_utc: Mapping[str, Utc | None] = Field(default_factory=dict)
    used_bytes: Mapping[str, Annotated[int, Field(ge=0)]] | None = None
    states: Mapping[str, str] = Field(default_factory=dict)


class PassageDocument(_Part):
    """``passage.json``; unknown keys stay in ``model_extra``."""

    schema_: Annotated[str, Field(alias="schema")]
    passage_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
    site: str = ""
    lane: str = ""
    began_utc: Utc
    ended_utc: Utc | None = None
    clock: Clock = Clock()
    vehicle: Vehicle = Vehicle()
    context: Surroundings = Surroundings()
    devices: tuple[Device, ...] = ()
    mmwave: dict[str, Any] | None = None
    xray: dict[str, Any] | None = None
    looks: tuple[LookRecord, ...] = ()
    policy: dict[str, Any] | None = None
    digests: Mapping[str, str] = Field(default_factory=dict)

    @property
    def began_utc_ns(self) -> int:
        """Beginning of the passage."""
        return parse_utc(self.began_utc)

    @property
    def ended_utc_ns(self) -> int | None:
        """End of the passage, None where it was interrupted."""
        return None if self.ended_utc is None else parse_utc(self.ended_utc)


def read_document(text: bytes, file: str = "passage.json") -> PassageDocument:
    """The document of a passage.

    Raises:
        BundleFault: see the module; the message names the field.
    """
    found = read_json(text, file)
    if not isinstance(found, dict):
        raise BundleFault(f"{file}: not an object")
    _check_schema(found.get("schema"), file)
    try:
        document = PassageDocument.model_validate(found)
    except ValidationError as error:
        raise BundleFault(f"{file}: {_first(error)}") from None
    ended = document.ended_utc_ns
    if ended is not None and ended < document.began_utc_ns:
        raise BundleFault(f"{file}: ended_utc {document.ended_utc} is before began_utc {document.began_utc}")
    names = [device.name for device in document.devices]
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise BundleFault(f"{file}: devices: {twice[:60]!r} is named twice")
    return document


def read_look(found: object, file: str) -> LookRecord:
    """A look that was written beside the document, because it was taken after that was sealed.

    Raises:
        BundleFault: it is none; the message names the field.
    """
    try:
        return LookRecord.model_validate(found)
    except ValidationError as error:
        raise BundleFault(f"{file}: look: {_first(error)}") from None


def _check_schema(schema: object, file: str) -> None:
    form = re.fullmatch(rf"{re.escape(SCHEMA)}/(\d{{1,6}})(\.\d{{1,6}})*", schema) if isinstance(schema, str) else None
    if form is None:
        raise BundleFault(f"{file}: schema is {str(schema)[:60]!r}; this reads {SCHEMA}/{MAJOR}")
    if int(form[1]) != MAJOR:
        raise BundleFault(f"{file}: schema {str(schema)[:60]} has major version {form[1]}; this reads {SCHEMA}/{MAJOR}")


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{place[:120]}: {' '.join(first['msg'].split())[:160]}{more}"


def read_json(text: bytes, file: str) -> Any:
    """Strict JSON.

    Raises:
        BundleFault: not JSON of the RFC 8259 kind that all readers agree about.
    """
    if len(text) > LONGEST_BYTES:
        raise BundleFault(f"{file}: {len(text)} bytes; up to {LONGEST_BYTES} are read")
    if not text.strip(b" \t\r\n\x00"):
        raise BundleFault(f"{file}: the file is empty")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            raise BundleFault(f"{file}: key {twice[:40]!a} twice")
        return found

    def no_constant(word: str) -> NoReturn:
        raise BundleFault(f"{file}: {word} is not JSON")

    try:
        document = json.loads(
            text.decode("utf-8").removeprefix("\ufeff"), object_pairs_hook=unique, parse_constant=no_constant
        )
    except BundleFault:
        raise
    except (ValueError, RecursionError) as error:
        raise BundleFault(f"{file}: not whole JSON: {' '.join(str(error).split())[:120]}") from None
    _check_values(document, file, 0)
    return document


def _check_values(found: Any, file: str, depth: int) -> None:
    if depth > DEEPEST:
        raise BundleFault(f"{file}: nested deeper than {DEEPEST}")
    if isinstance(found, float) and (found != found or found in (float("inf"), float("-inf"))):
        raise BundleFault(f"{file}: a number beyond the range of a double")
    if isinstance(found, str) and any("\ud800" <= letter <= "\udfff" for letter in found):
        raise BundleFault(f"{file}: a lone surrogate in {found[:40]!a}")
    if isinstance(found, dict):
        for key, inner in found.items():
            _check_values(key, file, depth)
            _check_values(inner, file, depth + 1)
    elif isinstance(found, list):
        for inner in found:
            _check_values(inner, file, depth + 1)
