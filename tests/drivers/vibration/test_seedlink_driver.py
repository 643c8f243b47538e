"""The SeedLink driver against our emulator, and against a server that misbehaves in nine ways."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.driver import DriverFault, Refused, Surroundings, WrongDevice
from drivers.reading import ClockQuality, VibrationBlock
from drivers.vibration import seedlink
from drivers.wire import miniseed
from hil.devices.seedlink_server import Server

NOON_NS = 1_790_000_000_000_000_000
STEP_NS = 400_000_000  # 100 samples at 250 Hz
BOTH = pytest.mark.parametrize("version", [3, 4])


class Lane:
    """Clocks that stand still, notes that outlast a connection, and what was rejected."""

    def __init__(self, now_utc_ns: int = NOON_NS, synchronised: bool = True) -> None:
        self.notes: dict[str, str] = {}
        self.rejected: list[tuple[str, bytes]] = []
        self.around = Surroundings(
            lambda: now_utc_ns,
            lambda: 42,
            lambda: ClockQuality(synchronised, 1000),
            lambda cause, raw: self.rejected.append((cause, raw)),
            self.notes.get,
            self.notes.__setitem__,
        )

    @property
    def causes(self) -> list[str]:
        return [cause for cause, _ in self.rejected]


class OldServer(Server):
    """One that speaks version 3 only."""

    def _answer(self, client: Any, words: list[str]) -> bytes:
        said = super()._answer(client, words)
        return said.replace(b"v4.0", b"v3.1").replace(b"SLPROTO:4.0 ", b"")


def configured(port: int, *streams: str, **others: Any) -> seedlink.Config:
    return seedlink.Config(
        driver="vibration.seedlink", address=f"127.0.0.1:{port}", streams=streams or ("XX_L3:B1", "XX_L3:B2"), **others
    )


@asynccontextmanager
async def serving(version: int = 4, **others: Any) -> AsyncIterator[tuple[Server, int]]:
    server = (Server if version == 4 else OldServer)("XX_L3", ("B1", "B2", "G1"), 250.0, **others)
    try:
        yield server, await server.listen("127.0.0.1", 0)
    finally:
        await server.close()


def feed(server: Server, sensor: str, index: int, count: int = 100) -> None:
    """The index-th 0.4 s of a sensor; each sample says which."""
    server.feed(sensor, NOON_NS + index * STEP_NS, [index] * count)


async def take(stream: AsyncIterator[VibrationBlock], wanted: int) -> list[VibrationBlock]:
    return [await anext(stream) for _ in range(wanted)]


async def listening(server: Server, stream: AsyncIterator[VibrationBlock]) -> asyncio.Task[VibrationBlock]:
    """The first block's task, once the driver waits for it."""
    server.asked.clear()
    task = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await server.asked.wait()
    return task


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


@BOTH
def test_blocks_say_sensor_time_counts_quality_number_and_keep_the_record(version: int) -> None:
    async def scene() -> None:
        async with serving(version) as (server, port):
            lane = Lane(NOON_NS + 5)
            async with aclosing(seedlink.readings("chassis", configured(port), lane.around)) as stream:
                first = await listening(server, stream)
                feed(server, "G1", 0)  # not asked for
                feed(server, "B2", 0)
                block = await first
            assert (block.device, block.sensor, block.channel, block.rate_hz) == ("chassis", "B2", "DHZ", 250.0)
            assert (block.stamp.time_utc_ns, block.stamp.arrival_utc_ns) == (NOON_NS, NOON_NS + 5)
            assert (block.stamp.arrival_monotonic_ns, block.stamp.clock) == (42, ClockQuality(True, 1000))
            assert (block.sequence, block.status, block.timing_quality_pct) == (2, "ok", 100)
            assert block.samples.dtype == np.float64
            assert block.samples.tolist() == [0] * 100
            assert miniseed.decode(block.record or b"").counts.tolist() == [0] * 100
            assert lane.rejected == []

    run(scene)


def test_version_3_records_of_miniseed_come_over_version_4() -> None:
    async def scene() -> None:
        async with (
            serving(miniseed=3) as (server, port),
            aclosing(seedlink.readings("chassis", configured(port), Lane().around)) as stream,
        ):
            first = await listening(server, stream)
            feed(server, "B1", 3)
            assert (await first).samples.tolist() == [3] * 100

    run(scene)


