"""What stands on a case's cover, as headed tables of words; the HTML and the PDF page are made from the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.records.outcome import CHECKS
from edge.referral.case import Case

LEVELS = {
    "no_search": "No search prompted",
    "recheck": "Measure again",
    "search": "Search this vehicle",
    "open_now": "Open now, life at risk",
}
STATES = {
    "ok": "in order",
    "missing": "MISSING",
    "broken": "BROKEN",
    "cut": "CUT",
    "open": "OPEN",
    "not_checked": "not checked",
}
CHECKLISTS = {"shown": "shown by the driver", "not_shown": "asked for and not shown", "not_asked": "not asked for"}
ACCOUNTS = {"given": "given", "declined": "asked for and declined", "no_driver": "no driver was there"}
LEARNT = {
    "simulated": "The model that judged learnt from SIMULATED lorries only.",
    "mixed": "The model that judged learnt from recorded and SIMULATED lorries.",
    "recorded": "The model that judged learnt from recorded lorries.",
}
LIMITS = (
    "The seal shows that nothing in this pack has changed since it was made, and that each entry stood in the lane's"
    " journal, in this order, when the journal was signed. It cannot show that what a person entered was true.",
    "The score is advice to search. It is no evidence that a person was or was not aboard; the search is.",
    "Times are those of the lane's clock, whose own quality is stated.",
)


@dataclass(frozen=True, slots=True)
class Part:
    """One heading with its table. ``columns`` is empty for a table of names and values."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Cover:
    """Everything that stands there. ``photos`` are (caption, path in the pack)."""

    title: str
    said: tuple[str, ...]
    parts: tuple[Part, ...]
    photos: tuple[tuple[str, str], ...]


def cover(case: Case, photos: Mapping[str, list[str]], fingerprint: str, made_utc: str) -> Cover:
    """The cover of a complete case.

    Args:
        case: nothing of it is missing.
        photos: check -> paths in the pack.
        fingerprint: of the lane's public key, SHA-256 of its PEM file.
        made_utc: when the pack was made.
    """
    assert case.passage is not None and case.outcome is not None and case.verdict is not None
    what = "Persons found in a vehicle" if case.kind == "entrant" else "Vehicle not secured; nobody found"
    place = f"{case.passage.get('site', '')}, lane {case.passage.get('lane', '')}"
    when = f"Passage {case.passage_id}, began {_time(case.passage.get('began_utc'))} at {place}."
    parts = (
        _vehicle(case, case.passage),
        _found(case, case.outcome),
        _checks(case, photos),
        _seals(case.outcome),
        _driver(case),
        _lane(case.verdict),
        _devices(case.passage, case.verdict),
        _record(case, fingerprint, made_utc),
    )
    shown = tuple((f"{_words(check)}: {path}", path) for check, paths in photos.items() for path in paths)
    return Cover(f"Referral R-{case.passage_id}: {what}", (when, LEARNT[case.verdict["trained_on"]]), parts, shown)


def _vehicle(case: Case, passage: Mapping[str, Any]) -> Part:
    kept = case.plates
    plates = {} if kept is None or kept.plates is None else {plate["position"]: plate for plate in kept.plates}
    vehicle, context, clock = (passage.get(name) or {} for name in ("vehicle", "context", "clock"))
    rows = [(f"Plate of the {position}", _plate(plates.get(position))) for position in ("tractor", "trailer")]
    if kept is not None and kept.no_trailer:
        rows[1] = ("Plate of the trailer", "no trailer: a rigid vehicle")
    rows.append(("Body", _words(vehicle.get("body_type", "unknown"))))
    said = [f"{_words(name)} {_words(value)}" for name, value in context.items() if value not in (None, "unknown")]
    rows.append(("Known of it", ", ".join(said) or "nothing was declared"))
    rows.append(("In the lane", f"{_time(passage.get('began_utc'))} to {_time(passage.get('ended_utc'))}"))
    error_ns = clock.get("max_error_ns")
    error = "error not known" if error_ns is None else f"error at most {error_ns / 1e6:.3g} ms"
    rows.append(("Clock", f"{'synchronised' if clock.get('synchronised') else 'NOT synchronised'}, {error}"))
    return Part("Vehicle", tuple(rows))


