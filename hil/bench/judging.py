"""One inference beside an empty graph of the same inputs, and a bundle weighed beside its records decoded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from time import process_time

import numpy as np
import onnxruntime as ort
import pymseed
from numpy.typing import NDArray
from onnx import TensorProto, helper

from edge import active_model
from edge.dataset import weighed
from edge.models.source import RELEASED, read_source
from edge.replay import Weighing
from fusion.policy import Policy
from fusion.runtime import THREADS
from fusion.verdict import MODALITIES
from hil.bench.measure import Row, paired_ms
from hil.bench.passages import SECONDS, write_passages

RUNS, AT_ONCE = 200, 20  # inferences are timed in twenties: one is shorter than the clock is sure
BUNDLES = 12
ELEMENTS = {"tensor(double)": TensorProto.DOUBLE, "tensor(bool)": TensorProto.BOOL, "tensor(int64)": TensorProto.INT64}


def rows() -> list[Row]:
    """Two rows, both of one core."""
    return [_inference(), _evaluation()]


def _inference() -> Row:
    source = read_source(RELEASED)
    contract = source.read_manifest().contract()
    given: dict[str, NDArray[np.generic]] = {name: np.zeros((1, len(contract.features[name]))) for name in MODALITIES}
    given |= {"measured": np.ones((1, 4), np.bool_), "context": np.zeros((1, len(contract.context)))}
    given |= {"look": np.zeros(1, np.int64), "prior_log10_odds": np.full(1, -3.1)}
    model = _session(source.model)
    empty = _session(_empty_like(model))
    outputs = [part.name for part in model.get_outputs()]

    def run(session: ort.InferenceSession) -> None:
        for _ in range(AT_ONCE):
            session.run(outputs, given)

    measured, floor = paired_ms(lambda: run(model), lambda: run(empty), RUNS, process_time)
    what = "one inference of the released model"
    return Row(what, 1e3 * measured / AT_ONCE, 1e3 * floor / AT_ONCE, "us", "an empty graph of its inputs (goal: 3 x)")


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _empty_like(model: ort.InferenceSession) -> bytes:
    """The same inputs and outputs, and nothing in between but what makes an output of an input."""
    inputs = [helper.make_tensor_value_info(p.name, ELEMENTS[p.type], p.shape) for p in model.get_inputs()]
    outputs = [helper.make_tensor_value_info(p.name, ELEMENTS[p.type], p.shape) for p in model.get_outputs()]
    double = [p.name for p in model.get_inputs() if p.type == "tensor(double)"]
    wide = "context"  # any of two axes
    nodes = [
        helper.make_node("Identity", ["prior_log10_odds" if len(p.shape) == 1 else wide], [p.name])
        for p in model.get_outputs()
    ]
    if wide not in double:
        raise RuntimeError("bench: the model has no context")
    for info, part in zip(outputs, model.get_outputs(), strict=True):
        if len(part.shape) == 2:  # as wide as what it is made of
            info.CopyFrom(helper.make_tensor_value_info(part.name, TensorProto.DOUBLE, [None, None]))
    graph = helper.make_graph(nodes, "empty", inputs, outputs)
    return bytes(
        helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    )


def _evaluation() -> Row:
    weighing = Weighing(active_model.load(None), Policy())
    with tempfile.TemporaryDirectory(prefix="lanepulse-bench-") as folder:
        paths = write_passages(Path(folder), BUNDLES)
        measured, floor = paired_ms(
            lambda: [weighed(path, weighing) for path in paths],
            lambda: [pymseed.MS3TraceList.from_file(str(path / "vibration.mseed"), unpack_data=True) for path in paths],
            5,
            process_time,
        )
    each, real = measured / BUNDLES, 1e3 * SECONDS
    what = f"evaluated a second and core: {1e3 / each:.0f} ({real / each:,.0f} x real time)"
    return Row(what, each, floor / BUNDLES, "ms", "its records decoded, nothing else (goal: 1,000 x real time)")
