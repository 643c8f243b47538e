"""A subscriber as a process of its own: prints the number of each verdict, and begins again where it was after a loss.

Arguments: folder with ``lane.pub`` and ``allowed/booth.key``, publish endpoint, replay endpoint.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

from edge import keys
from edge.publish.subscriber import Unreachable, follow


async def main(folder: Path, endpoint: str, replay_endpoint: str) -> None:
    server_key = keys.load_curve_public(folder / "lane.pub")
    own = keys.load_curve(folder / "allowed" / "booth.key")
    last_seen = 0
    while True:
        stream = follow(
            endpoint,
            server_key,
            own,
            "calais",
            "3",
            streams=["verdict"],
            replay_endpoint=replay_endpoint,
            last_seen=last_seen,
        )
        try:
            async with aclosing(stream):
                async for each in stream:
                    last_seen = each.header.sequence
                    print(last_seen, flush=True)
        except Unreachable as error:
            print(error, file=sys.stderr, flush=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
