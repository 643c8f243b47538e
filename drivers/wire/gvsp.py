"""GigE Vision stream (GVSP): frames put together from packets, in memory whose size the configuration fixed.

A frame is whole when its leader, all its payload packets and its trailer have come, in any order; the payload covers
every byte, so nothing of an older frame is left in it. What is not whole is dropped, counted and named, never filled.
The leader is believed only where it agrees with the geometry that was agreed with the device.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from drivers.driver import DriverFault
from drivers.wire.datagrams import AT_ONCE, Datagrams, sender_of

LEADER, TRAILER, PAYLOAD = 1, 2, 3
EXTENDED_ID = 0x80
IMAGE = 0x0001
HEADER, EXTENDED_HEADER = 8, 20
IP_UDP_HEADERS = 28  # counted in the packet size register
STATUS_OK, STATUS_RESENT, STATUS_UNAVAILABLE = 0x0000, 0x0100, 0x800C
MONO8, MONO12_PACKED, MONO16 = 0x01080001, 0x010C0006, 0x01100007  # PFNC
FORMATS = {"Mono8": MONO8, "Mono12Packed": MONO12_PACKED, "Mono16": MONO16}
OPEN_FRAMES = 3  # assumed: one arriving, one waiting for packets asked for again, one late
REMEMBERED = 16  # frames whose late and double packets are known as such
WHOLE_FRAMES = 4  # waiting for the lane; the oldest goes first
TOO_SLOW = "frames the lane was too slow for"
QUIET_NS = 10_000_000  # assumed: reordering in a switch is over by then
ASK_EVERY_NS, ASKS, RANGES_PER_ASK = 20_000_000, 4, 32  # assumed
TICK_S = 0.01
LONGEST_PACKET = 9216  # jumbo frames end here
LONGEST_LEADER = 576  # assumed: an image's has 44 or 56 bytes, chunk data makes it longer
MOST_PACKETS = 0xFFFFFE  # 24-bit packet ids
SMALLEST_BUFFER = 1 << 20
BATCHES_AT_ONCE = 8  # then other tasks of the lane have their turn


@dataclass(frozen=True, slots=True)
class Geometry:
    """What was agreed with the device; ``pixel_format`` is the PFNC code, with its bits in 23..16."""

    rows: int
    columns: int
    pixel_format: int

    @property
    def frame_bytes(self) -> int:
        """Payload of one frame."""
        return math.ceil(self.rows * self.columns * (self.pixel_format >> 16 & 0xFF) / 8)

    def __str__(self) -> str:
        word = next((name for name, code in FORMATS.items() if code == self.pixel_format), f"{self.pixel_format:#x}")
        return f"{self.columns}x{self.rows} {word}"


@dataclass(frozen=True, slots=True)
class Packet:
    """One datagram taken apart; ``content`` is what follows the header."""

    status: int
    block_id: int
    kind: int
    packet_id: int
    extended: bool
    content: memoryview


@dataclass(frozen=True, slots=True)
class Leader:
    """What a leader says of its frame."""

    payload_type: int
    timestamp: int
    geometry: Geometry
    padded: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame: pixels as sent; ``first_monotonic_ns`` is the arrival of its first packet."""

    block_id: int
    timestamp: int  # ticks of the device's own clock; 0 where a later frame overtook this one
    pixels: bytearray  # of the assembler's own: give it back by `recycle` when it has been unpacked
    first_monotonic_ns: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """A frame that was given up, and why; ``leader`` holds the leader's bytes, if it came."""

    block_id: int
    cause: str
    leader: bytes


@dataclass(frozen=True, slots=True)
class Missing:
    """Packets to ask for again, ``first`` to ``last``."""

    block_id: int
    first: int
    last: int
    extended: bool


