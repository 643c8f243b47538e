"""The lane's one TOML file: read as a whole, judged as a whole, and every error told at once with its line.

A mistyped key is an error with the nearest known name, never a default. What two tables may not share (a port, a
wire's address) is refused before anything is opened, with both places named.

    ConfigErrors        everything that is wrong with one file
    └── .problems       Problem: line, field path, what was found, what is allowed, the nearest known name
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from drivers.driver import Driver
from drivers.reading import Modality
from edge.config_clashes import clashes
from edge.drivers import BrokenDriver, UnknownDriver, find, names
from edge.retention.rules import ReferralTable, RetentionTable
from edge.toml_lines import Lines, scan
from edge.toml_lines import Path as Keys
from fusion.passage import BodyType
from fusion.policy import LOOKS_S, PRIOR, Policy, prior_log10_odds
from fusion.verdict import Level

LONGEST_FILE = 256 * 1024  # bytes; assumed: a lane of fifty devices takes a tenth of it
MOST_DEVICES = 64  # assumed: a lane has about ten
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"  # topics split on dots, and names become folders
ENVIRONMENT = frozenset({"LANEPULSE_CONFIG", "LANEPULSE_ROOT", "LANEPULSE_SHARED"})  # the last is read by tests only
Name = Annotated[str, Field(pattern=NAME)]
OnOff = Literal["on", "off", "unknown"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ContextTable(_Table):
    """``[lane.context]``: what is true of vehicles on this lane unless something better is known; FORMATS' words."""

    body_type: BodyType = BodyType.UNKNOWN
    engine: OnOff = "unknown"
    refrigeration: OnOff = "unknown"
    cargo: Literal["empty", "general", "dense", "produce", "dry_ice", "live_animals", "unknown"] = "unknown"
    doors: Literal["closed", "open", "unknown"] = "unknown"
    driver: Literal["out", "in", "unknown"] = "unknown"
    shelter: Literal["shed", "open", "unknown"] = "unknown"


class LaneTable(_Table):
    """``[lane]``: which lane this is. Both names stand in topics, so neither holds a dot or a slash."""

    site: Name
    name: Name
    context: ContextTable = ContextTable()


class StratumTable(_Table):
    """One of ``[policy.audit] strata``: vehicles that share a probability; what is not given fits every vehicle."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 _-]{0,31}$")]
    probability: float = Field(ge=0, le=1)
    body_types: tuple[BodyType, ...] | None = Field(None, min_length=1)
    hours: tuple[Annotated[int, Field(ge=0, le=23)], Annotated[int, Field(ge=0, le=23)]] | None = None
    near_log10_lr: float | None = Field(None, gt=0, le=10)

    @property
    def fits_all(self) -> bool:
        """Whether every vehicle belongs to it."""
        return self.body_types is None and self.hours is None and self.near_log10_lr is None


class AuditTable(_Table):
    """``[policy.audit]``: which vehicles that would not be searched are searched all the same; none without strata.

    The first stratum that fits decides. ``tell`` is what the officer reads: a random check, or an ordinary search.
    ``declared_times`` multiplies the probability where a declaration lowered suspicion or silenced a sensor.
    """

    tell: Literal["random_check", "search"] = "random_check"
    declared_times: float = Field(5.0, ge=1, le=1000)  # assumed; declarations are a way to attack
    strata: tuple[StratumTable, ...] = Field((), max_length=32)

    @field_validator("strata")
    @classmethod
    def _cover_all(cls, strata: tuple[StratumTable, ...]) -> tuple[StratumTable, ...]:
        if len({stratum.name for stratum in strata}) < len(strata):
            raise ValueError("two strata have one name; give each its own")
        if strata and not strata[-1].fits_all:
            raise ValueError("some vehicles fit no stratum; end with one that fits all, its probability may be 0")
        if any(stratum.fits_all for stratum in strata[:-1]):
            raise ValueError("what follows a stratum that fits all is never reached; put that one last")
        return strata


class PolicyTable(_Table):
    """``[policy]``: what the site decides; the defaults are ARCHITECTURE's."""

    alpha: float = Field(0.05, gt=0, lt=1)
    delta: float = Field(0.05, gt=0, lt=1)
    pfa: float = Field(0.01, gt=0, lt=1)
    looks_s: tuple[float, ...] = Field(LOOKS_S, min_length=1, max_length=20)
    on_timeout: Literal["search", "recheck"] = "recheck"
    prior: str = PRIOR
    search_log10_lr: float | None = None
    red_contact_searches: bool = False
    audit: AuditTable = AuditTable()

    @field_validator("looks_s")
    @classmethod
    def _rise(cls, looks_s: tuple[float, ...]) -> tuple[float, ...]:
        if not all(a < b for a, b in zip((0.0, *looks_s), looks_s, strict=False)):
            raise ValueError("give rising seconds above 0")
        return looks_s

    @field_validator("prior")
    @classmethod
    def _is_a_share(cls, prior: str) -> str:
        try:
            prior_log10_odds(prior)
        except ValueError:
            raise ValueError('give one lorry in so many, for example "1/1250"') from None
        return prior

    def policy(self) -> Policy:
        """The same, as fusion knows it."""
        return Policy(
            alpha=self.alpha,
            delta=self.delta,
            pfa=self.pfa,
            looks_s=self.looks_s,
            on_timeout=Level(self.on_timeout),
            prior_log10_odds=prior_log10_odds(self.prior),
            search_log10_lr=self.search_log10_lr,
            red_contact_searches=self.red_contact_searches,
        )


