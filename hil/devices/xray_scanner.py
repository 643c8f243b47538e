"""A cargo scanner that sends DICOS by C-STORE, its protocol written by hand: ``python -m hil.devices.xray_scanner``.

``--to 127.0.0.1:11112 [--calling SCANNER] [--called LANEPULSE] [--tls CERT KEY CA]``. Takes one JSON object a line on
stdin and answers each with one on stdout; what is sent is a `Scan` (``{"scan": {"vehicle": "AB12CDE"}}``):

Prints ``ready HOST:PORT``. ``{"do": "echo"}`` and ``{"do": "store", "scan": {}, "times": 1}`` answer ``{"status": 0}``,
``{"rejected": [1, 1, 3]}`` or ``{"aborted": true}``; ``"called"`` is another title for one command. ``{"do": "file",
"folder": "", "name": "", "scan": {}, "keep": 1000}`` writes a drop file, whole or its first bytes. Faults of the wire:
``abort`` and ``cut`` (in mid data set), ``claim`` (a PDU of 4 GiB), ``flood`` (data without end, ``"bytes"``), ``drip``
(``"bytes"`` a step, ``"wait_s"`` between), ``idle`` (connect, say nothing), ``hold`` (``"times"`` associations that
stay open), ``pipeline`` (the next object before the answer to the last).
"""

from __future__ import annotations

import argparse
import json
import socket
import ssl
import struct
import sys
import time
from pathlib import Path
from typing import Any

from hil.devices.dicos_object import EXPLICIT_LE, Scan, data_set, part10

VERIFICATION = "1.2.840.10008.1.1"
APPLICATION = "1.2.840.10008.3.1.1.1"  # DICOM PS3.7 A.2.1
FRAGMENT = 16_000
TIMEOUT_S = 30.0


class Gone(Exception):
    """The other side aborted, or closed."""


class Rejected(Exception):
    """A-ASSOCIATE-RJ: result, source, reason."""


def item(kind: int, body: bytes) -> bytes:
    """An item of an association PDU (PS3.8 9.3.2)."""
    return struct.pack(">BxH", kind, len(body)) + body


def pdu(kind: int, body: bytes) -> bytes:
    """One PDU (PS3.8 9.3.1)."""
    return struct.pack(">BxI", kind, len(body)) + body


def request(calling: str, called: str, sop_class: str, syntax: str) -> bytes:
    """A-ASSOCIATE-RQ with one presentation context, number 1."""
    titles = called.encode().ljust(16) + calling.encode().ljust(16)
    context = struct.pack(">B3x", 1) + item(0x30, sop_class.encode()) + item(0x40, syntax.encode())
    user = item(0x51, struct.pack(">I", 16_384)) + item(0x52, b"1.2.826.0.1.3680043.8.498.9")
    items = item(0x10, APPLICATION.encode()) + item(0x20, context) + item(0x50, user)
    return pdu(0x01, struct.pack(">H2x", 1) + titles + bytes(32) + items)


def fragment(data: bytes, *, command: bool, last: bool) -> bytes:
    """P-DATA-TF with one value (PS3.8 9.3.5)."""
    return pdu(0x04, struct.pack(">IBB", len(data) + 2, 1, command | last << 1) + data)


def command(field: int, sop_class: str, sop_uid: str | None) -> bytes:
    """C-ECHO-RQ or C-STORE-RQ, Implicit VR Little Endian (PS3.7 9.3)."""

    def implicit(tag: int, value: bytes) -> bytes:
        return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value

    def uid(text: str) -> bytes:
        return text.encode() + b"\0" * (len(text) % 2)

    body = implicit(0x00000002, uid(sop_class)) + implicit(0x00000100, struct.pack("<H", field))
    body += implicit(0x00000110, struct.pack("<H", 1))
    if sop_uid is None:
        body += implicit(0x00000800, struct.pack("<H", 0x0101))
    else:
        body += implicit(0x00000700, struct.pack("<H", 0)) + implicit(0x00000800, struct.pack("<H", 0x0001))
        body += implicit(0x00001000, uid(sop_uid))
    return implicit(0x00000000, struct.pack("<I", len(body))) + body


