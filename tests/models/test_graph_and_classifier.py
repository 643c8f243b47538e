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
from models.curve import follow, soft_cap
from models.graph import AGAINST, CAP_LOG10_LR, FOR, HAIR, Weights, build, hinges, log10_lr, pattern_of

Feed = dict[str, NDArray[np.generic]]
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


SLOPES = np.random.default_rng(9).uniform(0.3, 1.0, (LOOKS, 16, 4, 2))
SLOPES[:, 1] = 1.0


def inputs(n: int, seed: int = 5) -> Feed:
    random = np.random.default_rng(seed)
    feed: Feed = {m: random.normal(size=(n, WIDTHS[m])) for m in MODALITIES}
    feed["co2"][:, 1] = random.integers(0, 2, n)
    feed["measured"] = random.integers(0, 2, (n, 4)).astype(bool)
    feed["context"] = random.normal(size=(n, 2))
    feed["look"] = random.integers(0, LOOKS, n)
    feed["prior_log10_odds"] = np.full(n, -3.1)
    return feed


def opened(model: onnx.ModelProto, threads: int = 1) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(model.SerializeToString(), options)


def run(model: onnx.ModelProto, feed: Feed) -> list[NDArray[np.float64]]:
    return list(opened(model).run(None, feed))


def bits(outputs: list[NDArray[np.float64]]) -> list[bytes]:
    return [output.tobytes() for output in outputs]


def due(m: str, x: NDArray[np.float64], c: NDArray[np.float64], look: int, pattern: int) -> float:
    """What numpy makes of one row: the ratio times the slope of its side."""
    ratio = float(log10_lr(WEIGHTS[m], x, c, look)[0])
    return ratio * float(SLOPES[look, pattern, MODALITIES.index(m), AGAINST if ratio < 0 else FOR])


