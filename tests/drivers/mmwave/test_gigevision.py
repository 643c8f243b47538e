"""The imager's driver against cameras by other hands, chosen losses, and the recorded troubles."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from viva_genicam.testing import FakeGigeCamera

from drivers.driver import DriverFault, Refused, Surroundings, WrongDevice
from drivers.mmwave import gigevision
from drivers.reading import ClockQuality, RadiometricFrame
from drivers.wire import gvcp
from drivers.wire.gvsp import Assembler, Geometry, GvspReceiver, Tally

COLUMNS, ROWS = 64, 32
PATIENT = {"period_s": 2.0, "silence_s": 10.0}  # a busy machine is no lost packet


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
        frames = asyncio.run(first(6, configured("127.0.7.2", **PATIENT), world))
    assert sorted(frame.block_id for frame in frames) == [1, 2, 3, 4, 5, 6]
    assert not any("incomplete" in cause for cause, _ in world.rejected)


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


@pytest.mark.parametrize(
    ("wrong", "cause"),
    [
        ({"address": "imager.lane"}, "address"),
        ({"registers": {"Width": 3}}, "multiple of 4"),
        ({"bad_pixels": [[ROWS, 0]]}, r"\(32, 0\), outside 32 rows"),
        ({"packet_size": 64}, "packet_size"),
        ({"rows": 0}, "rows"),
    ],
)
def test_a_wrong_configuration_says_which_field(wrong: dict[str, Any], cause: str) -> None:
    with pytest.raises(ValidationError, match=cause):
        configured(**{"address": "127.0.7.1", **wrong})


def test_nobody_at_the_address_is_an_error_with_the_address() -> None:
    with pytest.raises(ConnectionError, match=r"127\.0\.7\.9:3956"):
        asyncio.run(first(1, configured("127.0.7.9"), World()))


def test_no_packet_at_all_points_at_firewall_and_trigger() -> None:
    silent = gigevision.why_silent(Tally(), configured("127.0.7.9"), None)
    assert isinstance(silent, TimeoutError)
    assert "no stream packet came; check the firewall and the imager's trigger" in str(silent)


class Imager:
    """Our own emulator, a process of its own, and its answer to each order."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def tell(self, **order: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        assert await self._process.stdout.readline() == b"done\n"


@asynccontextmanager
async def imager(address: str, *arguments: str, **orders: object) -> AsyncIterator[Imager]:
    command = ("-m", "hil.devices.gigevision", "--listen", address, "--rate-hz", "20", *arguments)
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"listening 3956\n"
        device = Imager(process)
        await device.tell(**orders)
        yield device
    finally:
        process.kill()
        await process.communicate()


def own(address: str, **others: Any) -> gigevision.Config:
    return configured(address, **{"rows": 60, "columns": 80, "silence_s": 1.0, **others})


async def until(status: str, config: gigevision.Config) -> RadiometricFrame:
    """The first frame whose status begins so."""
    async with asyncio.timeout(10), aclosing(gigevision.readings("mm-1", config, World().around())) as stream:
        async for frame in stream:
            if frame.status.startswith(status):
                return frame
    raise AssertionError(status)


@pytest.mark.parametrize(
    ("pixel_format", "kelvin_per_count"), [("Mono16", 0.01), ("Mono12Packed", 0.1), ("Mono8", 1.5)]
)
def test_kelvin_survives_the_wire_in_every_format(pixel_format: str, kelvin_per_count: float, tmp_path: Path) -> None:
    image = np.random.default_rng(1).uniform(250, 320, (60, 80)).astype(np.float32)
    np.save(tmp_path / "image.npy", image)

    async def run() -> RadiometricFrame:
        scale, images = ("--kelvin-per-count", str(kelvin_per_count)), [str(tmp_path / "image.npy")]
        async with imager("127.0.7.20", *scale, frames=images):
            config = own("127.0.7.20", pixel_format=pixel_format, gain_k_per_count=kelvin_per_count)
            return (await first(1, config, World()))[0]

    frame_k = asyncio.run(run()).frame_k
    assert float(np.max(np.abs(frame_k - image))) <= kelvin_per_count / 2 + 1e-4


def test_the_wire_may_shuffle_double_and_delay_packets() -> None:
    async def run() -> tuple[list[RadiometricFrame], World]:
        world = World()
        async with imager("127.0.7.21", reorder=True, duplicate=True, late=True, block_id=65534, lose_per_mille=20):
            return await first(6, own("127.0.7.21", **PATIENT), world), world

    frames, world = asyncio.run(run())
    assert {frame.block_id for frame in frames} == {65534, 65535, 1, 2, 3, 4}
    assert {frame.status for frame in frames} == {"ok"}
    assert not any("incomplete" in cause for cause, _ in world.rejected)


