"""CO2 probes: zero, span, two-point, lag, compensation, and self-correction switched off (DEVICES-serial 2.5).

Raw arrays: ``<step>/t_s`` seconds since the gas was presented, ``<step>/ppm`` as shown, NaN where the probe gave none.
Told: ``scale`` {gain, offset_ppm} in force before; ``true = gain x shown + offset``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from calibration.apply import ppm_of
from calibration.procedures.procedure import BadSetup, Curve, Floats, Outcome, Plot, Procedure, Step, reference
from calibration.raw import Raw
from calibration.record import Check, Reference
from calibration.uncertainty import Component, Kind, Quantity, of_repeats, of_series

GAIN = (0.8, 1.2)  # DEVICES-serial 2.5: else refuse
OFFSET_PPM = 200.0  # assumed: a probe further off is broken, or the gas is not what it says
DRIFT_PPM, DRIFT_SHARE = 3.0, 0.005  # over the window; assumed: the larger of the two
LEAST_APART_PPM = 400.0  # between zero and span gas, as shown
LEAST_SAMPLES = 16
MOST_MISSING = 0.1  # share of polls without a number
REPEAT_SHARE, REPEAT_PPM = 0.02, 10.0  # the check after correction, the larger of the two; assumed
T90_S, DELAY_S = (0.2, 180.0), (-0.5, 60.0)  # assumed: slower is a clogged filter, later a blocked line
LEAST_STEP_PPM = 100.0
MISFIT = 0.05  # of the step; assumed: a leak or a second volume in the line does not answer as one lag
REACTION_S = 0.2  # half width of the moment at which a person turns a valve; assumed
PRESSURE_READS_BACK = 0.5  # hPa


@dataclass(frozen=True, slots=True)
class Level:
    """What a probe showed of one gas: the mean of the window, its type A component, and what was presented."""

    shown_ppm: float
    scatter: Component
    drift_ppm: float
    given: Reference


def series(raw: Raw, step: str) -> tuple[Floats, Floats]:
    """Times and values that are there. Raises BadSetup where too many are not."""
    t, ppm = raw.floats(f"{step}/t_s"), raw.floats(f"{step}/ppm")
    there = np.isfinite(ppm)
    if len(ppm) == 0 or float(np.mean(~there)) > MOST_MISSING:
        share = 1.0 if len(ppm) == 0 else float(np.mean(~there))
        raise BadSetup(f"{step}: {share:.0%} of the polls gave no number; mend the line or wait for the warm-up")
    if int(there.sum()) < LEAST_SAMPLES:
        raise BadSetup(f"{step}: {int(there.sum())} readings; {LEAST_SAMPLES} are needed: measure longer")
    if np.ptp(ppm[there]) == 0 and float(ppm[there][0]) != round(float(ppm[there][0])):
        raise BadSetup(f"{step}: the same bits in every poll: the cell is frozen; power the probe anew")
    return t[there], ppm[there]


def level_of(raw: Raw, step: str) -> Level:
    t, ppm = series(raw, step)
    mean, scatter = of_series(f"scatter in {step} gas", ppm)
    quantum = float(np.min(np.diff(np.unique(ppm)), initial=np.inf))
    if np.isfinite(quantum) or np.ptp(ppm) == 0:  # whole ppm stand still: half a step is not known
        step_ppm = min(1.0, quantum) if np.isfinite(quantum) else 1.0
        scatter = replace(scatter, standard=float(np.hypot(scatter.standard, step_ppm / np.sqrt(12 * len(ppm)))))
    slope = float(np.polyfit(t, ppm, 1)[0]) if np.ptp(t) > 0 else 0.0
    return Level(mean, scatter, slope * float(np.ptp(t)), reference(raw, step))


def _scale(raw: Raw) -> dict[str, float]:
    known = raw.about.get("scale") or {"gain": 1.0, "offset_ppm": 0.0}
    return {"gain": float(known["gain"]), "offset_ppm": float(known["offset_ppm"])}


def settled_check(step: str, level: Level) -> Check:
    limit = max(DRIFT_PPM, DRIFT_SHARE * abs(level.shown_ppm))
    mend = "not settled: wait five times T90, check the flow and the fittings"
    return Check(name=f"{step} settled", value=abs(level.drift_ppm), high=limit, unit="ppm", mend=mend)


def _given(level: Level, name: str, coefficient: float) -> Component:
    """The certificate's share of a result; ``coefficient`` is the result's derivative."""
    given = level.given
    return Component(name, Kind.B, abs(coefficient) * given.standard, None, given.certificate or given.name)


def _read(level: Level, coefficient: float) -> Component:
    return replace(level.scatter, standard=abs(coefficient) * level.scatter.standard)


def zero(raw: Raw) -> Outcome:
    """Offset, from a gas without CO2; the gain stays."""
    level, scale = level_of(raw, "zero"), _scale(raw)
    offset = level.given.value - scale["gain"] * level.shown_ppm
    budget = (_read(level, scale["gain"]), _given(level, "zero gas", 1.0))
    return _scaled(
        raw,
        {"gain": scale["gain"], "offset_ppm": offset},
        (Quantity("offset", "ppm", offset, budget),),
        {"zero": level},
        (_offset_check(offset),),
    )


def span(raw: Raw) -> Outcome:
    """Gain, from one gas near the levels that decide; the offset stays."""
    level, scale = level_of(raw, "span"), _scale(raw)
    if level.shown_ppm <= 0:
        raise BadSetup(f"span: {level.shown_ppm:.0f} ppm is shown; that is no span gas: check valve and cylinder")
    gain = (level.given.value - scale["offset_ppm"]) / level.shown_ppm
    budget = (_read(level, gain / level.shown_ppm), _given(level, "span gas", 1 / level.shown_ppm))
    return _scaled(
        raw,
        {"gain": gain, "offset_ppm": scale["offset_ppm"]},
        (Quantity("gain", "1", gain, budget),),
        {"span": level},
        (_gain_check(gain),),
    )


def two_point(raw: Raw) -> Outcome:
    """Gain and offset from zero and span gas, and the span gas once more to see whether it worked."""
    low, high = level_of(raw, "zero"), level_of(raw, "span")
    apart = high.shown_ppm - low.shown_ppm
    if apart < LEAST_APART_PPM:
        raise BadSetup(
            f"zero gas shows {low.shown_ppm:.0f} ppm and span gas {high.shown_ppm:.0f} ppm: "
            "wrong or swapped cylinders, or the probe is not in the gas"
        )
    gain = (high.given.value - low.given.value) / apart
    offset = low.given.value - gain * low.shown_ppm
    share = low.shown_ppm / apart
    gain_budget = (
        _read(low, gain / apart), _read(high, gain / apart),
        _given(low, "zero gas", 1 / apart), _given(high, "span gas", 1 / apart),
    )  # fmt: skip
    offset_budget = (
        _read(low, gain * (1 + share)), _read(high, gain * share),
        _given(low, "zero gas", 1 + share), _given(high, "span gas", share),
    )  # fmt: skip
    scale = {"gain": gain, "offset_ppm": offset}
    again = series(raw, "check")[1]
    after = ppm_of(float(again[len(again) // 2 :].mean()), scale) - high.given.value
    limit = max(REPEAT_PPM, REPEAT_SHARE * high.given.value)
    repeat = Check(name="span gas again", value=abs(after), high=limit, unit="ppm",
                   mend="it does not repeat: a leak, or gas that had not settled; do it again")  # fmt: skip
    results = (Quantity("gain", "1", gain, gain_budget), Quantity("offset", "ppm", offset, offset_budget))
    levels = {"zero": low, "span": high}
    return _scaled(raw, scale, results, levels, (_gain_check(gain), _offset_check(offset), repeat), after)


def _gain_check(gain: float) -> Check:
    return Check(name="gain", value=gain, low=GAIN[0], high=GAIN[1],
                 mend="wrong gas, a leak, or a spent cell; nothing was changed")  # fmt: skip


def _offset_check(offset: float) -> Check:
    return Check(name="offset", value=offset, low=-OFFSET_PPM, high=OFFSET_PPM, unit="ppm",
                 mend="not zero gas, or a broken cell; nothing was changed")  # fmt: skip


def _scaled(
    raw: Raw,
    scale: Mapping[str, float],
    results: tuple[Quantity, ...],
    levels: Mapping[str, Level],
    checks: tuple[Check, ...],
    after_ppm: float | None = None,
) -> Outcome:
    known = _scale(raw)
    before: dict[str, float | None] = {}
    after: dict[str, float | None] = {}
    residuals: dict[str, float] = {}
    for step, level in levels.items():
        before[f"{step} error, ppm"] = ppm_of(level.shown_ppm, known) - level.given.value
        residuals[f"{step}, ppm"] = ppm_of(level.shown_ppm, scale) - level.given.value
        after[f"{step} error, ppm"] = residuals[f"{step}, ppm"]
    if after_ppm is not None:
        after["span error, ppm"] = after_ppm
    settled = tuple(settled_check(step, level) for step, level in levels.items())
    plots = tuple(_gas_plot(raw, step) for step in (*levels, *(("check",) if after_ppm is not None else ())))
    return Outcome(results, (*settled, *checks), {"scale": dict(scale)}, before, after, residuals, plots=plots)


def _gas_plot(raw: Raw, step: str) -> Plot:
    return Plot(f"{step} gas, as shown", "s", "ppm", (Curve("shown", *series(raw, step), dots=True),))


def lag(raw: Raw) -> Outcome:
    """T90 of the probe and the delay of its line, from gas that is switched to and fro at known moments.

    ``c(t) = c0 + (c1 - c0) (1 - e^(-(t - d) / tau))`` after the switch at t = 0; T90 = tau ln 10.
    """
    steps = sorted({name.partition("/")[0] for name in raw.arrays})
    fits = {step: _fit_lag(raw, step) for step in steps}
    if len(fits) < 3:
        raise BadSetup(f"lag: {len(fits)} switches; at least 3 are needed to say how well they repeat")
    t90, t90_a = of_repeats("scatter of switches", [fit[1] * np.log(10) for fit in fits.values()])
    delay, delay_a = of_repeats("scatter of switches", [fit[0] for fit in fits.values()])
    reaction = raw.number("reaction_s", REACTION_S)
    valve = Component("moment of the switch", Kind.B, reaction / np.sqrt(3), None, "assumed: a hand on a valve")
    misfit = max(fit[2] for fit in fits.values())
    checks = (
        Check(name="T90", value=t90, low=T90_S[0], high=T90_S[1], unit="s", mend="clogged filter, or filtering is set"),
        Check(name="delay", value=delay, low=DELAY_S[0], high=DELAY_S[1], unit="s", mend="blocked line or pump off"),
        Check(name="answers as one lag", value=misfit, high=MISFIT, mend="a leak or a dead volume in the line"),
    )  # fmt: skip
    known = raw.about.get("line") or {}
    before = {"T90, s": known.get("t90_s"), "delay, s": known.get("delay_s")}
    return Outcome(
        (Quantity("T90", "s", t90, (t90_a,)), Quantity("delay", "s", delay, (delay_a, valve))),
        checks,
        {"line": {"delay_s": max(0.0, delay), "t90_s": t90}},
        before,
        {"T90, s": t90, "delay, s": delay},
        {"misfit, share of the step": misfit},
        plots=(_lag_plot(raw, steps[0], fits[steps[0]]),),
    )


def _fit_lag(raw: Raw, step: str) -> tuple[float, float, float, float, float]:
    """Delay s, tau s, misfit, level before and after. Raises BadSetup where nothing was switched."""
    t, ppm = series(raw, step)
    first, last = float(np.median(ppm[:5])), float(np.median(ppm[-5:]))
    size = last - first
    if abs(size) < LEAST_STEP_PPM:
        raise BadSetup(f"{step}: {first:.0f} to {last:.0f} ppm: no gas was switched, or not for long enough")
    from scipy.optimize import least_squares  # 0.3 s to load: only where something is fitted

    def answer(p: Floats) -> Floats:
        delay, tau, before, after = p
        x = np.maximum(t - delay, 0.0)
        return np.asarray(before + (after - before) * (1 - np.exp(-x / tau)), np.float64)

    def misfit(p: Floats) -> Floats:
        return np.asarray((answer(p) - ppm) / size, np.float64)

    crossing = float(t[np.argmax((ppm - first) / size > 0.5)])
    length = float(t[-1])
    best = None
    for share in (0.2, 0.6):
        start = np.array([share * crossing, max((1 - share) * crossing, 0.05), first, last])
        bounds = ([-1.0, 1e-3, -np.inf, -np.inf], [length, 10 * length, np.inf, np.inf])
        found = least_squares(misfit, start, bounds=bounds)
        if best is None or found.cost < best.cost:
            best = found
    assert best is not None
    delay, tau, before, after = (float(value) for value in best.x)
    if (length - delay) < 2.5 * tau:
        raise BadSetup(f"{step}: it had not settled when the next gas came; wait five times T90 at each")
    return delay, tau, float(np.sqrt(np.mean(best.fun**2))), before, after


def _lag_plot(raw: Raw, step: str, fit: tuple[float, float, float, float, float]) -> Plot:
    t, ppm = series(raw, step)
    delay, tau, _, before, after = fit
    model = before + (after - before) * (1 - np.exp(-np.maximum(t - delay, 0) / tau))
    return Plot("First switch", "s", "ppm", (Curve("shown", t, ppm, dots=True), Curve("one lag", t, model)))


def self_correction_off(raw: Raw) -> Outcome:
    """The probe's own baseline correction, as read before and after it was told to stop."""
    before, after = float(raw.floats("before/on")[0]), float(raw.floats("after/on")[0])
    mend = "it will not stop correcting itself: it makes a stuffy lane its zero; replace it"
    check = Check(name="self-correction read back", value=after, high=0.0, mend=mend)
    was = "was on: calibrate zero and span, what it learned is wrong" if before else "was off already"
    value = {"on": after}
    return Outcome(
        (Quantity("self-correction", "1", after),), (check,), {"self_correction": value},
        {"self-correction": before}, {"self-correction": after}, notes=(was,),
    )  # fmt: skip


