"""A case is complete or refused by name; it waits in a queue that counts its days; who looks is recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge import keys
from edge.journal.journal import Journal
from edge.journal.read import reading
from edge.journal.verify import verify
from edge.records.outcome import CHECKS
from edge.referral.case import gather, missing
from edge.referral.queue import DAY_NS, alike, queue
from edge.referral.stage_csv import read_steps
from edge.referral.words import WordsRefused
from edge.retention.rules import ReferralTable

from .conftest import LaneFolder
from .lanes import BEGAN_NS, outcome

ALARMS = ReferralTable().alarm_days()


def lacking(lane: LaneFolder, passage_id: str) -> list[str]:
    with reading(lane.places.journal) as reader:
        return [field.field for field in missing(gather(reader, lane.places, passage_id), lane.places)]


def rows(lane: LaneFolder, kind: str) -> list[dict[str, object]]:
    with reading(lane.places.journal) as reader:
        return [row.document() for row in reader.of_kind(kind)]


def test_everything_that_is_missing_is_named_at_once(lane: LaneFolder, capfd: pytest.CaptureFixture[str]) -> None:
    passage = lane.passages[0]
    assert lane.run("referral", "make", passage, "--purpose", "penalty team") == 1
    said = capfd.readouterr()
    for field in ("outcome", "plates.tractor", "plates.trailer", "checklist", "account"):
        assert f"{field} is missing" in said.err
    assert not list(lane.root.glob("state/packs/*"))
    assert rows(lane, "referral.made") == []


def test_each_single_thing_that_is_taken_away_is_missed(lane: LaneFolder) -> None:
    passage = lane.passages[0]
    secured: dict[str, str] = dict.fromkeys(CHECKS, "ok") | {"curtain": "cut"}
    secured.pop("roof")
    lane.complete(passage, secured=secured, where=None)
    assert lacking(lane, passage) == ["outcome.where", "outcome.secured.roof"]


def test_a_case_without_a_photo_of_what_is_broken_is_refused(lane: LaneFolder) -> None:
    passage = lane.passages[0]
    lane.complete(passage, secured=dict.fromkeys(CHECKS, "ok") | {"curtain": "cut", "locks": "broken"})
    assert lacking(lane, passage) == ["photos.locks"]


def test_a_raw_file_that_was_changed_is_named(lane: LaneFolder) -> None:
    passage = lane.passages[0]
    lane.complete(passage)
    assert lacking(lane, passage) == []
    series = lane.places.bundles / passage / "vibration.mseed"
    series.write_bytes(series.read_bytes()[:-1] + b"x")
    assert lacking(lane, passage) == ["bundle.vibration.mseed"]


def test_a_vehicle_that_was_not_secured_is_a_case_without_a_find(
    lane: LaneFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    passage = lane.passages[0]
    lane.complete(passage, found=False, people=None, where=None)
    assert lane.run("referral", "make", passage, "--purpose", "penalty team", "--json") == 0
    made = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert rows(lane, "referral.made")[0]["kind"] == "unsecured"
    assert rows(lane, "referral.made")[0]["pack_sha256"] == made["sha256"]
    assert Path(made["pack"]).with_name(f"R-{passage}.zip.sha256").is_file()


def test_nobody_and_all_in_order_is_no_case(lane: LaneFolder) -> None:
    passage = lane.passages[0]
    lane.complete(passage, found=False, people=None, where=None, secured=dict.fromkeys(CHECKS, "ok"), seals=[])
    assert "outcome.found" in lacking(lane, passage)


def test_who_makes_a_pack_is_recorded_before_and_what_was_made_after(lane: LaneFolder) -> None:
    passage = lane.passages[0]
    lane.complete(passage)
    assert lane.run("referral", "make", passage, "--purpose", "penalty team", "--officer", "o17") == 0
    (access,) = rows(lane, "access")
    assert (access["what"], access["purpose"], access["officer"]) == ("referral make", "penalty team", "o17")
    assert str(access["via"]).startswith("uid ")
    assert lane.run("referral", "make", passage, "--purpose", "penalty team") == 2  # has one already
    assert lane.run("referral", "make", passage, "--purpose", "appeal", "--again") == 0
    found = verify(lane.places.journal, keys.load_signing_public(lane.public_key))
    assert found.ok and found.openings == 2, found.cause


def test_looking_at_plates_is_recorded_and_needs_a_reason(lane: LaneFolder, capfd: pytest.CaptureFixture[str]) -> None:
    passage = lane.passages[0]
    assert lane.run("plates", "set", passage, "--tractor", "GB:AB12 CDE", "--trailer", "none") == 0
    capfd.readouterr()
    assert lane.run("plates", "find", "ab12cde", "--purpose", "driver asks") == 0
    assert passage in capfd.readouterr().out
    assert lane.run("plates", "show", passage, "--purpose", "driver asks") == 0
    assert "AB12 CDE" in capfd.readouterr().out
    assert lane.run("plates", "find", "XX99XXX", "--purpose", "no") == 2  # "no" is no reason
    assert [row["what"] for row in rows(lane, "access")] == ["plates find", "plates show"]
    assert not any("AB12" in str(row) for row in rows(lane, "access"))


def test_what_cannot_be_recorded_is_not_shown(lane: LaneFolder, capfd: pytest.CaptureFixture[str]) -> None:
    passage = lane.passages[0]
    lane.run("plates", "set", passage, "--tractor", "GB:AB12 CDE", "--trailer", "none")
    capfd.readouterr()
    with Journal.open(lane.places.journal, None):  # somebody else writes, and answers no socket
        assert lane.run("plates", "show", passage, "--purpose", "driver asks") == 2
    said = capfd.readouterr()
    assert "another process writes this journal" in said.err and "AB12" not in said.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["plates", "set", "P", "--tractor", "GB:--", "--trailer", "none"], "no letter or digit"),
        (["plates", "set", "NOSUCH", "--tractor", "AB1", "--trailer", "none"], "not in this lane's record"),
        (["referral", "note", "P"], "nothing said"),
        (["referral", "stage", "R-P", "paid"], "say how much"),
        (["referral", "hold", "P", "--cause", "x"], "cause"),
    ],
)
def test_wrong_words_are_refused_in_one_line(
    lane: LaneFolder, capfd: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    given = [word.replace("P", lane.passages[0]) if word in ("P", "R-P") else word for word in arguments]
    assert lane.run(*given) == 2
    said = capfd.readouterr().err
    assert says in said and said.count("\n") == 1


def test_what_was_never_referred_has_no_stages(lane: LaneFolder, capfd: pytest.CaptureFixture[str]) -> None:
    assert lane.run("referral", "stage", f"R-{lane.passages[0]}", "notified") == 1
    assert "never referred" in capfd.readouterr().err


def test_a_photo_that_is_none_is_refused(lane: LaneFolder, capfd: pytest.CaptureFixture[str]) -> None:
    (lane.root / "x.jpg").write_bytes(b"GIF89a")
    assert lane.run("referral", "note", lane.passages[0], "--photo", f"roof={lane.root / 'x.jpg'}") == 2
    assert "neither JPEG nor PNG" in capfd.readouterr().err


def test_the_queue_counts_days_names_what_it_waits_for_and_alarms(lane: LaneFolder) -> None:
    first, second, _ = lane.passages
    lane.complete(first)
    assert lane.run("referral", "make", first, "--purpose", "penalty team") == 0
    outcome(lane.root, second)
    now_ns = 1_790_000_000_000_000_000  # any later moment
    with reading(lane.places.journal) as reader:
        made_ns = reader.of_kind("referral.made")[0].written_utc_ns
        late = queue(reader, lane.places, made_ns + 29 * DAY_NS, ALARMS)
        early = queue(reader, lane.places, made_ns + 5 * DAY_NS, ALARMS)
    assert {(case.passage_id, case.stage, case.alarm) for case in late} == {
        (first, "referred", True),
        (second, "not_referred", True),
    }
    assert not any(case.alarm for case in early)
    waits = {case.passage_id: case.waits_for for case in early}
    assert waits[first] == "the penalty team's notice"
    assert "plates.tractor" in waits[second] and "photos.curtain" in waits[second]
    assert now_ns > BEGAN_NS


def test_stages_go_on_until_a_case_is_closed(lane: LaneFolder, capfd: pytest.CaptureFixture[str]) -> None:
    passage = lane.passages[0]
    lane.complete(passage)
    lane.run("referral", "make", passage, "--purpose", "penalty team")
    case = f"R-{passage}"
    for stage in (["notified", "--amount-gbp", "12000"], ["objected"], ["paid", "--amount-gbp", "6000"]):
        assert lane.run("referral", "stage", case, *stage) == 0, stage
    assert lane.run("referral", "stage", case, "objected") == 1
    assert "open it again" in capfd.readouterr().err
    assert lane.run("referral", "list", "--all", "--json") == 0
    (shown,) = json.loads(capfd.readouterr().out.splitlines()[-1])["cases"]
    assert (shown["stage"], shown["amount_gbp"], shown["alarm"]) == ("paid", 6000.0, False)


def test_like_cases_that_end_differently_are_shown_first(lane: LaneFolder) -> None:
    for passage, stage in zip(lane.passages, (["paid", "--amount-gbp", "6000"], ["written_off"], None), strict=True):
        lane.complete(passage)
        lane.run("referral", "make", passage, "--purpose", "penalty team")
        if stage is not None:
            lane.run("referral", "stage", f"R-{passage}", *stage)
    with reading(lane.places.journal) as reader:
        (group,) = alike(queue(reader, lane.places, BEGAN_NS + 400 * DAY_NS, ALARMS))
    assert group.differ and group.open == 1
    assert group.ended == {"paid": 1, "written_off": 1} and group.amounts_gbp == (6000, 6000, 6000)


HEADER = "case_id,stage,at,amount_gbp\n"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_a_table_of_stages_is_read_as_spreadsheets_write_it(tmp_path: Path, mark: str, separator: str) -> None:
    text = f"{mark}{HEADER}R-A,paid,2026-04-02,6000.50\nR-B,written_off,,\n".replace(",", separator)
    (tmp_path / "stages.csv").write_text(text, encoding="utf-8")
    first, second = read_steps(tmp_path / "stages.csv", None)
    assert (first.case_id, first.amount_gbp, first.at_utc) == ("R-A", 6000.5, "2026-04-02T00:00:00Z")
    assert (second.stage, second.at_utc) == ("written_off", None)


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (f"{HEADER}R-A,paid,,6.000,50\n", ":2: not 4 cells"),
        (f'{HEADER}R-A,paid,,"6,000"\n', ":2: amount_gbp"),
        (f"{HEADER}R-A,paid,,6.000\n", ":2: amount_gbp"),
        (f"{HEADER}R-A,payed,,1\n", ":2: stage"),
        (f"{HEADER}R-A,notified,02/04/2026,\n", ":2: at_utc"),
        ("stage,case_id\n", ":1: the columns are"),
        (f'{HEADER}"R-A', "unexpected end of data"),
        ("", ":1: the columns are"),
    ],
)
def test_a_table_that_could_mean_two_things_is_refused_with_its_line(tmp_path: Path, content: str, where: str) -> None:
    (tmp_path / "stages.csv").write_text(content)
    with pytest.raises(WordsRefused, match=r"stages\.csv") as refused:
        read_steps(tmp_path / "stages.csv", None)
    assert where in str(refused.value)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "stages.csv").write_bytes(HEADER.encode("utf-16"))
    with pytest.raises(WordsRefused, match="not UTF-8"):
        read_steps(tmp_path / "stages.csv", None)
