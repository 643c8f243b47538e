"""The serving graph, written by hand: additive, float64, silence selected away.

For modality m with features x, context c and look l (SCIENCE 6.3)::

    raw_m   = b_m[l] + x . W_m[l] + c . V_m[l] + sum_jk x_j c_k M_m[l, j, k]
    lr_m    = cap tanh(raw_m / cap);    CO2 below its plateau: max(lr, 0): a rising probe may only raise
    log10_lr_m = where(measured_m, lr_m, 0)              (never a product: NaN x 0 is NaN)
    log10_odds = prior + sum_m log10_lr_m;   score = 1 / (1 + 10^-log10_odds)

The cap is soft, so that cases near it keep their order: thresholds are order statistics, and a hard cap ties them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fusion.verdict import MODALITIES

IR_VERSION, OPSET = 8, 17  # pinned: known to every runtime that we support
CAP_LOG10_LR = 1.5  # ARCHITECTURE: while the calibration set is simulated (assumed)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of one modality for L looks, F features, C context values; all float64.

    ``bias`` (L,), ``features`` (L, F), ``context`` (L, C), ``pairs`` (L, F, C). ``only_raises_below`` is the index of
    a 0-or-1 feature; where it is 0 the ratio may not fall below 0 (None: no such feature).
    """

    bias: NDArray[np.float64]
    features: NDArray[np.float64]
    context: NDArray[np.float64]
    pairs: NDArray[np.float64]
    only_raises_below: int | None = None


def log10_lr(weights: Weights, x: NDArray[np.float64], c: NDArray[np.float64], look: int) -> NDArray[np.float64]:
    """The same ratio in numpy: x (n, F), c (n, C) -> (n,). What the graph is tested against."""
    raw = weights.bias[look] + x @ weights.features[look] + c @ weights.context[look]
    raw = raw + np.einsum("nj,nk,jk->n", x, c, weights.pairs[look])
    ratio = CAP_LOG10_LR * np.tanh(raw / CAP_LOG10_LR)
    if weights.only_raises_below is not None:
        ratio = np.where(x[:, weights.only_raises_below] < 0.5, np.maximum(ratio, 0.0), ratio)
    return np.asarray(ratio, np.float64)


def build(name: str, weights: Mapping[str, Weights], widths: Mapping[str, int], context: int) -> onnx.ModelProto:
    """The model by the contract of ARCHITECTURE "Fusion". A modality without weights is always 0.

    Args:
        name: of the graph.
        weights: modality -> weights, for those that were learned.
        widths: modality -> number of features of its input, at least 1.
        context: number of context values.
    """
    parts = _Parts()
    parts.constant("zero", np.zeros(1))
    for index, modality in enumerate(MODALITIES):
        _modality(parts, modality, index, weights.get(modality))
    parts.node("Concat", [f"{m}_column" for m in MODALITIES], "log10_lr", axis=1)
    total = "prior_log10_odds"
    for modality in MODALITIES:  # one by one, so that the order of the sum is the order of the words
        step = "log10_odds" if modality == MODALITIES[-1] else f"{modality}_total"
        parts.node("Add", [total, f"{modality}_lr"], step)
        total = step
    parts.constant("ln10", np.array([log(10.0)]))
    parts.node("Mul", ["log10_odds", "ln10"], "logit")
    parts.node("Sigmoid", ["logit"], "score")
    return _model(name, parts, widths, context)


def _modality(parts: _Parts, m: str, index: int, weights: Weights | None) -> None:
    """Nodes from inputs to ``<m>_lr`` (N,) and ``<m>_column`` (N, 1)."""
    parts.constant("column", np.array([1], np.int64))
    parts.constant(f"{m}_index", np.array(index, np.int64))
    parts.node("Gather", ["measured", f"{m}_index"], f"{m}_spoke", axis=1)
    if weights is None:
        parts.node("Where", [f"{m}_spoke", "zero", "zero"], f"{m}_lr")
    else:
        _raw(parts, m, weights)
        parts.constant("cap", np.array(CAP_LOG10_LR))
        parts.node("Div", [f"{m}_raw", "cap"], f"{m}_in_caps")
        parts.node("Tanh", [f"{m}_in_caps"], f"{m}_bent")
        parts.node("Mul", [f"{m}_bent", "cap"], f"{m}_capped")
        ratio = _raises_only(parts, m, weights.only_raises_below)
        parts.node("Where", [f"{m}_spoke", ratio, "zero"], f"{m}_lr")
    parts.node("Unsqueeze", [f"{m}_lr", "column"], f"{m}_column")


