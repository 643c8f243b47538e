"""One calibration from its first step to its record: guided, resumable, and without a trace where it fails.

What a step measured is kept under ``calibrations/unfinished/`` until the last one is done, so that an interruption
costs one step. A record is written only where every check passed (a challenge is a test, and recorded either way); the
device's old calibration holds until that moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calibration.apply import response_setting
from calibration.procedures.procedure import BadSetup, Outcome, Procedure, Step
from calibration.raw import Raw, pack, unpack
from calibration.record import Kept, RecordFault, Reference, digest, utc_ns, utc_text
from calibration.response import Response
from calibration.stationxml import StationXmlFault, read_stationxml
from calibration.store import Store
from drivers.co2 import maintenance
from drivers.driver import DriverFault, Identity, Surroundings
from drivers.presence import modbus_io
from edge.calibrate import empties
from edge.calibrate.capture import Captured, Live, Show, capture, open_feed
from edge.config import Device

STALE_S = 2 * 3600.0  # assumed: gas, loads and weather of two hours ago are others
DAY_NS = 86_400 * 10**9
IDENTIFY_S = 10.0
PRESSURE_HPA = (500.0, 1150.0)  # as the procedure's own limits


@dataclass(frozen=True, slots=True)
class Told:
    """What the engineer says: parameters, certificates, surroundings, and who he or she is."""

    operator: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    references: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, float | str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finished:
    """How it ended. ``kept`` is None where no record was written; ``outcome`` says why."""

    outcome: Outcome
    kept: Kept | None
    resumed: tuple[str, ...]


Confirm = Callable[[Step], Awaitable[None]]


class Session:
    """A calibration of one device by one procedure."""

    def __init__(
        self,
        device: Device,
        procedure: Procedure,
        store: Store,
        around: Surroundings,
        told: Told,
        now_utc_ns: Callable[[], int] = time.time_ns,
        bundles: Path | None = None,
    ) -> None:
        self._device, self._procedure, self._store, self._around = device, procedure, store, around
        self._told, self._now_utc_ns, self._bundles = told, now_utc_ns, bundles
        self._active = store.active().get(device.name)
        self._folder = store.root / "unfinished" / f"{device.name}-{procedure.name}"
        self.about = self._about()

    def steps(self) -> tuple[Step, ...]:
        """What is to be done, in order."""
        return self._procedure.steps(self.about)

    def restart(self) -> None:
        """Forget what an interrupted calibration has measured."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def run(self, confirm: Confirm, show: Show, key: Ed25519PrivateKey | None) -> Finished:
        """All of it; ``key`` None measures and judges, and writes no record.

        Raises:
            BadSetup, RecordFault: the set-up or what was told is wrong; no record is written.
            DriverFault, TimeoutError, OSError: the device was lost; no record is written.
        """
        self._check_references()
        identity = await self._identify()
        raw, resumed = await self._measure(confirm, show)
        try:
            outcome = self._procedure.compute(raw)
        except RecordFault:
            self.restart()  # what was measured in a wrong set-up is not gone on with
            raise
        kept = None
        if (outcome.passed or self._procedure.test) and key is not None:
            kept = self._store.append(self._draft(outcome, raw, identity), raw, key)
        if not outcome.passed:
            await self._undo(raw)
        self.restart()
        return Finished(outcome, kept, resumed)

    def _about(self) -> dict[str, Any]:
        """Everything that the procedure is told; all of it ends up in the raw data."""
        unknown = sorted(set(self._told.parameters) - set(self._procedure.parameters) - {"patience_s", "sensors"})
        if unknown:
            known = ", ".join([*self._procedure.parameters, "patience_s"])
            raise RecordFault(f"{unknown[0]}: {self._procedure.name} knows no such parameter; it has {known}")
        about: dict[str, Any] = {**self._procedure.parameters, **self._told.parameters}
        about["references"] = {
            role: one for role, one in self._told.references.items() if role in self._procedure.roles
        }
        settings = {} if self._active is None else self._active.record.settings
        for name in ("scale", "line"):
            if name in settings:
                about[name] = settings[name].value
        if self._device.driver.MODALITY == "vibration":
            about |= self._of_vibration(settings)
        if self._device.driver.MODALITY == "mmwave":
            about["axis"] = getattr(self._device.config, "channels", "rows")
        config = self._device.config
        if isinstance(config, modbus_io.Config):
            about |= {"inputs": list(config.presence_inputs), "poll_s": config.poll_s, "debounce_s": config.debounce_s}
        if self._device.driver.MODALITY in ("mmwave", "xray", "presence"):
            about["known"] = {name: setting.value for name, setting in settings.items()}
        return about

    def _of_vibration(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        names = settings["channels"].value if "channels" in settings else {}
        responses = {s: response_setting(r) for s, r in sheet_responses(self._device).items()}
        for name, setting in settings.items():
            if name.startswith("response."):
                responses[name.removeprefix("response.")] = setting.value
        found: dict[str, Any] = {"responses": responses}
        if self._procedure.name == "tap":  # sees channels as they come, each with its element's response
            back = {sensor: channel for channel, sensor in names.items()}
            found["responses"] = {back.get(sensor, sensor): value for sensor, value in responses.items()}
        else:
            found["channel_map"] = names
        streams = getattr(self._device.config, "streams", ())
        if streams and "sensors" not in self._told.parameters:
            found["sensors"] = sorted(stream.partition(":")[2] for stream in streams)
        return found

    def _check_references(self) -> None:
        for role in self._procedure.roles:
            if role not in self._told.references:
                raise RecordFault(f"reference {role}: not given; name its certificate with --references FILE")
            given = Reference.model_validate(self._told.references[role])
            if given.valid_until_utc is not None and utc_ns(given.valid_until_utc) < self._now_utc_ns():
                raise RecordFault(f"reference {role}: its certificate {given.certificate!r} has expired")

    async def _identify(self) -> Identity:
        async with asyncio.timeout(IDENTIFY_S):
            return await self._device.driver.probe(self._device.name, self._device.config, self._around)

    async def _measure(self, confirm: Confirm, show: Show) -> tuple[Raw, tuple[str, ...]]:
        steps = self.steps()
        if not steps:
            return await self._act(confirm), ()
        if self._procedure.name == "background" and self._bundles is not None:
            return await self._collect(confirm, steps[0], show, self._bundles), ()
        done = dict(self._unfinished(steps))
        arrays: dict[str, Any] = {}
        about = dict(self.about)
        for captured in done.values():
            _take(captured, arrays, about)
        todo = [step for step in steps if step.key not in done]
        async with open_feed(self._device, self._around) as feed:
            if self._device.driver.MODALITY != "xray":  # a scanner is silent until somebody scans
                await feed.began.wait()
            for step in todo:
                await confirm(step)
                show(Live("measuring", 0.0, None))
                captured = await capture(feed, self._device, step, about, show, self._around.monotonic_ns)
                self._keep(step, captured)
                _take(captured, arrays, about)
        return Raw(arrays, about), tuple(done)

    async def _collect(self, confirm: Confirm, step: Step, show: Show, bundles: Path) -> Raw:
        """What the lane itself has recorded."""
        await confirm(step)

        def told(number: int, of: int) -> None:
            show(Live(f"{number} of {of} bundles read", number / of, None))

        found = await asyncio.to_thread(empties.collect, bundles, told)
        return Raw(found.arrays, self.about)

    async def _act(self, confirm: Confirm) -> Raw:
        """A procedure that sets something on the device and reads it back."""
        name, config = self._device.name, self._device.config
        await confirm(Step("act", f"This {self._procedure.acts}.", 0.0))
        if self._procedure.name == "self-correction-off":
            before: float = await maintenance.self_correction(name, config)
            if before:
                await maintenance.switch_off_self_correction(name, config)
            after: float = await maintenance.self_correction(name, config)
            return Raw({"before/on": np.array([float(before)]), "after/on": np.array([float(after)])}, self.about)
        wanted = float(self.about["references"]["barometer"]["value"])
        if not PRESSURE_HPA[0] <= wanted <= PRESSURE_HPA[1]:
            raise BadSetup(
                f"barometer: {wanted:g} hPa is no air pressure; give the station's own, not that of sea level"
            )
        before = await maintenance.pressure_hpa(name, config)
        try:
            await maintenance.write_pressure(name, config, wanted)
            after = await maintenance.pressure_hpa(name, config)
        except BaseException:  # an interrupt too: the device as it was
            with contextlib.suppress(DriverFault, OSError, TimeoutError):
                await maintenance.write_pressure(name, config, before)
            raise
        return Raw({"before/hpa": np.array([before]), "after/hpa": np.array([after])}, self.about)

    async def _undo(self, raw: Raw) -> None:
        """A failed procedure leaves the device as it was."""
        if "before/hpa" in raw.arrays:
            before = float(raw.floats("before/hpa")[0])
            await maintenance.write_pressure(self._device.name, self._device.config, before)

    def _keep(self, step: Step, captured: Captured) -> None:
        self._folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        about = {
            "rates_hz": captured.rates_hz,
            "codes": captured.codes,
            "of_device": captured.told,
            "told": self._told_digest(),
        }
        path = self._folder / f"{step.key}.npz"
        path.with_suffix(".new").write_bytes(pack(Raw(captured.arrays, about)))
        path.with_suffix(".new").replace(path)

    def _unfinished(self, steps: tuple[Step, ...]) -> Iterator[tuple[str, Captured]]:
        """Steps that an interrupted calibration has measured, told the same and not long ago."""
        for step in steps:
            path = self._folder / f"{step.key}.npz"
            try:
                if self._now_utc_ns() / 1e9 - path.stat().st_mtime > STALE_S:
                    continue
                found = unpack(path.read_bytes(), path.name)
            except (OSError, RecordFault):
                continue
            if found.about.get("told") == self._told_digest():
                yield (
                    step.key,
                    Captured(
                        dict(found.arrays), found.about["rates_hz"], found.about["codes"], found.about["of_device"]
                    ),
                )

    def _told_digest(self) -> str:
        return digest(pack(Raw({}, self.about)))

    def _draft(self, outcome: Outcome, raw: Raw, identity: Identity) -> dict[str, Any]:
        device, now_ns = self._device, self._now_utc_ns()
        until = utc_text(now_ns + self._procedure.valid_days * DAY_NS)
        settings: dict[str, Any] = {} if self._active is None else _carried(self._active)
        for name, value in outcome.settings.items():
            if name.startswith("response."):
                code = raw.about.get("codes", {}).get(name.removeprefix("response."))
                value = {**value, "channel": code}
            settings[name] = {"value": value, "valid_until_utc": until}
        return {
            "device": {
                "name": device.name,
                "modality": str(device.driver.MODALITY),
                "driver": device.driver_name,
                "vendor": identity.vendor,
                "model": identity.model,
                "serial": identity.serial,
                "firmware": identity.firmware,
            },
            "procedure": self._procedure.name,
            "procedure_version": self._procedure.version,
            "performed_utc": utc_text(now_ns),
            "valid_until_utc": until,
            "operator": self._told.operator,
            "verdict": "pass" if outcome.passed else "fail",
            "activates": outcome.passed and bool(outcome.settings),
            "environment": dict(self._told.environment),
            "references": [
                Reference.model_validate(self._told.references[role]).model_dump(mode="json")
                for role in sorted(self.about["references"])
            ],
            "results": [quantity.document() for quantity in outcome.results],
            "before": dict(outcome.before),
            "after": dict(outcome.after),
            "residuals": dict(outcome.residuals),
            "checks": [check.model_dump(mode="json") for check in outcome.checks],
            "notes": list(outcome.notes),
            "settings": settings if outcome.settings else {},
        }


def _carried(active: Kept) -> dict[str, Any]:
    """Settings of the record in force, each with the record that it came from."""
    return {
        name: {**setting.model_dump(mode="json"), "record_id": setting.record_id or active.id}
        for name, setting in active.record.settings.items()
    }


def _take(captured: Captured, arrays: dict[str, Any], about: dict[str, Any]) -> None:
    arrays |= captured.arrays
    about["rates_hz"] = {**about.get("rates_hz", {}), **captured.rates_hz}
    about["codes"] = {**about.get("codes", {}), **captured.codes}
    about |= captured.told


def sheet_responses(device: Device) -> dict[str, Response]:
    """Sensor -> response of the device's StationXML; nothing where it has none, or a channel has no usable one."""
    path: Path | None = device.response
    if path is None:
        return {}
    try:
        found = read_stationxml(path.read_bytes())
    except StationXmlFault as fault:
        raise RecordFault(f"{path.name}: {fault}") from None
    return {sensor: one for (sensor, _), one in found.items() if isinstance(one, Response)}
