"""GigE Vision control (GVCP): registers and memory of a device over UDP, one command at a time, and the heartbeat.

All fields are big-endian. The device drops control and stops streaming, without a word, when its control channel is
not touched within its heartbeat time: `GvcpControl.held` keeps it, and tells when it is lost all the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from drivers.driver import DriverFault, Refused
from drivers.wire.genicam import LONGEST_XML

PORT = 3956  # GigE Vision: assigned to GVCP
KEY, ACK_WANTED = 0x42, 0x01
DISCOVERY, PACKET_RESEND, READ_REGISTER, WRITE_REGISTER, READ_MEMORY = 0x0002, 0x0040, 0x0080, 0x0082, 0x0084
PENDING_ACK = 0x0089
LONGEST_DATAGRAM = 576  # GigE Vision: control packets are never fragmented
LONGEST_READ = 512  # of memory, a multiple of 4
DISCOVERY_BYTES = 248
URL, URL_BYTES = 0x0200, 512
CAPABILITY, CAN_RESEND = 0x0934, 0x4
HEARTBEAT_MS = 0x0938
CONTROL_PRIVILEGE, CONTROL = 0x0A00, 2
STREAM_PORT, STREAM_PACKET_SIZE, STREAM_DELAY, STREAM_DESTINATION = 0x0D00, 0x0D04, 0x0D08, 0x0D18
REPLY_S, TRIES = 0.3, 3  # assumed: a register takes 25 to 250 us on a quiet wire (measured on emulated cameras)
LONGEST_PENDING_S = 5.0  # assumed: a device that asks for more time than this is not going to answer
HEARTBEATS_WITHIN_TIMEOUT = 3  # so that two may be lost
SHORTEST_HEARTBEAT_S = 0.1
STATUSES = {
    0x8001: "not implemented", 0x8002: "invalid parameter", 0x8003: "invalid address", 0x8004: "write protected",
    0x8005: "bad alignment", 0x8006: "access denied, another host holds the device", 0x8007: "busy",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Ack:
    """A reply: ``answer`` is the command's number + 1."""

    status: int
    answer: int
    request_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Discovered:
    """What a device says of itself; texts as sent, cut at the first zero."""

    vendor: str
    model: str
    version: str
    serial: str
    user_name: str


def encode_command(command: int, payload: bytes, request_id: int, *, ack: bool = True) -> bytes:
    """One command datagram."""
    return struct.pack(">BBHHH", KEY, ACK_WANTED if ack else 0, command, len(payload), request_id) + payload


def decode_ack(datagram: bytes) -> Ack:
    """One reply.

    Raises:
        DriverFault: it is short, or its length field does not agree with its size.
    """
    if len(datagram) < 8:
        raise DriverFault(f"GVCP reply of {len(datagram)} bytes, a header has 8", datagram)
    status, answer, length, request_id = struct.unpack_from(">HHHH", datagram)
    if length != len(datagram) - 8:
        raise DriverFault(f"GVCP reply says {length} bytes of payload and has {len(datagram) - 8}", datagram)
    return Ack(status, answer, request_id, datagram[8:])


def decode_discovery(payload: bytes) -> Discovered:
    """The 248 bytes of a discovery reply. Raises DriverFault."""
    if len(payload) < DISCOVERY_BYTES:
        raise DriverFault(f"discovery reply of {len(payload)} bytes, expected {DISCOVERY_BYTES}", payload)
    places = ((72, 32), (104, 32), (136, 32), (216, 16), (232, 16))
    return Discovered(*(_text(payload[start : start + size]) for start, size in places))


def decode_url(memory: bytes) -> tuple[int, int]:
    """Address and size of the device's XML, from ``Local:NAME;ADDRESS;SIZE`` in hex.

    Raises:
        DriverFault: the XML lies elsewhere, or is larger than ``LONGEST_XML``.
    """
    url = _text(memory)
    where, _, rest = url.partition(":")
    parts = rest.split("?")[0].split(";")
    try:
        address, size = int(parts[1], 16), int(parts[2], 16)
    except (IndexError, ValueError):
        where, address, size = "", 0, 0
    if where.lower() != "local" or address % 4 or not 0 <= address < 1 << 32:
        raise DriverFault(f"device XML is not in the device: {url[:80]!r}; give its registers in the config", memory)
    if not 0 < size <= LONGEST_XML:
        raise DriverFault(f"device XML of {size} bytes; at most {LONGEST_XML} are read", memory)
    return address, size


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "replace").strip()


