"""A lane without sensors: journal, publisher, replay and control socket are the daemon's own; lorries are told to it.

One JSON object a line on stdin, one answered on stdout: ``{"do": "enter", "passage_id"}``, ``{"do": "leave"}``,
``{"do": "verdict", "verdict": {…}}``, ``{"do": "sick", "sick": {device: cause}}``, ``{"do": "full", "level"}``,
``{"do": "rows", "kind"}``.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from drivers.reading import ClockQuality
from edge import control, keys, status
from edge.config import load
from edge.journal.journal import Journal
from edge.places import Places
from edge.publish.publisher import Publisher
from edge.publish.replay import Replay
from edge.records import outcome_control, reliability
from edge.records.outcome_book import OutcomeBook
from edge.said_of_vehicle import Sources
from edge.status import InHand, LaneState
from edge.supervisor import DeviceHealth
from fusion.passage import BodyType, Context


class Stage:
    def __init__(self, root: Path, journal: Journal) -> None:
        self.places, self.config, self.journal = Places.under(root), load(root / "lane.toml", {}), journal
        self.in_hand: InHand | None = None
        self.began_s = 0.0
        self.context: list[Any] = []
        self.known, self.sources = Context(shelter="shed"), Sources()
        self.recorded = True
        self.sick: dict[str, str] = {}  # device -> what it says of itself
        lane = self.config.lane
        self.publisher = Publisher(
            lane.site, lane.name, keys.load_curve(self.places.curve), self.places.allowed,
            boot_id=journal.boot_id, status=self.state, last=journal.last("verdict"),
        )  # fmt: skip
        self.replay = Replay(self.publisher, journal)

    def state(self) -> dict[str, Any]:
        hand = self.in_hand
        if hand is not None and not hand.final:
            hand = InHand(hand.passage_id, min(time.monotonic() - self.began_s, 45.0), 45.0, hand.level, hand.final)
        modalities = ("vibration", "co2")
        devices = [
            DeviceHealth(name, name, not cause, not cause, not cause, "ok", cause, 0, 1, 0.1, None)
            for name, cause in ((name, self.sick.get(name)) for name in modalities)
        ]
        last = self.journal.last("verdict")
        state = LaneState(
            site=self.config.lane.site, lane=self.config.lane.name, boot_id=self.journal.boot_id, version="0.1.0",
            up_s=1.0, model="concealment-2", model_faults=(), endpoints={},
            journal_sequence=0 if last is None else last.sequence, recorded=self.recorded, in_hand=hand,
        )  # fmt: skip
        return status.document(state, devices, ClockQuality(True, 1_000), {})

    async def obey(self, order: dict[str, Any]) -> Any:
        if order["do"] == "enter":
            self.journal.append("passage.opened", order["passage_id"], {"began_utc": "2026-03-01T10:15:02Z"})
            self.known, self.sources = Context(shelter="shed"), Sources()
            self.in_hand, self.began_s = InHand(order["passage_id"], 0.0, 45.0, None, False), time.monotonic()
        elif order["do"] == "full":  # the disk: levels go out with the state only
            self.recorded = order["level"] is None
            if self.in_hand is not None and order["level"] is not None:
                self.in_hand = replace(self.in_hand, level=order["level"], final=True)
        elif order["do"] == "sick":
            self.sick = order["sick"]
        elif order["do"] == "leave":
            self.in_hand = None
        elif order["do"] == "verdict":
            return await self.judge(order["verdict"])
        elif order["do"] == "rows":
            rows = self.journal.rows(1, 9999, order["kind"])
            return [{"sequence": row.sequence, "passage_id": row.passage_id, **row.document()} for row in rows]
        elif order["do"] == "append":
            return self.journal.append(order["kind"], order.get("passage_id"), order["body"])
        elif order["do"] == "context":
            return self.context
        return None

    async def judge(self, verdict: dict[str, Any]) -> Any:
        sequence = self.journal.append("verdict", verdict["passage_id"], verdict)
        committed_ms = time.time_ns() / 1e6
        if self.in_hand is not None and self.in_hand.passage_id == verdict["passage_id"]:
            measured_s = time.monotonic() - self.began_s
            self.in_hand = InHand(verdict["passage_id"], measured_s, 45.0, verdict["level"], verdict["final"])
        await self.publisher.publish(self.journal.rows(sequence, 1)[0])
        return {"sequence": sequence, "committed_ms": committed_ms}

    def handlers(self) -> dict[str, control.Handler]:
        async def state(request: Any, peer: control.Peer) -> Any:
            return self.state()

        async def context(request: Any, peer: control.Peer) -> Any:
            source = outcome_control.source_of(request, peer)
            self.context.append({"source": source, **request["context"]})
            self.sources.said(request["context"], source)
            said = {word: value for word, value in request["context"].items() if word != "body_type"}
            self.known = replace(self.known, **said)
            return {}

        async def declared(request: Any, peer: control.Peer) -> Any:
            passage_id = None if self.in_hand is None else self.in_hand.passage_id
            return {"passage_id": passage_id, "words": self.sources.document(BodyType.SOFT_SIDED, self.known)}

        book = OutcomeBook(self.journal, self.places.bundles, time.time_ns)
        counted = reliability.handlers(reliability.Reliability(self.journal, time.time_ns))
        return {"status": state, "context": context, "declared": declared} | outcome_control.handlers(book) | counted

    async def run(self) -> None:
        self.publisher.bind(self.config.publish.bind)
        self.replay.bind(self.config.publish.replay)
        reader = asyncio.StreamReader(limit=2**20)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        async with control.serve(self.places.control_socket, self.handlers()), asyncio.TaskGroup() as tasks:
            others = [tasks.create_task(self.publisher.run()), tasks.create_task(self.replay.run())]
            print("ready", flush=True)
            while line := await reader.readline():
                print(json.dumps(await self.obey(json.loads(line))), flush=True)
            for task in others:
                task.cancel()
        self.publisher.close()


if __name__ == "__main__":
    with Journal.open(Places.under(Path(sys.argv[1])).journal, None) as opened:
        asyncio.run(Stage(Path(sys.argv[1]), opened).run())