def decode_packet(datagram: memoryview) -> Packet:
    """Header and content of a stream packet.

    Raises:
        DriverFault: too short, or of block 0.
    """
    if len(datagram) < HEADER:
        raise DriverFault(f"stream packet of {len(datagram)} bytes, a header has {HEADER}", bytes(datagram))
    status, block_id, word = struct.unpack_from(">HHI", datagram)
    extended = bool(word >> 24 & EXTENDED_ID)
    packet_id, size = word & 0xFFFFFF, HEADER
    if extended:
        if len(datagram) < EXTENDED_HEADER:
            raise DriverFault(f"stream packet of {len(datagram)} bytes with an extended header", bytes(datagram))
        block_id, packet_id = struct.unpack_from(">QI", datagram, 8)
        size = EXTENDED_HEADER
    if block_id == 0:
        raise DriverFault("stream packet of block 0, which is no frame", bytes(datagram[:64]))
    return Packet(status, block_id, word >> 24 & 0x0F, packet_id, extended, datagram[size:])


def decode_leader(content: memoryview) -> Leader:
    """Raises DriverFault where it is no image's leader."""
    if len(content) < 36:
        raise DriverFault(f"leader of {len(content)} bytes, an image's has 36", bytes(content))
    payload_type, timestamp, code, width, height = struct.unpack_from(">2xHQIII", content)
    padded = any(struct.unpack_from(">HH", content, 32))
    return Leader(payload_type, timestamp, Geometry(height, width, code), padded)


def unpack(pixels: bytes | bytearray, geometry: Geometry) -> NDArray[np.uint16]:
    """Counts, (rows, columns) uint16; Mono16 is little-endian inside the big-endian framing."""
    count = geometry.rows * geometry.columns
    if geometry.pixel_format == MONO16:
        counts = np.frombuffer(pixels, "<u2", count).astype(np.uint16)
    elif geometry.pixel_format == MONO8:
        counts = np.frombuffer(pixels, np.uint8, count).astype(np.uint16)
    else:
        counts = _unpack_12(pixels, count)
    return counts.reshape(geometry.rows, geometry.columns)


def _unpack_12(pixels: bytes | bytearray, count: int) -> NDArray[np.uint16]:
    """Mono12Packed: b0 = p0[11:4], low nibble of b1 = p0[3:0], high nibble = p1[3:0], b2 = p1[11:4]."""
    padded = np.zeros(math.ceil(count / 2) * 3, np.uint16)
    padded[: len(pixels)] = np.frombuffer(pixels, np.uint8)
    first, middle, last = padded.reshape(-1, 3).T
    counts = np.stack((first << 4 | middle & 0x0F, last << 4 | middle >> 4), axis=1)
    return counts.reshape(-1)[:count]


@dataclass(slots=True)
class _Open:
    """A frame that is being put together; ``seen`` has a byte for each packet, leader and trailer included."""

    block_id: int
    extended: bool
    pixels: bytearray
    seen: bytearray
    first_ns: int
    last_ns: int
    leader: Leader | None = None
    leader_bytes: bytes = b""
    closed: bool = False  # no packet of it is still to come but those asked for again
    highest: int = 0
    got: int = 0
    asks: int = 0
    asked_ns: int = 0
    refused: str | None = None

    def missing(self, until: int) -> list[tuple[int, int]]:
        """Ranges of packet ids that have not come, up to ``until``."""
        ranges: list[tuple[int, int]] = []
        at = self.seen.find(0)
        while 0 <= at <= until:
            end = self.seen.find(1, at)
            end = min(until, len(self.seen) - 1 if end < 0 else end - 1)
            ranges.append((at, end))
            at = self.seen.find(0, end + 1)
        return ranges


@dataclass(slots=True)
class Tally:
    """What came since it was last cleared: enough to say why no frame is whole."""

    leaders: int = 0
    full_packets: int = 0  # of pixels; a frame's short last one passes where a full one does not
    trailers: int = 0
    incomplete: int = 0
    refused: int = 0
    last_refusal: str = ""
    counts: Counter[str] = field(default_factory=Counter)


