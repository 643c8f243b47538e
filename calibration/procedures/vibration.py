"""Geophones and their digitizer: noise, huddle, tap, step, background (DEVICES-serial 1.6, SCIENCE 2.3).

Raw arrays: ``<step>/<sensor>`` counts (n,). Told: ``rates_hz`` {sensor: Hz} and ``responses`` {sensor: setting}, as
known before. Gains become m/s by a coil's release (`step`), and are brought together by a huddle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import gammaincinv

from calibration.apply import response_of, response_setting
from calibration.procedures.procedure import BadSetup, Curve, Floats, Outcome, Plot, Procedure, Step, reference
from calibration.procedures.signals import (
    Release,
    band,
    band_rms,
    find_releases,
    fit_release,
    geophone,
    spectra,
    velocity_spectra,
)
from calibration.raw import Raw
from calibration.record import Check
from calibration.response import Response
from calibration.uncertainty import Component, Kind, Quantity, of_repeats

BAND_HZ = (2.0, 10.0)  # SCIENCE 2.3: where the floor is told
LEAST_RMS_NM_S = 2.0  # SCIENCE 2.3: below it a sensor is not coupled (assumed)
MOST_RMS_NM_S = 20_000.0  # assumed: ten times the high-noise model is wind, an engine or a person, not a quiet lane
STEADY_DB = 6.0  # assumed: loudest against quietest tenth; beyond it something passed or the wind blew
HUM_DB = 30.0  # assumed: a line at 50 Hz this far above its neighbours is an open coil
HUDDLE_HZ = (6.0, 20.0)  # above the corner, where gain and not f0 decides
HUDDLE_BLOCKS = 10
HUDDLE_MAKES = 0.003  # assumed: a plate does not move as one; relative, standard
GAIN_RANGE = (0.7, 1.4)  # assumed: a geophone's gain is within 5 % of its sheet, a digitizer's gain step is 2 or 10
COHERENCE = 0.99  # DEVICES-serial 1.6
MOST_DELAY = 1.0  # samples; DEVICES-serial 1.6
TAP_DB = 10.0  # assumed: the nearest sensor against the next
TAP_SNR_DB = 20.0  # assumed
RELEASES = 6  # three of each polarity
F0_HZ, DAMPING = (3.0, 6.5), (0.3, 0.9)  # DEVICES-serial 1.6: units differ by 20 % in f0; 0.58-0.67 open, 0.7 shunted
POLARITIES_AGREE = 0.02  # relative, in f0
SAMPLE_CLOCK = 5e-5  # relative, standard; assumed: a crystal
LEAST_EMPTIES, MOST_SIGMA_DB = 20, 3.0  # SCIENCE 2.5: 1-2 dB is the goal; at 3 dB energy says little


def _sensors(raw: Raw, step: str) -> list[str]:
    found = raw.names(step)
    if not found:
        raise BadSetup(f"{step}: no sensor sent anything; check the digitizer and its cable")
    return found


def _rate(raw: Raw, sensor: str) -> float:
    return float(raw.about["rates_hz"][sensor])


def _response(raw: Raw, sensor: str) -> Response:
    known = raw.about.get("responses", {}).get(sensor)
    if known is None:
        raise BadSetup(f"{sensor}: no response is known; run `step` first, or give the device its StationXML")
    return response_of(known)


def _alive(raw: Raw, step: str) -> list[str]:
    """The step's sensors. Raises BadSetup for one that is stuck, or that lost more than a hundredth of its samples."""
    missing = sorted(set(raw.about.get("sensors", ())) - set(raw.names(step)))
    if missing:
        raise BadSetup(f"{', '.join(missing)}: sent nothing: unplugged, or not of this digitizer; check its cable")
    for sensor in _sensors(raw, step):
        counts = raw.floats(f"{step}/{sensor}")
        if not np.all(np.isfinite(counts)):
            lost = float(np.mean(~np.isfinite(counts)))
            raise BadSetup(f"{sensor}: {lost:.1%} of the samples were lost; mend the link and measure again")
        if np.ptp(counts) == 0:
            raise BadSetup(f"{sensor}: stands at {counts[0]:.0f} counts; its channel is dead or not connected")
    return _sensors(raw, step)


