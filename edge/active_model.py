"""The model that judges: its files read once, its manifest believed only as far as the file bears it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge.models.acceptance import UNLIMITED, accept
from edge.models.source import RELEASED, Source, read_source, trusted
from edge.models.store import RELEASED_ID, Store
from edge.places import Places
from fusion.classifier import Classifier, Contract, Judgement, ModelRefused, NoNumber
from fusion.decision import Thresholds
from fusion.evidence.evidence import Evidence
from fusion.judge import Model
from fusion.verdict import MODALITIES

NO_MODEL = "none"


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """A model that passed its contract, its name, and the hash of the very bytes that were loaded.

    ``faults`` has one line for each model that should have been in its place and was refused.
    """

    model: Model
    name: str
    sha256: str
    looks_s: tuple[float, ...]
    faults: tuple[str, ...] = ()


def load(path: Path | None, places: Places | None = None) -> ActiveModel:
    """The model at ``path`` with the manifest beside it (``.json``); for None the active one, else the released one.

    On a lane, which has ``places``, a model must be signed by a key that the lane trusts. At a desk it need not be: a
    model is weighed and evaluated before anybody signs it. Whatever did not come with the program is first tried in a
    process of its own.

    Raises:
        ModelRefused: one line: which file, what differs, what to do.
    """
    return of_source(chosen(path, places))


def chosen(path: Path | None, places: Places | None = None) -> Source:
    """The files of the model that `load` would load, tried as it would try them.

    Raises:
        ModelRefused: see `load`.
    """
    if path is None:
        store = None if places is None else Store(places.models)
        path = RELEASED if store is None else store.file(store.active())
    source = read_source(path)
    if path != RELEASED:
        if places is not None:
            source.signer(trusted(places))
        accept(source)
    return source


def of_source(source: Source) -> ActiveModel:
    """The model of these bytes, which passes its contract here once more. Raises ModelRefused."""
    manifest = source.read_manifest()
    classifier = Classifier(source.model, manifest.contract())
    model = Model(classifier, manifest.thresholds, manifest.looks_s, manifest.trained_on)
    return ActiveModel(model, manifest.name, classifier.sha256, manifest.looks_s)


def for_lane(path: Path | None, places: Places) -> ActiveModel:
    """The best model that a lane can have now: as `load`, else the previous one, else the released one, else none.

    With none the lane runs on: whatever is measured is then faulty with that cause, and every verdict is by policy,
    never `no_search`. ``faults`` says what was refused; nothing is raised, since a restart would find the same files.
    """
    faults: list[str] = []
    for find in _candidates(path, places):
        try:
            source = find()
            if source.path != RELEASED:
                source.signer(trusted(places))
                accept(source, memory_bytes=UNLIMITED)
            return replace(of_source(source), faults=tuple(faults))
        except ModelRefused as refusal:
            if str(refusal) not in faults:
                faults.append(str(refusal))
    return _none(tuple(faults))


def in_shadow(places: Places) -> ActiveModel | None:
    """The model that runs beside the active one, tried as that is; None where none does.

    Raises:
        ModelRefused: there should be one, and it is no good.
    """
    store = Store(places.models)
    model_id = store.shadow()
    if model_id is None:
        return None
    source = read_source(store.file(model_id))
    if source.path != RELEASED:
        source.signer(trusted(places))
        accept(source, memory_bytes=UNLIMITED)
    return of_source(source)


def _candidates(path: Path | None, places: Places) -> Iterator[Callable[[], Source]]:
    store = Store(places.models)
    if path is not None:
        yield lambda: read_source(path)
    yield lambda: read_source(store.file(store.active()))
    yield lambda: read_source(store.file(store.previous()))
    yield lambda: read_source(store.file(RELEASED_ID))


def _none(faults: tuple[str, ...]) -> ActiveModel:
    cause = f"no model is active: {faults[0] if faults else 'none was found'}"
    return ActiveModel(Model(_NoModel(cause), _no_bounds, (), "simulated"), NO_MODEL, "", (), faults)


def _no_bounds(spoke: Sequence[str], look: int, alpha: float, delta: float, pfa: float) -> Thresholds:
    return Thresholds(None, None)


class _NoModel(Classifier):
    """Stands where no model passed: admits all evidence, and gives no number for any."""

    def __init__(self, cause: str) -> None:
        self.contract = Contract(NO_MODEL, "", dict.fromkeys(MODALITIES, ()), (), 0, frozenset(), ())
        self.sha256 = ""
        self._cause = cause

    def admitted(self, evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        return tuple(evidence)

    def judge(
        self, evidence: Sequence[Evidence], context: Mapping[str, float], look: int, prior_log10_odds: float
    ) -> Judgement:
        raise NoNumber(self._cause)
