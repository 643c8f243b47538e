"""A DICOS DX object, encoded by hand: what a cargo scanner writes, and what a broken one writes.

Layout: Explicit VR Little Endian of DICOM PS3.5 7.1.2; attributes as a DICOS toolkit writes them for cargo.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil.world.test_piece import Exposure

DX_FOR_PROCESSING = "1.2.840.10008.5.1.4.1.1.501.2.2"
EXPLICIT_LE = "1.2.840.10008.1.2.1"
LONG = {"OB", "OW", "SQ", "UN", "UT"}
Value = str | int | bytes


@dataclass
class Scan:
    """One scan; the defaults are a good one of a loaded lorry between two strips of open air."""

    rows: int = 64
    columns: int = 128
    bits_stored: int = 16
    air: float = 0.85  # share of full scale with nothing in the beam
    cargo: float = 0.3
    photometric: str = "MONOCHROME2"
    relationship: str = "LIN"
    sign: int = 1
    spacing_mm: str = "4.0\\4.0"
    date: str = "20260120"
    time: str = "080130.250000"
    zone: str | None = "+0000"
    vehicle: str = "unknown"
    scan_type: str = "OPERATIONAL"
    status: str = "SUCCESSFUL"
    sop_uid: str = "1.2.826.0.1.3680043.8.498.1"
    sop_class: str = DX_FOR_PROCESSING
    seed: int = 1
    missing_lines: int = 0  # PixelData ends early, as its length says
    line_shift: int | None = None  # a second frame, of another energy, that many lines later
    rows_lie: int = 0  # added to Rows
    high_bit: int | None = None  # 15 with 12 bits stored is left-justified
    dirty_bits: bool = False
    saturated_column: int | None = None
    dead_column: int | None = None
    dark: float = 0.0  # drifted dark current, share of full scale, added everywhere
    mirrored: bool = False
    image: str | None = None  # a picture in place of the made one: .npy, share of full scale; rows and columns are its
    piece: str = ""  # "dark", "air", "wedge", "plate" in place of a lorry, before the detector of `test_piece`
    detector: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, str] = field(default_factory=dict)  # "00408302:DS" -> text

    def __post_init__(self) -> None:
        """A picture brings its own size."""
        if self.image is not None:
            self.rows, self.columns = np.load(self.image, mmap_mode="r", allow_pickle=False).shape


def picture(scan: Scan) -> NDArray[np.float64]:
    """Share of full scale, (rows, columns): air at both ends and above, a lorry with cargo, photon noise."""
    if scan.image is not None:
        share = np.asarray(np.load(scan.image, allow_pickle=False), np.float64)
        return share[:, ::-1] if scan.mirrored else share
    noise = np.random.default_rng(scan.seed)
    if scan.piece:
        return Exposure(scan.piece, scan.detector).share((scan.rows, scan.columns), noise)
    share = np.full((scan.rows, scan.columns), scan.air)
    top, left, right = scan.rows // 4, scan.columns // 8, scan.columns - scan.columns // 8
    share[top:, left:right] = scan.cargo * scan.air
    share[top : top + 2, left:right] = 0.7 * scan.air  # roof
    share[-scan.rows // 4 :, left : left + max(4, scan.columns // 16)] = 0.02 * scan.air  # wheels and axle
    share *= 1 + noise.normal(0, 0.005, share.shape)
    return share[:, ::-1] if scan.mirrored else share


def words(scan: Scan) -> NDArray[np.uint16]:
    """Stored 16-bit words of the picture, with the faults of the detector."""
    full = (1 << scan.bits_stored) - 1
    share = picture(scan) + scan.dark
    if scan.relationship == "LOG":  # thousandths of optical density
        value = np.round(-1000 * np.log10(np.clip(share, 1e-4, 1)))
    else:
        value = np.round(np.clip(share, 0, 1) * full)
    if scan.sign == -1 and scan.relationship == "LIN":
        value = full - value
    stored = value.astype(np.uint16)
    if scan.saturated_column is not None:
        stored[:, scan.saturated_column] = full
    if scan.dead_column is not None:
        stored[:, scan.dead_column] = 0
    if scan.high_bit == 15 and scan.bits_stored < 16:
        stored <<= 16 - scan.bits_stored
    if scan.dirty_bits:
        stored |= np.uint16(0xFFFF & ~full)
    return stored


def element(tag: int, vr: str, value: Value) -> bytes:
    """One element; text is padded to even length, numbers are US or SS."""
    if isinstance(value, int):
        value = struct.pack("<h" if vr == "SS" else "<H", value)
    if isinstance(value, str):
        value = value.encode("ascii")
    value += (b"\0" if vr in ("UI", "OB", "OW") else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in LONG:
        return head + struct.pack("<HI", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def data_set(scan: Scan) -> bytes:
    """The object without preamble and file meta, as it goes over the network."""
    stored = words(scan)
    pixels = stored[: scan.rows - scan.missing_lines].tobytes()
    if scan.line_shift is not None:
        pixels += np.roll(stored, scan.line_shift, axis=1).tobytes()
    elements: list[tuple[int, str, Value]] = [
        (0x00080016, "UI", scan.sop_class),
        (0x00080018, "UI", scan.sop_uid),
        (0x00080023, "DA", scan.date),
        (0x00080033, "TM", scan.time),
        (0x00080060, "CS", "DX"),
        (0x00080070, "LO", "Scanner Works"),
        (0x00100020, "LO", scan.vehicle),
        (0x00181000, "LO", "SW-0042"),
        (0x0020000D, "UI", "1.2.826.0.1.3680043.8.498.2"),
        (0x0020000E, "UI", "1.2.826.0.1.3680043.8.498.3"),
        (0x00280002, "US", 1),
        (0x00280004, "CS", scan.photometric),
        (0x00280010, "US", scan.rows + scan.rows_lie),
        (0x00280011, "US", scan.columns),
        (0x00280100, "US", 16),
        (0x00280101, "US", scan.bits_stored),
        (0x00280102, "US", scan.bits_stored - 1 if scan.high_bit is None else scan.high_bit),
        (0x00280103, "US", 0),
        (0x00281040, "CS", scan.relationship),
        (0x00281041, "SS", scan.sign),
        (0x00281052, "DS", "0"),
        (0x00281053, "DS", "1"),
        (0x00281054, "LO", "OD" if scan.relationship == "LOG" else "US"),
        (0x40101044, "CS", scan.status),
        (0x40101048, "CS", scan.scan_type),
        (0x7FE00010, "OW", pixels),
    ]
    if scan.line_shift is not None:
        elements.append((0x00280008, "IS", "2"))
    if scan.zone:
        elements.append((0x00080201, "SH", scan.zone))
    if scan.spacing_mm:
        elements.append((0x00280030, "DS", scan.spacing_mm))
    by_tag = {tag: (tag, vr, value) for tag, vr, value in elements}
    for name, text in scan.extra.items():  # in place of what would be there
        number, _, vr = name.partition(":")
        by_tag[int(number, 16)] = (int(number, 16), vr, text)
    return b"".join(element(*by_tag[tag]) for tag in sorted(by_tag))


def part10(scan: Scan, syntax: str = EXPLICIT_LE) -> bytes:
    """The same as a file."""
    meta = b"".join(
        (
            element(0x00020001, "OB", b"\0\1"),
            element(0x00020002, "UI", scan.sop_class),
            element(0x00020003, "UI", scan.sop_uid),
            element(0x00020004, "CS", "V03"),  # not in the standard; a DICOS toolkit writes it
            element(0x00020010, "UI", syntax),
            element(0x00020012, "UI", "1.2.826.0.1.3680043.8.498.9"),
        )
    )
    length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(meta))
    return bytes(128) + b"DICM" + length + meta + data_set(scan)
