"""Every part of the answer, in the order in which a person reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from edge.records import analysis, analysis_misses, analysis_sensors, analysis_time
from edge.records.asked import Asked
from edge.records.sections import Section

SINGLE_FACTORS = ("body_type", "wind", "cargo", "shelter", "lane")
PARTS: Mapping[str, Callable[[Asked], Section]] = {
    "counts": analysis.counts,
    "misses": analysis_misses.misses,
    "covert": analysis_misses.covert_tests,
    "advice": analysis.by_advice,
    "technique": analysis.techniques,
    "contractors": analysis.contractors,
    "overrides": analysis.overrides,
    "modalities": analysis_sensors.modalities,
    "availability": analysis_sensors.availability,
    "times": analysis_time.times,
    "queue": analysis_time.queue,
    "hours": analysis_time.hours,
    "referrals": analysis_time.referrals,
    "changes": analysis_misses.moved,
    "left_out": analysis_misses.left_out,
    "each_hour": analysis_time.each_hour,
}
# each_hour has thousands of rows and comes only when it is asked for
ALL = (*(name for name in PARTS if name not in ("changes", "left_out", "each_hour")), "factors", "changes", "left_out")


def answers(asked: Asked, parts: Sequence[str] = ALL) -> Iterator[Section]:
    """The parts that were asked for; ``factors`` is a section for each factor alone."""
    for part in parts:
        if part == "factors":
            yield from factors(asked)
        else:
            yield PARTS[part](asked)


def factors(asked: Asked) -> Iterator[Section]:
    """Vehicles, prompts and yield by each factor alone."""
    yield from (analysis.by_factor(asked, [factor]) for factor in SINGLE_FACTORS)