class Scanner:
    """One scanner; a method a command."""

    def __init__(self, to: str, calling: str, called: str, tls: list[str] | None) -> None:
        host, _, port = to.rpartition(":")
        self._to = (host, int(port))
        self._calling, self._called, self._tls = calling, called, tls
        self._held: list[socket.socket] = []
        self.called: str | None = None  # for one command

    def _connect(self) -> socket.socket:
        link = socket.create_connection(self._to, timeout=TIMEOUT_S)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return link
        certificate, key, authority = self._tls
        context = ssl.create_default_context(cafile=authority)
        context.check_hostname = False
        context.load_cert_chain(certificate, key)
        return context.wrap_socket(link)

    def _associate(self, sop_class: str, syntax: str = EXPLICIT_LE) -> socket.socket:
        link = self._connect()
        link.sendall(request(self._calling, self.called or self._called, sop_class, syntax))
        kind, body = self._receive(link)
        if kind == 0x03:
            raise Rejected(list(body[1:4]))
        if kind != 0x02:
            raise Gone
        return link

    @staticmethod
    def _receive(link: socket.socket) -> tuple[int, bytes]:
        def exactly(count: int) -> bytes:
            data = b""
            while len(data) < count:
                if not (more := link.recv(count - len(data))):
                    raise Gone
                data += more
            return data

        kind, length = struct.unpack(">BxI", exactly(6))
        body = exactly(length)
        if kind == 0x07:
            raise Gone
        return kind, body

    def _status(self, link: socket.socket) -> int:
        """Status of the response: the two bytes of element (0000,0900)."""
        _, body = self._receive(link)
        at = body.index(struct.pack("<HHI", 0, 0x0900, 2))
        return int(struct.unpack_from("<H", body, at + 8)[0])

    def _release(self, link: socket.socket) -> None:
        link.sendall(pdu(0x05, bytes(4)))
        self._receive(link)
        link.close()

    @staticmethod
    def _scan(told: dict[str, Any]) -> Scan:
        return Scan(**told.get("scan", {}))

    @staticmethod
    def _begin(link: socket.socket, scan: Scan) -> bytes:
        link.sendall(fragment(command(0x0001, scan.sop_class, scan.sop_uid), command=True, last=True))
        return data_set(scan)

    def echo(self, told: dict[str, Any]) -> dict[str, Any]:
        """C-ECHO."""
        link = self._associate(VERIFICATION)
        link.sendall(fragment(command(0x0030, VERIFICATION, None), command=True, last=True))
        status = self._status(link)
        self._release(link)
        return {"status": status}

    def store(self, told: dict[str, Any]) -> dict[str, Any]:
        """C-STORE, ``times`` in one association."""
        scan = self._scan(told)
        link = self._associate(scan.sop_class)
        status = 0
        for _ in range(told.get("times", 1)):
            self._data(link, self._begin(link, scan))
            status = self._status(link)
        self._release(link)
        return {"status": status}

    @staticmethod
    def _data(link: socket.socket, data: bytes) -> None:
        for at in range(0, len(data), FRAGMENT):
            link.sendall(fragment(data[at : at + FRAGMENT], command=False, last=at + FRAGMENT >= len(data)))

    def abort(self, told: dict[str, Any]) -> dict[str, Any]:
        """A-ABORT in mid data set."""
        scan = self._scan(told)
        link = self._associate(scan.sop_class)
        data = self._begin(link, scan)
        link.sendall(fragment(data[: len(data) // 2], command=False, last=False) + pdu(0x07, bytes(4)))
        link.close()
        return {"done": "abort"}

    def cut(self, told: dict[str, Any]) -> dict[str, Any]:
        """The cable, in the middle of a PDU."""
        scan = self._scan(told)
        link = self._associate(scan.sop_class)
        link.sendall(fragment(self._begin(link, scan), command=False, last=True)[:1000])
        link.close()
        return {"done": "cut"}

    def claim(self, told: dict[str, Any]) -> dict[str, Any]:
        """A PDU that says it is 4 GiB, and ``bytes`` of it."""
        scan = self._scan(told)
        link = self._associate(scan.sop_class)
        self._begin(link, scan)
        return self._pour(link, struct.pack(">BxI", 0x04, 0xFFFFFFFF), bytes(1 << 20), told.get("bytes", 1 << 26))

    def flood(self, told: dict[str, Any]) -> dict[str, Any]:
        """A data set without end, ``bytes`` of it."""
        scan = self._scan(told)
        link = self._associate(scan.sop_class)
        self._begin(link, scan)
        return self._pour(link, b"", fragment(bytes(FRAGMENT), command=False, last=False), told.get("bytes", 1 << 28))

    @staticmethod
    def _pour(link: socket.socket, head: bytes, unit: bytes, count: int) -> dict[str, Any]:
        sent = 0
        try:
            link.sendall(head)
            while sent < count:
                link.sendall(unit)
                sent += len(unit)
        except OSError:
            return {"cut_after": sent}
        finally:
            link.close()
        return {"sent": sent}

    def drip(self, told: dict[str, Any]) -> dict[str, Any]:
        """Slowly, never idle for long; says after how many seconds it was cut off."""
        scan = self._scan(told)
        link = self._associate(scan.sop_class)
        data, began = self._begin(link, scan), time.monotonic()
        step = told.get("bytes", 100)
        try:
            for at in range(0, len(data), step):
                link.sendall(fragment(data[at : at + step], command=False, last=False))
                time.sleep(told.get("wait_s", 0.05))
        except OSError:
            return {"cut_after_s": time.monotonic() - began}
        finally:
            link.close()
        return {"sent": len(data)}

    def idle(self, told: dict[str, Any]) -> dict[str, Any]:
        """``times`` TCP connections that say nothing, kept open."""
        for _ in range(told.get("times", 1)):
            self._held.append(socket.create_connection(self._to, timeout=TIMEOUT_S))
        return {"held": len(self._held)}

    def hold(self, told: dict[str, Any]) -> dict[str, Any]:
        """``times`` associations that do nothing, kept open."""
        for _ in range(told.get("times", 1)):
            self._held.append(self._associate(VERIFICATION))
        return {"held": len(self._held)}

    def let_go(self, told: dict[str, Any]) -> dict[str, Any]:
        """Close all that is held."""
        for link in self._held:
            link.close()
        self._held.clear()
        return {"held": 0}

    def pipeline(self, told: dict[str, Any]) -> dict[str, Any]:
        """``times`` objects with no wait for an answer."""
        scan = self._scan(told)
        link = self._associate(scan.sop_class)
        whole = fragment(command(0x0001, scan.sop_class, scan.sop_uid), command=True, last=True)
        data = data_set(scan)
        for at in range(0, len(data), FRAGMENT):
            whole += fragment(data[at : at + FRAGMENT], command=False, last=at + FRAGMENT >= len(data))
        return self._pour(link, b"", whole, told.get("times", 100) * len(whole))

    def file(self, told: dict[str, Any]) -> dict[str, Any]:
        """A file into a folder, whole or its first ``keep`` bytes, in place and not renamed."""
        raw = part10(self._scan(told), told.get("syntax", EXPLICIT_LE))[: told.get("keep")]
        Path(told["folder"], told["name"]).write_bytes(raw)
        return {"written": len(raw)}


COMMANDS = ("echo", "store", "abort", "cut", "claim", "flood", "drip", "idle", "hold", "let_go", "pipeline", "file")


def answer(scanner: Scanner, told: dict[str, Any]) -> dict[str, Any]:
    """What came of one command."""
    if told.get("do") not in COMMANDS:
        return {"error": f"do one of {', '.join(COMMANDS)}"}
    scanner.called = told.get("called")
    try:
        return dict(getattr(scanner, told["do"])(told))
    except Rejected as rejection:
        return {"rejected": rejection.args[0]}
    except (Gone, ConnectionError, ssl.SSLError):
        return {"aborted": True}


def main() -> None:
    """Until stdin ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", default="127.0.0.1:11112")
    parser.add_argument("--calling", default="SCANNER")
    parser.add_argument("--called", default="LANEPULSE")
    parser.add_argument("--tls", nargs=3, metavar=("CERT", "KEY", "CA"))
    given = parser.parse_args()
    scanner = Scanner(given.to, given.calling, given.called, given.tls)
    print("ready", given.to, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(scanner, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
