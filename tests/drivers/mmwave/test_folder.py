"""The watched folder: what is taken, what is left, and what is refused with a cause."""

from __future__ import annotations

import asyncio
import io
import os
import re
import struct
import time
import tracemalloc
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from drivers.driver import DriverFault, Surroundings
from drivers.mmwave import folder
from drivers.mmwave.radiometry import Scale
from drivers.reading import ClockQuality, RadiometricFrame

SHAPE = (24, 32)


class World:
    """Surroundings of a test, what was rejected into them, and the resume notes."""

    def __init__(self) -> None:
        self.rejected: list[tuple[str, bytes]] = []
        self.notes: dict[str, str] = {}

    def around(self) -> Surroundings:
        return Surroundings(
            time.time_ns,
            time.monotonic_ns,
            lambda: ClockQuality(True, 1),
            lambda cause, raw: self.rejected.append((cause, raw)),
            self.notes.get,
            self.notes.__setitem__,
        )


def scene(seed: int = 1) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).uniform(270, 300, SHAPE).astype(np.float32)


def tiff(*pages: np.ndarray[Any, Any], **how: Any) -> bytes:
    text = io.BytesIO()
    with tifffile.TiffWriter(text, byteorder=how.pop("byteorder", "<")) as writer:
        for page in pages:
            writer.write(page, photometric="minisblack", **how)
    return text.getvalue()


def configured(path: Path, **others: Any) -> folder.Config:
    fast = {"rows": SHAPE[0], "columns": SHAPE[1], "side": "left", "look_s": 0.02, "silence_s": 5, "give_up_s": 0.1}
    return folder.Config(driver="mmwave.folder", path=path, **{**fast, **others})  # type: ignore[arg-type]


def taken(
    config: folder.Config, world: World, count: int, *then: Callable[[], None], first: bytes | None = None
) -> list[RadiometricFrame]:
    """The next ``count`` frames; after each one the next of ``then`` happens. ``first`` lies there from the start."""

    async def run() -> list[RadiometricFrame]:
        frames: list[RadiometricFrame] = []
        async with asyncio.timeout(20), aclosing(folder.readings("mm-2", config, world.around())) as stream:
            async for frame in stream:
                frames.append(frame)
                if len(frames) == count:
                    break
                if len(frames) <= len(then):
                    then[len(frames) - 1]()
        return frames

    if first is not None:
        renamed(config.path, "first.tif", first)
    return asyncio.run(run())


def renamed(path: Path, name: str, text: bytes) -> None:
    """As a careful writer does it."""
    (path / f".{name}.part").write_bytes(text)
    (path / f".{name}.part").rename(path / name)


def test_kelvin_and_counts_are_both_read_and_native(tmp_path: Path) -> None:
    in_kelvin, config = scene(1), configured(tmp_path)
    counts = np.rint(scene(2) * 100).astype(np.uint16)
    world = World()
    one, two = taken(
        config,
        world,
        2,
        lambda: renamed(tmp_path, "two.tif", tiff(counts, byteorder=">")),
        first=tiff(in_kelvin),
    )
    assert np.array_equal(one.frame_k, in_kelvin)
    assert float(np.abs(two.frame_k - scene(2)).max()) <= 0.0051
    assert [frame.status for frame in (one, two)] == ["ok", "ok"]
    assert world.rejected == []


def test_pages_are_frames_and_nan_stays_nan(tmp_path: Path) -> None:
    bad = scene(2)
    bad[3, 4] = np.nan
    one, two = taken(configured(tmp_path), World(), 2, first=tiff(scene(1), bad))
    assert (one.block_id, two.block_id) == (1, 2)
    assert np.flatnonzero(np.isnan(two.frame_k)).tolist() == [3 * SHAPE[1] + 4]


def test_a_file_that_grows_in_place_is_taken_when_it_is_whole(tmp_path: Path) -> None:
    text, grown = tiff(scene(2)), tmp_path / "grown.tif"

    def begin() -> None:
        grown.write_bytes(text[:1000])

    async def run() -> RadiometricFrame:
        world = World()
        stream = folder.readings("mm-2", configured(tmp_path, give_up_s=60), world.around())
        async with asyncio.timeout(20), aclosing(stream):
            await anext(stream)
            begin()
            coming = asyncio.ensure_future(anext(stream))
            for end in (1500, 2000, len(text)):
                for _ in range(3):  # it rests for some looks, half-written
                    await asyncio.to_thread(folder.look, tmp_path)
                    await asyncio.sleep(0.02)
                assert not coming.done()
                with grown.open("ab") as file:
                    file.write(text[grown.stat().st_size : end])
            frame = await coming
        assert world.rejected == []
        return frame

    renamed(tmp_path, "first.tif", tiff(scene(1)))
    assert np.array_equal(asyncio.run(run()).frame_k, scene(2))


def test_the_same_name_written_again_is_a_new_frame(tmp_path: Path) -> None:
    frames = taken(
        configured(tmp_path),
        World(),
        2,
        lambda: renamed(tmp_path, "first.tif", tiff(scene(2))),
        first=tiff(scene(1)),
    )
    assert np.array_equal(frames[1].frame_k, scene(2))


