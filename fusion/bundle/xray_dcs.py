"""``xray.dcs``, and ``xray-2.dcs`` to ``xray-9.dcs`` where a passage was scanned more than once: as received.

What the lane knew of each (device, arrival, how it was joined, what its driver said) stands in ``passage.json`` or, for
one that came late, in its line of ``late.json``; without it the object alone is read, under the usual rules.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from calibration.apply import lines
from drivers.reading import ClockQuality, Radiograph, Stamp
from drivers.xray.judging import Judge, Rules
from fusion.bundle.container import Limits
from fusion.bundle.fault import FileFault
from fusion.bundle.times import format_utc, parse_utc

FILE = "xray.dcs"
MOST = 9  # assumed: nobody scans a lorry more often; what comes beyond is kept where it arrived
NAMES = (FILE, *(f"xray-{number}.dcs" for number in range(2, MOST + 1)))
LONGEST_STATUS = 400


def next_name(taken: Mapping[str, Any]) -> str | None:
    """The name of the next radiograph of a bundle, None where it has `MOST`."""
    return next((name for name in NAMES if name not in taken), None)


def record(radiograph: Radiograph, joined_by: str) -> dict[str, Any]:
    """What is kept beside the object: JSON types; `read_radiograph` takes it back."""
    return {
        "device": radiograph.device,
        "arrived_utc": format_utc(radiograph.stamp.arrival_utc_ns),
        "acquired_utc": None if radiograph.acquired_utc_ns is None else format_utc(radiograph.acquired_utc_ns),
        "dose_usv": radiograph.dose_usv,
        "sop_uid": radiograph.sop_uid[:80],
        "status": " ".join(radiograph.status.split())[:LONGEST_STATUS],
        "joined_by": joined_by,
    }


def content_of(radiograph: Radiograph) -> bytes:
    """The stored object.

    Raises:
        FileFault: it is larger than a bundle holds.
        OSError: it cannot be read.
    """
    size, most = radiograph.path.stat().st_size, Limits().image_bytes
    if size > most:
        raise FileFault(f"{FILE}: {size} bytes; a bundle holds {most}")
    return radiograph.path.read_bytes()


def doses(radiographs: Sequence[Radiograph]) -> dict[str, Any]:
    """Scans, and their doses together, uSv; no dose where one of them is unknown: unknown is never 0."""
    known = [one.dose_usv for one in radiographs if one.dose_usv is not None]
    told = {"dose_usv": sum(known)} if len(known) == len(radiographs) else {}
    return {"scans": len(radiographs), **told}


def read_radiograph(
    file: str, content: bytes, kept: Mapping[str, Any] | None, device: str, began_utc_ns: int, clock: ClockQuality
) -> Radiograph:
    """The radiograph of a file; one that cannot be read says "faulty:" and why, with an empty picture.

    Args:
        file: its name in the bundle.
        content: the object, with or without a Part 10 header.
        kept: what the lane wrote of it, None where nobody did.
        device: its device where nothing else names one.
        began_utc_ns: of the passage; an object whose time is not sure belongs to it from then on.
        clock: of the passage.

    Raises:
        FileFault: what the lane wrote cannot be read, or the object is no radiograph.
    """
    try:
        arrived_utc_ns = began_utc_ns if kept is None else parse_utc(str(kept.get("arrived_utc")))
    except ValueError as error:
        raise FileFault(f"{file}: its record: {error}") from None
    name = device if kept is None else str(kept.get("device", device))[:200]
    arrived = Stamp(arrived_utc_ns, arrived_utc_ns, 0, clock)
    found = Judge(name, Rules()).read_bytes(content, Path(file), arrived)
    if found is None:
        raise FileFault(f"{file}: a threat detection report, no radiograph")
    if kept is None:
        time_utc_ns = found.acquired_utc_ns or began_utc_ns
        return replace(found, stamp=replace(arrived, time_utc_ns=time_utc_ns, arrival_utc_ns=time_utc_ns))
    given = _as_kept(file, kept)
    if found.status.startswith("faulty") and not given["status"].startswith("faulty"):
        given["status"] = found.status  # what was good then cannot be read now
    return replace(found, stamp=arrived, **given)


def corrected(found: Radiograph, settings: Mapping[str, Any]) -> Radiograph:
    """The radiograph by its detector's dark and air in force then; an object is kept as it was received."""
    if not settings or found.transmission.size == 0:
        return found
    try:
        return replace(found, transmission=lines(found.transmission, settings))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        return replace(found, status=f"faulty: calibration does not fit: {str(error)[:120]}")


def settings_of(record: Any) -> dict[str, Any]:
    """Setting -> value of a calibration record as it lies in a bundle; nothing where it is none."""
    settings = record.get("settings") if isinstance(record, Mapping) else None
    if not isinstance(settings, Mapping):
        return {}
    return {name: one["value"] for name, one in settings.items() if isinstance(one, Mapping) and "value" in one}


def _as_kept(file: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What the lane's driver made of the object, by the site's own rules, in place of what the usual rules make."""
    dose, acquired, status = kept.get("dose_usv"), kept.get("acquired_utc"), kept.get("status")
    if not isinstance(status, str) or isinstance(dose, bool) or not (dose is None or isinstance(dose, int | float)):
        raise FileFault(f"{file}: its record has no status, or a dose that is no number")
    try:
        acquired_utc_ns = None if acquired is None else parse_utc(str(acquired))
    except ValueError as error:
        raise FileFault(f"{file}: its record: {error}") from None
    return {"dose_usv": None if dose is None else float(dose), "acquired_utc_ns": acquired_utc_ns, "status": status}
