"""The SeedLink emulator judged by clients that share no code with it: obspy's, and seedlink-client in both versions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import obspy
import pytest
from obspy.clients.seedlink.basic_client import Client
from pymseed import MS3Record
from seedlink_client import Protocol, SeedLink, SeedLinkError

from hil.devices.miniseed import Channel, crc32c, encode2, encode3

NOON_NS = 1_790_000_000_000_000_000
COUNTS = [(-1) ** i * i * 1000 for i in range(300)]


class Emulator:
    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hil.devices.seedlink_server", "--listen", "127.0.0.1:0", *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().removeprefix("listening "))

    def order(self, **what: object) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def feed(self, sensor: str, start_ns: int = NOON_NS, counts: list[int] = COUNTS) -> None:
        assert self.order(sensor=sensor, start_utc_ns=str(start_ns), rate_hz=250, counts=counts) == "done"


@pytest.fixture
def start() -> Iterator[Any]:
    running: list[Emulator] = []

    def make(*options: str) -> Emulator:
        running.append(Emulator(*options))
        return running[-1]

    yield make
    for emulator in running:
        emulator.process.communicate(timeout=20)  # its stdin ends, and so does it
        assert emulator.process.returncode == 0


@pytest.mark.parametrize("rate_hz", [250.0, 100.0, 1 / 3, 0.1, 312.5])
def test_obspy_reads_what_the_encoder_writes_in_version_2(rate_hz: float, tmp_path: Any) -> None:
    file = tmp_path / "one.mseed"
    file.write_bytes(encode2(Channel("XX", "L3", "B1", "EHZ"), NOON_NS + 123_456_000, rate_hz, COUNTS[:112]))
    trace = obspy.read(file)[0]
    assert trace.id == "XX.L3.B1.EHZ"
    assert trace.stats.starttime.ns == NOON_NS + 123_456_000
    assert trace.stats.sampling_rate == pytest.approx(rate_hz)
    np.testing.assert_array_equal(trace.data, COUNTS[:112])


def test_the_checksum_of_version_3_is_castagnolis() -> None:
    assert crc32c(b"123456789") == 0xE3069283
    record = encode3(Channel("XX", "L3", "B1", "EHZ"), NOON_NS, 250.0, [1])
    assert crc32c(record[:28] + bytes(4) + record[32:]) == int.from_bytes(record[28:32], "little")


def test_obspys_client_fetches_a_window_with_every_count(start: Any) -> None:
    emulator = start()
    emulator.feed("B1")
    emulator.feed("G1", counts=[7] * 300)
    begin = obspy.UTCDateTime(ns=NOON_NS)
    client = Client("127.0.0.1", port=emulator.port, timeout=5)
    stream = client.get_waveforms("XX", "L3", "B1", "D?Z", begin, begin + 299 / 250)
    stream.merge()
    assert [trace.id for trace in stream] == ["XX.L3.B1.DHZ"]
    np.testing.assert_array_equal(stream[0].data, COUNTS)


@pytest.mark.parametrize(("protocol", "miniseed"), [(Protocol.V3, "2"), (Protocol.V4, "2"), (Protocol.V4, "3")])
def test_seedlink_client_gets_the_counts_goes_on_by_number_and_asks_who_is_there(
    start: Any, protocol: Protocol, miniseed: str
) -> None:
    emulator = start("--miniseed", miniseed)
    for sensor in ("B1", "B2"):
        emulator.feed(sensor)
    with SeedLink("127.0.0.1", emulator.port, timeout=5, protocol=protocol, dialup=True) as client:
        assert client.protocol is protocol
        client.add_stream("XX_L3", "B2_D_H_Z", seqnum=0)
        packets = list(client.collect(reconnect=False))
    counts = [count for packet in packets for count in MS3Record.parse(packet.payload, unpack_data=True).datasamples]
    assert counts == COUNTS
    assert [packet.seqnum for packet in packets] == [4, 5, 6]
    assert {packet.station_id for packet in packets} == {"XX_L3"}
    with SeedLink("127.0.0.1", emulator.port, timeout=5, protocol=protocol, dialup=True) as client:
        client.add_stream("XX_L3", "B2_D_H_Z", seqnum=5)
        assert [packet.seqnum for packet in client.collect(reconnect=False)] == [6]
    with SeedLink("127.0.0.1", emulator.port, timeout=5, protocol=protocol) as client:
        assert client.organization == "lane test rig"
        assert client.info_dict("ID")


def test_live_packets_come_as_they_are_fed_and_the_faults_do_what_they_say(start: Any) -> None:
    emulator = start()
    with SeedLink("127.0.0.1", emulator.port, timeout=5, protocol=Protocol.V4, idle_timeout=5) as client:
        client.add_stream("XX_L3", all_data=True)
        live = client.collect(reconnect=False)
        emulator.feed("B1", counts=[1])
        assert next(live).seqnum == 1
        emulator.order(do="unplug", sensor="B1")
        emulator.feed("B1", counts=[2])
        emulator.order(do="plug", sensor="B1")
        emulator.order(do="clock", offset_s=-86_400)
        emulator.feed("B1", counts=[3])
        record = MS3Record.parse(next(live).payload, unpack_data=True)
        assert (list(record.datasamples), record.starttime) == ([3], NOON_NS - 86_400 * 10**9)
        emulator.order(do="renumber")
        emulator.feed("B1", counts=[4])
        assert next(live).seqnum == 1
        emulator.order(do="drop")
        with pytest.raises(SeedLinkError):
            next(live)
    emulator.order(do="refuse")
    with SeedLink("127.0.0.1", emulator.port, timeout=5, protocol=Protocol.V3) as client:
        client.add_stream("XX_L3")
        with pytest.raises(SeedLinkError):
            next(client.collect(reconnect=False))


def test_a_line_that_is_no_order_is_answered_and_survived(start: Any) -> None:
    emulator = start()
    assert emulator.order(do="dance") == "error unknown order 'dance'"
    assert emulator.order(sensor="B9", start_utc_ns="1", counts=[1]).startswith("error no sensor B9")
    emulator.feed("B1")