class PublishTable(_Table):
    """``[publish]``: where verdicts are announced and replayed. Port 0 takes any free one."""

    bind: str = "tcp://127.0.0.1:7501"
    replay: str = "tcp://127.0.0.1:7502"

    @field_validator("bind", "replay")
    @classmethod
    def _is_bindable(cls, address: str) -> str:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        if not address.startswith("tcp://") or not host or not (port.isascii() and port.isdigit()):
            raise ValueError('give "tcp://HOST:PORT"')
        if int(port) > 65535 or 0 < int(port) < 1024:
            raise ValueError("give a port from 1024 to 65535; those below need root, which the lane never has")
        return address


class BoothTable(_Table):
    """``[booth]``: where the officers' page is served, in which language, and at which clock of which zone.

    Beyond this machine the page needs a certificate, and the names by which it is asked for.
    """

    bind: str = "127.0.0.1:7503"
    zone: str = "UTC"
    language: Literal["en", "fr", "nl", "de"] = "en"
    hosts: tuple[Annotated[str, Field(pattern=r"^[a-z0-9.:-]{1,253}$")], ...] = Field((), max_length=16)
    certificate: str | None = Field(None, min_length=1)
    private_key: str | None = Field(None, min_length=1)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port to listen on."""
        host, _, port = self.bind.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def local(self) -> bool:
        """Only this machine reaches it."""
        return self.address[0] in ("127.0.0.1", "::1", "localhost")

    @field_validator("bind")
    @classmethod
    def _is_bindable(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if not host or not (port.isascii() and port.isdigit()) or int(port) > 65535 or 0 < int(port) < 1024:
            raise ValueError('give "HOST:PORT", a port from 1024 to 65535')
        return address

    @field_validator("zone")
    @classmethod
    def _is_a_zone(cls, zone: str) -> str:
        if zone not in available_timezones():
            raise ValueError('give a zone of the time zone database, for example "Europe/Paris"')
        return zone

    @model_validator(mode="after")
    def _is_safe_beyond_this_machine(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("give both certificate and private_key, or neither")
        if not self.local and (self.certificate is None or not self.hosts):
            raise ValueError(f"{self.bind}: beyond this machine give certificate, private_key and hosts")
        return self


class CalibrationTable(_Table):
    """``[calibration]``: what the site makes of a calibration that has run out."""

    grace_days: float | None = Field(
        None, ge=0, le=3660, description="Days after which such a device is faulty; without it there is a warning only"
    )


class _File(_Table):
    lane: LaneTable
    policy: PolicyTable = PolicyTable()
    publish: PublishTable = PublishTable()
    calibration: CalibrationTable = CalibrationTable()
    booth: BoothTable = BoothTable()
    retention: RetentionTable = RetentionTable()
    referral: ReferralTable = ReferralTable()
    devices: dict[Name, dict[str, Any]] = Field({}, max_length=MOST_DEVICES)
    model: str | None = Field(None, min_length=1)
    root: str | None = Field(None, min_length=1)


@dataclass(frozen=True, slots=True)
class Device:
    """One ``[devices.<name>]`` table: its driver, what the driver made of it, and its StationXML where given."""

    name: str
    driver_name: str
    driver: Driver
    config: BaseModel
    response: Path | None = None


@dataclass(frozen=True, slots=True)
class LaneConfig:
    """A lane's whole configuration. Relative paths in the file are from the file's folder."""

    path: Path
    sha256: str
    lane: LaneTable
    policy: PolicyTable
    publish: PublishTable
    booth: BoothTable
    devices: Mapping[str, Device]
    model: Path | None
    root: Path | None
    calibration: CalibrationTable = field(default_factory=CalibrationTable)
    retention: RetentionTable = field(default_factory=RetentionTable)
    referral: ReferralTable = field(default_factory=ReferralTable)

    def effective(self) -> dict[str, Any]:
        """Everything that is in force, defaults included, as plain JSON types."""
        devices = {}
        for name, device in self.devices.items():
            devices[name] = device.config.model_dump(mode="json")
            if device.response is not None:
                devices[name]["response"] = str(device.response)
        return {
            "lane": self.lane.model_dump(mode="json"),
            "policy": self.policy.model_dump(mode="json"),
            "publish": self.publish.model_dump(mode="json"),
            "calibration": self.calibration.model_dump(mode="json"),
            "booth": self.booth.model_dump(mode="json"),
            "retention": self.retention.model_dump(mode="json"),
            "referral": self.referral.model_dump(mode="json"),
            "devices": devices,
            "model": None if self.model is None else str(self.model),
            "root": None if self.root is None else str(self.root),
        }


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. ``line`` is None where the file has no line for it."""

    line: int | None
    field: str
    found: str
    allowed: str
    nearest: str | None = None

    def text(self, path: str) -> str:
        """One line, as an engineer reads it."""
        place = path if self.line is None else f"{path}:{self.line}"
        nearest = "" if self.nearest is None else f"; did you mean {self.nearest}?"
        return ": ".join(part for part in (place, self.field, f"{self.found}; {self.allowed}{nearest}") if part)


