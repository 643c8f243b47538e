"""From a stored object to a `Radiograph`: what it shows, when and of which vehicle, and what is wrong with it.

``status`` is "ok"; or begins with "faulty:", and the picture carries no evidence; or names what is less sure (no
spacing, no sure time, a field that contradicts another), and the picture counts for less. An object that cannot be
read at all is a reading too, with an empty picture: the passage must say that X-ray was there and is faulty.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Self
from zoneinfo import ZoneInfo

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from drivers.reading import Radiograph, Stamp
from drivers.wire import dicom_image
from drivers.wire.dicom import DataSet, DicomFault, parse, shown
from drivers.xray.plates import join_key

PASSAGE_ID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")  # a ULID: ours, given to the scanner before
DICOS = "1.2.840.10008.5.1.4.1.1.501."
THREAT_REPORT = f"{DICOS}3"
TIMES = (  # (date, time, name), surest first
    (0x00080022, 0x00080032, "Acquisition"),
    (0x00080023, 0x00080033, "Content"),
)
STUDY = (0x00080020, 0x00080030, "Study")  # in DICOS the study is the scan, and this its start
UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")  # PS3.5 9.1
LONGEST_UID = 64  # PS3.5 9.1
SPACINGS = ((0x00280030, "PixelSpacing"), (0x00181164, "ImagerPixelSpacing"))
SPACING_MM = (0.01, 100.0)  # assumed: from a laboratory detector to a coarse portal
FROM_ARRIVAL = re.compile(r"acquisition time is ([+-]\d{1,12}) s from arrival")  # as `claims` words it
MICROSIEVERT_PER_MILLIGRAY = 1000.0  # radiation weighting factor of photons is 1 (ICRP 103)


class Rules(BaseModel):
    """What the tables of all X-ray drivers have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    max_object_bytes: int = Field(256 * 1024 * 1024, ge=64 * 1024, le=2**31, description="Largest object, bytes")
    time_zone: str | None = Field(None, description="IANA zone of the scanner's clock, where it sends no offset")
    max_offset_s: float = Field(600, gt=0, le=7 * 86_400, description="Acquisition to arrival; beyond, time is unsure")
    saturated_max_share: float = Field(0.5, gt=0, le=1, description="Share of pixels at full scale")
    dose_usv_per_scan: float | None = Field(None, gt=0, description="Dose of a scan, where objects do not give it")
    dose_source: str = Field("", max_length=200, description="Who measured that dose, and when")
    silence_s: float = Field(86_400, gt=0, le=30 * 86_400, description="Longest time between two scans of a busy site")
    late_s: float = Field(4 * 3600, gt=0, le=7 * 86_400, description="Longest time between a passage and its scan")
    in_lane: bool = Field(False, description="The scanner stands in this lane: a scan may join by its time alone")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.time_zone is not None:
            try:
                ZoneInfo(self.time_zone)
            except (KeyError, ValueError, OSError):
                raise ValueError(f"time_zone {self.time_zone!r} is not in the IANA database") from None
        if self.dose_usv_per_scan is not None and not self.dose_source:
            raise ValueError("dose_usv_per_scan needs dose_source: who measured it, and when")
        return self


@dataclass(frozen=True, slots=True)
class Claims:
    """What an object says of itself beside the picture."""

    sop_uid: str
    acquired_utc_ns: int | None
    plate_text: str | None
    passage_hint: str | None
    dose_usv: float | None
    notes: tuple[str, ...]