def _raw(parts: _Parts, m: str, weights: Weights) -> None:
    looks = len(weights.bias)
    parts.constant("pair_x", np.array([2], np.int64))
    parts.constant("pair_c", np.array([1], np.int64))
    parts.constant(f"{m}_flat", np.array([-1, weights.pairs[0].size], np.int64))
    for part, table in (
        ("bias", weights.bias),
        ("features", weights.features),
        ("context", weights.context),
        ("pairs", weights.pairs.reshape(looks, -1)),
    ):
        parts.constant(f"{m}_{part}_table", np.asarray(table, np.float64))
        parts.node("Gather", [f"{m}_{part}_table", "look"], f"{m}_{part}", axis=0)
    parts.node("Unsqueeze", [m, "pair_x"], f"{m}_x")
    parts.node("Unsqueeze", ["context", "pair_c"], f"{m}_c")
    parts.node("Mul", [f"{m}_x", f"{m}_c"], f"{m}_outer")
    parts.node("Reshape", [f"{m}_outer", f"{m}_flat"], f"{m}_products")
    for part, against in (("features", m), ("context", "context"), ("pairs", f"{m}_products")):
        parts.node("Mul", [f"{m}_{part}", against], f"{m}_{part}_terms")
        parts.node("ReduceSum", [f"{m}_{part}_terms", "column"], f"{m}_{part}_sum", keepdims=0)
    parts.node("Add", [f"{m}_bias", f"{m}_features_sum"], f"{m}_raw_1")
    parts.node("Add", [f"{m}_raw_1", f"{m}_context_sum"], f"{m}_raw_2")
    parts.node("Add", [f"{m}_raw_2", f"{m}_pairs_sum"], f"{m}_raw")


def _raises_only(parts: _Parts, m: str, flag: int | None) -> str:
    if flag is None:
        return f"{m}_capped"
    parts.constant(f"{m}_flag_index", np.array(flag, np.int64))
    parts.constant("half", np.array(0.5))
    parts.node("Gather", [m, f"{m}_flag_index"], f"{m}_flag", axis=1)
    parts.node("Less", [f"{m}_flag", "half"], f"{m}_rising")
    parts.node("Max", [f"{m}_capped", "zero"], f"{m}_not_below")
    parts.node("Where", [f"{m}_rising", f"{m}_not_below", f"{m}_capped"], f"{m}_bounded")
    return f"{m}_bounded"


class _Parts:
    """Nodes and constants as they are named; a constant of the same name is made once."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output))
        self.nodes[-1].attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())

    def constant(self, name: str, value: NDArray[np.generic]) -> None:
        self.constants.setdefault(name, numpy_helper.from_array(value, name))


def _model(name: str, parts: _Parts, widths: Mapping[str, int], context: int) -> onnx.ModelProto:
    double = TensorProto.DOUBLE
    inputs = [helper.make_tensor_value_info(m, double, ["N", widths[m]]) for m in MODALITIES]
    inputs.append(helper.make_tensor_value_info("measured", TensorProto.BOOL, ["N", 4]))
    inputs.append(helper.make_tensor_value_info("context", double, ["N", context]))
    inputs.append(helper.make_tensor_value_info("look", TensorProto.INT64, ["N"]))
    inputs.append(helper.make_tensor_value_info("prior_log10_odds", double, ["N"]))
    outputs = [
        helper.make_tensor_value_info("log10_lr", double, ["N", 4]),
        helper.make_tensor_value_info("log10_odds", double, ["N"]),
        helper.make_tensor_value_info("score", double, ["N"]),
    ]
    graph = helper.make_graph(parts.nodes, name, inputs, outputs, list(parts.constants.values()))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="lanepulse")
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model, full_check=True)
    return model
