"""Bytes that are nearly right: a seed with some of what goes wrong on wires, disks and in editors."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = (b"0", b"-1", b"NaN", b"Infinity", b"1e999", b"9007199254740993", b"18446744073709551616", b"0x10", b"null")
BYTES = (
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\r\n",
    b"\x1b[2J",
    b"\xe2\x80\xae",
    b'"',
    b"\\u0000",
    b"{",
    b"]",
)


def mutated(chance: random.Random, seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> bytes:
    """One of the seeds, changed in one to six ways."""
    content = chance.choice(seeds)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        content = chance.choice(_WAYS)(chance, content, seeds, words)
    return content[: 4 << 20]


def _flip(chance: random.Random, content: bytes, *_: object) -> bytes:
    if not content:
        return b"\x01"
    at = chance.randrange(len(content))
    return content[:at] + bytes([content[at] ^ (1 << chance.randrange(8))]) + content[at + 1 :]


def _byte(chance: random.Random, content: bytes, *_: object) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :]


def _cut(chance: random.Random, content: bytes, *_: object) -> bytes:
    return content[: chance.randrange(len(content) + 1)]


def _drop(chance: random.Random, content: bytes, *_: object) -> bytes:
    begin = chance.randrange(len(content) + 1)
    return content[:begin] + content[begin + chance.choice((1, 2, 4, 16, 512)) :]


def _twice(chance: random.Random, content: bytes, *_: object) -> bytes:
    begin = chance.randrange(len(content) + 1)
    part = content[begin : begin + chance.choice((1, 4, 64, 512))]
    return content[:begin] + part * chance.choice((2, 2, 3, 100)) + content[begin + len(part) :]


def _insert(chance: random.Random, content: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    at = chance.randrange(len(content) + 1)
    return content[:at] + chance.choice((*NUMBERS, *BYTES, *words)) + content[at:]


def _number(chance: random.Random, content: bytes, *_: object) -> bytes:
    """A number in the text is another number."""
    digits = [at for at, byte in enumerate(content) if 48 <= byte <= 57]
    if not digits:
        return content
    begin = end = chance.choice(digits)
    while end < len(content) and 48 <= content[end] <= 57:
        end += 1
    return content[:begin] + chance.choice(NUMBERS) + content[end:]


def _join(chance: random.Random, content: bytes, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    other = chance.choice(seeds)
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def _zero(chance: random.Random, content: bytes, *_: object) -> bytes:
    """A sector of nothing, as a disk leaves it."""
    at = chance.randrange(len(content) + 1) // 512 * 512
    return content[:at] + bytes(min(512, len(content) - at)) + content[at + 512 :]


Way = Callable[[random.Random, bytes, Sequence[bytes], Sequence[bytes]], bytes]
_WAYS: tuple[Way, ...] = (_flip, _flip, _byte, _cut, _drop, _twice, _insert, _insert, _number, _number, _join, _zero)
