"""A lane that publishes and replays, as a process of its own.

Arguments: a folder with ``lane.key`` and ``allowed``, then optionally the two endpoints. Prints both, then takes a
line of input each: ``!KIND`` journals a row of another kind, anything else is a verdict of that level; the number of
the row is printed when it is in the journal and, if a verdict, announced. On stderr it says ``gone`` for each
subscriber that it let go.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import zmq

from edge import keys
from edge.journal.journal import Journal
from edge.publish.publisher import Publisher
from edge.publish.replay import Replay


async def obey(journal: Journal, publisher: Publisher) -> None:
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        body = {"schema": "lanepulse.verdict/1", "site": "calais", "lane": "3", "level": line}
        kind = line[1:] if line.startswith("!") else "verdict"
        sequence = await asyncio.to_thread(journal.append, kind, "P", body)
        if kind == "verdict":
            await publisher.publish(journal.rows(sequence, 1)[0])
        print(sequence, flush=True)


async def tell_partings(monitor: zmq.asyncio.Socket) -> None:
    while True:
        await monitor.recv_multipart()
        print("gone", file=sys.stderr, flush=True)


async def main(folder: Path, bind: str = "tcp://127.0.0.1:*", replay_bind: str = "tcp://127.0.0.1:*") -> None:
    own = keys.load_curve(folder / "lane.key")
    with Journal.open(folder / "journal.db", None) as journal:
        last = journal.last("verdict")
        publisher = Publisher(
            "calais", "3", own, folder / "allowed", boot_id=journal.boot_id, status=lambda: {"lane": "up"}, last=last
        )
        replay = Replay(publisher, journal)
        monitor = publisher._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        print(publisher.bind(bind), replay.bind(replay_bind), flush=True)
        running = [asyncio.create_task(each) for each in (publisher.run(), replay.run(), tell_partings(monitor))]
        await obey(journal, publisher)
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        publisher.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
