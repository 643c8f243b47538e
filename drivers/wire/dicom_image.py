"""Pixels of a DICOM object to transmission: what pydicom's ``pixel_array`` leaves to its caller, done by hand.

Stored value v -> f(v) = RescaleSlope * v + RescaleIntercept, and with F its largest value over the stored bits:
LIN, more is more intensity:   T = f / F
LIN, more is less intensity:   T = (F - f) / F
LOG, attenuation:              T = exp(-f), or 10^(-f/1000) where RescaleType is OD
LOG, more is more intensity:   T = exp(f - F)
``PixelIntensityRelationshipSign`` says which way (PS3.3 C.8.11.3.1.2); without it MONOCHROME1 is taken as inverted.
What is not there is NaN, never 0: zero transmission is dense cargo.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.wire import jpeg_lossless
from drivers.wire.dicom import JPEG_LOSSLESS, PIXEL_DATA, DataSet, DicomFault, shown

MAX_SIDE = 32_768  # assumed: 16 m of lorry at 0.5 mm
MAX_PIXELS = 2**27  # assumed
MAX_FRAMES = 4  # assumed: two energies, twice
MAX_CODED_BYTES = 32 * 1024 * 1024  # assumed: bounds the time of decoding, a few seconds
MAX_CODED_PIXELS = 2**25  # assumed: of a compressed image; sixteen times 1024 x 2048
MIN_PRESENT = 0.1  # a file may claim at most ten times the rows that it holds
MAX_LOG_SPAN = 40.0  # exp(-40) is below any detector: a larger span is not -ln(transmission)
LUT_BITS = 16
BLOCK_PIXELS = 1 << 16
STUCK_RUN, FEWEST_LINES = 3, 8  # assumed: elements that fail beside one another; a picture too small to tell
STUCK_SPAN = 64  # assumed: neighbours of a stuck element vary by more than that part of the picture's range
APART_LEAST = 0.05  # assumed: edges of two energies that lie on one another are alike to more than that
MOST_NAMED = 6


@dataclass(frozen=True, slots=True)
class Geometry:
    """Shape and bits of the stored image, checked against every limit."""

    rows: int
    columns: int
    frames: int
    allocated: int  # 8, 16, 32
    stored: int
    signed: bool

    @property
    def row_bytes(self) -> int:
        """Bytes of one stored row."""
        return self.columns * self.allocated // 8


@dataclass(frozen=True, slots=True)
class Image:
    """``transmission`` is (rows, columns) float32, 0..1, NaN where nothing was measured; ``notes`` name fields."""

    transmission: NDArray[np.float32]
    missing_rows: int
    saturated_share: float  # of the pixels that are there, at the largest stored value
    uniform: bool  # all pixels equal
    notes: tuple[str, ...]


def decode(header: DataSet) -> Image:
    """Transmission of the first frame.

    Raises:
        DicomFault: a limit, a lie about lengths, or no way from stored values to transmission; the field is named.
    """
    shape = geometry(header)
    notes: list[str] = []
    if shape.frames > 1:
        notes.append(f"NumberOfFrames (0028,0008) is {shape.frames}: the first is used")
    if header.transfer_syntax == JPEG_LOSSLESS:
        stored = _jpeg(header, shape)
    else:
        stored = _rle(header, shape) if header.pixels is None else _native(header, shape)
    missing = shape.rows - len(stored)
    if missing:
        notes.insert(0, f"{missing} of {shape.rows} rows are missing from PixelData {shown(PIXEL_DATA)}")
    scale = _Scale(header, shape)
    transmission = np.full((shape.rows, shape.columns), np.nan, dtype=np.float32)
    scale.into(transmission, stored)
    for axis, lines in still_lines(stored).items():
        transmission[lines if axis == "Row" else (slice(None), lines)] = np.nan
        notes.append(f"PixelData {shown(PIXEL_DATA)}: {axis} {_named(lines)} never changes: a detector element is out")
    if shape.frames > 1 and (apart := _energies_apart(header, shape, stored)):
        notes.append(f"NumberOfFrames (0028,0008): the second energy lies {apart:+d} line from the first")
    top = np.uint32((1 << (shape.stored - shape.signed)) - 1)
    mask = stored.dtype.type((1 << shape.stored) - 1)
    if shape.stored < shape.allocated and int(stored.max()) > int(mask):
        notes.append("bits above BitsStored (0028,0101) are set in PixelData, and were masked")
    saturated = sum(int(np.count_nonzero((stored[part] & mask) == top)) for part in _blocks(stored)) / stored.size
    return Image(transmission, missing, saturated, bool(stored.min() == stored.max()), (*notes, *scale.notes))


def _blocks(stored: NDArray[np.unsignedinteger]) -> Iterator[slice]:
    """Rows of some ten thousand pixels at once: what is computed on the way stays small, and in the cache."""
    step = max(1, BLOCK_PIXELS // stored.shape[1])
    return (slice(at, min(at + step, len(stored))) for at in range(0, len(stored), step))


def still_lines(stored: NDArray[np.unsignedinteger]) -> dict[str, NDArray[np.intp]]:
    """ "Row" and "Column" -> lines in which all pixels are equal, between lines in which they are not.

    Up to `STUCK_RUN` beside each other, between lively ones, are detector elements that are dead or saturated; more are
    open air, or nothing.
    """
    found = {}
    least = int(np.ptp(stored)) // STUCK_SPAN  # a picture that fades out ends in equal pixels too
    for axis, lines in (("Row", stored), ("Column", stored.T)):
        if min(lines.shape) < FEWEST_LINES:
            continue
        probe = lines[:, :: max(1, lines.shape[1] // 16)]
        maybe = np.flatnonzero((probe == probe[:, :1]).all(axis=1))
        still = np.zeros(len(lines) + 2, np.int8)
        still[1 + maybe[(lines[maybe] == lines[maybe, :1]).all(axis=1)]] = 1
        edges = np.flatnonzero(np.diff(still))
        runs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b - a <= STUCK_RUN]
        beside = [(a, b) for a, b in runs if a > 0 and b < len(lines)]
        inside = [np.arange(a, b) for a, b in beside if min(np.ptp(lines[a - 1]), np.ptp(lines[b])) > least]
        if inside:
            found[axis] = np.concatenate(inside)
    return found


def _named(lines: NDArray[np.intp]) -> str:
    more = f" and {len(lines) - MOST_NAMED} more" if len(lines) > MOST_NAMED else ""
    return ", ".join(str(line) for line in lines[:MOST_NAMED]) + more


def _energies_apart(header: DataSet, shape: Geometry, first: NDArray[np.unsignedinteger]) -> int:
    """By how many lines (-1, 0, 1) the second frame of an uncompressed object lies beside the first."""
    frame = shape.rows * shape.row_bytes
    if header.pixels is None or len(header.pixels) < 2 * frame or min(first.shape) < FEWEST_LINES:
        return 0
    words = np.frombuffer(header.pixels, f"<u{shape.allocated // 8}", shape.rows * shape.columns, frame)
    step = max(1, shape.rows // 64), max(1, shape.columns // 64)
    second = words.reshape(first.shape)
    best, apart = 0.0, 0
    for across in (0, 1):  # which way the vehicle moved
        thin = (slice(None, None, step[0]), slice(None)) if across else (slice(None), slice(None, None, step[1]))
        edges, others = (np.diff(one[thin].astype(np.float64), axis=across) for one in (first, second))
        alike = {shift: float((edges * np.roll(others, -shift, axis=across)).sum()) for shift in (0, -1, 1)}
        shift = max(alike, key=lambda one: alike[one])
        gain = alike[shift] - alike[0]
        if gain > max(best, APART_LEAST * abs(alike[0])):
            best, apart = gain, shift
    return apart


def geometry(header: DataSet) -> Geometry:
    """Shape and bits; nothing is allocated before these hold.

    Raises:
        DicomFault: a field is absent, or beyond what we read.
    """

    def needed(tag: int, name: str) -> int:
        value = header.number(tag, name)
        if value is None:
            raise DicomFault(f"{name} {shown(tag)} is absent; this object is no image, or its sender is broken")
        return value

    rows, columns = needed(0x00280010, "Rows"), needed(0x00280011, "Columns")
    if not (0 < rows <= MAX_SIDE and 0 < columns <= MAX_SIDE and rows * columns <= MAX_PIXELS):
        raise DicomFault(f"Rows x Columns (0028,0010) is {rows} x {columns}: beyond {MAX_SIDE} a side or {MAX_PIXELS}")
    if (samples := needed(0x00280002, "SamplesPerPixel")) != 1:
        raise DicomFault(f"SamplesPerPixel (0028,0002) is {samples}: a radiograph has 1; this is a colour image")
    photometric = header.text(0x00280004)
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise DicomFault(f"PhotometricInterpretation (0028,0004) is {_quoted(photometric)}; set MONOCHROME2")
    allocated, stored = needed(0x00280100, "BitsAllocated"), needed(0x00280101, "BitsStored")
    if allocated not in (8, 16, 32) or not 1 < stored <= allocated:
        raise DicomFault(
            f"BitsAllocated (0028,0100) {allocated} with BitsStored {stored}: set 8, 16 or 32, and no more"
        )
    if (high := needed(0x00280102, "HighBit")) != stored - 1:
        raise DicomFault(
            f"HighBit (0028,0102) is {high} with BitsStored {stored}: left-justified; set it to {stored - 1}"
        )
    signed = needed(0x00280103, "PixelRepresentation")
    if signed not in (0, 1):
        raise DicomFault(f"PixelRepresentation (0028,0103) is {signed}: 0 and 1 are known")
    frames = header.decimals(0x00280008, "NumberOfFrames") or (1.0,)
    if len(frames) != 1 or frames[0] not in range(1, MAX_FRAMES + 1):
        raise DicomFault(f"NumberOfFrames (0028,0008) is {frames[0]:g}: 1 to {MAX_FRAMES} are read")
    return Geometry(rows, columns, int(frames[0]), allocated, stored, signed == 1)


def _quoted(text: str | None) -> str:
    return "absent" if text is None else f"{text[:40]!a}"


def _rows_there(shape: Geometry, rows: int) -> None:
    if rows < MIN_PRESENT * shape.rows:
        raise DicomFault(
            f"{shape.rows - rows} of {shape.rows} rows are missing from PixelData {shown(PIXEL_DATA)}; send it again"
        )


def _native(header: DataSet, shape: Geometry) -> NDArray[np.unsignedinteger]:
    """Complete rows of the first frame, (rows there, columns), as unsigned words.

    Raises:
        DicomFault: PixelData is not as long as Rows x Columns say, in a way that is not just rows missing.
    """
    assert header.pixels is not None
    assert header.declared_bytes is not None
    frame = shape.rows * shape.row_bytes
    expected = frame * shape.frames
    if header.declared_bytes not in (expected, expected + expected % 2):  # PS3.5 8.1.1: padded to even length
        short = header.declared_bytes < frame and shape.frames == 1 and header.declared_bytes % shape.row_bytes == 0
        if not short:
            raise DicomFault(
                f"PixelData {shown(PIXEL_DATA)} is {header.declared_bytes} bytes, but Rows {shape.rows} x Columns "
                f"{shape.columns} x {shape.allocated} bit x {shape.frames} are {expected}; one of them lies"
            )
    rows = min(shape.rows, len(header.pixels) // shape.row_bytes)
    _rows_there(shape, rows)
    words = np.frombuffer(header.pixels, dtype=f"<u{shape.allocated // 8}", count=rows * shape.columns)
    return words.reshape(rows, shape.columns)


def _coded(header: DataSet, shape: Geometry) -> bytes:
    """The compressed first frame, as much of it as is there.

    Raises:
        DicomFault: no PixelData, too much of it, or fragments that do not fit the frames.
    """
    if shape.rows * shape.columns > MAX_CODED_PIXELS:
        raise DicomFault(
            f"Rows x Columns (0028,0010) are beyond {MAX_CODED_PIXELS} for a compressed image; send it plain"
        )
    frames = header.fragments[1:]  # the first is the offset table
    if not frames:
        _rows_there(shape, 0)
    if shape.frames > 1 and len(frames) != shape.frames:
        raise DicomFault(f"PixelData {shown(PIXEL_DATA)}: {len(frames)} fragments for {shape.frames} frames")
    coded = bytes(frames[0]) if shape.frames > 1 else b"".join(frames)
    if len(coded) > MAX_CODED_BYTES:
        raise DicomFault(f"PixelData {shown(PIXEL_DATA)}: {len(coded)} bytes compressed; {MAX_CODED_BYTES} are read")
    return coded


def _jpeg(header: DataSet, shape: Geometry) -> NDArray[np.unsignedinteger]:
    """Complete rows of the first frame from lossless JPEG (PS3.5 A.4.1).

    Raises:
        DicomFault: see `jpeg_lossless.decode`.
    """
    words, precision = jpeg_lossless.decode(_coded(header, shape), shape.rows, shape.columns)
    if precision > shape.allocated:
        raise DicomFault(f"BitsAllocated (0028,0100) is {shape.allocated}, but the JPEG stream has {precision} bits")
    _rows_there(shape, len(words))
    return words.astype(np.uint8) if shape.allocated == 8 else words


def _rle(header: DataSet, shape: Geometry) -> NDArray[np.unsignedinteger]:
    """Complete rows of the first frame from RLE: a segment a byte of the word, highest first (PS3.5 G).

    Raises:
        DicomFault: no PixelData, or the segments are not as the header of the frame says.
    """
    coded = _coded(header, shape)
    if len(coded) < 64:
        _rows_there(shape, 0)
    count, *offsets = struct.unpack_from("<16I", coded)
    ends = [*offsets[1:count], len(coded)]
    if count != shape.allocated // 8 or offsets[0] < 64 or any(a > b for a, b in zip(offsets, ends, strict=False)):
        raise DicomFault(f"PixelData {shown(PIXEL_DATA)}: {count} RLE segments at {offsets[:4]}; BitsAllocated lies")
    size = shape.rows * shape.columns
    segments = [_unpacked(coded[at:end], size) for at, end in zip(offsets, ends, strict=False)]
    rows = min(len(segment) for segment in segments) // shape.columns
    _rows_there(shape, rows)
    planes = [np.frombuffer(segment, np.uint8, rows * shape.columns) for segment in reversed(segments)]
    words = np.stack(planes, axis=-1).view(f"<u{shape.allocated // 8}")
    return words.reshape(rows, shape.columns)


def _unpacked(coded: bytes, size: int) -> bytes:
    """PackBits, as much of it as is there, at most ``size`` bytes (PS3.5 G.3.2).

    Raises:
        DicomFault: it holds more than the image.
    """
    out, at = bytearray(), 0
    while at + 1 < len(coded) and len(out) < size:
        control = coded[at]
        if control < 128:
            out += coded[at + 1 : at + 2 + control]
            at += 2 + control
        elif control > 128:
            out += coded[at + 1 : at + 2] * (257 - control)
            at += 2
        else:
            at += 1
    if len(out) > size or len(coded) - at > 2:  # padding to even length, and one stray control byte
        raise DicomFault(f"PixelData {shown(PIXEL_DATA)}: an RLE segment holds more than Rows x Columns")
    return bytes(out)


class _Scale:
    """From stored words to transmission; see the module's formulas."""

    def __init__(self, header: DataSet, shape: Geometry) -> None:
        self._shape = shape
        self.notes: list[str] = []
        if 0x00283000 in header.values:
            raise DicomFault("ModalityLUTSequence (0028,3000): set the scanner to RescaleSlope and RescaleIntercept")
        self._slope = self._one(header, 0x00281053, "RescaleSlope", 1.0)
        self._intercept = self._one(header, 0x00281052, "RescaleIntercept", 0.0)
        if self._slope == 0:
            raise DicomFault("RescaleSlope (0028,1053) is 0: every pixel would be the same")
        self._log = self._relationship(header) == "LOG"
        self._optical_density = (header.text(0x00281054) or "").strip() == "OD"
        rises = self._rises(header)
        self._more_is_more = rises if self._slope > 0 else not rises
        self._padding = self._padding_range(header)
        low, high = (-(1 << shape.stored - 1), (1 << shape.stored - 1)) if shape.signed else (0, 1 << shape.stored)
        ends = (self._slope * low + self._intercept, self._slope * (high - 1) + self._intercept)
        self._full = max(ends)
        self._check_span(max(ends) - min(ends))

    @staticmethod
    def _one(header: DataSet, tag: int, name: str, default: float) -> float:
        numbers = header.decimals(tag, name) or (default,)
        if len(numbers) != 1:
            raise DicomFault(f"{name} {shown(tag)} has {len(numbers)} values where one belongs")
        return numbers[0]

    def _relationship(self, header: DataSet) -> str:
        relationship = header.text(0x00281040)
        if relationship is None:
            self.notes.append("PixelIntensityRelationship (0028,1040) is absent: taken as LIN")
            return "LIN"
        if relationship.strip() not in ("LIN", "LOG"):
            raise DicomFault(f"PixelIntensityRelationship (0028,1040) is {_quoted(relationship)}; set LIN")
        return relationship.strip()

    def _rises(self, header: DataSet) -> bool:
        """Whether a larger stored value is more intensity."""
        inverted = header.text(0x00280004) == "MONOCHROME1"
        sign = header.number(0x00281041, "PixelIntensityRelationshipSign", signed=True)
        if sign is None:
            return not self._log if not inverted else False
        if sign not in (1, -1):
            raise DicomFault(f"PixelIntensityRelationshipSign (0028,1041) is {sign}: 1 and -1 are known")
        if inverted and sign == 1:  # both may be true of a film-like display; or the scanner lies about one of them
            self.notes.append(
                "PhotometricInterpretation (0028,0004) MONOCHROME1 against PixelIntensityRelationshipSign 1: sign used"
            )
        return sign == 1

    def _padding_range(self, header: DataSet) -> tuple[int, int] | None:
        one = header.number(0x00280120, "PixelPaddingValue", signed=self._shape.signed)
        if one is None:
            return None
        other = header.number(0x00280121, "PixelPaddingRangeLimit", signed=self._shape.signed)
        return (one, one) if other is None else (min(one, other), max(one, other))

    def _check_span(self, span: float) -> None:
        if not self._log:
            if self._full <= 0:
                raise DicomFault(f"RescaleIntercept (0028,1052): full scale is {self._full:g}; it must be above 0")
        elif not self._optical_density and span > MAX_LOG_SPAN:
            raise DicomFault(
                f"PixelIntensityRelationship (0028,1040) is LOG over {span:g}: no attenuation; "
                "set RescaleSlope so that a pixel is -ln(transmission), or RescaleType OD, or send LIN"
            )

    def into(self, target: NDArray[np.float32], stored: NDArray[np.unsignedinteger]) -> None:
        """Fill the first ``len(stored)`` rows; by a table where the words are short, row by row where they are not."""
        if self._shape.allocated <= LUT_BITS:
            table = self._transmission(np.arange(1 << self._shape.allocated, dtype=np.uint32))
            for part in _blocks(stored):  # an index of eight bytes a pixel is made of what is taken at once
                np.take(table, stored[part], out=target[part], mode="clip")  # every word is in the table
            return
        for row, words in zip(target, stored, strict=False):
            row[:] = self._transmission(words)

    def _transmission(self, words: NDArray[np.unsignedinteger]) -> NDArray[np.float32]:
        bits = self._shape.stored
        value = (words & np.uint32((1 << bits) - 1)).astype(np.int64)
        if self._shape.signed:
            value -= (value >> bits - 1) << bits
        f = self._slope * value + self._intercept
        if self._log:
            f = f * math.log(10) / 1000 if self._optical_density else f
            full = self._full * math.log(10) / 1000 if self._optical_density else self._full
            share = np.exp(np.clip(f - full if self._more_is_more else -f, -700, 0))
        else:
            share = (f if self._more_is_more else self._full - f) / self._full
        share = np.clip(share, 0.0, 1.0)
        if self._padding:
            share[(value >= self._padding[0]) & (value <= self._padding[1])] = np.nan
        return share.astype(np.float32)
