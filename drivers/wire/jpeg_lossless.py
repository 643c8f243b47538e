"""Lossless JPEG, first-order prediction (ITU-T T.81 process 14, selection value 1): what a DICOS toolkit writes.

Written here because the decoders to be had are large, or under licences that an appliance cannot carry. Huffman codes
cannot be taken apart in parallel, but their lengths can be looked up for every bit at once; what is left for the
interpreter is one addition a sample. A stream that ends early gives the samples that are whole, and no others.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.wire.dicom import DicomFault

SOI, SOF3, DHT, SOS, DRI, EOI = 0xD8, 0xC3, 0xC4, 0xDA, 0xDD, 0xD9  # T.81 B.1.1.3
OTHER_FRAMES = frozenset(range(0xC0, 0xD0)) - {SOF3, DHT, 0xC8, 0xCC}
MAX_SEGMENTS = 64  # assumed: markers before the scan
BLOCK = 1 << 18  # bytes of scan whose code lengths are in memory at once, eight bytes each
_END = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")


@dataclass(slots=True)
class _Frame:
    precision: int = 0
    rows: int = 0
    columns: int = 0
    restart: int = 0  # samples between restart markers, 0 for none
    codes: NDArray[np.uint8] | None = None  # (2, 65536): length and category of the code that 16 bits begin with


def decode(stream: bytes, rows: int, columns: int) -> tuple[NDArray[np.uint16], int]:
    """Samples of one frame with one component.

    Args:
        stream: from SOI on, perhaps cut.
        rows, columns: what the frame must be, checked before anything is allocated.

    Returns:
        Whole rows that are there, (rows there, columns) uint16, and the precision in bits.

    Raises:
        DicomFault: another process, another size, or a broken stream.
    """
    frame, at = _headers(stream, rows, columns)
    end = _END.search(stream, at)
    scan = stream[at : end.start() if end else len(stream)]
    parts = _RESTART.split(scan)
    per_part = frame.restart or rows * columns
    if len(parts) > -(-rows * columns // per_part):
        raise _broken("more restart markers than rows")
    whole: list[NDArray[np.uint16]] = []
    left = rows
    for part in parts:
        wanted = min(per_part // columns, left)
        found = _rows(part.replace(b"\xff\x00", b"\xff"), frame, wanted)
        whole.append(found)
        left -= len(found)
        if len(found) < wanted:
            break  # what comes after a hole may be anywhere
    return np.concatenate(whole), frame.precision


def _broken(what: str) -> DicomFault:
    return DicomFault(f"PixelData (7FE0,0010): JPEG: {what}; send it again, or as Explicit VR Little Endian")


def _headers(stream: bytes, rows: int, columns: int) -> tuple[_Frame, int]:
    """Everything before the scan, and where the scan begins."""
    if stream[:2] != bytes((0xFF, SOI)):
        raise _broken("no SOI at the beginning")
    frame, at = _Frame(), 2
    for _ in range(MAX_SEGMENTS):
        if len(stream) - at < 4 or stream[at] != 0xFF:
            raise _broken(f"no marker at byte {at}")
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        body = stream[at + 4 : at + 2 + length]
        if len(body) != length - 2:
            raise _broken(f"marker FF{marker:02X} is cut short")
        at += 2 + length
        if marker == SOF3:
            _start_of_frame(frame, body, rows, columns)
        elif marker == DHT:
            frame.codes = _huffman(body)
        elif marker == DRI and len(body) == 2:
            frame.restart = int.from_bytes(body, "big")
        elif marker == SOS:
            _start_of_scan(frame, body)
            return frame, at
        elif marker in OTHER_FRAMES or marker in (SOI, EOI):
            raise _broken(f"marker FF{marker:02X}: not process 14, lossless")
    raise _broken(f"no scan within {MAX_SEGMENTS} markers")


def _start_of_frame(frame: _Frame, body: bytes, rows: int, columns: int) -> None:
    if len(body) != 9:
        raise _broken("the frame does not have one component")
    frame.precision, frame.rows, frame.columns = struct.unpack_from(">BHH", body)
    if not 2 <= frame.precision <= 16:
        raise _broken(f"precision {frame.precision}")
    if (frame.rows, frame.columns) != (rows, columns):
        raise _broken(f"frame of {frame.rows} x {frame.columns}, but Rows x Columns are {rows} x {columns}")


def _start_of_scan(frame: _Frame, body: bytes) -> None:
    if not frame.precision or frame.codes is None:
        raise _broken("a scan before its frame and table")
    if len(body) != 6 or body[3] != 1 or body[5] & 15:
        raise _broken(f"scan parameters {body.hex(' ')}: selection value 1 without point transform is read")
    if frame.restart % frame.columns:
        raise _broken(f"restart interval {frame.restart} is not whole rows")  # T.81 H.1.1


def _huffman(body: bytes) -> NDArray[np.uint8]:
    """Length and category for every 16 bits that a code may begin (T.81 C.2); length 0 where there is no such code."""
    counts = body[1:17]
    if len(body) != 17 + sum(counts) or body[0] >> 4:
        raise _broken("Huffman table: one table for DC is read")
    table = np.zeros((2, 1 << 16), dtype=np.uint8)
    code, symbols = 0, iter(body[17:])
    for length, count in enumerate(counts, start=1):
        for _ in range(count):
            category, first = next(symbols), code << 16 - length
            if category > 16 or first >= 1 << 16:
                raise _broken("Huffman table: a code that cannot be")
            table[:, first : first + (1 << 16 - length)] = np.array([[length], [category]], dtype=np.uint8)
            code += 1
        code <<= 1
    return table


def _rows(data: bytes, frame: _Frame, wanted: int) -> NDArray[np.uint16]:
    """Whole rows of one restart interval, ``wanted`` at most."""
    assert frame.codes is not None
    found = [np.empty(0, dtype=np.uint32)]
    found += _blocks(data, frame.codes, wanted * frame.columns)
    differences = np.concatenate(found)
    rows = len(differences) // frame.columns
    differences = differences[: rows * frame.columns].reshape(rows, frame.columns)
    if rows:
        differences[:1, :1] += np.uint32(1 << frame.precision - 1)  # T.81 H.1.2.1
    differences[:, 0] = np.cumsum(differences[:, 0], dtype=np.uint32)  # the first of a row adds to the one above,
    return np.cumsum(differences, axis=1, dtype=np.uint32).astype(np.uint16)  # the others to the left; modulo 2^16


def _windows(data: bytes, first: int, count: int) -> NDArray[np.uint64]:
    """The 64 bits that begin at each byte, big endian; ones after the end, as an encoder pads."""
    padded = np.frombuffer(data[first : first + count + 7].ljust(count + 7, b"\xff"), dtype=np.uint8)
    windows = np.zeros(count, dtype=np.uint64)
    for k in range(8):
        windows |= padded[k : k + count].astype(np.uint64) << np.uint64(56 - 8 * k)
    return windows


def _blocks(data: bytes, codes: NDArray[np.uint8], wanted: int) -> Iterator[NDArray[np.uint32]]:
    """What each whole sample adds to its prediction, in order, modulo 2^32; ``wanted`` samples at most.

    Raises:
        DicomFault: bits that are no code, before the end.
    """
    extra = np.where(codes[1] == 16, 0, codes[1])  # T.81 H.1.2.2: category 16 has no further bits
    length = np.where(codes[0] > 0, codes[0] + extra, 0).astype(np.uint8)
    total, at = len(data) * 8, 0
    for first in range(0, len(data), BLOCK):
        count = min(BLOCK, len(data) - first)
        windows = _windows(data, first, count)
        steps = np.stack(
            [length[windows >> np.uint64(48 - b) & np.uint64(0xFFFF)] for b in range(8)], axis=-1
        ).tobytes()
        edge, end, here = count * 8, total - first * 8, at - first * 8
        starts = array("q")
        step = 1
        while here < edge and len(starts) < wanted:
            step = steps[here]
            if not step or here + step > end:
                break
            starts.append(here)
            here += step
        at, wanted = first * 8 + here, wanted - len(starts)
        if not step and end - here > 32:
            raise _broken(f"no Huffman code at bit {at}")
        yield _differences(windows, codes, np.frombuffer(starts, dtype=np.int64))
        if here < edge:  # all samples, or an end in the middle of one
            return


def _differences(windows: NDArray[np.uint64], codes: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Values of the codes and bits that begin at those bits of the block (T.81 F.1.2.1 and H.1.2.2)."""
    bits = windows[at >> 3] << (at & 7).astype(np.uint64)
    head = (bits >> np.uint64(48)).astype(np.int64)
    length, category = codes[0][head].astype(np.uint64), codes[1][head].astype(np.int64)
    size = np.where(category == 16, 0, category)
    value = (bits << length >> np.uint64(48)).astype(np.int64) >> 16 - size
    below = (size > 0) & (value < 1 << np.maximum(size, 1) - 1)
    value = np.where(below, value - (1 << size) + 1, value)
    value = np.where(category == 16, 32_768, np.where(size == 0, 0, value))
    return (value & 0xFFFFFFFF).astype(np.uint32)
