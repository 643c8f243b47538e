"""A bundle read back: what is whole, and what is not, by name. Nothing is written, moved or deleted.

Only an unreadable ``passage.json`` (or container) refuses a bundle. Any other file may be missing, and one that is
there and cannot be read makes its modality faulty, never the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from calibration.stationxml import StationXmlFault, read_stationxml
from drivers.reading import ClockQuality, ContactChange, GasSample, Radiograph, RadiometricFrame, WeatherSample
from fusion.bundle import co2_csv, contacts_csv, mmwave_tiff, records, weather_csv, xray_dcs
from fusion.bundle.container import CALIBRATIONS, PASSAGE, Files, Limits, open_files
from fusion.bundle.document import LookRecord, PassageDocument, read_document, read_json, read_look
from fusion.bundle.fault import BundleFault, BundleRefused, FileFault
from fusion.bundle.look import ALL, Cut, cut_of, look_utc_ns
from fusion.bundle.records import Piece, Scan
from fusion.bundle.series import Memory, Responses, join, window_of
from fusion.bundle.table import Kept, Table
from fusion.passage import BodyType, Context, Passage

RESPONSES = "vibration.xml"
VERDICTS = "verdicts.jsonl"
MODALITY_OF_FILE = {
    records.FILE: "vibration",
    "co2.csv": "co2",
    "weather.csv": "weather",
    "contacts.csv": "presence",
    mmwave_tiff.FILE: "mmwave",
    **dict.fromkeys(xray_dcs.NAMES, "xray"),
}
LATE = "late.json"
KNOWN = frozenset({PASSAGE, RESPONSES, VERDICTS, "outcome.json", LATE, *MODALITY_OF_FILE})
WORDS = {
    "engine": ("on", "off", "unknown"),
    "refrigeration": ("on", "off", "unknown"),
    "cargo": ("empty", "general", "dense", "produce", "dry_ice", "live_animals", "unknown"),
    "doors": ("closed", "open", "unknown"),
    "driver": ("out", "in", "unknown"),
    "shelter": ("shed", "open", "unknown"),
}
BEFORE_NS = 3600_000_000_000  # assumed: outside air may have been sampled up to an hour before the vehicle came

T = TypeVar("T", GasSample, WeatherSample, ContactChange)
S = TypeVar("S", GasSample, WeatherSample, ContactChange, RadiometricFrame)
L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class BundleContents:
    """Everything of a bundle. A radiograph is in it under the name of its file.

    ``faults`` is device or file -> "<state>: <cause>", as in `Passage.states`; ``notes`` are lines for people.
    """

    name: str
    document: PassageDocument
    files: Files
    pieces: tuple[Piece, ...] = ()
    responses: Responses = field(default_factory=dict)
    no_response: str = "no response: vibration.xml is missing"
    gas: tuple[Kept[GasSample], ...] = ()
    weather: tuple[Kept[WeatherSample], ...] = ()
    contacts: tuple[Kept[ContactChange], ...] = ()
    frames: tuple[Kept[RadiometricFrame], ...] = ()
    radiographs: Mapping[str, Kept[Radiograph]] = field(default_factory=dict)
    late_looks: tuple[LookRecord, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    modality_of: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    outcome: Mapping[str, Any] | None = None
    late: tuple[Mapping[str, Any], ...] = ()
    calibrations: Mapping[str, Any] = field(default_factory=dict)
    joined: Memory = field(default_factory=dict, repr=False, compare=False)  # from one look to the next

    @property
    def looks(self) -> tuple[LookRecord, ...]:
        """Looks as they were taken, those of late evidence last; none in a bundle that was made elsewhere."""
        return (*self.document.looks, *self.late_looks)

    def look_utc_ns(self, look: int) -> int:
        """When a recorded look was taken. Raises LookupError as `passage`."""
        return look_utc_ns(self.document, self._look(look))

    def passage(self, look: int | None = None) -> Passage:
        """The passage as it was at a recorded look, or, with None, all of it.

        Raises:
            LookupError: the bundle has no such look.
        """
        if look is None:
            states = self.looks[-1].states if self.looks else {}
            ended = self.document.ended_utc_ns
            return self._passage(ALL, states, ended, window_of(self.document.began_utc_ns, ended).last_utc_ns)
        taken = self._look(look)
        now = look_utc_ns(self.document, taken)
        ended = self.document.ended_utc_ns
        over = ended is not None and ended <= now
        last = window_of(self.document.began_utc_ns, now).last_utc_ns  # the lane did not know the end yet
        return self._passage(cut_of(taken), taken.states, ended if over else None, last)

    def doubts(self) -> tuple[str, ...]:
        """What joining all records said: gaps, samples that disagree, records of another time."""
        return join(self.pieces, self.responses, self.no_response, self.joined)[1]

    def digest_faults(self) -> tuple[str, ...]:
        """Files that are not what ``passage.json`` says they were: nothing where all digests hold."""
        found: list[str] = []
        told = {name: (digest, PASSAGE) for name, digest in self.document.digests.items()}
        for line in self.late:
            if isinstance(line.get("file"), str):
                told[line["file"]] = (str(line.get("digest")), LATE)
        for name, (expected, where) in sorted(told.items()):
            if name not in self.files.entries:
                found.append(f"{name[:80]}: missing, but {where} has its digest")
                continue
            try:
                actual = self.files.digest(name)
            except FileFault as fault:
                actual = str(fault)
            if actual != expected:
                found.append(f"{name}: {actual[:80]}, but {where} says {expected[:80]}")
        return tuple(found)

    def _look(self, look: int) -> LookRecord:
        if not 0 <= look < len(self.looks):
            raise LookupError(f"{self.name}: no look {look}; {len(self.looks)} were recorded")
        return self.looks[look]

    def _passage(self, cut: Cut, states: Mapping[str, str], ended_utc_ns: int | None, last_utc_ns: int) -> Passage:
        document, devices = self.document, self.document.devices
        series, _ = join(cut.pieces(self.pieces, devices), self.responses, self.no_response, self.joined)
        first_utc_ns = document.began_utc_ns - BEFORE_NS
        gas, gas_strays = timely(cut.rows("co2.csv", "co2", self.gas, devices), first_utc_ns, last_utc_ns)
        weather, weather_strays = timely(
            cut.rows("weather.csv", "weather", self.weather, devices), first_utc_ns, last_utc_ns
        )
        contacts, contact_strays = timely(
            cut.rows("contacts.csv", "presence", self.contacts, devices), first_utc_ns, last_utc_ns
        )
        frames, frame_strays = timely(
            cut.rows(mmwave_tiff.FILE, "mmwave", self.frames, devices), first_utc_ns, last_utc_ns
        )
        radiographs = [
            one
            for file, kept in sorted(self.radiographs.items(), key=lambda found: xray_dcs.NAMES.index(found[0]))
            for one in cut.rows(file, "xray", (kept,), devices)
        ]
        return Passage(
            passage_id=document.passage_id,
            site=document.site,
            lane=document.lane,
            began_utc_ns=document.began_utc_ns,
            ended_utc_ns=ended_utc_ns,
            body_type=_body_type(document),
            gross_mass_kg=document.vehicle.gross_mass_kg,
            context=_context(document),
            vibration=series,
            gas=gas,
            weather=weather,
            contacts=contacts,
            frames=frames,
            radiographs=tuple(radiographs),
            ambient_k=_kelvin(document.mmwave, "ambient_k"),
            sky_k=_kelvin(document.mmwave, "sky_k"),
            modality_of=self.modality_of,
            states={**states, **gas_strays, **weather_strays, **contact_strays, **frame_strays, **self.faults},
            clock_synchronised=document.clock.synchronised,
        )


def read(path: Path, limits: Limits | None = None) -> BundleContents:
    """A bundle, from its folder or its zip.

    Raises:
        BundleRefused: the container breaks a rule, or there is no readable ``passage.json``.
    """
    files = open_files(path, limits or Limits())
    return _Reading(path.name, files, _document(path.name, files)).contents()


def responses_of(stationxml: bytes | None, began_utc_ns: int) -> tuple[Responses, str, tuple[str, ...]]:
    """Responses by sensor, the fault of sensors that have none, and notes; None where there is no ``vibration.xml``."""
    if stationxml is None:
        return {}, f"no response: {RESPONSES} is missing", ()
    try:
        found = read_stationxml(stationxml, began_utc_ns)
    except StationXmlFault as fault:
        cause = str(fault).removeprefix(f"{RESPONSES}: ")
        return {}, f"no response: {RESPONSES}: {cause}", (f"{RESPONSES}: {cause}",)
    named = {name: f"no response: {a}" if isinstance(a, str) else a for name, a in found.items()}
    notes = tuple(f"{RESPONSES}: {answer}" for answer in found.values() if isinstance(answer, str))
    return named, f"no response: {RESPONSES} does not name the channel", notes


def _document(container: str, files: Files) -> PassageDocument:
    if PASSAGE not in files.entries:
        half = next((name for name in sorted(files.entries) if name.startswith(PASSAGE)), None)
        hint = f" ({half} is there: the passage was not completed)" if half else ""
        raise BundleRefused(f"{container}: no {PASSAGE}{hint}")
    try:
        return read_document(files.read(PASSAGE))
    except BundleFault as fault:
        raise BundleRefused(f"{container}: {fault}") from None


class _Reading:
    """Reads one file after the other; a fault is noted beside its modality."""

    def __init__(self, name: str, files: Files, document: PassageDocument) -> None:
        self._name = name
        self._files = files
        self._document = document
        self._clock: ClockQuality = document.clock.quality()
        self._notes: list[str] = [*files.notes, *_unknown_words(document)]
        self._faults: dict[str, str] = {}
        self._modality_of = {device.name: device.modality for device in document.devices}

    def contents(self) -> BundleContents:
        """All of it."""
        self._notes += [f"{name[:80]}: not a file of a bundle, ignored" for name in sorted(self._unknown_files())]
        if self._document.ended_utc is None:
            self._notes.append(f"{PASSAGE}: no ended_utc: the passage was interrupted")
        scan = self._scan()
        responses, no_response = self._responses()
        weather_device = self._sole("weather") or "weather.csv"
        late = self._late()
        return BundleContents(
            name=self._name,
            document=self._document,
            files=self._files,
            pieces=scan.pieces,
            responses=responses,
            no_response=no_response,
            gas=self._rows("co2.csv", lambda text: co2_csv.read_co2(text, self._clock)),
            weather=self._rows("weather.csv", lambda text: weather_csv.read_weather(text, weather_device, self._clock)),
            contacts=self._rows("contacts.csv", lambda text: contacts_csv.read_contacts(text, self._clock)),
            frames=self._frames(),
            radiographs=dict(self._radiographs(late)),
            outcome=self._outcome(),
            late=late,
            late_looks=tuple(self._late_looks(late)),
            calibrations=self._calibrations(),
            faults=self._faults,
            modality_of=self._modality_of,
            notes=tuple(self._notes),
        )

    def _scan(self) -> Scan:
        began, ended = self._document.began_utc_ns, self._document.ended_utc_ns
        found = self._file(records.FILE, lambda text: records.scan(text, window_of(began, ended)))
        if found is None:
            return Scan((), 0, ())
        self._notes += found.notes
        return found

    def _responses(self) -> tuple[Responses, str]:
        """Responses by sensor, and the fault of sensors that have none."""
        try:
            text = self._files.read(RESPONSES) if RESPONSES in self._files.entries else None
        except FileFault as fault:
            self._notes.append(str(fault))
            return {}, f"no response: {fault}"
        responses, no_response, notes = responses_of(text, self._document.began_utc_ns)
        self._notes += notes
        return responses, no_response

    def _rows(self, file: str, decode: Callable[[bytes], Table[T]]) -> tuple[Kept[T], ...]:
        table = self._file(file, decode)
        if table is None:
            return ()
        self._notes += table.notes
        for row in table.rows:
            self._modality_of.setdefault(row.reading.device, MODALITY_OF_FILE[file])
        began, ended = self._document.began_utc_ns, self._document.ended_utc_ns
        last_utc_ns = window_of(began, ended).last_utc_ns
        _, strays = timely([row.reading for row in table.rows], began - BEFORE_NS, last_utc_ns)
        self._notes += [f"{file}: {device[:60]!r}: {state}: left out" for device, state in strays.items()]
        return table.rows

    def _file(self, file: str, decode: Callable[[bytes], L]) -> L | None:
        """The decoded file, or None: it is missing, empty or wrong, and the last two are said."""
        if file not in self._files.entries:
            return None
        if self._files.entries[file].size == 0:
            self._silence(file, "absent", f"{file} is empty (0 bytes)")
            return None
        try:
            return decode(self._files.read(file))
        except FileFault as fault:
            self._silence(file, "faulty", str(fault))
            return None

    def _silence(self, file: str, state: str, cause: str) -> None:
        """Every device of the file's modality, or the file itself where none is listed, is in this state."""
        self._notes.append(cause)
        modality = MODALITY_OF_FILE[file]
        named = [device.name for device in self._document.devices if device.modality == modality]
        for name in named or [file]:
            self._faults[name] = f"{state}: {cause}"
            self._modality_of[name] = modality

    def _frames(self) -> tuple[Kept[RadiometricFrame], ...]:
        document, device = self._document, self._sole("mmwave") or mmwave_tiff.FILE
        known = mmwave_tiff.Known(document.mmwave or {}, document.began_utc_ns, device, self._clock)
        table = self._file(mmwave_tiff.FILE, lambda content: mmwave_tiff.read_frames(content, known))
        if table is None:
            return ()
        self._notes += table.notes
        for row in table.rows:
            self._modality_of.setdefault(row.reading.device, "mmwave")
        return table.rows

    def _radiographs(self, late: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Kept[Radiograph]]]:
        """File -> radiograph. One that neither the seal nor a late line names was being joined when the power went."""
        document = self._document
        came_late = {line["file"]: line.get("xray") for line in late if isinstance(line.get("file"), str)}
        told = (document.xray or {}).get("files")
        told = {**(told if isinstance(told, dict) else {}), **came_late}
        for file in xray_dcs.NAMES:
            if file not in self._files.entries:
                continue
            if document.digests and file not in document.digests and file not in came_late:
                self._notes.append(f"{file}: neither {PASSAGE} nor {LATE} names it, ignored")
                continue
            kept = told.get(file)
            found = self._file(file, lambda content, f=file, k=kept: self._radiograph(f, content, k))  # type: ignore[misc]
            if found is not None:
                self._modality_of.setdefault(found.device, "xray")
                yield file, Kept(self._files.entries[file].size, found)

    def _radiograph(self, file: str, content: bytes, kept: object) -> Radiograph:
        device = self._sole("xray") or file
        record = kept if isinstance(kept, dict) else None
        found = xray_dcs.read_radiograph(file, content, record, device, self._document.began_utc_ns, self._clock)
        found = xray_dcs.corrected(found, self._settings_of(found.device))
        dose = (self._document.xray or {}).get("dose_usv")
        if record is None and found.dose_usv is None and isinstance(dose, int | float) and 0 < dose < 1e6:
            return replace(found, dose_usv=float(dose))
        return found

    def _outcome(self) -> Mapping[str, Any] | None:
        found = self._json("outcome.json")
        if found is not None and not isinstance(found, dict):
            self._notes.append("outcome.json: not an object, ignored")
            return None
        return found

    def _late(self) -> tuple[Mapping[str, Any], ...]:
        if LATE not in self._files.entries:
            return ()
        found: list[Mapping[str, Any]] = []
        try:
            for number, line in enumerate(self._files.read(LATE).split(b"\n"), 1):
                if line.strip():
                    document = read_json(line, f"{LATE}: line {number}")
                    found += [document] if isinstance(document, dict) else []
        except BundleFault as fault:
            self._notes.append(f"{fault}: ignored from there")
        return tuple(found)

    def _late_looks(self, late: Sequence[Mapping[str, Any]]) -> Iterator[LookRecord]:
        for number, line in enumerate(late, 1):
            if "look" in line:
                try:
                    yield read_look(line["look"], f"{LATE}: line {number}")
                except BundleFault as fault:
                    self._notes.append(f"{fault}: ignored")

    def _calibrations(self) -> Mapping[str, Any]:
        found = {}
        for name in sorted(self._files.entries):
            if name.startswith(f"{CALIBRATIONS}/") and name.endswith(".json"):
                document = self._json(name)
                if document is not None:
                    found[name.split("/", 1)[1].removesuffix(".json")] = document
        return found

    def _settings_of(self, device: str) -> dict[str, Any]:
        """What the record in force made of a device, when the passage was."""
        ids = [one.calibration_id for one in self._document.devices if one.name == device and one.calibration_id]
        return xray_dcs.settings_of(self._json(f"{CALIBRATIONS}/{ids[0]}.json")) if ids else {}

    def _json(self, name: str) -> Any:
        if name not in self._files.entries:
            return None
        try:
            return read_json(self._files.read(name), name)
        except BundleFault as fault:
            self._notes.append(f"{fault}: ignored")
            return None

    def _unknown_files(self) -> set[str]:
        return {name for name in self._files.entries if name not in KNOWN and not name.startswith(f"{CALIBRATIONS}/")}

    def _sole(self, modality: str) -> str | None:
        named = [device.name for device in self._document.devices if device.modality == modality]
        return named[0] if len(named) == 1 else None


