"""Cases as arrays, made by several processes and kept by blocks: a training that was stopped goes on."""

from __future__ import annotations

import functools
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fusion.evidence import co2, mmwave, vibration, xray
from fusion.evidence.context import CONTEXT
from fusion.verdict import MODALITIES, State
from models.simulated import Case, simulate

FEATURES = {
    "vibration": vibration.FEATURES,
    "co2": co2.FEATURES,
    "mmwave": mmwave.FEATURES,
    "xray": xray.FEATURES,
}
BLOCK = 100
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Table:
    """n cases at L looks: ``vibration`` … ``xray`` (n, L, features) with zeros where not measured, ``spoke`` (n, L, 4),
    ``context`` (n, L, C), ``people`` (n,), ``wind_m_s`` at the vehicle (n,), ``body`` (n,) words."""

    vibration: Floats
    co2: Floats
    mmwave: Floats
    xray: Floats
    spoke: NDArray[np.bool_]
    context: Floats
    people: NDArray[np.int64]
    wind_m_s: Floats
    body: NDArray[np.str_]

    @property
    def occupied(self) -> NDArray[np.bool_]:
        """Whether somebody hides in it, (n,)."""
        return np.asarray(self.people > 0, np.bool_)

    def of(self, modality: str) -> Floats:
        """Features of a modality, (n, L, F)."""
        return np.asarray(getattr(self, modality), np.float64)

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.int64] | slice) -> Table:
        """These cases."""
        return Table(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def __len__(self) -> int:
        return len(self.people)


def table(cases: Sequence[Case]) -> Table:
    """Arrays of cases that have the same looks."""
    n, looks = len(cases), len(cases[0].looks)
    made = {m: np.zeros((n, looks, len(FEATURES[m]))) for m in MODALITIES}
    spoke = np.zeros((n, looks, len(MODALITIES)), np.bool_)
    context = np.zeros((n, looks, len(CONTEXT)))
    for i, case in enumerate(cases):
        for look, (evidence, values) in enumerate(case.looks):
            context[i, look] = [values[name] for name in CONTEXT]
            for place, part in enumerate(evidence):
                if part.state is State.MEASURED:
                    spoke[i, look, place] = True
                    made[part.modality][i, look] = [part.features[name] for name in FEATURES[part.modality]]
    return Table(
        **made,
        spoke=spoke,
        context=context,
        people=np.array([case.people for case in cases]),
        wind_m_s=np.array([case.wind_m_s for case in cases]),
        body=np.array([case.body_type for case in cases]),
    )


def joined(parts: Sequence[Table]) -> Table:
    """One after another."""
    return Table(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Table)})


@dataclass(frozen=True, slots=True)
class Want:
    """Cases 0 to ``cases`` - 1 of a seed at these looks, a share of them with a radiograph."""

    cases: int
    seed: int
    looks_s: tuple[float, ...]
    scanned: float


def collect(want: Want, kept: Path | None, workers: int, progress: Callable[[int, int], None]) -> Table:
    """The table of all that is wanted; blocks that lie in ``kept`` are not made again.

    ``progress`` is called with (done, all) after each block.
    """
    blocks = range(-(-want.cases // BLOCK))
    work = functools.partial(block, want, kept)
    done = []
    if workers == 1:
        for number in blocks:
            done.append(work(number))
            progress(min(want.cases, (number + 1) * BLOCK), want.cases)
    else:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            for number, made in enumerate(pool.map(work, blocks)):
                done.append(made)
                progress(min(want.cases, (number + 1) * BLOCK), want.cases)
    return joined(done)


def block(want: Want, kept: Path | None, number: int) -> Table:
    """Cases ``number * BLOCK`` on."""
    path = None if kept is None else kept / f"{_key(want)}-{number:05d}.npz"
    if path is not None and path.exists():
        with np.load(path, allow_pickle=False) as found:
            return Table(**{field.name: found[field.name] for field in fields(Table)})
    indices = range(number * BLOCK, min(want.cases, (number + 1) * BLOCK))
    made = table([simulate(index, want.seed, want.looks_s, want.scanned) for index in indices])
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.npz")
        np.savez_compressed(partial, **{field.name: getattr(made, field.name) for field in fields(Table)})
        partial.rename(path)
    return made


def _key(want: Want) -> str:
    """What a block depends on: the seed, the looks, and the code that makes it, which is named by its own bytes."""
    root = Path(__file__).resolve().parent.parent
    code = hashlib.sha256()
    for folder in ("hil/world", "fusion/evidence"):
        for path in sorted((root / folder).glob("*.py")):
            code.update(path.read_bytes())
    code.update(Path(__file__).with_name("simulated.py").read_bytes())
    code.update(repr((want.seed, want.looks_s, want.scanned, BLOCK, FEATURES, CONTEXT)).encode())
    return f"seed{want.seed}-{code.hexdigest()[:16]}"
