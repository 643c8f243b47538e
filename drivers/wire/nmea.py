"""NMEA 0183 sentences out of a byte stream: pieces joined, checksums checked, what is no sentence handed back whole.

Sans-IO: feed bytes, get sentences and rejects. A new ``$`` or ``!`` starts a new sentence wherever it stands, so that
two that ran together cost one. IEC 61162-1: ``$`` talker and formatter, fields by comma, ``*`` and XOR-8 in hex.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import xor

LIMIT_BYTES = 256  # IEC 61162-1 allows 82; makers pad, nobody needs more
_STARTS = b"$!"


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence whose checksum is right: ``talker`` "WI", ``formatter`` "MWV", the fields after it."""

    talker: str
    formatter: str
    fields: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """Bytes that are no sentence, and why: one of a few causes, so that they can be counted."""

    cause: str
    raw: bytes


class SentenceReader:
    """Holds at most one unfinished sentence, never more than ``LIMIT_BYTES`` of it."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._overlong = False

    def feed(self, chunk: bytes) -> list[Sentence | Reject]:
        """Whatever the chunk completes, in order. Blank lines are nothing."""
        out: list[Sentence | Reject] = []
        for byte in chunk:
            if byte in _STARTS:
                self._cut(out, "cut off by the next sentence")
                self._pending.append(byte)
            elif byte in b"\r\n":
                self._finish(out)
            elif not self._overlong:
                self._pending.append(byte)
                if len(self._pending) > LIMIT_BYTES:
                    self._cut(out, f"no end within {LIMIT_BYTES} bytes")
                    self._overlong = True  # the rest of that line was already told
        return out

    def _finish(self, out: list[Sentence | Reject]) -> None:
        if self._pending:
            out.append(parse(bytes(self._pending)))
        self._pending.clear()
        self._overlong = False

    def _cut(self, out: list[Sentence | Reject], cause: str) -> None:
        if self._pending:
            out.append(Reject(cause, bytes(self._pending)))
        self._pending.clear()
        self._overlong = False


def parse(line: bytes) -> Sentence | Reject:
    """One line without its end. The checksum is required: without one, a half sentence can look whole."""
    if line[:1] not in (b"$", b"!"):
        return Reject("no start of a sentence", line)
    body, star, check = line[1:].partition(b"*")
    if not star:
        return Reject("no checksum", line)
    if check.strip().upper() != b"%02X" % reduce(xor, body, 0):
        return Reject("wrong checksum", line)
    if not body.isascii():
        return Reject("not ASCII", line)
    address, *fields = body.decode("ascii").split(",")
    if len(address) < 4 or not address.isalnum():
        return Reject("no talker and formatter", line)
    return Sentence(address[:-3], address[-3:], tuple(fields))
