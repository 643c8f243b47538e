"""Stream packets: what makes a frame, what never does, and memory that a leader cannot blow up."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.driver import DriverFault
from drivers.wire import gvsp
from drivers.wire.gvsp import Assembler, Frame, Geometry

SIZE = Geometry(12, 16, gvsp.MONO16)
PACKET = 100  # 64 bytes of pixels: 6 packets a frame
MS = 1_000_000


def header(block_id: int, kind: int, packet_id: int, *, extended: bool = False, status: int = 0) -> bytes:
    if extended:
        return struct.pack(">HHIQI", status, 0, 0x80000000 | kind << 24, block_id, packet_id)
    return struct.pack(">HHI", status, block_id, kind << 24 | packet_id)


def leader(block_id: int, *, size: Geometry = SIZE, timestamp: int = 7, extended: bool = False) -> bytes:
    content = struct.pack(">HHQIIIIIHH", 0, 1, timestamp, size.pixel_format, size.columns, size.rows, 0, 0, 0, 0)
    return header(block_id, gvsp.LEADER, 0, extended=extended) + content


def packets(block_id: int, pixels: bytes, *, extended: bool = False) -> list[bytes]:
    """Leader, payload and trailer of one frame."""
    full = PACKET - 28 - (20 if extended else 8)
    pieces = [pixels[at : at + full] for at in range(0, len(pixels), full)]
    sent = [leader(block_id, extended=extended)]
    sent += [header(block_id, gvsp.PAYLOAD, n, extended=extended) + piece for n, piece in enumerate(pieces, 1)]
    trailer = struct.pack(">HHI", 0, 1, SIZE.rows)
    return [*sent, header(block_id, gvsp.TRAILER, len(pieces) + 1, extended=extended) + trailer]


def pixels_of(block_id: int) -> bytes:
    return random.Random(block_id).randbytes(SIZE.frame_bytes)


def assembler(*, resend: bool = False, size: Geometry = SIZE, packet: int = PACKET) -> Assembler:
    return Assembler(size, packet, resend=resend, patience_ns=100 * MS)


def fed(to: Assembler, *datagrams: bytes, at_ns: int = 0) -> list[Frame]:
    taken = (to.take(memoryview(datagram), at_ns) for datagram in datagrams)
    return [frame for frame in taken if frame is not None]


@given(st.permutations(packets(5, pixels_of(5)) * 2))
def test_any_order_and_doubles_make_the_frame_once(shuffled: list[bytes]) -> None:
    (frame,) = fed(assembler(), *shuffled)
    assert (frame.block_id, frame.timestamp, frame.pixels) == (5, 7, pixels_of(5))


def test_block_ids_wrap_and_extended_ones_do_not() -> None:
    stream = assembler()
    for block_id in (65534, 65535, 1, 2):
        (frame,) = fed(stream, *packets(block_id, pixels_of(block_id)))
        assert (frame.block_id, frame.pixels) == (block_id, pixels_of(block_id))
    (frame,) = fed(stream, *packets(1 << 40, pixels_of(9), extended=True))
    assert (frame.block_id, frame.pixels) == (1 << 40, pixels_of(9))


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(1, 3)), min_size=1, max_size=8))
def test_a_frame_with_any_packet_lost_is_never_shown_nor_filled_from_another(lost: list[tuple[int, int]]) -> None:
    stream = assembler()
    assert len(fed(stream, *packets(100, pixels_of(100)))) == 1
    for block_id in (1, 2, 3):
        kept = [packet for n, packet in enumerate(packets(block_id, pixels_of(block_id))) if (n, block_id) not in lost]
        shown = fed(stream, *kept)
        assert [frame.pixels for frame in shown] == ([pixels_of(block_id)] if len(kept) == 8 else [])
    stream.due(200 * MS)
    assert stream.tally.incomplete == len({block_id for _, block_id in lost})
    assert not stream.busy


def test_missing_packets_are_asked_for_after_a_pause_and_not_for_ever() -> None:
    stream, sent = assembler(resend=True), packets(1, pixels_of(1))
    fed(stream, *sent[:2], *sent[4:6])
    assert stream.due(5 * MS) == []  # perhaps only out of order
    assert [(m.first, m.last) for m in stream.due(30 * MS)] == [(2, 3)]  # 6 and the trailer may still be on the way
    fed(stream, sent[7], at_ns=31 * MS)
    assert [(m.first, m.last) for m in stream.due(60 * MS)] == [(2, 3), (6, 6)]
    asked = sum(bool(stream.due(at * MS)) for at in range(61, 130))
    assert asked == gvsp.ASKS - 2
    stream.due(131 * MS)
    (dropped,) = stream.dropped
    assert "packets 2-3, 6 of 0-7 missing" in dropped.cause
    assert fed(stream, *sent) == []  # too late


def test_a_device_that_no_longer_has_a_packet_is_not_asked_again() -> None:
    stream, sent = assembler(resend=True), packets(1, pixels_of(1))
    fed(stream, *sent[:3], *sent[4:])
    assert len(stream.due(30 * MS)) == 1
    fed(stream, header(1, gvsp.PAYLOAD, 3, status=gvsp.STATUS_UNAVAILABLE), at_ns=31 * MS)
    assert stream.due(90 * MS) == []


@pytest.mark.parametrize(
    ("datagram", "cause"),
    [
        (leader(1, size=Geometry(65535, 65535, gvsp.MONO16)), "leader says 65535x65535 Mono16 where 16x12 Mono16"),
        (leader(1, size=Geometry(12, 16, gvsp.MONO8)), "leader says 16x12 Mono8"),
        (leader(1)[:20], "leader of 12 bytes"),
        (header(1, gvsp.PAYLOAD, 7) + bytes(64), "payload packet 7 where 6 make a frame"),
        (header(1, gvsp.PAYLOAD, 2) + bytes(60), "payload packet 2 has 60 bytes where 64 were due"),
        (header(1, gvsp.TRAILER, 9) + bytes(8), "trailer after 8 packets where 6 of 100 bytes were due"),
        (header(1, gvsp.TRAILER, 7) + struct.pack(">HHI", 0, 1, 6), "trailer says 6 rows where 12 were agreed"),
    ],
)
def test_what_was_not_agreed_is_refused_as_a_whole_frame(datagram: bytes, cause: str) -> None:
    stream = assembler()
    assert fed(stream, datagram, *packets(1, pixels_of(1))) == []
    (dropped,) = stream.dropped
    assert cause in dropped.cause
    assert fed(stream, *packets(2, pixels_of(2)))[0].pixels == pixels_of(2)


def test_memory_stays_flat_whatever_comes() -> None:
    chance, stream = random.Random(1), assembler()
    tracemalloc.start()
    try:
        for n in range(20_000):
            if n == 2_000:
                before = tracemalloc.get_traced_memory()[0]
            kind, block_id = chance.choice((1, 2, 3)), chance.randrange(1, 1 << 16)
            body = leader(block_id, size=Geometry(65535, 65535, gvsp.MONO16))[8:] if kind == 1 else bytes(64)
            fed(stream, header(block_id, kind, chance.randrange(1 << 24)) + body, at_ns=n * MS)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=120))
def test_any_bytes_are_a_packet_or_a_fault(datagram: bytes) -> None:
    stream = assembler()
    try:
        assert stream.take(memoryview(datagram), 0) is None
    except DriverFault as fault:
        assert "stream packet" in str(fault)


@pytest.mark.parametrize(("size", "cause"), [(40, "no room"), (20_000, "no room")])
def test_a_packet_size_without_room_is_refused(size: int, cause: str) -> None:
    with pytest.raises(DriverFault, match=cause):
        assembler(packet=size)


def test_pixels_unpack_as_measured_on_other_hands_decoders() -> None:
    assert gvsp.unpack(bytes.fromhex("0108"), Geometry(1, 1, gvsp.MONO16)).tolist() == [[0x0801]]
    assert gvsp.unpack(bytes.fromhex("01080f"), Geometry(1, 2, gvsp.MONO12_PACKED)).tolist() == [[0x018, 0x0F0]]
    assert gvsp.unpack(bytes.fromhex("01080f8102"), Geometry(1, 3, gvsp.MONO12_PACKED)).tolist() == [
        [0x18, 0xF0, 0x812]
    ]
    assert gvsp.unpack(b"\x07\xff", Geometry(2, 1, gvsp.MONO8)).tolist() == [[7], [255]]


def recorded(path: Path) -> Iterator[tuple[int, bytes]]:
    """(time ns, UDP payload) of a raw-IP capture."""
    capture, at = path.read_bytes(), 24
    while at < len(capture):
        seconds, micros, size, _ = struct.unpack_from("<IIII", capture, at)
        yield seconds * 10**9 + micros * 1000, capture[at + 16 + 28 : at + 16 + size]
        at += 16 + size


def played(path: Path) -> tuple[Assembler, list[Frame]]:
    stream = Assembler(Geometry(120, 160, gvsp.MONO16), 1436, resend=True, patience_ns=100 * MS)
    frames: list[Frame] = []
    now_ns = 0
    for now_ns, datagram in recorded(path):
        stream.due(now_ns)
        frames += fed(stream, datagram, at_ns=now_ns)
    stream.due(now_ns + 10**9)
    return stream, frames


def test_of_the_recorded_losses_only_whole_frames_are_used(cases: Path) -> None:
    stream, frames = played(cases / "39-gvsp-lost-packets" / "stream.pcap")
    assert [frame.block_id for frame in frames] == [1, 5]
    assert [(dropped.block_id, dropped.cause.partition(": ")[2]) for dropped in stream.dropped] == [
        (2, "packets 7-9 of 0-29 missing"),
        (3, "packets 29 of 0-29 missing"),
        (4, "packets 0 of 0-29 missing"),
    ]
    counts = [gvsp.unpack(frame.pixels, Geometry(120, 160, gvsp.MONO16)) for frame in frames]
    assert all(28_000 < np.median(image) < 30_000 for image in counts)


def test_recorded_leaders_without_pixels_are_no_frame(cases: Path) -> None:
    stream, frames = played(cases / "41-gvsp-leaders-only" / "stream.pcap")
    assert frames == []
    assert (stream.tally.leaders, stream.tally.full_packets, stream.tally.trailers) == (50, 0, 50)
