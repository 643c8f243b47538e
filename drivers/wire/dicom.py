"""DICOM Part 10 objects, read strictly: limits before anything is decoded, lengths as they are, nothing repaired.

Only the elements that a radiograph needs are kept; sequences are stepped over without recursion, private elements are
stepped over unread. An object that breaks a rule is a `DicomFault` that names the field and what to set on the sender.
Clauses are those of DICOM PS3.5 (encoding) and PS3.10 (file format).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from drivers.driver import DriverFault

EXPLICIT_LE = "1.2.840.10008.1.2.1"
IMPLICIT_LE = "1.2.840.10008.1.2"
RLE = "1.2.840.10008.1.2.5"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
ACCEPTED = {
    EXPLICIT_LE: "Explicit VR Little Endian",
    IMPLICIT_LE: "Implicit VR Little Endian",
    RLE: "RLE Lossless",
    JPEG_LOSSLESS: "JPEG Lossless SV1",
}
ENCAPSULATED = (RLE, JPEG_LOSSLESS)
REFUSED = {  # PS3.6 A; named in the refusal, so that the engineer finds the setting
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline",
    "1.2.840.10008.1.2.4.51": "JPEG Extended",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.80": "JPEG-LS Lossless",
    "1.2.840.10008.1.2.4.81": "JPEG-LS Near-lossless",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}
MAX_OBJECT_BYTES = 256 * 1024 * 1024  # assumed: forty times a radiograph of 1024 x 2048 x 16 bit
MAX_ELEMENTS = 10_000  # assumed: a DICOS DX has about sixty
MAX_DEPTH = 16  # assumed: a DICOS DX has three
MAX_VALUE_BYTES = 64 * 1024  # assumed: of one kept element; a longer one is stepped over
MAX_FRAGMENTS = 1024  # assumed: a frame is one fragment, or a few
UNDEFINED = 0xFFFFFFFF  # PS3.5 7.1.1
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))  # 7.1.2
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA, FLOAT_PIXELS, DOUBLE_PIXELS = 0x7FE00010, 0x7FE00008, 0x7FE00009
CODECS = {  # PS3.3 C.12.1.1.2
    "": "ascii",
    "ISO_IR 6": "ascii",
    "ISO_IR 100": "latin-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 126": "iso8859-7",
    "ISO_IR 127": "iso8859-6",
    "ISO_IR 138": "iso8859-8",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 192": "utf-8",
    "GB18030": "gb18030",
}


class DicomFault(DriverFault):
    """The bytes are not a radiograph that we may use; the message names the field."""


@dataclass(frozen=True, slots=True)
class Element:
    """An element of the main data set: its value lies at ``start`` and is ``length`` bytes, or undefined."""

    tag: int
    vr: bytes  # b"" in implicit VR
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class DataSet:
    """What was kept of an object; values are the raw bytes, by tag."""

    transfer_syntax: str
    values: Mapping[int, bytes]
    pixels: memoryview | None  # native PixelData, as much of it as is there
    declared_bytes: int | None  # of native PixelData, by its header
    fragments: tuple[memoryview, ...]  # of encapsulated PixelData; the first is the offset table

    def text(self, tag: int) -> str | None:
        """Value as text without padding, None where absent or empty; bytes outside the character set are escaped."""
        charset = self.values.get(0x00080005, b"").decode("ascii", "replace").split("\\")[0].strip(" \0")
        value = self.values.get(tag, b"").decode(CODECS.get(charset, "ascii"), "backslashreplace").rstrip(" \0")
        return value or None

    def number(self, tag: int, name: str, *, signed: bool = False) -> int | None:
        """A US or SS value, None where absent.

        Raises:
            DicomFault: it is not two bytes.
        """
        value = self.values.get(tag)
        if not value:
            return None
        if len(value) != 2:
            raise DicomFault(f"{name} {shown(tag)}: {len(value)} bytes where two are a number; mend the sender")
        return int.from_bytes(value, "little", signed=signed)

    def decimals(self, tag: int, name: str) -> tuple[float, ...]:
        """DS or IS values, empty where absent.

        Raises:
            DicomFault: one of them is not a finite number.
        """
        text = self.text(tag)
        if text is None:
            return ()
        try:
            numbers = tuple(float(part) for part in text.split("\\"))
        except ValueError:
            raise DicomFault(f"{name} {shown(tag)}: {text[:40]!a} is not a number; mend the sender") from None
        if not all(abs(number) < 1e300 for number in numbers):  # NaN compares false, and is caught too
            raise DicomFault(f"{name} {shown(tag)}: {text[:40]!a} is not finite; mend the sender")
        return numbers


def shown(tag: int) -> str:
    """A tag as it is printed everywhere: ``(0028,0010)``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def parse(raw: bytes | memoryview, *, max_bytes: int = MAX_OBJECT_BYTES) -> DataSet:
    """Structure of one object, pixels not yet looked at.

    Raises:
        DicomFault: not DICOM, too large, a transfer syntax that is not accepted, or broken structure.
    """
    view = memoryview(raw)
    if len(view) > max_bytes:
        raise DicomFault(f"object of {len(view)} bytes; {max_bytes} are allowed (max_object_bytes)")
    syntax, start = _meta(view)
    values: dict[int, bytes] = {}
    pixels: memoryview | None = None
    declared: int | None = None
    fragments: tuple[memoryview, ...] = ()
    for element in _elements(view, start, implicit=syntax == IMPLICIT_LE):
        if element.tag == PIXEL_DATA:
            pixels, declared, fragments = _pixel_data(view, element, syntax)
            break  # what follows it is padding and signatures
        if element.tag in (FLOAT_PIXELS, DOUBLE_PIXELS):
            raise DicomFault(f"Float Pixel Data {shown(element.tag)}: export integers of 8, 16 or 32 bits")
        if element.tag >> 16 & 1 == 0 and element.length <= MAX_VALUE_BYTES:
            if element.tag in values:
                raise DicomFault(f"{shown(element.tag)} is there twice; which one is meant is not known")
            values[element.tag] = bytes(view[element.start : element.start + element.length])
    return DataSet(syntax, values, pixels, declared, fragments)


