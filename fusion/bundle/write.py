"""A bundle written while it happens: each reading is on its way to disk before anybody judges it.

The folder is called ``<passage_id>.partial`` until it is whole. `complete` writes the digests, syncs files and folder,
and renames: a folder without ``.partial`` is never half. After a power cut `recover` takes up what lies there; bytes of
a torn last row or record are moved beside the file, never deleted.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pymseed
from numpy.typing import NDArray
from pymseed import DataEncoding, MS3Record

from drivers.reading import ContactChange, GasSample, RadiometricFrame, VibrationBlock, WeatherSample
from fusion.bundle import co2_csv, contacts_csv, mmwave_tiff, records, weather_csv, xray_dcs
from fusion.bundle.container import CALIBRATIONS, PASSAGE, Limits
from fusion.bundle.document import PassageDocument, read_document
from fusion.bundle.fault import BundleFault, FileFault
from fusion.bundle.read import LATE, RESPONSES, VERDICTS
from fusion.bundle.records import SENSOR, Piece
from fusion.bundle.table import Kept, Table
from fusion.bundle.times import format_utc

PARTIAL = ".partial"
DRAFT = PASSAGE + ".tmp"
RECORD_BYTES = 512  # SeedLink's own record length; half a second of one geophone
HEADERS = {
    "co2.csv": co2_csv.NAMES,
    "weather.csv": weather_csv.NAMES,
    "contacts.csv": contacts_csv.NAMES,
}
UNSEALED = frozenset({PASSAGE, VERDICTS, "outcome.json", LATE})  # these may grow after the passage
GROWING = frozenset({records.FILE, mmwave_tiff.FILE, *HEADERS, *xray_dcs.NAMES})  # what a look uses a length of
T = TypeVar("T", GasSample, WeatherSample, ContactChange)
NO_TIME = records.Window(0, -1)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Completed:
    """The bundle's folder, and file -> "sha256:…" of all that will not change; ``passage_digest`` is that of
    ``passage.json`` itself, which binds the others."""

    path: Path
    digests: Mapping[str, str]
    passage_digest: str


class BundleWriter:
    """One passage's folder, open for readings. Calls come from one task; each is on disk (not synced) at return.

    Raises:
        OSError: from any method, the disk is full or gone; the file is then as it was before the call.
    """

    def __init__(self, folder: Path, sizes: dict[str, int]) -> None:
        self._folder = folder
        self._sizes = sizes
        self._open: dict[str, int] = {}

    @classmethod
    def begin(cls, root: Path, passage_id: str, draft: Mapping[str, Any]) -> BundleWriter:
        """A new passage below ``root``; ``draft`` is what `recover` will know of it.

        Raises:
            BundleFault: the id is no name for a folder.
            FileExistsError: the passage is there already.
        """
        if not _ID.fullmatch(passage_id):
            raise BundleFault(f"bundle: {passage_id[:70]!r} cannot name a folder")
        if (root / passage_id).exists():
            raise FileExistsError(f"{root / passage_id} is there already; a passage is written once")
        folder = root / (passage_id + PARTIAL)
        folder.mkdir(parents=True, mode=0o750)
        _sync_folder(root)
        writer = cls(folder, {})
        writer.keep_draft(draft)
        return writer

    @property
    def folder(self) -> Path:
        """Where it is written now."""
        return self._folder

    def used_bytes(self) -> dict[str, int]:
        """File -> length: what a look that is taken now uses."""
        return {name: self._sizes[name] for name in sorted(self._sizes) if name in GROWING}

    def keep_draft(self, draft: Mapping[str, Any]) -> None:
        """What is known of the passage so far, looks included; replaces the last draft in one step."""
        self._replace(DRAFT, _json(draft))

    def vibration(self, block: VibrationBlock) -> tuple[Piece, ...]:
        """Append samples; what comes back is what a reader will find, so that lane and replay judge the same.

        A miniSEED 2 record is kept as it came but for its location code, which becomes the sensor's; anything else is
        encoded as miniSEED 2, without loss.

        Raises:
            FileFault: the block's sensor, channel or rate has no place in a bundle.
        """
        if not SENSOR.fullmatch(block.sensor):
            raise FileFault(f"{records.FILE}: sensor {block.sensor[:20]!r} is none of B1 to B8 and G1 to G4")
        pieces = []
        for record in _as_version_2(block):
            piece = records.parse_record(record)
            end = self._append(records.FILE, record)
            pieces.append(
                Piece(piece.sensor, piece.channel, piece.start_utc_ns, piece.rate_hz, piece.counts, end_byte=end)
            )
        return tuple(pieces)

    def gas(self, sample: GasSample) -> Kept[GasSample]:
        """Append a row to ``co2.csv``; what comes back is what a reader will find.

        Raises:
            FileFault: a reader would refuse it, and with it the file; nothing is written.
        """
        clock = sample.stamp.clock
        return self._row("co2.csv", sample, co2_csv.cells(sample), partial(co2_csv.read_co2, clock=clock))

    def weather(self, sample: WeatherSample) -> Kept[WeatherSample]:
        """Append a row to ``weather.csv``; see `gas`."""
        device, clock = sample.device, sample.stamp.clock
        read = partial(weather_csv.read_weather, device=device, clock=clock)
        return self._row("weather.csv", sample, weather_csv.cells(sample), read)

    def contact(self, change: ContactChange) -> Kept[ContactChange]:
        """Append a row to ``contacts.csv``; see `gas`."""
        clock = change.stamp.clock
        return self._row(
            "contacts.csv", change, contacts_csv.cells(change), partial(contacts_csv.read_contacts, clock=clock)
        )

    def frame(self, frame: RadiometricFrame) -> Kept[RadiometricFrame]:
        """Append a page to ``mmwave.tiff``, in centikelvin; what comes back is what a reader will find.

        Raises:
            FileFault: it is no image, or more pixels than a reader takes; nothing is written.
        """
        if self._sizes.get(mmwave_tiff.FILE, 0) // 2 + frame.frame_k.size > mmwave_tiff.MOST_PIXELS:
            raise FileFault(f"{mmwave_tiff.FILE}: more than {mmwave_tiff.MOST_PIXELS} pixels; set a smaller geometry")
        content, found = mmwave_tiff.page(frame, self._sizes.get(mmwave_tiff.FILE, 0))
        return Kept(self._append(mmwave_tiff.FILE, content), found)

    def radiograph(self, content: bytes) -> str:
        """An object as received, under the next free name, which comes back.

        Raises:
            FileFault: the passage has as many radiographs, or as many bytes, as a bundle holds.
        """
        name, limits = xray_dcs.next_name(self._sizes), Limits()
        room = min(limits.image_bytes, limits.unpacked_bytes - sum(self._sizes.values()))
        if name is None or len(content) > room:
            raise FileFault(f"{xray_dcs.FILE}: {len(content)} bytes; the bundle holds no more radiographs")
        self._replace(name, content)
        self._sizes[name] = len(content)
        return name

    def verdict(self, line: str) -> None:
        """Append a verdict as published, one line."""
        self._append(VERDICTS, line.encode() + b"\n")

    def responses(self, stationxml: bytes) -> None:
        """``vibration.xml``, whole."""
        self._replace(RESPONSES, stationxml)

    def calibration(self, calibration_id: str, record: bytes) -> None:
        """A record that made counts into SI. Raises BundleFault where the id is no file name."""
        if not _ID.fullmatch(calibration_id):
            raise BundleFault(f"bundle: calibration {calibration_id[:70]!r} cannot name a file")
        (self._folder / CALIBRATIONS).mkdir(exist_ok=True, mode=0o750)
        self._replace(f"{CALIBRATIONS}/{calibration_id}.json", record)

    def complete(self, document: Mapping[str, Any]) -> Completed:
        """Seal the bundle: digests into ``passage.json``, everything synced, the folder renamed.

        Raises:
            BundleFault: the document would not be read back; nothing is sealed then.
        """
        _close_chain(self._folder / mmwave_tiff.FILE)
        digests = self.digests()
        text = _json({**document, "digests": digests})
        name = read_document(text).passage_id
        if self._folder.name != name + PARTIAL:
            raise BundleFault(f"{self._folder.name}: the document is of passage {name[:70]!r}")
        self.close()
        self._replace(PASSAGE, text)
        (self._folder / DRAFT).unlink(missing_ok=True)
        for file in sorted(self._folder.rglob("*")):
            _sync_folder(file) if file.is_dir() else _sync_file(file)
        _sync_folder(self._folder)
        final = self._folder.with_name(name)
        if final.exists():
            raise FileExistsError(f"{final} is there already; {self._folder.name} stays as it is")
        self._folder.rename(final)
        _sync_folder(final.parent)
        self._folder = final
        return Completed(final, digests, "sha256:" + hashlib.sha256(text).hexdigest())

    def digests(self) -> dict[str, str]:
        """Digests of the files that will not change any more."""
        found = {}
        for file in sorted(self._folder.rglob("*")):
            name = file.relative_to(self._folder).as_posix()
            if file.is_file() and name not in UNSEALED and not name.startswith(PASSAGE):
                with file.open("rb") as content:
                    found[name] = "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()
        return found

    def close(self) -> None:
        """Let go of the files; what was written stays, and `recover` may take it up."""
        while self._open:
            os.close(self._open.popitem()[1])

    def _row(self, file: str, reading: T, cells: tuple[object, ...], read: Callable[[bytes], Table[T]]) -> Kept[T]:
        header = _csv_line(HEADERS[file])
        try:
            line = _csv_line((format_utc(reading.stamp.time_utc_ns), *cells))
        except OverflowError:
            raise FileFault(f"{file}: {reading.stamp.time_utc_ns} ns is no moment of the calendar") from None
        (found,) = read(header + line).rows
        if not self._sizes.get(file):
            self._append(file, header)
        return Kept(self._append(file, line), found.reading)

    def _append(self, file: str, content: bytes) -> int:
        """Length of the file afterwards. A write that fails is taken back: half a record would be junk for ever."""
        limit = Limits().of(file)
        before = self._sizes.get(file, 0)
        if before + len(content) > limit:
            raise FileFault(f"{file}: {before} bytes and no room for {len(content)} more within {limit}")
        descriptor = self._descriptor(file)
        try:
            _write(descriptor, content)
        except OSError:
            os.ftruncate(descriptor, before)
            if not before:  # a file of no bytes would read as "absent"
                os.close(self._open.pop(file))
                (self._folder / file).unlink()
            raise
        self._sizes[file] = before + len(content)
        return self._sizes[file]

    def _descriptor(self, file: str) -> int:
        if file not in self._open:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._open[file] = os.open(self._folder / file, flags, 0o640)
        return self._open[file]

    def _replace(self, name: str, content: bytes) -> None:
        """The whole file, synced, in one step."""
        fresh = self._folder / (name + ".new")
        with _created(fresh) as descriptor:
            _write(descriptor, content)
            os.fsync(descriptor)
        fresh.rename(self._folder / name)
        _sync_folder((self._folder / name).parent)


@dataclass(frozen=True, slots=True)
class Recovered:
    """A passage that was cut: a writer that goes on where it stopped, the last draft of its document, and what was
    torn, in words."""

    writer: BundleWriter
    draft: Mapping[str, Any]
    document: PassageDocument | None  # the draft, validated; None where it cannot be
    torn: tuple[str, ...]


def recover(unfinished: Path) -> Recovered:
    """Take up a folder that was not completed.

    Raises:
        BundleFault: it is no ``.partial`` folder, or it has no readable draft: leave it and tell somebody.
    """
    if not unfinished.name.endswith(PARTIAL) or not unfinished.is_dir():
        raise BundleFault(f"{unfinished.name}: not a folder of an unfinished passage")
    draft, document = _last_draft(unfinished)
    growing = (records.FILE, mmwave_tiff.FILE, *HEADERS, VERDICTS)
    torn = [note for name in growing if (note := _set_torn_aside(unfinished / name))]
    _close_chain(unfinished / mmwave_tiff.FILE)
    sizes = {file.name: file.stat().st_size for file in unfinished.iterdir() if file.is_file()}
    return Recovered(BundleWriter(unfinished, sizes), draft, document, tuple(torn))


def _last_draft(unfinished: Path) -> tuple[Mapping[str, Any], PassageDocument | None]:
    """The sealed document where the cut came between sealing and renaming, else the draft."""
    for name in (PASSAGE, DRAFT):
        file = unfinished / name
        if not file.is_file() or file.is_symlink():
            continue
        text = file.read_bytes()
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if not isinstance(found, dict):
            continue
        try:
            return found, read_document(text, name)
        except BundleFault:
            return found, None
    raise BundleFault(f"{unfinished.name}: neither {PASSAGE} nor {DRAFT} can be read")


def _set_torn_aside(file: Path) -> str | None:
    """Move what follows the last whole record or line into ``<file>.torn``: nothing may be joined to it."""
    if not file.is_file() or file.is_symlink():
        return None
    content = file.read_bytes()
    whole = _whole(file.name, content)
    if whole == len(content):
        return None
    aside = file.with_name(file.name + ".torn")
    with aside.open("ab") as torn:
        torn.write(content[whole:])
        torn.flush()
        os.fsync(torn.fileno())
    os.truncate(file, whole)
    _sync_file(file)
    _sync_folder(file.parent)
    return f"{file.name}: the last {len(content) - whole} bytes were torn and lie in {aside.name}"


def _whole(name: str, content: bytes) -> int:
    """Length up to the end of the last whole record, page or line."""
    if name == mmwave_tiff.FILE:
        return max(mmwave_tiff.whole_pages(content), default=0)
    return _whole_records(content) if name == records.FILE else content.rfind(b"\n") + 1


def _close_chain(file: Path) -> None:
    """The last page of ``mmwave.tiff`` points to no next one: until it is closed it points to its own end."""
    if not file.is_file() or file.is_symlink():
        return
    pointer = mmwave_tiff.last_pointer(file.read_bytes())
    if pointer is None:
        return
    with file.open("r+b") as pages:
        pages.seek(pointer)
        pages.write(bytes(4))
        pages.flush()
        os.fsync(pages.fileno())


def _whole_records(content: bytes) -> int:
    """Length up to the end of the last whole record."""
    try:
        found = records.scan(content, NO_TIME)  # headers only: nothing is decoded
    except FileFault:
        return 0
    return max((piece.end_byte for piece in found.pieces), default=0)


def _as_version_2(block: VibrationBlock) -> list[bytes]:
    """The block as miniSEED 2 records whose location code is the sensor."""
    record = block.record
    if record is not None and not record.startswith(b"MS\x03"):
        if len(record) < 48:
            raise FileFault(f"{records.FILE}: a record of {len(record)} bytes from {block.device[:40]!r}")
        channel = block.channel.encode("ascii", "replace").ljust(3)[:3]  # SEED 2.4: bytes 14-15 location, 16-18 channel
        return [record[:13] + block.sensor.encode() + channel + record[18:]]
    try:
        return _encoded(block)
    except (pymseed.PymseedError, ValueError, TypeError) as error:
        raise FileFault(f"{records.FILE}: {block.device[:40]!r} cannot be written: {str(error)[:80]}") from None
    finally:
        pymseed.clear_error_messages()


def _encoded(block: VibrationBlock) -> list[bytes]:
    header = MS3Record()
    header.formatversion = 2
    header.reclen = RECORD_BYTES
    header.sourceid = pymseed.nslc2sourceid("XX", "LANE", block.sensor, block.channel)
    header.starttime = block.stamp.time_utc_ns
    header.samprate = block.rate_hz
    if block.timing_quality_pct is not None:
        header.set_extra_header("/FDSN/Time/Quality", int(block.timing_quality_pct))
    counts = np.ascontiguousarray(block.samples, dtype=np.float64)
    whole = _as_integers(counts)
    if whole is None:
        header.encoding = DataEncoding.FLOAT64
        return [bytes(record) for record in header.generate(counts, "d")]
    steep = len(whole) and np.abs(np.diff(whole.astype(np.int64), prepend=0)).max() >= 1 << 29  # Steim 2: 30 bits
    header.encoding = DataEncoding.INT32 if steep else DataEncoding.STEIM2
    return [bytes(record) for record in header.generate(whole, "i")]


def _as_integers(counts: NDArray[np.float64]) -> NDArray[np.int32] | None:
    """The same numbers as int32, or None where that would lose anything."""
    if not np.all(np.abs(counts) < 1 << 31) or np.any(counts != np.rint(counts)):
        return None
    return counts.astype(np.int32)


def _csv_line(cells: tuple[object, ...]) -> bytes:
    """One row; floats by their shortest exact form, and no cell breaks the line."""
    line = io.StringIO()
    plain = ["" if cell is None else " ".join(str(cell).split()) for cell in cells]
    csv.writer(line, lineterminator="\n").writerow(plain)
    return line.getvalue().encode("utf-8", "replace")


def _json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2).encode() + b"\n"


def _write(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


@contextmanager
def _created(path: Path) -> Iterator[int]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o640)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_sync_folder = _sync_file  # the same calls: a folder's names are synced by its own descriptor
