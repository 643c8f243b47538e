"""The emulated scanner judged by DCMTK's own receiver and reader, which share no code with it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from hil.devices.dicos_object import Scan, part10, words

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def scp(tmp_path: Path, program_of: Callable[[str, str], str]) -> Iterator[tuple[int, Path]]:
    """DCMTK's storescp: its port, and the folder that it fills."""
    program = program_of("storescp", "DCMTK")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = int(one.getsockname()[1])
    folder = tmp_path / "received"
    folder.mkdir()
    process = subprocess.Popen([program, "-aet", "LANEPULSE", "-od", str(folder), "+B", "-uf", str(port)])
    until_s = time.monotonic() + 10
    while not _listens(port) and time.monotonic() < until_s:
        pass
    yield port, folder
    process.kill()
    process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def ask() -> Iterator[Callable[[int], Ask]]:
    """``ask(port)("store", scan={})``."""
    processes: list[subprocess.Popen[str]] = []

    def start(port: int) -> Ask:
        command = [sys.executable, "-m", "hil.devices.xray_scanner", "--to", f"127.0.0.1:{port}"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        assert stdout.readline().startswith("ready ")

        def does(what: str, **more: object) -> dict[str, Any]:
            stdin.write(json.dumps({"do": what, **more}) + "\n")
            stdin.flush()
            return dict(json.loads(stdout.readline()))

        return does

    yield start
    for process in processes:
        process.communicate()


def test_dcmtk_receives_what_the_scanner_sends(scp: tuple[int, Path], ask: Callable[[int], Ask]) -> None:
    port, folder = scp
    does = ask(port)
    assert does("echo") == {"status": 0}
    scan = {"rows": 256, "columns": 512, "vehicle": "AB12 CDE", "sop_class": "1.2.840.10008.5.1.4.1.1.1.1.1"}
    assert does("store", scan=scan, times=2) == {"status": 0}
    received = pydicom.dcmread(next(path for path in folder.iterdir()))
    assert received.PatientID == "AB12 CDE"
    np.testing.assert_array_equal(received.pixel_array, words(Scan(rows=256, columns=512)))


def test_a_faulty_command_is_answered_in_words(scp: tuple[int, Path], ask: Callable[[int], Ask]) -> None:
    assert "do one of" in ask(scp[0])("expose")["error"]


def test_drop_files_are_dicom_and_halves_are_not_whole(
    tmp_path: Path, ask: Callable[[int], Ask], program_of: Callable[[str, str], str]
) -> None:
    judge = program_of("dcmdump", "DCMTK")
    does = ask(1)
    assert does("file", folder=str(tmp_path), name="a.dcs", scan={}) == {"written": len(part10(Scan()))}
    assert does("file", folder=str(tmp_path), name="b.dcs", scan={}, keep=900) == {"written": 900}
    assert subprocess.run([judge, "-q", str(tmp_path / "a.dcs")], capture_output=True, timeout=30).returncode == 0
    assert subprocess.run([judge, "-q", str(tmp_path / "b.dcs")], capture_output=True, timeout=30).returncode != 0


@pytest.mark.parametrize("scan", [Scan(), Scan(bits_stored=12), Scan(sign=-1, photometric="MONOCHROME1"),
                                  Scan(relationship="LOG", sign=-1), Scan(mirrored=True)])  # fmt: skip
def test_pydicom_reads_every_kind_of_scan(tmp_path: Path, scan: Scan) -> None:
    (tmp_path / "a.dcs").write_bytes(part10(scan))
    read = pydicom.dcmread(tmp_path / "a.dcs")
    np.testing.assert_array_equal(read.pixel_array, words(scan))
    assert read.PixelIntensityRelationship == scan.relationship
