"""A lane that publishes, as a process of its own: prints its endpoint, then publishes a verdict per line of input."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from edge import keys
from edge.journal.journal import Journal
from edge.publish.publisher import Publisher


async def main(folder: Path) -> None:
    own = keys.load_curve(folder / "lane.key")
    with Journal.open(folder / "journal.db", None) as journal:
        publisher = Publisher(
            "calais",
            "3",
            own,
            folder / "allowed",
            boot_id=journal.boot_id,
            status=lambda: {"lane": "up"},
            last=journal.last("verdict"),
        )
        print(publisher.bind("tcp://127.0.0.1:*"), flush=True)
        running = asyncio.create_task(publisher.run())
        while line := await asyncio.to_thread(sys.stdin.readline):
            body = {"schema": "lanepulse.verdict/1", "site": "calais", "lane": "3", "level": line.strip()}
            sequence = journal.append("verdict", "P", body)
            await publisher.publish(journal.rows(sequence, 1)[0])
            print(sequence, flush=True)
        running.cancel()
        await asyncio.wait([running])
        publisher.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