def _found(case: Case, outcome: Mapping[str, Any]) -> Part:
    entry = case.outcome_row.document() if case.outcome_row else {}
    minutes = outcome.get("minutes")
    people = f"{outcome['people']} found" if outcome["found"] else "nobody found"
    rows = [
        ("People", people),
        ("Where", outcome.get("where") or "-"),
        ("Way in", _words(case.entry_point) if case.entry_point else "-"),
        ("Searched by", f"{_words(outcome['by'])}, by {_words(outcome['technique'])}"),
        ("Search took", "not recorded" if minutes is None else f"{minutes:g} min"),
        ("Entered", f"{_time(entry.get('entered_utc'))}, officer {entry.get('officer') or 'not named'}"),
        ("Corrections", f"{int(entry.get('revision', 1)) - 1} before this entry"),
    ]
    return Part("What the search found", tuple(rows))


def _checks(case: Case, photos: Mapping[str, list[str]]) -> Part:
    rows = []
    for check in CHECKS:
        state = case.secured.get(check, "")
        said = STATES.get(state, state)
        if check in case.failing and state == "ok":
            said += ", but see the seals"
        rows.append((_words(check), said, ", ".join(photos.get(check, [])) or "-"))
    failing = ", ".join(map(_words, case.failing)) or "none"
    unchecked = [check for check, state in case.secured.items() if state == "not_checked"]
    notes = [f"Not in order: {failing}."]
    if unchecked:
        notes.append(f"Not checked, and so neither for nor against: {', '.join(map(_words, unchecked))}.")
    return Part("The scheme's checks, item by item", tuple(rows), ("Check", "State", "Photo"), tuple(notes))


def _seals(outcome: Mapping[str, Any]) -> Part:
    rows = tuple((seal["number"], _words(seal["state"])) for seal in outcome.get("seals") or [])
    return Part("Seals", rows or (("no seal was recorded", "-"),), ("Number", "State"))


def _driver(case: Case) -> Part:
    rows = [
        ("Checklist", CHECKLISTS[case.checklist or "not_asked"]),
        ("Account", ACCOUNTS[case.account or "no_driver"]),
    ]
    if case.account_text is not None:
        rows.append(("In the driver's words, as noted", case.account_text))
    return Part("Driver", tuple(rows))


def _lane(verdict: Mapping[str, Any]) -> Part:
    rows = []
    for part in verdict["evidence"]:
        lr = f"{part['log10_lr']:+.2f}" if part["state"] == "measured" else "0"
        rows.append((_words(part["modality"]), _words(part["state"]), lr, part["cause"] or part["where"] or "-"))
    notes = [
        f"Advice: {LEVELS[verdict['level']]} (revision {verdict['revision']}).",
        f"Log10 odds {verdict['log10_odds']:.3f}, of which {verdict['prior_log10_odds']:.3f} were there before any"
        f" measurement; score {verdict['score']:.4g}.",
        *(reason["text"] for reason in verdict["reasons"]),
    ]
    return Part("What the lane advised", tuple(rows), ("Sense", "State", "Log10 LR", "Cause or place"), tuple(notes))


def _devices(passage: Mapping[str, Any], verdict: Mapping[str, Any]) -> Part:
    by = verdict["produced_by"]
    calibrations = by.get("calibrations") or {}
    rows = []
    for device in passage.get("devices") or []:
        maker = " ".join(filter(None, (device.get("vendor"), device.get("model"), device.get("serial")))) or "-"
        calibration = device.get("calibration_id") or calibrations.get(device["name"]) or "none on record"
        rows.append((device["name"], _words(device["modality"]), maker, calibration))
    notes = (
        f"Program {by['version']}, model {by['model']}.",
        f"Model SHA-256 {by['model_sha256']}.",
        f"Configuration SHA-256 {by['config_sha256']}.",
    )
    return Part("Devices, calibrations, model", tuple(rows), ("Device", "Sense", "Make", "Calibration"), notes)


def _record(case: Case, fingerprint: str, made_utc: str) -> Part:
    rows = (
        ("Journal rows in this pack", ", ".join(f"{row.sequence} ({row.kind})" for row in case.rows)),
        ("Lane's public key, SHA-256 of its PEM file", fingerprint),
        ("Pack made", _time(made_utc)),
        ("How to check it", "HOW-TO-CHECK.txt in this pack: sha256sum, openssl and unzip are enough"),
    )
    return Part("Record and seal", rows, notes=LIMITS)


def _plate(plate: Mapping[str, Any] | None) -> str:
    if plate is None:
        return "not recorded"
    return f"{plate['text']} ({plate['country'] or 'country not recorded'})"


def _words(code: object) -> str:
    return str(code).replace("_", " ")


def _time(text: object) -> str:
    return "not known" if not isinstance(text, str) else text.replace("T", " ").removesuffix("Z") + " UTC"