@BOTH
def test_after_a_lost_connection_nothing_is_missing_and_nothing_comes_twice(version: int) -> None:
    async def scene() -> None:
        async with serving(version) as (server, port):
            lane = Lane()
            config, blocks = configured(port), []
            async with aclosing(seedlink.readings("chassis", config, lane.around)) as stream:
                first = await listening(server, stream)
                for index in range(3):
                    feed(server, "B1", index)
                    feed(server, "B2", index)
                blocks += [await first, *await take(stream, 5)]
                blocking = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
                await asyncio.sleep(0)
                server.drop()
                with pytest.raises(ConnectionError, match=r"^chassis: 127.0.0.1:\d+: the server closed"):
                    await blocking
            for index in range(3, 6):
                feed(server, "B1", index)
                feed(server, "B2", index)
            async with aclosing(seedlink.readings("chassis", config, lane.around)) as stream:
                blocks += await take(stream, 6)
            for sensor in ("B1", "B2"):
                assert [block.samples[0] for block in blocks if block.sensor == sensor] == [0, 1, 2, 3, 4, 5]

    run(scene)


@BOTH
def test_numbers_that_begin_anew_cost_no_record_because_times_are_asked_for_too(version: int) -> None:
    async def scene() -> None:
        async with serving(version) as (server, port):
            lane = Lane()
            config = configured(port)
            async with aclosing(seedlink.readings("chassis", config, lane.around)) as stream:
                first = await listening(server, stream)
                for index in range(3):
                    feed(server, "B1", index)
                await first
                await take(stream, 2)
                blocking = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
                await asyncio.sleep(0)
                server.drop()
                with pytest.raises(ConnectionError):
                    await blocking
            server.number = 0
            feed(server, "B1", 3)
            async with aclosing(seedlink.readings("chassis", config, lane.around)) as stream:
                block = await anext(stream)
            assert (block.sequence, block.samples[0]) == (1, 3)

    run(scene)


def test_where_a_time_is_refused_the_number_alone_is_asked_for() -> None:
    class NoTimes(Server):
        def _begin(self, client: Any, wish: Any, verb: str, rest: list[str]) -> None:
            if len(rest) > 1:
                raise ValueError("UNSUPPORTED times")
            super()._begin(client, wish, verb, rest)

    async def scene() -> None:
        server = NoTimes("XX_L3", ("B1",), 250.0)
        port = await server.listen("127.0.0.1", 0)
        for index in range(4):
            feed(server, "B1", index)
        lane = Lane()
        ends = {"B1": NOON_NS + 2 * STEP_NS}
        lane.notes["XX_L3"] = json.dumps({"version": 4, "sequence": 2, "ends_ns": ends})
        async with aclosing(seedlink.readings("chassis", configured(port, "XX_L3:B1"), lane.around)) as stream:
            assert [block.samples[0] for block in await take(stream, 2)] == [2, 3]
        await server.close()

    run(scene)


@pytest.mark.parametrize("note", ["", "no json", "[]", "{}", '{"version": 3, "sequence": 9}', '{"version": 4}'])
def test_a_note_that_is_damaged_or_of_the_other_version_is_no_note(note: str) -> None:
    async def scene() -> None:
        async with serving() as (server, port):
            lane = Lane()
            lane.notes["XX_L3"] = note
            async with aclosing(seedlink.readings("chassis", configured(port), lane.around)) as stream:
                first = await listening(server, stream)
                feed(server, "B1", 0)
                assert (await first).sequence == 1

    run(scene)


def test_silence_after_ok_names_the_streams_and_a_number_never_reached_is_dropped_then_the_time() -> None:
    async def scene() -> None:
        async with serving() as (server, port):
            lane = Lane()
            server.stalled = True
            lane.notes["XX_L3"] = json.dumps({"version": 4, "sequence": 900, "ends_ns": {"B1": NOON_NS}})
            config = configured(port, silence_s=0.1)
            for sequence, ends_ns in ((None, {"B1": NOON_NS}), (None, {})):
                with pytest.raises(TimeoutError, match=r"no record of XX_L3:B1, XX_L3:B2 for 0\.1 s; check"):
                    await anext(seedlink.readings("chassis", config, lane.around))
                assert json.loads(lane.notes["XX_L3"]) == {"version": 4, "sequence": sequence, "ends_ns": ends_ns}
            async with aclosing(seedlink.readings("chassis", configured(port), lane.around)) as stream:
                first = await listening(server, stream)
                server.do({"do": "resume"})
                feed(server, "B1", 0)
                assert (await first).samples[0] == 0

    run(scene)