class ConfigErrors(Exception):
    """All problems of a file, in the order of their lines."""

    def __init__(self, path: Path | str, problems: Iterable[Problem]) -> None:
        self.path = str(path)
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(problem.text(self.path) for problem in self.problems))


def load(path: Path, environment: Mapping[str, str] = os.environ) -> LaneConfig:
    """Read and judge a lane's file. Opens no port and no device.

    Raises:
        ConfigErrors: with everything that is wrong, in the file and in the environment.
    """
    raw = _read(path)
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigErrors(path, [Problem(line, "", "not UTF-8", "save the file as UTF-8")]) from None
    lines = scan(text)
    table = _parse(path, text, lines)
    problems = [*_environment(environment)]
    file = _file(table, lines, problems)
    devices = dict(_devices(table, path.parent, lines, problems))
    for clash in clashes(table, {name: device.config for name, device in devices.items()}):
        here, there = lines.nearest(clash.keys), lines.nearest(clash.other)
        other = f"{_dotted(clash.other)} (line {there})" if there else f"{_dotted(clash.other)} (default)"
        problems.append(Problem(here, _dotted(clash.keys), f"{clash.found}, {clash.relation} {other}", clash.mend))
    if problems or file is None:
        raise ConfigErrors(path, problems)
    return LaneConfig(
        path=path,
        sha256=hashlib.sha256(raw).hexdigest(),
        lane=file.lane,
        policy=file.policy,
        publish=file.publish,
        booth=file.booth,
        devices=devices,
        model=None if file.model is None else path.parent / file.model,
        root=None if file.root is None else path.parent / file.root,
        calibration=file.calibration,
        retention=file.retention,
        referral=file.referral,
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(LONGEST_FILE + 1)
    except OSError as error:
        problem = Problem(
            None, "", error.strerror or str(error), "name the lane's file with --config or LANEPULSE_CONFIG"
        )
        raise ConfigErrors(path, [problem]) from None
    if len(raw) > LONGEST_FILE:
        raise ConfigErrors(path, [Problem(None, "", f"more than {LONGEST_FILE} bytes", "this is no lane's file")])
    return raw.removeprefix(b"\xef\xbb\xbf")  # some editors put a byte order mark there


def _parse(path: Path, text: str, lines: Lines) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problems = [
            Problem(second, _dotted(keys), "is there twice", f"it stands on line {first} already: keep one of the two")
            for keys, first, second in lines.twice
            if not any(keys[: len(outer)] == outer != keys for outer, _, _ in lines.twice)
        ]
        if not problems:
            message = str(error)
            line = message.rpartition("(at line ")[2].partition(",")[0]
            problems = [Problem(int(line) if line.isdigit() else None, "", "not TOML", message)]
        raise ConfigErrors(path, problems) from None


def _environment(environment: Mapping[str, str]) -> Iterator[Problem]:
    """A setting by environment would be dropped without a word, so it is refused with one."""
    for name in sorted(environment):
        if name.startswith("LANEPULSE_") and name not in ENVIRONMENT:
            near = get_close_matches(name, ENVIRONMENT - {"LANEPULSE_SHARED"}, 1, 0.8)
            yield Problem(
                None,
                f"environment: {name[:80]}",
                "not read by anything",
                "settings stand in the file only: unset it",
                near[0] if near else None,
            )


def _file(table: dict[str, Any], lines: Lines, problems: list[Problem]) -> _File | None:
    try:
        return _File.model_validate_json(_as_json(table), strict=True)
    except ValidationError as error:
        problems += (_problem((), detail, _File, lines) for detail in error.errors())
        return None


def _devices(
    table: Mapping[str, Any], folder: Path, lines: Lines, problems: list[Problem]
) -> Iterator[tuple[str, Device]]:
    """The devices that are right; what is wrong with the others is added to ``problems``."""
    devices = table.get("devices")
    for name, device in devices.items() if isinstance(devices, dict) else ():
        if isinstance(device, dict):
            made = _device(name, dict(device), folder, lines, problems)
            if made is not None:
                yield name, made


def _device(name: str, table: dict[str, Any], folder: Path, lines: Lines, problems: list[Problem]) -> Device | None:
    keys: Keys = ("devices", name)
    known = names()
    driver_name = table.get("driver")
    if not isinstance(driver_name, str):
        found = "missing" if driver_name is None else _show(driver_name)
        problems.append(Problem(lines.nearest((*keys, "driver")), _dotted((*keys, "driver")), found, _one_of(known)))
        return None
    before = len(problems)
    response = table.pop("response", None)
    try:
        driver = find(driver_name)
        problems += _response(keys, response, driver, folder, lines)
        config = driver.Config.model_validate_json(_as_json(table), strict=True)
    except UnknownDriver:
        field, near = (*keys, "driver"), _near(driver_name, known)
        problems.append(Problem(lines.nearest(field), _dotted(field), _show(driver_name), _one_of(known), near))
        return None
    except BrokenDriver as error:
        problems.append(Problem(lines.nearest((*keys, "driver")), _dotted((*keys, "driver")), "unusable", str(error)))
        return None
    except ValidationError as error:
        problems += (_problem(keys, detail, driver.Config, lines) for detail in error.errors())
        return None
    if len(problems) > before:
        return None
    return Device(name, driver_name, driver, config, None if response is None else folder / response)


def _response(keys: Keys, response: object, driver: Driver, folder: Path, lines: Lines) -> Iterator[Problem]:
    """What is wrong with a device's ``response``."""
    field = (*keys, "response")
    line, name = lines.nearest(field), _dotted(field)
    if response is None:
        return
    if driver.MODALITY is not Modality.VIBRATION:
        yield Problem(line, name, "unknown key", "only vibration devices have a response")
    elif not isinstance(response, str) or not (folder / response).is_file():
        yield Problem(line, name, f"{_show(response)}: no such file", "give the path of a StationXML file")


def _problem(base: Keys, detail: ErrorDetails, model: type[BaseModel], lines: Lines) -> Problem:
    """A pydantic error in the words of this house."""
    keys: Keys = (*base, *(part for part in detail["loc"] if part != "[key]"))
    line, field, kind = lines.nearest(keys), _dotted(keys), detail["type"]
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if kind == "extra_forbidden":
        known = _known(model, detail["loc"][:-1])
        key = str(keys[-1])
        return Problem(
            line, field, "unknown key", f"known here: {', '.join(known)}", _near(key, known) or _elsewhere(key)
        )
    if kind == "missing":
        return Problem(line, field, "missing", "give it")
    if kind == "string_pattern_mismatch" and detail.get("ctx", {}).get("pattern") == NAME:
        return Problem(line, field, _show(detail["input"]), "give 1 to 32 letters, digits, - or _, no dot and no slash")
    if keys == ("devices",) and kind == "dict_type":
        return Problem(line, field, "no table", "write [devices.<name>] for each, not [[devices]]")
    return Problem(line, field, _show(detail["input"]), message)


def _known(model: type[BaseModel], place: tuple[str | int, ...]) -> list[str]:
    """Names that are allowed at ``place`` inside ``model``."""
    for part in place:
        if isinstance(part, int):
            continue  # of a list, whose elements are of one kind
        field = model.model_fields.get(part)
        inner: Any = None if field is None else field.annotation
        inner = next(iter(get_args(inner)), inner)
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)


