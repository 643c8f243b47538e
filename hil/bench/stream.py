"""The imager's stream: what a packet costs the receiver, event loop included, beside a loop that only takes packets.

Both are handed the same datagrams over loopback, some at a time, and only taking them is timed: CPU time of this
thread, the kernel's part of it included.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import time
from collections.abc import Iterator
from statistics import median

from drivers.wire.gvsp import MONO16, Assembler, Geometry, GvspReceiver
from hil.bench.measure import Row

ROWS, COLUMNS, PACKET_BYTES = 512, 512, 1400
AT_ONCE = 387  # packets that lie in the socket when the receiver is woken: such imagers send a frame at once
FRAMES = 20
HOST, IMAGER = "127.0.0.1", "127.0.0.3"


def rows() -> list[Row]:
    """CPU a packet, and what that allows at most."""
    ours, bare = asyncio.run(_both())
    frame_mb, packets = ROWS * COLUMNS * 2 / 1e6, len(_datagrams(1))
    rates = [frame_mb / (each * 1e-6 * packets) for each in (ours, bare)]
    size = f"{ROWS} x {COLUMNS} in {PACKET_BYTES} bytes"
    return [
        Row(f"GVSP receiver, CPU a packet, {size}", ours, bare, "us", "a bare recv loop (goal: at most 2 x)"),
        Row("GVSP receiver, MB/s of one core", rates[0], rates[1], "MB", "a bare recv loop"),
    ]


def _datagrams(block_id: int) -> list[bytes]:
    """One frame as an imager sends it."""
    full = PACKET_BYTES - 36
    pixels = bytes(ROWS * COLUMNS * 2)
    leader = struct.pack(">HHQIIIIIHH", 0, 1, block_id, MONO16, COLUMNS, ROWS, 0, 0, 0, 0)
    parts = [(1, leader), *((3, pixels[at : at + full]) for at in range(0, len(pixels), full))]
    parts.append((2, struct.pack(">HHI", 0, 1, ROWS)))
    return [struct.pack(">HHI", 0, block_id, kind << 24 | n) + content for n, (kind, content) in enumerate(parts)]


def _bursts(datagrams: list[bytes]) -> Iterator[list[bytes]]:
    return (datagrams[at : at + AT_ONCE] for at in range(0, len(datagrams), AT_ONCE))


async def _both() -> tuple[float, float]:
    """Medians over frames, us a packet: the receiver, and the bare loop; frame about with frame."""
    geometry = Geometry(ROWS, COLUMNS, MONO16)
    assembler = Assembler(geometry, PACKET_BYTES, resend=False, patience_ns=60 * 10**9)
    receiver = GvspReceiver(HOST, IMAGER, assembler, geometry.frame_bytes, lambda _: None, time.monotonic_ns)
    with _socket(HOST) as plain, _socket(IMAGER) as stream:
        plain.setblocking(False)
        async with receiver:
            ours, bare = [], []
            for frame in [_datagrams(block_id) for block_id in range(1, FRAMES + 1)]:
                ours.append(await _taken(stream, receiver, assembler, frame))
                bare.append(_taken_bare(stream, plain, frame))
    return median(ours), median(bare)


def _socket(address: str) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    made.bind((address, 0))
    return made


async def _taken(stream: socket.socket, receiver: GvspReceiver, assembler: Assembler, frame: list[bytes]) -> float:
    """us a packet of one frame; the frame must have become whole."""
    spent_ns = 0
    waiting, place = asyncio.ensure_future(receiver.news()), (HOST, receiver.port)
    for burst in _bursts(frame):
        for datagram in burst:
            stream.sendto(datagram, place)
        began_ns = time.thread_time_ns()
        await asyncio.sleep(0)
        await asyncio.sleep(0)  # the loop looks at its sockets once a turn
        spent_ns += time.thread_time_ns() - began_ns
    frames, dropped = await asyncio.wait_for(waiting, 5)
    if len(frames) != 1 or dropped:
        raise RuntimeError(f"bench: {len(frames)} frames whole and {len(dropped)} lost of one that was sent")
    assembler.recycle(frames[0])
    return spent_ns / 1e3 / len(frame)


def _taken_bare(stream: socket.socket, plain: socket.socket, frame: list[bytes]) -> float:
    """us a packet of the same, taken off the socket and left."""
    buffer, place, spent_ns, packets = bytearray(9001), plain.getsockname(), 0, 0
    for burst in _bursts(frame):
        for datagram in burst:
            stream.sendto(datagram, place)
        began_ns = time.thread_time_ns()
        with contextlib.suppress(BlockingIOError):
            while True:
                plain.recv_into(buffer)
                packets += 1
        spent_ns += time.thread_time_ns() - began_ns
    return spent_ns / 1e3 / packets
