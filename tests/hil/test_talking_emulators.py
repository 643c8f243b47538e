"""The emulated devices that talk by themselves, judged by programs that share no code with them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from operator import xor
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


def test_the_shakes_datagram_is_the_makers_form_and_its_clock_goes_on_by_its_samples() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as lane:
        lane.bind(("127.0.0.1", 0))
        lane.settimeout(10)
        with running("raspberryshake_udp", "--to", f"127.0.0.1:{lane.getsockname()[1]}", "--told") as device:
            times = []
            for _ in range(2):
                order(device, do="send", samples={"EHZ": [14168, -3] + [0] * 23})
                form = re.fullmatch(rb"\{'EHZ', (\d+\.\d{3}), 14168, -3(, 0){23}\}", lane.recv(2048))
                assert form
                times.append(float(form[1]))
            assert times[1] - times[0] == pytest.approx(0.25, abs=0.0011)


def test_the_explorers_frame_is_byte_for_byte_what_its_firmware_would_send(tmp_path: Path) -> None:
    link = tmp_path / "line"
    with (
        running("anyshake_serial", "--link", str(link), "--told") as device,
        serial.Serial(str(link), timeout=10) as line,
    ):
        order(device, rate_hz=10, sample_bytes=[2, 0, 3, 4], device_id=0x12345678)
        order(device, do="send", samples=[[-2], [], [-2], [1]])
        frame = line.read(30)
        # 60 000 ms; 100 ms, 10 Hz, no GNSS, int16, off, int24, int32; five variables: word 0x012C001F
        assert frame[:-3].hex(" ") == (
            "01 fe 60 ea 00 00 00 00 00 00 1f 00 2c 01 78 56 34 12 fe ff fe ff ff 01 00 00 00"
        )
        assert frame[-3:] == bytes((reduce(xor, frame[2:-3]),)) + b"\xef\x10"