def timely(readings: Sequence[S], first_utc_ns: int, last_utc_ns: int) -> tuple[tuple[S, ...], dict[str, str]]:
    """Readings of the passage's own time, and the state of each device that stamps another: that is not joined."""
    kept = tuple(r for r in readings if first_utc_ns <= r.stamp.time_utc_ns <= last_utc_ns)
    if len(kept) == len(readings):
        return kept, {}
    strays = Counter(r.device for r in readings if not first_utc_ns <= r.stamp.time_utc_ns <= last_utc_ns)
    return kept, {d: f"faulty: clock: {count} readings are outside the passage" for d, count in sorted(strays.items())}


def _unknown_words(document: PassageDocument) -> list[str]:
    notes = []
    if document.vehicle.body_type not in tuple(BodyType):
        notes.append(f"{PASSAGE}: vehicle.body_type {document.vehicle.body_type[:40]!r} is not known: unknown")
    for name, words in WORDS.items():
        word = getattr(document.context, name)
        if word not in words:
            notes.append(f"{PASSAGE}: context.{name} {word[:40]!r} is not known: unknown")
    return notes


def _kelvin(mmwave: Mapping[str, Any] | None, name: str) -> float | None:
    """A temperature of the imager's site, None where it is unknown or none of this world."""
    value = (mmwave or {}).get(name)
    known = isinstance(value, int | float) and not isinstance(value, bool) and 2.0 < value < 400.0
    return float(value) if known and value is not None else None


def _body_type(document: PassageDocument) -> BodyType:
    word = document.vehicle.body_type
    return BodyType(word) if word in tuple(BodyType) else BodyType.UNKNOWN


def _context(document: PassageDocument) -> Context:
    given = {name: getattr(document.context, name) for name in WORDS}
    known = {name: word if word in WORDS[name] else "unknown" for name, word in given.items()}
    return Context(**known, sealed_for_s=document.context.sealed_for_s)
