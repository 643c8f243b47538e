"""C-STORE into the lane's receiver beside a stock pynetdicom storage SCP that syncs each object too; DCMTK sends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity

from drivers.xray.scp import Sender, Terms, serve
from drivers.xray.spool import Spool
from hil.bench.measure import Row
from hil.devices.dicos_object import EXPLICIT_LE, Scan, part10

ROWS, COLUMNS, OBJECTS, RUNS = 1024, 2048, 10, 5
DX = "1.2.840.10008.5.1.4.1.1.1.1.1"  # the stock SCP knows no DICOS class
MOST_PDU = 131_072


def rows() -> list[Row]:
    """One row, or none where DCMTK is not installed."""
    own = Path(sys.executable).parent  # pynetdicom brings a storescu of its own
    places = os.pathsep.join(p for p in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(p) != own)
    storescu = shutil.which("storescu", path=places)
    if storescu is None:
        return []
    with tempfile.TemporaryDirectory(prefix="lanepulse-bench-") as scratch:
        folder = Path(scratch)
        scan = folder / "scan.dcm"
        scan.write_bytes(part10(Scan(rows=ROWS, columns=COLUMNS, sop_class=DX)))
        megabytes = OBJECTS * scan.stat().st_size / 1e6
        receivers = (_ours(folder / "ours"), _stock(folder / "stock"))
        spent: tuple[list[float], list[float]] = ([], [])
        try:
            for _ in range(RUNS + 1):  # the first warms up
                for kept, (port, _end) in zip(spent, receivers, strict=True):
                    kept.append(_sent(storescu, port, scan))
        finally:
            for _port, end in receivers:
                end()
    ours, stock = (megabytes / median(seconds[1:]) for seconds in spent)
    what = f"C-STORE, {OBJECTS} x {ROWS} x {COLUMNS} x 16 bit, MB/s"
    return [Row(what, ours, stock, "MB", "a stock pynetdicom SCP with fsync (goal: at least 0.9 x)")]


def _sent(storescu: str, port: int, scan: Path) -> float:
    """Seconds for all objects in one association, each under a name of its own."""
    options = ("-aec", "LANEPULSE", "-aet", "SCANNER", "--max-send-pdu", str(MOST_PDU), "+II", "--repeat", str(OBJECTS))
    began_s = time.perf_counter()
    subprocess.run([storescu, *options, "127.0.0.1", str(port), str(scan)], check=True, capture_output=True, timeout=60)
    return time.perf_counter() - began_s


def _ours(folder: Path) -> tuple[int, Callable[[], None]]:
    """The receiver of the driver: its port, and what ends it."""
    spool = Spool(folder, 1 << 32, time.time_ns)
    terms = Terms("LANEPULSE", (Sender("SCANNER", "127.0.0.1"),), 1 << 28, 4, 120.0, 10.0, 5.0)
    server = serve(("127.0.0.1", 0), None, terms, spool, arrived=lambda *_: None, say=lambda cause: None)

    def end() -> None:
        server.close()
        spool.close()

    return server.server_address[1], end


def _stock(folder: Path) -> tuple[int, Callable[[], None]]:
    """What pynetdicom's own documentation shows, faster by writing the encoded data set, and with the sync."""
    folder.mkdir()

    def store(event: evt.Event) -> int:
        request: Any = event.request
        with (folder / f"{request.AffectedSOPInstanceUID}.dcm").open("wb") as file:
            file.write(event.encoded_dataset())
            file.flush()
            os.fsync(file.fileno())
        return 0

    entity = ApplicationEntity("LANEPULSE")
    entity.maximum_pdu_size = MOST_PDU
    entity.add_supported_context(DX, EXPLICIT_LE)
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    return server.server_address[1], server.shutdown
