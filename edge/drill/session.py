"""One officer's drill, case by case: pure but for the clock that it is given. Nothing of it reaches the record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, get_args

from edge.drill.cases import Case
from edge.drill.score import Answer, Answered, score


class DrillRefused(ValueError):
    """One line: why an answer is not taken."""


class Session:
    """Cases in their order; each is answered once, and its truth told only then."""

    def __init__(self, cases: Sequence[Case], officer: str | None, monotonic_s: Callable[[], float]) -> None:
        self._cases, self._monotonic_s = tuple(cases), monotonic_s
        self.officer = officer
        self.answered: list[Answered] = []
        self._shown_s: float | None = None

    @property
    def over(self) -> bool:
        """All cases are answered."""
        return len(self.answered) >= len(self._cases)

    @property
    def total(self) -> int:
        """How many cases it has."""
        return len(self._cases)

    def case(self) -> Case:
        """The case in hand. Raises DrillRefused where all are answered."""
        if self.over:
            raise DrillRefused("the drill is over; begin another")
        if self._shown_s is None:
            self._shown_s = self._monotonic_s()
        return self._cases[len(self.answered)]

    def answer(self, case_id: object, given: object) -> Answered:
        """Take the answer to the case in hand.

        Raises:
            DrillRefused: it is of another case, or none of the answers.
        """
        case = self.case()
        if case_id != case.case_id:
            raise DrillRefused("this case is answered already")
        answers: tuple[Answer, ...] = get_args(Answer)
        found = next((answer for answer in answers if answer == given), None)
        if found is None:
            raise DrillRefused(f"answer: give one of {', '.join(answers)}")
        seconds = self._monotonic_s() - (self._shown_s or 0.0)
        level = str(case.verdict.get("level"))
        done = Answered(case.case_id, case.truth.kind, case.truth.occupied, level, found, round(seconds, 1))
        self.answered.append(done)
        self._shown_s = None
        return done

    def score(self) -> dict[str, Any]:
        """What it was worth so far."""
        return score(self.answered)
