from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest

import models
from fusion.classifier import Classifier
from fusion.evidence.co2 import co2_evidence
from fusion.evidence.context import CONTEXT, context_values
from fusion.evidence.evidence import Evidence, silent
from fusion.evidence.vibration import vibration_evidence
from fusion.passage import Passage
from fusion.verdict import State
from models.manifest import Manifest, read_manifest
from models.simulated import BEGAN_NS, NS, draw_passage, simulate

RELEASED = Path(models.__file__).parent / "released"
SILENT = (silent("mmwave", State.ABSENT, "no imager"), silent("xray", State.ABSENT, "no radiograph"))


@pytest.fixture(scope="module")
def manifest() -> Manifest:
    return read_manifest((RELEASED / "concealment-1.json").read_bytes())


@pytest.fixture(scope="module")
def classifier(manifest: Manifest) -> Classifier:
    return Classifier((RELEASED / "concealment-1.onnx").read_bytes(), manifest.contract())


def seen(passage: Passage, look: int, manifest: Manifest) -> tuple[tuple[Evidence, ...], dict[str, float]]:
    until = BEGAN_NS + round(manifest.looks_s[look] * NS)
    evidence = (vibration_evidence(passage, until), co2_evidence(passage, until), *SILENT)
    return evidence, context_values(passage, until)


def test_the_released_model_is_a_valid_onnx_file_and_says_it_was_simulated(manifest: Manifest) -> None:
    onnx.checker.check_model(onnx.load(RELEASED / "concealment-1.onnx"), full_check=True)
    assert manifest.trained_on == "simulated"


def test_fresh_occupied_passages_score_over_fresh_empty_ones(classifier: Classifier, manifest: Manifest) -> None:
    means = []
    for occupied in (False, True):
        totals = []
        for index in range(20):
            passage = draw_passage(np.random.default_rng([99, index]), occupied, 45)
            evidence, context = seen(passage, 4, manifest)
            totals.append(sum(classifier.judge(evidence, context, 4, -3.1).log10_lr))
        means.append(np.mean(totals))
    assert means[1] > 0.4 and means[0] < -0.4


def test_silence_changes_the_other_contribution_by_not_one_bit(classifier: Classifier, manifest: Manifest) -> None:
    evidence, context = seen(draw_passage(np.random.default_rng(5), True, 45), 3, manifest)
    whole = classifier.judge(evidence, context, 3, -3.1)
    for lost, kept in ((0, 1), (1, 0)):
        fewer = list(evidence)
        fewer[lost] = silent(evidence[lost].modality, State.FAULTY, "unplugged")
        alone = classifier.judge(fewer, context, 3, -3.1)
        assert alone.log10_lr[lost] == 0.0
        assert alone.log10_lr[kept] == whole.log10_lr[kept]


def contexts() -> list[dict[str, float]]:
    """The corners of what a lane sees, and the middle."""
    corners = product((-0.5, 0.4), (-1.0, 1.0), (-1.0, 1.0), (0.0, 1.0), (0.0, 1.0))
    return [dict(zip(CONTEXT, values, strict=True)) for values in ((0.0,) * 5, *corners)]


def co2(excess_log: float, plateau: float) -> Evidence:
    features = {"excess_log": excess_log, "slope_log": 0.1, "plateau": plateau}
    return Evidence("co2", State.MEASURED, features=features)


def test_a_rising_probe_never_lowers(classifier: Classifier, manifest: Manifest) -> None:
    absent = silent("vibration", State.ABSENT, "none")
    for look, context, excess in product(range(len(manifest.looks_s)), contexts(), (-0.5, 0.0, 0.5, 2.0)):
        given = classifier.judge((absent, co2(excess, 0.0), *SILENT), context, look, -3.1)
        assert given.log10_lr[1] >= 0.0


def vibration(**features: float) -> Evidence:
    usual = {"energy_log": 0.2, "rhythm_log": 0.8, "agreement": 0.3, "band_log": -0.4}
    return Evidence("vibration", State.MEASURED, features=usual | features)


@pytest.mark.parametrize("name", ["energy_log", "rhythm_log", "agreement"])
def test_more_of_what_speaks_for_a_heart_never_lowers(classifier: Classifier, manifest: Manifest, name: str) -> None:
    absent = silent("co2", State.ABSENT, "none")
    for look, context in product(range(len(manifest.looks_s)), contexts()):
        given = [
            classifier.judge((vibration(**{name: value}), absent, *SILENT), context, look, -3.1).log10_lr[0]
            for value in (-0.5, 0.0, 0.5, 1.0, 2.0)
        ]
        assert given == sorted(given)


def test_more_co2_at_a_plateau_never_lowers(classifier: Classifier, manifest: Manifest) -> None:
    absent = silent("vibration", State.ABSENT, "none")
    for look, context in product(range(len(manifest.looks_s)), contexts()):
        given = [
            classifier.judge((absent, co2(excess, 1.0), *SILENT), context, look, -3.1).log10_lr[1]
            for excess in (-0.5, 0.0, 0.5, 1.0, 2.0)
        ]
        assert given == sorted(given)


def test_patterns_that_were_never_calibrated_can_not_say_no_search(manifest: Manifest) -> None:
    for spoke in ((), ("mmwave",), ("vibration", "xray")):
        assert manifest.thresholds(spoke, 0, 0.05, 0.05, 0.01).no_search_log10_lr is None


def test_both_modalities_together_can_say_either_and_one_alone_only_search(manifest: Manifest) -> None:
    for tail in manifest.tails:
        bounds = manifest.thresholds(tail.pattern.split("+"), tail.look, 0.05, 0.05, 0.01)
        assert bounds.search_log10_lr is not None
        if "+" in tail.pattern:
            assert bounds.no_search_log10_lr is not None and bounds.no_search_log10_lr < bounds.search_log10_lr
        else:
            assert bounds.no_search_log10_lr is None


def test_the_same_seed_gives_the_same_case() -> None:
    assert simulate(3, 1, (5.0,)) == simulate(3, 1, (5.0,))