def test_sixty_four_bit_block_ids_are_read_and_asked_for_again() -> None:
    async def run() -> list[RadiometricFrame]:
        async with imager("127.0.7.22", extended=True, block_id=1 << 40, lose=[0, 2, 4]):
            return await first(2, own("127.0.7.22", **PATIENT), World())

    assert sorted(frame.block_id for frame in asyncio.run(run())) == [1 << 40, (1 << 40) + 1]


def test_over_the_mtu_the_cause_names_the_packet_size() -> None:
    async def run() -> None:
        async with imager("127.0.7.23", mtu=1000):
            with pytest.raises(TimeoutError, match=r"no full pixel packet; packet_size = 1400 is likely over .* MTU"):
                await first(1, own("127.0.7.23"), World())
            (frame,) = await first(1, own("127.0.7.23", packet_size=900), World())
            assert frame.status == "ok"

    asyncio.run(run())


def test_a_leader_of_another_size_is_refused_with_both_sizes() -> None:
    async def run() -> None:
        async with imager("127.0.7.24", leader_size=[65535, 65535]):
            with pytest.raises(DriverFault, match="leader says 65535x65535 Mono16 where 80x60 Mono16 was agreed"):
                await first(1, own("127.0.7.24"), World())

    asyncio.run(run())


def test_a_frozen_imager_shows_nothing_and_says_so() -> None:
    async def run() -> RadiometricFrame:
        async with imager("127.0.7.25", freeze=True):
            return await until("frozen: the same pixels in 3 frames", own("127.0.7.25"))

    assert np.isnan(asyncio.run(run()).frame_k).all()


def test_a_stalled_scan_shows_nothing_and_says_so() -> None:
    async def run() -> RadiometricFrame:
        async with imager("127.0.7.26", stall=True):
            return await until("stalled scan: all lines are equal", own("127.0.7.26"))

    assert np.isnan(asyncio.run(run()).frame_k).all()


def test_a_dead_channel_is_named_and_only_its_pixels_are_gone() -> None:
    async def run() -> RadiometricFrame:
        async with imager("127.0.7.27", dead_channel=17):
            return await until("dead channel: rows 17", own("127.0.7.27", bad_pixels=((3, 4),)))

    gone = np.isnan(asyncio.run(run()).frame_k)
    assert gone[17].all()
    assert gone[3, 4]
    assert gone.sum() == 81


def test_a_timestamp_that_goes_back_is_said_once() -> None:
    async def run() -> list[str]:
        frames = gigevision.readings("mm-1", own("127.0.7.28"), World().around())
        async with imager("127.0.7.28") as device, aclosing(frames) as stream:
            await anext(stream)
            await device.tell(back_s=5)
            return [(await anext(stream)).status for _ in range(6)]

    statuses = asyncio.run(run())
    assert sum(status.startswith("timestamp went back") for status in statuses) == 1


def test_an_imager_that_restarts_is_a_lost_connection_and_comes_back() -> None:
    async def run() -> None:
        async with imager("127.0.7.29") as device:
            config = own("127.0.7.29", silence_s=20)
            async with aclosing(gigevision.readings("mm-1", config, World().around())) as stream:
                await anext(stream)
                await device.tell(reboot_s=0.1)
                with pytest.raises(ConnectionError, match="control lost"):
                    async for _ in stream:
                        pass
            assert (await first(1, config, World()))[0].block_id == 1

    asyncio.run(run())


def test_an_imager_that_does_not_answer_is_named_by_the_register() -> None:
    async def run() -> None:
        async with imager("127.0.7.30", mute=True):
            with pytest.raises(
                TimeoutError, match="no reply to write of register 0x0A00; check power, cable and address"
            ):
                await first(1, own("127.0.7.30"), World())

    asyncio.run(run())


def test_a_device_that_asks_for_time_gets_it_and_a_reply_to_another_request_is_no_reply() -> None:
    async def run() -> None:
        async with imager("127.0.7.31") as device, gvcp.GvcpControl("127.0.7.31") as control:
            await device.tell(pending_ms=700)
            assert await control.read_register(0x0904) == 1
            assert control.counts["asked for time"] == 1
            await device.tell(wrong_id=True)
            assert await control.read_register(0x0904) == 1
            assert control.counts["replies to other requests"] == 1

    asyncio.run(run())


def test_a_size_that_the_imager_does_not_take_names_the_setting() -> None:
    async def run() -> None:
        async with imager("127.0.7.32"):
            with pytest.raises(DriverFault, match="Width is 80 and takes no 81; correct columns"):
                await first(1, own("127.0.7.32", columns=81), World())

    asyncio.run(run())


