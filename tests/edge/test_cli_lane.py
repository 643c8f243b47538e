from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.reading import ClockQuality
from edge import keys, status
from edge.cli.main import run
from edge.control import ControlFault, Handler, Peer, serve
from edge.journal.journal import Journal
from edge.places import Places
from edge.records import covert_control
from edge.records.covert import CovertBook
from edge.status import InHand, LaneState
from edge.supervisor import DeviceHealth

PASSAGE = "01JQ0F7Y3W8V5R2M9K4T6B1N0D"
STATE = status.document(
    LaneState(
        "calais", "3", "boot", "0.1.0", 61.0, "concealment-2", (), {"verdicts": "tcp://127.0.0.1:7501"}, 12, True,
        InHand(PASSAGE, 7.5, 45.0, "recheck", False),
    ),
    [DeviceHealth("probe", "co2", False, False, False, "absent", "no answer: check its cable", 3, 20, 9.0, None)],
    ClockQuality(True, 11_056),
    {"probe": {"wrong CRC": 2}},
)  # fmt: skip


@contextmanager
def a_lane(root: Path, handlers: Mapping[str, Handler]) -> Iterator[Places]:
    """The daemon's side of the control socket, on a thread of its own."""
    places = Places.under(root)
    places.make()
    ready, loop, done = threading.Event(), asyncio.new_event_loop(), asyncio.Event()

    async def main() -> None:
        async with serve(places.control_socket, handlers):
            ready.set()
            await done.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),))
    thread.start()
    try:
        assert ready.wait(20)
        yield places
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()
        loop.close()


async def tell_state(request: Mapping[str, Any], peer: Peer) -> Any:
    return STATE


