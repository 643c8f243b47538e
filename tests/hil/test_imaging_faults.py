"""Every fault of an imaging device, played on its emulator: the lane's own drivers, supervisor and evidence say it."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from drivers.mmwave import folder as imager_folder
from drivers.mmwave import gigevision
from drivers.reading import ClockQuality, Radiograph, RadiometricFrame, Reading
from drivers.xray import dicos
from drivers.xray import folder as scanner_folder
from edge.quarantine import Quarantine
from edge.radiograph_join import Candidate, Kept, Terms, place
from edge.supervisor import Supervised
from fusion.evidence.mmwave import mmwave_evidence
from fusion.evidence.xray import xray_evidence
from fusion.passage import BodyType, Passage
from hil import imaging_fault
from hil.imaging_fault import FOLDER, Fault

ADDRESS = "127.0.7.60"
ROWS, COLUMNS, RATE_HZ = 48, 64, 40.0
SOON_S = 20.0  # a busy machine; the words usually come in tenths of a second
FAST = 10.0  # how much faster the lane's clock goes where drifts are waited for
FAULTS = imaging_fault.every()
DOCS = Path(imaging_fault.__file__).parents[1] / "docs" / "faults-imaging.md"


class Emulator:
    """A process that takes JSON lines and answers each."""

    def __init__(self, module: str, *arguments: str) -> None:
        command = [sys.executable, "-m", f"hil.devices.{module}", *arguments]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.place = self._process.stdout.readline().split(maxsplit=1)[1].strip()

    def tell(self, order: dict[str, Any]) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def imager() -> Iterator[Emulator]:
    size = ("--rows", str(ROWS), "--columns", str(COLUMNS), "--rate-hz", f"{RATE_HZ:g}")
    emulator = Emulator("gigevision", "--listen", ADDRESS, "--port", "0", *size)
    yield emulator
    emulator.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def scanner() -> Iterator[Emulator]:
    emulator = Emulator("xray_scanner", "--to", f"127.0.0.1:{_free_port()}")
    yield emulator
    emulator.close()


@pytest.fixture(scope="module")
def tls_scanner(certificates: Path) -> Iterator[Emulator]:
    own = [str(certificates / name) for name in ("scanner.pem", "scanner.key", "ca.pem")]
    emulator = Emulator("xray_scanner", "--to", f"127.0.0.1:{_free_port()}", "--tls", *own)
    yield emulator
    emulator.close()


@dataclass
class Lane:
    """One device under the lane's supervisor, and all that it gave."""

    device: Supervised
    quarantine: Quarantine
    readings: list[Reading]

    def counted(self) -> dict[str, int]:
        return self.quarantine.counts("device")


@asynccontextmanager
async def lane(driver: Any, config: BaseModel, scratch: Path, rate: float = 1.0) -> AsyncIterator[Lane]:
    """The device driven as on a lane; its clock may go faster, so that a minute need not be waited for."""
    began_ns, began_utc_ns = time.monotonic_ns(), time.time_ns()

    def monotonic_ns() -> int:
        return began_ns + round((time.monotonic_ns() - began_ns) * rate)

    quarantine, queue = Quarantine(scratch / "quarantine"), asyncio.Queue[Reading]()
    device = Supervised(
        "device",
        driver,
        config,
        queue,
        quarantine,
        now_utc_ns=lambda: began_utc_ns + monotonic_ns() - began_ns,
        monotonic_ns=monotonic_ns,
        clock=lambda: ClockQuality(True, 1_000),
        notes={},
    )
    found = Lane(device, quarantine, [])

    async def gather() -> None:
        while True:
            found.readings.append(await queue.get())

    tasks = [asyncio.create_task(device.run()), asyncio.create_task(gather())]
    try:
        yield found
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(happens: Callable[[], bool], shown: Callable[[], object]) -> None:
    """Wait until it happens; what was there instead is the failure."""
    end_s = time.monotonic() + SOON_S
    while not happens():
        assert time.monotonic() < end_s, shown()
        await asyncio.sleep(0.02)


def frames_of(found: Lane) -> list[RadiometricFrame]:
    return [reading for reading in found.readings if isinstance(reading, RadiometricFrame)]


def passage(found: Lane, **more: Any) -> Passage:
    """All that came, as a passage holds it."""
    states = {"device": found.device.health().state}
    return Passage("p", "s", "l", found.readings[0].stamp.time_utc_ns, None, BodyType.SOFT_SIDED, states=states, **more)