def compensation(raw: Raw) -> Outcome:
    """The pressure that the probe compensates for: read, written once, read back. The lane must not do it again."""
    wanted = reference(raw, "barometer")
    before, after = float(raw.floats("before/hpa")[0]), float(raw.floats("after/hpa")[0])
    off = after - wanted.value
    checks = (
        Check(name="pressure", value=wanted.value, low=500.0, high=1150.0, unit="hPa", mend="give the pressure here"),
        Check(name="reads back", value=abs(off), high=PRESSURE_READS_BACK, unit="hPa", mend="not taken; which model?"),
    )  # fmt: skip
    budget = (Component("barometer", Kind.B, wanted.standard, None, wanted.certificate or wanted.name),)
    return Outcome(
        (Quantity("pressure", "hPa", after, budget),), checks,
        {"compensation": {"pressure_hpa": after, "done_by": "probe"}},
        {"pressure, hPa": before}, {"pressure, hPa": after},
    )  # fmt: skip


def _gas_step(key: str, about: Mapping[str, Any], say: str, role: str) -> Step:
    return Step(key, say, float(about["seconds"]), float(about["settle_ppm"]), role)


ZERO = "Zero gas (nitrogen, or air through fresh soda lime) at the maker's flow; cap on."
SPAN = "Span gas at the same flow; cap on."


