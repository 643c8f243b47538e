"""A passive millimetre-wave imager on GigE Vision, by hand: ``python -m hil.devices.gigevision --listen 127.0.0.2``.

Prints ``listening PORT``; takes one JSON object a line on stdin, each answered with ``done`` (or ``refused`` and why).
Counts are kelvin through ``--kelvin-per-count``, 0.01 by default: centikelvin, which the XML says too.

What it sees: ``{"scene": {"background_k": 283, "contrast_k": 8, "netd_k": 0.45, "place": 0.5}}`` a warm shape behind a
curtain, ``place`` from 0 to 1 along the vehicle, or null for nobody; ``{"frames": ["a.npy", …]}`` images in kelvin
(rows, columns), or films of them (frames, rows, columns), shown in turn, for ever. For a calibration:
``{"load_k": 293.0}`` a uniform load, in a scene with ``{"target": [row, column]}`` something warm before it;
``{"detune": {"gain": 1.1, "offset_k": 2, "baseline_k": 0.4}}`` (see `hil.world.receivers`).
Faults stay until changed: ``lose_per_mille``, ``resend`` (false: cannot), ``reorder``, ``duplicate``, ``late`` (a
packet after the trailer), ``leaders_only``, ``mtu`` (packets over it are lost), ``freeze``, ``stall``,
``dead_channel`` (a row), ``leader_size`` ([columns, rows] that leaders claim), ``extended`` (64-bit ids), ``mute`` (no
replies), ``held`` (another host has control), ``beyond`` (a payload packet past the last), ``stranger`` (each packet
comes from another address too, with other pixels), ``gain_drift_per_min``, ``offset_walk_k_per_min`` (each receiver
its own way), ``clock_rate`` (how fast these two go), ``sun`` (share of the picture at 400 K), ``wet_window`` (share of
the contrast that is left). ``reset`` takes all away. Once: ``block_id`` for the next frame, ``lose`` ([3, 4]: packets
of the next frame), ``back_s`` on its clock, ``pending_ms`` and ``wrong_id`` for the next command, ``reboot_s``,
``play`` (a capture: recorded stream packets in place of frames), ``drop_control`` (as a heartbeat that did not come),
``move`` (to another address: here it is silent).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import random
import socket
import struct
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from hil.world import receivers

MONO8, MONO12_PACKED, MONO16 = 0x01080001, 0x010C0006, 0x01100007
FORMATS = {MONO8: "Mono8", MONO12_PACKED: "Mono12Packed", MONO16: "Mono16"}
CCP, HEARTBEAT, CAPABILITY = 0xA00, 0x938, 0x934
PORT, PACKET_SIZE, DESTINATION = 0xD00, 0xD04, 0xD18
WIDTH, HEIGHT, FORMAT, PAYLOAD, MODE, START, STOP = 0xE000, 0xE004, 0xE008, 0xE00C, 0xE010, 0xE014, 0xE018
SENSOR_WIDTH, SENSOR_HEIGHT = 0xE01C, 0xE020
WRITABLE = {CCP, HEARTBEAT, PORT, PACKET_SIZE, 0xD08, DESTINATION, WIDTH, HEIGHT, FORMAT, MODE, START, STOP}
XML_AT = 0x10000
KEPT_FRAMES = 4  # for packets that are asked for again
OK, INVALID_PARAMETER, INVALID_ADDRESS, PROTECTED, DENIED = 0, 0x8002, 0x8003, 0x8004, 0x8006
NOT_IMPLEMENTED, UNAVAILABLE = 0x8001, 0x800C


def xml(kelvin_per_count: float) -> bytes:
    """The GenICam description: only what a host needs to take frames."""

    def register(name: str, address: int, mode: str) -> str:
        return (
            f'<IntReg Name="{name}Reg"><Address>0x{address:X}</Address><Length>4</Length>'
            f"<AccessMode>{mode}</AccessMode>"
            "<pPort>Device</pPort><Sign>Unsigned</Sign><Endianess>BigEndian</Endianess></IntReg>"
        )

    def integer(name: str, address: int, mode: str = "RO", limits: str = "") -> str:
        return f'<Integer Name="{name}"><pValue>{name}Reg</pValue>{limits}</Integer>' + register(name, address, mode)

    def command(name: str, address: int) -> str:
        return f'<Command Name="{name}"><pValue>{name}Reg</pValue><CommandValue>1</CommandValue></Command>' + register(
            name, address, "WO"
        )

    def choice(name: str, address: int, entries: dict[str, int]) -> str:
        words = "".join(
            f'<EnumEntry Name="{word}"><Value>{value}</Value></EnumEntry>' for word, value in entries.items()
        )
        return f'<Enumeration Name="{name}">{words}<pValue>{name}Reg</pValue></Enumeration>' + register(
            name, address, "RW"
        )

    names = ("Width", "Height", "PixelFormat", "PayloadSize", "AcquisitionMode", "AcquisitionStart", "AcquisitionStop")
    features = "".join(f"<pFeature>{name}</pFeature>" for name in (*names, "GevSCPSPacketSize", "KelvinPerCount"))
    parts = (
        f'<Category Name="Root">{features}</Category>',
        integer("SensorWidth", SENSOR_WIDTH),
        integer("SensorHeight", SENSOR_HEIGHT),
        integer("Width", WIDTH, "RW", "<Min>1</Min><pMax>SensorWidth</pMax><Inc>1</Inc>"),
        integer("Height", HEIGHT, "RW", "<Min>1</Min><pMax>SensorHeight</pMax><Inc>1</Inc>"),
        choice("PixelFormat", FORMAT, {name: code for code, name in FORMATS.items()}),
        integer("PayloadSize", PAYLOAD),
        choice("AcquisitionMode", MODE, {"Continuous": 1}),
        command("AcquisitionStart", START),
        command("AcquisitionStop", STOP),
        integer("GevSCPSPacketSize", PACKET_SIZE, "RW", "<Min>128</Min><Max>9000</Max>"),
        f'<Float Name="KelvinPerCount"><Value>{kelvin_per_count!r}</Value></Float>',
        '<Port Name="Device"/>',
    )
    head = (
        '<?xml version="1.0" encoding="UTF-8"?><RegisterDescription ModelName="Imager" VendorName="Rig" '
        'StandardNameSpace="GEV" SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" '
        'MajorVersion="1" MinorVersion="0" SubMinorVersion="0" ToolTip="" ProductGuid="1" VersionGuid="1" '
        'xmlns="http://www.genicam.org/GenApi/Version_1_1">'
    )
    return (head + "".join(parts) + "</RegisterDescription>").encode()


class Scene:
    """What the imager sees, in kelvin; the same noise each time."""

    def __init__(self, rows: int, columns: int, seed: int) -> None:
        self.rows, self.columns = rows, columns
        self.background_k, self.contrast_k, self.netd_k, self.place = 283.0, 8.0, 0.45, 0.5  # SCIENCE: person at 283 K
        self._noise = np.random.default_rng(seed)
        self._channels = self._noise.normal(0.0, 0.2, (rows, 1))  # assumed: offsets left over after calibration
        self.images: list[NDArray[np.float32]] = []
        self._next = 0
        self.load_k: float | None = None
        self.target: tuple[float, float] | None = None
        self.receivers: receivers.Receivers | None = None
        self._began_s = time.monotonic()

    def show(self, orders: dict[str, Any]) -> None:
        """Take what an order says of the scene."""
        for name in ("background_k", "contrast_k", "netd_k"):
            if name in orders:
                setattr(self, name, float(orders[name]))
        if "place" in orders:
            self.place = math.nan if orders["place"] is None else float(orders["place"])
        self.images = []

    def load(self, paths: list[str]) -> None:
        """Images instead of the scene. Raises ValueError, OSError."""
        images: list[NDArray[np.float32]] = []
        for path in paths:
            loaded = np.load(path, allow_pickle=False).astype(np.float32)
            if loaded.shape[-2:] != (self.rows, self.columns) or loaded.ndim not in (2, 3):
                raise ValueError(f"{path}: shape {loaded.shape}, the sensor has ({self.rows}, {self.columns})")
            images += [*loaded] if loaded.ndim == 3 else [loaded]
        self.images, self._next = images, 0

    def calibrate(self, name: str, value: Any) -> None:
        """A uniform load in view, a warm target before it, or receivers that are out of tune; None takes it away."""
        if name == "load_k":
            self.load_k, self.images = None if value is None else float(value), []
        elif name == "target":
            self.target = None if value is None else (float(value[0]), float(value[1]))
        else:
            self.receivers = None if value is None else receivers.detuned(self.rows, self.columns, value)

    def look(self) -> NDArray[np.float32]:
        """The next image, (rows, columns) float32, K."""
        if self.receivers is not None:
            truth, at_s = self._truth(), time.monotonic() - self._began_s
            return np.asarray(self.receivers.shown(truth, at_s, self._noise), np.float32)
        return np.asarray(self._truth(noise=1.0), np.float32)

    def _truth(self, noise: float = 0.0) -> NDArray[np.float64]:
        """What is before the imager, K, with ``noise`` times its own noise and offsets."""
        if self.images:
            self._next += 1
            return np.asarray(self.images[(self._next - 1) % len(self.images)], np.float64)
        own = noise * (self._channels + self._noise.normal(0.0, self.netd_k, (self.rows, self.columns)))
        if self.load_k is not None:
            if self.target is None:
                return self.load_k + own
            return receivers.with_target(self.rows, self.columns, self.load_k, self.target) + own
        row, column = np.mgrid[0 : self.rows, 0 : self.columns]
        image = self.background_k + own
        if not math.isnan(self.place):
            across = (column - self.place * (self.columns - 1)) / (0.12 * self.columns)
            upright = (row - 0.55 * self.rows) / (0.35 * self.rows)
            image = image + self.contrast_k * np.exp(-(across**2) - upright**2)
        return np.asarray(image, np.float64)


def pack(counts: NDArray[np.uint16], pixel_format: int) -> bytes:
    """Pixels as they go over the wire."""
    if pixel_format == MONO16:
        return counts.astype("<u2").tobytes()
    if pixel_format == MONO8:
        return counts.astype(np.uint8).tobytes()
    flat = [*counts.reshape(-1).tolist(), 0]
    packed = bytearray()
    for first, second in zip(flat[0::2], flat[1::2], strict=False):
        packed += bytes((first >> 4, (second & 0xF) << 4 | first & 0xF, second >> 4))
    return bytes(packed[: math.ceil(counts.size * 12 / 8)])


class Imager:
    """Registers, control, and the stream."""

    def __init__(self, address: str, scene: Scene, kelvin_per_count: float, rate_hz: float, seed: int) -> None:
        self.address, self.scene, self._gain, self.rate_hz = address, scene, kelvin_per_count, rate_hz
        self._chance, self._seed = random.Random(seed), seed
        self._description = xml(kelvin_per_count)
        self.faults: dict[str, Any] = {}
        self.once: dict[str, Any] = {}
        self.controller: tuple[str, int] | None = None
        self.streaming = False
        self.touched_s = 0.0
        self.down_until_s = 0.0
        self._last_image: NDArray[np.float32] | None = None
        self.kept: OrderedDict[int, list[bytes]] = OrderedDict()
        self.block_id = 1
        self.memory = bytearray()
        self._drift_from_s = time.monotonic()
        self.stream, self._stranger = self._socket(address), self._socket(STRANGER)
        self.boot()

    @staticmethod
    def _socket(address: str) -> socket.socket:
        stream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        stream.bind((address, 0))
        return stream

    def reset(self) -> None:
        """No faults, the first scene, and registers as after power-on."""
        self.faults, self.once, self.down_until_s = {}, {}, 0.0
        self.scene = Scene(self.scene.rows, self.scene.columns, self._seed)
        self.boot()

    def drift(self) -> None:
        """Receivers begin to go astray now."""
        self._drift_from_s = time.monotonic()

    def boot(self) -> None:
        """Registers as after power-on."""
        self.memory = bytearray(XML_AT + (len(self._description) + 515) // 4 * 4)
        self.memory[XML_AT : XML_AT + len(self._description)] = self._description
        url = f"Local:imager.xml;{XML_AT:X};{len(self._description):X}"
        texts = {0x48: "Rig", 0x68: "Imager", 0x88: "1", 0xA8: "counts are kelvin x gain", 0xD8: "RIG-1", 0x200: url}
        for at, text in texts.items():
            self.memory[at : at + len(text)] = text.encode()
        self.memory[0x0C:0x10] = b"\x00\x01\x02\x03"
        self.memory[0x24:0x28] = socket.inet_aton(self.address)
        self.memory[0x34:0x38] = b"\xff\xff\xff\x00"
        values = {
            0x0: 0x00020000, 0x4: 0x80000001, 0x8: 0x0200, 0x600: 1, 0x904: 1, HEARTBEAT: 3000, 0x940: 1_000_000_000,
            PACKET_SIZE: 1400, WIDTH: self.scene.columns, HEIGHT: self.scene.rows, SENSOR_WIDTH: self.scene.columns,
            SENSOR_HEIGHT: self.scene.rows, FORMAT: MONO16, MODE: 1,
        }  # fmt: skip
        for at, value in values.items():
            self.put(at, value)
        self.controller, self.streaming, self.block_id = None, False, 1
        self.kept.clear()
        self.refresh()

    def get(self, address: int) -> int:
        """A register."""
        return int.from_bytes(self.memory[address : address + 4], "big")

    def put(self, address: int, value: int) -> None:
        """Set a register."""
        self.memory[address : address + 4] = value.to_bytes(4, "big")

    def refresh(self) -> None:
        """Registers that follow from others."""
        bits = self.get(FORMAT) >> 16 & 0xFF
        self.put(PAYLOAD, math.ceil(self.get(WIDTH) * self.get(HEIGHT) * bits / 8))
        self.put(CAPABILITY, 0x00000003 | (0x4 if self.faults.get("resend", True) else 0))

    def discovery(self) -> bytes:
        """The first 248 bytes say who is there, and where."""
        found = bytearray(248)
        found[0:0x48] = self.memory[0:0x48]
        for at, source, size in ((72, 0x48, 32), (104, 0x68, 32), (136, 0x88, 32), (168, 0xA8, 48), (216, 0xD8, 16)):
            found[at : at + size] = self.memory[source : source + size]
        return bytes(found)

    def answer(self, command: int, payload: bytes, sender: tuple[str, int]) -> tuple[int, bytes]:
        """Status and payload of the reply."""
        if sender == self.controller:
            self.touched_s = time.monotonic()
        if command == 0x0002:
            return OK, self.discovery()
        if command == 0x0080 and payload and len(payload) % 4 == 0:
            return self._read([at for (at,) in struct.iter_unpack(">I", payload)])
        if command == 0x0082 and payload and len(payload) % 8 == 0:
            return self._write_all([*struct.iter_unpack(">II", payload)], sender)
        if command == 0x0086 and len(payload) >= 8 and len(payload) % 4 == 0:  # some hosts write registers as memory
            start, *values = struct.unpack(f">{len(payload) // 4}I", payload)
            status, reply = self._write_all([(start + 4 * n, value) for n, value in enumerate(values)], sender)
            return status, reply[:2] + struct.pack(">H", 4 * len(values)) if status == OK else reply
        if command == 0x0084 and len(payload) == 8:
            at, count = struct.unpack(">IxxH", payload)
            if at % 4 or count % 4 or not 0 < count <= 536 or at + count > len(self.memory):
                return INVALID_ADDRESS, b""
            return OK, payload[:4] + bytes(self.memory[at : at + count])
        return NOT_IMPLEMENTED, b""

    def _read(self, addresses: list[int]) -> tuple[int, bytes]:
        if any(at % 4 or at + 4 > len(self.memory) for at in addresses):
            return INVALID_ADDRESS, b""
        return OK, b"".join(bytes(self.memory[at : at + 4]) for at in addresses)

    def _write_all(self, values: list[tuple[int, int]], sender: tuple[str, int]) -> tuple[int, bytes]:
        for n, (at, value) in enumerate(values):
            if status := self._write(at, value, sender):
                return status, struct.pack(">HH", 0, n)
        return OK, struct.pack(">HH", 0, len(values))

    def _write(self, at: int, value: int, sender: tuple[str, int]) -> int:
        if at % 4 or at + 4 > len(self.memory):
            return INVALID_ADDRESS
        if at not in WRITABLE:
            return PROTECTED
        if self.faults.get("held") or (sender != self.controller and (at != CCP or self.controller is not None)):
            return DENIED
        limits = {WIDTH: self.scene.columns, HEIGHT: self.scene.rows}
        if (at in limits and not 1 <= value <= limits[at]) or (at == FORMAT and value not in FORMATS):
            return INVALID_PARAMETER
        self.put(at, value)
        if at == CCP:
            self.controller = sender if value & 3 else None
            self.touched_s = time.monotonic()
            self.streaming = self.streaming and self.controller is not None
        elif at in (START, STOP) and value:
            self.streaming = at == START
        elif at == PACKET_SIZE and value >> 31:
            self._test_packet(value & 0xFFFF)
        self.refresh()
        return OK

    def _test_packet(self, size: int) -> None:
        """A host finds out by it which size passes."""
        self.put(PACKET_SIZE, self.get(PACKET_SIZE) & 0x7FFFFFFF)
        if size <= self.faults.get("mtu", 9000):
            self.send(struct.pack(">HHI", 0, 0, 0) + bytes(max(0, size - 36)))

    def watch_heartbeat(self) -> None:
        """A host that has not been heard for its heartbeat time has lost control, without a word."""
        late = time.monotonic() - self.touched_s > self.get(HEARTBEAT) / 1000
        if self.controller is not None and (late or self.once.pop("drop_control", False)):
            self.controller, self.streaming = None, False
            self.put(CCP, 0)

    def image(self) -> NDArray[np.uint16]:
        """The next image in counts, faults of the imager included."""
        image = self.scene.look()
        if self.faults.get("freeze") and self._last_image is not None:
            image = self._last_image
        self._last_image = image
        image = image[: self.get(HEIGHT), : self.get(WIDTH)].copy()
        if self.faults.get("stall"):
            image[:] = image[:1]
        image = self._astray(image)
        dead = self.faults.get("dead_channel")
        if dead is not None and dead < len(image):
            image[dead] = self.scene.background_k
        most = (1 << min(16, self.get(FORMAT) >> 16 & 0xFF)) - 1
        counts = np.clip(np.rint(np.nan_to_num(image, nan=0.0) / self._gain), 0, most)
        return np.asarray(counts, np.uint16)

    def _astray(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """The picture through receivers that drift, a wet window, and the sun."""
        minutes = (time.monotonic() - self._drift_from_s) * self.faults.get("clock_rate", 1) / 60
        walk = np.random.default_rng(1).normal(0, self.faults.get("offset_walk_k_per_min", 0.0), (len(image), 1))
        shown = image * (1 + self.faults.get("gain_drift_per_min", 0.0) * minutes) + walk * minutes
        if (left := self.faults.get("wet_window")) is not None:
            shown = shown.mean() + left * (shown - shown.mean())
        shown[:, : round(self.faults.get("sun", 0.0) * shown.shape[1])] = 400.0
        return np.asarray(shown, np.float32)

    def packets(self) -> list[bytes]:
        """The packets of one frame."""
        block_id = int(self.once.pop("block_id", self.block_id))
        wide = bool(self.faults.get("extended"))
        self.block_id = block_id + 1 if wide or block_id < 65535 else 1
        ticks = time.time_ns() - round(self.once.pop("back_s", 0) * 1e9)
        columns, rows = self.faults.get("leader_size") or (self.get(WIDTH), self.get(HEIGHT))
        pixels = pack(self.image(), self.get(FORMAT))
        full = (self.get(PACKET_SIZE) & 0xFFFF) - 28 - (20 if wide else 8)
        pieces = [pixels[at : at + full] for at in range(0, len(pixels), full)]

        def header(kind: int, packet_id: int) -> bytes:
            if wide:
                return struct.pack(">HHIQI", 0, 0, 0x80000000 | kind << 24, block_id, packet_id)
            return struct.pack(">HHI", 0, block_id, kind << 24 | packet_id)

        leader = struct.pack(">HHQIIIIIHH", 0, 1, ticks, self.get(FORMAT), columns, rows, 0, 0, 0, 0)
        trailer = struct.pack(">HHI", 0, 1, rows)
        sent = [header(1, 0) + leader, *(header(3, n) + piece for n, piece in enumerate(pieces, 1))]
        sent.append(header(2, len(pieces) + 1) + trailer)
        if self.faults.get("beyond"):
            sent.insert(-1, header(3, len(pieces) + 7) + pieces[0])
        self.kept[block_id] = sent
        while len(self.kept) > KEPT_FRAMES:
            self.kept.popitem(last=False)
        return sent

    def send_frame(self) -> None:
        """One frame, through what is wrong with the wire."""
        sent = self.packets()
        lost = set(self.once.pop("lose", []))
        if self.faults.get("leaders_only"):
            lost |= set(range(1, len(sent) - 1))
        numbered = [(n, packet) for n, packet in enumerate(sent) if n not in lost]
        if self.faults.get("reorder"):
            self._chance.shuffle(numbered)
        if self.faults.get("late") and len(numbered) > 2:
            numbered.append(numbered.pop(1))
        for _, packet in numbered:
            if self._chance.random() * 1000 >= self.faults.get("lose_per_mille", 0):
                if self.faults.get("stranger"):
                    self.send(packet[:8] + bytes(len(packet) - 8), self._stranger)
                self.send(packet)
                if self.faults.get("duplicate"):
                    self.send(packet)

    def send(self, packet: bytes, by: socket.socket | None = None) -> None:
        """To the host's stream port, where the path takes it."""
        port, host = self.get(PORT) & 0xFFFF, bytes(self.memory[DESTINATION : DESTINATION + 4])
        if port and len(packet) + 28 <= self.faults.get("mtu", 65535):
            with contextlib.suppress(OSError):
                (by or self.stream).sendto(packet, (socket.inet_ntoa(host), port))

    def resend(self, payload: bytes) -> None:
        """Packets that are asked for again; what is no longer kept is said so."""
        if len(payload) < 12 or not self.faults.get("resend", True):
            return
        _, block_id, first, last = struct.unpack_from(">HHII", payload)
        if len(payload) >= 20:
            (block_id,) = struct.unpack_from(">Q", payload, 12)
        kept = self.kept.get(block_id)
        if kept is None:
            self.send(struct.pack(">HHI", UNAVAILABLE, block_id & 0xFFFF, 3 << 24 | first & 0xFFFFFF))
            return
        for packet in kept[first & 0xFFFFFF : (last & 0xFFFFFF) + 1]:
            self.send(packet)


