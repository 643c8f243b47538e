"""Where a GenICam device keeps the few features that we use: its XML, followed to plain 4-byte registers.

GenApi's formulas (SwissKnife, Converter) and computed addresses are not evaluated: a feature that needs them is
refused by name, and its register can be given in the configuration instead.
"""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree
import zipfile
from dataclasses import dataclass

from drivers.driver import DriverFault

LONGEST_XML = 4 << 20  # assumed: cameras with a thousand features need half a megabyte
DEEPEST_CHAIN = 8  # assumed: feature -> pValue -> register is two steps
REGISTERS = ("IntReg", "MaskedIntReg")


@dataclass(frozen=True, slots=True)
class Node:
    """A feature's register; ``start`` is the value that a command wants written, ``entries`` an enumeration's words."""

    name: str
    address: int
    start: int
    entries: dict[str, int]
    little_endian: bool = False


def unpacked(stored: bytes) -> bytes:
    """The XML text of a device's file, which may be zipped.

    Raises:
        DriverFault: it is no zip after all, or unpacks to more than ``LONGEST_XML`` bytes.
    """
    if not stored.startswith(b"PK"):
        return stored.rstrip(b"\0")
    try:
        with zipfile.ZipFile(io.BytesIO(stored)) as archive, archive.open(archive.infolist()[0]) as member:
            text = member.read(LONGEST_XML + 1)
    except (zipfile.BadZipFile, IndexError, OSError, EOFError, ValueError, RuntimeError, NotImplementedError) as error:
        raise DriverFault(f"device XML: not a readable zip: {error}; give its registers in the config") from error
    except Exception as error:  # zlib.error has no better base; a broken stream is the device's doing
        raise DriverFault(f"device XML: damaged zip: {error}; give its registers in the config") from error
    if len(text) > LONGEST_XML:
        raise DriverFault(f"device XML: unpacks to over {LONGEST_XML} bytes; give its registers in the config")
    return text


class Description:
    """A device's XML, asked for features by name."""

    def __init__(self, stored: bytes) -> None:
        """``stored`` as it lies in the device, plain or zipped. Raises DriverFault."""
        text = unpacked(stored)
        if b"<!DOCTYPE" in text or b"<!ENTITY" in text:
            raise DriverFault("device XML: declares entities, which GenICam has no use for", text[:200])
        try:
            root = ElementTree.fromstring(text)
        except (ElementTree.ParseError, ValueError, LookupError) as error:
            raise DriverFault(f"device XML: {error}; give its registers in the config", text[:200]) from error
        self._nodes = {name: node for node in root.iter() if (name := node.get("Name")) and _kind(node) != "EnumEntry"}

    def node(self, name: str) -> Node:
        """The register behind a feature.

        Raises:
            DriverFault: there is none of that name, or its address must be computed.
        """
        feature = self._nodes.get(name)
        if feature is None:
            raise DriverFault(f"device XML: no feature {name}; give registers.{name} in the config")
        start = _number(_text(feature, "CommandValue"), name, default=1)
        entries = {
            word: _number(_text(entry, "Value"), name)
            for entry in feature
            if _kind(entry) == "EnumEntry" and (word := entry.get("Name"))
        }
        register = self._register(feature, name)
        if _text(register, "pAddress") or _text(register, "pIndex") or not _text(register, "Address"):
            raise DriverFault(f"device XML: the address of {name} is computed; give registers.{name} in the config")
        if _number(_text(register, "Length"), name, default=4) != 4 or _kind(register) == "MaskedIntReg":
            raise DriverFault(f"device XML: {name} is no plain 4-byte register; give registers.{name} in the config")
        address = sum(_number(part.text, name) for part in register if _kind(part) == "Address")
        if not 0 <= address < 1 << 32:
            raise DriverFault(f"device XML: {name} lies at {address:#x}, outside the device's 32 bits")
        return Node(name, address, start, entries, _text(register, "Endianess") == "LittleEndian")

    def _register(self, feature: ElementTree.Element, name: str) -> ElementTree.Element:
        """Follow ``pValue`` from a feature to its register."""
        for _ in range(DEEPEST_CHAIN):
            if _kind(feature) in REGISTERS:
                return feature
            following = self._nodes.get(_text(feature, "pValue"))
            if following is None:
                break
            feature = following
        raise DriverFault(f"device XML: {name} ends at no register; give registers.{name} in the config")


def _kind(node: ElementTree.Element) -> str:
    """The tag without its name space, whose version differs from maker to maker."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def _text(node: ElementTree.Element, kind: str) -> str:
    return next(((child.text or "").strip() for child in node if _kind(child) == kind), "")


def _number(text: str | None, name: str, default: int | None = None) -> int:
    """An integer as GenICam writes it, decimal or 0x; ``default`` where there is none."""
    stripped = (text or "").strip()
    if not stripped and default is not None:
        return default
    try:
        return int(stripped, 0) if len(stripped) <= 20 else 1 << 64
    except ValueError:
        raise DriverFault(f"device XML: {name} has {stripped[:20]!r} for a number") from None
