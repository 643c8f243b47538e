"""A drop folder whose files come whole, in halves, twice, and not at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from drivers.driver import DriverFault
from drivers.reading import Radiograph
from drivers.xray import folder
from hil.devices.dicos_object import Scan, part10

if TYPE_CHECKING:
    from tests.drivers.conftest import World


def settings(place: Path, **changes: Any) -> folder.Config:
    (place / "drop").mkdir(exist_ok=True)
    table: dict[str, Any] = {
        "driver": "xray.folder",
        "folder": place / "drop",
        "spool": place / "spool",
        "poll_s": 0.01,
        "settle_s": 0.05,
        "max_offset_s": 604_800,
    }
    return folder.Config.model_validate(table | changes)


def dropped(place: Path, name: str, scan: Scan, keep: int | None = None) -> Path:
    (place / "drop" / name).write_bytes(part10(scan)[:keep])
    return place / "drop" / name


def read(
    config: folder.Config, world: World, wanted: int, then: Callable[[int], None] = lambda _: None
) -> list[Radiograph]:
    """That many readings; ``then`` is called after each with how many there are."""

    async def run() -> list[Radiograph]:
        found: list[Radiograph] = []
        async with aclosing(folder.readings("drop", config, world.around())) as stream:
            while len(found) < wanted:
                found.append(await anext(stream))
                then(len(found))
        return found

    return asyncio.run(asyncio.wait_for(run(), 20))


def test_files_that_lie_there_and_files_that_come_are_read_once_each(tmp_path: Path, world: World) -> None:
    config = settings(tmp_path)
    dropped(tmp_path, "a.dcs", Scan(vehicle="AB12"))
    found = read(
        config, world, 2, lambda _: dropped(tmp_path, "b.DCM", Scan(vehicle="CD34", sop_uid="1.2.3", seed=2)) and None
    )
    assert [one.plate_text for one in found] == ["AB12", "CD34"]
    assert all(one.path.parent == tmp_path / "spool" and one.path.exists() for one in found)
    assert len(list((tmp_path / "drop").iterdir())) == 2


def test_a_half_written_file_is_faulty_and_its_whole_is_a_second_reading(tmp_path: Path, world: World) -> None:
    config = settings(tmp_path)
    dropped(tmp_path, "a.dcs", Scan(), keep=9000)

    def finish(_: int) -> None:
        dropped(tmp_path, "a.dcs", Scan())

    half, whole = read(config, world, 2, finish)
    assert half.status.startswith("faulty: ")
    assert "rows are missing" in half.status
    assert not whole.status.startswith("faulty")
    assert "came before with other content" in whole.status


@pytest.mark.parametrize(("raw", "word"), [(b"", "begins with nothing"), (b"\xff\xd8" + bytes(200), "not DICOM")])
def test_what_is_no_radiograph_is_kept_and_said(tmp_path: Path, world: World, raw: bytes, word: str) -> None:
    config = settings(tmp_path)
    (tmp_path / "drop" / "a.dcm").write_bytes(raw)
    (found,) = read(config, world, 1)
    assert word in found.status
    assert found.path.read_bytes() == raw


def test_links_folders_and_other_names_are_left_alone(tmp_path: Path, world: World) -> None:
    config = settings(tmp_path)
    (tmp_path / "secret.dcs").write_bytes(part10(Scan(vehicle="SECRET")))
    (tmp_path / "drop" / "link.dcs").symlink_to(tmp_path / "secret.dcs")
    (tmp_path / "drop" / "folder.dcs").mkdir()
    os.mkfifo(tmp_path / "drop" / "pipe.dcs")
    (tmp_path / "drop" / "notes.txt").write_text("x")
    dropped(tmp_path, ".hidden.dcs", Scan(vehicle="HIDDEN"))
    dropped(tmp_path, "a.dcs", Scan(vehicle="AB12"))
    (found,) = read(config, world, 1)
    assert found.plate_text == "AB12"


def test_a_taken_file_is_removed_only_where_the_site_says_so(tmp_path: Path, world: World) -> None:
    config = settings(tmp_path, remove=True)
    path = dropped(tmp_path, "a.dcs", Scan())
    (found,) = read(config, world, 1)
    assert not path.exists()
    assert found.path.read_bytes() == part10(Scan())


def test_a_copy_under_another_name_is_kept_once(tmp_path: Path, world: World) -> None:
    config = settings(tmp_path)
    for name in ("a.dcs", "b.dcs", "c.dcs"):
        dropped(tmp_path, name, Scan())
    dropped(tmp_path, "d.dcs", Scan(sop_uid="1.2.3", seed=2))
    assert len({one.path for one in read(config, world, 2)}) == 2


def test_a_file_above_the_limit_is_said_once_and_the_others_are_read(tmp_path: Path, world: World) -> None:
    config = settings(tmp_path, max_object_bytes=64 * 1024)
    dropped(tmp_path, "big.dcs", Scan(rows=512, columns=512))
    dropped(tmp_path, "a.dcs", Scan())
    read(config, world, 1)
    read(config, world, 1)
    assert world.rejected
    assert {cause for cause, _ in world.rejected} == {"not taken: above max_object_bytes, or the spool is full"}


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path, world: World) -> None:
    config = settings(tmp_path)
    (tmp_path / "drop").rmdir()
    with pytest.raises(FileNotFoundError):
        asyncio.run(folder.probe("drop", config, world.around()))
    with pytest.raises(FileNotFoundError):
        read(config, world, 1)


def test_an_archive_is_no_drop_folder(tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "MAX_FILES", 3)
    config = settings(tmp_path)
    for number in range(5):
        dropped(tmp_path, f"{number}.dcs", Scan())
    with pytest.raises(DriverFault, match="over 3 files"):
        asyncio.run(folder.probe("drop", config, world.around()))
