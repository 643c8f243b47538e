"""The model that judges: its files read once, its manifest believed only as far as the file bears it out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import models
from fusion.classifier import MODEL_BYTES_MOST, Classifier, ModelRefused
from fusion.judge import Model
from models.manifest import MANIFEST_BYTES_MOST, ManifestRefused, read_manifest

RELEASED = Path(models.__file__).parent / "released" / "concealment-1.onnx"


@dataclass(frozen=True, slots=True)
class ActiveModel:
    """A model that passed its contract, its name, and the hash of the very bytes that were loaded."""

    model: Model
    name: str
    sha256: str
    looks_s: tuple[float, ...]


def load(path: Path | None) -> ActiveModel:
    """The model at ``path`` with the manifest beside it (``.json``); the released one for None.

    Raises:
        ModelRefused: one line: which file, what differs, what to do.
    """
    file = RELEASED if path is None else path
    try:
        manifest = read_manifest(_bytes(file.with_suffix(".json"), MANIFEST_BYTES_MOST))
    except ManifestRefused as refusal:
        raise ModelRefused(f"{file.with_suffix('.json')}: {refusal}") from None
    classifier = Classifier(_bytes(file, MODEL_BYTES_MOST), manifest.contract())
    model = Model(classifier, manifest.thresholds, manifest.looks_s, manifest.trained_on)
    return ActiveModel(model, manifest.name, classifier.sha256, manifest.looks_s)


def _bytes(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise ModelRefused(f"{path}: {error.strerror}; give the path of an .onnx file with its .json") from None
    if len(content) > most:
        raise ModelRefused(f"{path}: over {most} bytes; this is no model of ours")
    return content
