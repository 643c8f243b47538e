"""A push-button on the lane I/O, over a real wire into the real daemon: one outcome of the lorry that was there."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge import keys
from edge.control import ControlFault, ask
from edge.places import Places
from hil.demo import start_daemon, stop_daemon
from hil.rig import emulators

PATIENCE_S = 60.0
LANE = """\
[lane]
site = "calais"
name = "3"
[policy]
looks_s = [0.2, 0.4]
[publish]
bind = "tcp://127.0.0.1:0"
replay = "tcp://127.0.0.1:0"
[devices.gate]
driver = "presence.modbus_io"
address = "127.0.0.1:{port}"
button_inputs = {{nobody = 8, undo = 9}}
"""


async def answer(places: Places, request: dict[str, Any], good: Callable[[Any], bool]) -> Any:
    """The lane's answer, as soon as it is the one that is waited for."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                found = await asyncio.to_thread(ask, places.control_socket, request)
            except ControlFault:
                found = None
            if found is not None and good(found):
                return found
            await asyncio.sleep(0.05)


async def pressed(root: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    places = Places.under(root)
    async with emulators(gate=("modbus_io",)) as devices:
        gate = devices["gate"]
        (root / "lane.toml").write_text(LANE.format(port=gate.place))
        daemon = await start_daemon(root)
        try:
            await gate.tell({"inputs": {"0": True, "1": True}})
            status = await answer(
                places, {"do": "status"}, lambda now: bool(now["passage"] and now["passage"]["final"])
            )
            passage_id = status["passage"]["passage_id"]
            await asyncio.sleep(0.8)  # the button's own settling: younger prompts are not meant
            outcomes = {"do": "outcomes", "passage_ids": [passage_id]}
            await gate.tell({"inputs": {"8": True}})
            first = (await answer(places, outcomes, lambda found: passage_id in found))[passage_id]
            await gate.tell({"inputs": {"8": False}})
            await asyncio.sleep(0.3)  # a button that is held is one press: it goes up before the next
            await gate.tell({"inputs": {"9": True}})
            undone = lambda found: found[passage_id]["outcome"] is None  # noqa: E731
            return first, (await answer(places, outcomes, undone))[passage_id]
        finally:
            await stop_daemon(daemon)


def test_a_button_press_is_an_outcome_and_undo_its_correction(tmp_path: Path) -> None:
    places = Places.under(tmp_path)
    places.make()
    curve, signing = keys.new_curve, keys.new_signing
    for path, made in ((places.curve, curve), (places.viewer, curve), (places.signing, signing)):
        made(path)
    shutil.copy(places.viewer.with_suffix(".pub"), places.allowed / "viewer.pub")
    first, last = asyncio.run(pressed(tmp_path))
    assert (first["outcome"]["searched"], first["outcome"]["found"], first["via"]) == (True, False, "buttons gate")
    assert (last["corrects"], last["revision"]) == (first["sequence"], 2)
