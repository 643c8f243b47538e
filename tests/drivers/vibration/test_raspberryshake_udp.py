"""The DATACAST driver: never evaluated, one address alone, and gaps by time."""

from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.driver import DriverFault
from drivers.vibration import raspberryshake_udp as cast
from drivers.vibration.raspberryshake_udp import Shake, decode

SECOND = 10**9
START_S = 1_700_000_000


@pytest.fixture
def listen() -> str:
    """A UDP port of ours that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def configured(listen: str = "127.0.0.1:8888", **others: Any) -> cast.Config:
    return cast.Config(
        driver="vibration.raspberryshake_udp",
        listen=listen,
        **{"peer": "127.0.0.1", "channels": {"EHZ": "G1"}, **others},
    )


def said(time_s: float, counts: list[int], channel: str = "EHZ") -> bytes:
    return f"{{'{channel}', {time_s:.3f}, {', '.join(map(str, counts))}}}".encode()


def statuses(shake: Shake, packets: list[tuple[float, list[int]]]) -> list[str | None]:
    """Statuses of packets that arrive as soon as their last sample was taken."""
    out: list[str | None] = []
    for time_s, counts in packets:
        arrival_ns = round((time_s + len(counts) / 100) * SECOND)
        judged = shake.feed(said(time_s, counts), arrival_ns, arrival_ns)
        out.append(None if judged is None else judged[2])
    return out


def noise(seed: int, n: int = 25) -> list[int]:
    return [int(x) for x in np.random.default_rng(seed).integers(-500, 500, n)]


def steady(*times_s: float) -> list[tuple[float, list[int]]]:
    return [(START_S + time_s, noise(i)) for i, time_s in enumerate(times_s)]


def test_the_makers_example_gives_channel_time_and_counts_to_the_nanosecond() -> None:
    packet = decode(b"{'EHZ', 1582315130.292, 14168, 14927, -3}")
    assert (packet.channel, packet.time_utc_ns) == ("EHZ", 1582315130292000000)
    assert packet.samples.tolist() == [14168.0, 14927.0, -3.0]


@pytest.mark.parametrize(
    "datagram",
    [
        b"TERM",
        b"",
        b"{'EHZ', 1582315130.292}",
        b"{'EHZ', 1582315130.292, 1, }",
        b"{'EHZ', 1582315130.292, 1.5}",
        b"{'EHZ', 1582315130.292, nan}",
        b"{'EHZ', 1582315130.292, 1} 2",
        b"{'EHZ', -1.292, 1}",
        b"{'ehz', 1582315130.292, 1}",
        b"{__import__('os').getcwd(), 1582315130.292, 1}",
        b"{'EHZ', 1582315130.292, 9999999999}",
        b"{'EHZ', 99999999999999.292, 1}",
        "{'EHZ', 1582315130.292, ٣}".encode(),
        said(START_S, [1] * 129),
        said(START_S, [-1000000000] * 200),
    ],
)
def test_what_is_not_a_packet_is_refused(datagram: bytes) -> None:
    with pytest.raises(ValueError):
        decode(datagram)


@given(st.binary(max_size=3000) | st.from_regex(cast.PACKET))
def test_any_bytes_are_a_bounded_packet_or_refused(datagram: bytes) -> None:
    try:
        packet = decode(datagram)
    except ValueError:
        return
    assert 1 <= len(packet.samples) <= cast.MOST_SAMPLES
    assert np.isfinite(packet.samples).all()
    assert 0 <= packet.time_utc_ns < 10**19 + SECOND


def test_a_units_110_s_recording_is_gapless_at_100_hz_on_all_four_channels(recordings: Path) -> None:
    channels = {"EHZ": "G1", "ENE": "G2", "ENN": "G2", "ENZ": "G2"}
    shake, heard = Shake(configured(channels=channels)), []
    stream = (recordings / "ground" / "raspberryshake_udp" / "testdata.txt").read_bytes()
    *packets, end = [line + b"\r\n" for line in stream.split(b"\r\r\n") if line]
    with pytest.raises(ValueError):
        shake.feed(end, 0, 0)  # "TERM", by which the recording program tells its own that this was all
    for line in packets:
        name, time_s, *counts = line.strip(b"\r\n{}").decode().replace("'", "").split(", ")
        arrival_ns = round(float(time_s) * 1e9) + SECOND // 2
        judged = shake.feed(line, arrival_ns, arrival_ns)
        assert judged is not None
        packet, _, status = judged
        assert (packet.channel, status) == (name, "ok")
        assert packet.samples.tolist() == [float(count) for count in counts]
        heard.append(name)
    assert {name: heard.count(name) for name in channels} == dict.fromkeys(channels, 440)


def test_a_lost_packet_is_a_gap_of_its_length_and_is_said_once() -> None:
    shake = Shake(configured())
    assert statuses(shake, steady(0, 0.25, 0.75, 1.0)) == ["ok", "ok", "gap of 0.250 s", "ok"]


def test_a_packet_that_comes_twice_is_dropped_and_one_from_the_past_is_told() -> None:
    shake = Shake(configured())
    packets = steady(0, 0.25)
    assert statuses(shake, [*packets, packets[1], packets[0]])[2:] == [None, "overlap or a clock set back of 0.500 s"]


def test_a_jitter_of_the_milliseconds_is_no_gap() -> None:
    assert set(statuses(Shake(configured()), steady(0, 0.251, 0.499, 0.752, 1.0))) == {"ok"}


def test_times_that_keep_saying_another_rate_name_it() -> None:
    packets = [(START_S + i * 1.0, noise(i, 50)) for i in range(3)]
    assert "its times say 50.0 Hz, rate_hz says 100" in (statuses(Shake(configured(clock_s=5)), packets)[2] or "")


def test_a_clock_that_is_an_hour_wrong_is_told_with_its_sign() -> None:
    shake, arrival_ns = Shake(configured()), START_S * SECOND
    for time_s, word in ((START_S - 3600, "3600.0 s behind"), (START_S + 3600, "ahead of")):
        judged = shake.feed(said(time_s, noise(1)), arrival_ns + SECOND // 4, arrival_ns)
        assert judged is not None
        assert word in judged[2]


def test_saturation_and_a_stuck_count_are_told() -> None:
    shake = Shake(configured())
    full = [8388607] * 2 + noise(1, 23)
    assert statuses(shake, [(START_S, full)]) == ["saturated: 2 of 25 samples at full scale"]
    stuck = [(START_S + 0.25 * i, [0] * 25) for i in range(1, 11)]
    words = statuses(shake, stuck)
    assert words[0] == "ok"
    assert words[-1] == "stuck at 0 counts for over 2 s"


def test_a_channel_that_goes_missing_is_told_by_the_others() -> None:
    shake = Shake(configured(channels={"EHZ": "G1", "ENZ": "G2"}))
    word = "ok"
    for i in range(20):
        arrival_ns = round((START_S + 0.25 * (i + 1)) * SECOND)
        for channel in ("EHZ", "ENZ") if i < 4 else ("EHZ",):
            judged = shake.feed(said(START_S + 0.25 * i, noise(i), channel), arrival_ns, arrival_ns)
            assert judged is not None
            word = judged[2]
    assert word == "no samples of ENZ"


def test_blocks_come_with_time_sensor_and_number_and_a_pulled_cable_is_a_gap(
    world: Any, device: Any, listen: str
) -> None:
    async def run() -> None:
        async with device("-m", "hil.devices.raspberryshake_udp", "--to", listen, "--told") as unit:
            config = configured(listen, silence_s=10)
            async with aclosing(cast.readings("vib-2", config, world.around())) as stream:
                coming = asyncio.ensure_future(anext(stream))
                while not coming.done():  # the port opens while we wait, and what came before it did is lost
                    await unit.order(do="send")
                    await asyncio.wait([coming], timeout=0.05)
                before = coming.result()
                await unit.order(do="unplug")
                await unit.order(do="send", packets=2)
                await unit.order(do="plug")
                await unit.order(do="send", samples={"EHZ": [1, 2, 3]})
                after = await anext(stream)
                while after.samples.tolist() != [1, 2, 3]:
                    before, after = after, await anext(stream)
            assert (after.sensor, after.channel, after.rate_hz) == ("G1", "EHZ", 100.0)
            assert after.sequence == before.sequence + 1
            assert "gap of 0.500 s" in after.status
            assert after.stamp.time_utc_ns - before.end_utc_ns == 500_000_000

    asyncio.run(run())


def test_a_stranger_is_dropped_counted_and_named_and_cannot_fill_the_disk(world: Any, device: Any, listen: str) -> None:
    async def run() -> None:
        async with device("-m", "hil.devices.raspberryshake_udp", "--to", listen, "--source", "127.0.0.2") as unit:
            config = configured(listen, silence_s=1.0)
            with pytest.raises(TimeoutError, match=r"no samples from 127.0.0.1 .*: 127.0.0.2 sent some"):
                async with aclosing(cast.readings("vib-2", config, world.around())) as stream:
                    for _ in range(3):
                        await unit.order(do="send", packets=10)
                    await anext(stream)

    asyncio.run(run())
    assert len(world.rejected) <= cast.STRANGERS_KEPT
    assert {cause for cause, _ in world.rejected} <= {"vib-2: datagram of a stranger"}


def test_damage_is_kept_and_the_next_packet_is_read(world: Any, device: Any, listen: str) -> None:
    async def run() -> None:
        async with (
            device("-m", "hil.devices.raspberryshake_udp", "--to", listen, "--told") as unit,
            aclosing(cast.readings("vib-2", configured(listen, silence_s=10), world.around())) as stream,
        ):
            coming = asyncio.ensure_future(anext(stream))
            while not coming.done():
                await unit.order(do="raw", text="{'EHZ', 1, eval}")
                await unit.order(do="send")
                await asyncio.wait([coming], timeout=0.05)
            assert coming.result().status == "ok"

    asyncio.run(run())
    assert ("vib-2: not a DATACAST packet", b"{'EHZ', 1, eval}") in world.rejected


def test_the_probe_waits_for_every_channel_and_names_those_that_never_come(
    world: Any, device: Any, listen: str
) -> None:
    async def run() -> None:
        async with device("-m", "hil.devices.raspberryshake_udp", "--to", listen) as unit:
            await unit.order(channels=["EHZ", "ENZ"])
            both = configured(listen, channels={"EHZ": "G1", "ENZ": "G2"})
            assert (await cast.probe("vib-2", both, world.around())).model == "DATACAST EHZ, ENZ at 100 Hz"
            wrong = configured(listen, channels={"EHZ": "G1", "HDF": "G2"}, silence_s=0.5)
            with pytest.raises(DriverFault, match="casts EHZ, ENZ, never HDF"):
                await cast.probe("vib-2", wrong, world.around())

    asyncio.run(run())


def test_a_port_that_is_taken_is_an_error_that_says_so(world: Any, listen: str, first: Any) -> None:
    host, _, port = listen.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((host, int(port)))
        with pytest.raises(ConnectionError, match="cannot listen"):
            asyncio.run(first(1, cast, configured(listen), world.around()))


@pytest.mark.parametrize(
    "wrong", [{"peer": "shake.local"}, {"channels": {}}, {"channels": {"EHZ": "X1"}}, {"listen": "h:0"}, {"pear": 1}]
)
def test_a_configuration_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        configured(**wrong)
