"""The passage in hand: readings go to disk as they come, looks judge what is there, verdicts are journalled, then told.

Judging reads the same files by the same code as a replay, so what a look saw is what a replay sees. Everything that
blocks (files, signal processing, the journal's commit) runs off the event loop, one thing after the other.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from drivers.reading import (
    ClockQuality,
    GasSample,
    Point,
    PresenceChange,
    Radiograph,
    Reading,
    WeatherSample,
)
from edge import audit as audits
from edge.audit import LaneAudit
from edge.journal.journal import Journal, JournalFault, Row
from edge.passage_gate import ClosedPassage, Closing, OpenPassage, close, overdue, step
from edge.passage_record import PassageRecord
from edge.radiograph_desk import RadiographDesk
from edge.radiograph_join import Candidate, Joined, Kept
from edge.said_of_vehicle import Sources
from edge.shadow import Shadow
from edge.status import InHand
from edge.supervisor import DeviceHealth
from fusion.audit_draw import Case, Draw, declared_down, told
from fusion.bundle.fault import BundleFault
from fusion.evidence.evidence import Evidence
from fusion.judge import Issue, Look, Occasion, alarm_in, gather, judge, margin_log10_lr
from fusion.passage import BodyType, Context, Passage
from fusion.verdict import Level, Verdict

PRE_ROLL_S = 60.0  # an outside sample of the same minute belongs to a passage (SCIENCE 3.2)
AIR_AGAIN_S = 2.0  # an alarm must come within 10 s of the limit (SCIENCE 9); a load of produce is above it all the time
RECORD_AGAIN_S = 2.0  # assumed: how soon a disk that was full is tried again
MOST_PRE_ROLL = 2_000  # readings; the oldest go first
log = logging.getLogger("lanepulse.lane")


@dataclass(slots=True)
class _InHand:
    """What changes while a vehicle is on the lane."""

    passage: OpenPassage
    record: PassageRecord
    body_type: BodyType
    context: Context
    next_look: int = 0
    revision: int = 0
    level: Level | None = None
    final: bool = False
    opened: bool = False
    searched: bool = False  # a final revision said search
    next_air_s: float = 0.0
    gas: list[GasSample] = field(default_factory=list)
    sources: Sources = field(default_factory=Sources)
    number: float | None = None  # the audit's, drawn before anything was measured
    draw: Draw | None = None  # what came of it; at most one a passage
    again_s: float | None = None  # when a verdict that could not be recorded is judged anew


@dataclass(frozen=True, slots=True)
class _Weighed:
    """A look and what came of it."""

    passage: Passage
    look: Look
    issue: Issue
    evidence: tuple[Evidence, ...]
    verdict: Verdict


class Lane:
    """One lane. ``handle`` takes every reading in order; ``due`` judges what has come due; ``finish`` ends it all."""

    def __init__(
        self,
        journal: Journal,
        publish: Callable[[Row], Awaitable[None]],
        open_record: Callable[[OpenPassage, BodyType, Context, ClockQuality], PassageRecord],
        looks_s: tuple[float, ...],
        defaults: tuple[BodyType, Context],
        *,
        health: Callable[[], Mapping[str, DeviceHealth]],
        clock: Callable[[], ClockQuality],
        now_utc_ns: Callable[[], int],
        monotonic_ns: Callable[[], int],
        random_bytes: Callable[[int], bytes] = os.urandom,
        audit: LaneAudit | None = None,
        sealed: Callable[[str], None] = lambda passage_id: None,
        radiographs: RadiographDesk | None = None,
        shadow: Shadow | None = None,
    ) -> None:
        self._journal, self._publish, self._open_record = journal, publish, open_record
        self._looks_s, self._defaults = looks_s, defaults
        self._health, self._clock, self._random_bytes = health, clock, random_bytes
        self._sealed, self._radiographs, self._audit, self._shadow = sealed, radiographs, audit, shadow
        self._one_scan = asyncio.Lock()  # a person's word may come while a scan does
        self._now_utc_ns, self._monotonic_ns = now_utc_ns, monotonic_ns
        self._current: _InHand | None = None
        self._unopened: OpenPassage | None = None  # a vehicle whose record cannot be begun: the disk is full
        self._open_again_ns = 0
        self._unnamed: dict[
            str, dict[str, Any]
        ] = {}  # passage -> the row that its sealed bundle lacks: the disk is full
        self._name_again_ns = 0
        self._pre_roll: deque[Reading] = deque(maxlen=MOST_PRE_ROLL)
        self.recorded = True

    @property
    def in_hand(self) -> InHand | None:
        """For the status."""
        current, waiting = self._current, self._unopened
        if current is None and waiting is not None:
            stood_s = (self._monotonic_ns() - waiting.began_monotonic_ns) / 1e9
            return InHand(waiting.passage_id, stood_s, self._looks_s[-1], Level.RECHECK.value, False)
        if current is None:
            return None
        return InHand(
            current.passage.passage_id,
            self._measured_s(current),
            self._looks_s[-1],
            None if current.level is None else current.level.value,
            current.final,
        )

    def wait_s(self) -> float | None:
        """Seconds until `due` has something to judge or to begin; None while nothing is planned."""
        current = self._current
        if current is None:
            left_ns = self._open_again_ns - self._monotonic_ns()
            return None if self._unopened is None else max(0.0, left_ns / 1e9)
        if current.final:
            return None
        planned = [self._looks_s[current.next_look]] if current.next_look < len(self._looks_s) else []
        planned += [] if current.again_s is None else [current.again_s]
        return max(0.0, min(planned) - self._measured_s(current)) if planned else None

    async def handle(self, reading: Reading) -> None:
        """Take one reading."""
        if isinstance(reading, PresenceChange):
            await self._presence(reading)
            return
        if isinstance(reading, Radiograph):
            await self._scanned(reading)
            return
        current = self._current
        if current is None:
            if _is_outside(reading):
                self._pre_roll.append(reading)
            return
        await asyncio.to_thread(current.record.spool, reading)
        if isinstance(reading, GasSample) and reading.point is Point.INSIDE:
            current.gas.append(reading)
            await self._watch_air(current)

    async def due(self) -> None:
        """Judge the look that has come due, end a passage that has lasted too long, and name what waits for a row."""
        if self._unnamed and self._monotonic_ns() >= self._name_again_ns:
            await self._name()
        current = self._current
        if current is None:
            if self._unopened is not None and self.wait_s() == 0.0:
                await self._begin(self._unopened)
            return
        if overdue(current.passage, self._monotonic_ns()):
            await self._end(current, Closing.TOO_LONG)
        elif self.wait_s() == 0.0:
            measured_s, current.again_s = self._measured_s(current), None
            while current.next_look < len(self._looks_s) and self._looks_s[current.next_look] <= measured_s:
                current.next_look += 1
            await self._judge(current, Occasion.LOOK)

    async def finish(self) -> None:
        """The lane stops: the passage in hand gets its verdict from what was measured, and its bundle."""
        if self._current is not None:
            await self._end(self._current, Closing.STOPPED)
        await self._name()

    @property
    def declared(self) -> dict[str, Any]:
        """What is known of the vehicle in hand, and who said it."""
        current = self._current
        if current is None:
            return {"passage_id": None, "words": {}}
        words = current.sources.document(current.body_type, current.context)
        return {"passage_id": current.passage.passage_id, "words": words}

    async def declare(self, passage_id: str, words: Mapping[str, Any], source: str) -> None:
        """Somebody says something of the vehicle in hand; it counts from the next look on.

        Raises:
            ValueError: that passage is not in hand, or a word is not one of the bundle's.
        """
        current = self._current
        if current is None or current.passage.passage_id != passage_id:
            raise ValueError(f"passage {passage_id}: not on the lane now; see lanepulse status")
        fields = dict(words)
        plates = fields.pop("plates", None)
        body_type = BodyType(fields.pop("body_type", current.body_type))
        context = replace(current.context, **fields)
        said = dict(words) if plates is None else {**fields, **words, "plates": len(plates)}  # expire with the bundle
        body = {"source": source, "words": said}
        await asyncio.to_thread(self._journal.append, "context", passage_id, body)
        current.body_type, current.context = body_type, context
        current.sources.said(said, source)
        await asyncio.to_thread(current.record.declare, body_type, context, plates)

    async def _presence(self, change: PresenceChange) -> None:
        in_hand = self._unopened if self._current is None else self._current.passage
        opened, closed = step(in_hand, change, self._random_bytes)
        if closed is not None and self._unopened is not None:
            log.error("passage %s: the vehicle left, and nothing of it is recorded", closed.passage_id)
            self._unopened = None
        elif closed is not None and self._current is not None:
            await self._end(self._current, closed.closing)
        elif opened is not None and in_hand is None:
            await self._begin(opened)

    async def _begin(self, passage: OpenPassage) -> None:
        body_type, context = self._defaults
        try:
            record = await asyncio.to_thread(self._open_record, passage, body_type, context, self._clock())
        except OSError as fault:
            if self._unopened is None:
                log.error("passage %s: nothing of it can be recorded: %s; make room", passage.passage_id, fault)
            self._unopened, self.recorded = passage, False
            self._open_again_ns = self._monotonic_ns() + round(RECORD_AGAIN_S * 1e9)
            return
        self._unopened = None
        number = None if self._audit is None else self._audit.number(passage.passage_id)
        self._current = _InHand(passage, record, body_type, context, number=number)
        opened = {
            "began_utc": record.began_utc,
            "monotonic_ns": str(passage.began_monotonic_ns),  # places it in time where the clock was not set
            "synchronised": self._clock().synchronised,
        }
        await self._log_row("passage.opened", passage.passage_id, opened)
        earliest_ns = passage.began_utc_ns - round(PRE_ROLL_S * 1e9)
        for reading in self._pre_roll:
            if reading.stamp.time_utc_ns >= earliest_ns:
                await asyncio.to_thread(record.spool, reading)
        self._pre_roll.clear()
        log.info("passage %s: began", passage.passage_id)

    async def _end(self, current: _InHand, closing: Closing) -> None:
        if not current.final:
            await self._judge(current, Occasion.STOPPED if closing is Closing.STOPPED else Occasion.END)
        self._current = None
        if not current.final:  # the folder stays unsealed, so that the next start gives it a verdict and a place
            log.error(
                "passage %s: ended without a recorded verdict; the next start closes it", current.passage.passage_id
            )
            await asyncio.to_thread(current.record.let_go)
            return
        ended = close(current.passage, self._monotonic_ns(), closing)
        try:
            named = await asyncio.to_thread(self._seal, current.record, ended, self._clock())
        except (BundleFault, OSError) as fault:
            log.error("passage %s: its bundle is not complete: %s; the next start tries again", ended.passage_id, fault)
            return
        self._unnamed[ended.passage_id] = {"closing": closing.value, **named}
        await self._name()

    async def _name(self) -> None:
        """Sealed bundles into the journal; a row that it refuses is tried again in a while, or by the next start."""
        while self._unnamed:
            passage_id, body = next(iter(self._unnamed.items()))
            if not await self._log_row("bundle", passage_id, body):
                self._name_again_ns = self._monotonic_ns() + round(RECORD_AGAIN_S * 1e9)
                return
            del self._unnamed[passage_id]
            await asyncio.to_thread(self._sealed, passage_id)  # an outcome may have come before its bundle
            log.info("passage %s: ended (%s)", passage_id, body["closing"])
            if self._radiographs is not None:
                await asyncio.to_thread(self._radiographs.ended, passage_id)
                for radiograph in await asyncio.to_thread(self._radiographs.waiting):
                    await self._scanned(radiograph)

    def _seal(self, record: PassageRecord, ended: ClosedPassage, clock: ClockQuality) -> dict[str, Any]:
        verdicts = tuple(row.body for row in self._journal.of_passage(ended.passage_id, "verdict"))
        return record.complete(ended.ended_utc_ns, clock, verdicts)

    async def _scanned(self, radiograph: Radiograph) -> None:
        """A radiograph to the passage that it is of: the one in hand, or one that has ended, or none that we know."""
        desk, current = self._radiographs, self._current
        if desk is None:
            return
        in_hand = None if current is None else _candidate(current)
        async with self._one_scan:
            try:
                found = await asyncio.to_thread(desk.placed, radiograph, in_hand)
                if isinstance(found, Kept):
                    await self._keep_scan(desk, radiograph, found)
                elif found is not None and current is not None and found.passage_id == current.passage.passage_id:
                    await self._join_in_hand(desk, radiograph, current, found)
                elif found is not None:
                    await self._join_late(desk.join(radiograph, found.passage_id, found.by))
            except (BundleFault, OSError) as fault:
                await self._not_joined(desk, radiograph, str(fault))
            except JournalFault as fault:
                log.error("%s: a radiograph is not joined: %s", radiograph.device, fault)

    async def _not_joined(self, desk: RadiographDesk, radiograph: Radiograph, cause: str) -> None:
        """It has a passage and cannot be put there: it waits with the others, and is tried again."""
        try:
            await asyncio.to_thread(desk.keep, radiograph, f"cannot be put into its bundle: {cause}")
        except JournalFault as fault:
            log.error("%s: a radiograph is not joined: %s", radiograph.device, fault)

    async def assign(self, name: str, passage_id: str, source: str) -> None:
        """A person says which passage a kept radiograph is of.

        Raises:
            ValueError: no such radiograph or passage.
            BundleFault, OSError, JournalFault: it is not joined.
        """
        if self._radiographs is None:
            raise ValueError("this lane has no X-ray device")
        async with self._one_scan:
            await self._join_late(self._radiographs.assign(name, passage_id, f"a person ({source})"))

    async def _keep_scan(self, desk: RadiographDesk, radiograph: Radiograph, kept: Kept) -> None:
        await asyncio.to_thread(desk.keep, radiograph, kept.cause)
        if self._current is not None and desk.terms(radiograph.device).by_time and _is_blank(radiograph):
            self._current.record.doubt(radiograph.device, radiograph.status)

    async def _join_in_hand(
        self, desk: RadiographDesk, radiograph: Radiograph, current: _InHand, found: Joined
    ) -> None:
        file = await asyncio.to_thread(current.record.radiograph, radiograph, found.by)
        await asyncio.to_thread(desk.joined, radiograph, found.passage_id, found.by, file)
        if current.final and file is not None:
            await self._judge(current, Occasion.LATE, found.by)

    async def _join_late(self, rows: Iterator[Row]) -> None:
        while (row := await asyncio.to_thread(next, rows, None)) is not None:
            await self._publish(row)

    async def _watch_air(self, current: _InHand) -> None:
        """Judge at once where the air may be dangerous; a declared emitter that agrees is asked again in a while."""
        measured_s = self._measured_s(current)
        if current.opened or measured_s < current.next_air_s:
            return
        if alarm_in(current.gas[-240:], current.context, current.body_type):
            current.next_air_s = measured_s + AIR_AGAIN_S
            await self._judge(current, Occasion.LIFE)

    async def _judge(self, current: _InHand, occasion: Occasion, joined_by: str | None = None) -> None:
        measured_s = self._measured_s(current)
        index = max((i for i, at_s in enumerate(self._looks_s) if at_s <= measured_s), default=0)
        states = {name: device.state for name, device in self._health().items()}
        weighed = await asyncio.to_thread(self._weigh, current, occasion, index, measured_s, states, joined_by)
        verdict = weighed.verdict
        if occasion is Occasion.LIFE and verdict.level is not Level.OPEN_NOW:
            await asyncio.to_thread(current.record.forget_look)  # nothing was said, so there is nothing to replay
            return
        try:
            row, verdict = await asyncio.to_thread(self._record, current, weighed)
        except JournalFault as fault:
            if self.recorded:
                log.error("verdict of %s is not recorded and not announced: %s", verdict.passage_id, fault)
            self.recorded = False
            # Nobody is told what is not on disk; what can be shown without a record is that there is none, or danger.
            current.level = Level.OPEN_NOW if verdict.level is Level.OPEN_NOW else Level.RECHECK
            current.again_s = measured_s + RECORD_AGAIN_S
            return
        self.recorded = True
        current.revision, current.level = verdict.revision, verdict.level
        current.final = current.final or verdict.final
        current.opened = current.opened or verdict.level is Level.OPEN_NOW
        current.searched = current.searched or (verdict.final and verdict.level is Level.SEARCH)
        await self._publish(row)
        if self._shadow is not None:
            policy = current.record.policy
            await asyncio.to_thread(
                self._shadow.weigh,
                weighed.passage,
                weighed.look,
                weighed.evidence,
                policy,
                weighed.verdict,
                row.sequence,
            )

    def _weigh(
        self,
        current: _InHand,
        occasion: Occasion,
        index: int,
        measured_s: float,
        states: Mapping[str, str],
        joined_by: str | None,
    ) -> _Weighed:
        passage, look = current.record.look(occasion, index, measured_s, states, joined_by)
        issue = current.record.issue(
            current.revision + 1,
            self._now_utc_ns(),
            final_before=current.final,
            opened_before=current.opened,
            searched_before=current.searched,
        )
        evidence = gather(passage, look.until_utc_ns)
        verdict = judge(passage, look, current.record.model, current.record.policy, issue, evidence)
        return _Weighed(passage, look, issue, evidence, verdict)

    def _record(self, current: _InHand, weighed: _Weighed) -> tuple[Row, Verdict]:
        verdict = self._audited(current, weighed)
        sequence = self._journal.append("verdict", verdict.passage_id, verdict.document())
        return self._journal.rows(sequence, 1)[0], verdict

    def _audited(self, current: _InHand, weighed: _Weighed) -> Verdict:
        """The verdict after the audit: drawn at most once a passage, and in the journal before anybody is told."""
        verdict, audit = weighed.verdict, self._audit
        if audit is None or current.number is None or verdict.level is not Level.NO_SEARCH:
            return verdict
        if current.draw is None:
            case = self._case(current, weighed, audit)
            draw = audit.draw(current.number, case)
            if draw is None:
                return verdict
            self._journal.append(audits.KIND, verdict.passage_id, audit.row(draw, case))
            current.draw = draw
        if not current.draw.searched:
            return verdict
        current.record.drawn_as(audit.code)
        return told(verdict, audit.code)

    def _case(self, current: _InHand, weighed: _Weighed, audit: LaneAudit) -> Case:
        """Judged once more without what was declared, where something was: did it lower suspicion?"""
        passage, verdict, record = weighed.passage, weighed.verdict, current.record
        body_type, context = self._defaults
        down = False
        if (passage.body_type, passage.context) != self._defaults:
            silent = replace(passage, body_type=body_type, context=context)
            down = declared_down(verdict, judge(silent, weighed.look, record.model, record.policy, weighed.issue))
        return Case(
            verdict.level,
            passage.body_type,
            audit.hour(passage.began_utc_ns),
            margin_log10_lr(verdict, weighed.look, record.model, record.policy),
            down,
        )

    async def _log_row(self, kind: str, passage_id: str, body: Mapping[str, Any]) -> bool:
        """Whether it is in the journal."""
        try:
            await asyncio.to_thread(self._journal.append, kind, passage_id, body)
            self.recorded = True
        except JournalFault as fault:
            if self.recorded:
                log.error("journal: %s", fault)
            self.recorded = False
        return self.recorded

    def _measured_s(self, current: _InHand) -> float:
        return (self._monotonic_ns() - current.passage.began_monotonic_ns) / 1e9


def _is_outside(reading: Reading) -> bool:
    """What the minute before a passage may give to it."""
    return isinstance(reading, WeatherSample) or (isinstance(reading, GasSample) and reading.point is Point.AMBIENT)


def _candidate(current: _InHand) -> Candidate:
    passage = current.passage
    return Candidate(passage.passage_id, passage.began_utc_ns, None, current.record.plates)


def _is_blank(radiograph: Radiograph) -> bool:
    """It could not be read at all: nobody knows of which vehicle it is."""
    return radiograph.status.startswith("faulty") and radiograph.passage_hint is None and radiograph.plate_text is None