def _meta(view: memoryview) -> tuple[str, int]:
    """Transfer syntax from the file meta information, and where the data set begins (PS3.10 7.1)."""
    if bytes(view[128:132]) != b"DICM":
        group = int.from_bytes(view[:2], "little")
        if len(view) > 8 and group in (2, 8):  # a data set begins with group 2 or 8
            raise DicomFault(
                "no DICOM header (no DICM at byte 128), a bare data set: its encoding would be a guess; "
                "set the scanner to export DICOM Part 10 files, or to send by C-STORE"
            )
        raise DicomFault(f"not DICOM: no DICM at byte 128, begins with {bytes(view[:8]).hex(' ') or 'nothing'}")
    syntax, end = "", 132
    while bytes(view[end : end + 2]) == b"\2\0" and end < MAX_VALUE_BYTES:  # by group: its declared length may lie
        element = _header(view, end, implicit=False)
        end = element.start + element.length
        if end > len(view):
            raise DicomFault(f"cut short in {shown(element.tag)} of the DICOM header; send it again")
        if element.tag == 0x00020010:
            syntax = bytes(view[element.start : end][:64]).decode("ascii", "replace").rstrip(" \0")
    if not syntax:
        raise DicomFault(
            "no TransferSyntaxUID (0002,0010) in the DICOM header: the encoding would be a guess; "
            "set the scanner to write Explicit VR Little Endian"
        )
    if syntax not in ACCEPTED:
        name = REFUSED.get(syntax, "unknown")
        raise DicomFault(
            f"TransferSyntaxUID (0002,0010): {syntax[:64]!a} ({name}) is not accepted; "
            f"set the scanner to {', '.join(ACCEPTED.values())}"
        )
    return syntax, end


def _elements(view: memoryview, at: int, *, implicit: bool) -> Iterator[Element]:
    """Elements of the main data set in their order; undefined lengths but PixelData's are stepped over."""
    count = 0
    while at < len(view):
        if len(view) - at < 8 and not any(view[at:]):
            return  # padding
        element = _header(view, at, implicit)
        count += 1
        if count > MAX_ELEMENTS:
            raise DicomFault(f"more than {MAX_ELEMENTS} elements, at {shown(element.tag)}; this is no radiograph")
        if element.tag == PIXEL_DATA:
            yield element
            return
        if element.length == UNDEFINED:
            at, more = _past_sequence(view, element, implicit or element.vr == b"UN")
            count += more
            continue
        if element.start + element.length > len(view):
            raise DicomFault(
                f"cut short in {shown(element.tag)} at byte {element.start}: {element.length} bytes declared, "
                f"{len(view) - element.start} there; send it again"
            )
        yield element
        at = element.start + element.length


