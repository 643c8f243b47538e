"""A further look of a running passage (in time of one core), and a replay, beside what they are measured against."""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.response import Response
from drivers.reading import ClockQuality, GasSample, Point, Stamp
from edge import active_model
from edge.replay import Weighing, replayed
from fusion.bundle.records import Piece
from fusion.bundle.series import Memory, Responses, join
from fusion.evidence import conditioning
from fusion.evidence.vibration import prepare_vibration
from fusion.judge import gather
from fusion.passage import Context, Passage
from fusion.policy import Policy
from hil.bench.measure import Row
from hil.bench.passages import SECONDS, write_passages

SENSORS = ("B1", "B2", "B3", "B4", "B5", "B6", "G1", "G2")
RATE_HZ, RECORD = 500.0, 250  # samples in a record of half a second
LOOKS_S = (5, 10, 15, 30, 45)
RUNS = 15  # the least of each: what others do on the machine only adds
GOAL_X = 1_000.0  # times real time
BUNDLES, PROCESSES = 60, 2


def rows() -> list[Row]:
    """Two rows."""
    return [_further_look(), _replay()]


def _further_look() -> Row:
    """The costliest look after the first, against all evidence of the last one computed from nothing."""
    pieces, responses, passage = _passage()
    whole, further = [], []
    for _ in range(RUNS):
        conditioning.forget()
        began = time.process_time()
        from_nothing = _look(pieces, responses, passage, LOOKS_S[-1], {})
        whole.append(time.process_time() - began)
        conditioning.forget()
        memory: Memory = {}
        costs = []
        for second in range(1, LOOKS_S[-1] + 1):
            there = [piece for piece in pieces if piece.end_utc_ns <= second * 10**9]
            prepare_vibration(join(there, responses, memory=memory)[0], 0)
            if second in LOOKS_S:
                began = time.process_time()
                grown = _look(there, responses, passage, second, memory)
                costs.append(time.process_time() - began)
        if grown != from_nothing:
            raise RuntimeError("bench: a look that went on differs from one that began from nothing")
        further.append(costs[1:])
    costliest = max(min(run[index] for run in further) for index in range(len(LOOKS_S) - 1))
    what = "costliest further look, 8 ch x 500 Hz and CO2"
    return Row(what, costliest * 1e3, min(whole) * 1e3, "ms", "the look at 45 s from nothing (goal: 0.3 x)")


def _look(pieces: list[Piece], responses: Responses, passage: Passage, second: int, memory: Memory) -> object:
    series, _ = join(pieces, responses, memory=memory)
    return gather(replace(passage, vibration=series), second * 10**9)


def _passage() -> tuple[list[Piece], Responses, Passage]:
    random = np.random.default_rng(8)
    n = round(LOOKS_S[-1] * RATE_HZ)
    response = Response(1e9, 20.0, (0j, 0j), (-19.79 + 20.19j, -19.79 - 20.19j))
    pieces = []
    for name in SENSORS:
        counts = np.rint(np.cumsum(random.normal(0, 300, n)) * 0.02 + random.normal(0, 900, n))
        for first in range(0, n, RECORD):
            start_ns = round(first / RATE_HZ * 1e9)
            pieces.append(Piece(name, "DHZ", start_ns, RATE_HZ, counts[first : first + RECORD]))
    pieces.sort(key=lambda piece: piece.start_utc_ns)
    air = [_gas("outside", Point.AMBIENT, t, 420 + random.normal()) for t in range(-10, LOOKS_S[-1])]
    air += [_gas("probe", Point.INSIDE, t, 480 + 3 * t + random.normal()) for t in range(2, LOOKS_S[-1])]
    passage = Passage("0" * 26, "s", "l", 0, None, context=Context(shelter="shed"), gas=tuple(air))
    return pieces, {(name, "DHZ"): response for name in SENSORS}, passage


def _gas(device: str, point: Point, second: int, ppm: float) -> GasSample:
    at = second * 10**9
    return GasSample(device, Stamp(at, at, at, ClockQuality(True, None)), point, ppm)


def _replay() -> Row:
    """Bundles read and judged at all their looks, by two processes that are up already."""
    with tempfile.TemporaryDirectory(prefix="lanepulse-bench-") as folder:
        paths = write_passages(Path(folder), BUNDLES)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(PROCESSES, context, _begin) as pool:
            list(pool.map(_replay_one, paths[: 2 * PROCESSES]))
            began = time.perf_counter()
            list(pool.map(_replay_one, paths, chunksize=5))
            took_s = time.perf_counter() - began
    return Row(
        "replay on 2 cores, vibration and CO2, all looks", BUNDLES * SECONDS / took_s, GOAL_X, "x", "real time (goal)"
    )


_weighing: Weighing | None = None  # of a worker process, which does one thing


def _begin() -> None:
    global _weighing
    _weighing = Weighing(active_model.load(None), Policy())


def _replay_one(path: Path) -> None:
    if _weighing is None:
        raise RuntimeError("the worker was not begun")
    replayed(path, _weighing)