# --- noise -----------------------------------------------------------------------------------------------------------


def noise(raw: Raw) -> Outcome:
    """Level of each sensor at rest in 2-10 Hz, against what a coil and a digitizer must have at the least."""
    results, checks, curves = [], [], []
    for sensor in _alive(raw, "quiet"):
        hz, found = velocity_spectra(raw.floats(f"quiet/{sensor}"), _rate(raw, sensor), _response(raw, sensor))
        density = np.abs(found) ** 2
        tenths = _tenths(raw.floats(f"quiet/{sensor}"), _rate(raw, sensor), _response(raw, sensor))
        mean, spread = of_repeats("mean square", tenths)
        rms = float(np.sqrt(mean))
        component = Component("scatter of tenths", Kind.A, spread.standard / (2 * rms), len(tenths) - 1, spread.source)
        results.append(Quantity(f"rms {sensor}", "nm/s", rms, (component, _gain_component(raw, rms))))
        steady = 10 * float(np.log10(tenths.max() / tenths.min()))
        checks += [
            Check(name=f"{sensor} coupled", value=rms, low=LEAST_RMS_NM_S, unit="nm/s",
                  mend="quieter than any ground: not coupled, unplugged or switched off; fasten it"),
            Check(name=f"{sensor} quiet", value=rms, high=MOST_RMS_NM_S, unit="nm/s",
                  mend="wind, an engine or people; wait for a lull"),
            Check(name=f"{sensor} steady", value=steady, high=STEADY_DB, unit="dB",
                  mend="something passed or the wind blew; measure again in a lull"),
            Check(name=f"{sensor} hum", value=_hum_db(raw, sensor), high=HUM_DB, unit="dB",
                  mend="mains hum: an open coil or a broken shield; check the cable"),
        ]  # fmt: skip
        curves.append(Curve(sensor, hz[1:], np.sqrt(density.mean(axis=0))[1:] * 1e9))
    floor = floor_nm_s_rthz(curves[0].x)
    curves.append(Curve("coil and digitizer model", curves[0].x, floor))
    plot = Plot("Noise at rest", "Hz", "nm/s/√Hz", tuple(curves), log_x=True, log_y=True)
    return Outcome(tuple(results), tuple(checks), residuals={"model floor, nm/s": _floor_rms()}, plots=(plot,))


