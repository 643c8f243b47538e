"""One passage at one moment, judged: the pure heart of the lane, and the very same of a replay.

passage -> evidence of each modality -> model -> level. What the daemon published is what this gives again from the
bundle: no clock, no file and no random number is read here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from drivers.reading import ContactState, GasSample, Point
from fusion.audit_draw import told
from fusion.classifier import Classifier, NoNumber
from fusion.decision import OPEN_NOW_PPM, Decision, Thresholds, decide, life_safety
from fusion.emitter import agrees
from fusion.evidence.co2 import co2_evidence
from fusion.evidence.context import context_values
from fusion.evidence.evidence import Evidence, silent
from fusion.evidence.mmwave import mmwave_evidence
from fusion.evidence.vibration import vibration_evidence
from fusion.evidence.xray import xray_evidence
from fusion.passage import BodyType, Context, Passage
from fusion.policy import Policy
from fusion.reasons import reasons
from fusion.verdict import MODALITIES, Contribution, Level, ProducedBy, Reason, State, Verdict

FEATURE_DECIMALS = 6  # published features; contributions are rounded by the classifier, before they are compared
SCORE_DECIMALS = 9


class Occasion(StrEnum):
    """Why a passage is judged now."""

    LOOK = "look"
    LIFE = "life"
    END = "end"
    STOPPED = "stopped"
    RESTARTED = "restarted"
    LATE = "late"  # evidence came after the vehicle had left


@dataclass(frozen=True, slots=True)
class Look:
    """A moment at which a passage is judged. ``index`` is that of the policy's look that was reached by then.

    ``joined_by`` is how late evidence found its passage, in words.
    """

    index: int
    until_utc_ns: int
    occasion: Occasion = Occasion.LOOK
    joined_by: str | None = None
    drawn_as: str | None = None  # the audit drew the vehicle then, and this is the reason that was given


class Bounds(Protocol):
    """Both thresholds for the modalities that spoke, at one look: a manifest's own method fits."""

    def __call__(self, spoke: Sequence[str], look: int, alpha: float, delta: float, pfa: float) -> Thresholds: ...


@dataclass(frozen=True, slots=True)
class Model:
    """A classifier that passed its contract, with the bounds that its calibration supports."""

    classifier: Classifier
    bounds: Bounds
    looks_s: tuple[float, ...]
    trained_on: Literal["simulated", "mixed", "recorded"]

    def look_at(self, at_s: float) -> int:
        """The model's own look whose calibration serves at ``at_s``: the last that is not later, or the first."""
        return max((i for i, taught_s in enumerate(self.looks_s) if taught_s <= at_s), default=0)


@dataclass(frozen=True, slots=True)
class Issue:
    """What a verdict carries that is not judged: its number, its moment, and what made it."""

    revision: int
    issued_utc: str
    produced_by: ProducedBy
    final_before: bool = False  # an earlier revision was final already
    opened_before: bool = False  # an earlier revision said open_now: life safety is not taken back
    searched_before: bool = False  # an earlier final revision said search: late evidence does not take it back


def gather(passage: Passage, until_utc_ns: int) -> tuple[Evidence, ...]:
    """Evidence of the four modalities, in the fixed order."""
    return (
        vibration_evidence(passage, until_utc_ns),
        co2_evidence(passage, until_utc_ns),
        mmwave_evidence(passage, until_utc_ns),
        xray_evidence(passage),
    )