def test_status_names_each_device_with_its_cause(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with a_lane(tmp_path, {"status": tell_state}):
        assert run(["status", "--root", str(tmp_path)]) == 0
        text = capfd.readouterr().out
        assert run(["status", "--json", "--root", str(tmp_path)]) == 0
    assert json.loads(capfd.readouterr().out) == STATE
    assert f"vehicle  {PASSAGE}: measured 7.5 of 45 s, recheck" in text
    assert "no answer: check its cable" in text.splitlines()[-1]


def test_no_lane_is_exit_3_with_the_mend(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["status", "--root", str(tmp_path)]) == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert "no lane is running here; start it" in err


def test_context_of_the_current_vehicle_reaches_the_lane(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = []

    async def context(request: Mapping[str, Any], peer: Peer) -> Any:
        said.append(dict(request))

    command = ["context", "current", "--engine", "off", "--sealed-for-s", "60", "--root", str(tmp_path)]
    with a_lane(tmp_path, {"status": tell_state, "context": context}):
        assert run([*command, "--dry-run"]) == 0
        assert said == []
        assert run(command) == 0
    assert said == [{"do": "context", "passage_id": PASSAGE, "context": {"engine": "off", "sealed_for_s": 60.0}}]
    assert f"{PASSAGE}: recorded: engine off, sealed_for_s 60" in capfd.readouterr().out


def test_context_that_the_lane_refuses_is_exit_1(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def context(request: Mapping[str, Any], peer: Peer) -> Any:
        raise ControlFault("that passage is closed")

    with a_lane(tmp_path, {"context": context}):
        assert run(["context", PASSAGE, "--engine", "off", "--root", str(tmp_path)]) == 1
    assert capfd.readouterr().err == "that passage is closed\n"


@pytest.mark.parametrize("words", [[], ["--engine", "offf"], ["--engin", "off"]])
def test_a_wrong_word_of_context_is_exit_2(tmp_path: Path, words: list[str]) -> None:
    assert run(["context", PASSAGE, *words, "--root", str(tmp_path)]) == 2


def test_new_keys_are_made_once_and_the_viewer_may_listen(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["keys", "new", "--root", str(tmp_path)]) == 0
    places = Places.under(tmp_path)
    viewer, signing = keys.load_curve(places.viewer), places.signing.read_bytes()
    assert list(keys.allowed(places.allowed).values()) == ["viewer"]
    assert run(["keys", "new", "--root", str(tmp_path)]) == 0
    assert places.signing.read_bytes() == signing
    capfd.readouterr()
    assert run(["keys", "show", "--json", "--root", str(tmp_path)]) == 0
    out = capfd.readouterr().out
    assert viewer.public.decode() in [key["public"] for key in json.loads(out)["keys"]]
    assert viewer.secret.decode() not in out


def test_a_subscribers_key_is_allowed_by_its_public_file_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, places = ["--root", str(tmp_path)], Places.under(tmp_path)
    own = keys.new_curve(tmp_path / "booth.key")
    assert run(["keys", "allow", "booth", str(tmp_path / "booth.key"), *root]) == 2
    assert run(["keys", "allow", "booth", str(tmp_path / "booth.pub"), "--dry-run", *root]) == 0
    assert keys.allowed(places.allowed) == {}
    assert run(["keys", "allow", "booth", str(tmp_path / "booth.pub"), *root]) == 0
    assert keys.load_curve_public(places.allowed / "booth.pub") == own.public
    keys.new_curve(tmp_path / "other.key")
    assert run(["keys", "allow", "booth", str(tmp_path / "other.pub"), *root]) == 2
    assert keys.load_curve_public(places.allowed / "booth.pub") == own.public
    assert "another key has this name" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["../viewer", "a/b", ".hidden", ""])
def test_a_name_that_is_a_path_is_exit_2(tmp_path: Path, name: str) -> None:
    assert run(["keys", "new", name, "--root", str(tmp_path)]) == 2


def journal(root: Path) -> Places:
    places = Places.under(root)
    places.make()
    with Journal.open(places.journal, keys.new_signing(places.signing), boot_id="b") as record:
        for number in range(3):
            record.append("note", None, {"number": number})
        record.sign_head()
    return places


def test_a_whole_journal_is_verified_to_its_signed_row(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    journal(tmp_path)
    assert run(["journal", "verify", "--json", "--root", str(tmp_path)]) == 0
    found = json.loads(capfd.readouterr().out)
    assert (found["ok"], found["rows"], found["signed_to"]) == (True, 3, 3)


def test_a_changed_row_is_exit_1_and_named(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    places = journal(tmp_path)
    with sqlite3.connect(places.journal) as db:
        for (trigger,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {trigger}")
        db.execute("UPDATE rows SET body = '{}' WHERE sequence = 2")
    db.close()
    assert run(["journal", "verify", "--root", str(tmp_path)]) == 1
    assert "NOT whole: row 2" in capfd.readouterr().out


def test_no_journal_is_exit_2(tmp_path: Path) -> None:
    assert run(["journal", "verify", "--root", str(tmp_path)]) == 2


def test_a_covert_test_from_the_command_line_leaves_its_words_with_who_entered_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = tmp_path / "test-7.json"
    enter = ["covert", "enter", "--people", "2", "--place", "rear", "--secret", str(secret), "--root"]
    assert run([*enter, str(tmp_path / "nowhere")]) == 3
    assert not secret.exists()
    with Journal.open(tmp_path / "journal.db", None) as journal:
        book = CovertBook(journal, lambda: 1_780_000_000_000_000_000)
        with a_lane(tmp_path / "lane", covert_control.handlers(book)) as places:
            root = str(places.state.parent)
            assert run([*enter, root]) == 0
            assert secret.stat().st_mode & 0o777 == 0o600
            assert run([*enter, root]) == 2  # the file is there: words are never overwritten
            journal.append("passage.opened", PASSAGE, {"began_utc": "2026-03-01T10:15:02Z"})
            assert run(["covert", "reveal", str(secret), PASSAGE, "--root", root]) == 0
            assert run(["covert", "reveal", str(secret), PASSAGE, "--root", root]) == 1
            capfd.readouterr()
            assert run(["covert", "list", "--json", "--root", root]) == 0
    (told,) = json.loads(capfd.readouterr().out)["tests"]
    assert (told["passage_id"], told["people"], told["place"]) == (PASSAGE, 2, "rear")
