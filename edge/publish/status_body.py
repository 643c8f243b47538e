"""The lane's state as it is announced, for the schema that integrators get; made by `edge.status.document`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")  # a later minor version may say more


class PassageInHand(_Body):
    """The vehicle that is on the lane now."""

    passage_id: str
    measured_s: float
    allowed_s: float = Field(description="by then a verdict is final")
    level: Literal["no_search", "recheck", "search", "open_now"] | None = Field(description="of the newest verdict")
    final: bool


class JournalState(_Body):
    """How far the record is, and whether it can be written."""

    sequence: int = Field(ge=0, description="row number of the newest verdict")
    recorded: bool = Field(description="false while the journal cannot be written")


class ClockState(_Body):
    """How well the lane knows the time."""

    synchronised: bool
    max_error_ns: int | None = Field(description="null where nobody can tell")


class DeviceIdentity(_Body):
    """Who answers at the device's address; empty where the device does not say."""

    vendor: str
    model: str
    serial: str
    firmware: str


class DeviceState(_Body):
    """One device: is it there, is it on time, does it believe itself."""

    name: str
    modality: Literal["vibration", "co2", "mmwave", "xray", "presence", "plate", "weather"]
    there: bool
    on_time: bool
    believes_itself: bool
    cause: str | None = Field(description="null while all three answers are yes")
    restarts: int = Field(ge=0)
    readings: int = Field(ge=0)
    silent_s: float | None = Field(description="since the last reading; null before the first")
    identity: DeviceIdentity | None
    quarantined: dict[str, int] = Field(description="kind of damage -> how often since the start")


class RadiographsState(_Body):
    """Scans that the lane received."""

    kept: int = Field(ge=0, description="that fit no passage, and wait for a person")


class ShadowState(_Body):
    """A second model that judges beside the active one, for the journal alone."""

    model: str | None = Field(default=None, description="null where none runs")
    fault: str | None = Field(default=None, description="why none runs that should")


class BackgroundDrift(_Body):
    """How far vehicles shake from what their background predicts; nearly all of them are empty."""

    seen: int = Field(ge=0)
    bias_db: float | None = Field(description="median of the last hundred; null where there are too few")
    sigma_db: float | None = Field(description="robust spread of the last hundred; the goal is 1.5")
    moved_db: float | None = Field(description="the median less that of the first two hundred")
    state: Literal["few", "steady", "moved"]


class RateDrift(_Body):
    """How often something happened against what was stated of it; ``moved`` once the e-value was 100 or more."""

    seen: int = Field(ge=0)
    happened: int = Field(ge=0)
    expected: float = Field(ge=0)
    e_value: float = Field(
        ge=0, description="the highest so far; over 1/a with probability a at most while all is true"
    )
    times: float | None = Field(description="odds so many times the stated ones fit best; null while nothing has moved")
    state: Literal["few", "steady", "moved"]


class DriftState(_Body):
    """Whether the world still fits the active model. It is told, and changes nothing by itself."""

    background: BackgroundDrift
    prompts: RateDrift = Field(description="searches that evidence prompted, against false alarms allowed and prior")
    finds: RateDrift = Field(description="searches that found somebody, against the scores that were stated")


class CasesState(_Body):
    """Cases beyond the days that their stage may take; looked at every few minutes."""

    alarms: int = Field(ge=0, description="how many; which ones: lanepulse referral list --alarms")
    by_stage: dict[str, int] = Field(description="stage -> how many, for stages that have any")
    longest_days: float | None = Field(description="days in its stage of the longest; null where there is none")


class StatusBody(_Body):
    """The lane at one moment, each second and for late joiners; silence for some seconds means that it is lost."""

    schema_: Literal["lanepulse.status/1"] = Field("lanepulse.status/1", alias="schema")
    site: str
    lane: str
    boot_id: str
    version: str
    up_s: float
    state: Literal["empty", "measuring", "decided"]
    passage: PassageInHand | None
    model: str
    model_faults: list[str] = Field(default=[], description="models that were refused, each in a line")
    shadow: ShadowState = ShadowState()
    drift: DriftState | None = None
    cases: CasesState | None = Field(default=None, description="null until the lane has looked, or where it cannot")
    endpoints: dict[str, str]
    journal: JournalState
    clock: ClockState
    radiographs: RadiographsState = RadiographsState(kept=0)
    devices: list[DeviceState]
