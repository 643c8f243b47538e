"""The lane's own switches and clock: which comes first, how far apart they are, what they drop, what time it is here.

Raw arrays: ``<step>/t_s`` of each poll, ``<step>/on`` (n, inputs) 0 or 1, ``<step>/utc_s``. Told: ``inputs``, their
numbers, ``poll_s`` and ``debounce_s`` of the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibration.procedures.procedure import BadSetup, Curve, Floats, Outcome, Plot, Procedure, Step, reference
from calibration.raw import Raw
from calibration.record import Check
from calibration.uncertainty import Component, Kind, Quantity, of_repeats

LEAST_DRIVES = 3
DRIVES_AGREE = 0.1  # spread over the spacing; assumed
SPACING_M = (0.2, 30.0)
DEBOUNCE_SHARE = 0.8  # of debounce_s: a gap longer than that is soon a second vehicle
ANOTHER_S = 1.5  # assumed: a gap of that length within one lorry is two vehicles, or one that came back
LEAST_PULSES = 5
PULSES_AGREE_S = 0.5  # assumed: a hand on a button
CLOCK_S = 1.0  # SCIENCE 3.2 joins an outside sample of the same minute; assumed


@dataclass(frozen=True, slots=True)
class Passing:
    """One switch while a vehicle went by: when it came on and off, and the longest gap meanwhile, s."""

    on_s: float
    off_s: float
    gap_s: float


def passing(t: Floats, on: Floats, name: str) -> Passing:
    """Raises BadSetup: never on, or on from the beginning or to the end."""
    lit = on > 0.5
    if not lit.any():
        raise BadSetup(f"input {name} never came on: not connected, or its beam misses the lorry; check wiring")
    if lit[0] or lit[-1]:
        raise BadSetup(f"input {name} was on before the lorry came or after it had gone: clear the lane, check wiring")
    rises, falls = np.flatnonzero(~lit[:-1] & lit[1:]), np.flatnonzero(lit[:-1] & ~lit[1:])
    middle = (t[:-1] + t[1:]) / 2
    gaps = middle[rises[1:]] - middle[falls[:-1]]
    return Passing(float(middle[rises[0]]), float(middle[falls[-1]]), float(gaps.max()) if len(gaps) else 0.0)


def switches(raw: Raw) -> Outcome:
    """A lorry of known length drives through: order of the switches, their spacing, and what they drop.

    Its front is at ``x = v t + a t^2 / 2``; that both switches saw the same length gives v and a, and so the spacing.
    """
    lorry = reference(raw, "lorry")
    inputs = [int(number) for number in raw.about["inputs"]]
    if len(inputs) != 2:
        raise BadSetup(f"lane: {len(inputs)} presence input; two are needed to know direction and speed")
    first = inputs[0] if raw.about.get("first") is None else int(raw.number("first", 0.0))
    if first not in inputs:
        raise BadSetup(f"lane: first={first} is none of the inputs {inputs}")
    drives = sorted({name.partition("/")[0] for name in raw.arrays})
    if len(drives) < LEAST_DRIVES:
        raise BadSetup(f"lane: {len(drives)} drives; {LEAST_DRIVES} are needed to say how well they repeat")
    spacings, gaps, speeds, orders = [], [], [], []
    for drive in drives:
        near, far = _pair(raw, drive, inputs, first)
        orders.append(min(far.on_s - near.on_s, far.off_s - near.off_s))
        spacings.append(_spacing(near, far, lorry.value))
        speeds.append(lorry.value / (near.off_s - near.on_s))
        gaps.append(max(near.gap_s, far.gap_s))
    spacing, scatter = of_repeats("scatter of drives", spacings)
    poll_s, debounce_s = raw.number("poll_s", 0.05), raw.number("debounce_s", 0.2)
    polls = Component("polls", Kind.B, float(np.mean(speeds)) * poll_s / np.sqrt(12 * len(drives)), None, "each poll")
    length = Component("lorry's length", Kind.B, abs(spacing) * lorry.standard / lorry.value, None,
                       lorry.certificate or lorry.name)  # fmt: skip
    gap = max(gaps)
    checks = (
        Check(name=f"input {first} is first, in and out", value=min(orders), low=0.0, unit="s",
              mend="the inputs are crossed, or the lorry came from the other side"),
        Check(name="one vehicle", value=gap, high=ANOTHER_S, unit="s",
              mend="two vehicles, or it stopped and rolled back: drive through once, steadily"),
        Check(name="gaps held by debounce_s", value=gap, high=DEBOUNCE_SHARE * debounce_s, unit="s",
              mend=f"set debounce_s to {max(0.1, round(1.5 * gap, 1)):g}, or align and clean the sensor"),
        Check(name="drives agree", value=float(np.ptp(spacings) / abs(spacing)) if spacing else 1.0,
              high=raw.number("agree", DRIVES_AGREE), mend="drive steadily, at walking pace"),
        Check(name="spacing", value=spacing, low=SPACING_M[0], high=SPACING_M[1], unit="m",
              mend="not the lorry of the certificate, or the sensors see different things"),
    )  # fmt: skip
    known = raw.about.get("known", {}).get("lane") or {}
    results = (
        Quantity("spacing", "m", spacing, (scatter, polls, length)),
        Quantity("longest gap", "s", gap, (Component("polls", Kind.B, poll_s / np.sqrt(6), None, "two polls"),)),
    )
    return Outcome(
        results, checks, {"lane": {"first": first, "spacing_m": spacing, "longest_gap_s": gap}},
        {"spacing, m": known.get("spacing_m")}, {"spacing, m": spacing},
        {f"{drive}, m": float(value - spacing) for drive, value in zip(drives, spacings, strict=True)},
        plots=(_switch_plot(raw, drives[0], inputs),),
    )  # fmt: skip


def _spacing(near: Passing, far: Passing, length_m: float) -> float:
    gone, met, left = near.off_s - near.on_s, far.on_s - near.on_s, far.off_s - near.on_s
    ways = np.array([[gone, gone**2 / 2], [left - met, (left**2 - met**2) / 2]])
    if abs(float(np.linalg.det(ways))) < 1e-6:
        raise BadSetup("lane: both switches came on in the same moment: are they two?")
    v, a = np.linalg.solve(ways, [length_m, length_m])
    return float(v * met + a * met**2 / 2)


def _pair(raw: Raw, drive: str, inputs: list[int], first: int) -> tuple[Passing, Passing]:
    t, on = raw.floats(f"{drive}/t_s"), raw.floats(f"{drive}/on")
    if on.ndim != 2 or on.shape != (len(t), len(inputs)) or len(t) < 8:
        raise BadSetup(f"{drive}: {len(t)} polls of the inputs; drive through while it is measured")
    found = {number: passing(t, on[:, n], str(number)) for n, number in enumerate(inputs)}
    (other,) = (number for number in inputs if number != first)
    return found[first], found[other]


def _switch_plot(raw: Raw, drive: str, inputs: list[int]) -> Plot:
    t, on = raw.floats(f"{drive}/t_s"), raw.floats(f"{drive}/on")
    curves = tuple(Curve(f"input {number}", t, on[:, n] + 1.5 * n) for n, number in enumerate(inputs))
    return Plot("The first drive", "s", "off and on", curves)


def clock(raw: Raw) -> Outcome:
    """The lane's clock against a reference that pulses an input at full seconds of UTC.

    Pulses cannot tell one full interval from the next: the engineer's watch does (``watch``, HH:MM in UTC).
    """
    source = reference(raw, "time")
    every_s = raw.number("every_s", 10.0)
    utc, on = raw.floats("pulses/utc_s"), raw.floats("pulses/on")
    inputs = [int(number) for number in raw.about["inputs"]]
    wired = inputs[-1] if raw.about.get("input") is None else int(raw.number("input", 0.0))
    if wired not in inputs:
        raise BadSetup(f"clock: input={wired} is none of the inputs {inputs}")
    lit = on[:, inputs.index(wired)] > 0.5
    if not np.any(~lit):
        raise BadSetup("pulses: the input stands on: another input, or the contact is stuck")
    rises = np.flatnonzero(~lit[:-1] & lit[1:])
    if len(rises) < LEAST_PULSES:
        raise BadSetup(f"pulses: {len(rises)} came; {LEAST_PULSES} are needed: check the reference and its wire")
    at = (utc[rises] + utc[rises + 1]) / 2
    offsets = at - np.round(at / every_s) * every_s
    offset, scatter = of_repeats("scatter of pulses", offsets)
    poll = Component("polls", Kind.B, raw.number("poll_s", 0.05) / np.sqrt(12 * len(rises)), None, "each poll")
    told = Component("reference", Kind.B, source.standard, None, source.certificate or source.name)
    most_s = raw.number("most_s", CLOCK_S)
    checks = (
        Check(name="minute", value=_minutes_off(raw, float(at[0])), high=1.0, unit="min",
              mend="date, hour or time zone is wrong here: set the clock (chronyc, timedatectl)"),
        Check(name="offset", value=offset, low=-most_s, high=most_s, unit="s",
              mend="the clock is off: see whether it is synchronised (chronyc tracking)"),
        Check(name="pulses agree", value=float(np.ptp(offsets)), high=PULSES_AGREE_S, unit="s",
              mend=f"pulses must come at full {every_s:g} s; press in the same moment, or wire the receiver"),
    )  # fmt: skip
    curve = Curve("offset", at - at[0], offsets, dots=True)
    return Outcome(
        (Quantity("offset", "s", offset, (scatter, poll, told)),), checks,
        {"clock": {"offset_s": offset}}, {"offset, s": offset}, {"offset, s": offset},
        plots=(Plot("Offset of each pulse", "s", "s late", (curve,)),),
    )  # fmt: skip


def _minutes_off(raw: Raw, utc_s: float) -> float:
    """Minutes between the engineer's watch and this machine, the nearer way round the day."""
    hours, mark, minutes = str(raw.about.get("watch") or "").partition(":")
    if not mark or not (hours.isdigit() and minutes.isdigit() and int(hours) < 24 and int(minutes) < 60):
        raise BadSetup("clock: say what a good watch shows in UTC: --set watch=14:05")
    here = utc_s % 86_400 / 60
    off = abs(here - (int(hours) * 60 + int(minutes) + 0.5))
    return max(0.0, min(off, 1440 - off) - 0.5)


def _drive_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    say = "Drive the lorry of known length through, once, steadily, at walking pace."
    return tuple(
        Step(f"drive-{n}", f"Drive {n}: {say}", float(about["seconds"]), None, "lorry")
        for n in range(1, int(about["drives"]) + 1)
    )


def _pulse_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    every_s, count = float(about["every_s"]), int(about["pulses"])
    say = f"The reference pulses the input at every full {every_s:g} s (wired, or pressed by its second hand)."
    return (Step("pulses", say, every_s * (count + 0.5), None, "time"),)


PROCEDURES = (
    Procedure("lane", "presence", 1, "which switch is first, their spacing, their gaps", _drive_steps, switches,
              ("lorry",), 365, {"seconds": 90.0, "drives": 4, "clear_s": 2.0, "first": None, "agree": DRIVES_AGREE}),
    Procedure("clock", "presence", 1, "this machine's clock against pulses of a reference", _pulse_steps, clock,
              ("time",), 90, {"every_s": 10.0, "pulses": 6, "input": None, "most_s": CLOCK_S, "watch": ""}),
)  # fmt: skip
