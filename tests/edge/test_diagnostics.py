from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from pathlib import Path

import pytest

from edge import diagnostics
from edge.cli.main import run
from edge.control import Unreachable
from edge.journal.journal import Journal
from edge.keys import load_curve, load_signing
from edge.log_counts import MOST_FORMS, LogCounts
from edge.places import Places

LANE = (
    '[lane]\nsite = "calais"\nname = "3"\n[publish]\nbind = "tcp://127.0.0.1:0"\nreplay = "tcp://127.0.0.1:0"\n'
    '[devices.probe]\ndriver = "co2.vaisala_gmp25x"\nport = "/dev/serial/by-id/usb-probe"\n'
)
PLATE, PAYLOAD = "AB 12 CDE", "deadbeef0102"


@pytest.fixture
def lane(tmp_path: Path) -> Path:
    (tmp_path / "lane.toml").write_text(LANE)
    assert run(["keys", "new", "--root", str(tmp_path)]) == 0
    places = Places.under(tmp_path)
    places.make()
    with Journal.open(places.journal, load_signing(places.signing)) as journal:
        journal.append("context", "01JQ0F7Y3W8V5R2M9K4T6B1N0D", {"words": {"plate": PLATE}})
    (places.quarantine / "probe").mkdir()
    (places.quarantine / "probe" / "00000001.bin").write_bytes(bytes.fromhex(PAYLOAD))
    return tmp_path


def dump(root: Path, capfd: pytest.CaptureFixture[str]) -> tuple[str, dict[str, object]]:
    assert run(["diagnostics", "--root", str(root)]) == 0
    text = capfd.readouterr().out
    return text, json.loads(text)


def test_the_dump_of_a_lane_that_is_down_tells_all_that_can_be_known_and_no_secret(
    lane: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text, found = dump(lane, capfd)
    assert found["schema"] == "lanepulse.diagnostics/1"
    assert found["configuration"]["effective"]["devices"]["probe"]["port"] == "/dev/serial/by-id/usb-probe"  # type: ignore[index]
    assert found["journal"] == found["journal"] | {"ok": True, "rows": 1, "kinds": {"context": 1}}  # type: ignore[operator]
    assert "no lane is running" in found["status"]["unavailable"]  # type: ignore[index]
    assert found["files"]["quarantine"]["files"] == 1  # type: ignore[index]
    places = Places.under(lane)
    pem = [line for line in places.signing.read_text().splitlines() if not line.startswith("-")]
    for secret in (load_curve(places.curve).secret.decode(), *pem, PLATE, PAYLOAD):
        assert secret not in text


def test_what_a_lane_quotes_of_its_devices_and_of_people_is_masked(
    lane: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        "devices": [
            {"name": "camera", "cause": f"camera: line {PLATE!r} is no reading", "quarantined": {f'"{PLATE}"': 3}}
        ],
        "endpoints": {"verdicts": "tcp://user:geheim@127.0.0.1:7501"},
        "api_token": "geheim",
        "note": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIgeheim\n-----END PRIVATE KEY-----",
    }
    monkeypatch.setattr(diagnostics, "ask", lambda *_: said)
    text, found = dump(lane, capfd)
    assert PLATE not in text
    assert "geheim" not in text
    assert found["status"]["devices"][0]["quarantined"] == {"'...'": 3}  # type: ignore[index]


def test_a_dump_that_would_hold_a_key_is_not_given_away(lane: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = load_curve(Places.under(lane).curve).secret.decode()
    monkeypatch.setattr(diagnostics, "_machine", lambda: {"kernel": secret})
    with pytest.raises(diagnostics.Leak, match=r"curve\.key"):
        run(["diagnostics", "--root", str(lane)])


def test_a_wrong_file_and_a_damaged_journal_are_what_a_dump_is_for(
    lane: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (lane / "lane.toml").write_text(LANE.replace("site", "sight"))
    Places.under(lane).journal.write_bytes(b"no journal " * 100)
    _, found = dump(lane, capfd)
    assert found["configuration"]["ok"] is False  # type: ignore[index]
    assert not found["journal"].get("ok")  # type: ignore[attr-defined]
    assert found["versions"]["packages"]["lanepulse"]  # type: ignore[index]


def test_the_file_is_for_its_owner_alone_and_never_written_over(lane: Path, tmp_path: Path) -> None:
    path = tmp_path / "dump.json"
    assert run(["diagnostics", "--root", str(lane), "--output", str(path)]) == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert json.loads(path.read_text())["schema"] == "lanepulse.diagnostics/1"
    assert run(["diagnostics", "--root", str(lane), "--output", str(path)]) == 2


def test_log_lines_are_counted_by_their_form_and_not_by_what_fills_it() -> None:
    counts, log = LogCounts(), logging.getLogger("lanepulse.test_counts")
    log.addHandler(counts)
    log.propagate = False
    for plate in (PLATE, "XY 34"):
        log.warning("plate %s", plate)
    log.error("disk")
    assert [(one["level"], one["form"], one["times"]) for one in counts.document()] == [
        ("ERROR", "disk", 1),
        ("WARNING", "plate %s", 2),
    ]
    for number in range(2 * MOST_FORMS):
        log.warning(f"form {number}")  # what must not be done and cannot fill the memory
    assert len(counts.document()) <= MOST_FORMS + 1
    log.removeHandler(counts)


def test_the_process_part_counts_what_could_leak() -> None:
    async def numbers() -> dict[str, int]:
        return diagnostics.of_process()

    before = asyncio.run(numbers())
    with Path(os.devnull).open() as _:
        after = asyncio.run(numbers())
    assert after["descriptors"] == before["descriptors"] + 1
    assert (after["tasks"], after["process_id"]) == (1, os.getpid())


def test_a_part_that_fails_says_why_and_costs_no_other() -> None:
    def fails() -> None:
        raise Unreachable(f"socket of {PLATE!r}")

    assert diagnostics._part(fails) == {"unavailable": "Unreachable: socket of '...'"}
