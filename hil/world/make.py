"""Many bundles of one seed, by several processes: each case is always the same, and what is there is not made again."""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hil.world import bundle, real
from hil.world.beyond import draw_beyond
from hil.world.passage import draw_truth, record

BEGAN_NS = 1_767_225_600 * bundle.NS
EVERY_NS = 40 * bundle.NS  # one lorry after another
CHUNK = 8


@dataclass(frozen=True, slots=True)
class Order:
    """What to make."""

    out: Path
    seed: int
    seconds: float
    occupied: float
    people: int | None
    images: bool
    scanned: float
    beyond: float
    recordings: Path | None
    half: str


def name_of(order: Order, index: int) -> str:
    """The passage's id."""
    return bundle.passage_id(BEGAN_NS + index * EVERY_NS, order.seed, index)


def make_one(order: Order, index: int) -> bool:
    """Case ``index``, unless it is there; whether it was made."""
    name = name_of(order, index)
    if (order.out / name).is_dir():
        return False
    random = np.random.default_rng([order.seed, index])
    people = order.people if random.random() < order.occupied else 0
    scanned = order.scanned if order.images else 0.0
    truth = draw_beyond(random, people, scanned, order.beyond) if order.beyond else draw_truth(random, people, scanned)
    if not order.images:
        truth = replace(truth, imager=False)
    borrowed = None
    if order.recordings is not None:
        known = _recordings(order.recordings, order.half, truth.geophones.rate_hz)
        borrowed = known.borrowed(order.seconds + 8.0, random)
    bundle.write(order.out, record(truth, order.seconds, random, borrowed), name, BEGAN_NS + index * EVERY_NS)
    return True


@functools.lru_cache(maxsize=4)
def _recordings(folder: Path, half: str, rate_hz: float) -> real.Recordings:
    return real.load(folder, half, rate_hz)


def make_all(order: Order, cases: int, workers: int, progress: Callable[[int, int, float], None]) -> None:
    """Cases 0 to ``cases`` - 1; ``progress`` is called with (done, all, made a second) now and then.

    Raises:
        OSError: the disk is full or gone.
        NoRecordings: there are none to mix in.
    """
    order.out.mkdir(parents=True, exist_ok=True)
    if order.recordings is not None:
        real.load(order.recordings, order.half, 100.0)
    kind = "simulated" if order.recordings is None else "mixed"
    told = f'name = "world, seed {order.seed}"\nkind = "{kind}"\nlicence = "CC0-1.0"\n'
    (order.out / "dataset.toml").write_text(told, encoding="utf-8")
    began_s, done, made = time.monotonic(), 0, 0
    work = functools.partial(make_one, order)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        for new in pool.map(work, range(cases), chunksize=CHUNK):
            done, made = done + 1, made + new
            if done % 50 == 0 or done == cases:
                progress(done, cases, made / max(time.monotonic() - began_s, 1e-9))
