from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest

import models
from fusion.classifier import Classifier
from fusion.evidence.context import CONTEXT
from fusion.evidence.evidence import Evidence, silent
from fusion.verdict import MODALITIES, State
from models.features import FEATURES
from models.fit import RISING
from models.manifest import Manifest, read_manifest
from models.simulated import Case, simulate

RELEASED = Path(models.__file__).parent / "released" / "concealment-2.onnx"
SILENT = tuple(silent(modality, State.ABSENT, "not there") for modality in MODALITIES)


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest(RELEASED.with_suffix(".json").read_bytes())


@pytest.fixture(scope="module")
def classifier(manifest: Manifest) -> Classifier:
    return Classifier(RELEASED.read_bytes(), manifest.contract())


@pytest.fixture(scope="module")
def fresh(manifest: Manifest) -> list[Case]:
    """Passages of a seed that nothing was learned from."""
    return [simulate(index, 99, manifest.looks_s[3:4]) for index in range(40)]


def only(part: Evidence) -> tuple[Evidence, ...]:
    return tuple(part if part.modality == one.modality else one for one in SILENT)


def test_the_released_model_is_a_valid_onnx_file_and_says_it_was_simulated(manifest: Manifest) -> None:
    onnx.checker.check_model(onnx.load(RELEASED), full_check=True)
    assert manifest.trained_on == "simulated"
    assert set(manifest.learned) == set(MODALITIES)


def test_fresh_occupied_passages_score_over_fresh_empty_ones(classifier: Classifier, fresh: list[Case]) -> None:
    totals = {
        occupied: [
            sum(classifier.judge(*case.looks[0], 3, -3.1).log10_lr) for case in fresh if case.occupied is occupied
        ]
        for occupied in (False, True)
    }
    assert np.mean(totals[True]) > 0.4
    assert np.mean(totals[False]) < -0.4


def test_no_contribution_is_over_its_cap_and_silence_is_exactly_nothing(
    classifier: Classifier, manifest: Manifest, fresh: list[Case]
) -> None:
    for case in fresh:
        evidence, context = case.looks[0]
        given = classifier.judge(evidence, context, 3, -3.1)
        for part, ratio in zip(evidence, given.log10_lr, strict=True):
            assert abs(ratio) <= manifest.cap_log10_lr
            assert part.state is State.MEASURED or ratio == 0.0


def contexts() -> list[dict[str, float]]:
    """The corners of what a lane sees, and the middle."""
    corners = product((-0.5, 0.4), (-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0), (0.0, 1.0))
    return [dict(zip(CONTEXT, values, strict=True)) for values in ((0.0,) * 5, *corners)]


def usual(fresh: list[Case], modality: str) -> dict[str, float]:
    place = MODALITIES.index(modality)
    for case in fresh:
        part = case.looks[0][0][place]
        if part.state is State.MEASURED:
            return {name: part.features[name] for name in FEATURES[modality]}
    raise AssertionError(f"no {modality} in {len(fresh)} cases")


@pytest.mark.parametrize(
    ("modality", "name"), [(m, name) for m in MODALITIES for name in FEATURES[m] if name in RISING]
)
def test_more_of_what_speaks_for_a_person_never_lowers(
    classifier: Classifier, manifest: Manifest, fresh: list[Case], modality: str, name: str
) -> None:
    features = usual(fresh, modality)
    for look, context in product((0, len(manifest.looks_s) - 1), contexts()[::5]):
        given = []
        for value in (-1.0, -0.3, 0.0, 0.3, 0.8, 1.5, 3.0):
            part = Evidence(modality, State.MEASURED, features=features | {name: value})
            given.append(sum(classifier.judge(only(part), context, look, -3.1).log10_lr))
        assert given == sorted(given)


def test_a_rising_probe_never_lowers(classifier: Classifier, manifest: Manifest) -> None:
    for look, context, level in product(range(len(manifest.looks_s)), contexts(), (-0.5, 0.0, 0.5, 2.0)):
        features = {"level_log": level, "persons_log": level, "step_log": 0.1, "slope_log": 0.1, "settled": 0.0}
        given = classifier.judge(only(Evidence("co2", State.MEASURED, features=features)), context, look, -3.1)
        assert given.log10_lr[1] >= 0.0


def test_one_modality_alone_never_says_no_search_nor_do_air_and_an_imager_that_see_a_part(manifest: Manifest) -> None:
    for look in range(len(manifest.looks_s)):
        for spoke in ((), ("co2", "mmwave"), *((modality,) for modality in MODALITIES)):
            assert manifest.thresholds(spoke, look, 0.05, 0.05, 0.01).no_search_log10_lr is None


def test_vibration_and_co2_together_can_say_either(manifest: Manifest) -> None:
    bounds = manifest.thresholds(("vibration", "co2"), 3, 0.05, 0.05, 0.01)
    assert bounds.no_search_log10_lr is not None and bounds.search_log10_lr is not None
    assert bounds.no_search_log10_lr < bounds.search_log10_lr


def test_the_same_seed_gives_the_same_case() -> None:
    assert simulate(3, 1, (5.0,)) == simulate(3, 1, (5.0,))
