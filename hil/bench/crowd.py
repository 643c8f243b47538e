"""A verdict's way to its subscriber while fifty pages are open at the booth, against the same without a page."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

from edge import keys
from edge.journal.journal import Journal
from edge.places import Places
from edge.publish.publisher import Publisher
from edge.publish.subscriber import follow
from hil.bench.measure import Row

PAGES = 50
BLOCKS, VERDICTS = 4, 50  # of each kind in turn, and in each block
EVERY_S = 0.05  # sixty times the lorries that a lane can have
SITE, LANE = "bench", "1"
READERS = """
import selectors, socket, sys
ready = selectors.DefaultSelector()
for _ in range(int(sys.argv[2])):
    page = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
    page.sendall(b"GET /events HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
    assert b" 200 " in page.recv(15)
    ready.register(page, selectors.EVENT_READ)
print("open", flush=True)
while True:
    for key, _ in ready.select():
        key.fileobj.recv(1 << 20)
"""


def rows() -> list[Row]:
    """Median and 99th percentile, in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="lanepulse-bench-") as folder:
        crowded, alone = asyncio.run(_measure(Path(folder)))
    what = f"verdict to subscriber, {PAGES} pages open"
    return [
        Row(what, median(crowded), median(alone), "ms", "the same, the booth without a page"),
        Row(f"{what}, p99", _p99(crowded), _p99(alone), "ms", "the same, the booth without a page"),
    ]


def _p99(times: list[float]) -> float:
    return sorted(times)[round(0.99 * (len(times) - 1))]


async def _measure(root: Path) -> tuple[list[float], list[float]]:
    own, mine = _folder(root)
    with Journal.open(Places.under(root).journal, None) as journal:
        places = Places.under(root)
        publisher = Publisher(SITE, LANE, own, places.allowed, boot_id=journal.boot_id, status=dict)
        publisher.bind(f"tcp://127.0.0.1:{_port(root)}")
        running = asyncio.create_task(publisher.run())
        heard = follow(f"tcp://127.0.0.1:{_port(root)}", own.public, mine, SITE, LANE, streams=("verdict",))
        first = asyncio.ensure_future(anext(heard))
        await asyncio.sleep(0.5)  # the subscription has to arrive before anything can be timed

        async def announce(number: int) -> None:
            body = {"schema": "lanepulse.verdict/1", "site": SITE, "lane": LANE, "revision": number, "pad": "x" * 1500}
            sequence = await asyncio.to_thread(journal.append, "verdict", "0" * 26, body)
            await publisher.publish(journal.rows(sequence, 1)[0])

        async def block() -> list[float]:
            times = []
            for number in range(VERDICTS):
                began = time.perf_counter()
                await announce(number)
                while (await anext(heard)).header.kind != "verdict":
                    pass
                times.append((time.perf_counter() - began) * 1e3)
                await asyncio.sleep(EVERY_S)
            return times

        await announce(0)
        await first
        crowded: list[float] = []
        alone: list[float] = []
        async with _booth(root) as port:
            for _ in range(BLOCKS):
                alone += await block()
                async with _pages(port):
                    crowded += await block()
        await heard.aclose()
        running.cancel()
        publisher.close()
    return crowded, alone


def _folder(root: Path) -> tuple[keys.CurveKeys, keys.CurveKeys]:
    places = Places.under(root)
    places.make()
    own, mine = keys.new_curve(places.curve), keys.new_curve(places.viewer)
    shutil.copy(places.viewer.with_suffix(".pub"), places.allowed / "viewer.pub")
    with socket.socket() as probe, socket.socket() as other:
        probe.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        ports = [probe.getsockname()[1], other.getsockname()[1]]
    (root / "port").write_text(str(ports[0]))
    (root / "lane.toml").write_text(
        f'[lane]\nsite = "{SITE}"\nname = "{LANE}"\n'
        f'[publish]\nbind = "tcp://127.0.0.1:{ports[0]}"\nreplay = "tcp://127.0.0.1:{ports[1]}"\n'
        '[booth]\nbind = "127.0.0.1:0"\n'
    )
    return own, mine


def _port(root: Path) -> int:
    return int((root / "port").read_text())


@asynccontextmanager
async def _booth(root: Path) -> AsyncIterator[int]:
    command = (sys.executable, "-m", "edge.cli.main", "booth", "--root", str(root))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield int((await process.stdout.readline()).decode().strip().rpartition(":")[2])
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _pages(port: int) -> AsyncIterator[None]:
    command = (sys.executable, "-c", READERS, str(port), str(PAGES))
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"open\n"
        yield
    finally:
        process.kill()
        await process.wait()
