"""What an ONNX file needs, read from its bytes before any runtime sees them (protobuf wire format, onnx.proto3).

Only five questions are asked: which IR version, which operator sets, which operator domains, whether any tensor lies
outside the file, and whether an operator is one that no model of ours may have: what runs a graph inside the graph may
never end, and what draws random numbers never gives the same verdict twice. Everything else is stepped over. The daemon
carries no ``onnx`` package.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Field numbers of onnx.proto3, message by message: which fields hold which messages.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 8: "opset", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node", 9: "opset"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
# By what is wrong with it. Control flow: the operators of the standard set that hold a graph.
_NEVER = {
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), "is control flow, which may never end"),
    **dict.fromkeys(
        ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
        "is random: no verdict could be given again",
    ),
}
_DEEPEST = 32  # assumed: graphs inside graphs inside ... ; ours are one deep


@dataclass(frozen=True, slots=True)
class Needs:
    """``opsets``: domain -> version, "" is the standard domain; ``domains``: those that nodes name."""

    ir_version: int
    opsets: dict[str, int]
    domains: frozenset[str]
    external_data: bool


def needs(model: bytes) -> Needs:
    """Read what a model needs.

    Raises:
        ValueError: the bytes are no ONNX model, or are cut short, or it has an operator that no model of ours may have.
    """
    ir_version, opsets, domains, external = 0, dict[str, int](), set[str](), False
    for message, number, value in _walk("model", memoryview(model), 0):
        if message == "model" and number == 1 and isinstance(value, int):
            ir_version = value
        elif message == "opset" and number == 0 and isinstance(value, memoryview):
            domain, version = _opset(value)
            opsets[domain] = version
        elif message == "model" and number == 25:
            raise ValueError("it defines functions of its own; a model of ours has standard operators only")
        elif message == "node" and number == 4 and isinstance(value, memoryview):
            if (why := _NEVER.get(_text(value))) is not None:
                raise ValueError(f"its operator {_text(value)} {why}; build the model without it")
        elif message == "node" and number == 7 and isinstance(value, memoryview):
            domains.add(_text(value))
        elif message == "tensor" and (number == 13 or (number == 14 and value == 1)):
            external = True
    if ir_version == 0:
        raise ValueError("not an ONNX model: it states no IR version")
    return Needs(ir_version, opsets, frozenset(domains - {""}), external)


def _walk(message: str, body: memoryview, depth: int) -> Iterator[tuple[str, int, int | memoryview]]:
    """Every field of a message and of the messages inside; an opset comes whole, as field 0."""
    if depth > _DEEPEST:
        raise ValueError(f"not an ONNX model of ours: messages nest deeper than {_DEEPEST}")
    if message == "opset":
        yield message, 0, body
        return
    for number, value in _fields(body):
        yield message, number, value
        inner = _INSIDE.get(message, {}).get(number)
        if inner is not None and isinstance(value, memoryview):
            yield from _walk(inner, value, depth + 1)


def _opset(body: memoryview) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in _fields(body):
        if number == 1 and isinstance(value, memoryview):
            domain = _text(value)
        elif number == 2 and isinstance(value, int):
            version = value
    return domain, version


def _text(value: memoryview) -> str:
    return bytes(value[:80]).decode("utf-8", "replace")


def _fields(body: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(body, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise ValueError(f"not an ONNX model: wire type {kind} at byte {at}")
        length, at = _varint(body, at) if kind == 2 else (8 if kind == 1 else 4, at)
        if at + length > len(body):
            raise ValueError(f"not a whole ONNX model: a field of {length} bytes where {len(body) - at} are left")
        yield key >> 3, body[at : at + length]
        at += length


def _varint(body: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while shift < 64:
        if at >= len(body):
            raise ValueError("not a whole ONNX model: it ends inside a number")
        byte = body[at]
        value, at, shift = value | (byte & 0x7F) << shift, at + 1, shift + 7
        if byte < 0x80:
            return value, at
    raise ValueError("not an ONNX model: a number is longer than 64 bits")