class Assembler:
    """Packets in, whole frames out; no clock and no socket of its own, and memory that never grows."""

    def __init__(self, geometry: Geometry, packet_size: int, *, resend: bool, patience_ns: int) -> None:
        """``packet_size`` as in the register, headers included. ``patience_ns``: a frame without progress is given up.

        Raises:
            DriverFault: a packet of that size has no room for pixels, or a frame would need too many.
        """
        self._geometry, self._resend, self._patience_ns = geometry, resend, patience_ns
        self._packet_size = packet_size
        if not EXTENDED_HEADER + IP_UDP_HEADERS < packet_size <= LONGEST_PACKET:
            raise DriverFault(f"packet size {packet_size} leaves no room for pixels; set packet_size")
        if self._packets(extended=True) > MOST_PACKETS:
            raise DriverFault(f"{geometry} in packets of {packet_size} bytes is too many packets; raise packet_size")
        self._buffers = [bytearray(geometry.frame_bytes) for _ in range(OPEN_FRAMES)]
        self._open: dict[int, _Open] = {}
        self._done: deque[int] = deque(maxlen=REMEMBERED)
        self._newest_ns = self._newest_id = 0
        self.dropped: deque[Dropped] = deque(maxlen=REMEMBERED)  # for the driver to empty
        self.tally = Tally()

    def _content(self, extended: bool) -> int:
        """Pixel bytes in a full packet."""
        return self._packet_size - IP_UDP_HEADERS - (EXTENDED_HEADER if extended else HEADER)

    def _packets(self, extended: bool) -> int:
        """Payload packets in a frame."""
        return math.ceil(self._geometry.frame_bytes / self._content(extended))

    @property
    def longest(self) -> int:
        """Bytes of the longest datagram that makes sense: a full packet, or a leader with what it may carry."""
        return max(self._packet_size - IP_UDP_HEADERS, LONGEST_LEADER)

    @property
    def busy(self) -> bool:
        """Whether a frame is open."""
        return bool(self._open)

    def take(self, datagram: memoryview, now_ns: int) -> Frame | None:
        """One packet, and the frame that it makes whole.

        Raises:
            DriverFault: it is no stream packet.
        """
        packet = decode_packet(datagram)
        if packet.block_id in self._done:
            self.tally.counts["packets of finished frames"] += 1
            return None
        block = self._open.get(packet.block_id) or self._begin(packet, now_ns)
        if packet.status not in (STATUS_OK, STATUS_RESENT):
            self.tally.counts[f"packets with status 0x{packet.status:04X}"] += 1
            if packet.status == STATUS_UNAVAILABLE:
                block.asks = ASKS  # the device no longer has it: asking again is pointless
            return None
        placed = self._place(block, packet)
        if block.refused is not None:
            self._drop(block, block.refused)
            return None
        if not placed:
            return None
        block.last_ns = now_ns
        return self._whole(block) if block.got == len(block.seen) else None

    def take_run(self, block_id: int, first: int, contents: NDArray[np.uint8], now_ns: int) -> bool:
        """Full payload packets ``first``, ``first + 1``, … of an open frame at once, (packets, bytes) uint8.

        False where anything about them is not as usual: nothing was taken then, and each goes through `take`.
        """
        block, count = self._open.get(block_id), len(contents)
        if block is None or block.extended or contents.shape[1] != self._content(extended=False):
            return False
        end = first + count
        if first <= block.highest or end >= len(block.seen) - 1:  # the last one may be shorter
            return False
        start = (first - 1) * contents.shape[1]
        np.frombuffer(block.pixels, np.uint8)[start : start + contents.size].reshape(contents.shape)[:] = contents
        block.seen[first:end] = b"\1" * count
        block.got += count
        block.highest = end - 1
        block.last_ns = now_ns
        self.tally.full_packets += count
        return True

    def _begin(self, packet: Packet, now_ns: int) -> _Open:
        """Room for a new frame; the oldest open one gives way."""
        if len(self._open) == OPEN_FRAMES:
            self._drop(next(iter(self._open.values())), "pushed out by newer frames")
        for older in self._open.values():
            older.closed = True
        if packet.block_id < self._newest_id:
            self.tally.counts["block ids began again"] += 1
        self._newest_id = packet.block_id
        seen = bytearray(self._packets(packet.extended) + 2)
        pixels = self._buffers.pop() if self._buffers else bytearray(self._geometry.frame_bytes)
        block = _Open(packet.block_id, packet.extended, pixels, seen, now_ns, now_ns)
        self._open[packet.block_id] = block
        return block

    def _place(self, block: _Open, packet: Packet) -> bool:
        """Put a packet where it belongs; False where it was not wanted."""
        last = len(block.seen) - 1
        at = {LEADER: 0, TRAILER: last}.get(packet.kind, packet.packet_id)
        if packet.kind == PAYLOAD and not 1 <= at < last:
            return self._odd(block, f"payload packet {packet.packet_id} where {last - 1} make a frame")
        if packet.kind not in (LEADER, TRAILER, PAYLOAD) or packet.extended != block.extended:
            self.tally.counts["packets of other kinds"] += 1
            return False
        if block.seen[at]:
            self.tally.counts["double packets"] += 1
            return False
        take = {LEADER: self._take_leader, TRAILER: self._take_trailer, PAYLOAD: self._take_payload}[packet.kind]
        if not take(block, packet):
            return False
        if at < block.highest:
            after = "after their trailer" if block.seen[last] else "out of order"
            self.tally.counts[f"packets {after}"] += 1
        block.seen[at] = 1
        block.got += 1
        block.highest = max(block.highest, at)
        return True

    def _take_leader(self, block: _Open, packet: Packet) -> bool:
        self.tally.leaders += 1
        block.leader_bytes = bytes(packet.content[:64])
        try:
            leader = decode_leader(packet.content)
        except DriverFault as fault:
            return self._odd(block, str(fault))
        if leader.payload_type != IMAGE or leader.padded or leader.geometry != self._geometry:
            odd = f"type {leader.payload_type}, " if leader.payload_type != IMAGE else ""
            odd += "padded, " if leader.padded else ""
            return self._odd(block, f"leader says {odd}{leader.geometry} where {self._geometry} was agreed")
        block.leader = leader
        return True

    def _take_trailer(self, block: _Open, packet: Packet) -> bool:
        self.tally.trailers += 1
        last = len(block.seen) - 1
        if packet.packet_id != last:
            sent = packet.packet_id - 1
            return self._odd(
                block, f"trailer after {sent} packets where {last - 1} of {self._packet_size} bytes were due"
            )
        rows = int.from_bytes(packet.content[4:8], "big") if len(packet.content) >= 8 else self._geometry.rows
        if rows not in (0, self._geometry.rows):  # 0 says nothing: seen from Aravis' camera
            return self._odd(block, f"trailer says {rows} rows where {self._geometry.rows} were agreed")
        block.closed = True
        return True

    def _take_payload(self, block: _Open, packet: Packet) -> bool:
        full = self._content(block.extended)
        start = (packet.packet_id - 1) * full
        wanted = min(full, len(block.pixels) - start)
        size = len(packet.content)
        if size != wanted and not (wanted < full and wanted < size <= full):  # the last one may be padded
            return self._odd(block, f"payload packet {packet.packet_id} has {size} bytes where {wanted} were due")
        block.pixels[start : start + wanted] = packet.content[:wanted]
        self.tally.full_packets += size == min(full, len(block.pixels))
        return True

    def _odd(self, block: _Open, cause: str) -> bool:
        """The frame is not what was agreed; it is refused as a whole."""
        block.refused = cause
        self.tally.refused += 1
        self.tally.last_refusal = cause
        return False

    def _whole(self, block: _Open) -> Frame:
        assert block.leader is not None
        overtaken = block.first_ns < self._newest_ns
        self._newest_ns = max(self._newest_ns, block.first_ns)
        timestamp = 0 if overtaken else block.leader.timestamp
        frame = Frame(block.block_id, timestamp, block.pixels, block.first_ns)
        self._close(block)
        return frame

    def recycle(self, frame: Frame) -> None:
        """Nobody looks at the frame's pixels any more: the next one may be written there, every byte of it."""
        if len(self._buffers) < OPEN_FRAMES + WHOLE_FRAMES:
            self._buffers.append(frame.pixels)

    def _drop(self, block: _Open, why: str) -> None:
        if block.refused is None:
            self.tally.incomplete += 1
            ranges = block.missing(len(block.seen) - 1)
            named = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in ranges[:4])
            more = f" and {len(ranges) - 4} more ranges" if len(ranges) > 4 else ""
            why = f"incomplete, {why}: packets {named}{more} of 0-{len(block.seen) - 1} missing"
        self.dropped.append(Dropped(block.block_id, why, block.leader_bytes))
        self._buffers.append(block.pixels)
        self._close(block)

    def _close(self, block: _Open) -> None:
        del self._open[block.block_id]
        self._done.append(block.block_id)

    def due(self, now_ns: int) -> list[Missing]:
        """Give up frames that are overdue, and say what to ask for again. Call every few milliseconds while busy."""
        wanted: list[Missing] = []
        for block in list(self._open.values()):
            if now_ns - block.last_ns >= self._patience_ns:
                self._drop(block, f"nothing more for {self._patience_ns / 1e6:.0f} ms")
                continue
            if not self._resend or block.asks >= ASKS or now_ns - block.last_ns < QUIET_NS:
                continue
            if now_ns - block.asked_ns < ASK_EVERY_NS:
                continue
            until = len(block.seen) - 1 if block.closed else block.highest
            ranges = block.missing(until)[:RANGES_PER_ASK]
            wanted += [Missing(block.block_id, first, last, block.extended) for first, last in ranges]
            if ranges:
                block.asks += 1
                block.asked_ns = now_ns
        return wanted