def judge(
    passage: Passage,
    look: Look,
    model: Model,
    policy: Policy,
    issue: Issue,
    gathered: tuple[Evidence, ...] | None = None,
) -> Verdict:
    """The verdict of a passage at a look; ``gathered`` is what `gather` gave of it, if that was asked already.

    A model that fails or gives no number silences every modality with that cause; the policy then decides, and never
    for `no_search`.
    """
    gathered = gather(passage, look.until_utc_ns) if gathered is None else gathered
    evidence = model.classifier.admitted(gathered)
    evidence, ratios, failure = _weigh(model, evidence, passage, look, policy)
    decision = _with_late(_decide(passage, look, model, policy, ratios), look, issue)
    decision = _with_life_safety(decision, passage, look, evidence, ratios, issue)
    total = policy.prior_log10_odds + sum(ratios.get(name, 0.0) for name in MODALITIES)
    verdict = Verdict(
        schema="lanepulse.verdict/1",
        passage_id=passage.passage_id,
        revision=issue.revision,
        final=decision.final or issue.final_before,
        site=passage.site,
        lane=passage.lane,
        issued_utc=issue.issued_utc,
        level=decision.level,
        score=round(1.0 / (1.0 + 10.0**-total), SCORE_DECIMALS),
        log10_odds=total,
        prior_log10_odds=policy.prior_log10_odds,
        evidence=tuple(_contribution(part, ratios) for part in evidence),
        reasons=(*decision.reasons, *failure, *_clock(passage), *reasons(evidence, ratios)),
        trained_on=model.trained_on,
        produced_by=issue.produced_by,
    )
    drawn = look.drawn_as is not None and verdict.level is Level.NO_SEARCH
    return told(verdict, str(look.drawn_as)) if drawn else verdict


def margin_log10_lr(verdict: Verdict, look: Look, model: Model, policy: Policy) -> float | None:
    """How far the evidence is under the bound of `no_search`; None where the pattern has none."""
    spoke = [part.modality for part in verdict.evidence if part.state is State.MEASURED]
    bounds = model.bounds(spoke, _taught(model, look, policy), policy.alpha, policy.delta, policy.pfa)
    if bounds.no_search_log10_lr is None:
        return None
    return bounds.no_search_log10_lr - sum(part.log10_lr for part in verdict.evidence)


def _weigh(
    model: Model, evidence: tuple[Evidence, ...], passage: Passage, look: Look, policy: Policy
) -> tuple[tuple[Evidence, ...], dict[str, float], tuple[Reason, ...]]:
    """Evidence, the contribution of each measured modality, and the failure of a model that gave none."""
    spoke = [part.modality for part in evidence if part.state is State.MEASURED]
    if not spoke:
        return evidence, {}, ()
    try:
        context = context_values(passage, look.until_utc_ns)
        given = model.classifier.judge(evidence, context, _taught(model, look, policy), policy.prior_log10_odds)
    except NoNumber as failure:
        silenced = tuple(
            silent(part.modality, State.FAULTY, str(failure)) if part.state is State.MEASURED else part
            for part in evidence
        )
        return silenced, {}, (Reason(code="model.no_number", text=str(failure)),)
    by_name = dict(zip(MODALITIES, given.log10_lr, strict=True))
    return evidence, {name: by_name[name] for name in spoke}, ()


def _taught(model: Model, look: Look, policy: Policy) -> int:
    return model.look_at(policy.looks_s[min(look.index, len(policy.looks_s) - 1)])


def _decide(
    passage: Passage,
    look: Look,
    model: Model,
    policy: Policy,
    ratios: Mapping[str, float],
) -> Decision:
    if look.occasion is Occasion.RESTARTED:
        text = "The appliance was restarted while this vehicle was measured"
        return Decision(Level.RECHECK, True, (Reason(code="restarted", text=text),))
    spoke = [name for name in MODALITIES if name in ratios]
    thresholds = model.bounds(spoke, _taught(model, look, policy), policy.alpha, policy.delta, policy.pfa)
    if policy.search_log10_lr is not None:
        thresholds = Thresholds(thresholds.no_search_log10_lr, policy.search_log10_lr)
    ends = look.occasion in (Occasion.END, Occasion.STOPPED, Occasion.LATE)
    decision = decide(
        [ratios.get(name) for name in MODALITIES],
        thresholds,
        last_look=ends or (look.occasion is Occasion.LOOK and look.index == len(policy.looks_s) - 1),
        on_timeout=policy.on_timeout,
    )
    if policy.red_contact_searches and _red(passage, look) and decision.level is not Level.SEARCH:
        return Decision(Level.SEARCH, True, (Reason(code="contact.red", text="The closed detector shows red"),))
    return decision


