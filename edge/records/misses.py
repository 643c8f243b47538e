"""What was missed, from the three sources that can tell, and in one statement that says what is not known.

- The audit draw searches vehicles that nothing spoke against, with known probabilities: it counts lorries with
  somebody inside that the lane let pass (Horvitz-Thompson, with Fay and Feuer's interval).
- Covert tests hide volunteers: they give the probability of detection for what was tried.
- Two modalities that do not know of one another see some of the same lorries: how many there are at least (Chapman).

Finds themselves tell nothing of misses: outcomes exist only for vehicles that were searched (verification bias).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.records.intervals import Rate, Recapture, chapman, share, weighted_count
from fusion.evaluation.exact_share import CONFIDENCE, UNKNOWN, Estimate

VERIFICATION_BIAS = (
    "Outcomes exist only for searched vehicles, and vehicles are searched because something spoke against them: a"
    " probability of detection made from finds alone would be wrong in the lane's favour, and none is given."
)


@dataclass(frozen=True, slots=True)
class Stratum:
    """One stratum of the audit: of ``vehicles`` that would not be searched, ``drawn`` were picked, ``searched`` of
    those were searched and somebody was found in ``found``."""

    name: str
    probability: float
    vehicles: int
    drawn: int
    searched: int
    found: int

    @property
    def weight(self) -> float | None:
        """How many vehicles each search stands for; a draw that nobody followed is made up for by those that were.

        None where the stratum is not reached: it is never drawn, or no draw was followed.
        """
        if self.probability <= 0 or (self.drawn and not self.searched):
            return None
        return (self.drawn / self.searched if self.drawn else 1.0) / self.probability


@dataclass(frozen=True, slots=True)
class Audit:
    """Lorries with somebody inside among those that the lane advised not to search."""

    missed: Estimate
    searches: int
    finds: int
    discipline: Rate  # draws that were followed
    vehicles: int
    unreached: tuple[tuple[str, int], ...]  # strata of which nothing is known, with their vehicles


@dataclass(frozen=True, slots=True)
class Missed:
    """All that is known of misses, and in words what is not."""

    audit: Audit | None
    audit_pd: Estimate
    covert: Rate
    recapture: Recapture | None
    together: Estimate  # the hull of both: it holds when either does
    statement: tuple[str, ...]
    not_known: tuple[str, ...]
    strata: tuple[Stratum, ...] = ()


def audit(strata: Sequence[Stratum]) -> Audit | None:
    """The estimate; None where there is no audit.

    Vehicles of strata that are not reached are not in the value; the upper bound counts every one of them. Without a
    find the upper bound is the rule of three. No bound is above the vehicles that there were.
    """
    if not strata:
        return None
    pairs = [(stratum, stratum.weight) for stratum in strata]
    reached = [(stratum, weight) for stratum, weight in pairs if weight is not None]
    unreached = tuple((stratum.name, stratum.vehicles) for stratum, weight in pairs if weight is None)
    vehicles, beyond = sum(s.vehicles for s in strata), sum(count for _, count in unreached)
    missed = UNKNOWN
    if reached:
        found = weighted_count([s.found for s, _ in reached], [weight for _, weight in reached])
        high = min(found.high or 0.0, float(vehicles - beyond)) + beyond
        missed = Estimate(min(found.value or 0.0, vehicles - beyond), min(found.low or 0.0, high), high)
    return Audit(
        missed,
        sum(s.searched for s in strata),
        sum(s.found for s in strata),
        share(sum(s.searched for s in strata), sum(s.drawn for s in strata)),
        vehicles,
        unreached,
    )


def detected(finds: int, missed: Estimate) -> Estimate:
    """Share of lorries with somebody inside that were stopped, when ``finds`` were and ``missed`` were let pass.

    Finds are taken as counted; all uncertainty is that of the misses.
    """
    if missed.value is None or missed.high is None or missed.low is None or finds + missed.value == 0:
        return UNKNOWN
    return Estimate(finds / (finds + missed.value), finds / (finds + missed.high), _ratio(finds, missed.low))


def missed(
    strata: Sequence[Stratum],
    prompted_finds: int,
    covert_tests: int,
    covert_prompted: int,
    recapture: Recapture | None,
    not_searched: Sequence[tuple[str, int]] = (),
    covert_rechecked: int = 0,
) -> Missed:
    """Everything together.

    Args:
        strata: of the audit.
        prompted_finds: vehicles found because evidence or policy prompted a search, not by the draw.
        covert_tests: volunteers' vehicles that were judged.
        covert_prompted: of those, where evidence prompted a search.
        recapture: between two blind modalities.
        covert_rechecked: of the tests, where the lane wanted to measure again: not prompted.
        not_searched: what else nobody looked into: a description and the number of vehicles.
    """
    counted, tried = audit(strata), share(covert_prompted, covert_tests)
    by_audit = UNKNOWN if counted is None else detected(prompted_finds, counted.missed)
    together = _hull(by_audit, tried.estimate)
    return Missed(
        counted,
        by_audit,
        tried,
        recapture,
        together,
        tuple(_statement(counted, by_audit, tried, covert_rechecked, recapture, together, prompted_finds)),
        tuple(_not_known(counted, tried, not_searched)),
        tuple(strata),
    )


def _statement(
    counted: Audit | None,
    by_audit: Estimate,
    tried: Rate,
    rechecked: int,
    recapture: Recapture | None,
    together: Estimate,
    finds: int,
) -> list[str]:
    said = []
    if counted is None:
        said.append("No audit was drawn: how many lorries with somebody inside were let pass is not known.")
    elif counted.missed.value is not None:
        if counted.finds:
            said.append(
                f"{counted.searches:,} audits found {counted.finds:,}: about {_number(counted.missed.value)} lorries"
                f" with somebody inside were advised not to be searched (95 %: {_range(counted.missed)})."
            )
        else:
            said.append(
                f"{counted.searches:,} audits found nobody: at most {_number(counted.missed.high)} lorries with"
                " somebody inside were advised not to be searched (95 %, one-sided)."
            )
        if by_audit.value is not None and counted.finds:
            said.append(
                f"Beside {finds:,} finds that were prompted, the lane stopped {_percent(by_audit)} of those it judged."
            )
        elif by_audit.low is not None:
            said.append(
                f"Beside {finds:,} finds that were prompted, the lane stopped {100 * by_audit.low:.0f} % or more of"
                " those it judged (95 %, one-sided)."
            )
    if tried.of:
        again = f"; {rechecked:,} more were to be measured again" if rechecked else ""
        said.append(f"Of {tried.of:,} covert tests {tried.cases:,} were prompted: {_percent(tried.estimate)}{again}.")
    if recapture is not None:
        least = chapman(recapture.first, recapture.second, recapture.both, 2 * CONFIDENCE - 1).estimate.low
        said.append(
            f"Two blind modalities saw {recapture.first:,} and {recapture.second:,} of the finds, {recapture.both:,} of"
            f" them both: where both measured there were about {_number(recapture.estimate.value)} ±"
            f" {_number(recapture.standard_error)}, and {_number(least)} or more (95 %, one-sided); {recapture.seen:,}"
            " were seen by either. It is a floor: what both are blind to is not in it."
        )
    if together.value is None and together.low is not None:
        said.append(
            f"Together: between {100 * together.low:.0f} and {100 * (together.high or 1):.0f} of 100 lorries with"
            " somebody inside are stopped; this holds if either source does."
        )
    return said


def _not_known(counted: Audit | None, tried: Rate, not_searched: Sequence[tuple[str, int]]) -> list[str]:
    said = [VERIFICATION_BIAS]
    for description, vehicles in not_searched:
        if vehicles:
            said.append(f"{vehicles:,} {description}: what was in them is not known.")
    if counted is not None:
        for name, vehicles in counted.unreached:
            said.append(f"Stratum {name}: {vehicles:,} vehicles, none audited; the upper bound counts all of them.")
        if counted.discipline.of and counted.discipline.cases < counted.discipline.of:
            left = counted.discipline.of - counted.discipline.cases
            said.append(
                f"{left:,} of {counted.discipline.of:,} draws were not followed; they are taken to be like the rest."
            )
        said.append("An audit finds what its search finds: a search that overlooks people makes the misses too few.")
    if tried.of:
        said.append("Volunteers are not those who hide: loads, places and times aboard that were not tried are open.")
    else:
        said.append("There were no covert tests.")
    return said


def _hull(*estimates: Estimate) -> Estimate:
    known = [(e.low, e.high) for e in estimates if e.low is not None and e.high is not None]
    if not known:
        return UNKNOWN
    return Estimate(None, min(low for low, _ in known), max(high for _, high in known))


def _ratio(finds: int, low: float) -> float:
    return finds / (finds + low) if finds + low > 0 else 1.0


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"


def _range(estimate: Estimate) -> str:
    return f"{_number(estimate.low)} to {_number(estimate.high)}"


def _percent(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "an unknown share"
    return f"{100 * estimate.value:.0f} % (95 %: {100 * estimate.low:.0f} to {100 * estimate.high:.0f} %)"
