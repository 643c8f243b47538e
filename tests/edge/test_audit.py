from __future__ import annotations

from pathlib import Path

import pytest

from edge import keys
from edge.audit import LaneAudit, of_lane
from edge.config import AuditTable, ConfigErrors, load
from edge.journal.journal import Journal

LANE = '[lane]\nsite = "calais"\nname = "3"\n'


def audit_of(path: Path, text: str) -> AuditTable:
    (path / "lane.toml").write_text(LANE + text)
    return load(path / "lane.toml", {}).policy.audit


def test_without_strata_nothing_is_drawn(tmp_path: Path) -> None:
    assert audit_of(tmp_path, "").strata == ()


@pytest.mark.parametrize(
    ("strata", "says"),
    [
        ('[{name = "a", probability = 2.0}]', "policy.audit.strata.0.probability"),
        ('[{name = "a", probability = 0.1, hours = [22, 6]}]', "fit no stratum"),
        ('[{name = "a", probability = 0.1}, {name = "b", probability = 0.1}]', "never reached"),
        ('[{name = "a", probability = 0.1, hours = [1, 2]}, {name = "a", probability = 0.1}]', "one name"),
        ('[{name = "a", probability = 0.1, hours = [1, 24]}]', "policy.audit.strata.0.hours.1"),
        ('[{name = "a", probabilty = 0.1}]', "did you mean probability?"),
    ],
)
def test_strata_that_cannot_be_meant_are_refused(tmp_path: Path, strata: str, says: str) -> None:
    with pytest.raises(ConfigErrors, match=says.replace("?", "\\?")):
        audit_of(tmp_path, f"[policy.audit]\nstrata = {strata}\n")


def test_the_journal_names_key_and_strata_once_and_never_the_key_itself(tmp_path: Path) -> None:
    table = audit_of(tmp_path, '[policy.audit]\nstrata = [{name = "rest", probability = 0.005}]\n')
    key = keys.new_secret(tmp_path / "audit.secret")
    made = of_lane(table, "Europe/Paris", keys.load_secret(tmp_path / "audit.secret"))
    with Journal.open(tmp_path / "journal.db", None) as journal:
        for _ in range(3):
            made.announce(journal)
        (row,) = journal.rows()
        other = LaneAudit(bytes(32), made.strata, made.declared_times, made.code, made.zone)
        other.announce(journal)
        assert len(journal.rows()) == 2
    assert row.kind == "audit.key"
    assert row.document()["strata"][0]["probability"] == 0.005
    assert key.hex() not in row.body


def test_hours_are_those_of_the_sites_clock_also_when_it_is_changed() -> None:
    made = of_lane(AuditTable(), "Europe/Paris", bytes(32))
    winter_noon_utc_ns, summer_noon_utc_ns = 1_767_265_200_000_000_000, 1_782_903_600_000_000_000  # 11:00 UTC both
    assert (made.hour(winter_noon_utc_ns), made.hour(summer_noon_utc_ns)) == (12, 13)


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    keys.new_secret(tmp_path / "audit.secret")
    (tmp_path / "audit.secret").chmod(0o640)
    with pytest.raises(keys.KeyFault, match="lets others read it"):
        keys.load_secret(tmp_path / "audit.secret")
