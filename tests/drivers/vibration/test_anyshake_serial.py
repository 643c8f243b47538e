"""The AnyShake driver: framed by length, checked by everything else, and timed by the lower envelope."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Iterable
from contextlib import aclosing
from functools import reduce
from itertools import pairwise
from operator import xor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.driver import WrongDevice
from drivers.reading import ClockQuality
from drivers.vibration import anyshake_serial as any3
from drivers.vibration.anyshake_serial import Envelope, Explorer, Frame, FrameReader, Milliseconds, decode

THREE_INT32_250_HZ = 0b00_101_0 << 26 | 0b11_11_11 << 20 | 1
CLOCK = ClockQuality(True, 1_000_000)
MS = 10**6


def framed(body: bytes) -> bytes:
    return b"\x01\xfe" + body + bytes((reduce(xor, body, 0),)) + b"\xef\x10"


def frame(milliseconds: int, counts: Iterable[int] = range(75), word: int = THREE_INT32_250_HZ) -> bytes:
    return framed(struct.pack("<qII", milliseconds, word, 0xABCD) + b"".join(struct.pack("<i", c) for c in counts))


def configured(port: str = "line", **others: Any) -> any3.Config:
    channels = [{"number": n, "sensor": f"B{n}"} for n in (1, 2, 3)]
    return any3.Config(driver="vibration.anyshake_serial", port=port, **{"channels": channels, **others})


def parts(stream: bytes, size: int = 7) -> tuple[list[int], bytes]:
    """Milliseconds of the frames that come out, and all that was passed over."""
    reader, times, rest = FrameReader(), [], b""
    for start in range(0, len(stream), size):
        for item in reader.feed(stream[start : start + size]):
            if isinstance(item, Frame):
                times.append(item.milliseconds)
            else:
                rest += item
    return times, rest


def test_three_int32_channels_at_250_hz_in_100_ms_are_321_bytes() -> None:
    whole = frame(123_400)
    assert len(whole) == 321
    got = decode(whole)
    assert (got.milliseconds, got.shape.rate_hz, got.shape.interval_ms, got.shape.gnss) == (123_400, 250, 100, False)
    assert {n: counts.tolist() for n, counts in got.counts.items()} == {
        n: [float(c) for c in range(25 * n - 25, 25 * n)] for n in (1, 2, 3)
    }


def test_the_identity_is_told_in_one_second_of_ten() -> None:
    assert decode(frame(10_900)).device_id == "0000ABCD"
    assert decode(frame(11_000)).device_id is None
    assert not decode(frame(10_000, word=THREE_INT32_250_HZ & ~1)).sends_id


@pytest.mark.parametrize(("kind", "size"), [(1, 2), (2, 3), (3, 4)])
def test_all_widths_are_signed(kind: int, size: int) -> None:
    values = [-1, 1, -(1 << 8 * size - 1), (1 << 8 * size - 1) - 1, 0]
    word = 0b00_010_0 << 26 | kind << 10  # 50 Hz in 100 ms, channel 8 alone
    body = struct.pack("<qII", 100, word, 0) + b"".join(v.to_bytes(size, "little", signed=True) for v in values)
    assert decode(framed(body)).counts[8].tolist() == [float(v) for v in values]


def test_headers_and_trailers_inside_counts_do_not_cut_a_frame() -> None:
    trap = int.from_bytes(b"\xef\x10\x01\xfe", "little", signed=True)
    stream = b"".join(frame(n * 100, [trap] * 75) for n in range(1, 6))
    assert parts(stream) == ([100, 200, 300, 400, 500], b"")


def test_junk_and_a_cut_frame_cost_only_themselves_and_are_handed_back() -> None:
    whole = [frame(n * 100) for n in range(1, 6)]
    stream = b"\xfe\x01junk\x01" + whole[0] + whole[1][:200] + whole[2] + b"\x01\xfe\xff\xff" + whole[3] + whole[4]
    times, rest = parts(stream)
    assert times == [100, 300, 400, 500]
    assert rest == b"\xfe\x01junk\x01" + whole[1][:200] + b"\x01\xfe\xff\xff"


def test_a_length_that_was_damaged_to_32_kb_is_not_waited_for() -> None:
    long = bytearray(frame(100))
    long[13] = 0b11_111_011  # 1000 Hz in 1 s
    times, rest = parts(bytes(long) + frame(200))
    assert times == [200]
    assert rest == bytes(long)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=400) | st.sampled_from([frame(100), frame(200)[:50], b"\x01\xfe"]), max_size=8))
def test_any_bytes_come_out_once_as_frames_or_rest_in_bounded_memory(chunks: list[bytes]) -> None:
    reader, out = FrameReader(), b""
    for chunk in chunks:
        for item in reader.feed(chunk):
            out += item.raw if isinstance(item, Frame) else item
        assert len(reader._buffer) <= any3.LONGEST_FRAME
    assert out + reader._buffer == b"".join(chunks)


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 320), st.integers(1, 255))
def test_one_spoilt_byte_is_never_a_frame_with_other_counts(at: int, flip: int) -> None:
    spoilt = bytearray(frame(100))
    spoilt[at] ^= flip
    times, _ = parts(bytes(spoilt) + frame(200))
    assert times == [200]


def test_lost_frames_are_a_gap_and_a_time_between_is_not_believed() -> None:
    clock = Milliseconds()
    assert [clock.judge(ms, 100).status for ms in (1000, 1100, 1400)] == ["ok", "ok", "gap of 0.200 s"]
    assert not clock.judge(1433, 100).believed  # damage that the XOR let through
    assert clock.judge(1500, 100).status == "ok"


def test_a_restart_is_believed_with_its_second_frame() -> None:
    clock = Milliseconds()
    clock.judge(500_000, 100)
    assert not clock.judge(0, 100).believed
    step = clock.judge(100, 100)
    assert (step.believed, step.restarted) == (True, True)
    assert "jumped by -499.9 s" in step.status


def test_the_lower_envelope_finds_drift_and_start_where_a_mean_would_be_late() -> None:
    chance, envelope = random.Random(1), Envelope()
    late_ns: list[float] = []
    for n in range(6000):
        device_ns = n * 100 * MS
        true_ns = round(device_ns * (1 + 50e-6)) + 7 * 10**12
        late_ns.append(chance.expovariate(1 / (8 * MS)))
        envelope.see(device_ns, true_ns + round(late_ns[-1]))
    worst_ns = max(
        abs(envelope.monotonic_ns(ns) - (round(ns * (1 + 50e-6)) + 7 * 10**12)) for ns in range(0, 600 * 10**9, 10**10)
    )
    assert np.mean(late_ns) > 7 * MS
    assert worst_ns < 1 * MS


def test_before_a_minute_the_envelope_is_the_earliest_arrival() -> None:
    envelope = Envelope()
    for n, late_ms in enumerate((30, 5, 20, 12)):
        envelope.see(n * 100 * MS, n * 100 * MS + late_ms * MS)
    assert envelope.monotonic_ns(300 * MS) == 305 * MS


def test_blocks_join_without_a_tear_under_jitter_and_state_their_clock() -> None:
    explorer, chance, blocks = Explorer("vib-3", configured()), random.Random(2), []
    for n in range(1, 600):
        arrival_ns = n * 100 * MS + 200 * MS + round(chance.uniform(0, 4 * MS))
        made = explorer.blocks(decode(frame(n * 100)), 10**18 + arrival_ns, arrival_ns, CLOCK)
        assert made is not None
        blocks.append(made[0])
    settled = blocks[100:]
    assert all(abs(b.stamp.time_utc_ns - a.end_utc_ns) <= 1 for a, b in pairwise(settled))
    assert settled[0].stamp.time_utc_ns - 10**18 == pytest.approx(101 * 100 * MS, abs=2 * MS)
    assert (blocks[0].sensor, blocks[0].channel, blocks[0].rate_hz) == ("B1", "DHZ", 250.0)
    assert [block.sequence for block in blocks] == list(range(599))
    assert blocks[0].stamp.clock == ClockQuality(True, 1_000_000 + 16_000_000 + 100_000_000)


def test_gnss_time_is_taken_as_it_is_and_told_where_it_cannot_be() -> None:
    word = THREE_INT32_250_HZ | 1 << 26
    for clock_s, status in ((0, "ok"), (30, "its GNSS time and the lane's clock differ by 30.0 s")):
        explorer = Explorer("vib-3", configured())
        utc_ns = (1_700_000_000 + clock_s) * 10**9
        blocks = explorer.blocks(decode(frame(1_700_000_000_000 - 200, word=word)), utc_ns, 5, CLOCK)
        assert blocks is not None
        assert blocks[0].stamp.time_utc_ns == 1_699_999_999_800 * MS
        assert blocks[0].status == status
        assert blocks[0].stamp.clock == CLOCK


def test_saturation_and_a_stuck_channel_are_told_for_that_channel_alone() -> None:
    explorer, words = Explorer("vib-3", configured()), {}
    for n in range(1, 25):
        counts = [2**31 - 1, *range(24), *[7] * 25, *range(25)]
        blocks = explorer.blocks(decode(frame(n * 100, counts)), n * 100 * MS, n * 100 * MS, CLOCK)
        assert blocks is not None
        words = {block.sensor: block.status for block in blocks}
    assert words == {
        "B1": "saturated: 1 of 25 samples at full scale",
        "B2": "stuck at 7 counts for over 2 s",
        "B3": "ok",
    }


@pytest.mark.parametrize(
    ("others", "cause"),
    [
        ({"rate_hz": 100}, "sends 250 Hz in 100 ms, configured are 100 Hz"),
        ({"channels": [{"number": 5, "sensor": "G1"}]}, "channel 5 is off there, on are 1, 2, 3"),
        ({"device_id": "00001234"}, "unit 0000ABCD answers, 00001234 is configured"),
    ],
)
def test_another_rate_channel_or_unit_is_a_wrong_device(others: dict[str, Any], cause: str) -> None:
    with pytest.raises(WrongDevice, match=cause):
        Explorer("vib-3", configured(**others)).blocks(decode(frame(10_000)), 0, 0, CLOCK)


def test_frames_are_read_through_damage_and_the_damage_is_kept(world: Any, emulated: Any) -> None:
    async def run() -> None:
        async with emulated("anyshake_serial", "--told") as unit:
            config = configured(unit.place, silence_s=10)
            async with aclosing(any3.readings("vib-3", config, world.around())) as stream:
                coming = asyncio.ensure_future(anext(stream))
                while not coming.done():  # the line opens while we wait, and what came before it did is lost
                    await unit.order(do="send")
                    await asyncio.wait([coming], timeout=0.05)
                await unit.order(do="xor")
                await unit.order(do="send", frames=1)
                await unit.order(do="send", samples=[[5] * 25, [-6] * 25, [7] * 25])
                block = await anext(stream)
                while block.samples[0] != -6:
                    block = await anext(stream)
            assert (block.sensor, block.status) == ("B2", "gap of 0.100 s")

    asyncio.run(run())
    assert [cause for cause, raw in world.rejected if len(raw) == 321] == ["vib-3: bytes that are no frame"]


def test_a_unit_is_named_and_comes_back_after_the_plug(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("anyshake_serial") as unit:
            config = configured(unit.place)
            identity = await any3.probe("vib-3", config, world.around())
            assert (identity.vendor, identity.serial) == ("AnyShake", "12F81AC0")
            assert identity.model == "Explorer, channels 1, 2, 3 at 250 Hz, no GNSS, time by arrival"
            async with aclosing(any3.readings("vib-3", config, world.around())) as stream:
                assert (await anext(stream)).status == "ok"
                await unit.order(do="unplug")
                with pytest.raises(ConnectionError, match="unplugged"):
                    while True:
                        await anext(stream)
            with pytest.raises(ConnectionError, match="cannot open"):
                await first(1, any3, config, world.around())
            await unit.order(do="plug")
            assert len(await first(3, any3, config, world.around())) == 3

    asyncio.run(run())


def test_a_line_without_frames_is_a_timeout_that_says_what_came(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("anyshake_serial", "--told") as unit:
            config = configured(unit.place, silence_s=0.3)
            with pytest.raises(TimeoutError, match="no bytes; check the cable"):
                await first(1, any3, config, world.around())
            reading = asyncio.ensure_future(first(1, any3, config, world.around()))
            while not reading.done():
                await unit.order(do="raw", hex="00ff")
                await asyncio.wait([reading], timeout=0.02)
            with pytest.raises(TimeoutError, match=r"\d+ bytes came; check baud_rate"):
                reading.result()

    asyncio.run(run())