def _zero_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return (_gas_step("zero", about, ZERO, "zero"),)


def _span_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return (_gas_step("span", about, SPAN, "span"),)


def _two_point_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    again = "Cap off for a minute, then the span gas again."
    return (*_zero_steps(about), *_span_steps(about), _gas_step("check", about, again, "span"))


def _lag_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    ways = ("span gas", "outside air")
    seconds = float(about["seconds"])
    return tuple(
        Step(f"switch-{n}", f"Confirm and turn the valve to {ways[n % 2]} in the same moment.", seconds)
        for n in range(int(about["switches"]))
    )


def _no_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return ()


GAS = {"seconds": 60.0, "settle_ppm": 3.0}
PROCEDURES = (
    Procedure("zero", "co2", 1, "offset by zero gas", _zero_steps, zero, ("zero",), 180, GAS),
    Procedure("span", "co2", 1, "gain by span gas", _span_steps, span, ("span",), 180, GAS),
    Procedure("two-point", "co2", 1, "gain and offset by two gases", _two_point_steps, two_point,
              ("zero", "span"), 365, GAS),
    Procedure("lag", "co2", 1, "T90 and line delay by switched gas", _lag_steps, lag, (), 365,
              {"seconds": 150.0, "switches": 4, "reaction_s": REACTION_S}),
    Procedure("self-correction-off", "co2", 1, "the probe's own zeroing, off and read back", _no_steps,
              self_correction_off, acts="switches the probe's own baseline correction off"),
    Procedure("compensation", "co2", 1, "air pressure told to the probe, and read back", _no_steps, compensation,
              ("barometer",), 30, acts="writes the probe's volatile pressure register"),
)  # fmt: skip
