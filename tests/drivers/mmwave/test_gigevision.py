"""The imager's driver against cameras by other hands, chosen losses, and the recorded troubles."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import numpy as np
import pytest
from viva_genicam.testing import FakeGigeCamera

from drivers.driver import Refused, Surroundings, WrongDevice
from drivers.mmwave import gigevision
from drivers.reading import ClockQuality, RadiometricFrame
from drivers.wire import gvcp
from drivers.wire.gvsp import Tally

COLUMNS, ROWS = 64, 32


class World:
    """Surroundings of a test, and what was rejected into them."""

    def __init__(self) -> None:
        self.rejected: list[tuple[str, bytes]] = []

    def around(self) -> Surroundings:
        return Surroundings(
            time.time_ns,
            time.monotonic_ns,
            lambda: ClockQuality(True, 1),
            lambda cause, raw: self.rejected.append((cause, raw)),
            lambda _: None,
            lambda *_: None,
        )


def configured(address: str, **others: Any) -> gigevision.Config:
    size = {"rows": ROWS, "columns": COLUMNS, "side": "left"}
    return gigevision.Config(driver="mmwave.gigevision", address=address, **{**size, **others})  # type: ignore[arg-type]


async def first(count: int, config: gigevision.Config, world: World) -> list[RadiometricFrame]:
    frames: list[RadiometricFrame] = []
    async with aclosing(gigevision.readings("mm-1", config, world.around())) as stream:
        async for frame in stream:
            frames.append(frame)
            if len(frames) == count:
                break
    return frames


@contextmanager
def camera(address: str, **what: Any) -> Iterator[FakeGigeCamera]:
    """A camera by other hands, on a loopback address of its own."""
    what = {"width": COLUMNS, "height": ROWS, "fps": 20, "pixel_format": "Mono16", **what}
    with FakeGigeCamera(bind_ip=address, **what) as found:
        yield found


def test_frames_of_a_camera_by_other_hands_are_kelvin_of_this_moment() -> None:
    with camera("127.0.7.1") as peer:
        frames = asyncio.run(first(3, configured("127.0.7.1"), World()))
        assert peer.controller() is None  # given back
    assert [frame.block_id for frame in frames] == [1, 2, 3]
    for frame in frames:
        assert frame.status == "ok"
        assert (frame.frame_k.shape, frame.frame_k.dtype) == ((ROWS, COLUMNS), np.float32)
        assert 2.7 <= np.nanmin(frame.frame_k) < np.nanmax(frame.frame_k) <= 655.35
        assert 0 <= frame.stamp.arrival_utc_ns - frame.stamp.time_utc_ns < 10**9


def test_lost_packets_are_asked_for_again_leader_and_trailer_too() -> None:
    world, last = World(), -(-ROWS * COLUMNS * 2 // 1364) + 1
    lost = [(2, 1), (3, 0), (3, 2), (4, last), (5, last - 1)]
    with camera("127.0.7.2", drop_packets=lost):
        frames = asyncio.run(first(6, configured("127.0.7.2"), world))
    assert sorted(frame.block_id for frame in frames) == [1, 2, 3, 4, 5, 6]
    assert world.rejected == []


def test_without_resend_a_frame_with_a_hole_is_counted_and_never_shown() -> None:
    world = World()
    with camera("127.0.7.3", drop_packets=[(2, 1), (3, 0)], packet_resend=False):
        frames = asyncio.run(first(5, configured("127.0.7.3"), world))
    assert [frame.block_id for frame in frames] == [1, 4, 5, 6, 7]
    causes = [cause for cause, _ in world.rejected]
    assert "frame 2 (1. lost of this stream) incomplete" in causes[0]
    assert "packets 1 of 0-5 missing" in causes[0]
    assert "frame 3 (2. lost of this stream)" in causes[1]


@pytest.mark.parametrize("pixel_format", ["Mono8", "Mono12Packed"])
def test_other_pixel_formats_arrive_at_their_size(pixel_format: str) -> None:
    with camera("127.0.7.4", pixel_format=pixel_format):
        (frame,) = asyncio.run(first(1, configured("127.0.7.4", pixel_format=pixel_format), World()))
    assert frame.frame_k.shape == (ROWS, COLUMNS)


def test_control_that_is_taken_away_is_a_lost_connection_and_can_be_taken_again() -> None:
    async def run(peer: FakeGigeCamera) -> None:
        config = configured("127.0.7.5", silence_s=30.0)
        async with aclosing(gigevision.readings("mm-1", config, World().around())) as stream:
            await anext(stream)
            peer.revoke_control()
            with pytest.raises(ConnectionError, match="control lost"):
                async for _ in stream:
                    pass
        assert len(await first(1, config, World())) == 1

    with camera("127.0.7.5") as peer:
        asyncio.run(run(peer))


def test_an_imager_that_another_host_holds_is_refused_by_name() -> None:
    async def run() -> None:
        async with gvcp.GvcpControl("127.0.7.6") as other, other.held(lambda _: None):
            with pytest.raises(Refused, match="access denied, another host holds"):
                await first(1, configured("127.0.7.6"), World())

    with camera("127.0.7.6"):
        asyncio.run(run())


def test_another_serial_number_is_another_device() -> None:
    async def run() -> None:
        around = World().around()
        found = await gigevision.probe("mm-1", configured("127.0.7.7"), around)
        assert (found.model, found.serial) == ("FakeGigE", "FAKE-001")
        with pytest.raises(WrongDevice, match="serial 'FAKE-001', not 'QX7'"):
            await gigevision.probe("mm-1", configured("127.0.7.7", serial="QX7"), around)

    with camera("127.0.7.7"):
        asyncio.run(run())


def test_nobody_at_the_address_is_an_error_with_the_address() -> None:
    with pytest.raises(ConnectionError, match=r"127\.0\.7\.9:3956"):
        asyncio.run(first(1, configured("127.0.7.9"), World()))


def test_no_packet_at_all_points_at_firewall_and_trigger() -> None:
    silent = gigevision.why_silent(Tally(), configured("127.0.7.9"), None)
    assert isinstance(silent, TimeoutError)
    assert "no stream packet came; check the firewall and the imager's trigger" in str(silent)


@contextmanager
def aravis_camera() -> Iterator[str]:
    """Aravis' camera listens only on an address that an interface has."""
    program = shutil.which("arv-fake-gv-camera-0.8")
    if program is None:
        pytest.skip("aravis-tools is not installed")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        try:
            taken.bind(("127.0.0.1", gvcp.PORT))
        except OSError:
            pytest.skip("another camera holds this machine's loopback address")
    process = subprocess.Popen([program, "-i", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield "127.0.0.1"
    finally:
        process.kill()
        process.wait()


def test_aravis_camera_is_read() -> None:
    async def run(address: str) -> list[RadiometricFrame]:
        config = configured(address, pixel_format="Mono16")
        async with asyncio.timeout(20):
            while True:
                try:
                    return await first(5, config, World())
                except ConnectionError:  # it is still starting
                    await asyncio.sleep(0.05)

    with aravis_camera() as address:
        frames = asyncio.run(run(address))
    assert {frame.frame_k.shape for frame in frames} == {(ROWS, COLUMNS)}
    assert len({frame.block_id for frame in frames}) == 5
