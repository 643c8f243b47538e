"""The imager's emulator judged by hosts and dissectors that share no code with it."""

from __future__ import annotations

import json
import re
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

ADDRESS = "127.0.8.1"
PORT = 3956
Emulator = subprocess.Popen[str]


def order(device: Emulator, **what: object) -> str:
    assert device.stdin is not None
    assert device.stdout is not None
    device.stdin.write(json.dumps(what) + "\n")
    device.stdin.flush()
    return device.stdout.readline().strip()


@pytest.fixture
def imager() -> Iterator[Emulator]:
    device = subprocess.Popen(
        [sys.executable, "-m", "hil.devices.gigevision", "--listen", ADDRESS, "--rate-hz", "20"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert device.stdout is not None
    assert device.stdout.readline() == f"listening {PORT}\n"
    yield device
    device.communicate()
    assert device.returncode == 0


def peer(program: str, *arguments: str) -> str:
    if not (found := shutil.which(program)):
        pytest.skip(f"{program} is not installed")
    run = subprocess.run([found, *arguments], capture_output=True, text=True, timeout=30)
    return run.stdout + run.stderr


def aravis_counts(*arguments: str) -> dict[str, int]:
    """What Aravis' own test of a camera counted; its packet socket sees nothing on loopback."""
    said = peer("arv-camera-test-0.8", "-n", ADDRESS, "--no-packet-socket", "--duration=2", *arguments)
    return {name: int(value) for name, value in re.findall(r"^(n_\w+)\s*=\s*(\d+)", said, re.MULTILINE)}


def test_aravis_reads_the_features(imager: Emulator) -> None:
    said = peer("arv-tool-0.8", "-a", ADDRESS, "control", "Width", "Height", "PixelFormat", "KelvinPerCount")
    values = dict(re.findall(r"^(\w+) = (\S+)", said, re.MULTILINE))
    assert values == {"Width": "80", "Height": "60", "PixelFormat": "Mono16", "KelvinPerCount": "0.01"}


def test_aravis_takes_every_frame(imager: Emulator) -> None:
    counts = aravis_counts()
    assert counts["n_completed_buffers"] >= 20
    assert counts["n_failures"] + counts["n_missing_packets"] + counts["n_error_packets"] == 0


def test_aravis_gets_lost_packets_by_asking_again(imager: Emulator) -> None:
    assert order(imager, lose_per_mille=50) == "done"
    counts = aravis_counts()
    assert counts["n_completed_buffers"] >= 20
    assert counts["n_resent_packets"] >= 1
    assert counts["n_failures"] <= 2  # of 40, each of which loses a packet as often as not


def test_aravis_loses_frames_where_packets_cannot_be_sent_again(imager: Emulator) -> None:
    assert order(imager, lose_per_mille=100, resend=False) == "done"
    counts = aravis_counts()
    assert counts["n_resent_packets"] == 0
    assert counts["n_failures"] >= 1


def command(host: socket.socket, code: int, payload: bytes, request_id: int) -> bytes:
    host.send(struct.pack(">BBHHH", 0x42, 1, code, len(payload), request_id) + payload)
    return host.recv(2000)


def streaming(host: socket.socket, receiver: socket.socket) -> None:
    """Control taken, and the stream sent to ``receiver``."""
    address, port = receiver.getsockname()
    writes = (0xA00, 2), (0xD18, int.from_bytes(socket.inet_aton(address), "big")), (0xD00, port), (0xE014, 1)
    for number, (register, value) in enumerate(writes, 1):
        assert command(host, 0x0082, struct.pack(">II", register, value), number)[:2] == b"\0\0"


@pytest.fixture
def host() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.settimeout(5)
        opened.connect((ADDRESS, PORT))
        yield opened


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.settimeout(5)
        opened.bind(("127.0.0.1", 0))
        yield opened


def test_pixels_are_the_ordered_image_in_centikelvin(
    imager: Emulator, host: socket.socket, receiver: socket.socket, tmp_path: Path
) -> None:
    image = np.linspace(250, 320, 60 * 80, dtype=np.float32).reshape(60, 80)
    np.save(tmp_path / "image.npy", image)
    assert order(imager, frames=[str(tmp_path / "image.npy")]) == "done"
    streaming(host, receiver)
    pixels = b""
    while (packet := receiver.recv(9000))[4] != 2:
        pixels += packet[8:] if packet[4] == 3 else b""
    counts = np.frombuffer(pixels, "<u2").reshape(60, 80)
    assert np.abs(counts / 100 - image).max() <= 0.0051


def test_an_image_of_another_size_is_refused_and_the_imager_goes_on(imager: Emulator, tmp_path: Path) -> None:
    np.save(tmp_path / "small.npy", np.zeros((2, 2), np.float32))
    assert "shape (2, 2)" in order(imager, frames=[str(tmp_path / "small.npy")])
    assert order(imager, freeze=True) == "done"


def test_control_is_lost_without_a_heartbeat(imager: Emulator, host: socket.socket, receiver: socket.socket) -> None:
    streaming(host, receiver)
    assert command(host, 0x0082, struct.pack(">II", 0x938, 200), 9)[:2] == b"\0\0"
    receiver.settimeout(1.5)
    with pytest.raises(TimeoutError):
        while True:
            receiver.recv(9000)
    assert command(host, 0x0080, struct.pack(">I", 0xA00), 10)[8:] == bytes(4)


def test_a_second_host_is_denied(imager: Emulator, host: socket.socket) -> None:
    assert command(host, 0x0082, struct.pack(">II", 0xA00, 2), 1)[:2] == b"\0\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.settimeout(5)
        other.connect((ADDRESS, PORT))
        assert command(other, 0x0082, struct.pack(">II", 0xA00, 2), 1)[:2] == b"\x80\x06"


def capture_of(packets: list[tuple[int, int, bytes]]) -> bytes:
    """A capture of raw IP packets, from (source port, destination port, UDP payload)."""
    text = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101)
    for source, destination, payload in packets:
        size = 28 + len(payload)
        ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
        packet = ip + struct.pack(">HHHH", source, destination, size - 20, 0) + payload
        text += struct.pack("<IIII", 0, 0, size, size) + packet
    return text


def test_wireshark_dissects_control_and_stream(
    imager: Emulator, host: socket.socket, receiver: socket.socket, tmp_path: Path
) -> None:
    streaming(host, receiver)
    port = host.getsockname()[1]
    said = [(PORT, port, command(host, 0x0002, b"", 20)), (PORT, port, command(host, 0x0080, bytes(4), 21))]
    said += [(50000, 50001, receiver.recv(9000)) for _ in range(10)]
    (tmp_path / "said.pcap").write_bytes(capture_of(said))
    decoded = peer("tshark", "-r", str(tmp_path / "said.pcap"), "-d", "udp.port==50001,gvsp")
    lines = [line for line in decoded.splitlines() if "GV" in line]
    assert len(lines) == len(said)
    assert "DISCOVERY_ACK" in lines[0]
    assert "READREG_ACK" in lines[1]
    assert "LEADER" in lines[2]
    assert "TRAILER" in lines[-1]
    assert "Malformed" not in decoded
