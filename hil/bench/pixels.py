"""From a verdict's commit to pixels in a browser, against the barest page of server-sent events there is, in the
same browser.

Both are timed by the page itself: from the wall clock at the commit (or at the bare event) until the task after the
frame that shows the new word has been handed to the screen.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from playwright.async_api import Browser, Page, async_playwright

from edge import keys
from edge.journal.journal import Journal
from edge.places import Places
from edge.publish.publisher import Publisher
from edge.publish.replay import Replay
from hil.bench.measure import Row

PROMPTS = 200
PERCENTILE = 99
PAUSE_S = (0.1, 0.2)  # no lorry follows sooner, and prompts must not keep step with the screen
PATIENCE_MS = 10_000
SITE, LANE = "bench", "1"
LEVELS = ("search", "no_search")
WATCH = """() => {
  window.painted = [];
  const word = document.querySelector("h1");
  new MutationObserver(() => requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = () => {
      window.painted.push(performance.timeOrigin + performance.now());
      window.told?.();
    };
    after.port2.postMessage(0);
  })).observe(word, { childList: true, characterData: true, subtree: true });
}"""
PAINTED = """async () => {
  if (!window.painted.length) await new Promise((resolve) => { window.told = resolve; });
  return window.painted.splice(0)[0];
}"""
# The least that is a prompt: one word over the whole screen, in the colour of its level.
BARE = b"""<!doctype html><title>bare</title><style>
  body { margin: 0; height: 100vh; background: #d9e6dd } h1 { margin: 0; font-size: 96px }
  body.search { background: #ffcf33 }
</style><h1></h1><script>
new EventSource("/events").onmessage = (event) => {
  document.querySelector("h1").textContent = document.body.className = event.data;
};
</script>"""


def rows() -> list[Row]:
    """One row, in milliseconds; none where there is no browser."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium here: commit to pixels is not measured", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory(prefix="lanepulse-bench-") as folder:
        times, floors = asyncio.run(_measure(Path(folder), chromium))
    measured, floor = (float(np.percentile(found, PERCENTILE)) for found in (times, floors))
    what = f"prompt: commit to pixels, p{PERCENTILE} of {PROMPTS}"
    return [Row(what, measured, floor, "ms", "one word over the whole screen by a bare server-sent event")]


async def _measure(folder: Path, chromium: str) -> tuple[list[float], list[float]]:
    async with async_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = await playwright.chromium.launch(executable_path=chromium, args=options)
        async with _Lane.opened(folder) as lane, _bare() as (port, say), _booth(folder) as address:
            booth, bare = await _page(browser, address), await _page(browser, f"http://127.0.0.1:{port}")
            await lane.judge(0)
            await booth.wait_for_selector("body[data-phase=prompt]", timeout=PATIENCE_MS)
            for page in (booth, bare):
                await page.evaluate(WATCH)
            times: list[float] = []
            floors: list[float] = []
            for number in range(1, PROMPTS + 1):
                times.append(await _painted(booth, await lane.judge(number)))
                floors.append(await _painted(bare, await say(LEVELS[number % 2])))
                await asyncio.sleep(random.uniform(*PAUSE_S))
        await browser.close()
    return times, floors


async def _page(browser: Browser, address: str) -> Page:
    page = await (await browser.new_context(viewport={"width": 1280, "height": 800})).new_page()
    await page.goto(address)
    return page


async def _painted(page: Page, began_ms: float) -> float:
    async with asyncio.timeout(PATIENCE_MS / 1000):
        return float(await page.evaluate(PAINTED)) - began_ms


class _Lane:
    """Journal, publisher and replay of a lane, and nothing else of it."""

    def __init__(self, journal: Journal, places: Places) -> None:
        self._journal, self._passage = journal, ""
        own = keys.load_curve(places.curve)
        self.publisher = Publisher(SITE, LANE, own, places.allowed, boot_id=journal.boot_id, status=self._status)

    @classmethod
    @asynccontextmanager
    async def opened(cls, folder: Path) -> AsyncIterator[_Lane]:
        places = Places.under(folder)
        places.make()
        keys.new_curve(places.curve)
        keys.new_curve(places.viewer)
        shutil.copy(places.viewer.with_suffix(".pub"), places.allowed / "viewer.pub")
        with Journal.open(places.journal, None) as journal:
            lane = cls(journal, places)
            replay = Replay(lane.publisher, journal)
            ends = lane.publisher.bind("tcp://127.0.0.1:0"), replay.bind("tcp://127.0.0.1:0")
            (folder / "lane.toml").write_text(
                f'[lane]\nsite = "{SITE}"\nname = "{LANE}"\n[publish]\nbind = "{ends[0]}"\nreplay = "{ends[1]}"\n'
                '[booth]\nbind = "127.0.0.1:0"\n'
            )
            tasks = [asyncio.create_task(lane.publisher.run()), asyncio.create_task(replay.run())]
            try:
                yield lane
            finally:
                for task in tasks:
                    task.cancel()
                lane.publisher.close()

    def _status(self) -> dict[str, Any]:
        passage = {"passage_id": self._passage, "measured_s": 5.0, "allowed_s": 45.0} if self._passage else None
        return {
            "schema": "lanepulse.status/1",
            "passage": passage,
            "devices": [],
            "journal": {"sequence": 1, "recorded": True},
            "clock": {"synchronised": True, "max_error_ns": None},
        }

    async def judge(self, number: int) -> float:
        """Another lorry, another level; when it was committed, ms since 1970."""
        passage = f"{number:026d}"
        body = self._verdict(passage, number)
        sequence = await asyncio.to_thread(self._journal.append, "verdict", passage, body)
        self._passage, committed_ms = passage, time.time_ns() / 1e6
        await self.publisher.publish(self._journal.rows(sequence, 1)[0])
        return committed_ms

    @staticmethod
    def _verdict(passage: str, number: int) -> dict[str, Any]:
        silent = {
            "state": "absent",
            "log10_lr": 0.0,
            "quality": None,
            "cause": "no imager",
            "where": None,
            "features": {},
        }
        parts = [{"modality": name, **silent, "features": {}} for name in ("vibration", "co2", "mmwave", "xray")]
        reason = {"code": "vibration.for", "text": "Motion that the ground does not explain"}
        return {
            "schema": "lanepulse.verdict/1", "passage_id": passage, "revision": 1, "final": True, "site": SITE,
            "lane": LANE, "issued_utc": "2026-03-01T10:15:31.482Z", "level": LEVELS[number % 2], "score": 0.02,
            "log10_odds": -3.1, "prior_log10_odds": -3.1, "evidence": parts, "reasons": [reason],
            "trained_on": "simulated",
        }  # fmt: skip


@asynccontextmanager
async def _booth(folder: Path) -> AsyncIterator[str]:
    command = (sys.executable, "-m", "edge.cli.main", "booth", "--root", str(folder))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def _bare() -> AsyncIterator[tuple[int, Any]]:
    """A server that knows one page and one stream; its second value sends an event and says when."""
    streams: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/events" in head.split(b"\r\n")[0]:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
            streams.append(writer)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/html\r\n\r\n" + BARE)
        await writer.drain()
        writer.close()

    async def say(text: str) -> float:
        began_ms = time.time_ns() / 1e6
        for writer in streams:
            writer.write(f"data: {text}\n\n".encode())
            await writer.drain()
        return began_ms

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], say
    finally:
        for writer in streams:
            writer.close()
        server.close()
