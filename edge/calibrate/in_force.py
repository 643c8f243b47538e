"""The calibrations that a running lane uses: read anew while no vehicle is on it, so that a passage has one of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from calibration.apply import Calibrations
from calibration.record import RecordFault
from calibration.response import Response
from calibration.stationxml import Channel, StationXmlFault, read_stationxml, write_stationxml
from calibration.store import Store
from drivers.reading import GasSample, Modality, Reading
from edge.supervisor import DeviceHealth

MEASURING = (Modality.VIBRATION, Modality.CO2, Modality.MMWAVE, Modality.XRAY)
UNREADABLE = "faulty: its calibration cannot be read; run lanepulse journal verify"
log = logging.getLogger("lanepulse.calibration")


class InForce:
    """What the store has in force. A store that cannot be read leaves the last that could, and is said once.

    ``now_utc_ns`` gives None while the clock is not set: nothing expires by a clock that may be years off.
    """

    def __init__(self, store: Store, grace_days: float | None, now_utc_ns: Callable[[], int | None]) -> None:
        self._store, self._grace_days, self._now_utc_ns = store, grace_days, now_utc_ns
        self._count = -1
        self._fault = ""
        self._said: dict[str, str] = {}
        self.calibrations = Calibrations({})
        self.refresh()

    def refresh(self) -> None:
        """Take what is new; cheap where nothing is."""
        try:
            count = self._store.count()
            if count == self._count:
                return
            self.calibrations = Calibrations(self._store.active())
        except (RecordFault, OSError) as fault:
            if self._fault != str(fault):
                log.error("calibrations: %s: those of before stay in force (lanepulse journal verify)", fault)
            self._fault = str(fault)
            return
        self._count, self._fault = count, ""
        for device, kept in self.calibrations.active.items():
            log.info("%s: calibration %d (%s) is in force", device, kept.record.number, kept.short)

    def apply(self, reading: Reading) -> Reading:
        """The reading in SI; one that does not fit its calibration is a fault of its device."""
        try:
            return self.calibrations.apply(reading).reading
        except (ValueError, KeyError, TypeError) as error:
            cause = f"faulty: calibration does not fit: {error}"
            self._once(reading.device, cause)
            if isinstance(reading, GasSample):
                return replace(reading, co2_ppm=None, status=cause)
            return replace(reading, status=cause)

    def judged(self, health: DeviceHealth) -> DeviceHealth:
        """A device's health, with what its calibration's age makes of it.

        Where no record could be read since the start, nobody knows what its numbers mean.
        """
        if self._count < 0 and health.modality in MEASURING:
            return replace(health, believes_itself=False, state=UNREADABLE, cause=self._fault)
        now_ns = self._now_utc_ns()
        warning = None if now_ns is None else self.calibrations.warning(health.name, now_ns)
        if now_ns is None or warning is None:
            return health
        self._once(health.name, warning)
        state = self.calibrations.state(health.name, now_ns, self._grace_days)
        if state is None or health.state != "ok":
            return replace(health, cause=health.cause or warning)
        return replace(health, believes_itself=False, state=state, cause=warning)

    def _once(self, device: str, cause: str) -> None:
        kind = cause.partition(" expired")[0]
        if self._said.get(device) != kind:
            log.warning("%s: %s", device, cause)
            self._said[device] = kind


def stationxml(calibrations: Calibrations, sheets: Mapping[str, bytes], created_utc: str) -> bytes | None:
    """``vibration.xml`` of a passage: the devices' own StationXML, and over it what calibrations say; None: neither.

    Args:
        calibrations: in force.
        sheets: device -> its StationXML.
        created_utc: RFC 3339; the passage's beginning, so that the same passage has the same bytes.
    """
    recorded = {device: calibrations.responses(device) for device in calibrations.active}
    if not any(recorded.values()):
        return next(iter(sheets.values()), None)
    merged: dict[Channel, Response] = {}
    for text in sheets.values():
        try:
            found = read_stationxml(text)
        except StationXmlFault:
            continue  # a passage goes on with what is calibrated; `check` names the file
        merged |= {name: one for name, one in found.items() if isinstance(one, Response)}
    for device, responses in recorded.items():
        settings = calibrations.active[device].record.settings
        for sensor, response in responses.items():
            code = settings[f"response.{sensor}"].value.get("channel")
            codes = [code] if code else [c for s, c in merged if s == sensor]
            merged |= {(sensor, code): response for code in codes}
    return write_stationxml(merged, created_utc)