def says_as(fault: Fault, found: Lane) -> bool:
    """Whether the state and the words are there."""
    health = found.device.health()
    if fault.seen == "evidence" and not found.readings:
        return False
    if fault.seen == "device":
        return health.state.startswith(f"{fault.state}: ") and fault.words in health.state
    if fault.seen == "reading":
        statuses = [reading.status for reading in found.readings if fault.words in reading.status]
        return any(status.startswith("faulty") == (fault.state == "faulty") for status in statuses)
    if fault.seen in ("counted", "refused"):
        return any(fault.words in cause for cause in found.counted()) and (fault.seen == "refused" or health.there)
    if fault.device == "imager":
        frames = frames_of(found)[-40:]
        if len(frames) < 12:
            return False
        part = mmwave_evidence(passage(found, frames=tuple(frames)), frames[-1].stamp.time_utc_ns)
    else:
        scans = tuple(reading for reading in found.readings if isinstance(reading, Radiograph))
        part = xray_evidence(passage(found, radiographs=scans))
    return part.state == fault.state and fault.words in f"{part.cause}; {part.where}"


def told(fault: Fault, found: Lane) -> object:
    last = [(type(reading).__name__, reading.status) for reading in found.readings[-2:]]
    part: object = None
    if fault.seen == "evidence" and fault.device == "imager" and len(frames_of(found)) > 12:
        frames = frames_of(found)[-40:]
        part = mmwave_evidence(passage(found, frames=tuple(frames)), frames[-1].stamp.time_utc_ns)
    if fault.seen == "evidence" and fault.device != "imager" and found.readings:
        part = xray_evidence(passage(found, radiographs=tuple(found.readings)))
    return fault.words, found.device.health().state, last, found.counted(), part


def of(*devices: str) -> list[Any]:
    return [pytest.param(fault, id=name) for name, fault in FAULTS.items() if fault.device in devices]


@pytest.mark.parametrize("fault", of("imager"))
def test_a_fault_of_the_imager_is_said(fault: Fault, imager: Emulator, tmp_path: Path) -> None:
    table = {
        "driver": "mmwave.gigevision", "address": ADDRESS, "port": int(imager.place), "rows": ROWS,
        "columns": COLUMNS, "side": "left", "packet_size": 600, "period_s": 0.1, "silence_s": 0.4,
    }  # fmt: skip
    config = gigevision.Config.model_validate(table | fault.config)
    drifts = any("clock_rate" in order for order in fault.orders)

    async def run() -> Lane:
        imager.tell({"reset": True})
        for order in fault.before:
            assert imager.tell(order) == "done"
        async with lane(gigevision, config, tmp_path, FAST if drifts else 1.0) as found:
            if not any("held" in order for order in fault.before):
                await until(lambda: len(frames_of(found)) >= 3, lambda: told(fault, found))
            before = len(found.readings)
            for order in fault.orders:
                assert imager.tell(order) == "done"
            await until(lambda: says_as(fault, found), lambda: told(fault, found))
            if fault.state == "ok":  # and frames go on, each right and none twice
                await until(lambda: len(found.readings) >= before + 5, lambda: told(fault, found))
            return found

    found = asyncio.run(run())
    if fault.seen == "counted":
        frames = frames_of(found)
        assert all(frame.status == "ok" for frame in frames)
        numbers = [frame.block_id for frame in frames]
        assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("fault", of("imager folder"))
def test_a_fault_of_the_imagers_folder_is_said(fault: Fault, tmp_path: Path) -> None:
    dropped = tmp_path / "drop"
    dropped.mkdir()
    table = {
        "driver": "mmwave.folder", "path": dropped, "rows": 32, "columns": 48, "side": "left", "look_s": 0.05,
        "give_up_s": 0.2,
    }  # fmt: skip
    config = imager_folder.Config.model_validate(table | fault.config)
    software = Emulator("imager_folder", "--folder", str(dropped))

    async def run() -> Lane:
        async with lane(imager_folder, config, tmp_path) as found:
            software.tell({"write": "first.tiff"})
            await until(lambda: len(found.readings) == 1, lambda: told(fault, found))
            for number, order in enumerate(fault.orders, 2):
                assert software.tell(order) == "done"
                if fault.seen != "refused":
                    await until(lambda n=number: len(found.readings) == n, lambda: told(fault, found))  # type: ignore[misc]
            if fault.words:
                await until(lambda: says_as(fault, found), lambda: told(fault, found))
            return found

    try:
        found = asyncio.run(run())
    finally:
        software.close()
    if fault.seen == "refused":
        assert len(found.readings) == 1


