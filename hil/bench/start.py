"""Cold start to READY, and resident memory, against a process that only imports the same packages."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hil.bench.measure import Row

RUNS = 5
PACKAGES = "import numpy, scipy.fft, onnxruntime, zmq.asyncio, pydantic, pymodbus.client, serial, pymseed, cryptography"
LANE = '[lane]\nsite = "bench"\nname = "1"\n\n[publish]\nbind = "tcp://127.0.0.1:0"\nreplay = "tcp://127.0.0.1:0"\n'


def rows() -> list[Row]:
    """Two rows: seconds to READY, MB resident."""
    with tempfile.TemporaryDirectory(prefix="lanepulse-bench-") as folder:
        root = Path(folder)
        (root / "lane.toml").write_text(LANE, encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", "edge.cli.main", "keys", "new", "--root", folder],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        ready: list[tuple[float, float]] = []
        floor: list[tuple[float, float]] = []
        for _ in range(RUNS):
            ready.append(_until_ready(root))
            floor.append(_importing())
    return [
        Row("cold start to READY", _middle(ready, 0), _middle(floor, 0), "s", "importing the same packages"),
        Row("resident memory at READY", _middle(ready, 1), _middle(floor, 1), "MB", "importing the same packages"),
    ]


def _until_ready(root: Path) -> tuple[float, float]:
    address = root / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        address.unlink(missing_ok=True)
        manager.bind(str(address))
        manager.settimeout(60)
        environment = os.environ | {"NOTIFY_SOCKET": str(address)}
        began = time.perf_counter()
        daemon = subprocess.Popen(
            [sys.executable, "-m", "edge.cli.main", "run", "--root", str(root)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        try:
            while b"READY=1" not in manager.recv(4096):
                pass
            return time.perf_counter() - began, _resident_mb(daemon.pid)
        finally:
            daemon.terminate()
            daemon.wait()


def _importing() -> tuple[float, float]:
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", f"{PACKAGES}\nprint(flush=True)\ninput()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = time.perf_counter() - began, _resident_mb(process.pid)
        process.kill()
    return found


def _resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024


def _middle(pairs: list[tuple[float, float]], index: int) -> float:
    return sorted(pair[index] for pair in pairs)[len(pairs) // 2]