class Judge:
    """Reads the objects of one device in their order; it remembers the last picture, to see one sent twice."""

    def __init__(self, device: str, rules: Rules) -> None:
        self._device, self._rules = device, rules
        self._last: tuple[str, bytes] | None = None  # SOP instance, digest of its pixels

    def read(self, path: Path, arrived: Stamp, flags: Iterable[str] = ()) -> Radiograph | None:
        """The reading of one stored object; ``flags`` are what the store knows against it.

        A threat detection report is None: it is a scanner's opinion of a picture, kept and not read.

        Raises:
            OSError: the object cannot be read from disk.
        """
        if (size := path.stat().st_size) > self._rules.max_object_bytes:
            fault = f"object of {size} bytes; {self._rules.max_object_bytes} are allowed"
            return replace(_blank(self._device, arrived, path), status=f"faulty: {fault}")
        return self.read_bytes(path.read_bytes(), path, arrived, flags)

    def read_bytes(self, content: bytes, path: Path, arrived: Stamp, flags: Iterable[str] = ()) -> Radiograph | None:
        """The reading of an object's bytes; as `read`, and ``path`` is only named."""
        blank = _blank(self._device, arrived, path)
        try:
            header = parse(content, max_bytes=self._rules.max_object_bytes)
        except DicomFault as fault:
            return replace(blank, status=f"faulty: {fault}")
        if header.text(0x00080016) == THREAT_REPORT:
            return None
        said = claims(header, self._rules, arrived.arrival_utc_ns)
        blank = replace(
            blank,
            stamp=replace(arrived, time_utc_ns=said.acquired_utc_ns or arrived.arrival_utc_ns),
            acquired_utc_ns=said.acquired_utc_ns,
            plate_text=said.plate_text,
            passage_hint=said.passage_hint,
            dose_usv=said.dose_usv,
            sop_uid=said.sop_uid,
        )
        try:
            place = spacing_m(header)
            image = dicom_image.decode(header)
        except DicomFault as fault:
            return replace(blank, status=f"faulty: {fault}")
        faults = [*_faults(header, image, self._rules), *self._repeated(header, said.sop_uid)]
        notes = [*flags, *said.notes, *image.notes]
        if place is None:
            notes.append("PixelSpacing (0028,0030) is absent: the place in the vehicle is unknown")
        return replace(
            blank,
            transmission=image.transmission,
            row_spacing_m=place and place[0],
            column_spacing_m=place and place[1],
            status="faulty: " + "; ".join([*faults, *notes]) if faults else "; ".join(notes) or "ok",
        )

    def _repeated(self, header: DataSet, sop_uid: str) -> list[str]:
        digest = hashlib.sha256()
        for part in (header.pixels, *header.fragments) if header.pixels is not None else header.fragments:
            digest.update(part)
        before, self._last = self._last, (sop_uid, digest.digest())
        if before and before[1] == digest.digest() and before[0] != sop_uid:
            return [
                "PixelData (7FE0,0010) is that of the radiograph before: a frozen detector, or an object sent twice"
            ]
        return []


def _blank(device: str, arrived: Stamp, path: Path) -> Radiograph:
    nothing = np.empty((0, 0), dtype=np.float32)
    return Radiograph(device, arrived, nothing, None, None, None, None, None, None, path, "")


def _faults(header: DataSet, image: dicom_image.Image, rules: Rules) -> list[str]:
    """What makes the picture unfit as evidence."""
    found = []
    for tag, name, good in ((0x40101048, "ScanType", "OPERATIONAL"), (0x40101044, "AcquisitionStatus", "SUCCESSFUL")):
        word = header.text(tag)
        if word is not None and word.strip() != good:
            found.append(f"{name} {shown(tag)} is {word[:40]!a}, not {good}")
    if image.missing_rows:
        found.append(f"{image.missing_rows} of {len(image.transmission)} rows are missing")
    if image.uniform:
        found.append("all pixels are equal: the beam or the detector was off")
    if image.saturated_share > rules.saturated_max_share:
        found.append(f"{image.saturated_share:.0%} of the pixels are saturated")
    return found


def claims(header: DataSet, rules: Rules, arrival_utc_ns: int) -> Claims:
    """Identity, time and vehicle of an object; what is not sure is None, and said."""
    acquired, notes = acquired_utc_ns(header, rules.time_zone)
    if acquired is not None and abs(acquired - arrival_utc_ns) > rules.max_offset_s * 1e9:
        off_s = (acquired - arrival_utc_ns) / 1e9
        notes = [f"acquisition time is {off_s:+.0f} s from arrival: check the scanner's clock; not joined by time"]
        acquired = None
    who = header.text(0x00100020)
    hint = who.strip() if who and PASSAGE_ID.fullmatch(who.strip()) else None
    plate = who if hint is None and join_key(who) else None
    dose, dose_notes = _dose(header, rules)
    sop_uid = header.text(0x00080018) or ""
    if not UID.fullmatch(sop_uid.rstrip("\0 ")) or len(sop_uid) > LONGEST_UID:
        notes = [*notes, f"SOPInstanceUID (0008,0018) {shown_uid(sop_uid)} is no valid UID: kept as text"]
    return Claims(sop_uid, acquired, plate, hint, dose, (*notes, *dose_notes))


def shown_uid(uid: str) -> str:
    """Short enough for a line."""
    return repr(uid if len(uid) <= 24 else f"{uid[:20]}...")


def stated_offset_s(status: str) -> int | None:
    """How far from its arrival a radiograph says it was taken, where that was too far to be believed; else None."""
    found = FROM_ARRIVAL.search(status)
    return None if found is None else int(found[1])


