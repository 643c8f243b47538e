"""A verdict as an officer reads it: level, where and why in three lines, and what was not measured and why.

Lines are keys of the catalogue with their values, so that each page says them in its own language; ``text`` is what the
lane said, for what no catalogue knows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from edge.booth import causes
from fusion.verdict import MODALITIES, Level

MOST_LINES, MOST_WHERE = 3, 2
MOST_PICTURES = 10_000  # of one passage
LONGEST_TEXT = 300  # letters of a text that came from a device; assumed: ours have a third of it
PLACES = ("front", "middle", "rear")
# Reasons that decide by themselves come before what a sensor says; what merely sums the sensors up is left to them.
FIRST = ("life.", "audit.", "policy.search", "contact.", "restarted", "model.no_number", "late.kept")
SUMS = ("score.", "measuring", "policy.timeout")
LAST = ("clock.",)
_NUMBER = re.compile(r"([0-9]{1,7})(?:\.[0-9]+)? ppm")
# Places as evidence words them: of an imager's side, and of a radiograph.
_SIDE = re.compile(r"(left|right|top) side, (left|middle|right) of its picture")
_METRES = re.compile(r"([0-9]{1,3}\.[0-9]) m from the left edge of the radiograph")
_BOX = ("top", "bottom", "left", "right")

Line = dict[str, Any]


def prompt_of(verdict: Mapping[str, Any]) -> dict[str, Any] | None:
    """The prompt of a verdict, as JSON types; None where it cannot be read, which is never an all-clear."""
    try:
        level = Level(verdict["level"])
        evidence = {part["modality"]: part for part in verdict["evidence"]}
        parts = [evidence[modality] for modality in MODALITIES]
        reasons = [(str(reason["code"]), str(reason["text"])) for reason in verdict["reasons"]]
        return {
            "passage_id": str(verdict["passage_id"]),
            "level": level.value,
            "revision": int(verdict["revision"]),
            "final": bool(verdict["final"]),
            "issued_utc": str(verdict["issued_utc"]),
            "measuring": _measuring(level, reasons) and not verdict["final"],
            "audited": any(code == "audit.random" for code, _ in reasons),
            "lines": list(_lines(level, parts, reasons))[:MOST_LINES],
            "parts": [_part(part) for part in parts],
            "trained_on": str(verdict["trained_on"]),
        }
    except (KeyError, TypeError, ValueError):
        return None


def _measuring(level: Level, reasons: Sequence[tuple[str, str]]) -> bool:
    """A look before the last whose evidence is not sufficient yet is no prompt: measuring goes on."""
    return level is Level.RECHECK and any(code == "measuring" for code, _ in reasons)


def _lines(level: Level, parts: Sequence[Mapping[str, Any]], reasons: Sequence[tuple[str, str]]) -> Iterator[Line]:
    if level in (Level.SEARCH, Level.OPEN_NOW):
        yield _where(parts)
    elif level is Level.RECHECK:
        yield _again(parts)
    by_name = {part["modality"]: part for part in parts}
    silent = [code for code, _ in reasons if code.endswith((".absent", ".late", ".faulty", ".out_of_limits"))]
    for code, text in sorted(reasons, key=lambda reason: _rank(reason[0])):
        if code.startswith(("score.", "measuring")) and len(reasons) > len(silent) + 1:
            continue
        if level is Level.RECHECK and code in silent:
            continue  # the first line has said it
        yield _reason(code, text, by_name)


def _rank(code: str) -> int:
    """Reasons of one rank keep the lane's order, which is strongest first."""
    if code.startswith(FIRST):
        return 0
    if code.startswith(SUMS):
        return 2
    return 3 if code.startswith(LAST) else 1


def _where(parts: Sequence[Mapping[str, Any]]) -> Line:
    speaking = sorted(parts, key=lambda part: -float(part["log10_lr"]))
    named = dict.fromkeys(str(part["where"]) for part in speaking if part["where"] and part["log10_lr"] > 0)
    places = sorted(named, key=lambda name: name not in PLACES)[:MOST_WHERE]  # of the vehicle before of a picture
    if not places:
        return {"key": "line.anywhere", "values": {}, "text": "The whole vehicle"}
    return {"key": "line.where", "values": {"places": [place(name) for name in places]}, "text": ", ".join(places)}