class Control(asyncio.DatagramProtocol):
    """GVCP: one datagram in, one out."""

    def __init__(self, imager: Imager) -> None:
        self._imager = imager
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if len(data) < 8 or data[0] != 0x42 or time.monotonic() < self._imager.down_until_s:
            return
        if self._imager.faults.get("moved"):
            return
        flags, command, length, request_id = struct.unpack_from(">xBHHH", data)
        payload = data[8 : 8 + length]
        if command == 0x0040:
            self._imager.resend(payload)
            return
        status, reply = self._imager.answer(command, payload, addr)
        if not flags & 1 or self._imager.faults.get("mute"):
            return
        if self._imager.once.pop("wrong_id", False):
            request_id = request_id % 65535 + 1
        ack = struct.pack(">HHHH", status, command + 1, len(reply), request_id) + reply
        if pending_ms := self._imager.once.pop("pending_ms", 0):
            more = struct.pack(">HHHHHH", 0, 0x0089, 4, request_id, 0, pending_ms)
            self._send(more, addr)
            asyncio.get_running_loop().call_later(pending_ms / 1000, self._send, ack, addr)
            return
        self._send(ack, addr)

    def _send(self, datagram: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(datagram, addr)


def recorded(path: Path) -> Iterator[tuple[float, bytes]]:
    """(seconds, UDP payload) of a capture of raw IP packets."""
    capture, at = path.read_bytes(), 24
    while at + 16 <= len(capture):
        seconds, micros, size, _ = struct.unpack_from("<IIII", capture, at)
        yield seconds + micros / 1e6, capture[at + 16 + 28 : at + 16 + size]
        at += 16 + size


async def stream(imager: Imager) -> None:
    """Frames at their rate while a host holds control; a recording in their place when one is ordered."""
    loop = asyncio.get_running_loop()
    due_s = loop.time()
    while True:
        due_s = max(due_s + 1 / imager.rate_hz, loop.time())
        await asyncio.sleep(due_s - loop.time())
        imager.watch_heartbeat()
        if not imager.streaming or time.monotonic() < imager.down_until_s:
            continue
        if "play" not in imager.once:
            imager.send_frame()
            continue
        last_s = None
        for at_s, packet in recorded(Path(imager.once.pop("play"))):
            await asyncio.sleep(0 if last_s is None else at_s - last_s)
            last_s = at_s
            imager.send(packet)
        imager.streaming = False  # a recording has an end, and then there is silence


ONCE = ("block_id", "lose", "back_s", "pending_ms", "wrong_id", "play", "drop_control")
STRANGER = "127.0.0.99"  # what else sends on the imager's network
FAULTS = (
    "lose_per_mille", "resend", "reorder", "duplicate", "late", "leaders_only", "mtu", "freeze", "stall",
    "dead_channel", "leader_size", "extended", "mute", "held", "beyond", "stranger", "gain_drift_per_min",
    "offset_walk_k_per_min", "clock_rate", "sun", "wet_window",
)  # fmt: skip


def obey(imager: Imager, order: dict[str, Any]) -> None:
    """One order. Raises ValueError, OSError, KeyError, TypeError for one that cannot be obeyed."""
    for name, value in order.items():
        if name == "play" and not Path(value).is_file():
            raise ValueError(f"no such capture: {value}")
        if name in ONCE:
            imager.once[name] = value
        elif name in FAULTS:
            imager.faults[name] = value
            if value is None:
                del imager.faults[name]
            if name == "clock_rate":
                imager.drift()
        elif name == "scene":
            imager.scene.show(value)
        elif name == "frames":
            imager.scene.load(value)
        elif name in ("load_k", "target", "detune"):
            imager.scene.calibrate(name, value)
        elif name == "reset":
            imager.reset()
        elif name == "move":
            imager.faults["moved"], imager.streaming = True, False
        elif name == "reboot_s":
            imager.boot()
            imager.down_until_s = time.monotonic() + float(value)
        else:
            raise ValueError(f"no such order: {name}")
    imager.refresh()


async def orders(imager: Imager) -> None:
    """JSON lines until stdin ends."""
    while text := await asyncio.to_thread(sys.stdin.readline):
        try:
            obey(imager, json.loads(text))
        except (ValueError, OSError, KeyError, TypeError) as error:
            print(f"refused {error}", flush=True)
        else:
            print("done", flush=True)


async def run(arguments: argparse.Namespace) -> None:
    """Be an imager until stdin ends."""
    scene = Scene(arguments.rows, arguments.columns, arguments.seed)
    imager = Imager(arguments.listen, scene, arguments.kelvin_per_count, arguments.rate_hz, arguments.seed)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        lambda: Control(imager), local_addr=(arguments.listen, arguments.port)
    )
    print("listening", transport.get_extra_info("sockname")[1], flush=True)
    streaming = asyncio.create_task(stream(imager))
    await asyncio.wait({streaming, asyncio.create_task(orders(imager))}, return_when=asyncio.FIRST_COMPLETED)
    if not streaming.cancel():
        streaming.result()  # ended by itself: say why
    transport.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--listen", required=True, help="an address of this machine: a host expects port 3956")
    parser.add_argument("--port", type=int, default=3956)
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--columns", type=int, default=80)
    parser.add_argument("--rate-hz", type=float, default=10.0)
    parser.add_argument("--kelvin-per-count", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    asyncio.run(run(parser.parse_args()))
