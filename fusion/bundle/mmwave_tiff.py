"""``mmwave.tiff``: radiometric frames, one page a frame, centikelvin in uint16; float32 kelvin is read too.

We append pages: a directory (TIFF 6.0, little-endian), its description, its pixels, and a pointer to where the next
directory will be. So the file only grows, and a look is a length of it; `sealed` closes the chain. The description of a
page of ours says its time, device, side and status, so that a file that a crash cut still knows them.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.mmwave.radiometry import LARGEST_SIDE, Scale, Watch, plausible
from drivers.reading import ClockQuality, RadiometricFrame, Stamp
from fusion.bundle.fault import FileFault
from fusion.bundle.table import Kept, Table
from fusion.bundle.times import format_utc, parse_utc

if TYPE_CHECKING:  # 37 MB and half a second, which a lane that only writes frames need not spend
    import tifffile

FILE = "mmwave.tiff"
SCALE_K = 0.01  # FORMATS
MOST_FRAMES = 64  # FORMATS
MOST_PIXELS = 1 << 26  # assumed: 256 MiB of float32; an imager's 64 frames are a hundredth of it
LONGEST_STATUS = 200
MINE = "lanepulse.frame/1"
HEADER = struct.pack("<2sHI", b"II", 42, 8)
ENTRIES = 10
DIRECTORY_BYTES = 2 + 12 * ENTRIES + 4
SHORT, LONG, ASCII = 3, 4, 2
SIDES = ("left", "right", "top")
Counts = NDArray[np.uint16]


def counts_of(frame_k: NDArray[np.float32]) -> Counts:
    """Centikelvin, 0 where a pixel is bad or beyond the scale; (rows, columns)."""
    with np.errstate(invalid="ignore"):
        scaled = np.rint(frame_k.astype(np.float64) / SCALE_K)
        return np.where((scaled >= 1) & (scaled <= 0xFFFF), scaled, 0).astype(np.uint16)


def page(frame: RadiometricFrame, at: int) -> tuple[bytes, RadiometricFrame]:
    """The bytes of a frame at offset ``at`` of the file (0: with the header), and the frame as a reader finds it.

    Raises:
        FileFault: it is no image, or its time is no moment of the calendar.
    """
    if frame.frame_k.ndim != 2 or not 0 < min(frame.frame_k.shape) <= max(frame.frame_k.shape) <= LARGEST_SIDE:
        raise FileFault(f"{FILE}: a frame of shape {frame.frame_k.shape} from {frame.device[:40]!r}")
    counts = counts_of(frame.frame_k)
    told = _told(frame)
    text = json.dumps(told, ensure_ascii=True).encode() + b"\0"
    begin = at or len(HEADER)
    text += b"\0" * (len(text) % 2)
    pixels_at = begin + DIRECTORY_BYTES + len(text)
    rows, columns = counts.shape
    entries = (
        (256, LONG, 1, columns), (257, LONG, 1, rows), (258, SHORT, 1, 16), (259, SHORT, 1, 1), (262, SHORT, 1, 1),
        (270, ASCII, len(text), begin + DIRECTORY_BYTES), (273, LONG, 1, pixels_at), (277, SHORT, 1, 1),
        (278, LONG, 1, rows), (279, LONG, 1, counts.nbytes),
    )  # fmt: skip
    directory = struct.pack("<H", ENTRIES) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory += struct.pack("<I", pixels_at + counts.nbytes)
    content = (b"" if at else HEADER) + directory + text + counts.astype("<u2").tobytes()
    return content, _reading(_kelvin(counts, SCALE_K), told, frame.stamp.clock)


def record(frames: Sequence[RadiometricFrame]) -> dict[str, Any]:
    """What ``passage.json`` says of the frames, for readers that do not know what each page says of itself."""
    sides = {frame.side for frame in frames}
    told: dict[str, Any] = {"frames_utc": [format_utc(frame.stamp.time_utc_ns) for frame in frames]}
    return told | {"scale_k": SCALE_K} | ({"side": sides.pop()} if len(sides) == 1 else {})


def _told(frame: RadiometricFrame) -> dict[str, Any]:
    try:
        time = format_utc(frame.stamp.time_utc_ns)
    except OverflowError:
        raise FileFault(f"{FILE}: {frame.stamp.time_utc_ns} ns is no moment of the calendar") from None
    return {
        "schema": MINE,
        "time_utc": time,
        "device": frame.device[:200],
        "side": frame.side if frame.side in SIDES else "left",
        "block_id": frame.block_id,
        "status": " ".join(frame.status.split())[:LONGEST_STATUS] or "ok",
    }


def _reading(frame_k: NDArray[np.float32], told: Mapping[str, Any], clock: ClockQuality) -> RadiometricFrame:
    time_utc_ns = parse_utc(told["time_utc"])
    stamp = Stamp(time_utc_ns, time_utc_ns, 0, clock)
    return RadiometricFrame(told["device"], stamp, frame_k, told["block_id"], told["side"], told["status"])


def _kelvin(counts: Counts, scale_k: float) -> NDArray[np.float32]:
    """float32 kelvin; NaN where the count is 0, or no temperature of this world."""
    return plausible((counts.astype(np.float64) * scale_k).astype(np.float32))


def whole_pages(content: bytes) -> list[int]:
    """Ends of the whole pages of a file that we wrote, in order; the offsets of their pointers are `pointer_of`."""
    ends: list[int] = []
    at = len(HEADER)
    while content[:8] == HEADER and at + DIRECTORY_BYTES <= len(content) and len(ends) < MOST_FRAMES:
        (count,) = struct.unpack_from("<H", content, at)
        if count != ENTRIES:
            break
        (size,) = struct.unpack_from("<I", content, at + 2 + 12 * 9 + 8)
        (begin,) = struct.unpack_from("<I", content, at + 2 + 12 * 6 + 8)
        end = begin + size
        if not at < end <= len(content):
            break
        ends.append(end)
        at = end
    return ends


def own_page(content: bytes, number: int) -> Counts | None:
    """Counts of one page of a file that we wrote, which may still grow; None where it has no such whole page."""
    ends = whole_pages(content)
    if not 0 <= number < len(ends):
        return None
    at = ends[number - 1] if number else len(HEADER)
    columns, rows = (struct.unpack_from("<I", content, at + 2 + 12 * entry + 8)[0] for entry in (0, 1))
    if not 0 < min(rows, columns) <= max(rows, columns) <= LARGEST_SIDE or 2 * rows * columns > ends[number] - at:
        return None
    return np.frombuffer(content, "<u2", rows * columns, ends[number] - 2 * rows * columns).reshape(rows, columns)


def last_pointer(content: bytes) -> int | None:
    """Offset of the four bytes that must be 0 in a file that is complete; None where there is no page."""
    ends = whole_pages(content)
    if not ends:
        return None
    begin = len(HEADER) if len(ends) == 1 else ends[-2]
    return begin + 2 + 12 * ENTRIES


@dataclass(frozen=True, slots=True)
class Known:
    """What ``passage.json`` says of the frames, for pages that do not say it themselves."""

    mmwave: Mapping[str, Any]
    began_utc_ns: int
    device: str
    clock: ClockQuality


def read_frames(content: bytes, known: Known) -> Table[RadiometricFrame]:
    """The frames of a file; everything that decides how much memory they take is judged before one is decoded.

    Raises:
        FileFault: no TIFF, cut short, compressed, too large, or a page that is no image of one sample.
    """
    import tifffile

    try:
        with tifffile.TiffFile(io.BytesIO(content)) as tiff:
            pages = _accepted(tiff, len(content))
            _check_whole(tiff, pages, content)
            return _frames(pages, known)
    except FileFault:
        raise
    except Exception as error:  # tifffile has no one base for what damaged files do to it
        raise FileFault(f"{FILE}: not a whole TIFF: {type(error).__name__}: {str(error)[:120]}") from None


def _accepted(tiff: tifffile.TiffFile, size: int) -> list[tifffile.TiffPage]:
    import tifffile

    pages: list[tifffile.TiffPage] = []
    pixels = 0
    for number, one in enumerate(tiff.pages):
        if number == MOST_FRAMES:
            break
        if not isinstance(one, tifffile.TiffPage):
            raise FileFault(f"{FILE}: page {number} is no whole page")
        pixels += int(np.prod([max(1, side) for side in one.shape], dtype=np.float64))
        if len(one.shape) != 2 or max(one.shape) > LARGEST_SIDE or pixels > MOST_PIXELS:
            raise FileFault(f"{FILE}: page {number} of {'x'.join(map(str, one.shape[:4]))} pixels: none of an imager")
        if one.dtype not in (np.dtype(np.uint16), np.dtype(np.float32)):
            raise FileFault(f"{FILE}: page {number} is {one.dtype}; float32 kelvin or uint16 centikelvin are read")
        if one.compression != 1:
            raise FileFault(
                f"{FILE}: page {number} is compressed (tag 259 is {int(one.compression)}); write it uncompressed"
            )
        parts = list(zip(one.dataoffsets, one.databytecounts, strict=True))
        if any(at <= 0 or count < 0 or at + count > size for at, count in parts):
            raise FileFault(f"{FILE}: pixels of page {number} lie outside the file; it is cut short")
        if sum(count for _, count in parts) < one.nbytes:
            raise FileFault(f"{FILE}: page {number} has {sum(c for _, c in parts)} bytes where {one.nbytes} are due")
        pages.append(one)
    return pages


def _check_whole(tiff: tifffile.TiffFile, pages: list[tifffile.TiffPage], content: bytes) -> None:
    """The chain of directories must have its end: a reader that is lenient takes the first half for the whole."""
    if not pages:
        raise FileFault(f"{FILE}: no page in it")
    if tiff.is_bigtiff or len(pages) == MOST_FRAMES:
        return
    at = pages[-1].offset
    (count,) = struct.unpack_from(f"{tiff.byteorder}H", content, at)
    (pointer,) = struct.unpack_from(f"{tiff.byteorder}I", content, at + 2 + 12 * count)
    if pointer:
        raise FileFault(f"{FILE}: its pages go on at byte {pointer}, and the file ends before; it is cut short")


def _frames(pages: list[tifffile.TiffPage], known: Known) -> Table[RadiometricFrame]:
    rows: list[Kept[RadiometricFrame]] = []
    notes: list[str] = []
    watches: dict[tuple[int, ...], Watch] = {}
    for number, one in enumerate(pages):
        values = np.ascontiguousarray(one.asarray(), one.dtype)
        end = max(at + count for at, count in zip(one.dataoffsets, one.databytecounts, strict=True))
        told = _description(one)
        scale_k = SCALE_K if told else _scale_k(known.mmwave)
        frame_k = plausible(values) if values.dtype == np.float32 else _kelvin(values, scale_k)
        if told is None:
            watch = watches.setdefault(values.shape, _watch(values.shape))
            frame_k, status = watch.judge(values, frame_k)
            told = _of_passage(known, number, status)
        rows.append(Kept(int(end), _reading(frame_k, told, known.clock)))
    times = known.mmwave.get("frames_utc")
    if isinstance(times, list) and len(times) != len(pages):
        notes.append(f"{FILE}: {len(pages)} pages are read, passage.json has {len(times)} times")
    return Table(tuple(rows), tuple(notes))


def _description(one: tifffile.TiffPage) -> dict[str, Any] | None:
    """What a page of ours says of itself, None where it is not ours."""
    text = one.description
    if not isinstance(text, str) or len(text) > 4096 or MINE not in text:
        return None
    try:
        told = json.loads(text)
        parse_utc(told["time_utc"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    fits = (
        told.get("schema") == MINE
        and all(isinstance(told.get(name), str) for name in ("device", "side", "status"))
        and isinstance(told.get("block_id"), int)
    )
    return told if fits else None


def _scale_k(mmwave: Mapping[str, Any]) -> float:
    scale = mmwave.get("scale_k")
    if scale is None:
        return SCALE_K
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale <= 100:
        raise FileFault(f"{FILE}: mmwave.scale_k in passage.json is {str(scale)[:20]!r}, no kelvin a count")
    return float(scale)


def _watch(shape: tuple[int, ...]) -> Watch:
    return Watch(Scale(rows=shape[0], columns=shape[1], side="left", gain_k_per_count=SCALE_K, offset_k=0.0,
                       saturated_counts=None))  # fmt: skip


def _of_passage(known: Known, number: int, status: str) -> dict[str, Any]:
    times, side = known.mmwave.get("frames_utc"), known.mmwave.get("side")
    time = times[number] if isinstance(times, list) and number < len(times) else None
    try:
        parse_utc(str(time))
    except ValueError:
        time = format_utc(known.began_utc_ns)  # it belongs to the passage; when in it, nobody said
    return {
        "time_utc": time,
        "device": known.device,
        "side": side if side in SIDES else "left",
        "block_id": number,
        "status": status,
    }
