"""What a simulated passage costs, what weighing one costs, and one run of the model beside an empty graph."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper

import models
from fusion.evidence.conditioning import forget
from fusion.judge import gather
from hil.bench.measure import Row, paired_ms
from hil.world.passage import draw_truth, record
from models.manifest import read_manifest
from models.simulated import BEGAN_NS, NS, passage_of

RELEASED = Path(models.__file__).parent / "released" / "concealment-2.onnx"
SECONDS, RUNS = 45.0, 15
REAL_TIME_SHARE = 1 / 1_000  # goal: a passage is weighed in a thousandth of its time


def rows() -> list[Row]:
    """Three rows."""
    return [_simulated(), _weighed(), _inference()]


def _simulated() -> Row:
    """A passage without radiograph, all sensors, against the transforms of its sensors alone."""
    seeds = count()

    def make() -> None:
        random = np.random.default_rng(next(seeds))
        record(replace(draw_truth(random, None, 0.0), imager=False), SECONDS, random)

    waves = np.random.default_rng(1).normal(size=(5, 8192))
    measured, floor = paired_ms(make, lambda: np.fft.irfft(np.fft.rfft(waves, axis=1), axis=1), RUNS)
    return Row(f"a passage of {SECONDS:.0f} s simulated, no images", measured, floor, "ms", "an FFT pair a sensor")


def _weighed() -> Row:
    """Evidence of all modalities at the last look, nothing remembered, against a thousandth of the passage."""
    random = np.random.default_rng(7)
    passage = passage_of(record(replace(draw_truth(random, 2, 0.0), imager=True), SECONDS, random))

    def weigh() -> None:
        forget()
        gather(passage, BEGAN_NS + round(SECONDS * NS))

    measured, _ = paired_ms(weigh, lambda: None, RUNS)
    goal_ms = SECONDS * 1e3 * REAL_TIME_SHARE
    return Row("a passage weighed at its last look", measured, goal_ms, "ms", "a thousandth of its length (goal)")


def _inference() -> Row:
    """One run of the released graph, against one that copies its input."""
    manifest = read_manifest(RELEASED.with_suffix(".json").read_bytes())
    check = manifest.checks[0]
    feed = {m: np.array([getattr(check.features, m)]) for m in ("vibration", "co2", "mmwave", "xray")}
    feed |= {"measured": np.array([check.measured]), "context": np.array([check.context])}
    feed |= {"look": np.array([check.look], np.int64), "prior_log10_odds": np.array([check.prior_log10_odds])}
    session, empty = _session(RELEASED.read_bytes()), _session(_empty())
    one = {"x": feed["prior_log10_odds"]}
    measured, floor = paired_ms(lambda: session.run(None, feed), lambda: empty.run(None, one), 20 * RUNS)
    return Row("one inference of the released model", measured, floor, "ms", "an empty graph")


def _session(model: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _empty() -> bytes:
    double = helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["N"])
    result = helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["N"])
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "empty", [double], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())