def _header(view: memoryview, at: int, implicit: bool) -> Element:
    """One element's header (PS3.5 7.1.2, 7.1.3); delimiters have no VR in either form (7.5)."""
    if len(view) - at < 8:
        raise DicomFault(f"cut short at byte {at}: {len(view) - at} bytes where an element begins; send it again")
    group, number, length = struct.unpack_from("<HHI", view, at)
    tag = group << 16 | number
    if implicit or group == 0xFFFE:
        return Element(tag, b"", at + 8, length)
    vr = bytes(view[at + 4 : at + 6])
    if not (vr.isalpha() and vr.isupper()):
        raise DicomFault(f"{shown(tag)} at byte {at}: {vr!r} is no VR; the data set is not Explicit VR as it says")
    if vr not in LONG:
        return Element(tag, vr, at + 8, int.from_bytes(view[at + 6 : at + 8], "little"))
    if len(view) - at < 12:
        raise DicomFault(f"cut short at byte {at}: in the header of {shown(tag)}; send it again")
    return Element(tag, vr, at + 12, int.from_bytes(view[at + 8 : at + 12], "little"))


def _past_sequence(view: memoryview, sequence: Element, implicit: bool) -> tuple[int, int]:
    """Where a sequence of undefined length ends, and how many elements were stepped over; a stack, not recursion."""
    at, count, inside = sequence.start, 0, ["sequence"]
    while inside:
        element = _header(view, at, implicit)
        at, count = element.start, count + 1
        if count > MAX_ELEMENTS:
            raise DicomFault(f"more than {MAX_ELEMENTS} elements in sequence {shown(sequence.tag)}")
        if len(inside) > 2 * MAX_DEPTH:
            raise DicomFault(f"sequence {shown(sequence.tag)} is nested deeper than {MAX_DEPTH}; this is no radiograph")
        if element.tag == (SEQUENCE_END if inside[-1] == "sequence" else ITEM_END):
            inside.pop()
        elif inside[-1] == "sequence" and element.tag != ITEM:
            raise DicomFault(f"{shown(element.tag)} in sequence {shown(sequence.tag)} where an item begins")
        elif element.length == UNDEFINED:
            inside.append("item" if inside[-1] == "sequence" else "sequence")
        elif at + element.length > len(view):
            raise DicomFault(f"cut short in sequence {shown(sequence.tag)} at byte {at}; send it again")
        else:
            at += element.length
    return at, count


def _pixel_data(
    view: memoryview, element: Element, syntax: str
) -> tuple[memoryview | None, int | None, tuple[memoryview, ...]]:
    """PixelData as far as it is there: native bytes and the declared length, or fragments (PS3.5 A.4)."""
    encapsulated = element.length == UNDEFINED
    if encapsulated != (syntax in ENCAPSULATED):
        form = "encapsulated" if encapsulated else "native"
        raise DicomFault(f"PixelData {shown(PIXEL_DATA)} is {form}, but the transfer syntax is {ACCEPTED[syntax]}")
    if not encapsulated:
        return view[element.start : element.start + element.length], element.length, ()
    fragments: list[memoryview] = []
    at = element.start
    while len(view) - at >= 8 and len(fragments) < MAX_FRAGMENTS:
        item = _header(view, at, implicit=True)
        if item.tag == SEQUENCE_END:
            break
        if item.tag != ITEM or item.length == UNDEFINED:
            raise DicomFault(f"PixelData {shown(PIXEL_DATA)}: {shown(item.tag)} where a fragment begins")
        fragments.append(view[item.start : item.start + item.length])
        at = item.start + item.length
    return None, None, tuple(fragments)


def part10_header(transfer_syntax: str, sop_class: str, sop_uid: str, sender: str) -> bytes:
    """Preamble and file meta information for a data set that came over the network (PS3.10 7.1).

    UIDs are written as they came: a wrong one is the sender's, and stays seen.
    """

    def element(number: int, vr: bytes, value: bytes) -> bytes:
        value += (b" " if vr == b"AE" else b"\0") * (len(value) % 2)
        if vr == b"OB":
            return struct.pack("<HH2sHI", 2, number, vr, 0, len(value)) + value
        return struct.pack("<HH2sH", 2, number, vr, len(value)) + value

    def uid(text: str) -> bytes:
        return text.encode("ascii", "replace")[:64]

    meta = (
        element(0x0001, b"OB", b"\0\1")
        + element(0x0002, b"UI", uid(sop_class))
        + element(0x0003, b"UI", uid(sop_uid))
        + element(0x0010, b"UI", uid(transfer_syntax))
        + element(0x0012, b"UI", b"2.25.221830172374846935671450208393462014261")  # PS3.5 B.2: UUID-derived, ours
        + element(0x0016, b"AE", sender.encode("ascii", "replace")[:16])
    )
    return bytes(128) + b"DICM" + element(0x0000, b"UL", struct.pack("<I", len(meta))) + meta
