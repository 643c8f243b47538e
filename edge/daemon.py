"""The lane daemon: opens what it needs, says READY, and keeps readings flowing into verdicts until it is told to stop.

Order at start: model (warm), journal, what a crash left behind, publisher (bound), control socket; READY; then the
devices, which may come when they like.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Mapping
from importlib.metadata import version
from typing import Annotated, Any

from pydantic import Field

from calibration.record import RecordFault
from drivers.reading import ButtonPress, Modality, Reading
from drivers.xray.plates import MAX_TEXT
from edge import active_model, audit, control, diagnostics, keys, run_book
from edge.button_box import ButtonBox
from edge.calibrate.bookkeeping import store_of, take_up
from edge.calibrate.in_force import InForce
from edge.clock import Clock
from edge.clock_book import ClockBook
from edge.config import ContextTable, LaneConfig
from edge.drift import Drift
from edge.journal.journal import Journal, JournalFault, Row
from edge.lane import Lane
from edge.lease import lock_of
from edge.log_counts import LogCounts
from edge.models import changes
from edge.passage_record import Produced, open_record, recover
from edge.places import Places
from edge.publish.door import Doors
from edge.publish.publisher import Publisher
from edge.publish.replay import Replay
from edge.quarantine import Quarantine
from edge.radiograph_desk import RadiographDesk, Scanner
from edge.reading_queue import ReadingQueue
from edge.records import covert_control, outcome_control, radiograph_control, reliability
from edge.records.covert import CovertBook
from edge.records.outcome_book import OutcomeBook
from edge.referral import control as case_control
from edge.referral.alarms import CaseAlarms
from edge.referral.book import CaseBook
from edge.resume_notes import ResumeNotes
from edge.retention import control as retention
from edge.retention.spools import spools_of
from edge.service_notify import notify, watchdog_period_s
from edge.shadow import Shadow
from edge.status import LaneState, document
from edge.supervisor import DeviceHealth, Supervised
from fusion.classifier import ModelRefused
from fusion.passage import BodyType, Context

QUEUE_READINGS = 2_000  # some seconds of everything; a full queue makes each device wait on its own wire
QUEUE_BYTES = 64 * 1024 * 1024  # of pixels; assumed: some seconds of an imager, or a few radiographs
TICK_S = 0.25  # how often the lane looks up when nothing comes
NOTES_EVERY_S = 1.0  # assumed: what a killed lane asks its devices for again is no longer than that
SIGN_EVERY_S = 60.0  # an idle journal's head is signed too, so that its tail cannot be cut off unseen
log = logging.getLogger("lanepulse")


async def run(config: LaneConfig, places: Places) -> None:
    """Run the lane until SIGTERM or SIGINT.

    Raises:
        ModelRefused, JournalFault, PublishFault, KeyFault, ControlFault: it cannot start; one line each.
    """
    places.make()
    model = active_model.for_lane(config.model, places)
    for fault in model.faults:
        log.error("model refused: %s; the lane judges by: %s", fault, model.name)
    curve, signing = keys.load_curve(places.curve), keys.load_signing(places.signing)
    with Journal.open(places.journal, signing) as journal:
        changes.take_up(places, journal)
        daemon = _Daemon(config, places, journal, curve, model)
        run_book.started(journal, places.last_end, version("lanepulse"), model.name)
        await daemon.serve()
        run_book.stopped(journal)


class Declared(ContextTable):
    """What somebody may say of a vehicle: the lane's words, when the load space was last open, and its plates."""

    sealed_for_s: float | None = Field(None, ge=0, le=31_536_000)
    plates: tuple[Annotated[str, Field(min_length=1, max_length=MAX_TEXT)], ...] = Field((), max_length=4)

    def said(self) -> dict[str, Any]:
        """Only what was said."""
        return self.model_dump(exclude_unset=True)


