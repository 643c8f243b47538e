"""kill -9 at random moments of a busy lane: what was heard is in the journal, once, and the lane comes back by itself.

The kernel keeps the pages of a killed process, so this is a claim about crashes of the program, not about power.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

from edge import json_text, keys
from edge.config import load
from edge.journal.journal import Journal
from edge.journal.verify import verify
from edge.places import Places
from edge.publish.message import Message
from edge.publish.subscriber import Unreachable, follow
from hil.demo import LONGEST_S, RATE_HZ, command, configure, lane_emulators, start_daemon, stop_daemon, stream
from hil.rig import Emulator
from hil.scenario import Scenario, play

KILLS = int(os.environ.get("KILLS", "4"))  # `make kill` takes twenty
QUICK = "\n[policy]\nlooks_s = [0.4, 0.8, 1.2]\n"


@contextlib.asynccontextmanager
async def busy(devices: dict[str, Emulator]) -> AsyncIterator[None]:
    """Lorries come and go every two seconds, with signals on every wire."""
    scenario = Scenario(title="busy", seed=5, body_type="soft_sided", mass_kg=14_000, people=1)
    signals = await asyncio.to_thread(play, scenario, LONGEST_S, RATE_HZ)

    async def signalling() -> None:
        while True:
            await stream(scenario, signals, devices, 0.0)

    async def coming_and_going() -> None:
        while True:
            for present in (True, False):
                await devices["gate"].tell({"inputs": {"0": present, "1": present}})
                await asyncio.sleep(1.6 if present else 0.4)

    tasks = [asyncio.create_task(signalling()), asyncio.create_task(coming_and_going())]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def listen(root: Path, heard: list[Message], news: asyncio.Queue[None]) -> None:
    """Everything that is announced, across restarts, without asking for what was missed."""
    config, places = load(root / "lane.toml"), Places.under(root)
    server = keys.load_curve_public(places.curve.with_suffix(".pub"))
    own = keys.load_curve(places.viewer)
    while True:
        with contextlib.suppress(Unreachable):
            async with contextlib.aclosing(
                follow(config.publish.bind, server, own, config.lane.site, config.lane.name, streams=("verdict",))
            ) as messages:
                async for message in messages:
                    heard.append(message)
                    news.put_nowait(None)


async def kill_often(root: Path, heard: list[Message]) -> None:
    chance = random.Random(20_260_301)
    async with lane_emulators(root) as devices:
        configure(root, devices)
        with (root / "lane.toml").open("a") as file:
            file.write(QUICK)
        command(root, "keys", "new")
        daemon = await start_daemon(root)
        news: asyncio.Queue[None] = asyncio.Queue()
        listening = asyncio.create_task(listen(root, heard, news))
        try:
            async with busy(devices):
                for _ in range(KILLS):
                    for _ in range(2):  # the lane works: two verdicts since it is back
                        await news.get()
                    await asyncio.sleep(chance.uniform(0.0, 2.0))
                    daemon.kill()
                    await daemon.wait()
                    daemon = await start_daemon(root)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
            await stop_daemon(daemon)


def test_no_verdict_that_was_heard_is_lost_or_told_twice_with_another_body(tmp_path: Path) -> None:
    heard: list[Message] = []
    asyncio.run(asyncio.wait_for(kill_often(tmp_path, heard), 60 + 20 * KILLS))
    places = Places.under(tmp_path)
    checked = verify(places.journal, keys.load_signing_public(places.signing.with_suffix(".pub")))
    assert checked.ok, checked
    with Journal.open(places.journal, None) as journal:
        rows = {row.sequence: row.body for row in journal.rows(1, 100_000, "verdict")}
    assert len(heard) >= 2 * KILLS
    for message in heard:
        assert json_text.read(rows[message.header.sequence]) == message.body
    fresh = [message.header.sequence for message in heard if message.header.kind == "verdict"]
    assert len(fresh) == len(set(fresh))
    assert not list(places.bundles.glob("*.partial"))
    command(tmp_path, "replay", "--compare", *map(str, sorted(places.bundles.iterdir())))
