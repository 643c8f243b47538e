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
from fusion.runtime import runtime
from fusion.verdict import Level, ProducedBy, Verdict

ELSEWHERE = 2e-6  # two steps of the published rounding: other processors differ before it, and may fall to either side
EXCUSED = "issued_utc"  # FORMATS: `--compare` checks every field but this one


@dataclass(frozen=True, slots=True)
class Weighing:
    """What a bundle is weighed with; ``policy`` is for bundles that have none of their own."""

    model: ActiveModel
    policy: Policy


@dataclass(frozen=True, slots=True)
class Replayed:
    """The verdicts of a bundle, first revision first, and what reading it said.

    ``looks_s`` are the policy's own times of the verdicts' looks, whenever they were truly taken.
    """

    contents: BundleContents
    verdicts: tuple[Verdict, ...]
    looks_s: tuple[float, ...]
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
    looks_s: list[float] = []
    for passage, look in taken or assumed_looks(contents, policy):
        over = any(verdict.final for verdict in verdicts)
        if not taken and over and look.occasion not in (Occasion.LATE, Occasion.LIFE):
            continue  # decided: only what came late, and danger to life, is weighed again
        issue = Issue(
            revision=len(verdicts) + 1,
            issued_utc=format_utc(look.until_utc_ns),
            produced_by=made,
            final_before=over,
            opened_before=any(verdict.level is Level.OPEN_NOW for verdict in verdicts),
            searched_before=any(verdict.final and verdict.level is Level.SEARCH for verdict in verdicts),
        )
        verdicts.append(judge(passage, look, weighing.model.model, policy, issue))
        looks_s.append(policy.looks_s[min(look.index, len(policy.looks_s) - 1)])
    return Replayed(contents, tuple(verdicts), tuple(looks_s), (*contents.notes, *contents.doubts()))


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs from what was published, in lines.

    ``within`` is None where the same bits were asked for: made on the same runtime. Else it is the largest difference
    of two numbers that was let pass, at most `ELSEWHERE` of either; levels and words must be equal all the same.
    """

    differences: tuple[str, ...]
    within: float | None = None


def compared(again: Replayed) -> list[str]:
    """What differs from what was published: nothing where all is equal, see `compare`."""
    return list(compare(again).differences)


def compare(again: Replayed) -> Comparison:
    """Digests first, then every field of every verdict."""
    faults = again.contents.digest_faults()
    if faults:
        return Comparison(tuple(faults))
    if VERDICTS not in again.contents.files.entries:
        return Comparison((f"{VERDICTS}: not there, so there is nothing to compare with",))
    try:
        published = json_text.read_lines(again.contents.files.read(VERDICTS))
    except (FileFault, json_text.JsonRefused) as fault:
        return Comparison((str(fault),))
    if len(published) != len(again.verdicts):
        text = f"{VERDICTS}: {len(published)} verdicts were published, {len(again.verdicts)} are given now"
        return Comparison((text,))
    found: list[str] = []
    passed: list[float] = []
    for number, (before, now) in enumerate(zip(published, again.verdicts, strict=True), 1):
        document = now.document()
        near = _Near(ELSEWHERE if _taken_out(before) != _taken_out(document) else 0.0)
        found += [f"{VERDICTS}:{number}: {line}" for line in near.differences(before, document, "")]
        passed += [near.largest] if near.most else []
    return Comparison(tuple(found), max(passed, default=None))


def _taken_out(verdict: Any) -> Any:
    """On what it was computed, which is no part of the comparison itself."""
    made = verdict.get("produced_by") if isinstance(verdict, dict) else None
    return made.pop("runtime", None) if isinstance(made, dict) else None


class _Near:
    """Compares two documents; numbers may differ by a share or an amount of ``most``."""

    def __init__(self, most: float) -> None:
        self.most, self.largest = most, 0.0

    def differences(self, before: Any, now: Any, place: str) -> Iterator[str]:
        if isinstance(before, dict) and isinstance(now, dict):
            for name in sorted(before.keys() | now.keys()):
                if not place and name == EXCUSED:
                    continue
                inner = f"{place}.{name}" if place else name
                if name not in before or name not in now:
                    yield f"{inner}: only {'published' if name in before else 'given now'}"
                else:
                    yield from self.differences(before[name], now[name], inner)
        elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
            for index, (one, other) in enumerate(zip(before, now, strict=True)):
                yield from self.differences(one, other, f"{place}[{index}]")
        elif before != now and not self._lets_pass(before, now):
            yield f"{place}: published {before!r}, now {now!r}"

    def _lets_pass(self, before: Any, now: Any) -> bool:
        if not (isinstance(before, float) and isinstance(now, float)):
            return False
        away = abs(before - now)
        passes = away <= self.most * max(1.0, abs(before))
        self.largest = max(self.largest, away) if passes else self.largest
        return passes


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
        runtime=runtime(),
    )
