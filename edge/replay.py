"""A bundle weighed again: the same samples, looks, context and policy give the same verdicts, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from edge import json_text
from edge.active_model import ActiveModel
from edge.passage_record import MADE
from fusion.bundle.fault import FileFault
from fusion.bundle.read import VERDICTS, BundleContents, read
from fusion.bundle.taken import assumed_looks, policy_of, taken_look
from fusion.bundle.times import format_utc
from fusion.judge import Issue, Occasion, judge
from fusion.policy import Policy
from fusion.verdict import Level, ProducedBy, Verdict

EXCUSED = "issued_utc"  # FORMATS: `--compare` checks every field but this one


@dataclass(frozen=True, slots=True)
class Weighing:
    """What a bundle is weighed with; ``policy`` is for bundles that have none of their own."""

    model: ActiveModel
    policy: Policy


@dataclass(frozen=True, slots=True)
class Replayed:
    """The verdicts of a bundle, first revision first, and what reading it said."""

    contents: BundleContents
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...]


def replayed(path: Path, weighing: Weighing) -> Replayed:
    """Weigh a bundle. ``issued_utc`` is the look's own time: no clock is read.

    Raises:
        BundleFault: there is no readable ``passage.json``, or its policy is none.
    """
    contents = read(path)
    try:
        policy = policy_of(contents.document.policy, weighing.policy)
    except ValueError as error:
        raise FileFault(str(error)) from None
    made = _made(contents, weighing.model)
    taken = [taken_look(contents, index) for index in range(len(contents.looks))]
    verdicts: list[Verdict] = []
    for passage, look in taken or assumed_looks(contents, policy):
        over = any(verdict.final for verdict in verdicts)
        if not taken and over and look.occasion is not Occasion.LATE:
            continue  # decided: only what came late is weighed again
        issue = Issue(
            revision=len(verdicts) + 1,
            issued_utc=format_utc(look.until_utc_ns),
            produced_by=made,
            final_before=over,
            opened_before=any(verdict.level is Level.OPEN_NOW for verdict in verdicts),
            searched_before=any(verdict.final and verdict.level is Level.SEARCH for verdict in verdicts),
        )
        verdicts.append(judge(passage, look, weighing.model.model, policy, issue))
    return Replayed(contents, tuple(verdicts), (*contents.notes, *contents.doubts()))


def compared(again: Replayed) -> list[str]:
    """What differs from what was published: digests first, then every field; nothing where all is equal."""
    faults = list(again.contents.digest_faults())
    if faults:
        return faults
    if VERDICTS not in again.contents.files.entries:
        return [f"{VERDICTS}: not there, so there is nothing to compare with"]
    try:
        published = json_text.read_lines(again.contents.files.read(VERDICTS))
    except (FileFault, json_text.JsonRefused) as fault:
        return [str(fault)]
    if len(published) != len(again.verdicts):
        return [f"{VERDICTS}: {len(published)} verdicts were published, {len(again.verdicts)} are given now"]
    found = []
    for number, (before, now) in enumerate(zip(published, again.verdicts, strict=True), 1):
        found += [f"{VERDICTS}:{number}: {line}" for line in _differences(before, now.document(), "")]
    return found


def _differences(before: Any, now: Any, place: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted(before.keys() | now.keys()):
            if not place and name == EXCUSED:
                continue
            inner = f"{place}.{name}" if place else name
            if name not in before or name not in now:
                yield f"{inner}: only {'published' if name in before else 'given now'}"
            else:
                yield from _differences(before[name], now[name], inner)
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _differences(one, other, f"{place}[{index}]")
    elif before != now:
        yield f"{place}: published {before!r}, now {now!r}"


def _made(contents: BundleContents, model: ActiveModel) -> ProducedBy:
    kept = (contents.document.model_extra or {}).get(MADE)
    kept = kept if isinstance(kept, Mapping) else {}
    calibrations = kept.get("calibrations")
    return ProducedBy(
        version=version("lanepulse"),
        model=model.name,
        model_sha256=model.sha256,
        config_sha256=str(kept.get("config_sha256", "")),
        calibrations={str(k): str(v) for k, v in calibrations.items()} if isinstance(calibrations, Mapping) else {},
    )
