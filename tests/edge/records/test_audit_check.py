from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from edge.audit import LaneAudit, of_lane
from edge.cli.main import run
from edge.config import AuditTable
from edge.journal.journal import Journal
from edge.journal.read import reading
from edge.records.audit_check import KINDS, Checked, binomial_p, check
from fusion.audit_draw import Case
from fusion.passage import BodyType
from fusion.ulid import ulid
from fusion.verdict import Level

KEY = bytes(range(32))


@pytest.mark.parametrize(("k", "n", "p"), [(0, 10, 0.1), (3, 40, 0.05), (17, 2000, 0.005), (60, 500, 0.1), (9, 9, 0.5)])
def test_the_binomial_is_scipys(k: int, n: int, p: float) -> None:
    assert binomial_p(k, n, p) == pytest.approx(binomtest(k, n, p).pvalue, rel=1e-6)


def audit_of(probability: float) -> LaneAudit:
    table = AuditTable.model_validate({"strata": [{"name": "rest", "probability": probability}]})
    return of_lane(table, "UTC", KEY)


def lorries(path: Path, count: int, probability: float, lie: dict[str, Any] | None = None) -> Path:
    """A journal as the lane writes it; ``lie`` is written into the fifth draw."""
    audit = audit_of(probability)
    with Journal.open(path / "journal.db", None) as journal:
        audit.announce(journal)
        for number in range(count):
            passage_id = ulid(1_780_000_000_000_000_000 + number * 18_000_000_000, number.to_bytes(10, "big"))
            journal.append("passage.opened", passage_id, {"began_utc": "2026-05-28T20:26:40Z"})
            case = Case(Level.NO_SEARCH, BodyType.UNKNOWN, 12)
            draw = audit.draw(audit.number(passage_id), case)
            assert draw is not None
            body = audit.row(draw, case) | (lie or {} if number == 4 else {})
            if not body.get("omitted"):
                journal.append("audit", passage_id, body)
            level = "search" if body["drawn"] else "no_search"
            journal.append("verdict", passage_id, {"level": level})
    return path / "journal.db"


def checked(path: Path, key: bytes = KEY) -> Checked:
    with reading(path) as rows:
        return check(rows.of_kind(*KINDS), key)


def test_honest_draws_are_as_the_policy_says(tmp_path: Path) -> None:
    found = checked(lorries(tmp_path, 300, 0.2))
    assert found.ok
    assert (found.draws, found.other_keys) == (300, 0)
    assert found.shares[0].p > 0.001


@pytest.mark.parametrize(
    ("lie", "says"),
    [
        ({"number": 0.123, "drawn": True}, "its number is not the key's"),
        ({"number": 0.9, "drawn": True, "probability": 0.2}, "say otherwise than what was done"),
        ({"key_id": "0" * 16}, "was not announced before"),
        ({"omitted": True, "drawn": False}, "let pass without a draw"),
    ],
)
def test_a_draw_that_somebody_bent_is_named_with_its_row(tmp_path: Path, lie: dict[str, Any], says: str) -> None:
    found = checked(lorries(tmp_path, 8, 0.2, lie))
    assert not found.ok
    assert any(says in fault and fault.startswith("row ") for fault in found.faults)


def test_draws_of_another_key_are_counted_and_not_believed(tmp_path: Path) -> None:
    found = checked(lorries(tmp_path, 5, 0.2), bytes(32))
    assert (found.draws, found.other_keys) == (5, 5)


def test_from_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = lorries(tmp_path, 20, 0.2)
    secret = tmp_path / "audit.secret"
    secret.write_text(KEY.hex())
    secret.chmod(0o600)
    asked = ["audit", "verify", "--journal", str(path), "--secret", str(secret)]
    assert run([*asked, "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["draws"] == 20
    bent = tmp_path / "bent"
    bent.mkdir()
    asked[3] = str(lorries(bent, 8, 0.2, {"number": 0.123, "drawn": True}))
    assert run(asked) == 1
    told = capfd.readouterr().out
    assert "NOT as the policy says" in told
    assert KEY.hex() not in told
