from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper

from edge import active_model
from edge.cli.main import run
from edge.models.acceptance import accept
from edge.models.source import RELEASED, read_source
from fusion.classifier import ModelRefused

from .conftest import Made


def renamed(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = "vibrations"
    for node in model.graph.node:
        for place, name in enumerate(node.input):
            if name == "vibration":
                node.input[place] = "vibrations"


def outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.append(onnx.StringStringEntryProto(key="location", value="elsewhere.bin"))


def opset_99(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 99


def not_a_number(model: onnx.ModelProto) -> None:
    for table in model.graph.initializer:
        if table.name == "weight_table":
            values = np.full_like(numpy_helper.to_array(table), np.nan)
            table.CopyFrom(numpy_helper.from_array(values, table.name))


def sum_off(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        if list(node.output) == ["log10_odds"]:
            node.input[1] = "prior_log10_odds"


def endless(model: onnx.ModelProto) -> None:
    """A loop that never ends, on the way of the prior."""
    count = helper.make_tensor_value_info("i", TensorProto.INT64, [])
    going, still = (helper.make_tensor_value_info(name, TensorProto.BOOL, []) for name in ("going", "still"))
    value, after = (helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None]) for name in ("v", "w"))
    nodes = [helper.make_node("Identity", ["going"], ["still"]), helper.make_node("Identity", ["v"], ["w"])]
    body = helper.make_graph(nodes, "body", [count, going, value], [still, after])
    model.graph.node.insert(0, helper.make_node("Loop", ["", "", "prior_log10_odds"], ["for_ever"], body=body))
    for node in model.graph.node[1:]:
        for place, name in enumerate(node.input):
            if name == "prior_log10_odds":
                node.input[place] = "for_ever"


def hungry(model: onnx.ModelProto) -> None:
    """A table of 8 TB is folded at loading."""
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20], np.int64), "huge_shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("ConstantOfShape", ["huge_shape"], ["huge"]))
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "huge_zero")
    model.graph.initializer.append(zero)
    model.graph.node.append(helper.make_node("Add", ["huge", "huge_zero"], ["huger"]))
    model.graph.output.append(helper.make_tensor_value_info("huger", TensorProto.FLOAT, [None, None]))


def keeps_concealment_2_active(made: Made, path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """Activate a good one, then the bad one; the one line that refuses it."""
    assert run(["models", "activate", str(made.model()), "--root", str(made.root), "--yes"]) == 0
    active = made.store.active()
    capfd.readouterr()
    assert run(["models", "activate", str(path), "--root", str(made.root), "--yes"]) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1
    assert made.store.active() == active and f"{active} stays active" in err
    return err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (renamed, "inputs are vibrations"),
        (outside, "keeps tensors in other files"),
        (opset_99, "operator set 99; this lane runs 17-21"),
        (not_a_number, "model gave no number"),
        (sum_off, "log10_odds is not the prior plus the sum"),
        (endless, "operator Loop is control flow, which may never end"),
        (hungry, "bad"),
    ],
)
def test_a_model_that_breaks_its_contract_is_refused_and_the_last_good_one_stays(
    made: Made, change: Callable[[onnx.ModelProto], None], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = made.model("bad-1", change)
    assert said in keeps_concealment_2_active(made, bad, capfd)


def words_of(change: Callable[[dict[str, Any]], object]) -> bytes:
    words = json.loads(RELEASED.with_suffix(".json").read_bytes())
    change(words)
    return json.dumps(words).encode()


def swap(words: dict[str, Any]) -> None:
    names = words["features"]["vibration"]
    names[0], names[1] = names[1], names[0]
    for check in words["checks"]:
        row = check["features"]["vibration"]
        row[0], row[1] = row[1], row[0]


GOOD = RELEASED.with_suffix(".json").read_bytes()
LIES = {
    "no hash": (words_of(lambda words: words.pop("sha256")), "sha256"),
    "wrong hash": (words_of(lambda words: words.update(sha256="0" * 64)), "SHA-256"),
    "negative cap": (words_of(lambda words: words.update(cap_log10_lr=-1)), "cap_log10_lr"),
    "negative count": (words_of(lambda words: words["tails"][0].update(empty=-1)), "tails.0.empty"),
    "a name twice": (GOOD.replace(b"{", b'{"name": "a", ', 1), "'name' is given twice"),
    "NaN": (words_of(lambda words: words.update(cap_log10_lr=float("nan"))), "NaN is not a JSON number"),
    "an unknown key": (words_of(lambda words: words.update(prior="1/3")), "prior"),
    "features in another order": (words_of(swap), "vibration gives"),
    "other check set": (words_of(lambda w: w["checks"][0].update(log10_lr=[0.5, 0, 0, 0])), "the manifest says"),
    "no check set": (words_of(lambda words: words.update(checks=[])), "checks"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_manifest_that_lies_is_refused_though_it_is_signed(
    made: Made, lie: str, capfd: pytest.CaptureFixture[str]
) -> None:
    manifest, said = LIES[lie]
    assert said in keeps_concealment_2_active(made, made.write("lie-1", RELEASED.read_bytes(), manifest), capfd)


def test_a_model_by_a_stranger_is_refused(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    bad = made.model("theirs-1", key=Ed25519PrivateKey.generate())
    assert "by no trusted key (trusted: release, ours)" in keeps_concealment_2_active(made, bad, capfd)


def test_an_unsigned_model_is_refused_on_a_lane_and_weighed_at_a_desk(
    made: Made, capfd: pytest.CaptureFixture[str]
) -> None:
    bad = made.model("candidate-1")
    bad.with_suffix(".sig").unlink()
    assert "not signed" in keeps_concealment_2_active(made, bad, capfd)
    assert active_model.load(bad).name == "candidate-1"
    with pytest.raises(ModelRefused, match="not signed"):
        active_model.load(bad, made.places)


def test_verify_tells_the_good_from_the_bad(made: Made, capfd: pytest.CaptureFixture[str]) -> None:
    files = [str(made.model()), str(made.model("bad-1", renamed))]
    assert run(["models", "verify", *files, "--json", "--root", str(made.root)]) == 1
    told = json.loads(capfd.readouterr().out)
    assert not told["ok"]
    assert [(row["signed_by"], row["fault"] is None) for row in told["models"]] == [("ours", True), (None, False)]
    assert run(["models", "verify", "--root", str(made.root)]) == 0
    assert capfd.readouterr().out == "released: good: simulated, signed by release\n"


def test_a_model_that_takes_too_long_is_refused(made: Made) -> None:
    with pytest.raises(ModelRefused, match=r"not accepted within 0\.001 s"):
        accept(read_source(made.model()), limit_s=0.001)


@pytest.mark.parametrize("case", ["43-onnx-nan-score", "44-onnx-too-new", "47-onnx-contract-broken"])
def test_no_foreign_model_is_accepted_even_if_we_signed_it(made: Made, cases: Path, case: str) -> None:
    for number, file in enumerate(sorted((cases / case).glob("*.onnx"))):
        with pytest.raises(ModelRefused) as refusal:
            accept(read_source(made.files(f"foreign-{number}", file.read_bytes())))
        assert "\n" not in str(refusal.value), file.name


def test_no_manifest_that_lies_is_accepted_even_if_we_signed_it(
    made: Made, cases: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = cases / "51-manifest-lies"
    model = (folder / "model.onnx").read_bytes()
    for file in sorted(folder.glob("*.json")):
        with pytest.raises(ModelRefused) as refusal:
            active_model.load(made.write(file.stem, model, file.read_bytes()), made.places)
        assert "manifest" in str(refusal.value), file.name