def scan_of(scan: dict[str, Any]) -> dict[str, Any]:
    """A scan that is made now, or some hours away; large enough for a load space."""
    at = datetime.now(UTC) + timedelta(hours=scan.pop("hours", 0))
    size = {"rows": 64, "columns": 128, "spacing_mm": "50\\50"}
    return {**size, "date": f"{at:%Y%m%d}", "time": f"{at:%H%M%S}", "seed": time.monotonic_ns() % 2**31, **scan}


def fits(answer: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(answer.get(key) == value for key, value in wanted.items())


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("fault", of("scanner", "scanner over TLS"))
def test_a_fault_of_the_scanner_is_said(
    fault: Fault, scanner: Emulator, tls_scanner: Emulator, certificates: Path, tmp_path: Path
) -> None:
    over_tls = fault.device == "scanner over TLS"
    emulator = tls_scanner if over_tls else scanner
    table: dict[str, Any] = {
        "driver": "xray.dicos", "listen": emulator.place, "spool": tmp_path / "spool",
        "senders": [{"ae_title": "SCANNER", "address": "127.0.0.1"}],
    }  # fmt: skip
    if over_tls:
        own = {"certificate": "lane.pem", "key": "lane.key", "client_ca": "ca.pem"}
        table["tls"] = {name: certificates / file for name, file in own.items()}
    config = dicos.Config.model_validate(table | fault.config)
    answers: list[dict[str, Any]] = []
    fixed = scan_of({"sop_uid": "1.2.826.0.1.3680043.8.498.77"})

    def play() -> None:
        while not _listens(config.address[1]):
            time.sleep(0.02)
        for order in fault.orders:
            scan = dict(order.get("scan", {}))
            made = scan_of(scan) if scan or fault.wire == "DICOS" else fixed
            answers.append(json.loads(emulator.tell({**order, "scan": made})))

    async def run() -> Lane:
        async with lane(dicos, config, tmp_path) as found:
            await asyncio.to_thread(play)
            if fault.seen == "kept":
                await until(lambda: bool(found.readings), lambda: told(fault, found))
            else:
                await until(lambda: says_as(fault, found), lambda: (answers, told(fault, found)))
            return found

    found = asyncio.run(run())
    for answer, wanted in zip(answers, fault.answers, strict=False):
        assert fits(answer, wanted), (answer, wanted)
    assert not list((tmp_path / "spool" / "incoming").iterdir())  # nothing half stored
    if fault.seen == "kept":
        (scan,) = (reading for reading in found.readings if isinstance(reading, Radiograph))
        assert kept_as(scan, config).find(fault.words) >= 0


def kept_as(scan: Radiograph, config: dicos.Config) -> str:
    """The cause by which a scan of the vehicle on the lane joins no passage; AB12CDE left a minute ago."""
    now_ns = scan.stamp.arrival_utc_ns
    before = Candidate("before", now_ns - 120 * 10**9, now_ns - 60 * 10**9, ("AB 12 CDE",))
    here = Candidate("here", now_ns - 30 * 10**9, None)
    answer = place(scan, [before, here], Terms(config.late_s, config.in_lane))
    assert isinstance(answer, Kept)
    return answer.cause


@pytest.mark.parametrize("fault", of("scanner folder"))
def test_a_fault_of_the_scanners_folder_is_said(fault: Fault, scanner: Emulator, tmp_path: Path) -> None:
    dropped = tmp_path / "drop"
    dropped.mkdir()
    table = {"driver": "xray.folder", "folder": dropped, "spool": tmp_path / "spool", "poll_s": 0.05, "settle_s": 0.1}
    config = scanner_folder.Config.model_validate(table | fault.config)

    async def run() -> None:
        async with lane(scanner_folder, config, tmp_path) as found:
            for order in fault.orders:
                scanner.tell({**order, "folder": str(dropped), "scan": scan_of({})})
            await until(lambda: says_as(fault, found), lambda: told(fault, found))

    asyncio.run(run())


def test_the_page_is_the_table_of_the_files() -> None:
    assert DOCS.read_text(encoding="utf-8") == imaging_fault.page(), (
        "python -m hil.imaging_fault > docs/faults-imaging.md"
    )


def test_the_files_cover_every_wire_and_are_named_for_their_faults() -> None:
    assert {fault.wire for fault in FAULTS.values()} == set(imaging_fault.WIRES)
    assert all(name == name.lower() and " " not in name for name in FAULTS)
    assert len(list(FOLDER.glob("*"))) == len(FAULTS)
