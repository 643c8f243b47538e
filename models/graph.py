"""The serving graph, written by hand: additive, float64, silence selected away.

For modality m with features x, context c, look l, and the pattern p of modalities that spoke (SCIENCE 6.3)::

    z_m     = min(max(x[place] - low, 0), width): each feature in pieces, so that its weight may change along it, and
              nothing beyond what was ever seen rules
    raw_m   = b_m[l] + z . W_m[l] + c . V_m[l] + sum_jk z_j c_k M_m[l, j, k]
    cal_m   = a curve through knots (`models.curve.follow`), then a soft cap (`soft_cap`), both of m and l
    lr_m    = S[l, p, m, side] cal_m, the side being against or for a person;
              CO2 below its plateau: S max(cal, 0): a rising probe may only raise
    log10_lr_m = where(measured_m, lr_m, 0)              (never a product: NaN x 0 is NaN)
    log10_odds = prior + sum_m log10_lr_m;   score = 1 / (1 + 10^-log10_odds)

The cap is soft, so that cases near it keep their order: thresholds are order statistics, and a hard cap ties them.

**How the graph says it.** A node costs more than the arithmetic in it, so all modalities go through the same few nodes,
in tensors (N, 4, ...) filled up with what weighs nothing; a NaN stays in the row of the modality that brought it::

    x       = features of the four, context: a row a case
    pieces  = min(max(x[place], low), low + width)       (N, 4, 1, P): the constant 1, c, and z with `low` left on it
    weights = (1, c) @ table[l]                          (N, 4, 1, P): 1 gives b, V, W, less what `low` adds; c gives M
    raw     = sum(pieces weights)                        (N, 4, 1, 1), held within FAR
    bends   = max(raw, knots[l]) @ rises[l]              (N, 4, 1, 4): a line with bends is a sum of ``max(raw, knot)``:
              between the knees, for and against; above, and below them
    lr      = sum(tanh(bends) scale[l, p])               (N, 4)

The soft cap is ``inner + up tanh(above / up) + down tanh(below / down)``, and inner, above and below are lines with
bends. They share one tanh: inner goes in as a HAIR of itself, of which tanh is the identity, and the scale undoes it.

**Bits.** A case must give the same bits alone and in a batch. The runtime computes tanh in packets of up to 8 doubles,
and what is left over by other code, which rounds otherwise: so a case has 16 bends. The score is a power, which is
computed one by one, and not a sigmoid, which goes in packets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from fusion.verdict import MODALITIES
from models.curve import KNEE, follow, segments, soft_cap

IR_VERSION, OPSET = 8, 17  # pinned: known to every runtime that we support
CAP_LOG10_LR = 1.5  # ARCHITECTURE: while the calibration set is simulated (assumed)
PATTERNS = 1 << len(MODALITIES)
BENDS = 4  # for and against between the knees, above, below: 16 a case are whole packets of any processor
AGAINST, FOR = 0, 1  # sides of a slope
HAIR = 2.0**-24  # tanh(HAIR x) / HAIR is x to 1e-15
FAR = 2.0**12  # assumed: raw scores are within 30; here every cap is reached, and sums of bends are exact to 1e-10
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
    """Slopes of 1 for every look, pattern, modality and side."""
    return np.ones((looks, PATTERNS, len(MODALITIES), 2))


def build(
    name: str, weights: Mapping[str, Weights], slopes: Floats, widths: Mapping[str, int], context: int
) -> onnx.ModelProto:
    """The model by the contract of ARCHITECTURE "Fusion". A modality without weights is always 0.

    Args:
        name: of the graph.
        weights: modality -> weights, for those that were learned.
        slopes: (L, 16, 4, 2), of look, pattern, modality and side (`AGAINST`, `FOR`).
        widths: modality -> number of features of its input, at least 1.
        context: number of context values.
    """
    firsts = np.cumsum([0, *(widths[m] for m in MODALITIES)]).tolist()
    columns = dict(zip((*MODALITIES, "context"), firsts, strict=True))  # where each begins in x
    parts = _Parts()
    parts.node("Concat", [*columns], "x", axis=1)
    _raw(parts, weights, columns, context, len(slopes))
    _curve(parts, weights, len(slopes))
    _scale(parts, weights, slopes)
    parts.node("Tanh", ["bends"], "bent")
    parts.node("Mul", ["bent", "scale"], "shares")
    parts.node("ReduceSum", ["shares", parts.constant("last_two", np.array([2, 3]))], "capped", keepdims=0)
    ratio = _raises_only(parts, weights, columns)
    parts.node("Where", ["measured", ratio, parts.constant("zero", np.zeros(1))], "log10_lr")
    parts.node("ReduceSum", ["log10_lr", parts.constant("modalities", np.array([1]))], "said", keepdims=0)
    parts.node("Add", ["prior_log10_odds", "said"], "log10_odds")
    parts.node("Pow", [parts.constant("tenth", np.array(0.1)), "log10_odds"], "odds_against")
    parts.node("Add", ["odds_against", parts.constant("one", np.ones(1))], "cases_a_person")
    parts.node("Reciprocal", ["cases_a_person"], "score")
    return _model(name, parts, widths, context)


def _raw(parts: _Parts, weights: Mapping[str, Weights], columns: Mapping[str, int], context: int, looks: int) -> None:
    """``raw`` (N, 4, 1, 1); where a modality has fewer pieces than another, empty ones look at the context."""
    factors = 1 + context
    count = factors + max((len(w.place) for w in weights.values()), default=0)
    place, low, high = np.full((4, 1, count), columns["context"]), np.zeros((4, 1, count)), np.zeros((4, 1, count))
    place[..., 1:factors] += np.arange(context)
    low[..., 0], low[..., 1:factors] = 1.0, -np.inf
    high[..., 0], high[..., 1:factors] = 1.0, np.inf
    table = np.zeros((looks, 4, factors, count))
    for index, m in enumerate(MODALITIES):
        if (w := weights.get(m)) is not None:
            own = slice(factors, factors + len(w.place))
            place[index, 0, own] = columns[m] + w.place
            low[index, 0, own], high[index, 0, own] = w.low, w.low + w.width
            table[:, index, 0, own], table[:, index, 1:, own] = w.features, w.pairs.swapaxes(1, 2)
            table[:, index, 0, 0] = w.bias - w.features @ w.low
            table[:, index, 0, 1:factors] = w.context - np.einsum("ljk,j->lk", w.pairs, w.low)
    parts.node("Gather", ["x", parts.constant("place", place)], "placed", axis=1)
    parts.node("Max", ["placed", parts.constant("low", low)], "not_below")
    parts.node("Min", ["not_below", parts.constant("high", high)], "pieces")
    parts.node("Gather", ["pieces", parts.constant("factor_places", np.arange(factors))], "factors", axis=3)
    parts.of_look("weight_table", table, "weights")
    parts.node("MatMul", ["factors", "weights"], "weights_now")
    parts.node("Mul", ["pieces", "weights_now"], "terms")
    parts.node("ReduceSum", ["terms", parts.constant("last", np.array([3]))], "sum_of_terms", keepdims=1)
    far = parts.constant("least", np.array(-FAR)), parts.constant("most", np.array(FAR))
    parts.node("Clip", ["sum_of_terms", *far], "raw")


def _curve(parts: _Parts, weights: Mapping[str, Weights], looks: int) -> None:
    """``bends`` (N, 4, 1, 4): what the curve gives between the knees (a hair of it, by its sign), above and below."""
    count = 3 + max((w.knots.shape[1] for w in weights.values()), default=0)
    knots, rises = np.zeros((looks, 4, 1, count)), np.zeros((looks, 4, count, BENDS))
    for index, m in enumerate(MODALITIES):
        if (w := weights.get(m)) is not None:
            for look in range(looks):
                at, by = hinges(w.knots[look], w.values[look], *w.caps[look].tolist())
                knots[look, index, 0, : len(at)], rises[look, index, : len(at)] = at, by
    parts.of_look("knot_table", knots, "knots")
    parts.of_look("rise_table", rises, "rises")
    parts.node("Max", ["raw", "knots"], "past")
    parts.node("MatMul", ["past", "rises"], "bends")


def hinges(knots: Floats, values: Floats, low: float, high: float) -> tuple[Floats, Floats]:
    """`follow`, and `soft_cap` up to its tanh, as ``max(raw, at) @ by``: at (K + 3,) and by (K + 3, 4).

    The four: a HAIR of the value between the knees, where it is over and where it is under 0; what is above them, and
    what is below, each over its room. The first of ``at`` makes the constant, the second the slope of the far left; the
    others are where a slope changes.
    """
    _, slopes, _ = segments(knots, values)
    floor, ceiling = -KNEE * low, KNEE * high
    ends = [_reaches(level, knots, values) for level in (floor, 0.0, ceiling)]
    at = np.sort(np.concatenate([knots[1:-1], ends]))
    middles = np.concatenate([[at[0] - 1.0], (at[1:] + at[:-1]) / 2, [at[-1] + 1.0]])
    steep = slopes[np.searchsorted(knots[1:-1], middles)]
    value = follow(middles, knots, values)
    between = (floor <= value) & (value <= ceiling)
    sides = np.stack([between & (value > 0), between & (value <= 0), value > ceiling, value < floor], axis=1)
    units = np.array([HAIR, HAIR, 1 / ((1 - KNEE) * high), 1 / ((1 - KNEE) * low)])
    steep_by_side = steep[:, None] * sides * units
    first = follow(at[:1], knots, values)[0]
    inner = min(max(first, floor), ceiling)
    begin = np.array([max(inner, 0.0), min(inner, 0.0), max(first - ceiling, 0.0), min(first - floor, 0.0)]) * units
    by = np.concatenate([steep_by_side[:1], np.diff(steep_by_side, axis=0)])
    constant = begin - np.concatenate([at[:1], at]) @ by
    return np.concatenate([[FAR, -FAR], at]), np.concatenate([constant[None] / FAR, by])


def _reaches(level: float, knots: Floats, values: Floats) -> float:
    """The raw score at which the curve comes to ``level``, at most FAR off."""
    if values[0] <= level <= values[-2]:
        return float(np.interp(level, values[:-1], knots[:-1]))
    end, other = (0, 1) if level < values[0] else (-2, -1)
    slope = (values[other] - values[end]) / (knots[other] - knots[end])
    if slope <= 0.0:  # never: where it does not matter
        return FAR if end else -FAR
    return float(np.clip(knots[end] + (level - values[end]) / slope, -FAR, FAR))


def _scale(parts: _Parts, weights: Mapping[str, Weights], slopes: Floats) -> None:
    """``scale`` (N, 4, 1, 4): what a bend is worth for this look and this pattern of who spoke."""
    table = np.zeros((len(slopes), PATTERNS, 4, 1, BENDS))
    for index, m in enumerate(MODALITIES):
        if (w := weights.get(m)) is not None:
            low, high = (1 - KNEE) * w.caps.T
            worth = np.stack([np.full(len(low), 1 / HAIR), np.full(len(low), 1 / HAIR), high, low], axis=1)
            table[:, :, index, 0] = slopes[:, :, index, [FOR, AGAINST, FOR, AGAINST]] * worth[:, None, :]
    by_bit = table.reshape(-1, 2, 2, 2, 2, 4, 1, BENDS).transpose(0, 4, 3, 2, 1, 5, 6, 7)  # the last bit counts most
    parts.of_look("scale_table", np.ascontiguousarray(by_bit), "scales")
    parts.node("Cast", ["measured"], "bits", to=TensorProto.INT64)
    parts.node("GatherND", ["scales", "bits"], "scale", batch_dims=1)


def _raises_only(parts: _Parts, weights: Mapping[str, Weights], columns: Mapping[str, int]) -> str:
    """The ratios, (N, 4), that are not below 0 where a flag says so."""
    flags = {m: w.only_raises_below for m, w in weights.items() if w.only_raises_below is not None}
    if not flags:
        return "capped"
    place = [columns[m] + flags.get(m, 0) for m in MODALITIES]
    least = [0.5 if m in flags else -np.inf for m in MODALITIES]
    parts.node("Gather", ["x", parts.constant("flag_place", np.array(place))], "flags", axis=1)
    parts.node("Less", ["flags", parts.constant("flag_least", np.array(least))], "rising")
    parts.node("Relu", ["capped"], "not_against")
    parts.node("Where", ["rising", "not_against", "capped"], "bounded")
    return "bounded"


class _Parts:
    """Nodes and constants as they are named."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def node(self, kind: str, inputs: list[str], output: str, **attributes: int) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output))
        self.nodes[-1].attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants[name] = numpy_helper.from_array(value, name)
        return name

    def of_look(self, name: str, table: Floats, output: str) -> None:
        """The row of ``table`` (L, ...) for this look, as ``output``."""
        self.node("Gather", [self.constant(name, table), "look"], output, axis=0)


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
