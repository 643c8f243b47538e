"""Groups of an evaluation: by wind, by look, by people, and what was decided."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fusion.evaluation.case import Case, Step
from fusion.evaluation.evaluation import evaluation
from fusion.evaluation.metrics import difference
from fusion.passage import BodyType
from fusion.verdict import Level

EMPTY = Case("e", "e", False, BodyType.SOFT_SIDED, Level.NO_SEARCH, {"vibration": -1.0}, {"vibration": False})
FOUND = replace(EMPTY, name="f", passage_id="f", found=True, people=1, level=Level.SEARCH, log10_lr={"vibration": 1.2})


@pytest.mark.parametrize(
    ("shelter", "wind_m_s", "band"),
    [
        ("shed", 14.0, "shed"),
        ("open", 0.0, "open to 3 m/s"),
        ("open", 3.0, "open to 3 m/s"),
        ("unknown", 3.1, "open 3 to 6 m/s"),
        ("open", 10.0, "open 6 to 10 m/s"),
        ("open", 14.0, "open over 10 m/s"),
        ("open", None, "open unknown"),
    ],
)
def test_a_vehicle_is_counted_in_the_wind_that_reached_it(shelter: str, wind_m_s: float | None, band: str) -> None:
    assert replace(EMPTY, shelter=shelter, wind_m_s=wind_m_s).wind_band == band


@pytest.mark.parametrize(("people", "crowd"), [(1, "1"), (3, "3"), (4, "4+"), (71, "4+"), (None, None), (0, None)])
def test_many_people_are_one_group_and_uncounted_ones_none(people: int | None, crowd: str | None) -> None:
    assert replace(FOUND, people=people).crowd == crowd
    assert replace(EMPTY, people=people).crowd is None


def test_a_look_counts_what_was_known_by_then_also_of_vehicles_decided_before() -> None:
    early = replace(FOUND, steps=(Step(5, Level.SEARCH, 1.3),))
    late = replace(FOUND, name="g", passage_id="g", steps=(Step(5, Level.RECHECK, 0.1), Step(10, Level.SEARCH, 1.2)))
    empty = replace(EMPTY, steps=(Step(10, Level.NO_SEARCH, -1.0),))
    by_look = evaluation("d", "simulated", [early, late, empty]).by_look
    assert {name: (one.n_pos, one.n_neg, one.pd.value) for name, one in by_look.items()} == {
        "5": (2, 0, 0.5),
        "10": (2, 1, 1.0),
    }


def test_abstaining_is_counted_as_such() -> None:
    cases = [replace(EMPTY, name=f"e{i}", passage_id=f"e{i}") for i in range(8)]
    cases += [replace(EMPTY, name="r", passage_id="r", level=Level.RECHECK, log10_lr={})]
    cases += [replace(EMPTY, name="s", passage_id="s", level=Level.SEARCH)]
    cases += [replace(FOUND, level=Level.NO_SEARCH), replace(FOUND, name="g", passage_id="g")]
    decisions = evaluation("d", "simulated", cases).decisions
    assert list(decisions) == ["all", "open unknown", "none", "vibration"]
    made = decisions["all"]
    assert (made.n_pos, made.n_neg) == (2, 10)
    assert [part.value for part in (made.decided, made.cleared, made.asked, made.missed)] == [11 / 12, 0.8, 0.2, 0.5]
    assert decisions["none"].decided.value == 0.0


def test_three_people_are_compared_with_one() -> None:
    hit = [replace(FOUND, name=f"h{i}", passage_id=f"h{i}", people=1 + 2 * (i % 2)) for i in range(100)]
    missed = [replace(case, level=Level.RECHECK) if case.name in ("h1", "h3") else case for case in hit]
    found = evaluation("d", "simulated", missed).three_less_one
    assert found.value == pytest.approx(-0.04) and found.low is not None and found.high is not None
    assert -0.2 < found.low < -0.04 < found.high < 0.1


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    # Newcombe 1998, table II, method 10, examples (a), (c), (f)
    [((56, 70, 48, 80), 0.0524, 0.3339), ((6, 7, 2, 7), 0.0582, 0.8062), ((10, 10, 0, 20), 0.6791, 1.0)],
)
def test_the_interval_of_a_difference_is_the_published_one(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    found = difference(*counts)
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-5), pytest.approx(high, abs=6e-5))


def test_nothing_out_of_nothing_is_unknown() -> None:
    assert difference(0, 0, 1, 2).value is None


def test_every_miss_and_every_false_alarm_is_one() -> None:
    assert replace(FOUND, level=Level.RECHECK).missed and not FOUND.missed
    assert replace(EMPTY, level=Level.OPEN_NOW).false_alarm and not EMPTY.false_alarm
    assert FOUND.document()["wind_band"] == "open unknown"
