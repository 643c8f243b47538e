"""A recorded passage as a bundle, by FORMATS alone: no code of the product writes it, so that its reader is tested."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from pymseed import DataEncoding, MS3Record

from hil.devices.dicos_object import DX_FOR_PROCESSING, EXPLICIT_LE, element
from hil.world.passage import Geophones, Recorded

NS = 1_000_000_000
LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
RECORD_BYTES = 4096
CHANNEL = "EHZ"
DOSE_USV = 0.05  # assumed: SCIENCE 5, under 0.1 a scan


def passage_id(began_ns: int, seed: int, index: int) -> str:
    """A ULID whose random part is the seed and the index."""
    number = (began_ns // 1_000_000) << 80 | (seed & 0xFFFFFFFF) << 40 | (index & 0xFFFFFFFFFF)
    return "".join(LETTERS[number >> shift & 31] for shift in range(125, -5, -5))


def write(folder: Path, recorded: Recorded, name: str, began_ns: int, lane: str = "1") -> Path:
    """The bundle ``folder/name``, whole or not at all; returns it.

    Raises:
        OSError: the disk is full or gone.
    """
    partial = folder / f".{name}"
    partial.mkdir(parents=True, exist_ok=True)
    for file, content in _files(recorded, name, began_ns, lane):
        (partial / file).write_bytes(content)
    return partial.rename(folder / name)


def _files(recorded: Recorded, name: str, began_ns: int, lane: str) -> Iterable[tuple[str, bytes]]:
    if recorded.counts:
        yield "vibration.mseed", _mseed(recorded, began_ns)
        yield "vibration.xml", station_xml(recorded.truth.geophones, recorded.counts).encode()
    if recorded.gas:
        yield "co2.csv", _co2(recorded, began_ns)
    yield "weather.csv", _weather(recorded, began_ns)
    if len(recorded.frames):
        yield "mmwave.tiff", _tiff(recorded)
    if recorded.radiograph is not None:
        yield "xray.dcs", _dicos(recorded, name)
    yield "outcome.json", _json(_outcome(recorded, began_ns))
    yield "passage.json", _json(_document(recorded, name, began_ns, lane))


def utc(time_ns: int) -> str:
    """RFC 3339 to the nanosecond."""
    second, rest = divmod(time_ns, NS)
    return f"{(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=second)).strftime('%Y-%m-%dT%H:%M:%S')}.{rest:09d}Z"


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def _document(recorded: Recorded, name: str, began_ns: int, lane: str) -> dict[str, Any]:
    told, truth = recorded.truth.declared, recorded.truth
    words = ("engine", "refrigeration", "cargo", "doors", "driver", "shelter", "sealed_for_s")
    devices = (("chassis", "vibration"), ("probe", "co2"), ("outside", "co2"), ("imager", "mmwave"))
    document: dict[str, Any] = {
        "schema": "lanepulse.passage/1",
        "passage_id": name,
        "site": "simulated",
        "lane": lane,
        "began_utc": utc(began_ns),
        "ended_utc": utc(began_ns + round(recorded.seconds * NS)),
        "clock": {"synchronised": True, "max_error_ns": 250_000},
        "vehicle": {"body_type": told.body_type, "gross_mass_kg": told.gross_mass_kg, "plates": []},
        "context": {word: getattr(told, word) for word in words},
        "devices": [{"name": device, "modality": modality} for device, modality in devices],
    }
    if len(recorded.frames):
        times = [utc(began_ns + round(at * NS)) for at in recorded.frames_s.tolist()]
        sky_k, ambient_k = round(truth.side.sky_k, 2), truth.side.air_k
        document["mmwave"] = {
            "frames_utc": times, "side": "left", "sky_k": sky_k, "ambient_k": ambient_k, "scale_k": 0.01,
        }  # fmt: skip
    if recorded.radiograph is not None:
        document["xray"] = {"dose_usv": DOSE_USV}
    return document


def _outcome(recorded: Recorded, began_ns: int) -> dict[str, Any]:
    people = len(recorded.truth.scene.people)
    return {
        "searched": True, "technique": "physical", "found": people > 0, "people": people, "where": None,
        "minutes": 10.0, "by": "other", "secured": {}, "entered_utc": utc(began_ns + 900 * NS),
    }  # fmt: skip


def _mseed(recorded: Recorded, began_ns: int) -> bytes:
    content = bytearray()
    for sensor, counts in recorded.counts.items():
        steep = int(np.abs(np.diff(counts.astype(np.int64), prepend=0)).max()) >= 1 << 29  # Steim 2: 30 bits
        header = MS3Record()
        header.formatversion, header.reclen, header.pubversion = 2, RECORD_BYTES, 2
        header.sourceid = f"FDSN:XX_LANE_{sensor}_{'_'.join(CHANNEL)}"
        header.starttime, header.samprate = began_ns, recorded.truth.geophones.rate_hz
        header.encoding = DataEncoding.INT32 if steep else DataEncoding.STEIM2
        for packed in header.generate(counts, "i"):
            content += bytes(packed)
    return bytes(content)


def station_xml(geophones: Geophones, names: Iterable[str]) -> str:
    """FDSN StationXML 1.2 of coil sensors: sensitivity at 20 Hz, poles and zeros."""
    kind = "<PzTransferFunctionType>LAPLACE (RADIANS/SECOND)</PzTransferFunctionType>"
    poles = "".join(
        f'<Pole number="{n}"><Real>{p.real!r}</Real><Imaginary>{p.imag!r}</Imaginary></Pole>'
        for n, p in enumerate(geophones.poles)
    )
    zeros = "".join(f'<Zero number="{n}"><Real>0</Real><Imaginary>0</Imaginary></Zero>' for n in range(2))
    units = "<InputUnits><Name>M/S</Name></InputUnits><OutputUnits><Name>COUNT</Name></OutputUnits>"
    place = "<Latitude>0</Latitude><Longitude>0</Longitude><Elevation>0</Elevation>"
    gain = f"<Value>{geophones.counts_per_m_s!r}</Value><Frequency>20</Frequency>"
    channels = "".join(
        f'<Channel code="{CHANNEL}" locationCode="{name}" startDate="2020-01-01T00:00:00Z">{place}<Depth>0</Depth>'
        f"<Azimuth>0</Azimuth><Dip>-90</Dip><SampleRate>{geophones.rate_hz:g}</SampleRate><Response>"
        f'<InstrumentSensitivity>{gain}{units}</InstrumentSensitivity><Stage number="1"><PolesZeros>{units}{kind}'
        f"<NormalizationFactor>1</NormalizationFactor><NormalizationFrequency>20</NormalizationFrequency>{zeros}{poles}"
        f"</PolesZeros><StageGain>{gain}</StageGain></Stage></Response></Channel>"
        for name in names
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<FDSNStationXML xmlns="http://www.fdsn.org/xml/station/1" '
        'schemaVersion="1.2"><Source>world</Source><Created>2026-01-01T00:00:00Z</Created><Network code="XX">'
        f'<Station code="LANE" startDate="2020-01-01T00:00:00Z">{place}<Site><Name>world</Name></Site>{channels}'
        "</Station></Network></FDSNStationXML>\n"
    )


def _co2(recorded: Recorded, began_ns: int) -> bytes:
    rows = [
        (began_ns + round(at * NS), gas.device, gas.point, repr(float(ppm)), gas.temperature_c)
        for gas in recorded.gas
        for at, ppm in zip(gas.at_s.tolist(), gas.ppm, strict=True)
    ]
    header = ["time_utc", "probe", "point", "co2_ppm", "temperature_c", "humidity_pct", "pressure_hpa", "status"]
    return _csv(
        header,
        (
            (utc(at), device, point, ppm, warm, "", "", "ok")
            for at, device, point, ppm, warm in sorted(rows, key=lambda row: row[:3])
        ),
    )


def _weather(recorded: Recorded, began_ns: int) -> bytes:
    header = ["time_utc", "wind_m_s", "gust_m_s", "temperature_c", "pressure_hpa"]
    rows = zip(recorded.wind_s.tolist(), recorded.wind_m_s, strict=True)
    return _csv(
        header, ((utc(began_ns + round(at * NS)), repr(float(wind)), "", repr(recorded.air_c), "") for at, wind in rows)
    )


def _csv(header: list[str], rows: Iterable[tuple[Any, ...]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _tiff(recorded: Recorded) -> bytes:
    content = io.BytesIO()
    with tifffile.TiffWriter(content) as tiff:
        for frame in recorded.frames:
            tiff.write(np.rint(frame * 100).astype(np.uint16), photometric="minisblack", metadata=None)
    return content.getvalue()


def _dicos(recorded: Recorded, name: str) -> bytes:
    """A DICOS DX object, Explicit VR Little Endian, 16 bits, linear."""
    assert recorded.radiograph is not None
    words = np.rint(np.clip(recorded.radiograph, 0, 1) * 0xFFFF).astype("<u2")
    rows, columns = words.shape
    spacing = f"{recorded.truth.beam.pixel_m * 1000:.6g}"
    uid = f"2.25.{int.from_bytes(name.encode()[-15:], 'big')}"
    body = b"".join(
        element(tag, vr, value)
        for tag, vr, value in (
            (0x00080016, "UI", DX_FOR_PROCESSING), (0x00080018, "UI", uid), (0x00080060, "CS", "DX"),
            (0x00080070, "LO", "World"), (0x0020000D, "UI", uid + ".1"), (0x0020000E, "UI", uid + ".2"),
            (0x00280002, "US", 1), (0x00280004, "CS", "MONOCHROME2"), (0x00280010, "US", rows),
            (0x00280011, "US", columns), (0x00280030, "DS", f"{spacing}\\{spacing}"), (0x00280100, "US", 16),
            (0x00280101, "US", 16), (0x00280102, "US", 15), (0x00280103, "US", 0), (0x00281040, "CS", "LIN"),
            (0x00281041, "SS", 1), (0x00281052, "DS", "0"), (0x00281053, "DS", "1"), (0x00281054, "LO", "US"),
        )
    ) + element(0x7FE00010, "OW", words.tobytes())  # fmt: skip
    meta = b"".join(
        (
            element(0x00020001, "OB", b"\0\1"), element(0x00020002, "UI", DX_FOR_PROCESSING),
            element(0x00020003, "UI", uid), element(0x00020010, "UI", EXPLICIT_LE), element(0x00020012, "UI", "2.25.1"),
        )
    )  # fmt: skip
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta)) + meta + body
