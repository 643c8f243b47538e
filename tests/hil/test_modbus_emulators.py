"""The Modbus emulators judged by masters that share no code with them."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import minimalmodbus
import pytest
import serial
from pymodbus.client import ModbusTcpClient

Emulator = subprocess.Popen[str]


def start(*arguments: str) -> tuple[Emulator, str]:
    device = subprocess.Popen(
        [sys.executable, "-m", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert device.stdout is not None
    return device, device.stdout.readline().split()[1]


def order(device: Emulator, **what: object) -> None:
    assert device.stdin is not None
    assert device.stdout is not None
    device.stdin.write(json.dumps(what) + "\n")
    device.stdin.flush()
    assert device.stdout.readline() == "done\n"


@pytest.fixture
def probe(tmp_path: Path) -> Iterator[tuple[Emulator, str]]:
    device, port = start("hil.devices.gmp25x", "--link", str(tmp_path / "line"))
    yield device, port
    device.communicate()
    assert not (tmp_path / "line").is_symlink()


@pytest.fixture
def module() -> Iterator[tuple[Emulator, str]]:
    device, port = start("hil.devices.modbus_io", "--listen", "127.0.0.1:0")
    yield device, port
    device.communicate()


def mbpoll(*arguments: str) -> str:
    if not (program := shutil.which("mbpoll")):
        pytest.skip("mbpoll is not installed")
    return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=20).stdout


def test_minimalmodbus_reads_the_probes_ppm_and_status(probe: tuple[Emulator, str]) -> None:
    device, port = probe
    order(device, co2_ppm=612.0, status=256)
    with serial.Serial(port, 19200, timeout=0.5) as line:
        master = minimalmodbus.Instrument(line, 240)
        assert master.read_float(0, byteorder=minimalmodbus.BYTEORDER_LITTLE_SWAP) == 612.0
        assert master.read_registers(0x0800, 5) == [0, 256, 0, 0, 0]
        with pytest.raises(minimalmodbus.IllegalRequestError):
            master.read_register(0x4000)


def test_minimalmodbus_sees_a_damaged_and_a_missing_reply(probe: tuple[Emulator, str]) -> None:
    device, port = probe
    with serial.Serial(port, 19200, timeout=0.3) as line:
        master = minimalmodbus.Instrument(line, 240)
        order(device, do="crc")
        with pytest.raises(minimalmodbus.InvalidResponseError):
            master.read_register(0x0800)
        order(device, do="silent")
        with pytest.raises(minimalmodbus.NoResponseError):
            master.read_register(0x0800)
        assert master.read_register(0x0308) == 100


def test_mbpoll_reads_the_golden_value(probe: tuple[Emulator, str]) -> None:
    device, port = probe
    order(device, co2_ppm=465.66)
    said = mbpoll(*f"-m rtu -a 240 -b 19200 -P none -s 2 -0 -r 0 -c 1 -t 4:float -1 {port}".split())
    assert "465.66" in said


def test_the_manuals_golden_bytes_come_back_bit_for_bit(probe: tuple[Emulator, str]) -> None:
    device, port = probe
    order(device, co2_ppm=struct.unpack(">f", bytes.fromhex("43E8D47A"))[0])
    with serial.Serial(port, 19200, timeout=1) as line:
        line.write(bytes.fromhex("F0 03 00 00 00 02 D1 2A"))
        assert line.read(9) == bytes.fromhex("F0 03 04 D4 7A 43 E8 33 AB")
        line.write(bytes.fromhex("F0 10 02 08 00 02 04 00 00 44 80 DE 36"))
        assert line.read(8)[:6] == bytes.fromhex("F0 10 02 08 00 02")


def test_mbpoll_reads_the_modules_inputs(module: tuple[Emulator, str]) -> None:
    device, port = module
    order(device, inputs={"1": True})
    said = mbpoll(*f"-m tcp -p {port} -a 1 -0 -r 0 -c 2 -t 1 -1 127.0.0.1".split())
    assert "[0]: \t0" in said
    assert "[1]: \t1" in said


def test_pymodbus_switches_coils_and_reads_them_back(module: tuple[Emulator, str]) -> None:
    _, port = module
    with ModbusTcpClient("127.0.0.1", port=int(port), timeout=2) as master:
        assert not master.write_coil(16, True).isError()
        assert not master.write_coils(17, [True, False, True]).isError()
        assert master.read_coils(16, count=4).bits[:4] == [True, True, False, True]
        assert master.read_discrete_inputs(60, count=10).exception_code == 2
        assert master.read_holding_registers(0, count=1).exception_code == 1


def test_a_pulled_plug_hangs_up_and_comes_back_under_its_name(probe: tuple[Emulator, str]) -> None:
    device, port = probe
    with serial.Serial(port, 19200, timeout=0.5) as line:
        order(device, do="unplug")
        with pytest.raises(serial.SerialException):
            line.write(b"\0")
            line.read(1)
    assert not Path(port).exists()
    order(device, do="plug")
    with serial.Serial(port, 19200, timeout=0.5) as line:
        assert minimalmodbus.Instrument(line, 240).read_register(0x0300) == 240