def _tenths(counts: Floats, rate_hz: float, response: Response) -> Floats:
    """Mean square in `BAND_HZ` of up to ten stretches that share no sample, (nm/s)^2."""
    length = round(4.0 * rate_hz)
    stretches = np.array_split(counts, max(2, min(10, len(counts) // (2 * length))))
    found = []
    for stretch in stretches:
        hz, spectrum = velocity_spectra(stretch, rate_hz, response)
        power = np.abs(spectrum[:, band(hz, *BAND_HZ)]) ** 2
        found.append(float(power.mean(axis=0).sum() * (hz[1] - hz[0]) * 1e18))
    return np.array(found)


def floor_nm_s_rthz(hz: Floats | Any) -> Floats:
    """Coil (375 ohm) and amplifier (5 nV/rtHz) of a 28.8 V/(m/s), 4.5 Hz element; SCIENCE 2.3: 0.19 nm/s/rtHz flat."""
    shape = np.abs(geophone(1.0, 4.5, 0.7).at(np.asarray(hz, np.float64)))
    return np.asarray(0.19 / np.maximum(shape, 1e-6), np.float64)


def _floor_rms() -> float:
    hz = np.arange(BAND_HZ[0], BAND_HZ[1], 0.25)
    return float(band_rms(floor_nm_s_rthz(hz) ** 2, hz))


def _gain_component(raw: Raw, rms: float) -> Component:
    relative = raw.number("gain_relative", 0.01)  # of the response in force
    return Component("sensitivity", Kind.B, rms * relative, None, "response in force")


def _hum_db(raw: Raw, sensor: str) -> float:
    rate_hz = _rate(raw, sensor)
    hz, found = spectra(raw.floats(f"quiet/{sensor}"), rate_hz)
    density = np.mean(np.abs(found) ** 2, axis=0)
    mains = raw.number("mains_hz", 50.0)
    if rate_hz / 2 < mains + 6:
        return 0.0
    line, beside = band(hz, mains - 0.5, mains + 0.5), band(hz, mains - 5, mains + 5)
    return 10 * float(np.log10(density[line].max() / np.median(density[beside & ~line])))


# --- huddle ----------------------------------------------------------------------------------------------------------


def huddle(raw: Raw) -> Outcome:
    """All sensors side by side: gain against the reference sensor, delay, coherence, and each one's own noise.

    Gain of i against r by a third sensor k, ``<S_ik> / <S_rk>``: own noise drops out, as it is in no cross spectrum.
    """
    sensors = _alive(raw, "plate")
    base = str(raw.about.get("base") or sensors[0])
    if len(sensors) < 3 or base not in sensors:
        raise BadSetup(f"huddle of {', '.join(sensors)} against {base}: at least three sensors of one rate are needed")
    rate_hz = _rate(raw, base)
    if any(_rate(raw, sensor) != rate_hz for sensor in sensors):
        raise BadSetup("huddle: the sensors' rates differ; set one rate")
    length = min(len(raw.floats(f"plate/{sensor}")) for sensor in sensors)
    found, hz = {}, np.empty(0)
    for sensor in sensors:
        hz, found[sensor] = velocity_spectra(raw.floats(f"plate/{sensor}")[:length], rate_hz, _response(raw, sensor))
    inside = band(hz, *HUDDLE_HZ)
    results, checks, settings, before, curves = [], [], {}, {}, []
    for sensor in sensors:
        others = [k for k in sensors if k not in (sensor, base)]
        coherence = _coherence(found[sensor], found[base if sensor != base else others[0]])[inside]
        checks.append(
            Check(name=f"{sensor} coherence", value=float(np.median(coherence)), low=COHERENCE,
                  mend="it does not move with the plate: fasten it, keep off the plate, wait for the wind")
        )  # fmt: skip
        curves.append(Curve(f"own noise {sensor}", hz[1:], _self_noise(found, sensor, sensors)[1:] * 1e9))
        if sensor == base:
            continue
        ratio, component = _ratio(found, sensor, base, others, inside)
        makes = Component("plate", Kind.B, abs(ratio) * HUDDLE_MAKES, None, "assumed: 0.3 % between places")
        results.append(Quantity(f"gain {sensor}/{base}", "1", ratio, (component, makes)))
        delay = _delay_samples(found[sensor], found[base], hz, inside, rate_hz)
        checks += [
            Check(name=f"{sensor} gain", value=ratio, low=GAIN_RANGE[0], high=GAIN_RANGE[1],
                  mend="negative is reversed polarity (run tap); else a wrong gain step or a broken element"),
            Check(name=f"{sensor} delay", value=delay, low=-MOST_DELAY, high=MOST_DELAY, unit="samples",
                  mend="another digitizer or filter: set the same filter, check its clock"),
        ]  # fmt: skip
        known = _response(raw, sensor)
        setting = response_setting(known)
        setting["sensitivity_counts_per_m_s"] = known.sensitivity_counts_per_m_s * ratio
        settings[f"response.{sensor}"] = setting
        before[f"gain {sensor}/{base}"] = ratio
    settings[f"response.{base}"] = response_setting(_response(raw, base))
    curves += [
        Curve(sensor, hz[1:], np.sqrt(np.mean(np.abs(found[sensor]) ** 2, axis=0))[1:] * 1e9) for sensor in sensors
    ]
    plot = Plot("Huddle: level and own noise", "Hz", "nm/s/√Hz", tuple(curves), log_x=True, log_y=True)
    after = dict.fromkeys(before, 1.0)
    return Outcome(tuple(results), tuple(checks), settings, before, after, plots=(plot,))


def _cross(one: Any, other: Any) -> Any:
    return np.mean(one * np.conj(other), axis=0)


def _coherence(one: Any, other: Any) -> Floats:
    return np.asarray(np.abs(_cross(one, other)) ** 2 / (_cross(one, one).real * _cross(other, other).real), np.float64)


def _ratio(found: Mapping[str, Any], sensor: str, base: str, others: list[str], inside: Any) -> tuple[float, Component]:
    """Real gain ratio, and its scatter over stretches by the jackknife (stretches overlap, so blocks are left out)."""

    def of(rows: Any) -> float:
        estimates = []
        for k in others:
            top = np.mean(found[sensor][rows] * np.conj(found[k][rows]), axis=0)[inside]
            bottom = np.mean(found[base][rows] * np.conj(found[k][rows]), axis=0)[inside]
            estimates.append(float(np.real(np.sum(top * np.conj(bottom))) / np.sum(np.abs(bottom) ** 2)))
        return float(np.mean(estimates))

    rows = np.arange(len(found[base]))
    blocks = np.array_split(rows, min(HUDDLE_BLOCKS, len(rows) // 2))
    left_out = np.array([of(np.setdiff1d(rows, block)) for block in blocks])
    n = len(blocks)
    spread = float(np.sqrt((n - 1) / n * np.sum((left_out - left_out.mean()) ** 2)))
    return of(rows), Component("jackknife over stretches", Kind.A, spread, n - 1, f"{n} blocks")


def _self_noise(found: Mapping[str, Any], sensor: str, sensors: list[str]) -> Floats:
    """Sleeman et al. 2006: ``N_ii = P_ii - P_ji P_ik / P_jk``, as amplitude density in m/s/rtHz."""
    j, k = [other for other in sensors if other != sensor][:2]
    common = _cross(found[j], found[sensor]) * _cross(found[sensor], found[k]) / _cross(found[j], found[k])
    return np.asarray(np.sqrt(np.abs(_cross(found[sensor], found[sensor]).real - common.real)), np.float64)


def _delay_samples(one: Any, other: Any, hz: Floats, inside: Any, rate_hz: float) -> float:
    """Delay of ``one`` by the slope of its phase, samples; a reversed sensor's half turn is taken out first."""
    cross = _cross(one, other)[inside]
    turned = cross * np.sign(np.real(np.sum(cross)))
    weight, f = np.abs(turned), hz[inside]
    slope = float(np.sum(weight * f * np.angle(turned)) / np.sum(weight * f**2))
    return -slope / (2 * np.pi) * rate_hz


# --- tap -------------------------------------------------------------------------------------------------------------


def tap(raw: Raw) -> Outcome:
    """One tap downwards beside each sensor: which channel is it really, and which way round is its coil."""
    sensors = sorted(raw.about["sensors"])
    channels: dict[str, str] = {}
    checks, results, settings, notes = [], [], {}, []
    for sensor in sensors:
        step = f"tap-{sensor}"
        peaks = {}
        for channel in _alive(raw, step):
            response = _response(raw, channel)
            wave = raw.floats(f"{step}/{channel}")
            wave = (wave - np.median(wave)) / abs(response.sensitivity_counts_per_m_s)
            peaks[channel] = wave
        levels = {channel: float(np.max(np.abs(wave))) for channel, wave in peaks.items()}
        nearest = max(levels, key=lambda channel: levels[channel])
        quiet = max(1.4826 * float(np.median(np.abs(peaks[nearest]))), 1e-15)
        snr = 20 * float(np.log10(levels[nearest] / quiet))
        next_level = max((level for channel, level in levels.items() if channel != nearest), default=1e-15)
        margin = 20 * float(np.log10(levels[nearest] / max(next_level, 1e-15)))
        checks += [
            Check(name=f"tap at {sensor}", value=snr, low=TAP_SNR_DB, unit="dB",
                  mend="no tap was seen: tap harder, within 0.2 m of the sensor, once"),
            Check(name=f"tap at {sensor} is one sensor's", value=margin, low=TAP_DB, unit="dB",
                  mend="two sensors felt it alike: tap nearer to the one"),
        ]  # fmt: skip
        results.append(Quantity(f"tap {sensor} over the others", "dB", margin))
        channels[nearest] = sensor
        first = _first_motion(peaks[nearest], quiet)
        known = _response(raw, nearest)
        sign = 1.0 if first * known.sensitivity_counts_per_m_s < 0 else -1.0  # a tap pushes down, and up is positive
        if sign < 0:
            notes.append(f"{sensor}: polarity is reversed; its response gets a negative sign")
        if nearest != sensor:
            notes.append(f"{sensor}: comes in on the channel of {nearest}; renamed from now on")
        setting = response_setting(known)
        setting["sensitivity_counts_per_m_s"] = known.sensitivity_counts_per_m_s * sign
        settings[f"response.{sensor}"] = setting
    checks.append(
        Check(name="every tap on a channel of its own", value=float(len(channels)), low=float(len(sensors)),
              mend="two taps were felt by one channel: tap beside the sensor that is named")
    )  # fmt: skip
    settings["channels"] = channels
    wrong = float(sum(a != b for a, b in channels.items()))
    return Outcome(
        tuple(results),
        tuple(checks),
        settings,
        {"swapped channels": wrong},
        {"swapped channels": 0.0},
        {},
        tuple(notes),
    )


def _first_motion(wave: Floats, quiet: float) -> float:
    """Sign of the first swing over a fifth of the peak: later ones are the sensor's own ringing."""
    over = np.flatnonzero(np.abs(wave) > max(0.2 * float(np.max(np.abs(wave))), 4 * quiet))
    return float(np.sign(wave[over[0]])) if len(over) else 0.0


# --- step ------------------------------------------------------------------------------------------------------------


def step(raw: Raw) -> Outcome:
    """Coil releases: natural frequency, damping and sensitivity of each sensor.

    A current I through the coil holds the mass m off its rest by a force G I; cut, it swings back:
    ``v(t) = (c G^2 I / m) e^(-h w0 t) sin(wd t) / wd`` in counts, with c counts per volt. So from the amplitude A
    (counts/s) the sensitivity is ``S = c G = sqrt(A c m / I)``.
    """
    current, mass, digitizer = (reference(raw, role) for role in ("current", "moving_mass", "digitizer"))
    results, checks, settings, before, residuals, plots = [], [], {}, {}, {}, []
    for sensor in _alive(raw, "release"):
        rate_hz, counts = _rate(raw, sensor), raw.floats(f"release/{sensor}")
        releases = _releases(sensor, counts, rate_hz)
        f0, f0_a = of_repeats("scatter of releases", [one.f0_hz for one in releases])
        h, h_a = of_repeats("scatter of releases", [one.damping for one in releases])
        size, size_a = of_repeats("scatter of releases", [abs(one.amplitude) for one in releases])
        s = float(np.sqrt(size * digitizer.value * mass.value / current.value))
        budget = [replace(size_a, standard=s / 2 * size_a.standard / size)]  # S goes with the root of each
        for name, part in (("digitizer", digitizer), ("moving mass", mass), ("current", current)):
            share = s / 2 * part.standard / part.value
            budget.append(Component(name, Kind.B, share, None, part.certificate or part.name))
        clock = Component("sample clock", Kind.B, f0 * SAMPLE_CLOCK, None, "assumed")
        results += [
            Quantity(f"f0 {sensor}", "Hz", f0, (f0_a, clock)),
            Quantity(f"damping {sensor}", "1", h, (h_a,)),
            Quantity(f"sensitivity {sensor}", "counts/(m/s)", s, tuple(budget)),
        ]
        checks += _step_checks(sensor, f0, h, releases)
        known = _known_sensitivity(raw, sensor)
        settings[f"response.{sensor}"] = response_setting(geophone(-s if known and known < 0 else s, f0, h))
        before[f"sensitivity {sensor}"] = known
        residuals[f"{sensor}, counts"] = float(np.mean([one.residual for one in releases]))
        plots.append(_release_plot(sensor, counts, rate_hz, releases[0]))
    now = {name.removeprefix("response."): made["sensitivity_counts_per_m_s"] for name, made in settings.items()}
    after = {f"sensitivity {sensor}": value for sensor, value in now.items()}
    return Outcome(tuple(results), tuple(checks), settings, before, after, residuals, plots=tuple(plots))


def _step_checks(sensor: str, f0: float, h: float, releases: list[Release]) -> list[Check]:
    low, high = F0_HZ
    least, most = DAMPING
    mend = "not a 4.5 Hz element, or a stuck mass"
    return [
        Check(name=f"{sensor} f0", value=f0, low=low, high=high, unit="Hz", mend=mend),
        Check(name=f"{sensor} damping", value=h, low=least, high=most, mend="check the shunt resistor"),
        Check(
            name=f"{sensor} both polarities agree",
            value=_polarity_f0(releases),
            high=POLARITIES_AGREE,
            mend="tilted, or the mass touches its stop",
        ),
    ]


def _releases(sensor: str, counts: Floats, rate_hz: float) -> list[Release]:
    fits = []
    for onset in find_releases(counts, rate_hz):
        try:
            fits.append(fit_release(counts, rate_hz, onset))
        except ValueError:
            continue  # cut by the record's edge
    peak = float(np.max(np.abs(counts - np.median(counts))))
    good = [one for one in fits if one.residual < 0.1 * peak]  # assumed: a footstep swings at no single frequency
    if len(good) < RELEASES:
        raise BadSetup(
            f"{sensor}: {len(good)} clean releases of {len(fits)} bursts; {RELEASES} are needed: check the "
            "calibrator's plug, keep still, release three times each way"
        )
    signs = {float(np.sign(one.amplitude)) for one in good}
    if len(signs) < 2:
        raise BadSetup(f"{sensor}: all releases have one polarity; turn the current round for half of them")
    return good


def _polarity_f0(releases: list[Release]) -> float:
    """Relative difference of f0 between the two polarities."""
    up, down = ([one.f0_hz for one in releases if one.amplitude * sign > 0] for sign in (1, -1))
    return abs(float(np.mean(up)) - float(np.mean(down))) / float(np.mean(up + down))


def _known_sensitivity(raw: Raw, sensor: str) -> float | None:
    known = raw.about.get("responses", {}).get(sensor)
    return None if known is None else float(known["sensitivity_counts_per_m_s"])


def _release_plot(sensor: str, counts: Floats, rate_hz: float, one: Release) -> Plot:
    first = max(0, round((one.at_s - 0.1) * rate_hz))
    t = np.arange(first, min(len(counts), first + round(1.3 * rate_hz))) / rate_hz - one.at_s
    w0 = 2 * np.pi * one.f0_hz
    wd = w0 * np.sqrt(1 - one.damping**2)
    x = np.maximum(t, 0)
    model = one.amplitude / wd * np.exp(-one.damping * w0 * x) * np.sin(wd * x)
    measured = counts[first : first + len(t)] - np.median(counts)
    curves = (Curve("measured", t, measured, dots=True), Curve("fit", t, model))
    return Plot(f"{sensor}: first release", "s", "counts", curves)


# --- background ------------------------------------------------------------------------------------------------------


def background(raw: Raw) -> Outcome:
    """The lane's own empties: body level from ground level and wind, and how far off that is (sigma).

    ``body_db = a + b ground_db + c wind`` by least squares; sigma with n - 3 degrees of freedom and its interval by
    chi squared.
    """
    body, ground, wind = (raw.floats(f"empties/{name}") for name in ("body_db", "ground_db", "wind_m_s"))
    n = len(body)
    if n < LEAST_EMPTIES:
        raise BadSetup(f"{n} empty vehicles; {LEAST_EMPTIES} are needed: go on searching and recording outcomes")
    still = np.ptp(wind) < 0.2  # no wind to learn from: the term is left out
    design = np.column_stack([np.ones(n), ground, np.zeros(n) if still else wind])
    fitted, *_ = np.linalg.lstsq(design, body, rcond=None)
    left = body - design @ fitted
    freedom = n - (2 if still else 3)
    sigma = float(np.sqrt(np.sum(left**2) / freedom))
    worst = float(np.max(np.abs(left)) / sigma) if sigma > 0 else 0.0
    low, high = (float(sigma * np.sqrt(freedom / (2 * gammaincinv(freedom / 2, p)))) for p in (0.975, 0.025))
    spread = Component("scatter of empties", Kind.A, sigma / np.sqrt(2 * freedom), freedom, f"{n} empties")
    names = ("a", "b", "c")
    checks = (
        Check(name="sigma", value=sigma, high=MOST_SIGMA_DB, unit="dB", mend="shelter the lane or add a ground sensor"),
        Check(name="ground explains", value=float(fitted[1]), low=0.3, high=1.5, mend="a ground sensor is not coupled"),
        Check(name="no stranger among the empties", value=worst, high=5.0, unit="sigma",
              mend="one of them was not empty, or not this lane's: look at its outcome"),
    )  # fmt: skip
    setting = {name: float(value) for name, value in zip(names, fitted, strict=True)} | {"sigma_db": sigma, "n": n}
    curve = Curve("empties", design @ fitted, body, dots=True)
    line = Curve("predicted = measured", [float(body.min()), float(body.max())], [float(body.min()), float(body.max())])
    plot = Plot("Body level of empty vehicles", "predicted, dB", "measured, dB", (curve, line))
    return Outcome(
        (Quantity("sigma", "dB", sigma, (spread,)),),
        checks,
        {"background": setting},
        residuals={"rms, dB": float(np.sqrt(np.mean(left**2))), "sigma low, dB": low, "sigma high, dB": high},
        plots=(plot,),
    )


# --- what a person does ----------------------------------------------------------------------------------------------


def _quiet_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    say = "No vehicle on the lane, nobody near the sensors, no engine. Leave everything alone."
    return (Step("quiet", say, float(about["seconds"])),)


def _plate_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    say = "Put all sensors side by side, upright and level, on one heavy plate. Then keep away from it."
    return (Step("plate", say, float(about["seconds"])),)


def _tap_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return tuple(
        Step(f"tap-{sensor}", f"Tap ONCE, downwards, within 0.2 m of sensor {sensor}.", float(about["seconds"]))
        for sensor in about["sensors"]
    )


def _release_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    say = "Plug the coil calibrator in. Release it three times each way, two seconds or more apart. Keep still."
    return (Step("release", say, float(about["seconds"])),)


def _no_steps(about: Mapping[str, Any]) -> tuple[Step, ...]:
    return (Step("empties", "Passages whose outcome was searched and empty are read from this lane's bundles.", 0.0),)


PROCEDURES = (
    Procedure(
        "noise",
        "vibration",
        1,
        "level at rest, and sensors that are not coupled",
        _quiet_steps,
        noise,
        parameters={"seconds": 60.0, "mains_hz": 50.0, "gain_relative": 0.01},
    ),
    Procedure(
        "huddle",
        "vibration",
        1,
        "gain, delay, coherence and own noise, side by side",
        _plate_steps,
        huddle,
        parameters={"seconds": 600.0, "base": ""},
    ),
    Procedure(
        "tap",
        "vibration",
        1,
        "which channel is which sensor, and its polarity",
        _tap_steps,
        tap,
        parameters={"seconds": 5.0},
    ),
    Procedure(
        "step",
        "vibration",
        1,
        "natural frequency, damping and sensitivity by coil releases",
        _release_steps,
        step,
        roles=("current", "moving_mass", "digitizer"),
        parameters={"seconds": 30.0},
    ),
    Procedure(
        "background",
        "vibration",
        1,
        "this lane's empties: prediction of the background, and its sigma",
        _no_steps,
        background,
        valid_days=90,
    ),
)
