from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from models.manifest import ManifestRefused, read_manifest


def manifest(**changes: Any) -> dict[str, Any]:
    one = {"vibration": ["a"], "co2": ["b"], "mmwave": ["c"], "xray": ["d"]}
    row = {name: [0.5] for name in one}
    check = {
        "features": row,
        "measured": [True] * 4,
        "context": [0.0],
        "look": 0,
        "prior_log10_odds": -3.1,
        "log10_lr": [0.1, 0.2, 0.0, 0.0],
    }
    tail = {
        "pattern": "vibration",
        "look": 0,
        "occupied": 500,
        "empty": 1000,
        "occupied_lowest": [-1 + i / 100 for i in range(40)],
        "empty_highest": [1 - i / 100 for i in range(40)],
        "cllr": 0.5,
    }
    whole = {
        "schema": "lanepulse.model/1",
        "name": "test-1",
        "sha256": "0" * 64,
        "trained_on": "simulated",
        "calibration": "none",
        "learned": ["vibration", "co2"],
        "features": one,
        "context": ["wind"],
        "looks_s": [5],
        "cap_log10_lr": 1.5,
        "checks": [check],
        "tails": [tail, {**tail, "look": 1, "occupied": 58, "empty": 40, "pattern": "co2"}],
    }
    return whole | changes


def read(content: dict[str, Any]) -> Any:
    return read_manifest(json.dumps(content).encode())


def test_the_bounds_are_the_order_statistics_of_the_tails() -> None:
    bounds = read(manifest(trained_on="recorded")).thresholds(("vibration",), 0, 0.05, 0.05, 0.01)
    assert bounds.no_search_log10_lr == pytest.approx(-1 + 16 / 100)  # k = 17 of 500: SCIENCE 6.5
    assert bounds.search_log10_lr == pytest.approx(1 - 10 / 100)  # ten of a thousand may lie over it


def test_an_unseen_pattern_and_one_of_too_few_cases_can_never_say_no_search() -> None:
    model = read(manifest(trained_on="recorded"))
    assert model.thresholds(("vibration", "xray"), 0, 0.05, 0.05, 0.01).no_search_log10_lr is None
    assert model.thresholds((), 0, 0.05, 0.05, 0.01).no_search_log10_lr is None
    assert model.thresholds(("co2",), 1, 0.05, 0.05, 0.01).no_search_log10_lr is None


def test_a_modality_alone_never_says_no_search_on_simulated_calibration() -> None:
    bounds = read(manifest()).thresholds(("vibration",), 0, 0.05, 0.05, 0.01)
    assert bounds.no_search_log10_lr is None and bounds.search_log10_lr is not None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sha256": "abc"}, "sha256"),
        ({"cap_log10_lr": -1}, "cap_log10_lr"),
        ({"surprise": 1}, "surprise"),
        ({"context": ["wind", "mass"]}, "checks.0"),
        ({"trained_on": "hearsay"}, "trained_on"),
    ],
)
def test_a_wrong_manifest_is_refused_by_its_field(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ManifestRefused, match=named):
        read(manifest(**change))


@pytest.mark.parametrize("text", [b"", b"\xff", b"[]", b'{"name": "a", "name": "b"}', b'{"cap_log10_lr": NaN}'])
def test_what_is_not_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(ManifestRefused):
        read_manifest(text)


def test_manifests_that_lie_are_refused(cases: Path) -> None:
    for file in sorted((cases / "51-manifest-lies").glob("*.json")):
        with pytest.raises(ManifestRefused):
            read_manifest(file.read_bytes())
