"""What two tables of one file may not share: a socket, a wire's address, a name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from edge.toml_lines import Path as Keys

LINE_SETTINGS = ("baud_rate", "parity", "stop_bits")


@dataclass(frozen=True, slots=True)
class Clash:
    """``keys`` may not be what it is because ``other`` is so already."""

    keys: Keys
    other: Keys
    found: str
    mend: str
    relation: str = "the same as"


def clashes(table: Mapping[str, Any], devices: Mapping[str, BaseModel]) -> Iterator[Clash]:
    """Every clash, each told once, at its second place. ``devices`` are those that are right by themselves."""
    yield from _sockets(table)
    yield from _names(table)
    yield from _wires(devices)


def _sockets(table: Mapping[str, Any]) -> Iterator[Clash]:
    publish, booth = (_table(table, name) for name in ("publish", "booth"))
    # The host does not matter: a wildcard takes the port of every address, and two hosts on one port mislead people.
    taken: dict[int, Keys] = {}
    for keys, given, address in (
        (("publish", "bind"), "bind" in publish, publish.get("bind", "tcp://127.0.0.1:7501")),
        (("publish", "replay"), "replay" in publish, publish.get("replay", "tcp://127.0.0.1:7502")),
        (("booth", "bind"), "bind" in booth, booth.get("bind", "127.0.0.1:7503")),
    ):
        port = _port(address)
        if port is None or port == 0:
            continue
        other = taken.setdefault(port, keys)
        if other != keys:
            here, there = (keys, other) if given else (other, keys)
            yield Clash(here, there, f"port {port}", "give each a port of its own")


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = table.get(name)
    return found if isinstance(found, dict) else {}


def _port(address: object) -> int | None:
    port = str(address).rpartition(":")[2]
    return int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def _names(table: Mapping[str, Any]) -> Iterator[Clash]:
    seen: dict[str, str] = {}
    devices = table.get("devices")
    for name in devices if isinstance(devices, dict) else ():
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            yield Clash(("devices", name), ("devices", first), "a name that differs only in case", "rename one of them")


def _wires(devices: Mapping[str, BaseModel]) -> Iterator[Clash]:
    """Two devices that would answer at one place, and one serial line that would be set up in two ways."""
    taken: dict[tuple[object, ...], str] = {}
    lines: dict[str, tuple[str, tuple[object, ...]]] = {}
    for name, config in devices.items():
        unit = getattr(config, "unit", None)
        port, address = getattr(config, "port", None), getattr(config, "address", None)
        streams = getattr(config, "streams", None)
        if isinstance(port, str):
            line = os.path.realpath(port)  # two links may lead to one adapter
            first = taken.setdefault(("port", line, unit), name)
            if first != name:
                yield _same(name, first, "unit" if unit is not None else "port", f"unit {unit} on {port}")
                continue
            settings = tuple(getattr(config, setting, None) for setting in LINE_SETTINGS)
            other, theirs = lines.setdefault(line, (name, settings))
            if theirs != settings:
                yield _line_settings(name, other, settings, theirs, port)
        elif isinstance(address, str):
            for stream in streams if isinstance(streams, list | tuple) else (None,):
                first = taken.setdefault(("address", address.casefold(), unit, str(stream)), name)
                if first != name:
                    what = address if stream is None else f"{stream} of {address}"
                    yield _same(name, first, "address", what if unit is None else f"unit {unit} at {what}")


def _same(name: str, first: str, key: str, found: str) -> Clash:
    return Clash(("devices", name, key), ("devices", first, key), found, "each device needs a place of its own")


def _line_settings(name: str, first: str, ours: tuple[object, ...], theirs: tuple[object, ...], port: str) -> Clash:
    key = next(key for key, a, b in zip(LINE_SETTINGS, ours, theirs, strict=True) if a != b)
    found = f"{ours[LINE_SETTINGS.index(key)]} on {port}"
    return Clash(("devices", name, key), ("devices", first, key), found, "one line has one setting", "unlike")
