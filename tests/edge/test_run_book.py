from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from edge.journal.journal import Journal
from edge.places import Places
from edge.run_book import CUT, KIND, started, stopped
from hil.demo import command, free_port


def told(journal: Journal) -> list[str | None]:
    return [row.document().get("before") for row in journal.rows(kind=KIND) if row.document()["what"] == "started"]


@pytest.mark.parametrize(
    ("end", "said"),
    [("watchdog killed ABRT\n", "watchdog killed ABRT"), (None, CUT), ("", CUT), ("\x1b[2J\x00\n", CUT)],
)
def test_a_run_that_did_not_say_that_it_stopped_is_told_at_the_next_start(
    tmp_path: Path, end: str | None, said: str
) -> None:
    last_end = tmp_path / "last-end"
    with Journal.open(tmp_path / "journal.db", None) as journal:
        started(journal, last_end, "1", "m")
        if end is not None:
            last_end.write_text(end)
        started(journal, last_end, "1", "m")
        assert told(journal) == [None, said]
        assert not last_end.exists()


def test_a_run_that_was_stopped_is_no_cause_for_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Journal.open(tmp_path / "journal.db", None) as journal:
        started(journal, tmp_path / "last-end", "1", "m")
        stopped(journal)
        (tmp_path / "last-end").write_text("success exited 0")
        started(journal, tmp_path / "last-end", "1", "m")
        assert told(journal) == [None, "stopped"]
    assert caplog.messages == []


async def words(manager: socket.socket, wanted: str, within_s: float) -> bool:
    """Whether the daemon says this word in time."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(within_s):
            while wanted.encode() not in await loop.sock_recv(manager, 4096):
                pass
    except TimeoutError:
        return False
    return True


def emptied(manager: socket.socket) -> None:
    while True:
        try:
            manager.recv(4096)
        except BlockingIOError:
            return


async def life(root: Path) -> None:
    """READY, fed, hung, back, stopped; then killed, and started once more."""
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(root / "notify"))
    manager.setblocking(False)
    environment = os.environ | {"NOTIFY_SOCKET": str(root / "notify"), "WATCHDOG_USEC": "600000"}
    run = (sys.executable, "-m", "edge.cli.main", "run", "--root", str(root))
    try:
        daemon = await asyncio.create_subprocess_exec(*run, env=environment)
        assert await words(manager, "READY=1", 60)
        assert await words(manager, "WATCHDOG=1", 60)
        daemon.send_signal(signal.SIGSTOP)  # as hung as a process can be
        assert not await words(manager, "nothing", 0.5)
        emptied(manager)
        assert not await words(manager, "WATCHDOG=1", 1.5)
        daemon.send_signal(signal.SIGCONT)
        assert await words(manager, "WATCHDOG=1", 60)
        daemon.send_signal(signal.SIGTERM)
        assert await words(manager, "STOPPING=1", 60)
        assert await daemon.wait() == 0
        for end in (signal.SIGKILL, signal.SIGTERM):
            daemon = await asyncio.create_subprocess_exec(*run, env=environment)
            assert await words(manager, "READY=1", 60)
            daemon.send_signal(end)
            await daemon.wait()
    finally:
        manager.close()


def test_a_hung_loop_feeds_no_watchdog_and_the_journal_says_how_each_run_ended(tmp_path: Path) -> None:
    (tmp_path / "lane.toml").write_text(
        '[lane]\nsite = "calais"\nname = "3"\n'
        f'[publish]\nbind = "tcp://127.0.0.1:{free_port()}"\nreplay = "tcp://127.0.0.1:{free_port()}"\n'
    )
    command(tmp_path, "keys", "new")
    asyncio.run(life(tmp_path))
    with Journal.open(Places.under(tmp_path).journal, None) as journal:
        assert told(journal) == [None, "stopped", CUT]
