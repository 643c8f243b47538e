"""The emulated CO2 sensors judged by a master that shares no code with them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import minimalmodbus
import pytest
import serial

Emulator = subprocess.Popen[str]


@contextmanager
def running(module: str, link: Path) -> Iterator[Emulator]:
    device = subprocess.Popen(
        [sys.executable, "-m", f"hil.devices.{module}", "--link", str(link)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert device.stdout is not None
        assert device.stdout.readline() == f"port {link}\n"
        yield device
        device.communicate()
        assert not link.is_symlink()
    finally:
        device.kill()
        device.communicate()


def order(device: Emulator, **what: object) -> None:
    assert device.stdin is not None
    assert device.stdout is not None
    device.stdin.write(json.dumps(what) + "\n")
    device.stdin.flush()
    assert device.stdout.readline() == "done\n"


def test_minimalmodbus_reads_a_senseairs_status_with_its_value_and_switches_its_correction_off(tmp_path: Path) -> None:
    with running("senseair", tmp_path / "line") as device:
        order(device, co2_ppm=612, status=32, abc_hours=180)
        with serial.Serial(str(tmp_path / "line"), 9600, timeout=0.5) as line:
            master = minimalmodbus.Instrument(line, 0x68)
            assert master.read_registers(0, 4, functioncode=4) == [32, 0, 0, 612]
            assert master.read_register(0x1F) == 180
            master.write_register(0x1F, 0, functioncode=6)
            assert master.read_register(0x1F) == 0
            with pytest.raises(minimalmodbus.IllegalRequestError):
                master.read_registers(0, 9, functioncode=4)
            order(device, do="crc")
            with pytest.raises(minimalmodbus.InvalidResponseError):
                master.read_register(0x1F)


def test_minimalmodbus_reads_an_scd30s_floats_big_word_first_and_only_once(tmp_path: Path) -> None:
    with running("scd30", tmp_path / "line") as device:
        order(device, co2_ppm=612.5, do="measure")
        with serial.Serial(str(tmp_path / "line"), 19200, timeout=0.5) as line:
            master = minimalmodbus.Instrument(line, 0x61)
            assert master.read_register(0x27) == 1
            assert master.read_float(0x28, byteorder=minimalmodbus.BYTEORDER_BIG) == 612.5
            assert master.read_register(0x27) == 0
            assert master.read_register(0x3A) == 1
            master.write_register(0x3A, 0, functioncode=6)
            assert master.read_register(0x3A) == 0
            with pytest.raises(minimalmodbus.IllegalRequestError):
                master.read_register(0x28, functioncode=4)
