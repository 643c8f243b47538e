"""Reports of records on disk, and the page of control charts. What draws is of the ``report`` extra."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from calibration import report
from calibration.procedures.procedure import Outcome
from calibration.record import Kept, RecordFault
from calibration.store import Store
from edge.calibrate import catalogue

if TYPE_CHECKING:
    from calibration.drift import Charted

CLOSE = 1e-6  # relative: another machine's last digits


class NotInstalled(Exception):
    """One line: what is missing, how to get it."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where it is; ``holds`` is whether signature, raw data and results are as they were."""

    files: tuple[Path, ...]
    holds: bool


def write(store: Store, kept: Kept, public_key: Ed25519PublicKey, folder: Path, *, pdf: bool) -> Written:
    """The page, on wish a PDF, and the raw data, into ``folder``, each whole or not at all.

    Raises:
        NotInstalled: matplotlib or typst are not there.
        OSError: the folder cannot be made or written.
    """
    outcome, raw_holds, again = _again(store, kept)
    proof = report.Proof(
        public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        _signed(kept, public_key),
        raw_holds,
        again,
    )
    plots = [] if outcome is None else [(plot.title, _svg(plot)) for plot in outcome.plots]
    made = report.report(kept, plots, proof)
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"calibration-{kept.record.number:06d}-{kept.record.device.name}-{kept.record.procedure}"
    files, link = [folder / f"{stem}.html"], None
    if raw_holds and kept.record.raw_sha256 is not None:
        link = f"{kept.record.raw_sha256}.npz"
        if not (folder / link).exists():
            shutil.copyfile(store.raw_path(kept.record.raw_sha256), folder / link)
        files.append(folder / link)
    _put(files[0], report.html(made, link).encode())
    if pdf:
        files.append(folder / f"{stem}.pdf")
        _put(files[-1], _pdf(made))
    return Written(tuple(files), proof.signature_holds and raw_holds is not False and again is not False)


def _put(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_bytes(content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _signed(kept: Kept, public_key: Ed25519PublicKey) -> bool:
    try:
        public_key.verify(kept.signature, kept.content)
    except InvalidSignature:
        return False
    return True


def _again(store: Store, kept: Kept) -> tuple[Outcome | None, bool | None, bool | None]:
    """The outcome computed from the raw data, whether those are as they were, and whether the results are."""
    record = kept.record
    if record.raw_sha256 is None:
        return None, None, None
    try:
        raw = store.raw(record)
    except RecordFault:
        return None, False, None
    procedure = catalogue.version(record.device.modality, record.procedure, record.procedure_version)
    if procedure is None:
        return None, True, None  # made by a version that this program no longer has
    try:
        outcome = procedure.compute(raw)
    except (RecordFault, ValueError, KeyError):
        return None, True, False
    return outcome, True, _same([one.document() for one in outcome.results], record.results)


def _same(found: list[dict[str, Any]], kept: tuple[Mapping[str, Any], ...]) -> bool:
    def near(one: Any, other: Any) -> bool:
        return abs(float(one) - float(other)) <= CLOSE * max(abs(float(one)), abs(float(other)), 1e-12)

    return len(found) == len(kept) and all(
        one["name"] == other["name"]
        and near(one["value"], other["value"])
        and near(one["expanded_uncertainty"], other["expanded_uncertainty"])
        for one, other in zip(found, kept, strict=True)
    )


def _svg(plot: Any) -> str:
    return str(_plots().svg(plot))


def _plots() -> Any:
    try:
        from calibration import plots
    except ImportError:
        raise NotInstalled("matplotlib is not installed; pip install 'lanepulse[report]'") from None
    return plots


def _pdf(made: report.Report) -> bytes:
    try:
        return report.pdf(made)
    except ImportError:
        raise NotInstalled("typst is not installed; pip install 'lanepulse[report]'") from None


def drift_page(charts: Mapping[str, Mapping[str, list[Charted]]]) -> str:
    """Control charts of all devices as one page. Raises NotInstalled."""
    plots, parts = _plots(), []
    for device, found in sorted(charts.items()):
        parts.append(f"<h2>{escape(device)}</h2>")
        for result, line in found.items():
            if line:
                state = "inside its limits" if line[-1].inside else "OUT OF LIMITS: calibrate it"
                parts.append(f"<h3>{escape(result)}: {state}</h3>{plots.control_chart(result, '', line)}")
            else:
                parts.append(f"<h3>{escape(result)}: fewer than 3 points</h3>")
    note = "Weighted mean (EWMA, weight 0.2) of results over records and challenges; limits of ISO 7870-6, L = 3."
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        f"<title>Drift of calibrations</title><style>{report.STYLE}</style></head><body><h1>Drift of calibrations</h1>"
        f"<p>{note}</p>{''.join(parts)}</body></html>\n"
    )
