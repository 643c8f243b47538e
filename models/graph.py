"""The serving graph, written by hand: additive, float64, silence selected away.

For modality m with features x, context c, look l, and the pattern p of modalities that spoke (SCIENCE 6.3)::

    z_m     = min(max(x[place] - low, 0), width): each feature in pieces, so that its weight may change along it, and
              nothing beyond what was ever seen rules
    raw_m   = b_m[l] + z . W_m[l] + c . V_m[l] + sum_jk z_j c_k M_m[l, j, k]
    cal_m   = a curve through knots (`models.curve.follow`), then a soft cap (`soft_cap`), both of m and l
    lr_m    = S[l, p, m] cal_m;     CO2 below its plateau: S max(cal, 0): a rising probe may only raise
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
from models.curve import KNEE, follow, segments, soft_cap

IR_VERSION, OPSET = 8, 17  # pinned: known to every runtime that we support
CAP_LOG10_LR = 1.5  # ARCHITECTURE: while the calibration set is simulated (assumed)
PATTERNS = 1 << len(MODALITIES)
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of one modality for L looks, B pieces of features, C context values, K knots; all float64.

    ``place`` (B,) int64, ``low`` and ``width`` (B,): which feature a piece is of, and where on it. ``bias`` (L,),
    ``features`` (L, B), ``context`` (L, C), ``pairs`` (L, B, C), ``knots`` and ``values`` (L, K), ``caps`` (L, 2): how
    far down and how far up. ``only_raises_below`` is the index of a 0-or-1 feature; where it is 0 the ratio may not
    fall below 0 (None: no such feature).
    """

    place: NDArray[np.int64]
    low: Floats
    width: Floats
    bias: Floats
    features: Floats
    context: Floats
    pairs: Floats
    knots: Floats
    values: Floats
    caps: Floats
    only_raises_below: int | None = None


def pieces(x: Floats, place: NDArray[np.int64], low: Floats, width: Floats) -> Floats:
    """How far each feature has come along each of its pieces: x (n, F) -> (n, B)."""
    return np.asarray(np.minimum(np.maximum(x[:, place] - low, 0.0), width), np.float64)


def raw_score(weights: Weights, x: Floats, c: Floats, look: int) -> Floats:
    """The linear part in numpy: x (n, F), c (n, C) -> (n,)."""
    z = pieces(x, weights.place, weights.low, weights.width)
    raw = weights.bias[look] + z @ weights.features[look] + c @ weights.context[look]
    return np.asarray(raw + np.einsum("nj,nk,jk->n", z, c, weights.pairs[look]), np.float64)


def log10_lr(weights: Weights, x: Floats, c: Floats, look: int) -> Floats:
    """The calibrated ratio before any pattern's slope: x (n, F), c (n, C) -> (n,). What the graph is tested against."""
    value = follow(raw_score(weights, x, c, look), weights.knots[look], weights.values[look])
    ratio = soft_cap(value, *(float(cap) for cap in weights.caps[look]))
    if weights.only_raises_below is not None:
        ratio = np.where(x[:, weights.only_raises_below] < 0.5, np.maximum(ratio, 0.0), ratio)
    return np.asarray(ratio, np.float64)


