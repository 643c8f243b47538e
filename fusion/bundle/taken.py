"""A bundle's looks as they were judged: the same words for the lane that takes them and a replay that does so again.

Beside FORMATS' own keys a look keeps ``occasion`` (why it was taken), ``look`` (whose calibration applied), and the
``context`` and ``body_type`` that were declared by then, and ``drawn_as`` where the audit drew the vehicle (the reason
that was given; number and probability stay in the journal); readers that do not know them ignore them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np

from fusion.audit_draw import REASONS
from fusion.bundle.read import BundleContents
from fusion.bundle.series import window_of
from fusion.judge import Look, Occasion, alarm_in
from fusion.passage import BodyType, Context, Passage
from fusion.policy import Policy
from fusion.verdict import Level

LONGEST_WORDS = 80
_NO_COUNTS = np.empty(0, dtype=np.float64)


def taken_look(contents: BundleContents, index: int) -> tuple[Passage, Look]:
    """The passage as it was at a recorded look, and the look.

    Raises:
        LookupError: no such look was recorded.
    """
    record = contents.looks[index]
    until_utc_ns = contents.look_utc_ns(index)
    passage = _within(contents, until_utc_ns).passage(index)
    extra = record.model_extra or {}
    passage = replace(
        passage,
        ended_utc_ns=None,
        context=_context(extra.get("context"), passage.context),
        body_type=_word(BodyType, extra.get("body_type"), passage.body_type),
    )
    occasion = _word(Occasion, extra.get("occasion"), Occasion.LOOK)
    number = extra.get("look")
    joined_by, drawn_as = extra.get("joined_by"), extra.get("drawn_as")
    return passage, Look(
        number if isinstance(number, int) and number >= 0 else index,
        until_utc_ns,
        occasion,
        joined_by[:LONGEST_WORDS] if isinstance(joined_by, str) else None,
        drawn_as if isinstance(drawn_as, str) and drawn_as in REASONS else None,
    )


def look_record(
    look: Look,
    at_s: float,
    states: Mapping[str, str],
    used_bytes: Mapping[str, int],
    used_until_utc: Mapping[str, str],
    context: Context,
    body_type: BodyType,
) -> dict[str, Any]:
    """The JSON form of a look that is being taken; `taken_look` reads it."""
    late = {} if look.joined_by is None else {"joined_by": look.joined_by}
    return late | {
        "at_s": at_s,
        "used_until_utc": dict(used_until_utc),
        "used_bytes": dict(used_bytes),
        "states": dict(states),
        "occasion": look.occasion.value,
        "look": look.index,
        "context": {field.name: getattr(context, field.name) for field in fields(context)},
        "body_type": body_type.value,
    }


def assumed_looks(contents: BundleContents, policy: Policy) -> list[tuple[Passage, Look]]:
    """Looks for a bundle that has none: each sample is taken to have arrived at its own time.

    The policy's looks as far as the passage lasted, and its end where that came before the last of them; one more at
    the first reading of dangerous air, and one where a radiograph was taken after the last of them.
    """
    passage = contents.passage(None)
    scans = passage.radiographs
    began, ended = passage.began_utc_ns, passage.ended_utc_ns
    moments = [began + round(at_s * 1e9) for at_s in policy.looks_s]
    looks = [Look(i, at) for i, at in enumerate(moments) if ended is None or at <= ended]
    if ended is not None and ended < moments[-1]:
        looks.append(Look(max(0, len(looks) - 1), ended, Occasion.END))
    last = looks[-1]
    alarm_ns = _first_alarm_ns(passage)
    if alarm_ns is not None and (ended is None or alarm_ns <= ended):
        index = max((look.index for look in looks if look.until_utc_ns <= alarm_ns), default=0)
        looks.append(Look(index, alarm_ns, Occasion.LIFE))
        looks.sort(key=lambda look: look.until_utc_ns)
    taken = [(_with_radiographs_until(passage, look.until_utc_ns), look) for look in looks]
    if any(scan.stamp.time_utc_ns > looks[-1].until_utc_ns for scan in scans):
        taken.append((passage, Look(last.index, looks[-1].until_utc_ns, Occasion.LATE)))
    return taken


def _first_alarm_ns(passage: Passage) -> int | None:
    """When the readings so far first met the life-safety rule; the lane asks it of every reading."""
    refrigerated = passage.body_type is BodyType.REFRIGERATED  # a rise may have ended; a level that was met stays met
    if not refrigerated and not alarm_in(passage.gas, passage.context, passage.body_type):
        return None
    samples = sorted(passage.gas, key=lambda sample: sample.stamp.time_utc_ns)
    for count, sample in enumerate(samples, 1):
        if alarm_in(samples[:count], passage.context, passage.body_type):
            return max(sample.stamp.time_utc_ns, passage.began_utc_ns)
    return None


def _with_radiographs_until(passage: Passage, until_utc_ns: int) -> Passage:
    kept = tuple(scan for scan in passage.radiographs if scan.stamp.time_utc_ns <= until_utc_ns)
    return replace(passage, radiographs=kept)


def policy_of(document_policy: Mapping[str, Any] | None, otherwise: Policy) -> Policy:
    """The policy that the passage was judged under, or the one at hand.

    Raises:
        ValueError: the recorded policy is none; the message names the field.
    """
    if document_policy is None:
        return otherwise
    known = {field.name for field in fields(Policy)}
    given = {name: value for name, value in document_policy.items() if name in known}
    try:
        if "looks_s" in given:
            given["looks_s"] = tuple(float(at_s) for at_s in given["looks_s"])
        if "on_timeout" in given:
            given["on_timeout"] = Level(given["on_timeout"])
        return Policy(**given)
    except TypeError as error:
        raise ValueError(f"passage.json: policy: {error}") from None


def policy_record(policy: Policy) -> dict[str, Any]:
    """The JSON form of a policy; `policy_of` reads it."""
    found = {field.name: getattr(policy, field.name) for field in fields(policy)}
    return found | {"looks_s": list(policy.looks_s), "on_timeout": policy.on_timeout.value}


def _within(contents: BundleContents, until_utc_ns: int) -> BundleContents:
    """Without what a device with a wrong clock stamped beyond the look: the lane could not have waited for it."""
    window = window_of(contents.document.began_utc_ns, until_utc_ns)
    pieces = tuple(
        piece
        if piece.outside or window.holds(piece.start_utc_ns, piece.end_utc_ns)
        else replace(piece, outside=True, counts=_NO_COUNTS)
        for piece in contents.pieces
    )
    return replace(contents, pieces=pieces)


def _context(words: object, otherwise: Context) -> Context:
    if not isinstance(words, Mapping):
        return otherwise
    given = {field.name: words[field.name] for field in fields(Context) if field.name in words}
    return replace(otherwise, **given)


def _word(kind: Any, word: object, otherwise: Any) -> Any:
    try:
        return kind(word)
    except ValueError:
        return otherwise
