"""The passage in hand, on disk as it comes and in memory as a reader will find it: looks are taken from here.

What is judged is built from what was written, through the same functions as a replay, so the two cannot differ.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.apply import Calibrations
from drivers.driver import Identity
from drivers.reading import (
    ClockQuality,
    ContactChange,
    GasSample,
    Modality,
    Radiograph,
    RadiometricFrame,
    Reading,
    VibrationBlock,
    WeatherSample,
)
from edge import json_text
from edge.active_model import ActiveModel
from edge.calibrate.in_force import stationxml as vibration_xml
from edge.config import LaneConfig
from edge.frame_plan import FramePlan
from edge.journal.journal import Journal, JournalFault, Row
from edge.passage_gate import OpenPassage
from fusion.bundle import mmwave_tiff, xray_dcs
from fusion.bundle.container import PASSAGE, Files, Limits
from fusion.bundle.document import PassageDocument, read_document
from fusion.bundle.fault import BundleFault
from fusion.bundle.read import VERDICTS, BundleContents, read, responses_of
from fusion.bundle.records import Piece
from fusion.bundle.series import Memory, Responses, join
from fusion.bundle.table import Kept
from fusion.bundle.taken import look_record, policy_of, policy_record, taken_look
from fusion.bundle.times import format_utc, parse_utc
from fusion.bundle.write import PARTIAL, BundleWriter, Completed
from fusion.bundle.write import recover as take_up
from fusion.evidence.vibration import prepare_vibration
from fusion.judge import Issue, Look, Model, Occasion, judge
from fusion.passage import BodyType, Context, Passage
from fusion.policy import Policy
from fusion.runtime import runtime
from fusion.verdict import Level, ProducedBy, Verdict

NO_CALIBRATIONS = Calibrations({})
NOBODY_KNOWS = "unknown"  # why a passage ended whose bundle was sealed and whose row was not written
MADE = "lanepulse"  # our own key in passage.json: what else a replay needs to give the same verdict
PREPARE_EVERY_NS = 5_000_000_000  # a segment of evidence (docs/adr/0003)
PREPARE_AFTER_NS = 1_500_000_000  # assumed: by then the records of all sensors are there that end with a segment
log = logging.getLogger("lanepulse.passage")


@dataclass(frozen=True, slots=True)
class Produced:
    """What makes verdicts on this lane."""

    version: str
    model: ActiveModel
    config_sha256: str

    def by(self, calibrations: Mapping[str, str]) -> ProducedBy:
        """The verdict's own form."""
        return ProducedBy(
            version=self.version,
            model=self.model.name,
            model_sha256=self.model.sha256,
            config_sha256=self.config_sha256,
            calibrations=dict(calibrations),
            runtime=runtime(),
        )


