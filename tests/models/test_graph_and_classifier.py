from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from fusion.classifier import Check, Classifier, Contract, ModelRefused, NoNumber
from fusion.evidence.evidence import Evidence, silent
from fusion.verdict import MODALITIES, State
from models.graph import CAP_LOG10_LR, Weights, build, log10_lr, pattern_of

WIDTHS = {"vibration": 3, "co2": 2, "mmwave": 1, "xray": 1}
CONTEXT = ("wind", "mass")
LOOKS = 3


def some_weights(width: int, seed: int, flag: int | None = None) -> Weights:
    """Two pieces a feature, curves of five knots, and caps that differ by look."""
    random = np.random.default_rng(seed)
    place = np.repeat(np.arange(width), 2)
    return Weights(
        place=place,
        low=np.tile([-2.0, 0.1], width),
        width=np.tile([2.1, 1.5], width),
        bias=random.normal(size=LOOKS) * 0.1,
        features=random.normal(size=(LOOKS, 2 * width)) * 0.3,
        context=random.normal(size=(LOOKS, 2)) * 0.3,
        pairs=random.normal(size=(LOOKS, 2 * width, 2)) * 0.3,
        knots=np.cumsum(random.uniform(0.2, 0.5, (LOOKS, 5)), axis=1) - 1.0,
        values=np.cumsum(random.uniform(0.1, 0.9, (LOOKS, 5)), axis=1) - 1.2,
        caps=random.uniform(0.5, 1.5, (LOOKS, 2)),
        only_raises_below=flag,
    )


WEIGHTS = {"vibration": some_weights(3, 1), "co2": some_weights(2, 2, flag=1)}


SLOPES = np.random.default_rng(9).uniform(0.3, 1.0, (LOOKS, 16, 4))
SLOPES[:, 1] = 1.0


def inputs(n: int, seed: int = 5) -> dict[str, NDArray[np.generic]]:
    random = np.random.default_rng(seed)
    feed: dict[str, NDArray[np.generic]] = {m: random.normal(size=(n, WIDTHS[m])) for m in MODALITIES}
    feed["co2"][:, 1] = random.integers(0, 2, n)
    feed["measured"] = random.integers(0, 2, (n, 4)).astype(bool)
    feed["context"] = random.normal(size=(n, 2))
    feed["look"] = random.integers(0, LOOKS, n)
    feed["prior_log10_odds"] = np.full(n, -3.1)
    return feed


def run(model: onnx.ModelProto, feed: dict[str, NDArray[np.generic]]) -> list[NDArray[np.float64]]:
    return list(ort.InferenceSession(model.SerializeToString()).run(None, feed))


def contract_of(model: bytes) -> Contract:
    feed = inputs(4)
    feed["measured"] = np.ones((4, 4), bool)
    checks = []
    for i in range(4):
        look = int(feed["look"][i])
        ratios = [
            float(log10_lr(WEIGHTS[m], feed[m][i : i + 1], feed["context"][i : i + 1], look)[0]) * SLOPES[look, 15, p]
            if m in WEIGHTS
            else 0.0
            for p, m in enumerate(MODALITIES)
        ]
        features = {m: tuple(float(v) for v in feed[m][i]) for m in MODALITIES}
        context = tuple(float(v) for v in feed["context"][i])
        checks.append(Check(features, (True,) * 4, context, look, -3.1, (ratios[0], ratios[1], ratios[2], ratios[3])))
    names = {m: tuple(f"{m}_{i}" for i in range(WIDTHS[m])) for m in MODALITIES}
    sha = hashlib.sha256(model).hexdigest()
    return Contract("test-1", sha, names, CONTEXT, LOOKS, frozenset(WEIGHTS), tuple(checks))


@pytest.fixture(scope="module")
def model() -> onnx.ModelProto:
    return build("test", WEIGHTS, SLOPES, WIDTHS, 2)


@pytest.fixture(scope="module")
def classifier(model: onnx.ModelProto) -> Classifier:
    data = model.SerializeToString()
    return Classifier(data, contract_of(data))


def measured(modality: str, *values: float) -> Evidence:
    return Evidence(modality, State.MEASURED, features={f"{modality}_{i}": v for i, v in enumerate(values)})


def absent(modality: str) -> Evidence:
    return silent(modality, State.ABSENT, "not there")


NOW = {"wind": 0.4, "mass": -0.2}


def test_the_graph_agrees_with_numpy_and_its_parts_add_up(model: onnx.ModelProto) -> None:
    feed = inputs(300)
    ratios, odds, score = run(model, feed)
    for index, m in enumerate(MODALITIES):
        for i in range(300):
            spoke = m in WEIGHTS and feed["measured"][i, index]
            x, c = feed[m][i : i + 1], feed["context"][i : i + 1]
            look = int(feed["look"][i])
            slope = SLOPES[look, int(pattern_of(feed["measured"][i : i + 1])[0]), index]
            due = log10_lr(WEIGHTS[m], x, c, look)[0] * slope if spoke else 0.0
            assert ratios[i, index] == pytest.approx(due, abs=1e-9)
    assert np.max(np.abs(-3.1 + ratios.sum(axis=1) - odds)) < 1e-12
    assert np.max(np.abs(1 / (1 + 10.0**-odds) - score)) < 1e-12
    assert np.max(np.abs(ratios)) <= CAP_LOG10_LR


