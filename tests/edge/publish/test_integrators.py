"""What the integrators' page promises: clients without our code, and a schema that is current."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from drivers.driver import Identity
from drivers.reading import ClockQuality
from edge import status
from edge.publish import asyncapi
from edge.publish.status_body import StatusBody
from edge.supervisor import DeviceHealth

if TYPE_CHECKING:
    from tests.edge.publish.conftest import Cable, Lane

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "docs" / "examples"
BACK_WITHIN_S = 10.0  # docs/integrators.md


def node_command(tmp_path: Path) -> list[str]:
    """The Node example beside a ``node_modules`` with zeromq in it; skips where there is none."""
    node = shutil.which("node")
    places = [ROOT / "node_modules", *map(Path, filter(None, os.environ.get("NODE_PATH", "").split(os.pathsep)))]
    found = [place for place in places if (place / "zeromq").is_dir()]
    if node is None or not found:
        pytest.skip("needs node and its package zeromq (npm install zeromq, or NODE_PATH)")
    folder = tmp_path / "node"
    folder.mkdir()
    shutil.copy(EXAMPLES / "subscriber.mjs", folder)
    (folder / "node_modules").symlink_to(found[0].resolve())
    return [node, str(folder / "subscriber.mjs")]


@pytest.fixture(params=["python", "node"])
def example(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    return [sys.executable, str(EXAMPLES / "subscriber.py")] if request.param == "python" else node_command(tmp_path)


@contextmanager
def following(example: list[str], lane: Lane, publish: str = "", replay: str = "") -> Iterator[subprocess.Popen[str]]:
    given = {
        "publish": publish or lane.endpoint,
        "replay": replay or lane.replay_endpoint,
        "site": "calais",
        "lane": "3",
        "server-key": str(lane.folder / "lane.pub"),
        "key": str(lane.folder / "allowed" / "booth.key"),
        "after": str(lane.folder / "last"),
    }
    command = [*example, *(f"--{name}={value}" for name, value in given.items())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: subprocess.Popen[str], count: int) -> list[int]:
    assert process.stdout is not None
    return [json.loads(process.stdout.readline())["sequence"] for _ in range(count)]


def test_a_client_without_our_code_misses_nothing_even_when_it_is_killed(example: list[str], lane: Lane) -> None:
    with following(example, lane) as client:
        first = lane.judge("search")
        assert told(client, 1) == [first]
        rows = [lane.judge(level) for level in ("!passage", "search", "search", "!outcome", "search")]
        assert told(client, 3) == [rows[1], rows[2], rows[4]]
    missed = [lane.judge("search") for _ in range(3)]
    with following(example, lane) as client:
        number = told(client, 1)
        if number == [rows[4]]:  # killed between dealing with it and keeping its number
            number = told(client, 1)
        assert number + told(client, 2) == missed
        assert [lane.judge("no_search")] == told(client, 1)


def traffic(lane: Lane, vehicles: int) -> list[int]:
    """Rows of so many vehicles as a lane journals them, five looks each; the numbers of their verdicts."""
    looks = ("recheck", "recheck", "recheck", "no_search", "no_search")
    return [
        number
        for _ in range(vehicles)
        for kind in ("!passage", *looks, "!audit_draw", "!outcome")
        for number in [lane.judge(kind)]
        if not kind.startswith("!")
    ]


def test_a_client_that_was_away_for_a_minute_of_traffic_is_given_every_verdict_once(
    example: list[str], lane: Lane
) -> None:
    with following(example, lane) as client:
        for number in (1, 2):
            assert lane.judge("search") == number and told(client, 1) == [number]
    missed = traffic(lane, 30)  # of a minute, a vehicle every two seconds: what no lane sees
    kept = int((lane.folder / "last").read_text())  # killed before it kept the second's number, it asks for that again
    with following(example, lane) as client:
        expected = [number for number in (1, 2, *missed) if number > kept]
        expected += traffic(lane, 2)  # while it catches up
        assert told(client, len(expected)) == expected
        assert [lane.judge("search")] == told(client, 1)


def test_a_client_with_the_page_s_two_options_is_back_soon_after_the_cable(
    example: list[str], lane: Lane, cable_to: Callable[[str], Cable]
) -> None:
    publish, replay = cable_to(lane.endpoint), cable_to(lane.replay_endpoint)
    with following(example, lane, publish.endpoint, replay.endpoint) as client:
        assert [lane.judge("search")] == told(client, 1)
        publish.pull()
        replay.pull()
        lane.wait_until_a_subscriber_is_let_go()
        missed = [lane.judge("search") for _ in range(3)]
        assert client.stderr is not None and "check lane and network" in client.stderr.readline()
        publish.plug()
        replay.plug()
        began_s = time.monotonic()
        assert told(client, 3) == missed
        assert time.monotonic() - began_s < BACK_WITHIN_S


def test_the_schema_in_the_docs_is_current() -> None:
    kept = (ROOT / "docs" / "asyncapi.json").read_text(encoding="utf-8")
    assert kept == asyncapi.text(), "run: python -m edge.publish.asyncapi > docs/asyncapi.json"


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    document = asyncapi.document()

    def references(part: Any) -> Iterator[str]:
        if isinstance(part, dict):
            if isinstance(part.get("$ref"), str):
                yield part["$ref"]
            for inner in part.values():
                yield from references(inner)
        elif isinstance(part, list):
            for inner in part:
                yield from references(inner)

    found = set(references(document))
    assert len(found) > 10
    for reference in found:
        place = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]


def test_the_lane_s_real_state_is_what_the_schema_says() -> None:
    health = DeviceHealth(
        name="probe",
        modality="co2",
        there=True,
        on_time=True,
        believes_itself=True,
        state="ok",
        cause=None,
        restarts=0,
        readings=7,
        silent_s=0.5,
        identity=Identity("V", "GMP252", "1", "2"),
    )
    lane = status.LaneState(
        site="calais",
        lane="3",
        boot_id="b",
        version="0.1.0",
        up_s=3.0,
        model="m",
        model_faults=(),
        endpoints={"publish": "tcp://127.0.0.1:7501"},
        journal_sequence=4,
        recorded=True,
        in_hand=status.InHand("P", 1.0, 45.0, "recheck", False),
    )
    state = status.document(lane, [health], ClockQuality(True, 1000), {"probe": {"crc": 1}})
    assert StatusBody.model_validate(state, strict=True).model_dump(by_alias=True) == state


def test_the_page_names_every_file_and_option_that_it_promises() -> None:
    page = (ROOT / "docs" / "integrators.md").read_text(encoding="utf-8")
    for word in (
        "examples/subscriber.py",
        "examples/subscriber.mjs",
        "asyncapi.json",
        "HEARTBEAT_IVL",
        "HANDSHAKE_IVL",
    ):
        assert word in page
    assert f"within {BACK_WITHIN_S:g} seconds" in page
