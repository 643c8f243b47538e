from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from fusion.classifier import Classifier
from fusion.verdict import MODALITIES
from models import curve
from models.exam import open_exam, report
from models.features import Table, Want, collect, joined
from models.kept_bound import broken
from models.manifest import SPENT
from models.train import LOOKS_S, NAME, cut, train

NORMAL = np.random.default_rng(7)


def quiet(done: int, cases: int) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Few passages, each several times with a little chance in its features: enough for every part to have some."""
    kept = tmp_path_factory.mktemp("cases")
    want = Want(90, 5, LOOKS_S, 0.6)
    made = collect(want, kept, 1, quiet)
    again = collect(want, kept, 1, quiet)
    assert all(np.array_equal(getattr(made, f.name), getattr(again, f.name)) for f in fields(Table))
    random = np.random.default_rng(1)
    parts = []
    for _ in range(6):
        shaken = {m: made.of(m) + 0.05 * random.normal(size=made.of(m).shape) for m in ("vibration", "mmwave", "xray")}
        parts.append(Table(**{f.name: shaken.get(f.name, getattr(made, f.name)) for f in fields(Table)}))
    return joined(parts)


def test_the_small_form_trains_a_model_that_keeps_its_contract_and_is_examined(cases: Table, tmp_path: Path) -> None:
    content, manifest = train(cases, 5, "a test")
    assert (content, manifest) == train(cases, 5, "a test")
    Classifier(content, manifest.contract())
    path = tmp_path / f"{NAME}.onnx"
    path.write_bytes(content)
    path.with_suffix(".json").write_text(manifest.model_dump_json(by_alias=True))
    exam = open_exam(path, cases)
    found = report(exam)
    assert found["vibration alone"]["look 4"]["auc"]["value"] > 0.75
    assert set(manifest.learned) == set(MODALITIES)
    ratios, spoke = exam.ratios(4, MODALITIES)
    assert np.all(ratios[~spoke] == 0.0)


def test_no_case_is_in_two_parts(cases: Table) -> None:
    marked = Table(**{f.name: getattr(cases, f.name) for f in fields(Table) if f.name != "wind_m_s"},
                   wind_m_s=np.arange(len(cases), dtype=np.float64))  # fmt: skip
    parts = cut(marked, 3)
    each = [set(part.wind_m_s.tolist()) for part in (parts.fitted, parts.calibration, parts.thresholds)]
    assert sum(map(len, each)) == len(cases) == len(set.union(*each))


def scores(occupied: int, empty: int, apart: float) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """log10 ratios of Gaussian scores of unit spread, ``apart`` from one another."""
    x = np.concatenate([NORMAL.normal(apart, 1, occupied), NORMAL.normal(0, 1, empty)])
    return (x - apart / 2) * apart / np.log(10), np.arange(len(x)) < occupied


@pytest.mark.parametrize("way", list(curve.WAYS))
def test_a_curve_mends_scores_that_are_twice_too_sure(way: str) -> None:
    raw, occupied = scores(2_000, 2_000, 2.0)
    made = curve.WAYS[way](2.0 * raw + 0.3, occupied)
    mended = curve.soft_cap(made.at(2.0 * raw + 0.3), 3.0, 3.0)
    best, bad = (curve.cllr(v[occupied], v[~occupied]) for v in (raw, 2.0 * raw + 0.3))
    assert curve.cllr(mended[occupied], mended[~occupied]) < best + 0.02 < bad


def test_a_curve_rises_everywhere_and_the_cap_ties_nothing() -> None:
    raw, occupied = scores(300, 300, 1.5)
    made = curve.fit(raw, occupied, np.random.default_rng(1))
    at = np.linspace(-6, 6, 500)
    value = curve.soft_cap(made.at(at), 1.0, 1.5)
    assert np.all(np.diff(made.at(at)) > 0)
    assert value.min() > -1.0 - 1e-12 and value.max() < 1.5 + 1e-12
    inner = np.abs(made.at(at)) < 1.2
    assert np.all(np.diff(value[inner]) > 0)


@pytest.mark.parametrize(
    ("occupied", "empty", "low", "high"), [(50, 500, 12, 186), (200, 1_000, 39, 339), (500, 5_000, 200, 372)]
)
def test_ratios_are_bounded_as_another_program_bounds_them(occupied: int, empty: int, low: int, high: int) -> None:
    """SCIENCE 6.4, computed there with ``lir`` on Gaussian scores 3 apart; its draws are not ours: within 3 times."""
    downs, ups = [], []
    for _ in range(9):
        raw, yes = scores(occupied, empty, 3.0)
        down, up = curve.bounds(raw, yes, 4.0)
        downs.append(10**down)
        ups.append(10**up)
    assert 1 / 3 < np.median(downs) / low < 3
    assert 1 / 3 < np.median(ups) / high < 3


def test_twenty_calibrations_done_again_keep_the_miss_bound_over_all_looks() -> None:
    """The short form of ``make miss-bound``."""
    random = np.random.default_rng(3)
    person = random.normal(1.5, 1.0, (20_000, 1))
    scores = np.hstack([person * share + random.normal(0, 0.4, person.shape) for share in (0.4, 0.6, 0.8, 1.0, 1.1)])
    assert broken(scores, 20, 600, 0.05, 0.05, SPENT, seed=1) <= 2
    careless = broken(scores, 20, 600, 0.05, 0.999, (1.0,) * 5, seed=1)
    assert careless > 10  # the whole budget at each look is not kept