def test_packets_from_any_other_address_are_dropped() -> None:
    async def run() -> int:
        assembler = Assembler(Geometry(1, 1, 0x01080001), 1400, resend=False, patience_ns=10**8)
        receiver = GvspReceiver("127.0.0.1", "127.0.7.33", assembler, 1, lambda _: None, time.monotonic_ns)
        async with receiver:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
                for _ in range(3):
                    stranger.sendto(bytes(64), ("127.0.0.1", receiver.port))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
        assert not assembler.busy
        return assembler.tally.counts["packets from other addresses"]

    assert asyncio.run(run()) == 3


def test_the_recorded_losses_give_the_two_whole_frames(cases: Path) -> None:
    async def run() -> tuple[list[RadiometricFrame], World]:
        world, frames, capture = World(), [], str(cases / "39-gvsp-lost-packets" / "stream.pcap")
        size = ("--rows", "120", "--columns", "160")
        config = own("127.0.7.34", rows=120, columns=160, packet_size=1436)
        async with imager("127.0.7.34", *size, play=capture, resend=False):
            with pytest.raises(TimeoutError):
                async for frame in gigevision.readings("mm-1", config, world.around()):
                    frames.append(frame)
        return frames, world

    frames, world = asyncio.run(run())
    assert [frame.block_id for frame in frames] == [1, 5]
    assert len([cause for cause, _ in world.rejected if "incomplete" in cause]) == 3


def test_recorded_leaders_alone_say_within_seconds_which_setting_to_look_at(cases: Path) -> None:
    async def run() -> None:
        size, capture = ("--rows", "120", "--columns", "160"), str(cases / "41-gvsp-leaders-only" / "stream.pcap")
        config = own("127.0.7.35", rows=120, columns=160, packet_size=1436)
        async with imager("127.0.7.35", *size, play=capture):
            with pytest.raises(TimeoutError, match=r"packet_size = 1436 is likely over the path's MTU"):
                await first(1, config, World())

    asyncio.run(run())


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


FILM_FRAMES, FILM_ROWS, FILM_COLUMNS = 300, 64, 64
SMALL_PACKETS = {"rows": FILM_ROWS, "columns": FILM_COLUMNS, "packet_size": 400, **PATIENT}  # 24 in a frame


async def lossy(address: str, folder: Path, per_mille: float, *, resend: bool) -> tuple[list[RadiometricFrame], World]:
    """What is delivered of a film of pictures that are all different, over a wire that loses packets."""
    film = np.random.default_rng(7).integers(25_000, 32_000, (FILM_FRAMES, FILM_ROWS, FILM_COLUMNS))
    np.save(folder / "film.npy", film / 100)
    world, frames = World(), []
    size = ("--rows", str(FILM_ROWS), "--columns", str(FILM_COLUMNS), "--rate-hz", "100")
    process = imager(address, *size, frames=[str(folder / "film.npy")], lose_per_mille=per_mille, resend=resend)
    async with process, aclosing(gigevision.readings("mm-1", own(address, **SMALL_PACKETS), world.around())) as stream:
        async for frame in stream:
            frames.append(frame)
            if frame.block_id >= FILM_FRAMES:
                break
    known = {picture.astype(np.int64).tobytes() for picture in film}
    for frame in frames:  # whole, and of one moment: nothing is filled, nothing is mixed
        assert np.rint(frame.frame_k.astype(np.float64) * 100).astype(np.int64).tobytes() in known
    return frames, world


def test_of_one_packet_in_a_hundred_lost_over_99_in_100_frames_are_recovered(tmp_path: Path) -> None:
    frames, world = asyncio.run(lossy("127.0.7.40", tmp_path, 10, resend=True))
    asked = sum(cause.endswith("requests for packets") for cause, _ in world.rejected)
    lost = sum("incomplete" in cause for cause, _ in world.rejected)
    assert asked >= 30  # of 300 frames in 26 packets, 0.99^26 = 77 in 100 come whole by themselves
    assert lost <= 0.01 * FILM_FRAMES
    assert len({frame.block_id for frame in frames}) >= 0.99 * FILM_FRAMES


def test_of_one_packet_in_two_hundred_lost_and_none_sent_again_each_frame_is_counted(tmp_path: Path) -> None:
    frames, world = asyncio.run(lossy("127.0.7.41", tmp_path, 5, resend=False))
    lost = sum("incomplete" in cause for cause, _ in world.rejected)
    assert 10 <= lost <= 80  # 300 frames in 26 packets: 1 - 0.995^26 = 12 in 100 are expected to have a hole
    whole = {frame.block_id for frame in frames}
    missing = sum(number not in whole for number in range(min(whole), max(whole)))
    assert abs(missing - lost) <= 1  # one may still be waited for when the last has come
