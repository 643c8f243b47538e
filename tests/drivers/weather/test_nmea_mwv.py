"""The anemometer driver: gust, direction through north, ice, and other voices on the line."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from functools import reduce
from operator import xor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.weather import nmea_mwv
from drivers.weather.nmea_mwv import Heard, Station, Window
from drivers.wire.nmea import Reject

SECOND = 10**9


def configured(port: str = "line", **others: Any) -> nmea_mwv.Config:
    return nmea_mwv.Config(driver="weather.nmea_mwv", port=port, **others)


def said(body: str) -> bytes:
    return f"${body}*{reduce(xor, body.encode(), 0):02X}\r\n".encode()


def winds(station: Station, stream: bytes, now_ns: int = 0) -> list[Heard]:
    return [item for item in station.feed(stream, now_ns) if isinstance(item, Heard)]


def test_the_gust_is_the_largest_mean_of_three_seconds_and_not_the_largest_value() -> None:
    window = Window()
    for second, speed in enumerate([2.0, 2.0, 2.0, 8.0, 2.0, 2.0]):
        window.see(speed, None, second * SECOND)
    assert window.gust_m_s(5 * SECOND) == pytest.approx(4.0)


def test_there_is_no_gust_before_three_seconds_without_a_break() -> None:
    window = Window()
    for tenth in (0, 10, 20, 60, 70, 80):  # a break of 4 s
        window.see(5.0, None, tenth * SECOND // 10)
    assert window.gust_m_s(8 * SECOND) is None
    window.see(5.0, None, 9 * SECOND)
    assert window.gust_m_s(9 * SECOND) == 5.0


def test_a_gust_is_forgotten_after_ten_minutes() -> None:
    window = Window()
    for second in range(700):
        window.see(9.0 if second < 10 else 1.0, None, second * SECOND)
        if second == 605:
            assert window.gust_m_s(second * SECOND) == 9.0
    assert window.gust_m_s(699 * SECOND) == 1.0


def test_the_mean_of_350_and_10_degrees_is_north() -> None:
    window = Window()
    for second in range(20):
        window.see(3.0, 350.0 if second % 2 else 10.0, second * SECOND)
    direction = window.direction_deg(20 * SECOND)
    assert direction is not None
    assert min(direction, 360 - direction) == pytest.approx(0, abs=1e-6)


def test_opposite_winds_and_a_calm_have_no_direction() -> None:
    window = Window()
    assert window.direction_deg(0) is None
    window.see(0.0, 123.0, 0)
    window.see(2.0, 0.0, SECOND)
    window.see(2.0, 180.0, 2 * SECOND)
    assert window.direction_deg(2 * SECOND) is None


@given(st.lists(st.tuples(st.integers(0, 5 * SECOND), st.floats(0, 60)), max_size=60))
def test_a_gust_is_never_over_the_largest_speed_nor_below_zero(steps: list[tuple[int, float]]) -> None:
    window, now_ns = Window(), 0
    for step_ns, speed in steps:
        now_ns += step_ns
        window.see(speed, None, now_ns)
        gust = window.gust_m_s(now_ns)
        assert gust is None or 0 <= gust <= max(s for _, s in steps) * (1 + 1e-12)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=80) | st.sampled_from([said("WIMWV,39,R,1.3,M,A"), b"$WIMWV,39,R"]), max_size=12))
def test_any_bytes_are_winds_or_rejects(chunks: list[bytes]) -> None:
    station = Station(configured())
    for now, chunk in enumerate(chunks):
        for item in station.feed(chunk, now * SECOND):
            if isinstance(item, Heard):
                assert (item.wind_m_s is None) == (item.status != "ok")
            else:
                assert len(item.raw) <= 300


def test_zero_for_ten_minutes_is_ice_with_the_last_direction_and_ends_with_the_first_wind() -> None:
    station, ice, calm = Station(configured()), said("WIMWV,10,R,0.0,M,A"), said("WIMWV,230,R,3.0,M,A")
    assert winds(station, calm, 0)[0].status == "ok"
    statuses = [winds(station, ice, n * SECOND)[0] for n in range(1, 603)]
    assert {heard.status for heard in statuses[:600]} == {"ok"}
    assert statuses[600].wind_m_s is None
    assert statuses[600].status.startswith("iced or stuck: exactly 0.0 for over 600 s; the last wind came from 230")
    assert winds(station, calm, 700 * SECOND)[0].wind_m_s == 3.0


def test_knots_and_kilometres_an_hour_are_metres_a_second() -> None:
    station = Station(configured())
    assert winds(station, said("WIMWV,10,R,10.0,N,A"))[0].wind_m_s == pytest.approx(5.1444, abs=1e-4)
    assert winds(station, said("WIMWV,10,R,36.0,K,A"))[0].wind_m_s == pytest.approx(10.0)


def test_the_first_talker_is_kept_and_others_are_counted_boundedly() -> None:
    station = Station(configured())
    assert len(winds(station, said("WIMWV,10,R,1.0,M,A") + said("IIMWV,10,R,9.0,M,A"))) == 1
    for letter in "ABCDEFGHIJKLMN":
        assert winds(station, said(f"X{letter}MWV,10,R,9.0,M,A")) == []
    assert len(station.passed_over) == nmea_mwv.TALKERS_KEPT
    assert "IIMWV with R 1x" in station.silence()


def test_two_boats_relative_winds_come_out_and_their_true_winds_stay_apart(recordings: Path) -> None:
    for path in sorted((recordings / "wind_nmea").glob("*.log")):
        stream = path.read_bytes()
        lines = [line for line in stream.splitlines() if line[3:6] == b"MWV"]
        first = next(line for line in lines if line.split(b",")[2] == b"R")
        ours = [line for line in lines if line.split(b",")[2] == b"R" and line[1:3] == first[1:3]]
        assert len(winds(Station(configured()), stream)) == len(ours) > 100


def test_five_speeds_come_out_of_pieces_and_damage_and_the_rest_is_kept_by_cause(
    cases: Path, tmp_path: Path, world: Any, device: Any
) -> None:
    async def run() -> list[float | None]:
        case, link = cases / "14-nmea-checksums-halves", tmp_path / "line"
        async with device(str(case / "play.py"), str(case / "chunks.json"), str(link)) as player:
            config, speeds = configured(str(link)), []
            assert player.place
            async with aclosing(nmea_mwv.readings("wind-1", config, world.around())) as stream:
                with pytest.raises(ConnectionError, match="unplugged"):
                    while True:
                        speeds.append((await anext(stream)).wind_m_s)
        return speeds

    assert [speed for speed in asyncio.run(run()) if speed is not None] == [3.1, 3.2, 3.3, 3.4, 3.5]
    causes = sorted(cause.removeprefix("wind-1: ") for cause, _ in world.rejected)
    assert causes == [
        "MWV without a speed",
        "cut off by the next sentence",
        "no checksum",
        "no end within 256 bytes",
        "no start of a sentence",
        "wrong checksum",
    ]
    assert all(raw and len(raw) < 300 for _, raw in world.rejected)


def test_an_anemometer_is_read_named_and_comes_back_after_the_plug(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("wind", "--every", "0.05") as anemometer:
            config = configured(anemometer.place)
            identity = await nmea_mwv.probe("wind-1", config, world.around())
            assert identity.model == "NMEA 0183 talker WI, MWV R in M"
            async with aclosing(nmea_mwv.readings("wind-1", config, world.around())) as stream:
                sample = await anext(stream)
                assert (sample.wind_m_s, sample.status) == (3.0, "ok")
                await anemometer.order(do="unplug")
                with pytest.raises(ConnectionError, match="unplugged"):
                    while True:
                        await anext(stream)
            with pytest.raises(ConnectionError, match="cannot open"):
                await first(1, nmea_mwv, config, world.around())
            await anemometer.order(do="plug", speed_m_s=4.0, unit="N", talker="II", status="00")
            (back,) = await first(1, nmea_mwv, config, world.around())
            assert back.wind_m_s == pytest.approx(4.0, abs=0.01)

    asyncio.run(run())


def test_void_for_minutes_is_a_sample_with_its_word_and_no_wind(world: Any, emulated: Any, first: Any) -> None:
    async def run() -> None:
        async with emulated("wind", "--every", "0.05") as anemometer:
            await anemometer.order(status="V")
            samples = await first(3, nmea_mwv, configured(anemometer.place), world.around())
            assert samples[-1].wind_m_s is None
            assert samples[-1].status == "void"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("order", "cause"),
    [
        ({"reference": "T"}, r"not any with R, but WIMWV with T \d+x; set talker and reference"),
        ({"do": "xor", "times": 1000}, r"bytes came, no MWV; check baud_rate"),
    ],
)
def test_a_line_without_our_wind_is_a_timeout_that_says_what_came(
    order: dict[str, Any], cause: str, world: Any, emulated: Any, first: Any
) -> None:
    async def run() -> None:
        async with emulated("wind", "--every", "0.05") as anemometer:
            await anemometer.order(**order)
            with pytest.raises(TimeoutError, match=cause):
                async with aclosing(
                    nmea_mwv.readings("wind-1", configured(anemometer.place, silence_s=0.3), world.around())
                ) as stream:
                    while True:
                        await anext(stream)

    asyncio.run(run())


def test_rejects_are_a_few_causes_however_many_values() -> None:
    station = Station(configured())
    rejects = [
        item for n in range(50) for item in station.feed(said(f"WIMWV,10,R,{n}x,M,A"), 0) if isinstance(item, Reject)
    ]
    assert {item.cause for item in rejects} == {"MWV with a field that is not of its form"}
    assert rejects[7].raw == b"$WIMWV,10,R,7x,M,A"
