from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from calibration.response import Response
from drivers.reading import ClockQuality, ContactChange, ContactState, GasSample, Point, Stamp
from fusion.classifier import Classifier, Judgement, NoNumber
from fusion.decision import Thresholds
from fusion.evidence.evidence import Evidence
from fusion.judge import Issue, Look, Model, Occasion, gather, judge, life_alarm
from fusion.passage import BodyType, Context, Passage, SensorSeries
from fusion.policy import Policy
from fusion.verdict import Level, ProducedBy, State, Verdict

SECOND = 1_000_000_000
BEGAN = 1_770_000_000 * SECOND
CLOCK = ClockQuality(synchronised=True, max_error_ns=1_000)
MADE = ProducedBy(version="0", model="test", model_sha256="0", config_sha256="0", calibrations={})
ISSUE = Issue(1, "2026-03-01T10:15:31Z", MADE)
SENSITIVE = Response(1e9, 10.0)
EMPTY = Passage("01JQ0F7Y3W8V5R2M9K4T6B1N0D", "calais", "3", BEGAN, None, context=Context(shelter="shed"))


class Says:
    """A classifier whose answer is given, in place of a trained one."""

    def __init__(self, log10_lr: Mapping[str, float] | NoNumber) -> None:
        self._log10_lr = log10_lr

    def admitted(self, evidence: Sequence[Evidence]) -> tuple[Evidence, ...]:
        return tuple(evidence)

    def judge(self, evidence: Sequence[Evidence], context: object, look: int, prior: float) -> Judgement:
        if isinstance(self._log10_lr, NoNumber):
            raise self._log10_lr
        spoken = [self._log10_lr.get(p.modality, 0.0) if p.state is State.MEASURED else 0.0 for p in evidence]
        return Judgement(cast(Any, tuple(spoken)), prior + sum(spoken), 0.5)


def model(log10_lr: Mapping[str, float] | NoNumber) -> Model:
    bounds = Thresholds(no_search_log10_lr=-0.8, search_log10_lr=1.2)
    return Model(cast(Classifier, Says(log10_lr)), lambda *_: bounds, Policy().looks_s, "simulated")


def shaken(seconds: float = 20.0) -> Passage:
    random = np.random.default_rng(1)
    n = round(seconds * 250)
    series = tuple(
        SensorSeries(sensor, "EHZ", BEGAN, 250.0, random.normal(0, 1e3, n).round(), SENSITIVE)
        for sensor in ("B1", "B2", "G1")
    )
    return replace(EMPTY, vibration=series)


def gas(second: float, ppm: float, point: Point = Point.INSIDE, temperature_c: float | None = None) -> GasSample:
    at = BEGAN + round(second * SECOND)
    return GasSample("probe", Stamp(at, at, at, CLOCK), point, ppm, temperature_c=temperature_c)


def at(second: float, occasion: Occasion = Occasion.LOOK, index: int = 2) -> Look:
    return Look(index, BEGAN + round(second * SECOND), occasion)


def adds_up(verdict: Verdict) -> bool:
    return abs(verdict.prior_log10_odds + sum(p.log10_lr for p in verdict.evidence) - verdict.log10_odds) < 1e-9


@pytest.mark.parametrize("occasion", list(Occasion))
def test_a_passage_without_any_series_is_never_no_search(occasion: Occasion) -> None:
    verdict = judge(EMPTY, at(45, occasion, 4), model({"vibration": -1.5}), Policy(), ISSUE)
    assert verdict.level is Level.RECHECK
    assert all(part.log10_lr == 0.0 and part.cause for part in verdict.evidence)
    assert adds_up(verdict)


def test_evidence_against_gives_no_search_and_evidence_for_a_search() -> None:
    against = judge(shaken(), at(15), model({"vibration": -1.0}), Policy(), ISSUE)
    for_it = judge(shaken(), at(15), model({"vibration": 1.4}), Policy(), ISSUE)
    assert (against.level, against.final) == (Level.NO_SEARCH, True)
    assert (for_it.level, for_it.final) == (Level.SEARCH, True)
    assert adds_up(against)
    assert adds_up(for_it)


def test_a_model_that_gives_no_number_is_named_and_never_no_search() -> None:
    verdict = judge(shaken(), at(45, index=4), model(NoNumber("model gave no number")), Policy(), ISSUE)
    assert verdict.level is Level.RECHECK
    assert verdict.evidence[0].state is State.FAULTY
    assert "model.no_number" in [reason.code for reason in verdict.reasons]


