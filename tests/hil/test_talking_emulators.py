"""The emulated devices that talk by themselves, judged by programs that share no code with them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pynmea2
import pytest
import serial


@contextmanager
def running(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    device = subprocess.Popen(
        [sys.executable, "-m", f"hil.devices.{module}", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert device.stdout is not None
        assert device.stdout.readline().startswith("port ")
        yield device
        device.communicate(timeout=20)
        assert device.returncode == 0
    finally:
        device.kill()
        device.communicate()


def order(device: subprocess.Popen[str], **what: object) -> None:
    assert device.stdin is not None
    assert device.stdout is not None
    device.stdin.write(json.dumps(what) + "\n")
    device.stdin.flush()
    assert device.stdout.readline() == "done\n"


def test_pynmea2_reads_the_anemometers_sentence_and_rejects_a_spoilt_one(tmp_path: Path) -> None:
    link = tmp_path / "line"
    with running("wind", "--link", str(link), "--every", "0") as device, serial.Serial(str(link), timeout=5) as line:
        order(device, speed_m_s=10.0, angle_deg=350, unit="N", do="say")
        said = pynmea2.parse(line.readline().decode(), check=True)
        assert (float(said.wind_speed), said.wind_speed_units, float(said.wind_angle)) == (19.44, "N", 350.0)
        order(device, do="xor")
        order(device, do="say")
        with pytest.raises(pynmea2.ChecksumError):
            pynmea2.parse(line.readline().decode(), check=True)