class _Daemon:
    def __init__(
        self,
        config: LaneConfig,
        places: Places,
        journal: Journal,
        curve: keys.CurveKeys,
        model: active_model.ActiveModel,
    ) -> None:
        self._config, self._places, self._journal, self._model = config, places, journal, model
        self._began_s = time.monotonic()
        self._logs = LogCounts()
        logging.getLogger("lanepulse").addHandler(self._logs)
        self._version = version("lanepulse")
        self._clock = Clock()
        self._clock_book = ClockBook(journal, self._clock)
        self._endpoints: dict[str, str] = {}
        self._queue = ReadingQueue(QUEUE_READINGS, QUEUE_BYTES)
        self._quarantine = Quarantine(places.quarantine)
        self._notes = ResumeNotes.load(places.resume_notes)
        self._devices = {
            name: Supervised(
                name,
                device.driver,
                device.config,
                self._queue,
                self._quarantine,
                now_utc_ns=time.time_ns,
                monotonic_ns=time.monotonic_ns,
                clock=self._clock.quality,
                notes=self._notes.of(name),
                lock=lock_of(places, name),
            )
            for name, device in config.devices.items()
        }
        site, lane = config.lane.site, config.lane.name
        last = journal.last("verdict")
        self._sequence = 0 if last is None else last.sequence
        self._publisher = Publisher(
            site,
            lane,
            curve,
            places.allowed,
            boot_id=journal.boot_id,
            status=self.status,
            last=last,
        )
        self._replay = Replay(self._publisher, journal)
        self._produced = Produced(self._version, model, config.sha256)
        self._outcomes = OutcomeBook(journal, places.bundles, time.time_ns)
        self._cases = CaseBook(journal, places, time.time_ns)
        self._case_alarms = CaseAlarms(journal, places, config.referral.alarm_days(), time.time_ns)
        self._covert = CovertBook(journal, time.time_ns)
        self._buttons = ButtonBox(self._outcomes, time.monotonic)
        if last is not None:
            self._buttons.announced(last)
        self._keeper = retention.Keeper(
            journal, places, config.retention, self._clock.quality, spools_of(config.devices)
        )
        self._reliability = reliability.Reliability(journal, time.time_ns)
        self._in_force = InForce(store_of(places), config.calibration.grace_days, self._clock.set_utc_ns)
        self._radiographs = RadiographDesk(journal, places.bundles, self._produced, _scanners(config), time.time_ns)
        self._drift = Drift(journal, model.sha256, config.policy.policy())
        self._shadow = Shadow(journal)
        self._shadow_fault: str | None = None
        self._lane = Lane(
            journal,
            self._announce,
            lambda passage, body_type, context, clock: open_record(
                places.bundles,
                config,
                self._produced,
                passage,
                body_type,
                context,
                clock,
                self._identities(),
                self._in_force.calibrations,
            ),
            config.policy.looks_s,
            _defaults(config.lane.context),
            health=lambda: {one.name: one for one in self._health()},
            clock=self._clock.quality,
            now_utc_ns=time.time_ns,
            monotonic_ns=time.monotonic_ns,
            sealed=self._outcomes.write_file,
            radiographs=self._radiographs,
            audit=_audit(config, places, journal),
            shadow=self._shadow,
        )

    async def serve(self) -> None:
        """Everything, until a signal comes."""
        for row in recover(self._places.bundles, self._journal, self._config, self._produced):
            await self._announce(row)
        for row in self._radiographs.take_up():
            await self._announce(row)
        self._outcomes.take_up()
        with contextlib.suppress(RecordFault):  # said by `_in_force`, and by `journal verify`
            take_up(self._places, self._journal)
        self._endpoints["verdicts"] = self._publisher.bind(self._config.publish.bind)
        self._endpoints["replay"] = self._replay.bind(self._config.publish.replay)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        try:
            async with control.serve(self._places.control_socket, self._handlers()):
                notify("READY=1\nSTATUS=the lane is open")
                log.info("lane %s/%s is open", self._config.lane.site, self._config.lane.name)
                await self._work(stop)
                notify("STOPPING=1")
                await self._drain()
                await self._lane.finish()
        finally:
            self._publisher.close()

    async def _work(self, stop: asyncio.Event) -> None:
        """All tasks beside the lane's own; they end with it."""
        async with asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self._publisher.run()), tasks.create_task(self._replay.run())]
            others.append(tasks.create_task(self._clock.watch(self._clock_book.stepped)))
            others.append(tasks.create_task(self._clock_book.run()))
            others += [tasks.create_task(device.run()) for device in self._devices.values()]
            others += [tasks.create_task(self._sign()), tasks.create_task(self._keep_notes())]
            others += [tasks.create_task(self._load_shadow()), tasks.create_task(self._drift.run())]
            others += [tasks.create_task(self._keeper.keep()), tasks.create_task(self._case_alarms.run())]
            others.append(tasks.create_task(Doors([self._publisher, self._replay]).watch()))
            await self._flow(stop)
            for task in others:
                task.cancel()

    async def _flow(self, stop: asyncio.Event) -> None:
        """Readings into the lane. The watchdog is fed here alone: a pipeline that stands still is not fed."""
        period_s = watchdog_period_s()
        fed_s = settled_s = asked_s = 0.0
        while not stop.is_set():
            planned_s = self._lane.wait_s()
            wait_s = TICK_S if planned_s is None else min(TICK_S, planned_s)
            if self._lane.in_hand is None and time.monotonic() - asked_s >= TICK_S:
                asked_s = time.monotonic()
                self._in_force.refresh()
            reading = await self._next(wait_s)
            if reading is not None:
                await self._take(reading)
            await self._lane.due()
            if self._queue.empty() and time.monotonic() - settled_s >= NOTES_EVERY_S:
                settled_s = time.monotonic()
                self._notes.settle()
            if period_s is not None and time.monotonic() - fed_s >= period_s:
                fed_s = time.monotonic()
                notify("WATCHDOG=1")

    async def _next(self, wait_s: float) -> Reading | None:
        try:
            async with asyncio.timeout(wait_s):
                return await self._queue.get()
        except TimeoutError:
            return None

    async def _drain(self) -> None:
        """What the devices gave until they were stopped belongs to the lane, and the notes say that it was given."""
        while not self._queue.empty():
            await self._take(self._queue.get_nowait())
        self._notes.settle()
        await asyncio.to_thread(self._notes.save)

    async def _take(self, reading: Reading) -> None:
        if isinstance(reading, ButtonPress):
            await self._buttons.pressed(reading)
        else:
            await self._lane.handle(self._in_force.apply(reading))

    async def _announce(self, row: Row) -> None:
        self._sequence = row.sequence
        self._buttons.announced(row)
        await self._publisher.publish(row)

    async def _keep_notes(self) -> None:
        while True:
            await asyncio.sleep(NOTES_EVERY_S)
            await asyncio.to_thread(self._notes.save)

    async def _load_shadow(self) -> None:
        """After READY: nothing waits for a model that prompts nobody."""
        try:
            self._shadow.model = await asyncio.to_thread(active_model.in_shadow, self._places)
        except ModelRefused as refusal:
            self._shadow_fault = str(refusal)
            log.error("no model runs in the shadow: %s", refusal)

    async def _sign(self) -> None:
        while True:
            await asyncio.sleep(SIGN_EVERY_S)
            try:
                await asyncio.to_thread(self._journal.sign_head)
            except (JournalFault, OSError) as fault:
                log.error("journal: its head is not signed: %s", fault)

    def status(self) -> dict[str, Any]:
        """The lane's state now."""
        state = LaneState(
            site=self._config.lane.site,
            lane=self._config.lane.name,
            boot_id=self._journal.boot_id,
            version=self._version,
            up_s=time.monotonic() - self._began_s,
            model=self._model.name,
            model_faults=self._model.faults,
            shadow=None if self._shadow.model is None else self._shadow.model.name,
            shadow_fault=self._shadow_fault,
            drift=self._drift.told,
            cases=self._case_alarms.told,
            endpoints=self._endpoints,
            journal_sequence=self._sequence,
            recorded=self._lane.recorded,
            in_hand=self._lane.in_hand,
        )
        counts = {name: self._quarantine.counts(name) for name in self._devices}
        kept = len(self._radiographs.document()["kept"])
        return document(state, self._health(), self._clock.quality(), counts, kept)

    def _health(self) -> list[DeviceHealth]:
        """Each device's, its calibration's age included."""
        return [self._in_force.judged(device.health()) for device in self._devices.values()]

    def _identities(self) -> Mapping[str, Any]:
        return {name: device.health().identity for name, device in self._devices.items()}

    def _handlers(self) -> Mapping[str, control.Handler]:
        async def status(request: Mapping[str, Any], peer: control.Peer) -> Any:
            return self.status()

        async def context(request: Mapping[str, Any], peer: control.Peer) -> Any:
            words, passage_id = request.get("context"), request.get("passage_id")
            if not isinstance(words, dict) or not isinstance(passage_id, str):
                raise ValueError("context: give passage_id and context")
            said = Declared.model_validate(words).said()
            try:
                source = outcome_control.source_of(request, peer)
                await self._lane.declare(passage_id, said, source)
                if said.get("plates"):  # kept apart, so that they can be found and forgotten
                    plates = [{"text": text, "position": "unknown"} for text in said["plates"]]
                    words = {"passage_id": passage_id, "plates": plates}
                    await asyncio.to_thread(self._cases.enter, "plates", words, source)
            except JournalFault as fault:
                raise ValueError(f"not recorded, and so not taken: {fault}") from None
            return {"passage_id": passage_id}

        async def declared(request: Mapping[str, Any], peer: control.Peer) -> Any:
            return self._lane.declared

        async def lease(request: Mapping[str, Any], peer: control.Peer) -> Any:
            device = self._device_of(request)
            await device.lend()
            body = {"device": device.name, "source": f"uid {peer.user_id}", "process": peer.process_id}
            log.info("%s: lent to %s (process %d)", device.name, body["source"], peer.process_id)
            try:  # who takes a sense from the lane stands in its record, where that can be written
                await asyncio.to_thread(self._journal.append, "lease", None, body)
            except JournalFault as fault:
                log.error("journal: %s", fault)
            return {"device": device.name}

        async def calibrated(request: Mapping[str, Any], peer: control.Peer) -> Any:
            return {"rows": await asyncio.to_thread(take_up, self._places, self._journal)}

        async def release(request: Mapping[str, Any], peer: control.Peer) -> Any:
            self._device_of(request).take_back()
            return {}

        async def diagnose(request: Mapping[str, Any], peer: control.Peer) -> Any:
            return diagnostics.of_process() | {"queued": self._queue.qsize(), "log": self._logs.document()}

        outcomes = outcome_control.handlers(self._outcomes) | reliability.handlers(self._reliability)
        outcomes |= radiograph_control.handlers(self._radiographs, self._lane.assign)
        cases = case_control.handlers(self._cases) | retention.handlers(self._keeper)
        asked = {
            "status": status,
            "context": context,
            "declared": declared,
            "lease": lease,
            "release": release,
            "calibrated": calibrated,
            "diagnostics": diagnose,
        }
        return {**asked, **outcomes, **cases, **covert_control.handlers(self._covert)}

    def _device_of(self, request: Mapping[str, Any]) -> Supervised:
        device = self._devices.get(str(request.get("device")))
        if device is None:
            raise ValueError(f"no such device; this lane has {', '.join(self._devices) or 'none'}")
        return device


def _audit(config: LaneConfig, places: Places, journal: Journal) -> audit.LaneAudit | None:
    """Raises KeyFault: there are strata and no key. Raises JournalFault."""
    table = config.policy.audit
    if not table.strata:
        return None
    made = audit.of_lane(table, config.booth.zone, keys.load_secret(places.audit))
    made.announce(journal)
    return made


def _defaults(table: ContextTable) -> tuple[BodyType, Context]:
    words = table.model_dump(exclude={"body_type"})
    return table.body_type, Context(**words)


def _scanners(config: LaneConfig) -> dict[str, Scanner]:
    devices = {name: device for name, device in config.devices.items() if device.driver.MODALITY is Modality.XRAY}
    return {name: Scanner.of(device.config) for name, device in devices.items()}
