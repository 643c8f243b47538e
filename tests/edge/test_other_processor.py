"""A verdict made elsewhere is the same to the published rounding; here it is the same in every bit."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from edge import active_model
from edge.cli.main import run
from edge.replay import Weighing, compare, replayed
from fusion.decision import decide
from fusion.judge import gather
from fusion.policy import Policy
from fusion.runtime import processor_features, runtime
from fusion.verdict import Level
from hil.bench.passages import write_passages


@pytest.fixture(scope="module")
def weighing() -> Weighing:
    return Weighing(active_model.load(None), Policy())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, weighing: Weighing) -> Path:
    """A bundle with its verdicts, as a lane leaves it."""
    (path,) = write_passages(tmp_path_factory.mktemp("bundles"), 1)
    lines = [json.dumps(verdict.document()) for verdict in replayed(path, weighing).verdicts]
    (path / "verdicts.jsonl").write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def published(made: Path, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], None]], Path]:
    """The bundle as if what was published had been changed."""

    def with_change(change: Callable[[dict[str, Any]], None]) -> Path:
        path = shutil.copytree(made, tmp_path / made.name)
        verdicts = [json.loads(line) for line in (path / "verdicts.jsonl").read_text().splitlines()]
        for verdict in verdicts:
            change(verdict)
        (path / "verdicts.jsonl").write_text("".join(json.dumps(verdict) + "\n" for verdict in verdicts))
        return path

    return with_change


def elsewhere(verdict: dict[str, Any]) -> None:
    verdict["produced_by"]["runtime"]["processor"] = "aarch64 asimd"


def nudged(verdict: dict[str, Any], by: float) -> None:
    part = next(part for part in verdict["evidence"] if part["state"] == "measured")
    part["log10_lr"] += by
    verdict["log10_odds"] += by


def test_a_verdict_says_on_what_it_was_made(made: Path) -> None:
    said = json.loads((made / "verdicts.jsonl").read_text().splitlines()[-1])["produced_by"]["runtime"]
    assert said["onnxruntime"] == ort.__version__ and said["numpy"] == np.__version__
    assert (said["threads"], said["optimisation"]) == (1, "all")
    assert said["processor"].split()[0] == os.uname().machine


def test_the_processors_features_are_those_that_kernels_are_chosen_by() -> None:
    found = processor_features()
    assert found == sorted(set(found)) and found
    if os.uname().machine == "x86_64":
        assert any(word.startswith(("X86_V", "SSE", "AVX")) for word in found)


def test_on_the_same_runtime_every_bit_counts(
    weighing: Weighing, made: Path, published: Callable[[Callable[[dict[str, Any]], None]], Path]
) -> None:
    assert compare(replayed(made, weighing)).differences == ()
    assert compare(replayed(made, weighing)).within is None
    found = compare(replayed(published(lambda verdict: nudged(verdict, 1e-6)), weighing))
    assert any("log10_lr" in line for line in found.differences)


def test_elsewhere_the_answer_is_within_what_it_is_the_same(
    published: Callable[[Callable[[dict[str, Any]], None]], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    def change(verdict: dict[str, Any]) -> None:
        elsewhere(verdict)
        nudged(verdict, 1e-6)

    assert run(["replay", "--compare", str(published(change)), "--root", "/nonexistent"]) == 0
    assert "same to within 1e-06, decision equal" in capfd.readouterr().err


@pytest.mark.parametrize("what", ["level", "more than rounding", "a word", "a whole number"])
def test_elsewhere_a_decision_a_word_or_more_than_rounding_still_differs(
    weighing: Weighing, published: Callable[[Callable[[dict[str, Any]], None]], Path], what: str
) -> None:
    def change(verdict: dict[str, Any]) -> None:
        elsewhere(verdict)
        if what == "level":
            verdict["level"] = "search"
        elif what == "more than rounding":
            nudged(verdict, 1e-5)
        elif what == "a word":
            verdict["reasons"][0]["text"] += "."
        else:
            verdict["revision"] += 1

    assert compare(replayed(published(change), weighing)).differences


def test_a_program_that_did_not_say_its_runtime_is_taken_for_elsewhere(
    weighing: Weighing, published: Callable[[Callable[[dict[str, Any]], None]], Path]
) -> None:
    found = compare(replayed(published(lambda verdict: verdict["produced_by"].pop("runtime")), weighing))
    assert (found.differences, found.within) == ((), 0.0)


def test_a_score_beside_the_threshold_falls_to_the_same_side_on_every_processor() -> None:
    class Bounds:
        no_search_log10_lr, search_log10_lr = -0.5, 1.0

    for last_digit in (0.0, 1e-13, -1e-13):
        ratio = round(1.0 + last_digit, 6)  # as the classifier gives it
        assert decide([ratio], Bounds, last_look=True, on_timeout=Level.RECHECK).level is Level.SEARCH  # type: ignore[arg-type]


def test_a_thousand_runs_give_the_same_bits(weighing: Weighing, made: Path) -> None:
    contents = replayed(made, weighing).contents
    passage, until = contents.passage(), contents.document.began_utc_ns + 45 * 10**9
    evidence = weighing.model.model.classifier.admitted(gather(passage, until))
    context = dict.fromkeys(weighing.model.model.classifier.contract.context, 0.0)
    judge = weighing.model.model.classifier.judge
    assert len({judge(evidence, context, 0, -3.1) for _ in range(1000)}) == 1


def test_a_convolution_run_as_our_models_are_gives_one_answer_each_time(cases: Path) -> None:
    folder = cases / "49-replay-on-another-cpu"
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = runtime().threads
    session = ort.InferenceSession(str(folder / "net.onnx"), options, providers=["CPUExecutionProvider"])
    given = {"x": np.load(folder / "input.npy")}
    answers = [session.run(None, given)[0] for _ in range(100)]
    assert len({hashlib.sha256(answer.tobytes()).hexdigest() for answer in answers}) == 1
    reference = json.loads((folder / "reference.json").read_text())["answers"]["1 ORT_ENABLE_ALL"]["first"]
    assert answers[0][0, :3].tolist() == pytest.approx([float.fromhex(word) for word in reference], rel=1e-5)


@pytest.mark.parametrize("threads", ["1", "2", "4"])
def test_a_replay_on_another_thread_count_gives_the_same_bits(made: Path, threads: str) -> None:
    words = [sys.executable, "-m", "edge.cli.main", "replay", "--compare", str(made), "--root", "/nonexistent"]
    done = subprocess.run(
        words, env=os.environ | {"OPENBLAS_NUM_THREADS": threads}, capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0 and "equal to what was published" in done.stderr, done.stderr