class HeaderColumns:
    """The headers of many datagrams as one column of numbers over their memory, (datagrams, bytes) uint8.

    Status, block, format and packet id stand in eight bytes, the id lowest: the next packet of a frame is one more.
    """

    def __init__(self, content: NDArray[np.uint8]) -> None:
        self._header: NDArray[np.uint64] = np.ndarray((len(content),), ">u8", content.base, 0, (content.strides[0],))

    def runs(self, lengths: NDArray[np.uint32]) -> list[tuple[int, int]]:
        """(begin, end) of packets of one kind, frame and length that follow one another."""
        count = len(lengths)
        header = self._header[:count].astype(np.uint64)
        ends = ((header[1:] - header[:-1] != 1) | (lengths[1:] != lengths[:-1])).nonzero()[0]
        begins = [0, *(ends + 1).tolist()]
        return list(zip(begins, [*begins[1:], count], strict=True)) if count else []

    def place(self, index: int) -> tuple[int, int] | None:
        """Block and packet id of a payload packet of good status; None where it is anything else."""
        header = int(self._header[index])
        status, block_id, word = header >> 48, header >> 32 & 0xFFFF, header & 0xFFFFFFFF
        return (block_id, word & 0xFFFFFF) if status == STATUS_OK and word >> 24 == PAYLOAD else None