def _with_late(decision: Decision, look: Look, issue: Issue) -> Decision:
    """The decision with the reason of a late look; a search that was prompted stays prompted."""
    if look.occasion is not Occasion.LATE:
        return decision
    text = f"A radiograph came after the verdict, joined by {look.joined_by or 'the bundle'}"
    late = (Reason(code="late.xray", text=text), *decision.reasons)
    if issue.searched_before and decision.level is not Level.SEARCH:
        kept = Reason(code="late.kept", text="A search was prompted before; late evidence does not take it back")
        return Decision(Level.SEARCH, True, (kept, *late))
    return Decision(decision.level, True, late)


def _red(passage: Passage, look: Look) -> bool:
    return any(
        change.state is ContactState.RED and change.stamp.time_utc_ns <= look.until_utc_ns
        for change in passage.contacts
    )


def _with_life_safety(
    decision: Decision,
    passage: Passage,
    look: Look,
    evidence: tuple[Evidence, ...],
    ratios: Mapping[str, float],
    issue: Issue,
) -> Decision:
    alarm = life_alarm(passage, look.until_utc_ns, evidence, ratios)
    if alarm is not None:
        return Decision(Level.OPEN_NOW, True, (alarm, *decision.reasons))
    if issue.opened_before:
        kept = Reason(code="life.kept", text="An earlier reading of this passage was dangerous")
        return Decision(Level.OPEN_NOW, True, (kept, *decision.reasons))
    return decision


def life_alarm(
    passage: Passage, until_utc_ns: int, evidence: tuple[Evidence, ...], ratios: Mapping[str, float]
) -> Reason | None:
    """Why the vehicle must be opened now, or None; ``ratios`` of the modalities that spoke."""
    gas = gas_until(passage.gas, until_utc_ns)
    high_for_s = _high_for_s(gas, passage.began_utc_ns, until_utc_ns)
    agreed = agrees(passage.context, evidence, ratios, inside_temperature_c(gas), high_for_s)
    refrigerated = passage.body_type is BodyType.REFRIGERATED
    return life_safety(gas, passage.context, refrigerated=refrigerated, emitter_agrees=agreed)


def _high_for_s(gas: Sequence[GasSample], began_utc_ns: int, until_utc_ns: int) -> float:
    """Seconds since the first high reading inside; since the vehicle stands, if that is later or the air only rises."""
    high = (s.stamp.time_utc_ns for s in gas if s.point is Point.INSIDE and (s.co2_ppm or 0.0) >= OPEN_NOW_PPM)
    return (until_utc_ns - max(next(high, began_utc_ns), began_utc_ns)) / 1e9


def gas_until(samples: Sequence[GasSample], until_utc_ns: int) -> list[GasSample]:
    """Samples that were true by then, in order of time."""
    kept = [sample for sample in samples if sample.stamp.time_utc_ns <= until_utc_ns]
    return sorted(kept, key=lambda sample: (sample.stamp.time_utc_ns, sample.device))


def inside_temperature_c(samples: Sequence[GasSample]) -> float | None:
    """The last temperature that a probe inside gave, or None."""
    inside = [s.temperature_c for s in samples if s.point is Point.INSIDE and s.temperature_c is not None]
    return inside[-1] if inside else None


def alarm_in(samples: Sequence[GasSample], context: Context, body_type: BodyType) -> bool:
    """Whether a reading may meet the life-safety rule, emitters aside: cheap enough to ask on every CO2 reading."""
    refrigerated = body_type is BodyType.REFRIGERATED
    return life_safety(samples, context, refrigerated=refrigerated, emitter_agrees=False) is not None


def _contribution(part: Evidence, ratios: Mapping[str, float]) -> Contribution:
    return Contribution(
        modality=part.modality,
        state=part.state,
        log10_lr=ratios.get(part.modality, 0.0),
        quality=None if part.quality is None else round(part.quality, FEATURE_DECIMALS),
        cause=part.cause,
        where=part.where,
        features={name: round(value, FEATURE_DECIMALS) + 0.0 for name, value in sorted(part.features.items())},
    )


def _clock(passage: Passage) -> tuple[Reason, ...]:
    if passage.clock_synchronised:
        return ()
    return (Reason(code="clock.not_set", text="The lane's clock is not synchronised: times are the lane's own"),)
