"""The driver from the socket to the reading, against the emulated scanner and a DICOS toolkit that is not ours."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from pydantic import ValidationError

from drivers.driver import DriverFault
from drivers.reading import Radiograph
from drivers.xray import dicos
from drivers.xray.spool import Spool
from edge import drivers as installed
from hil.devices.dicos_object import Scan, picture

if TYPE_CHECKING:
    from tests.drivers.conftest import World
    from tests.drivers.xray.conftest import Scanner


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def settings(folder: Path, **changes: Any) -> dicos.Config:
    table: dict[str, Any] = {
        "driver": "xray.dicos",
        "listen": f"127.0.0.1:{free_port()}",
        "senders": [{"ae_title": "SCANNER", "address": "127.0.0.1"}],
        "spool": folder / "spool",
    }
    return dicos.Config.model_validate(table | changes)


def now(**changes: Any) -> dict[str, Any]:
    """A scan made now, in words of the emulator."""
    at = datetime.now(UTC)
    return {"date": at.strftime("%Y%m%d"), "time": at.strftime("%H%M%S"), **changes}


def received(
    config: dicos.Config, world: World, scanner: Callable[..., Scanner], *scans: dict[str, Any]
) -> list[Radiograph]:
    """Readings of those scans, sent one after the other."""

    def send() -> None:
        while not _listens(config.address[1]):
            pass
        probe = scanner(config.address[1])
        for scan in scans:
            assert probe.does("store", scan=scan) == {"status": 0}

    async def run() -> list[Radiograph]:
        async with aclosing(dicos.readings("scanner", config, world.around())) as stream:
            sending = asyncio.ensure_future(asyncio.to_thread(send))
            readings = [await anext(stream) for _ in scans]
            await sending
            return readings

    return asyncio.run(run())


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


def test_scan_becomes_a_radiograph(tmp_path: Path, world: World, scanner: Callable[..., Scanner]) -> None:
    (found,) = received(settings(tmp_path), world, scanner, now(vehicle="AB12 CDE"))
    assert found.status == "ok"
    assert (found.plate_text, found.passage_hint, found.dose_usv) == ("AB12 CDE", None, None)
    assert found.acquired_utc_ns is not None
    assert abs(found.acquired_utc_ns - time.time_ns()) < 60e9
    assert found.path.parent == tmp_path / "spool"
    np.testing.assert_allclose(found.transmission, picture(Scan()), atol=1e-4)
    assert found.stamp.arrival_monotonic_ns <= time.monotonic_ns()


def test_another_picture_under_one_uid_is_a_second_reading_that_is_flagged(
    tmp_path: Path, world: World, scanner: Callable[..., Scanner]
) -> None:
    first, second = received(settings(tmp_path), world, scanner, now(), now(seed=2))
    assert first.status == "ok"
    assert "SOPInstanceUID (0008,0018) came before with other content" in second.status
    assert first.path != second.path
    assert first.path.exists()
    assert second.transmission.size


def test_what_came_while_nobody_read_is_read_at_the_start(
    tmp_path: Path, world: World, scanner: Callable[..., Scanner]
) -> None:
    config = settings(tmp_path)
    (before,) = received(config, world, scanner, now())

    async def again() -> Path:
        async with aclosing(dicos.readings("scanner", config, world.around())) as stream:
            return (await anext(stream)).path

    assert asyncio.run(again()) == before.path


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        ({"photometric": "MONOCHROME1"}, "PhotometricInterpretation"),
        ({"bits_stored": 12, "high_bit": 15}, "HighBit"),
        ({"bits_stored": 12, "dirty_bits": True}, "BitsStored"),
        ({"missing_lines": 4}, "rows are missing"),
        ({"rows_lie": -1}, "PixelData"),
        ({"scan_type": "CALIBRATION"}, "ScanType"),
        ({"zone": None}, "TimezoneOffsetFromUTC"),
        ({"spacing_mm": ""}, "PixelSpacing"),
        ({"date": "20310120"}, "clock"),
    ],
)
def test_a_scanners_fault_is_said_by_field_name(
    tmp_path: Path, world: World, scanner: Callable[..., Scanner], fault: dict[str, Any], word: str
) -> None:
    (found,) = received(settings(tmp_path), world, scanner, now(**fault))
    assert word in found.status


def test_a_port_that_is_taken_is_an_error_and_leaves_the_spool_free(tmp_path: Path, world: World) -> None:
    async def run(config: dicos.Config) -> None:
        async with aclosing(dicos.readings("scanner", config, world.around())) as stream:
            await anext(stream)

    with socket.create_server(("127.0.0.1", 0)) as other:
        config = settings(tmp_path, listen=f"127.0.0.1:{other.getsockname()[1]}")
        for _ in range(2):
            with pytest.raises(OSError, match="in use"):
                asyncio.run(run(config))


def test_a_spool_of_two_devices_is_refused(tmp_path: Path, world: World) -> None:
    async def run() -> None:
        with pytest.raises(DriverFault, match="in use by another device"):
            await anext(dicos.readings("b", settings(tmp_path), world.around()))

    other = Spool(tmp_path / "spool", 2**20, time.time_ns)
    asyncio.run(run())
    other.close()


def test_certificates_that_are_not_there_are_named(tmp_path: Path, world: World, certificates: Path) -> None:
    tls = {name: str(certificates / f"{file}") for name, file in
           (("certificate", "lane.pem"), ("key", "lane.key"), ("client_ca", "ca.pem"))}  # fmt: skip

    def probe(**changes: str) -> None:
        asyncio.run(dicos.probe("scanner", settings(tmp_path, tls=tls | changes), world.around()))

    probe()
    with pytest.raises(DriverFault, match="tls: certificate or key: No such file"):
        probe(key=str(tmp_path / "none"))
    with pytest.raises(DriverFault, match="tls: client_ca"):
        probe(client_ca=str(tmp_path))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"listen": "0.0.0.0:11112"}, "beyond loopback"),
        ({"listen": "127.0.0.1:70000"}, "port"),
        ({"listen": "lane.example:11112"}, "IPv4 or IPv6"),
        ({"senders": []}, "at least 1"),
        ({"senders": [{"ae_title": "A" * 17, "address": "127.0.0.1"}]}, "ae_title"),
        ({"senders": [{"ae_title": "A", "address": "scanner"}]}, "IPv4 or IPv6"),
        ({"senders": [{"ae_title": "A", "address": "127.0.0.1", "certificate_sha256": "xyz"}]}, "certificate_sha256"),
    ],
)
def test_a_careless_configuration_is_refused(tmp_path: Path, change: dict[str, Any], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        settings(tmp_path, **change)


def test_both_drivers_are_found_by_their_names() -> None:
    assert {"xray.dicos", "xray.folder"} <= set(installed.names())
    for name in ("xray.dicos", "xray.folder"):
        installed.find(name)