class GvspReceiver:
    """The stream's socket: packets of one device into an assembler, whole frames out."""

    def __init__(
        self,
        host: str,
        device: str,
        assembler: Assembler,
        frame_bytes: int,
        ask_again: Callable[[Missing], None],
        monotonic_ns: Callable[[], int],
    ) -> None:
        """``host``: our own address. ``device``: the only address that is listened to."""
        self._host, self._device, self._assembler = host, device, assembler
        self._ask_again, self._monotonic_ns = ask_again, monotonic_ns
        self._wanted_bytes = max(SMALLEST_BUFFER, 4 * frame_bytes)  # four frames: a lane that was busy for a while
        self._socket: socket.socket | None = None
        self._datagrams = Datagrams(assembler.longest + 1)  # close together, so that they stay in the cache
        self._sender = sender_of(device)
        self._headers = HeaderColumns(self._datagrams.content)
        self._frames: deque[Frame] = deque(maxlen=WHOLE_FRAMES)
        self._news = asyncio.Event()
        self._lost: Exception | None = None
        self._tick: asyncio.TimerHandle | None = None
        self.granted_bytes = 0

    async def __aenter__(self) -> Self:
        """Open the socket; its buffer is read back, because the kernel cuts it silently. Raises OSError."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._wanted_bytes)
            self.granted_bytes = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # Linux doubles it
            self._socket.bind((self._host, 0))
        except OSError:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket, self._on_readable)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._socket is not None
        asyncio.get_running_loop().remove_reader(self._socket)
        if self._tick is not None:
            self._tick.cancel()
        self._socket.close()

    @property
    def port(self) -> int:
        """Where the stream is to be sent."""
        assert self._socket is not None
        return int(self._socket.getsockname()[1])

    @property
    def shortage(self) -> str | None:
        """Why frames may be lost in our own kernel, or None."""
        if self.granted_bytes >= self._wanted_bytes:
            return None
        return (
            f"the kernel grants {self.granted_bytes} of {self._wanted_bytes} bytes of socket buffer; "
            f"raise net.core.rmem_max"
        )

    def fail(self, error: Exception) -> None:
        """Make `frame` raise: control was lost, and with it the stream."""
        self._lost = error
        self._news.set()

    def _on_readable(self) -> None:
        assert self._socket is not None
        for _ in range(BATCHES_AT_ONCE):
            try:
                count = self._datagrams.receive(self._socket)
            except OSError as error:
                self.fail(error)
                break
            self._take_all(count)
            if count < AT_ONCE:
                break
        if self._assembler.busy and self._tick is None:
            self._tick = asyncio.get_running_loop().call_later(TICK_S, self._on_tick)

    def _take_all(self, count: int) -> None:
        """What came by one call: runs of full packets at once, everything else one by one."""
        now_ns = self._monotonic_ns()
        if (self._datagrams.senders[:count] != self._sender).any():
            runs = [(index, index + 1) for index in range(count)]
        else:
            runs = self._headers.runs(self._datagrams.lengths[:count])
        for begin, end in runs:
            if end - begin > 1 and self._take_run(begin, end, now_ns):
                continue
            for index in range(begin, end):
                self._take(index, now_ns)

    def _take_run(self, begin: int, end: int, now_ns: int) -> bool:
        size = int(self._datagrams.lengths[begin])
        contents = self._datagrams.content[begin:end, HEADER:size]
        place = self._headers.place(begin)
        return place is not None and self._assembler.take_run(*place, contents, now_ns)

    def _take(self, index: int, now_ns: int) -> None:
        counts = self._assembler.tally.counts
        if self._datagrams.senders[index] != self._sender:
            counts["packets from other addresses"] += 1
            return
        frame = None
        try:
            frame = self._assembler.take(self._datagrams.datagram(index), now_ns)
        except DriverFault:
            counts["damaged packets"] += 1
        if frame is not None:
            if len(self._frames) == WHOLE_FRAMES:
                counts[TOO_SLOW] += 1
                self._assembler.recycle(self._frames.popleft())
            self._frames.append(frame)
        if frame is not None or self._assembler.dropped:
            self._news.set()

    def _on_tick(self) -> None:
        self._tick = None
        for missing in self._assembler.due(self._monotonic_ns()):
            self._assembler.tally.counts["requests for packets"] += 1
            with contextlib.suppress(OSError):
                self._ask_again(missing)
        if self._assembler.dropped:
            self._news.set()
        if self._assembler.busy:
            self._tick = asyncio.get_running_loop().call_later(TICK_S, self._on_tick)

    async def news(self) -> tuple[list[Frame], list[Dropped]]:
        """Frames that became whole, and those that were given up; waits until there is one. Raises what `fail` got."""
        await self._news.wait()
        self._news.clear()
        if self._lost is not None:
            raise self._lost
        frames, dropped = list(self._frames), list(self._assembler.dropped)
        self._frames.clear()
        self._assembler.dropped.clear()
        return frames, dropped
