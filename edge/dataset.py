"""A dataset: a folder of bundles whose outcome is known, weighed again by several processes at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.active_model import of_source
from edge.models.source import Source
from edge.replay import Replayed, Weighing, replayed
from fusion.bundle.container import PASSAGE, Limits, open_files
from fusion.bundle.document import read_json
from fusion.bundle.fault import BundleFault
from fusion.bundle.read import BundleContents
from fusion.bundle.taken import policy_of
from fusion.bundle.times import parse_utc
from fusion.bundle.write import PARTIAL
from fusion.evaluation.case import Case, Step
from fusion.evaluation.evaluation import Kind
from fusion.evidence.evidence import OK
from fusion.passage import BodyType
from fusion.policy import Policy
from fusion.verdict import State

DATASET, OUTCOME = "dataset.toml", "outcome.json"
DATASET_BYTES_MOST = 64 << 10  # assumed: three words, with room for a licence's text
CAUSE_LETTERS = 300
PEOPLE_MOST = 200  # assumed: 71 is the most that a lorry was found with (SCIENCE 3.4)


class DatasetFault(Exception):
    """One line: the folder is no dataset, what was found, what to do."""


class LeftOut(StrEnum):
    """Why a bundle says nothing about detection."""

    NO_OUTCOME = "no_outcome"
    NOT_SEARCHED = "not_searched"
    UNREADABLE = "unreadable"
    TWICE = "twice"


class Described(BaseModel):
    """``dataset.toml``; unknown keys are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    name: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    licence: Annotated[str, Field(max_length=DATASET_BYTES_MOST)] | None = None
    kind: Literal["recorded", "simulated", "mixed"] | None = None


@dataclass(frozen=True, slots=True)
class Dataset:
    """Bundles in order of name. A dataset that does not say what it is counts as simulated: that claims the least."""

    name: str
    kind: Kind
    kind_is_said: bool
    licence: str | None
    bundles: tuple[Path, ...]
    folder: Path = Path()


@dataclass(frozen=True, slots=True)
class Omitted:
    """A bundle that was left out."""

    name: str
    why: LeftOut
    cause: str


@dataclass(frozen=True, slots=True)
class Weighed:
    """What came of a dataset; ``complete`` is False where somebody stopped it."""

    cases: tuple[Case, ...]
    omitted: tuple[Omitted, ...]
    complete: bool

    def left_out(self) -> dict[LeftOut, int]:
        """How many, by why."""
        counted = Counter(one.why for one in self.omitted)
        return {why: counted[why] for why in LeftOut}


def open_dataset(folder: Path) -> Dataset:
    """The bundles of a folder, and what it says of itself.

    Raises:
        DatasetFault: there are none, it is a bundle itself, or its ``dataset.toml`` is wrong.
    """
    if (folder / PASSAGE).exists():
        raise DatasetFault(f"{folder}: is a bundle; give the folder that holds the bundles")
    try:
        there = sorted(folder.iterdir())
    except OSError as error:
        raise DatasetFault(f"{folder}: {error.strerror}; give a folder of bundles") from None
    bundles = tuple(
        path
        for path in there
        if not path.name.startswith(".")
        and ((path.is_dir() and path.suffix != PARTIAL) or path.suffix.casefold() == ".zip")
    )
    if not bundles:
        raise DatasetFault(f"{folder}: no bundle in it; a dataset is a folder of passage folders or .zip files")
    said = _described(folder / DATASET)
    name = said.name or folder.absolute().name
    return Dataset(name, said.kind or "simulated", said.kind is not None, said.licence, bundles, folder)


def weigh(
    dataset: Dataset, source: Source, policy: Policy, workers: int, progress: Callable[[int, int], None]
) -> Weighed:
    """Weigh every bundle whose outcome is known. SIGINT ends it early, with what was done until then.

    Args:
        dataset: see `open_dataset`.
        source: a model that was accepted already.
        policy: for bundles that have none of their own.
        workers: processes, at least 1.
        progress: called with (done, all) after each bundle.

    Raises:
        DatasetFault: a worker died.
    """
    context = multiprocessing.get_context("spawn")  # a fork would copy the runtime's locks
    done: dict[Path, Case | Omitted] = {}
    complete = True
    with ProcessPoolExecutor(workers, context, _begin, (source, policy)) as pool:
        with _deaf_to_interrupts():  # inherited: Ctrl-C reaches all of the terminal's processes, and only we decide
            waiting = {pool.submit(_weigh_one, path): path for path in dataset.bundles}
        try:
            for number, future in enumerate(as_completed(waiting), 1):
                done[waiting[future]] = _result(future, waiting[future])
                progress(number, len(waiting))
        except KeyboardInterrupt:
            complete = False
            pool.shutdown(wait=True, cancel_futures=True)
            for future, path in waiting.items():
                if future.done() and not future.cancelled():
                    done[path] = _result(future, path)
    return _sorted_out([done[path] for path in dataset.bundles if path in done], complete)


def processors() -> int:
    """How many processes can run at once here."""
    return len(os.sched_getaffinity(0))


def _result(future: Future[Case | Omitted], path: Path) -> Case | Omitted:
    try:
        return future.result()
    except BrokenProcessPool:
        cause = "a process that weighed bundles died, perhaps for want of memory; give fewer --workers"
        raise DatasetFault(f"{path}: {cause}") from None