def contract_of(model: bytes) -> Contract:
    feed = inputs(4)
    feed["measured"] = np.ones((4, 4), bool)
    checks = []
    for i in range(4):
        look = int(feed["look"][i])
        ratios = [
            due(m, feed[m][i : i + 1], feed["context"][i : i + 1], look, 15) if m in WEIGHTS else 0.0
            for m in MODALITIES
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
            pattern = int(pattern_of(feed["measured"][i : i + 1])[0])
            assert ratios[i, index] == pytest.approx(due(m, x, c, look, pattern) if spoke else 0.0, abs=1e-9)
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


@pytest.mark.parametrize("silent_one", MODALITIES)
@pytest.mark.parametrize("rubbish", [np.nan, np.inf, -np.inf])
def test_what_stands_in_a_silent_modality_changes_no_bit(
    model: onnx.ModelProto, silent_one: str, rubbish: float
) -> None:
    feed = inputs(50)
    feed["measured"][:, MODALITIES.index(silent_one)] = False
    clean = run(model, feed)
    for column in range(WIDTHS[silent_one]):
        spoilt = feed[silent_one].copy()
        spoilt[:, column] = rubbish
        assert bits(run(model, feed | {silent_one: spoilt})) == bits(clean)


def test_a_modality_without_weights_is_exactly_nothing_whatever_it_measured(model: onnx.ModelProto) -> None:
    feed = inputs(40)
    feed["measured"] = np.ones((40, 4), bool)
    feed["mmwave"], feed["xray"] = np.full((40, 1), np.nan), np.full((40, 1), 1e300)
    ratios, odds, _ = run(model, feed)
    assert ratios[:, 2:].tobytes() == np.zeros((40, 2)).tobytes()
    assert np.all(ratios[:, 0] != 0.0) and np.all(np.isfinite(odds))


def test_a_graph_without_any_weights_says_the_prior() -> None:
    ratios, odds, _ = run(build("nothing", {}, SLOPES, WIDTHS, 2), inputs(10))
    assert ratios.tobytes() == np.zeros((10, 4)).tobytes()
    assert odds.tobytes() == np.full(10, -3.1).tobytes()


def test_a_case_gives_the_same_bits_alone_and_in_a_batch(model: onnx.ModelProto) -> None:
    session, feed = opened(model), inputs(301)
    together = session.run(None, feed)
    for first, count in ((0, 1), (1, 1), (2, 3), (5, 7), (12, 288), (300, 1)):
        part = session.run(None, {name: values[first : first + count] for name, values in feed.items()})
        assert bits(part) == bits([output[first : first + count] for output in together])
    each = [session.run(None, {name: values[i : i + 1] for name, values in feed.items()}) for i in range(301)]
    assert bits([np.concatenate(column) for column in zip(*each, strict=True)]) == bits(together)


@pytest.mark.parametrize("rows", [1, 7, 301, 5003])
def test_two_threads_give_the_bits_of_one(model: onnx.ModelProto, rows: int) -> None:
    feed = inputs(rows)
    assert bits(opened(model, threads=2).run(None, feed)) == bits(opened(model, threads=1).run(None, feed))


@pytest.mark.parametrize("far", [1e3, 1e6, 1e12, 1e100])
def test_a_context_beyond_anything_seen_stays_at_the_cap(model: onnx.ModelProto, far: float) -> None:
    feed = inputs(200)
    feed["measured"] = np.ones((200, 4), bool)
    feed["context"] *= far
    ratios = run(model, feed)[0]
    for i in range(200):
        look, x, c = int(feed["look"][i]), feed["vibration"][i : i + 1], feed["context"][i : i + 1]
        assert ratios[i, 0] == pytest.approx(due("vibration", x, c, look, 15), abs=1e-9)


@pytest.mark.parametrize("caps", [(1.0, 0.4), (0.05, 0.05), (9.0, 9.0), (0.3, 9.0), (9.0, 0.1)])
def test_a_line_with_bends_is_the_capped_curve_wherever_the_knees_fall(caps: tuple[float, float]) -> None:
    random = np.random.default_rng(4)
    raw = np.concatenate([random.normal(size=2000) * 3, [-300.0, 300.0]])
    for _ in range(20):
        knots = np.cumsum(random.uniform(0.01, 0.5, 7)) - random.uniform(0.0, 3.0)
        values = np.cumsum(random.uniform(0.0, 0.9, 7) * (random.random(7) < 0.7)) - random.uniform(-1.0, 3.0)
        at, by = hinges(knots, values, *caps)
        over, under, above, below = (np.maximum(raw[:, None], at) @ by).T
        low, high = (0.25 * cap for cap in caps)
        assert over.min() >= -1e-15 and under.max() <= 1e-15
        found = (over + under) / HAIR + high * np.tanh(above) + low * np.tanh(below)
        assert np.max(np.abs(found - soft_cap(follow(raw, knots, values), *caps))) < 1e-10


def test_the_graph_is_small(model: onnx.ModelProto) -> None:
    """Each node costs a third of a microsecond, and the goal is three times an empty graph (`hil.bench.judging`)."""
    assert len(model.graph.node) <= 30
    assert {node.op_type for node in model.graph.node}.isdisjoint({"Sigmoid", "Exp"})  # their bits depend on the batch


def test_a_rising_probe_never_lowers(model: onnx.ModelProto) -> None:
    feed = inputs(300)
    feed["co2"][:, 1] = 0.0
    assert np.min(run(model, feed)[0][:, 1]) >= 0.0


def test_judging_adds_up_and_silence_is_bit_for_bit_nothing(classifier: Classifier) -> None:
    alone = [measured("vibration", 0.3, 0.2, 0.1), absent("co2"), absent("mmwave"), absent("xray")]
    both = [alone[0], measured("co2", 0.5, 1.0), absent("mmwave"), absent("xray")]
    first, second = classifier.judge(alone, NOW, 1, -3.1), classifier.judge(both, NOW, 1, -3.1)
    assert first.log10_lr[1:] == (0.0, 0.0, 0.0)
    assert second.log10_lr[0] == pytest.approx(
        first.log10_lr[0] * SLOPES[1, 3, 0, AGAINST if first.log10_lr[0] < 0 else FOR], abs=1e-6
    )
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
        for node in graph.node:
            node.input[:] = ["vibrations" if name == "vibration" else name for name in node.input]
    elif how == "width":
        graph.input[0].type.tensor_type.shape.dim[1].dim_value = 7
    elif how == "outputs swapped":
        first = onnx.ValueInfoProto()
        first.CopyFrom(graph.output[1])
        graph.output[1].CopyFrom(graph.output[2])
        graph.output[2].CopyFrom(first)
    elif how == "sum":
        for node in graph.node:
            if list(node.output) == ["log10_odds"]:
                node.input[0] = "said"
    elif how == "score":
        for node in graph.node:
            if list(node.output) == ["odds_against"]:
                node.input[1] = "prior_log10_odds"
    elif how == "nan":
        for table in graph.initializer:
            if table.name == "weight_table":
                spoilt = onnx.numpy_helper.to_array(table).copy()
                spoilt[:, MODALITIES.index("co2"), 0, 0] = np.nan
                table.CopyFrom(onnx.numpy_helper.from_array(spoilt, table.name))
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
    ("how", "why"),
    [
        ("input named", "inputs are vibrations, co2"),
        ("width", "vibration is tensor"),
        ("outputs swapped", "outputs are"),
        ("sum", "log10_odds is not the prior plus the sum"),
        ("score", "score is not the probability"),
        ("nan", "gave no number"),
        ("outside data", "tensors in other files"),
        ("foreign domain", "operators of com.example"),
        ("too new", "IR version 99"),
    ],
)
def test_a_file_that_breaks_the_contract_is_refused_in_one_line(model: onnx.ModelProto, how: str, why: str) -> None:
    data = broken(model, how).SerializeToString()
    with pytest.raises(ModelRefused, match=why) as refusal:
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