def test_a_pulled_cable_keeps_the_note_so_that_the_ring_is_read_afterwards() -> None:
    async def scene() -> None:
        async with serving() as (server, port):
            lane = Lane()
            async with aclosing(seedlink.readings("chassis", configured(port, silence_s=0.5), lane.around)) as stream:
                first = await listening(server, stream)
                feed(server, "B1", 0)
                await first
                with pytest.raises(TimeoutError):
                    await anext(stream)
            assert json.loads(lane.notes["XX_L3"])["sequence"] == 1

    run(scene)


def test_one_sensor_silent_while_others_speak_is_told_once_until_it_speaks_again() -> None:
    async def scene() -> None:
        lane, now_s = Lane(), asyncio.get_running_loop().time()
        silence = seedlink._Silence("chassis", configured(1), lane.around)
        silence.heard("XX_L3:B1", now_s + 5.9)
        assert lane.causes == []
        for after_s in (7, 8):
            silence.heard("XX_L3:B1", now_s + after_s)
        assert lane.causes == ["XX_L3:B2 is silent while others speak; check its cable"]
        silence.heard("XX_L3:B2", now_s + 9)
        silence.heard("XX_L3:B1", now_s + 16)
        assert len(lane.causes) == 2

    run(scene)


@BOTH
def test_a_refused_stream_says_that_the_server_refused_it(version: int) -> None:
    async def scene() -> None:
        async with serving(version) as (server, port):
            with pytest.raises(
                Refused, match=r"^chassis: 127\.0\.0\.1:\d+: server refused XX_L4: 'STATION .*check streams"
            ):
                await anext(seedlink.readings("chassis", configured(port, "XX_L4:B1"), Lane().around))
            server.refusing = True
            with pytest.raises(Refused, match="server refused XX_L3: "):
                await anext(seedlink.readings("chassis", configured(port), Lane().around))

    run(scene)


@BOTH
def test_a_damaged_record_is_rejected_with_its_bytes_and_the_next_one_comes(version: int) -> None:
    async def scene() -> None:
        async with serving(version) as (server, port):
            lane = Lane()
            async with aclosing(seedlink.readings("chassis", configured(port), lane.around)) as stream:
                first = await listening(server, stream)
                server.do({"do": "damage", "sensor": "B1"})
                feed(server, "B1", 0)
                feed(server, "B1", 1)
                assert (await first).samples[0] == 1
            assert lane.causes == ["damaged record: hour"]
            assert len(lane.rejected[0][1]) == 512

    run(scene)


@pytest.mark.parametrize("synchronised", [True, False])
def test_a_clock_that_is_days_off_is_said_and_both_times_are_kept(synchronised: bool) -> None:
    async def scene() -> None:
        async with serving() as (server, port):
            lane = Lane(NOON_NS, synchronised)
            async with aclosing(seedlink.readings("chassis", configured(port), lane.around)) as stream:
                first = await listening(server, stream)
                server.do({"do": "clock", "offset_s": -NOON_NS // 10**9 + 1_670_400})
                feed(server, "B1", 0)
                block = await first
                server.do({"do": "clock", "offset_s": -3600})
                feed(server, "B1", 1)
                late = await anext(stream)
            assert block.status.startswith(
                "clock: B1 says 1970-01-20T08:00:00Z, it is 2026-09-21T14:13:20Z on the lane"
            )
            assert ("not synchronised" in block.status) is not synchronised
            assert (block.stamp.time_utc_ns, block.stamp.arrival_utc_ns) == (1_670_400 * 10**9, NOON_NS)
            assert late.status == "ok"
            assert json.loads(lane.notes["XX_L3"])["ends_ns"] == {}  # no wrong time is gone on from

    run(scene)


def test_the_same_record_again_is_dropped_and_one_that_differs_is_given() -> None:
    async def scene() -> None:
        async with serving() as (server, port):
            async with aclosing(seedlink.readings("chassis", configured(port), Lane().around)) as stream:
                first = await listening(server, stream)
                feed(server, "B1", 0)
                feed(server, "B1", 0)
                server.feed("B1", NOON_NS, [5] * 100)
                feed(server, "B1", -1)  # a gap that is filled afterwards
                found = [await first, *await take(stream, 2)]
            assert [block.samples[0] for block in found] == [0, 5, -1]

    run(scene)


def test_probe_says_who_is_there_and_what_is_no_seedlink_server_is_named() -> None:
    async def answer(said: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await reader.read()
        writer.close()

    async def scene() -> None:
        async with serving() as (_, port):
            identity = await seedlink.probe("chassis", configured(port), Lane().around)
            assert (identity.vendor, identity.model) == ("lane test rig", "SeedLink v4.0 (emulated)")
        for said, fault, cause in (
            (b"220 smtp\r\n", WrongDevice, "answered HELLO with '220 smtp'; is this a SeedLink server?"),
            (b"x" * 5000, WrongDevice, "answered 'HELLO' with no line"),
            (b"", TimeoutError, "no reply to 'HELLO' within 0.1 s"),
        ):
            other = await asyncio.start_server(lambda r, w, said=said: answer(said, r, w), "127.0.0.1", 0)
            config = configured(other.sockets[0].getsockname()[1], connect_s=0.1)
            with pytest.raises(fault, match=cause):
                await seedlink.probe("chassis", config, Lane().around)
            other.close()
        with pytest.raises(ConnectionError, match=r"no connection \(.*\); check its power, cable and address"):
            await seedlink.probe("chassis", config, Lane().around)

    run(scene)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"streams": []}, "streams"),
        ({"streams": ["XX_L3:00"]}, "streams"),
        ({"streams": ["XX_L3:B1", "XX_L4:B1"]}, "one sensor is named twice"),
        ({"address": "host"}, "address"),
        ({"address": "host:70000"}, "the port is not between 1 and 65535"),
        ({"silence_s": 0}, "silence_s"),
        ({"silense_s": 3}, "silense_s"),
    ],
)
def test_a_wrong_table_is_refused_with_its_key(change: dict[str, Any], words: str) -> None:
    table: dict[str, Any] = {"driver": "vibration.seedlink", "address": "h:18000", "streams": ["XX_L3:B1"]}
    assert seedlink.expected(seedlink.Config(**table))[0].stream == "B1"
    with pytest.raises(ValidationError, match=words):
        seedlink.Config(**(table | change))