def _dose(header: DataSet, rules: Rules) -> tuple[float | None, list[str]]:
    """uSv: EntranceDoseInmGy of the object where it is given, else the site's figure; 0 is unknown."""
    try:
        given = header.decimals(0x00408302, "EntranceDoseInmGy")
    except DicomFault as fault:
        return rules.dose_usv_per_scan, [str(fault)]
    if len(given) == 1 and given[0] > 0:
        return given[0] * MICROSIEVERT_PER_MILLIGRAY, []
    return rules.dose_usv_per_scan, []


def spacing_m(header: DataSet) -> tuple[float, float] | None:
    """Between rows and between columns, m; None where the object does not say.

    Raises:
        DicomFault: it says something that is no spacing; zero is an error, not an unknown.
    """
    for tag, name in SPACINGS:
        given = header.decimals(tag, name)
        if not given:
            continue
        low, high = SPACING_MM
        if len(given) != 2 or not all(low <= number <= high for number in given):
            said = "\\".join(f"{number:g}" for number in given)
            raise DicomFault(f"{name} {shown(tag)} is {said} mm; two numbers of {low:g} to {high:g} belong there")
        return given[0] / 1000, given[1] / 1000
    return None


def acquired_utc_ns(header: DataSet, time_zone: str | None) -> tuple[int | None, list[str]]:
    """When the scan was made, UTC ns; None and why where that is not sure.

    A time without an offset is a guess of an hour, which is another lorry: it counts only where the site says the
    scanner's zone, and not within the hour that happens twice or never.
    """
    whole = header.text(0x0008002A)  # AcquisitionDateTime, with its own offset or not
    if whole is not None:
        match = re.fullmatch(r"(\d{8})(\d{2,6}(?:\.\d{1,6})?)([+-]\d{4})?", whole.strip())
        if match is None:
            return None, [f"AcquisitionDateTime (0008,002A) is {whole[:40]!a}, no time"]
        return _utc_ns(match[1], match[2], match[3] or header.text(0x00080201), time_zone, "AcquisitionDateTime")
    candidates = (*TIMES, STUDY) if (header.text(0x00080016) or "").startswith(DICOS) else TIMES
    for date_tag, time_tag, name in candidates:
        date, time = header.text(date_tag), header.text(time_tag)
        if date and time:
            return _utc_ns(date.strip(), time.strip(), header.text(0x00080201), time_zone, f"{name}Time")
    return None, ["AcquisitionTime (0008,0032) and ContentTime (0008,0033) are absent: joined by passage or plate only"]


def _utc_ns(date: str, time: str, offset: str | None, zone: str | None, name: str) -> tuple[int | None, list[str]]:
    match = re.fullmatch(r"(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?", time)
    try:
        hour, minute, second = (int(match[i] or 0) for i in (1, 2, 3)) if match else (99, 0, 0)
        day = datetime.strptime(date, "%Y%m%d")
        local = day + timedelta(hours=hour, minutes=minute, seconds=second)
        if match is None or hour > 23 or minute > 59 or second > 60:
            raise ValueError
    except (ValueError, OverflowError):
        return None, [f"{name} is {date[:20]!a} {time[:20]!a}, no time"]
    tz, why = _zone(offset, zone, local)
    if tz is None:
        return None, [f"{name}: {why}"]
    fraction_ns = int((match[4] or "").ljust(9, "0"))
    since = local.replace(tzinfo=tz).astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + fraction_ns, []


def _zone(offset: str | None, zone: str | None, local: datetime) -> tuple[timezone | None, str]:
    """The offset that holds at ``local``, or None and why."""
    if offset is not None:
        match = re.fullmatch(r"([+-])(\d{2})([0-5]\d)", offset.strip())
        minutes = (int(match[2]) * 60 + int(match[3])) * (1 if match[1] == "+" else -1) if match else 9999
        if not -720 <= minutes <= 840:  # PS3.3 C.12.1.1.8: -1200 to +1400
            return None, f"TimezoneOffsetFromUTC (0008,0201) is {offset[:20]!a}, no offset"
        return timezone(timedelta(minutes=minutes)), ""
    if zone is None:
        return None, "TimezoneOffsetFromUTC (0008,0201) is absent: local time of an unknown zone; set time_zone"
    first, second = (local.replace(tzinfo=ZoneInfo(zone), fold=fold).utcoffset() for fold in (0, 1))
    if first is None or first != second:
        return None, f"the hour that {zone} has twice or never; TimezoneOffsetFromUTC (0008,0201) is absent"
    return timezone(first), ""