class PassageRecord:
    """One passage's files and what they hold. Calls come one at a time."""

    def __init__(
        self,
        writer: BundleWriter,
        draft: dict[str, Any],
        responses: Responses,
        no_response: str,
        produced: Produced,
        settings: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self._writer, self._draft, self._produced = writer, draft, produced
        self._settings = dict(settings)
        self._responses, self._no_response = responses, no_response
        self._pieces: list[Piece] = []
        self._gas: list[Kept[GasSample]] = []
        self._weather: list[Kept[WeatherSample]] = []
        self._contacts: list[Kept[ContactChange]] = []
        self._frames: list[Kept[RadiometricFrame]] = []
        self._radiographs: dict[str, Kept[Radiograph]] = {}
        self._scans: set[bytes] = set()  # digests: a scan that is sent again is one scan
        self._doubts: dict[str, str] = {}
        imagers = [device for device in draft["devices"] if device["modality"] == Modality.MMWAVE]
        self._plan = FramePlan(len(imagers))
        self._until_ns: dict[str, int] = {}
        self._joined: Memory = {}
        self._began_ns = parse_utc(draft["began_utc"])
        self._prepare_at_ns = self._began_ns + PREPARE_EVERY_NS + PREPARE_AFTER_NS
        self._context = Context()
        self._body_type = BodyType.UNKNOWN
        self._unwritten: dict[str, str] = {}
        self._kept = True
        self.policy: Policy = policy_of(draft["policy"], Policy())

    @property
    def began_utc(self) -> str:
        """As the bundle says it."""
        return str(self._draft["began_utc"])

    @property
    def model(self) -> Model:
        """The model that judges this passage, whatever is activated meanwhile."""
        return self._produced.model.model

    @property
    def plates(self) -> tuple[str, ...]:
        """As they were read."""
        return tuple(plate["text"] for plate in self._draft["vehicle"]["plates"])

    def spool(self, reading: Reading) -> None:
        """Write one reading. What cannot be written is not judged either, and is said once a device and cause."""
        if isinstance(reading, RadiometricFrame) and not self._plan.takes(reading):
            return
        try:
            until_ns = self._write(reading)
        except (BundleFault, OSError) as fault:
            cause = str(fault)
            if self._unwritten.get(reading.device) != cause:
                log.error("%s: a reading is not recorded and not judged: %s", reading.device, cause)
            self._unwritten[reading.device] = cause
            return
        self._unwritten.pop(reading.device, None)
        self._until_ns[reading.device] = max(until_ns, self._until_ns.get(reading.device, until_ns))

    def _write(self, reading: Reading) -> int:
        if isinstance(reading, VibrationBlock):
            pieces = self._writer.vibration(reading)
            self._pieces += pieces
            until_ns = max(piece.end_utc_ns for piece in pieces)
            self._prepare(until_ns)
            return until_ns
        if isinstance(reading, GasSample):
            self._gas.append(self._writer.gas(reading))
        elif isinstance(reading, WeatherSample):
            self._weather.append(self._writer.weather(reading))
        elif isinstance(reading, ContactChange):
            self._contacts.append(self._writer.contact(reading))
        elif isinstance(reading, RadiometricFrame):
            self._frames.append(self._writer.frame(reading))
        return reading.stamp.time_utc_ns

    def radiograph(self, radiograph: Radiograph, joined_by: str) -> str | None:
        """Put a scan into the bundle as it was received; the name it got, or None where it is in there already.

        Raises:
            BundleFault, OSError: it is not in the bundle, and will not be judged.
        """
        content = xray_dcs.content_of(radiograph)
        digest = hashlib.sha256(content).digest()
        if digest in self._scans:
            return None
        name = self._writer.radiograph(content)
        told = xray_dcs.record(radiograph, joined_by)
        self._draft.setdefault("xray", {"files": {}})["files"][name] = told
        began_utc_ns, clock = parse_utc(self.began_utc), radiograph.stamp.clock
        found = xray_dcs.read_radiograph(name, content, told, radiograph.device, began_utc_ns, clock)
        found = xray_dcs.corrected(found, self._settings.get(found.device, {}))
        self._scans.add(digest)
        self._radiographs[name] = Kept(len(content), found)
        self._until_ns[radiograph.device] = found.stamp.time_utc_ns
        self._keep()
        return name

    def doubt(self, device: str, state: str) -> None:
        """A device's state for the rest of this passage: it gave something that cannot be read."""
        self._doubts[device] = state

    def _prepare(self, until_ns: int) -> None:
        """Between looks, so that they come sooner: what the next one will want of samples that are there."""
        if until_ns < self._prepare_at_ns:
            return
        steps = (until_ns - self._prepare_at_ns) // PREPARE_EVERY_NS + 1
        self._prepare_at_ns += steps * PREPARE_EVERY_NS
        series, _ = join(self._pieces, self._responses, self._no_response, self._joined)
        prepare_vibration(series, self._began_ns)

    def declare(self, body_type: BodyType, context: Context, plates: tuple[str, ...] | None = None) -> None:
        """What is known of the vehicle from now on; ``plates`` in place of those known before."""
        self._body_type, self._context = body_type, context
        self._draft["vehicle"]["body_type"] = body_type.value
        if plates is not None:
            self._draft["vehicle"]["plates"] = [{"text": text, "position": "unknown"} for text in plates]
        self._draft["context"] = {name: getattr(context, name) for name in context.__slots__}
        self._keep()

    def look(
        self,
        occasion: Occasion,
        index: int,
        measured_s: float,
        states: Mapping[str, str],
        joined_by: str | None = None,
    ) -> tuple[Passage, Look]:
        """Take a look now: it is on disk before it is judged. ``joined_by`` is how late evidence found its passage."""
        at_s = round(measured_s, 6)  # what JSON says is what is used
        states = {**states, **self._doubts}
        states = {name: state for name, state in states.items() if name not in self._unwritten} | {
            name: f"faulty: not recorded: {cause}" for name, cause in self._unwritten.items()
        }
        self._draft["looks"].append(
            look_record(
                Look(index, 0, occasion, joined_by),
                at_s,
                states,
                self._writer.used_bytes(),
                {device: format_utc(until_ns) for device, until_ns in sorted(self._until_ns.items())},
                self._context,
                self._body_type,
            )
        )
        self._keep()
        return taken_look(self._contents(), len(self._draft["looks"]) - 1)

    def drawn_as(self, code: str) -> None:
        """The audit drew the vehicle at the last look: a replay says the same."""
        self._draft["looks"][-1]["drawn_as"] = code
        self._keep()

    def forget_look(self) -> None:
        """Take back the last look: it gave no verdict."""
        self._draft["looks"].pop()
        self._keep()

    def issue(
        self, revision: int, now_utc_ns: int, *, final_before: bool, opened_before: bool, searched_before: bool
    ) -> Issue:
        """What the verdict of this look carries."""
        by = self._produced.by(self._draft[MADE]["calibrations"])
        return Issue(revision, format_utc(now_utc_ns), by, final_before, opened_before, searched_before)

    def complete(
        self, ended_utc_ns: int | None, clock: ClockQuality | None, verdicts: tuple[str, ...]
    ) -> dict[str, Any]:
        """Seal the bundle; the answer names it, with its digests, for the journal.

        Raises:
            OSError, BundleFault: it stays unsealed, and the next start takes it up again.
        """
        if ended_utc_ns is not None:
            self._draft["ended_utc"] = format_utc(ended_utc_ns)
        if clock is not None:
            self._draft["clock"] = {"synchronised": clock.synchronised, "max_error_ns": clock.max_error_ns}
        for line in verdicts:
            self._writer.verdict(line)
        if self._frames:
            self._draft["mmwave"] = mmwave_tiff.record([kept.reading for kept in self._frames])
        if self._radiographs:
            self._draft["xray"] |= xray_dcs.doses([kept.reading for kept in self._radiographs.values()])
        winds = [kept.reading.wind_m_s for kept in self._weather if kept.reading.wind_m_s is not None]
        return named(self._writer.complete(self._draft), self._draft, max(winds, default=None))

    def let_go(self) -> None:
        """Close the files; the folder stays as it is, for the next start to take up."""
        self._writer.close()

    def _keep(self) -> None:
        try:
            self._writer.keep_draft(self._draft)
            self._kept = True
        except OSError as error:
            if self._kept:
                log.error("passage %s: its draft is not on disk: %s", self._draft["passage_id"], error)
            self._kept = False

    def _contents(self) -> BundleContents:
        document = read_document(json_text.write(self._draft).encode())
        return BundleContents(
            name=document.passage_id,
            document=document,
            files=Files({}, Limits()),
            pieces=tuple(self._pieces),
            responses=self._responses,
            no_response=self._no_response,
            gas=tuple(self._gas),
            weather=tuple(self._weather),
            contacts=tuple(self._contacts),
            frames=tuple(self._frames),
            radiographs=dict(self._radiographs),
            modality_of={device.name: device.modality for device in document.devices},
            joined=self._joined,
        )


def named(done: Completed, draft: Mapping[str, Any], wind_m_s: float | None) -> dict[str, Any]:
    """What the journal says of a bundle: its digests, and what is counted when the bundle itself has expired.

    ``wind_m_s`` is the strongest wind outside while the passage lasted, None where none was measured.
    """
    return {
        "bundle": done.path.name,
        "passage_json": done.passage_digest,
        "digests": dict(done.digests),
        "began_utc": draft["began_utc"],
        "ended_utc": draft["ended_utc"],
        "body_type": draft["vehicle"]["body_type"],
        "context": dict(draft["context"]),
        "wind_m_s": wind_m_s,
        "clock": dict(draft["clock"]),
    }


def open_record(
    bundles: Path,
    config: LaneConfig,
    produced: Produced,
    passage: OpenPassage,
    body_type: BodyType,
    context: Context,
    clock: ClockQuality,
    identities: Mapping[str, Identity | None],
    in_force: Calibrations = NO_CALIBRATIONS,
) -> PassageRecord:
    """Begin a passage's folder. The calibrations in force are kept with it, and each verdict names them.

    Raises:
        OSError: the disk is full or gone.
    """
    stationxml = _stationxml(config)
    calibrations = {name: digest for name, (_, digest) in stationxml.items()} | in_force.record_ids()
    draft: dict[str, Any] = {
        "schema": "lanepulse.passage/1",
        "passage_id": passage.passage_id,
        "site": config.lane.site,
        "lane": config.lane.name,
        "began_utc": format_utc(passage.began_utc_ns),
        "ended_utc": None,
        "clock": {"synchronised": clock.synchronised, "max_error_ns": clock.max_error_ns},
        "vehicle": {"body_type": body_type.value, "gross_mass_kg": None, "plates": []},
        "context": {name: getattr(context, name) for name in context.__slots__},
        "devices": [_device(config, name, identities.get(name), in_force) for name in config.devices],
        "looks": [],
        "policy": policy_record(config.policy.policy()),
        MADE: {
            "version": produced.version,
            "config_sha256": produced.config_sha256,
            "calibrations": calibrations,
            "nonce": os.urandom(16).hex(),  # the file's digest in the journal gives no plate away when the file is gone
        },
    }
    sheets = {name: text for name, (text, _) in stationxml.items()}
    text = vibration_xml(in_force, sheets, format_utc(passage.began_utc_ns))
    writer = _begun(bundles, passage.passage_id, draft, text, in_force)
    responses, no_response = responses_of(text, passage.began_utc_ns)[:2]
    settings = {kept.record.device.name: xray_dcs.settings_of(kept.record.model_dump()) for kept in in_force.applied()}
    record = PassageRecord(writer, draft, responses, no_response, produced, settings)
    record.declare(body_type, context)
    return record


def _begun(
    bundles: Path, passage_id: str, draft: Mapping[str, Any], stationxml: bytes | None, in_force: Calibrations
) -> BundleWriter:
    """A folder with its draft and responses, or none at all: one begun in vain would be taken for a passage."""
    was_there = (bundles / f"{passage_id}{PARTIAL}").exists()
    try:
        writer = BundleWriter.begin(bundles, passage_id, draft)
        if stationxml is not None:
            writer.responses(stationxml)
        for kept in in_force.applied():
            writer.calibration(kept.id, kept.content)
    except OSError:
        if not was_there:
            shutil.rmtree(bundles / f"{passage_id}{PARTIAL}", ignore_errors=True)
        raise
    return writer


def recover(bundles: Path, journal: Journal, config: LaneConfig, produced: Produced) -> Iterator[Row]:
    """Complete what a crash left behind: a passage without a final verdict gets `recheck: restarted`, each its bundle.

    A sealed bundle that no row names (the disk was full, or the crash came between) gets its row. Rows that come back
    are verdicts to announce. A folder that cannot be taken up stays as it is, and is said.
    """
    for partial in sorted(bundles.glob(f"*{PARTIAL}")):
        passage_id = partial.name.removesuffix(PARTIAL)
        try:
            yield from _complete_interrupted(partial, passage_id, journal, produced)
        except (BundleFault, OSError, ValueError) as fault:
            log.error("passage %s: cannot be completed and stays in %s: %s", passage_id, partial.name, fault)
    for folder in sorted(bundles.iterdir()):
        if "." in folder.name or not folder.is_dir() or journal.has(folder.name, "bundle"):
            continue  # a name with a dot is on its way in or out
        try:
            _name_sealed(folder, journal)
        except (BundleFault, OSError, ValueError, JournalFault) as fault:
            log.error("passage %s: its bundle is not in the journal: %s", folder.name, fault)


def _name_sealed(folder: Path, journal: Journal) -> None:
    """The row of a sealed bundle, from what it says of itself, once all its digests hold."""
    if not any(row.document()["final"] for row in journal.of_passage(folder.name, "verdict")):
        raise BundleFault("the journal has no final verdict of it: it is of another lane, or of a lost journal")
    contents = read(folder)
    text = contents.files.read(PASSAGE)
    if contents.document.passage_id != folder.name:
        raise BundleFault(f"it says that it is of passage {contents.document.passage_id}")
    if faults := contents.digest_faults():
        raise BundleFault("; ".join(faults)[:500])
    done = Completed(folder, dict(contents.document.digests), "sha256:" + hashlib.sha256(text).hexdigest())
    winds = [kept.reading.wind_m_s for kept in contents.weather if kept.reading.wind_m_s is not None]
    row = named(done, json_text.read(text), max(winds, default=None))
    journal.append("bundle", folder.name, {"closing": NOBODY_KNOWS, **row})
    log.warning("passage %s: its bundle was sealed and not in the journal; it is now", folder.name)


def _complete_interrupted(partial: Path, passage_id: str, journal: Journal, produced: Produced) -> Iterator[Row]:
    (partial / VERDICTS).unlink(missing_ok=True)  # the journal is the truth; a part of it may have been copied
    taken = take_up(partial)
    for note in taken.torn:
        log.warning("passage %s: %s", passage_id, note)
    if taken.document is None:
        raise BundleFault("its draft does not validate")
    draft = dict(taken.draft)
    earlier = journal.of_passage(passage_id, "verdict")
    if not any(row.document()["final"] for row in earlier):
        draft["looks"] = [*draft["looks"], _interrupted_look(taken.document, taken.writer)]
        verdict = _restarted(partial, draft, earlier, produced)
        sequence = journal.append("verdict", passage_id, verdict.document())
        row = journal.rows(sequence, 1)[0]
        earlier.append(row)
        yield row
    for row in earlier:
        taken.writer.verdict(row.body)
    done = taken.writer.complete(draft)
    journal.append("bundle", passage_id, {"closing": "restarted", **named(done, draft, None)})
    log.warning("passage %s: was cut by a restart; its bundle is complete now", passage_id)


def _interrupted_look(document: PassageDocument, writer: BundleWriter) -> dict[str, Any]:
    """A look over all that was written, at the time of the last look that was taken."""
    last = document.looks[-1] if document.looks else None
    extra = {} if last is None else (last.model_extra or {})
    return {
        "at_s": 0.0 if last is None else last.at_s,
        "used_until_utc": {} if last is None else dict(last.used_until_utc),
        "used_bytes": writer.used_bytes(),
        "states": {} if last is None else dict(last.states),
        **extra,
        "occasion": Occasion.RESTARTED.value,
        "look": extra.get("look", 0),
    }


def _restarted(partial: Path, draft: Mapping[str, Any], earlier: Sequence[Row], produced: Produced) -> Verdict:
    (partial / PASSAGE).write_bytes(json_text.write(draft).encode())  # `complete` writes it anew, with its digests
    contents = read(partial)
    passage, look = taken_look(contents, len(contents.looks) - 1)
    spoken = [row.document() for row in earlier]
    issue = Issue(
        revision=len(spoken) + 1,
        issued_utc=format_utc(time.time_ns()),
        produced_by=produced.by(draft[MADE]["calibrations"]),
        opened_before=any(verdict["level"] == Level.OPEN_NOW.value for verdict in spoken),
    )
    return judge(passage, look, produced.model.model, policy_of(draft["policy"], Policy()), issue)


def _stationxml(config: LaneConfig) -> dict[str, tuple[bytes, str]]:
    """Device -> its StationXML and the digest of that, for devices that have one."""
    found = {}
    for name, device in config.devices.items():
        if device.response is not None:
            text = device.response.read_bytes()
            found[name] = (text, "sha256:" + hashlib.sha256(text).hexdigest())
    return found


def _device(config: LaneConfig, name: str, identity: Identity | None, in_force: Calibrations) -> dict[str, Any]:
    device, who = config.devices[name], identity or Identity()
    return {
        "name": name,
        "modality": str(device.driver.MODALITY),
        "driver": device.driver_name,
        "vendor": who.vendor,
        "model": who.model,
        "serial": who.serial,
        "calibration_id": in_force.record_ids().get(name),
    }
