"""The SeedLink parser: both versions, any cutting of the stream, and everything that is no packet."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.wire.seedlink import LINE_BYTES, PAYLOAD_BYTES, SPECIMEN_BYTES, V3, V4, End, Info, Item, Junk, Line, Packet
from drivers.wire.seedlink import Reader as SeedLink
from hil.devices.miniseed import Channel, encode2, encode3, text_record

B1 = Channel("XX", "L3", "B1", "EHZ")
NOON_NS = 1_790_000_000_000_000_000
RECORD2 = encode2(B1, NOON_NS, 250.0, list(range(100)))
RECORD3 = encode3(B1, NOON_NS, 250.0, list(range(20)))


def packet3(number: int, record: bytes = RECORD2) -> bytes:
    return b"SL%06X" % number + record


def packet4(number: int, record: bytes = RECORD3, form: bytes = b"3", subform: bytes = b"D") -> bytes:
    return struct.pack("<2sccIQB", b"SE", form, subform, len(record), number, 5) + b"XX_L3" + record


P1, P2 = Packet(1, "", RECORD2), Packet(2, "", RECORD2)
Q1, Q2 = Packet(1, "XX_L3", RECORD3), Packet(2, "XX_L3", RECORD3)


def streaming(version: int) -> SeedLink:
    reader = SeedLink()
    reader.stream(version)
    return reader


def test_lines_come_before_packets_however_they_end() -> None:
    reader = SeedLink()
    assert reader.feed(b"SeedLink v3.1 :: SLPROTO:3.1\r\nla") == [Line("SeedLink v3.1 :: SLPROTO:3.1")]
    assert reader.feed(b"ne\r\nOK\r\nERROR ARGUMENTS x\n") == [Line("lane"), Line("OK"), Line("ERROR ARGUMENTS x")]
    reader.stream(3)
    assert reader.feed(packet3(1)) == [Packet(1, "", RECORD2)]


def test_the_golden_version_4_header_is_read() -> None:
    head = bytes.fromhex("53453344be000000060000000000000008") + b"XX_LANE3"
    payload = b"MS\x03" + bytes(187)
    assert streaming(4).feed(head + payload) == [Packet(6, "XX_LANE3", payload)]


@pytest.mark.parametrize(
    ("version", "stream", "items"),
    [
        (3, packet3(10) + packet3(0xFFFFFF) + b"END", [Packet(10, "", RECORD2), Packet(0xFFFFFF, "", RECORD2), End()]),
        (3, packet3(1, RECORD3), [Packet(1, "", RECORD3)]),
        (3, b"SLINFO  " + text_record("L3", "<x/>"), [Info(text_record("L3", "<x/>"), False)]),
        (3, packet3(1) + b"ERROR\r\n" + packet3(2), [P1, Info(b"ERROR", True), P2]),
        (4, packet4(1) + packet4(2**40, RECORD2, b"2"), [Q1, Packet(2**40, "XX_L3", RECORD2)]),
        (4, packet4(0, b"{}", b"J", b"I"), [Info(b"{}", False)]),
        (4, packet4(0, b"{}", b"J", b"E"), [Info(b"{}", True)]),
        (3, packet3(1) + b"LP L3\r\n" + packet3(2), [P1, Junk("no packet", 7, b"LP L3\r\n"), P2]),
        (3, packet3(1) + bytes(3584) + packet3(2), [P1, Junk("no packet", 3584, bytes(SPECIMEN_BYTES)), P2]),
        (4, packet4(1) + b"SE?D" + packet4(2), [Q1, Junk("no packet", 4, b"SE?D"), Q2]),
    ],
)
def test_a_stream_gives_the_same_items_wherever_it_is_cut(version: int, stream: bytes, items: list[Item]) -> None:
    assert streaming(version).feed(stream) == items
    reader, found = streaming(version), []
    for byte in stream:
        found += reader.feed(bytes((byte,)))
    assert found == items


def test_a_record_that_is_none_costs_itself_and_the_next_packet_is_found() -> None:
    found = streaming(3).feed(packet3(1, b"x" * 512) + packet3(2))
    assert [type(item) for item in found] == [Junk, Packet]
    assert found[0] == Junk("packet without a record: no miniSEED header", 520, packet3(1, b"x" * 512)[:SPECIMEN_BYTES])
    assert found[1] == Packet(2, "", RECORD2)


@pytest.mark.parametrize(("length", "station"), [(PAYLOAD_BYTES + 1, 5), (2**32 - 1, 5), (100, 22), (100, 255)])
def test_a_length_that_asks_for_too_much_room_is_refused_and_nothing_is_kept_for_it(length: int, station: int) -> None:
    reader = streaming(4)
    head = struct.pack("<2sccIQB", b"SE", b"3", b"D", length, 1, station)
    found = reader.feed(head + packet4(7))
    assert [type(item) for item in found] == [Junk, Packet]
    assert isinstance(found[0], Junk)
    assert found[0].cause == f"packet or station longer than {PAYLOAD_BYTES} and 21 bytes"
    assert reader.held_bytes == 0


def test_a_line_without_an_end_is_thrown_away_and_counted() -> None:
    reader = SeedLink()
    found = [item for _ in range(20) for item in reader.feed(b"y" * 1000)]
    assert reader.held_bytes <= LINE_BYTES + 1000
    assert {type(item) for item in found} == {Junk}


def test_each_version_asks_in_its_own_words() -> None:
    assert (V3.station("XX", "L3"), V4.station("XX", "L3")) == ("STATION L3 XX", "STATION XX_L3")
    assert (V3.select("B1", "Z"), V4.select("B1", "Z")) == ("SELECT B1??Z", "SELECT B1_?_?_Z")
    assert (V3.data(9, NOON_NS), V4.data(9, NOON_NS)) == (
        "DATA 00000A 2026,09,21,14,13,20",
        "DATA 10 2026-09-21T14:13:20Z",
    )
    assert (V3.data(0xFFFFFF, None), V4.data(9, None)) == ("DATA 000000", "DATA 10")
    assert (V3.data(None, NOON_NS), V4.data(None, NOON_NS)) == (
        "TIME 2026,09,21,14,13,20",
        "DATA ALL 2026-09-21T14:13:20Z",
    )
    assert V3.data(None, None) == V4.data(None, None) == "DATA"
    with pytest.raises(ValueError, match="neither 3 nor 4"):
        SeedLink().stream(5)


@given(st.sampled_from([None, 3, 4]), st.lists(st.binary(max_size=400), max_size=30))
def test_any_bytes_give_items_and_hold_bounded_memory(version: int | None, chunks: list[bytes]) -> None:
    reader = SeedLink() if version is None else streaming(version)
    for chunk in chunks:
        for item in reader.feed(chunk):
            if isinstance(item, Junk):
                assert len(item.raw) <= SPECIMEN_BYTES
                assert item.lost_bytes > 0
    assert reader.held_bytes <= PAYLOAD_BYTES + 100


@given(st.sampled_from([3, 4]), st.lists(st.one_of(st.binary(max_size=40), st.none()), max_size=12), st.data())
def test_what_stands_between_packets_never_hides_more_than_a_packet_it_imitates(
    version: int, parts: list[bytes | None], data: st.DataObject
) -> None:
    whole = packet3(5) if version == 3 else packet4(5)
    stream = b"".join(whole if part is None else part.replace(b"S", b"s").replace(b"E", b"e") for part in parts)
    reader, found, at = streaming(version), [], 0
    while at < len(stream):
        step = data.draw(st.integers(1, 600))
        found += reader.feed(stream[at : at + step])
        at += step
    assert sum(isinstance(item, Packet) for item in found) == parts.count(None)