def _again(parts: Sequence[Mapping[str, Any]]) -> Line:
    """What to measure again: what could be measured here and was not; what the lane does not have is left out."""
    silent = [part for part in parts if part["state"] != "measured" and not _not_here(part)]
    names = [f"@modality.{part['modality']}" for part in silent]
    if not names:
        return {"key": "line.again_all", "values": {}, "text": "Measure again, with more time"}
    causes = [_cause(part) for part in silent]
    text = "; ".join(f"{part['modality']}: {cause['text']}" for part, cause in zip(silent, causes, strict=True))
    return {"key": "line.again", "values": {"modalities": names}, "text": text}


def _not_here(part: Mapping[str, Any]) -> bool:
    return part["state"] == "absent" and causes.key_of(str(part["cause"])) in causes.NOT_HERE


def _reason(code: str, text: str, parts: Mapping[str, Mapping[str, Any]]) -> Line:
    modality, _, side = code.partition(".")
    part = parts.get(modality)
    if part is None:
        number = _NUMBER.search(text)
        return line(f"reason.{code}", {"ppm": int(number[1])} if number else {}, text)
    if side in ("absent", "late", "faulty", "out_of_limits"):
        cause = _cause(part)
        values = {"modality": f"@modality.{modality}", "cause": f"@{cause['key']}" if cause["key"] else cause["text"]}
        return line("reason.silent", values, text)
    features = part["features"]
    if modality == "vibration" and side == "for" and _number(features.get("rhythm_bpm")) is not None:
        return line("reason.vibration.rhythm", {"bpm": round(features["rhythm_bpm"])}, text)
    if modality == "co2":
        excess, slope = _number(features.get("excess_ppm")), _number(features.get("slope_ppm_per_min"))
        if excess is not None and slope is not None and side in ("for", "against"):
            return line(f"reason.co2.{side}", {"excess": round(excess), "slope": round(slope)}, text)
    if modality == "mmwave" and side == "for" and (kelvin := _number(features.get("contrast_k"))) is not None:
        return line(f"reason.mmwave.{'warm' if kelvin > 0 else 'cold'}", {"kelvin": round(abs(kelvin), 1)}, text)
    if modality in ("mmwave", "xray") and side == "against" and (seen := _number(features.get("coverage"))) is not None:
        return line(f"reason.{modality}.against_share", {"percent": round(100 * seen)}, text)
    key = f"reason.{code}" if side in ("for", "against", "neutral") else ""
    return line(key, {}, text)


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    """One modality: whether it spoke and which way, or why not."""
    measured = part["state"] == "measured"
    return {
        "modality": part["modality"],
        "state": part["state"],
        "log10_lr": round(float(part["log10_lr"]), 2),
        "where": place(str(part["where"])) if part["where"] else None,
        "region": _region(part["features"]) if measured and part["log10_lr"] > 0 else None,
        "cause": None if measured else _cause(part),
    }


def _region(features: Mapping[str, Any]) -> dict[str, float] | None:
    """Where the picture shows it, as shares of the picture, and in which picture; None where that is not told."""
    box = {side: _number(features.get(f"region_{side}")) for side in _BOX}
    number = next(
        (found for name in ("frame", "radiograph") if (found := _number(features.get(f"region_{name}")))), 0.0
    )
    sides = [share for share in box.values() if share is not None and 0.0 <= share <= 1.0]
    whole = len(sides) == len(_BOX) and sides[0] < sides[1] and sides[2] < sides[3]
    if number is None or not 0 <= number <= MOST_PICTURES or not whole:
        return None
    return dict(zip(_BOX, sides, strict=True)) | {"picture": int(number)}


def _cause(part: Mapping[str, Any]) -> dict[str, str]:
    text = clipped(str(part["cause"] or ""))
    return {"key": causes.key_of(text), "text": text}


def line(key: str, values: Mapping[str, Any], text: str) -> Line:
    """One line: a key of the catalogue with its values, and what to show where no catalogue has the key."""
    return {"key": key, "values": dict(values), "text": clipped(text)}


def place(name: str) -> str | Line:
    """A place as a key, marked ``@``, or a line; else the lane's own word, which is never taken as a key."""
    if name in PLACES:
        return f"@place.{name}"
    if side := _SIDE.fullmatch(name):
        return line("place.picture", {"side": f"@side.{side[1]}", "third": f"@third.{side[2]}"}, name)
    if metres := _METRES.fullmatch(name):
        return line("place.radiograph", {"metres": float(metres[1])}, name)
    if name.startswith("place unknown"):
        return line("place.unknown", {}, name)
    return clipped(name.lstrip("@"))


def clipped(text: str) -> str:
    """One line of bounded length; nothing in it is obeyed by a screen or turns the direction of writing."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * LONGEST_TEXT])
    return " ".join(printable.split())[:LONGEST_TEXT]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and isfinite(value) else None