def test_dangerous_air_opens_whatever_the_score_and_is_not_taken_back() -> None:
    breathed = replace(shaken(), gas=tuple(gas(second, 6_000.0 + second) for second in range(10)))
    verdict = judge(breathed, at(12, Occasion.LIFE), model({"vibration": -1.5}), Policy(), ISSUE)
    assert (verdict.level, verdict.final) == (Level.OPEN_NOW, True)
    later = judge(shaken(), at(15), model({"vibration": -1.5}), Policy(), replace(ISSUE, opened_before=True))
    assert later.level is Level.OPEN_NOW


def test_a_declared_load_does_not_hide_a_heart() -> None:
    load = replace(
        shaken(),
        context=Context(cargo="produce", shelter="shed"),
        body_type=BodyType.REFRIGERATED,
        gas=tuple(
            gas(second, ppm + second % 3, point, 8.0)
            for second in range(15)
            for point, ppm in ((Point.INSIDE, 6_000.0), (Point.AMBIENT, 430.0))
        ),
    )
    quiet = judge(load, at(15), model({"vibration": -0.5, "co2": 0.2}), Policy(), ISSUE)
    heart = judge(load, at(15), model({"vibration": 0.5, "co2": 0.2}), Policy(), ISSUE)
    assert quiet.level is not Level.OPEN_NOW
    assert heart.level is Level.OPEN_NOW


def test_air_that_rises_below_the_limit_is_not_waited_for_without_end() -> None:
    """A declared load, nothing that hears vibration, and a fast rise in a reefer whose unit is off."""
    rising = [gas(t, 500.0 + 20.0 * t, temperature_c=4.0) for t in range(41)]
    outside = [gas(t, 430.0 + t % 3, Point.AMBIENT, 4.0) for t in range(-20, 0)]
    context = Context(cargo="produce", refrigeration="off")
    deaf = replace(shaken(), vibration=(), gas=tuple(rising + outside), context=context)
    reefer = replace(deaf, body_type=BodyType.REFRIGERATED)
    alarm = life_alarm(reefer, BEGAN + 40 * SECOND, gather(reefer, BEGAN + 40 * SECOND), {})
    assert alarm is not None and alarm.code == "life.reefer_rise"


def test_a_restart_is_a_recheck_that_says_so() -> None:
    verdict = judge(shaken(), at(15, Occasion.RESTARTED), model({"vibration": -1.5}), Policy(), ISSUE)
    assert (verdict.level, verdict.final, verdict.reasons[0].code) == (Level.RECHECK, True, "restarted")


def test_a_red_contact_prompts_a_search_only_by_policy() -> None:
    stamp = Stamp(BEGAN, BEGAN, BEGAN, CLOCK)
    red = replace(shaken(), contacts=(ContactChange("detector", stamp, ContactState.RED),))
    ruled = Policy(red_contact_searches=True)
    assert judge(red, at(15), model({"vibration": -1.0}), ruled, ISSUE).level is Level.SEARCH
    assert judge(red, at(15), model({"vibration": -1.0}), Policy(), ISSUE).level is Level.NO_SEARCH


def test_the_last_look_ends_a_passage_and_an_earlier_one_goes_on() -> None:
    undecided = model({"vibration": 0.2})
    assert not judge(shaken(), at(15, index=3), undecided, Policy(), ISSUE).final
    assert judge(shaken(45), at(45, index=4), undecided, Policy(), ISSUE).final


def test_the_same_passage_gives_the_same_bytes() -> None:
    first, second = (judge(shaken(), at(15), model({"vibration": 0.3}), Policy(), ISSUE) for _ in range(2))
    assert first.document() == second.document()


def test_a_policy_with_other_looks_than_the_model_was_taught_uses_the_last_taught_one() -> None:
    found = model({})
    assert [found.look_at(at_s) for at_s in (1.0, 5.0, 12.0, 44.0, 600.0)] == [0, 0, 1, 3, 4]
    other = Policy(looks_s=(3.0, 60.0, 90.0, 120.0, 150.0, 180.0, 240.0))
    assert judge(shaken(), at(15, index=6), found, other, ISSUE).final