def test_silence_adds_exactly_zero_even_where_its_features_are_no_numbers(model: onnx.ModelProto) -> None:
    feed = inputs(20)
    feed["measured"] = np.zeros((20, 4), bool)
    for m in MODALITIES:
        feed[m] = np.full((20, WIDTHS[m]), np.nan)
    ratios, odds, _ = run(model, feed)
    assert ratios.tobytes() == np.zeros((20, 4)).tobytes()
    assert odds.tobytes() == np.full(20, -3.1).tobytes()


def test_a_rising_probe_never_lowers(model: onnx.ModelProto) -> None:
    feed = inputs(300)
    feed["co2"][:, 1] = 0.0
    assert np.min(run(model, feed)[0][:, 1]) >= 0.0


def test_judging_adds_up_and_silence_is_bit_for_bit_nothing(classifier: Classifier) -> None:
    alone = [measured("vibration", 0.3, 0.2, 0.1), absent("co2"), absent("mmwave"), absent("xray")]
    both = [alone[0], measured("co2", 0.5, 1.0), absent("mmwave"), absent("xray")]
    first, second = classifier.judge(alone, NOW, 1, -3.1), classifier.judge(both, NOW, 1, -3.1)
    assert first.log10_lr[1:] == (0.0, 0.0, 0.0)
    assert second.log10_lr[0] == pytest.approx(first.log10_lr[0] * SLOPES[1, 3, 0], abs=1e-6)
    assert first.log10_lr[0] != 0.0
    assert second.log10_odds == -3.1 + sum(second.log10_lr)
    assert classifier.judge([absent(m) for m in MODALITIES], NOW, 0, -3.1).log10_odds == -3.1


def test_a_modality_that_was_not_learned_is_absent_and_says_so(classifier: Classifier) -> None:
    seen = [absent("vibration"), absent("co2"), measured("mmwave", 9.0), absent("xray")]
    assert classifier.admitted(seen)[2].cause == "not in this model"
    assert classifier.judge(seen, NOW, 0, -3.1).log10_lr == (0.0,) * 4


def test_an_input_that_is_no_number_never_reaches_the_model(classifier: Classifier) -> None:
    silence = [absent(m) for m in MODALITIES]
    with pytest.raises(NoNumber, match="context"):
        classifier.judge(silence, {"wind": float("nan"), "mass": 0.0}, 0, -3.1)
    with pytest.raises(NoNumber, match="lacks co2_1"):
        classifier.judge([silence[0], measured("co2", 0.5), *silence[2:]], NOW, 0, -3.1)


def test_a_changed_byte_is_refused_by_its_hash(model: onnx.ModelProto) -> None:
    data = model.SerializeToString()
    with pytest.raises(ModelRefused, match="SHA-256"):
        Classifier(data, replace(contract_of(data), sha256="0" * 64))


def test_features_in_another_order_are_found_by_the_check_set(model: onnx.ModelProto) -> None:
    data = model.SerializeToString()
    contract = contract_of(data)
    swapped = tuple(
        replace(c, features={**c.features, "vibration": c.features["vibration"][::-1]}) for c in contract.checks
    )
    with pytest.raises(ModelRefused, match="vibration gives"):
        Classifier(data, replace(contract, checks=swapped))


def broken(model: onnx.ModelProto, how: str) -> onnx.ModelProto:
    other = onnx.ModelProto()
    other.CopyFrom(model)
    graph = other.graph
    if how == "input named":
        graph.input[0].name = "vibrations"
    elif how == "width":
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
    elif how == "outputs swapped":
        first = onnx.ValueInfoProto()
        first.CopyFrom(graph.output[1])
        graph.output[1].CopyFrom(graph.output[2])
        graph.output[2].CopyFrom(first)
    elif how == "sum":
        for node in graph.node:
            if list(node.output) == ["logit"]:
                node.input[0] = "vibration_total"
    elif how == "nan":
        for table in graph.initializer:
            if table.name == "co2_bias_table":
                table.CopyFrom(onnx.numpy_helper.from_array(np.full(LOOKS, np.nan), table.name))
    elif how == "outside data":
        tensor = graph.initializer[0]
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="elsewhere.bin"))
    elif how == "foreign domain":
        other.opset_import.append(helper.make_opsetid("com.example", 1))
    elif how == "too new":
        other.ir_version = 99
    return other


@pytest.mark.parametrize(
    "how", ["input named", "width", "outputs swapped", "sum", "nan", "outside data", "foreign domain", "too new"]
)
def test_a_file_that_breaks_the_contract_is_refused_in_one_line(model: onnx.ModelProto, how: str) -> None:
    data = broken(model, how).SerializeToString()
    with pytest.raises(ModelRefused) as refusal:
        Classifier(data, contract_of(data))
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("test-1: ")


REFUSE = """
import sys, hashlib, pathlib
from fusion.classifier import *
data = pathlib.Path(sys.argv[1]).read_bytes()
names = {m: ("a",) for m in MODALITIES}
contract = Contract("m", hashlib.sha256(data).hexdigest(), names, ("c",), 1, frozenset(), ())
try:
    Classifier(data, contract)
except ModelRefused as refusal:
    print(refusal)
    raise SystemExit(7)
"""


@pytest.mark.parametrize("case", ["43-onnx-nan-score", "44-onnx-too-new", "47-onnx-contract-broken"])
def test_foreign_models_are_refused_without_a_crash(cases: Path, case: str) -> None:
    for file in sorted((cases / case).glob("*.onnx")):
        done = subprocess.run([sys.executable, "-c", REFUSE, str(file)], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout.count("\n")) == (7, 1), (file.name, done.stdout, done.stderr)
