"""The classifier: one ONNX file, read once into memory, that gives each modality its log10 likelihood ratio.

Before it judges anything the file must pass its contract: hash, IR and operator sets, no outside data, names, types and
shapes, finite outputs on its own check set, contributions that add up, silence that adds exactly zero.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fusion.evidence.evidence import Evidence, silent
from fusion.onnx_wire import Needs, needs
from fusion.runtime import THREADS
from fusion.verdict import MODALITIES, SUM_TOLERANCE, State

MODEL_BYTES_MOST = 16 << 20  # assumed: ours are some 100 kB
IR_VERSIONS, OPSETS = range(8, 11), range(17, 22)  # what the pinned runtime and our operators are tested with
CHECK_TOLERANCE = 1e-9  # ARCHITECTURE: agreement with the fit
RUN_LIMIT_S = 0.25  # assumed: a run takes 0.02 ms; RELIABILITY wants verdicts within 0.5 s
LR_DECIMALS = 6  # the published rounding: other processors differ in the last digits only (1e-15)
NOT_IN_MODEL = "not in this model"
OUTPUTS = ("log10_lr", "log10_odds", "score")
Arrays = Mapping[str, NDArray[np.generic]]


class ModelRefused(Exception):
    """One line: which file, what differs, what to do. The model that was active stays active."""


class NoNumber(Exception):
    """The model gave no number: the verdict is by policy, never `no_search`."""


@dataclass(frozen=True, slots=True)
class Check:
    """A known input (one row of each) and the contributions that it must give."""

    features: Mapping[str, tuple[float, ...]]  # modality -> values, as wide as the model wants
    measured: tuple[bool, bool, bool, bool]
    context: tuple[float, ...]
    look: int
    prior_log10_odds: float
    log10_lr: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Contract:
    """What the manifest promises of the file."""

    name: str
    sha256: str
    features: Mapping[str, tuple[str, ...]]  # modality -> names, in the model's order
    context: tuple[str, ...]
    looks: int
    learned: frozenset[str]
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """Contributions in the order of `MODALITIES`; ``log10_odds`` is the prior plus their sum."""

    log10_lr: tuple[float, float, float, float]
    log10_odds: float
    score: float


class Classifier:
    """A model that has passed its contract.

    Raises:
        ModelRefused: it has not; the message is one line and says what differs.
    """

    def __init__(self, model: bytes, contract: Contract) -> None:
        self.contract = contract
        self.sha256 = hashlib.sha256(model).hexdigest()
        _check_bytes(model, self.sha256, contract)
        self._session = _open(model, contract)
        _check_shapes(self._session, contract)
        self._check_runs()

    def admitted(self, evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        """The evidence as this model sees it: a modality that it has not learned is absent, and says so."""
        return tuple(
            silent(part.modality, State.ABSENT, NOT_IN_MODEL)
            if part.state is State.MEASURED and part.modality not in self.contract.learned
            else part
            for part in evidence
        )

    def judge(
        self, evidence: Sequence[Evidence], context: Mapping[str, float], look: int, prior_log10_odds: float
    ) -> Judgement:
        """Judge one passage at one look. Whatever is not measured adds exactly 0.0.

        Args:
            evidence: four, in the order of `MODALITIES`.
            context: a value for every name of the contract's context; others are ignored.
            look: index into the manifest's ``looks_s``.
            prior_log10_odds: from configuration.

        Raises:
            NoNumber: an input or an output is not finite, or the contributions do not add up.
            ValueError: evidence is missing or out of order, or the look is not one of the model's.
        """
        if tuple(part.modality for part in evidence) != MODALITIES:
            raise ValueError(f"evidence must list {', '.join(MODALITIES)} in this order")
        if not 0 <= look < self.contract.looks:
            raise ValueError(f"look {look}: {self.contract.name} knows looks 0 to {self.contract.looks - 1}")
        parts = self.admitted(evidence)
        row = self._row(parts, context, look, prior_log10_odds)
        return self._judged(parts, self._run(row), prior_log10_odds)

    def _row(self, parts: Sequence[Evidence], context: Mapping[str, float], look: int, prior: float) -> Arrays:
        row: dict[str, NDArray[np.generic]] = {}
        for part in parts:
            names = self.contract.features[part.modality]
            spoke = part.state is State.MEASURED
            values = self._values(part.modality, names, part.features) if spoke else [0.0] * len(names)
            row[part.modality] = np.array([values], np.float64)
        row["measured"] = np.array([[part.state is State.MEASURED for part in parts]], np.bool_)
        row["context"] = np.array([self._values("context", self.contract.context, context)], np.float64)
        row["look"] = np.array([look], np.int64)
        row["prior_log10_odds"] = np.array(self._values("prior_log10_odds", ("prior",), {"prior": prior}), np.float64)
        return row

    def _values(self, part: str, names: Sequence[str], given: Mapping[str, float]) -> list[float]:
        """What is given for ``names``, finite; asked before the run: a comparison inside may swallow a NaN."""
        if missing := [name for name in names if name not in given]:
            raise NoNumber(f"{self.contract.name}: {part} lacks {', '.join(missing)}: no number")
        values = [given[name] for name in names]
        if not all(map(isfinite, values)):
            raise NoNumber(f"{self.contract.name}: input {part} is not finite: model gave no number")
        return values

    def _judged(self, parts: Sequence[Evidence], out: Sequence[NDArray[np.float64]], prior: float) -> Judgement:
        ratios = out[0][0].tolist()
        odds, score = float(out[1][0]), float(out[2][0])
        if not all(map(isfinite, (*ratios, odds, score))):
            raise NoNumber(f"{self.contract.name}: model gave no number")
        if abs(prior + sum(ratios) - odds) > SUM_TOLERANCE:
            raise NoNumber(f"{self.contract.name}: contributions add to {prior + sum(ratios)}, not to {odds}")
        first, second, third, fourth = (
            round(ratio, LR_DECIMALS) if part.state is State.MEASURED else 0.0
            for ratio, part in zip(ratios, parts, strict=True)
        )
        total = prior + (first + second + third + fourth)
        return Judgement((first, second, third, fourth), total, round(1.0 / (1.0 + 10.0**-total), 9))

    def _run(self, row: Arrays) -> list[NDArray[np.float64]]:
        return [np.asarray(value, np.float64) for value in self._session.run(OUTPUTS, row)]

    def _check_runs(self) -> None:
        """The known inputs, and the same with everything silent; the first run warms the session."""
        name = self.contract.name
        if not self.contract.checks:
            raise ModelRefused(f"{name}: the manifest holds no check set; a model is not trusted unseen")
        for index, check in enumerate(self.contract.checks):
            for measured, expected in ((check.measured, check.log10_lr), ((False,) * 4, (0.0,) * 4)):
                row = _check_row(check, measured)
                began = time.thread_time()  # the session's own thread: a busy machine is no fault of the model
                try:
                    ratios, odds, score = self._run(row)
                except Exception as error:  # the runtime's own classes share no base
                    raise ModelRefused(f"{name}: check {index} does not run: {_line(error)}") from None
                self._compare(index, ratios, odds, score, expected, check.prior_log10_odds)
                if time.thread_time() - began > RUN_LIMIT_S and index > 0:
                    raise ModelRefused(f"{name}: check {index} took over {RUN_LIMIT_S} s")

    def _compare(
        self,
        index: int,
        ratios: NDArray[np.float64],
        odds: NDArray[np.float64],
        score: NDArray[np.float64],
        expected: tuple[float, ...],
        prior: float,
    ) -> None:
        where = f"{self.contract.name}: check {index}"
        if (ratios.shape, odds.shape, score.shape) != ((1, 4), (1,), (1,)):
            raise ModelRefused(f"{where}: outputs have shapes {ratios.shape}, {odds.shape}, {score.shape}")
        if not all(np.all(np.isfinite(value)) for value in (ratios, odds, score)):
            raise ModelRefused(f"{where}: model gave no number")
        if abs(prior + float(ratios.sum()) - float(odds[0])) > SUM_TOLERANCE:
            raise ModelRefused(f"{where}: log10_odds is not the prior plus the sum of log10_lr")
        if abs(1.0 / (1.0 + 10.0 ** -float(odds[0])) - float(score[0])) > CHECK_TOLERANCE:
            raise ModelRefused(f"{where}: score is not the probability of log10_odds")
        off = np.abs(ratios[0] - np.array(expected))
        if np.any(off > (0.0 if not any(expected) else CHECK_TOLERANCE)):
            worst = int(np.argmax(off))
            raise ModelRefused(
                f"{where}: {MODALITIES[worst]} gives {ratios[0][worst]:.12g}, the manifest says {expected[worst]:.12g}"
            )


def _check_row(check: Check, measured: tuple[bool, ...]) -> Arrays:
    row: dict[str, NDArray[np.generic]] = {
        name: np.array([check.features[name]], np.float64).reshape(1, -1) for name in MODALITIES
    }
    row["measured"] = np.array([measured], np.bool_)
    row["context"] = np.array([check.context], np.float64).reshape(1, -1)
    row["look"] = np.array([check.look], np.int64)
    row["prior_log10_odds"] = np.array([check.prior_log10_odds], np.float64)
    return row


def _check_bytes(model: bytes, sha256: str, contract: Contract) -> None:
    name = contract.name
    if not model or len(model) > MODEL_BYTES_MOST:
        raise ModelRefused(f"{name}: {len(model)} bytes; a model has 1 to {MODEL_BYTES_MOST}")
    try:
        wanted = needs(model)
    except ValueError as error:
        raise ModelRefused(f"{name}: {error}") from None
    _check_needs(wanted, name)
    if sha256 != contract.sha256:
        raise ModelRefused(f"{name}: its SHA-256 is {sha256[:12]}… but the manifest says {contract.sha256[:12]}…")


def _check_needs(wanted: Needs, name: str) -> None:
    if wanted.external_data:
        raise ModelRefused(f"{name}: it keeps tensors in other files; a model is one file: save it whole")
    if wanted.ir_version not in IR_VERSIONS:
        raise ModelRefused(f"{name}: IR version {wanted.ir_version}; this lane runs {IR_VERSIONS[0]}-{IR_VERSIONS[-1]}")
    strange = sorted((wanted.domains | set(wanted.opsets)) - {"", "ai.onnx"})
    if strange:
        raise ModelRefused(f"{name}: operators of {', '.join(strange)[:80]}; this lane runs the standard ones only")
    opset = wanted.opsets.get("", wanted.opsets.get("ai.onnx"))
    if opset is None or opset not in OPSETS:
        raise ModelRefused(f"{name}: operator set {opset}; this lane runs {OPSETS[0]}-{OPSETS[-1]}")


def _open(model: bytes, contract: Contract) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.inter_op_num_threads = THREADS
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL  # runtime.OPTIMISATION
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime's own classes share no base
        raise ModelRefused(f"{contract.name}: runtime {ort.__version__} refuses it: {_line(error)}") from None


def _check_shapes(session: ort.InferenceSession, contract: Contract) -> None:
    wanted: dict[str, tuple[str, list[int]]] = {
        name: ("tensor(double)", [len(contract.features[name])]) for name in MODALITIES
    }
    wanted["measured"] = ("tensor(bool)", [4])
    wanted["context"] = ("tensor(double)", [len(contract.context)])
    wanted["look"] = ("tensor(int64)", [])
    wanted["prior_log10_odds"] = ("tensor(double)", [])
    results = {
        "log10_lr": ("tensor(double)", [4]),
        "log10_odds": ("tensor(double)", []),
        "score": ("tensor(double)", []),
    }
    for kind, found, due in (("input", session.get_inputs(), wanted), ("output", session.get_outputs(), results)):
        names = [part.name for part in found]
        if names != list(due):
            raise ModelRefused(f"{contract.name}: {kind}s are {', '.join(names)[:120]}; the contract: {', '.join(due)}")
        for part in found:
            dtype, inner = due[part.name]
            if part.type != dtype or list(part.shape[1:]) != inner or prod(part.shape[1:]) < 1:
                found_as, due_as = f"{part.type} {part.shape}", f"{dtype} {['N', *inner]}"
                raise ModelRefused(f"{contract.name}: {kind} {part.name} is {found_as}; the contract: {due_as}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