def pattern_of(measured: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of the pattern of modalities that spoke, (n, 4) -> (n,)."""
    return np.asarray(measured.astype(np.int64) @ (1 << np.arange(len(MODALITIES))), np.int64)


def no_slopes(looks: int) -> Floats:
    """Slopes of 1 for every look, pattern and modality."""
    return np.ones((looks, PATTERNS, len(MODALITIES)))


def build(
    name: str, weights: Mapping[str, Weights], slopes: Floats, widths: Mapping[str, int], context: int
) -> onnx.ModelProto:
    """The model by the contract of ARCHITECTURE "Fusion". A modality without weights is always 0.

    Args:
        name: of the graph.
        weights: modality -> weights, for those that were learned.
        slopes: (L, 16, 4), of look, pattern and modality.
        widths: modality -> number of features of its input, at least 1.
        context: number of context values.
    """
    parts = _Parts()
    parts.constant("zero", np.zeros(1))
    parts.constant("column", np.array([1], np.int64))
    _slopes(parts, slopes)
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


def _slopes(parts: _Parts, slopes: Floats) -> None:
    """``slopes`` (N, 4): of this look and this pattern."""
    parts.constant("slope_table", np.ascontiguousarray(slopes.reshape(-1, len(MODALITIES))))
    parts.constant("powers", (1 << np.arange(len(MODALITIES))).astype(np.int64)[None, :])
    parts.constant("patterns", np.array([PATTERNS], np.int64))
    parts.node("Cast", ["measured"], "measured_number", to=TensorProto.INT64)
    parts.node("Mul", ["measured_number", "powers"], "pattern_bits")
    parts.node("ReduceSum", ["pattern_bits", "column"], "pattern", keepdims=0)
    parts.node("Mul", ["look", "patterns"], "look_row")
    parts.node("Add", ["look_row", "pattern"], "slope_row")
    parts.node("Gather", ["slope_table", "slope_row"], "slopes", axis=0)


def _modality(parts: _Parts, m: str, index: int, weights: Weights | None) -> None:
    """Nodes from inputs to ``<m>_lr`` (N,) and ``<m>_column`` (N, 1)."""
    parts.constant(f"{m}_index", np.array(index, np.int64))
    parts.node("Gather", ["measured", f"{m}_index"], f"{m}_spoke", axis=1)
    if weights is None:
        parts.node("Where", [f"{m}_spoke", "zero", "zero"], f"{m}_lr")
    else:
        _raw(parts, m, weights)
        _curve(parts, m, weights)
        _cap(parts, m, weights)
        ratio = _raises_only(parts, m, weights.only_raises_below)
        parts.node("Gather", ["slopes", f"{m}_index"], f"{m}_slope", axis=1)
        parts.node("Mul", [ratio, f"{m}_slope"], f"{m}_sloped")
        parts.node("Where", [f"{m}_spoke", f"{m}_sloped", "zero"], f"{m}_lr")
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
        _of_look(parts, f"{m}_{part}", table)
    parts.constant(f"{m}_place", np.asarray(weights.place, np.int64))
    parts.constant(f"{m}_low", np.asarray(weights.low, np.float64))
    parts.constant(f"{m}_width", np.asarray(weights.width, np.float64))
    parts.node("Gather", [m, f"{m}_place"], f"{m}_placed", axis=1)
    parts.node("Sub", [f"{m}_placed", f"{m}_low"], f"{m}_along")
    parts.node("Max", [f"{m}_along", "zero"], f"{m}_along_from_0")
    parts.node("Min", [f"{m}_along_from_0", f"{m}_width"], f"{m}_pieces")
    parts.node("Unsqueeze", [f"{m}_pieces", "pair_x"], f"{m}_x")
    parts.node("Unsqueeze", ["context", "pair_c"], f"{m}_c")
    parts.node("Mul", [f"{m}_x", f"{m}_c"], f"{m}_outer")
    parts.node("Reshape", [f"{m}_outer", f"{m}_flat"], f"{m}_products")
    for part, against in (("features", f"{m}_pieces"), ("context", "context"), ("pairs", f"{m}_products")):
        parts.node("Mul", [f"{m}_{part}", against], f"{m}_{part}_terms")
        parts.node("ReduceSum", [f"{m}_{part}_terms", "column"], f"{m}_{part}_sum", keepdims=0)
    parts.node("Add", [f"{m}_bias", f"{m}_features_sum"], f"{m}_raw_1")
    parts.node("Add", [f"{m}_raw_1", f"{m}_context_sum"], f"{m}_raw_2")
    parts.node("Add", [f"{m}_raw_2", f"{m}_pairs_sum"], f"{m}_raw")


def _curve(parts: _Parts, m: str, weights: Weights) -> None:
    """``<m>_value``: `models.curve.follow` of ``<m>_raw``."""
    made = [segments(knots, values) for knots, values in zip(weights.knots, weights.values, strict=True)]
    _of_look(parts, f"{m}_starts", np.array([start for start, _, _ in made]))
    _of_look(parts, f"{m}_slopes", np.stack([slopes for _, slopes, _ in made]))
    _of_look(parts, f"{m}_widths", np.stack([widths for _, _, widths in made]))
    _of_look(parts, f"{m}_knots", weights.knots[:, :-1])
    _of_look(parts, f"{m}_first_knot", weights.knots[:, 0])
    _of_look(parts, f"{m}_first_slope", np.stack([slopes[0] for _, slopes, _ in made]))
    parts.node("Unsqueeze", [f"{m}_raw", "column"], f"{m}_raw_column")
    parts.node("Sub", [f"{m}_raw_column", f"{m}_knots"], f"{m}_past")
    parts.node("Max", [f"{m}_past", "zero"], f"{m}_past_none")
    parts.node("Min", [f"{m}_past_none", f"{m}_widths"], f"{m}_steps")
    parts.node("Mul", [f"{m}_steps", f"{m}_slopes"], f"{m}_rises")
    parts.node("ReduceSum", [f"{m}_rises", "column"], f"{m}_risen", keepdims=0)
    parts.node("Sub", [f"{m}_raw", f"{m}_first_knot"], f"{m}_from_first")
    parts.node("Min", [f"{m}_from_first", "zero"], f"{m}_before_first")
    parts.node("Mul", [f"{m}_first_slope", f"{m}_before_first"], f"{m}_fallen")
    parts.node("Add", [f"{m}_starts", f"{m}_fallen"], f"{m}_lower_end")
    parts.node("Add", [f"{m}_lower_end", f"{m}_risen"], f"{m}_value")


def _cap(parts: _Parts, m: str, weights: Weights) -> None:
    """``<m>_capped``: `models.curve.soft_cap` of ``<m>_value``."""
    low, high = weights.caps[:, 0], weights.caps[:, 1]
    for name, table in (
        ("low_knee", -KNEE * low), ("high_knee", KNEE * high), ("low_room", (1 - KNEE) * low),
        ("high_room", (1 - KNEE) * high),
    ):  # fmt: skip
        _of_look(parts, f"{m}_{name}", table)
    parts.node("Max", [f"{m}_value", f"{m}_low_knee"], f"{m}_not_too_low")
    parts.node("Min", [f"{m}_not_too_low", f"{m}_high_knee"], f"{m}_inner")
    parts.node("Sub", [f"{m}_value", f"{m}_inner"], f"{m}_over")
    for side, pick in (("high", "Max"), ("low", "Min")):
        parts.node(pick, [f"{m}_over", "zero"], f"{m}_{side}_over")
        parts.node("Div", [f"{m}_{side}_over", f"{m}_{side}_room"], f"{m}_{side}_share")
        parts.node("Tanh", [f"{m}_{side}_share"], f"{m}_{side}_bent_share")
        parts.node("Mul", [f"{m}_{side}_room", f"{m}_{side}_bent_share"], f"{m}_{side}_bent")
    parts.node("Add", [f"{m}_high_bent", f"{m}_low_bent"], f"{m}_bent")
    parts.node("Add", [f"{m}_inner", f"{m}_bent"], f"{m}_capped")


def _of_look(parts: _Parts, name: str, table: Floats) -> None:
    """The row of ``table`` for this look, as ``name``."""
    parts.constant(f"{name}_table", np.ascontiguousarray(table, np.float64))
    parts.node("Gather", [f"{name}_table", "look"], name, axis=0)


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