def _sorted_out(found: Sequence[Case | Omitted], complete: bool) -> Weighed:
    """A passage that is there twice counts once."""
    cases: dict[str, Case] = {}
    omitted = [one for one in found if isinstance(one, Omitted)]
    for case in found:
        if isinstance(case, Omitted):
            continue
        if case.passage_id in cases:
            cause = f"the passage {case.passage_id} is in {cases[case.passage_id].name} too"
            omitted.append(Omitted(case.name, LeftOut.TWICE, cause))
        else:
            cases[case.passage_id] = case
    return Weighed(tuple(cases.values()), tuple(omitted), complete)


@contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


_weighing: Weighing | None = None  # of a worker process, which does one thing


def _begin(source: Source, policy: Policy) -> None:
    global _weighing
    _weighing = Weighing(of_source(source), policy)


def _weigh_one(path: Path) -> Case | Omitted:
    if _weighing is None:
        raise RuntimeError("the worker was not begun")
    return weighed(path, _weighing)


def weighed(path: Path, weighing: Weighing) -> Case | Omitted:
    """One bundle; nothing of it is weighed if its outcome is not known."""
    try:
        found = _found(path)
        if isinstance(found, Omitted):
            return found
        return _case(path, replayed(path, weighing), weighing, found)
    except (BundleFault, ValueError) as fault:
        cause = " ".join(str(fault).split()).removeprefix(f"{path.name}: ")
        return Omitted(path.name, LeftOut.UNREADABLE, cause[:CAUSE_LETTERS])


def _found(path: Path) -> bool | Omitted:
    """Whether somebody was found. Raises BundleFault: the bundle or its outcome cannot be read."""
    files = open_files(path, Limits())
    if OUTCOME not in files.entries:
        return Omitted(path.name, LeftOut.NO_OUTCOME, f"no {OUTCOME}")
    outcome = read_json(files.read(OUTCOME), OUTCOME)
    found = outcome.get("found") if isinstance(outcome, Mapping) else ()
    searched = outcome.get("searched") if isinstance(outcome, Mapping) else None
    if found is None or (found is False and searched is False):
        return Omitted(path.name, LeftOut.NOT_SEARCHED, "nobody searched it")
    if not isinstance(found, bool):
        return Omitted(path.name, LeftOut.UNREADABLE, f"{OUTCOME}: found is neither true, false nor null")
    return found


def _case(path: Path, again: Replayed, weighing: Weighing, found: bool) -> Case:
    verdict, document = again.verdicts[-1], again.contents.document
    policy = policy_of(document.policy, weighing.policy)
    measured = [part for part in verdict.evidence if part.state is State.MEASURED]
    spoke: dict[str, float] = {part.modality: part.log10_lr for part in measured}
    at_s = (parse_utc(verdict.issued_utc) - document.began_utc_ns) / 1e9
    return Case(
        name=path.name,
        passage_id=verdict.passage_id,
        found=found,
        body_type=_body_type(document.vehicle.body_type),
        level=verdict.level,
        log10_lr=spoke,
        over=_over(spoke, at_s, policy, weighing),
        people=_people(again.contents),
        shelter=document.context.shelter,
        wind_m_s=_wind_m_s(again.contents),
        steps=tuple(
            Step(look_s, one.level, sum(part.log10_lr for part in one.evidence))
            for look_s, one in zip(again.looks_s, again.verdicts, strict=True)
        ),
        why=verdict.reasons[0].text if verdict.reasons else "",
    )


def _people(contents: BundleContents) -> int | None:
    """How many were found; None where nobody counted."""
    told = (contents.outcome or {}).get("people")
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told <= PEOPLE_MOST else None


def _wind_m_s(contents: BundleContents) -> float | None:
    """The strongest mean wind outside."""
    winds = [kept.reading.wind_m_s for kept in contents.weather if kept.reading.status == OK]
    return max((wind for wind in winds if wind is not None and isfinite(wind)), default=None)


def _over(spoke: Mapping[str, float], at_s: float, policy: Policy, weighing: Weighing) -> dict[str, bool]:
    """Whether each modality would have alarmed alone, at the threshold that serves at ``at_s``."""
    model, over = weighing.model.model, dict[str, bool]()
    for modality, ratio in spoke.items():
        bounds = model.bounds([modality], model.look_at(at_s), policy.alpha, policy.delta, policy.pfa)
        threshold = bounds.search_log10_lr if policy.search_log10_lr is None else policy.search_log10_lr
        if threshold is not None:
            over[modality] = ratio >= threshold
    return over


def _body_type(word: str) -> BodyType:
    return BodyType(word) if word in list(BodyType) else BodyType.UNKNOWN


def _described(path: Path) -> Described:
    try:
        with path.open("rb") as file:
            text = file.read(DATASET_BYTES_MOST + 1)
    except FileNotFoundError:
        return Described()
    except OSError as error:
        raise DatasetFault(f"{path}: {error.strerror}") from None
    if len(text) > DATASET_BYTES_MOST:
        raise DatasetFault(f"{path}: over {DATASET_BYTES_MOST} bytes; it names the dataset, its licence and its kind")
    try:
        return Described.model_validate(tomllib.loads(text.decode("utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DatasetFault(f"{path}: {where}: {first['msg']}") from None
    except ValueError as error:
        raise DatasetFault(f"{path}: {error}") from None
