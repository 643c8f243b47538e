"""``[retention]`` and ``[referral]`` of a lane's file: how long things are kept, and how long a case may wait."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Days = Annotated[float, Field(gt=0, le=3660)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class RetentionTable(_Table):
    """``[retention]``: days after which things are deleted, but for what a case holds.

    A radiograph's header may name a plate, so bundles go no later than plates do.
    """

    plates_days: Days = 90.0  # SCIENCE 8: assumed, legal review
    bundles_days: Days = 90.0
    quarantine_days: Days = 30.0  # assumed: what a device sent wrongly is looked at within a month or never
    least_free_mib: Annotated[int, Field(ge=0, le=1 << 24)] = 1024  # assumed: half a day of bundles; 0 never makes room
    wait_for_clock: bool = True  # a box that starts in 1970 or 2099 must not take today's plates for old ones
    closed_case_days: Days = 90.0  # assumed: an objection after the end of a case comes within that time

    @model_validator(mode="after")
    def _bundles_go_first(self) -> Self:
        for name in ("bundles_days", "quarantine_days"):
            if getattr(self, name) > self.plates_days:
                raise ValueError(
                    f"{name} is more than plates_days ({self.plates_days:g}): what they hold may name a plate"
                )
        return self


class ReferralTable(_Table):
    """``[referral]``: days in a stage after which a case is an alarm."""

    not_referred_days: Days = 14.0  # assumed
    referred_days: Days = 28.0  # assumed
    notified_days: Days = 60.0  # SCIENCE 8: payment within about 60 days
    objected_days: Days = 90.0  # assumed

    def alarm_days(self) -> dict[str, float]:
        """Stage -> days."""
        return {
            "not_referred": self.not_referred_days,
            "referred": self.referred_days,
            "notified": self.notified_days,
            "objected": self.objected_days,
        }