def _near(word: str, known: Iterable[str]) -> str | None:
    folded = {name.casefold(): name for name in known}
    close = get_close_matches(word.casefold(), folded, 1, 0.6)
    return folded[close[0]] if close else None


def _elsewhere(word: str) -> str | None:
    """The table in which ``word`` would be right."""
    tables: dict[str, type[BaseModel]] = {
        "[lane]": LaneTable,
        "[lane.context]": ContextTable,
        "[policy]": PolicyTable,
        "[policy.audit]": AuditTable,
        "[publish]": PublishTable,
        "[calibration]": CalibrationTable,
        "[booth]": BoothTable,
        "[retention]": RetentionTable,
        "[referral]": ReferralTable,
    }
    for header, model in tables.items():
        if word in model.model_fields:
            return f"{word} in {header}"
    for name in names():
        try:
            if word in _fields(find(name)):
                return f"{word} in [devices.<name>]"
        except (UnknownDriver, BrokenDriver):
            continue
    return None


def _fields(driver: Driver) -> Iterable[str]:
    model: type[BaseModel] = driver.Config
    return model.model_fields


def _as_json(table: Mapping[str, Any]) -> str:
    return json.dumps(table, default=lambda moment: {"a TOML date or time": str(moment)})  # no field of ours is one


def _one_of(known: Iterable[str]) -> str:
    return f"give one of {', '.join(known)}"


def _show(found: object) -> str:
    """What was found, never longer than a line: the file may be anybody's."""
    text = json.dumps(found, ensure_ascii=True, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _dotted(keys: Keys) -> str:
    return ".".join(
        str(key) if isinstance(key, int) or key.replace("_", "").replace("-", "").isalnum() else _show(key)
        for key in keys
    )