class _Datagrams(asyncio.DatagramProtocol):
    """Hands what comes to whoever waits for it."""

    def __init__(self, control: GvcpControl) -> None:
        self._control = control

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._control.hear(data[: LONGEST_DATAGRAM + 1])

    def error_received(self, exc: Exception) -> None:
        self._control.hear(exc)


class GvcpControl:
    """The control channel of one device. ``counts`` tells what was dropped, and why."""

    def __init__(self, address: str, port: int = PORT) -> None:
        self.address, self._port = address, port
        self._ids = itertools.cycle(range(1, 0x10000))  # never 0
        self._one_at_a_time = asyncio.Lock()
        self._heard: asyncio.Queue[bytes | Exception] = asyncio.Queue(maxsize=16)  # full: the newest is dropped
        self._transport: asyncio.DatagramTransport | None = None
        self.counts: Counter[str] = Counter()

    async def __aenter__(self) -> Self:
        """Open a socket that hears this device only. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Datagrams(self), remote_addr=(self.address, self._port), family=socket.AF_INET
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._transport is not None:
            self._transport.close()

    @property
    def host(self) -> str:
        """Our own address on the way to the device."""
        assert self._transport is not None
        return str(self._transport.get_extra_info("sockname")[0])

    def hear(self, what: bytes | Exception) -> None:
        """Called by the transport."""
        try:
            self._heard.put_nowait(what)
        except asyncio.QueueFull:
            self.counts["replies nobody waited for"] += 1

    async def command(self, command: int, payload: bytes = b"") -> bytes:
        """The reply's payload; sent again under the same id while no reply comes.

        Raises:
            Refused: the device denies it.
            DriverFault: the device answers with an error.
            TimeoutError: no reply.
            OSError: nobody listens there, or the network is down.
        """
        assert self._transport is not None
        async with self._one_at_a_time:
            request_id = next(self._ids)
            while not self._heard.empty():
                self._heard.get_nowait()
            for _ in range(TRIES):
                self._transport.sendto(encode_command(command, payload, request_id))
                with contextlib.suppress(TimeoutError):
                    return self._judge(command, payload, await self._reply(command, request_id))
        raise TimeoutError(f"{self.address}: no reply to {_name(command, payload)}; check power, cable and address")

    async def _reply(self, command: int, request_id: int) -> Ack:
        """The reply to this request; a device that asks for time gets it. Raises TimeoutError, OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(REPLY_S) as limit:
            while True:
                heard = await self._heard.get()
                if isinstance(heard, OSError):
                    raise ConnectionError(f"{self.address}:{self._port}: {heard.strerror}; is this an imager?")
                if isinstance(heard, Exception):
                    raise ConnectionError(f"{self.address}:{self._port}: {heard}")
                try:
                    ack = decode_ack(heard)
                except DriverFault:
                    self.counts["damaged replies"] += 1
                    continue
                if ack.request_id != request_id:
                    self.counts["replies to other requests"] += 1
                elif ack.answer == PENDING_ACK and len(ack.payload) >= 4:
                    more_s = int.from_bytes(ack.payload[2:4], "big") / 1000
                    limit.reschedule(loop.time() + REPLY_S + min(more_s, LONGEST_PENDING_S))
                    self.counts["asked for time"] += 1
                elif ack.answer != command + 1:
                    self.counts["replies to other commands"] += 1
                else:
                    return ack

    def _judge(self, command: int, payload: bytes, ack: Ack) -> bytes:
        if ack.status == 0:
            return ack.payload
        words = STATUSES.get(ack.status, "a status that is not in the standard")
        cause = f"{self.address}: {_name(command, payload)}: status 0x{ack.status:04X}, {words}"
        raise (Refused if ack.status in (0x8001, 0x8003, 0x8004, 0x8006) else DriverFault)(cause, ack.payload)

    async def read_register(self, address: int) -> int:
        """One register, unsigned 32 bit. Raises as `command`."""
        value = await self.command(READ_REGISTER, struct.pack(">I", address))
        if len(value) != 4:
            raise DriverFault(f"{self.address}: register 0x{address:04X} came with {len(value)} bytes, not 4", value)
        return int.from_bytes(value, "big")

    async def write_register(self, address: int, value: int) -> None:
        """Write one register, unsigned 32 bit. Raises as `command`."""
        await self.command(WRITE_REGISTER, struct.pack(">II", address, value))

    async def read_memory(self, address: int, size: int) -> bytes:
        """``size`` bytes from ``address``, which is a multiple of 4. Raises as `command`."""
        memory = bytearray()
        while len(memory) < size:
            here = address + len(memory)
            count = min(LONGEST_READ, (size - len(memory) + 3) // 4 * 4)
            piece = await self.command(READ_MEMORY, struct.pack(">IHH", here, 0, count))
            if len(piece) != 4 + count or int.from_bytes(piece[:4], "big") != here:
                raise DriverFault(f"{self.address}: asked for {count} bytes at 0x{here:X}, others came", piece)
            memory += piece[4:]
        return bytes(memory[:size])

    async def discover(self) -> Discovered:
        """Who is there. Raises as `command`."""
        return decode_discovery(await self.command(DISCOVERY))

    async def stored_xml(self) -> bytes:
        """The device's GenICam file as it lies there, plain or zipped. Raises as `command`."""
        address, size = decode_url(await self.read_memory(URL, URL_BYTES))
        return await self.read_memory(address, size)

    def ask_again(self, block_id: int, first: int, last: int, *, extended: bool) -> None:
        """Ask for packets of a frame once more; the answer is the packets themselves."""
        assert self._transport is not None
        payload = struct.pack(">HHII", 0, 0 if extended else block_id, first, last)
        if extended:
            payload += struct.pack(">Q", block_id)
        self._transport.sendto(encode_command(PACKET_RESEND, payload, next(self._ids), ack=False))

    @contextlib.asynccontextmanager
    async def held(self, lost: Callable[[Exception], None]) -> AsyncIterator[None]:
        """Control of the device, kept by a heartbeat and given back at the end.

        ``lost`` is called once, with the cause, when the device has let go of us. Raises as `command` on entering.
        """
        await self.write_register(CONTROL_PRIVILEGE, CONTROL)
        try:
            timeout_s = await self.read_register(HEARTBEAT_MS) / 1000
            period_s = max(SHORTEST_HEARTBEAT_S, min(1.0, timeout_s / HEARTBEATS_WITHIN_TIMEOUT))
            heartbeat = asyncio.create_task(self._beat(period_s, lost))
            try:
                yield
            finally:
                heartbeat.cancel()
                await asyncio.gather(heartbeat, return_exceptions=True)
        finally:
            with contextlib.suppress(DriverFault, OSError):
                await self.write_register(CONTROL_PRIVILEGE, 0)

    async def _beat(self, period_s: float, lost: Callable[[Exception], None]) -> None:
        try:
            while True:
                if not await self.read_register(CONTROL_PRIVILEGE):
                    raise ConnectionError(f"{self.address}: control lost: the device has let go of us (restarted?)")
                await asyncio.sleep(period_s)
        except TimeoutError as error:
            lost(ConnectionError(f"control lost: {error}"))  # not to be taken for a stream's silence
        except (DriverFault, OSError) as error:
            lost(error)


def _name(command: int, payload: bytes) -> str:
    names = {READ_REGISTER: "read of register", WRITE_REGISTER: "write of register", READ_MEMORY: "read of memory at"}
    if command in names:
        return f"{names[command]} 0x{int.from_bytes(payload[:4], 'big'):04X}"
    return {DISCOVERY: "discovery"}.get(command, f"command 0x{command:04X}")