def test_files_of_before_are_left_alone_and_a_restart_takes_nothing_twice(tmp_path: Path) -> None:
    renamed(tmp_path, "old.tif", tiff(scene(9)))
    os.utime(tmp_path / "old.tif", (time.time() - 3600, time.time() - 3600))
    world, config = World(), configured(tmp_path)
    (one,) = taken(config, world, 1, first=tiff(scene(1)))
    assert np.array_equal(one.frame_k, scene(1))

    async def nothing_more() -> None:
        with pytest.raises(TimeoutError, match="2 files lay there before and are left alone"):
            await anext(folder.readings("mm-2", configured(tmp_path, silence_s=0.2), world.around()))

    # the note is written when the frame has gone on, which the closed generator above did not live to see
    world.notes[folder.NOTE] = str((tmp_path / "first.tif").stat().st_mtime_ns)
    asyncio.run(nothing_more())


def test_a_clock_that_is_wrong_is_a_status_and_the_stamp_is_ours(tmp_path: Path) -> None:
    def wrong(by_s: float, name: str) -> None:
        (tmp_path / "part").write_bytes(tiff(scene(int(abs(by_s)))))
        os.utime(tmp_path / "part", (time.time() + by_s, time.time() + by_s))
        (tmp_path / "part").rename(tmp_path / name)

    before_ns = time.time_ns()
    frames = taken(
        configured(tmp_path),
        World(),
        3,
        lambda: wrong(7200, "ahead.tif"),
        lambda: wrong(-7300, "behind.tif"),
        first=tiff(scene(1)),
    )
    assert "in the future; set the imager's clock" in frames[1].status
    assert "in the past; set the imager's clock" in frames[2].status
    assert all(before_ns - 10**9 <= frame.stamp.time_utc_ns <= time.time_ns() for frame in frames)


def bomb() -> bytes:
    """A TIFF of a few bytes that says it is 60000 pixels square."""
    tags = [(256, 60000), (257, 60000), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 60000), (279, 4)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", len(tags)) + entries + bytes(8)


def damaged() -> dict[str, tuple[bytes, str]]:
    whole = tiff(scene(1))
    return {
        "empty": (b"", "0 bytes"),
        "cut": (whole[:-100], "outside the file|bytes of pixels|not a whole TIFF"),
        "words": (b"this is no image at all", "not a whole TIFF"),
        "bomb": (bomb(), "60000x60000 pixels where rows, columns are 24x32"),
        "small": (tiff(scene(1)[:10]), "10x32 pixels"),
        "colour": (tiff(np.zeros((*SHAPE, 3), np.uint16)), "page of 32x3 pixels"),
        "double": (tiff(scene(1).astype(np.float64)), "pixels are float64"),
        "packed": (tiff(scene(1), compression="zlib"), "compressed"),
        "tiled": (tiff(scene(1), tile=(16, 16)), "tiled"),
        "pages": (tiff(*[scene(1)] * 65), "over 64 pages"),
    }


@pytest.mark.parametrize("kind", sorted(damaged()))
def test_what_is_no_image_of_ours_is_refused_with_its_cause(kind: str, tmp_path: Path) -> None:
    text, cause = damaged()[kind]
    world, config = World(), configured(tmp_path, silence_s=0.5)
    renamed(tmp_path, "bad.tif", text)
    with pytest.raises(TimeoutError, match=f"last refused: 'bad.tif': .*({cause})"):
        taken(config, world, 1)
    ((said, raw),) = world.rejected  # once
    assert raw == text[:256] or not raw
    assert "bad.tif" in said


def test_links_pipes_hidden_and_other_files_are_not_looked_at(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    renamed(outside, "secret.tif", tiff(scene(1)))
    (inside / "link.tif").symlink_to(outside / "secret.tif")
    os.mkfifo(inside / "pipe.tif")
    (inside / ".hidden.tif").write_bytes(b"x")
    (inside / "readme.txt").write_bytes(b"x")
    assert folder.look(inside) == {}


def test_a_folder_that_is_away_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="away"):
        taken(configured(tmp_path / "away"), World(), 1)


@given(st.binary(max_size=400), st.integers(0, 200))
def test_any_damage_to_a_tiff_is_pages_or_a_fault(noise: bytes, at: int) -> None:
    text = bytearray(tiff(scene(1)))
    text[at : at + len(noise)] = noise
    try:
        pages = folder.decode(bytes(text), configured(Path()))
    except DriverFault:
        return
    assert all(page.shape == SHAPE for page in pages)


def test_every_stored_thermal_file_is_an_image_or_an_error_that_names_what_is_wrong(recordings: Path) -> None:
    """Compressed TIFF, and files of other makers' formats; nothing is decoded to find out."""
    scale = Scale(rows=512, columns=640, side="left")
    files = sorted((recordings / "thermal").iterdir())
    assert len(files) >= 4
    for file in files:
        raw = file.read_bytes()
        tracemalloc.start()
        try:
            assert all(page.shape == (512, 640) for page in folder.decode(raw, scale))
        except DriverFault as fault:
            assert re.search(r"tag 259, Compression, is \d|not a whole TIFF|pixels are|columns", str(fault)), file.name
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= 2 * 512 * 640 * 4, file.name
