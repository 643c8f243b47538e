"""The status counts what the queue lists, and does not read the record again while it says nothing new of cases."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from pathlib import Path

import pytest

from edge.journal.journal import Journal
from edge.journal.read import reading
from edge.places import Places
from edge.referral import alarms
from edge.referral.alarms import CaseAlarms
from edge.referral.queue import DAY_NS, queue
from edge.retention.rules import ReferralTable

from .conftest import LaneFolder
from .lanes import outcome

LIMITS = ReferralTable().alarm_days()


class Now:
    """Set by the test."""

    at_ns = 0

    def __call__(self) -> int:
        return self.at_ns


def test_an_alarm_in_the_status_is_an_alarm_in_the_queue_on_every_day(lane: LaneFolder) -> None:
    first, second, third = lane.passages
    for passage in (first, second):
        lane.complete(passage)
        assert lane.run("referral", "make", passage, "--purpose", "penalty team") == 0
    assert lane.run("referral", "stage", f"R-{second}", "withdrawn") == 0
    outcome(lane.root, third)
    now, seen = Now(), set()
    with Journal.open(lane.places.journal, None) as journal:
        looking = CaseAlarms(journal, lane.places, LIMITS, now)
        made_ns = journal.rows(1, 1000, "referral.made")[0].written_utc_ns
        for days in (-30, 0, 13, 15, 27, 29, 400):
            now.at_ns = made_ns + days * DAY_NS
            with reading(lane.places.journal) as reader:
                late = [case for case in queue(reader, lane.places, now.at_ns, LIMITS) if case.alarm]
            told = looking.look()
            assert told["alarms"] == len(late)
            assert told["by_stage"] == Counter(case.stage for case in late)
            assert told["longest_days"] == max((case.stage_days for case in late), default=None)
            seen.add(told["alarms"])
    assert seen == {0, 1, 2}


def test_the_record_is_gathered_again_only_when_it_says_something_new_of_cases(
    lane: LaneFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome(lane.root, lane.passages[0])
    gathered = []
    monkeypatch.setattr(alarms, "queue", lambda *args: gathered.append(1) or queue(*args))
    now = Now()
    with Journal.open(lane.places.journal, None) as journal:
        now.at_ns = journal.rows(1, 1000, "outcome")[0].written_utc_ns
        looking = CaseAlarms(journal, lane.places, LIMITS, now)
        assert looking.look()["alarms"] == 0
        journal.append("health", None, {})
        now.at_ns += 15 * DAY_NS
        assert looking.look()["alarms"] == 1
        assert len(gathered) == 1
        took_back = journal.rows(1, 1000, "outcome")[0].document() | {"outcome": None}
        journal.append("outcome", lane.passages[0], took_back)
        assert looking.look()["alarms"] == 0
        assert len(gathered) == 2


def told_by_running(looking: CaseAlarms, monkeypatch: pytest.MonkeyPatch) -> object:
    """What the task tells when it has looked once; its looking must not be on the event loop's thread."""
    looked_in: list[threading.Thread] = []
    look = CaseAlarms.look

    def watched(one: CaseAlarms) -> dict[str, object]:
        looked_in.append(threading.current_thread())
        return look(one)

    async def main() -> None:
        looked = asyncio.Event()

        async def stop(seconds: float) -> None:
            assert seconds >= 60
            looked.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(alarms.asyncio, "sleep", stop)
        task = asyncio.create_task(looking.run())
        await looked.wait()
        task.cancel()

    with monkeypatch.context() as patched:
        patched.setattr(CaseAlarms, "look", watched)
        asyncio.run(main())
    assert len(looked_in) == 1 and looked_in[0] is not threading.main_thread()
    return looking.told


def test_a_record_that_cannot_be_read_is_no_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    places = Places.under(tmp_path)
    places.make()
    with Journal.open(places.journal, None) as journal:
        looking = CaseAlarms(journal, places, LIMITS, Now())
        assert looking.told is None
        assert told_by_running(looking, monkeypatch) == {"alarms": 0, "by_stage": {}, "longest_days": None}
        journal.append("outcome", "one", {"outcome": None})
        places.journal.rename(places.journal.with_name("gone.db"))
        assert told_by_running(looking, monkeypatch) is None
        assert "no journal here" in caplog.text