@asynccontextmanager
async def misbehaving(folder: Path, mode: str) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as place:
        port = place.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(folder / "seedlink_faulty.py"),
        str(folder / "records.mseed"),
        mode,
        str(port),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        await process.stdout.readline()
        yield port
    finally:
        process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("mode", "count", "causes"),
    [("stall", 10, []), ("text", 7, ["no packet"]), ("big", 7, ["no packet"]), ("trickle", 3, [])],
)
def test_a_server_that_stalls_talks_or_trickles_costs_no_record(
    cases: Path, mode: str, count: int, causes: list[str]
) -> None:
    folder = next(cases.glob("26-*"))
    records = [item for item in miniseed.scan((folder / "records.mseed").read_bytes()) if not hasattr(item, "cause")]

    async def scene() -> None:
        async with misbehaving(folder, mode) as port:
            lane, blocks = Lane(1_768_896_000 * 10**9), []
            config = configured(port, "LP_LANE1:B1", silence_s=1.0 if mode == "stall" else 60.0)
            async with aclosing(seedlink.readings("chassis", config, lane.around)) as stream:
                blocks += await take(stream, count)
                if mode == "stall":
                    with pytest.raises(TimeoutError, match="no record of LP_LANE1:B1 for 1 s"):
                        await anext(stream)
            assert [block.record for block in blocks] == [record.raw for record in records[:count]]
            assert {block.status for block in blocks} == {"ok"}
            assert lane.causes == causes

    run(scene)


@pytest.mark.parametrize("mode", ["resend", "restart"])
def test_what_a_server_sends_again_after_a_lost_line_is_not_given_again(cases: Path, mode: str) -> None:
    folder = next(cases.glob("26-*"))

    async def scene() -> None:
        async with misbehaving(folder, mode) as port:
            lane, starts_ns = Lane(1_768_896_000 * 10**9), []
            config = configured(port, "LP_LANE1:B1", silence_s=3.0)
            for _ in range(2):
                async with aclosing(seedlink.readings("chassis", config, lane.around)) as stream:
                    with pytest.raises(ConnectionError):
                        while True:
                            starts_ns.append((await anext(stream)).stamp.time_utc_ns)
            assert len(starts_ns) == (14 if mode == "resend" else 10)
            assert starts_ns == sorted(set(starts_ns))

    run(scene)


def test_a_server_that_refuses_everything_is_said_to_refuse(cases: Path) -> None:
    folder = next(cases.glob("26-*"))

    async def scene() -> None:
        async with misbehaving(folder, "refuse") as port:
            with pytest.raises(DriverFault, match="server refused LP_LANE1: 'STATION LANE1 LP' got 'ERROR'"):
                await anext(seedlink.readings("chassis", configured(port, "LP_LANE1:B1"), Lane().around))

    run(scene)
