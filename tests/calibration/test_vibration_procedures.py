from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from calibration.apply import response_of
from calibration.procedures import vibration
from calibration.procedures.procedure import BadSetup
from calibration.raw import Raw
from calibration.record import RecordFault
from calibration.response import Response
from calibration.stationxml import write_stationxml
from hil.world import geophones as world
from hil.world.geophones import Element

RATE_HZ = 250.0
RawOf = Callable[..., Raw]
THREE = {"B1": Element(), "B2": Element(4.9, 0.62, 1.1), "B3": Element(4.1, 0.76, 0.93)}


def chance(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_step_finds_frequency_damping_and_sensitivity_of_each_element(raw_of: RawOf) -> None:
    found = vibration.step(raw_of({"release": world.releases(THREE, 30, RATE_HZ, chance())}))
    assert found.passed
    for name, one in THREE.items():
        assert found.result(f"f0 {name}").covers(one.f0_hz)
        assert found.result(f"damping {name}").value == pytest.approx(one.damping, rel=1e-3)
        assert found.result(f"sensitivity {name}").covers(one.counts_per_m_s)
        response = response_of(found.settings[f"response.{name}"])
        truth = vibration.geophone(one.counts_per_m_s, one.f0_hz, one.damping)
        hz = np.array([1.0, 2.0, 5.0, 10.0, 40.0])
        np.testing.assert_allclose(response.at(hz), truth.at(hz), rtol=0.01)


def test_our_stationxml_gives_the_same_velocity_through_obspy(raw_of: RawOf) -> None:
    obspy = pytest.importorskip("obspy")
    found = vibration.step(raw_of({"release": world.releases(THREE, 30, RATE_HZ, chance())}))
    response = response_of(found.settings["response.B2"])
    for sign in (1.0, -1.0):
        signed = Response(sign * response.sensitivity_counts_per_m_s, 20.0, response.zeros, response.poles)
        text = write_stationxml({("B2", "DHZ"): signed}, "2026-01-01T00:00:00Z", station="L3")
        counts = THREE["B2"].counts(world.ground(40, RATE_HZ, chance(2)), RATE_HZ, chance(3))
        counts *= np.hanning(len(counts))
        header = {"network": "XX", "station": "L3", "location": "B2", "channel": "DHZ", "sampling_rate": RATE_HZ}
        trace = obspy.Trace(counts.copy(), header={**header, "starttime": obspy.UTCDateTime(2026, 1, 2)})
        trace.remove_response(
            obspy.read_inventory(io.BytesIO(text), format="STATIONXML"),
            output="VEL", pre_filt=(0.5, 1.0, 60.0, 80.0), zero_mean=False, taper=False, water_level=None,
        )  # fmt: skip
        n = 2 * len(counts)
        hz = np.fft.rfftfreq(n, 1 / RATE_HZ)
        cosine = obspy.signal.invsim.cosine_sac_taper(hz, flimit=(0.5, 1.0, 60.0, 80.0))
        with np.errstate(all="ignore"):
            ours = np.fft.irfft(np.where(cosine > 0, np.fft.rfft(counts, n) * cosine / signed.at(hz), 0), n)[
                : len(counts)
            ]
        inside = slice(2000, -2000)
        error = np.sqrt(np.mean((trace.data[inside] - ours[inside]) ** 2) / np.mean(ours[inside] ** 2))
        assert error < 1e-3, f"{error:.2%} with sign {sign}"


def _one_polarity(signals: dict[str, Any]) -> dict[str, Any]:
    t = np.arange(round(30 * RATE_HZ)) / RATE_HZ
    return {n: sum(THREE[n].released(t, s, 1) for s in range(2, 27, 3)) + chance().normal(size=len(t)) for n in signals}


def _footsteps(signals: dict[str, Any]) -> dict[str, Any]:
    random = chance(4)
    wave = random.normal(size=7500) * 50
    for at in range(500, 7000, 800):
        wave[at : at + 200] += random.normal(size=200) * 1e5
    return dict.fromkeys(signals, wave)


def _nothing(signals: dict[str, Any]) -> dict[str, Any]:
    return world.at_rest(THREE, 30, RATE_HZ, chance())


def _lost(signals: dict[str, Any]) -> dict[str, Any]:
    return {name: np.where(np.arange(len(wave)) % 50 == 0, np.nan, wave) for name, wave in signals.items()}


def _dead(signals: dict[str, Any]) -> dict[str, Any]:
    return {name: np.full(len(wave), 17.0) for name, wave in signals.items()}


@pytest.mark.parametrize("spoil", [_one_polarity, _footsteps, _nothing, _lost, _dead])
def test_step_says_what_is_wrong_with_a_bad_set_up(spoil: Any, raw_of: RawOf) -> None:
    with pytest.raises(BadSetup):
        vibration.step(raw_of({"release": spoil(world.releases(THREE, 30, RATE_HZ, chance()))}))


def test_step_needs_its_certificates_and_a_plausible_element(raw_of: RawOf) -> None:
    signals = world.releases({"B1": Element(f0_hz=14.0)}, 30, RATE_HZ, chance())
    assert not vibration.step(raw_of({"release": signals})).passed
    with pytest.raises(RecordFault, match="reference current"):
        vibration.step(raw_of({"release": signals}, references={}))


GAINS = {"B1": Element(), "B2": Element(gain=1.1), "B3": Element(gain=0.93)}


def test_huddle_finds_the_gains_and_its_after_is_one(raw_of: RawOf) -> None:
    signals = world.on_a_plate(GAINS, 60, RATE_HZ, chance())
    found = vibration.huddle(raw_of({"plate": signals}))
    assert found.passed
    assert found.result("gain B2/B1").covers(1.1)
    assert found.result("gain B3/B1").covers(0.93)
    again = vibration.huddle(
        raw_of({"plate": signals}, responses={n.removeprefix("response."): v for n, v in found.settings.items()})
    )
    assert again.result("gain B2/B1").value == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("spoiled", "failing"),
    [
        ({**GAINS, "B2": Element(polarity=-1)}, "B2 gain"),
        ({**GAINS, "B2": Element(gain=3.0)}, "B2 gain"),
        ({**GAINS, "B3": Element(coupled=False)}, "B3 coherence"),
    ],
)
def test_huddle_fails_a_reversed_a_wrong_and_a_loose_sensor(
    spoiled: dict[str, Element], failing: str, raw_of: RawOf
) -> None:
    found = vibration.huddle(raw_of({"plate": world.on_a_plate(spoiled, 60, RATE_HZ, chance())}))
    assert failing in [check.name for check in found.checks if not check.passed]


def test_huddle_fails_a_late_digitizer_and_sensors_that_are_not_side_by_side(raw_of: RawOf) -> None:
    signals = world.on_a_plate(GAINS, 60, RATE_HZ, chance())
    late = signals | {"B2": np.roll(signals["B2"], 3)}
    found = vibration.huddle(raw_of({"plate": late}))
    assert "B2 delay" in [check.name for check in found.checks if not check.passed]
    assert not vibration.huddle(raw_of({"plate": world.at_rest(GAINS, 60, RATE_HZ, chance())})).passed
    with pytest.raises(BadSetup, match="three"):
        vibration.huddle(raw_of({"plate": {name: signals[name] for name in ("B1", "B2")}}))


def test_huddle_sees_the_own_noise_of_a_sensor_under_the_ground(raw_of: RawOf) -> None:
    loud = world.ground(120, RATE_HZ, chance(), 1.0)
    own = {"B1": 2e-10, "B2": 2e-10, "B3": 2e-8}
    signals = {n: Element().counts(loud, RATE_HZ, chance(i), own[n]) for i, n in enumerate(own)}
    found = vibration.huddle(raw_of({"plate": signals}))
    curves = {curve.label: np.asarray(curve.y) for curve in found.plots[0].curves}
    hz = np.asarray(found.plots[0].curves[0].x)
    inside = (hz > 20) & (hz < 60)
    assert float(np.median(curves["own noise B3"][inside])) == pytest.approx(20.0, rel=0.2)
    assert float(np.median(curves["own noise B1"][inside])) < 2.0


def taps(elements: dict[str, Element], plugged: dict[str, str], at: dict[str, str] | None = None) -> dict[str, Any]:
    """``plugged``: sensor -> the channel that it comes in on; ``at``: where the tap for a sensor really was."""
    steps = {}
    for sensor in elements:
        waves = world.tapped(elements, (at or {}).get(sensor, sensor), 5, RATE_HZ, chance(5))
        steps[f"tap-{sensor}"] = {plugged[name]: wave for name, wave in waves.items()}
    return steps


STRAIGHT = {name: name for name in THREE}


def test_tap_finds_swapped_channels_and_a_reversed_coil(raw_of: RawOf) -> None:
    elements = {"B1": Element(), "B2": Element(), "B3": Element(polarity=-1)}
    found = vibration.tap(raw_of(taps(elements, {"B1": "B2", "B2": "B1", "B3": "B3"}), sensors=list(elements)))
    assert found.passed
    assert found.settings["channels"] == {"B1": "B2", "B2": "B1", "B3": "B3"}
    signs = {n: np.sign(found.settings[f"response.{n}"]["sensitivity_counts_per_m_s"]) for n in elements}
    assert signs == {"B1": 1.0, "B2": 1.0, "B3": -1.0}


def test_tap_fails_where_nobody_tapped_or_at_the_wrong_sensor_or_between_two(raw_of: RawOf) -> None:
    elements = {"B1": Element(), "B2": Element(), "B3": Element()}
    sensors = list(elements)
    quiet = {f"tap-{n}": world.at_rest(elements, 5, RATE_HZ, chance()) for n in sensors}
    assert not vibration.tap(raw_of(quiet, sensors=sensors)).passed
    assert not vibration.tap(raw_of(taps(elements, STRAIGHT, {"B2": "B1"}), sensors=sensors)).passed
    between = taps(elements, STRAIGHT)
    between["tap-B1"]["B2"] = between["tap-B1"]["B1"] * 0.6
    assert not vibration.tap(raw_of(between, sensors=sensors)).passed


def test_noise_passes_a_quiet_lane_and_finds_the_sensor_that_lies_loose(raw_of: RawOf) -> None:
    assert vibration.noise(raw_of({"quiet": world.at_rest(GAINS, 60, RATE_HZ, chance())})).passed
    loose = {**GAINS, "B2": Element(coupled=False)}
    found = vibration.noise(raw_of({"quiet": world.at_rest(loose, 60, RATE_HZ, chance())}))
    assert [check.name for check in found.checks if not check.passed] == ["B2 coupled"]


def test_noise_fails_in_wind_with_hum_and_when_something_passes(raw_of: RawOf) -> None:
    signals = world.at_rest(GAINS, 60, RATE_HZ, chance())
    t = np.arange(len(signals["B1"])) / RATE_HZ

    def failing(wave: Any) -> set[str]:
        found = vibration.noise(raw_of({"quiet": signals | {"B1": signals["B1"] + wave}}))
        return {check.name for check in found.checks if not check.passed}

    wind = Element().counts(world.ground(60, RATE_HZ, chance(2), 60.0), RATE_HZ, chance(3))
    assert "B1 quiet" in failing(wind)
    assert failing(3e5 * np.sin(2 * np.pi * 50 * t)) == {"B1 hum"}
    lorry = Element().counts(world.ground(60, RATE_HZ, chance(4), 5.0), RATE_HZ, chance(5))
    assert "B1 steady" in failing(lorry * np.exp(-0.5 * ((t - 30) / 3) ** 2))


def test_background_finds_the_lanes_own_model_and_its_sigma() -> None:
    random = chance(6)
    ground, wind = random.uniform(-10, 10, 60), random.uniform(0, 4, 60)
    body = 3.0 + 0.9 * ground + 1.5 * wind + random.normal(0, 1.2, 60)
    arrays = {"empties/body_db": body, "empties/ground_db": ground, "empties/wind_m_s": wind}
    found = vibration.background(Raw(arrays))
    assert found.passed
    assert found.result("sigma").covers(1.2)
    assert found.settings["background"]["b"] == pytest.approx(0.9, abs=0.1)
    spoiled = body.copy()
    spoiled[3] += 40.0
    assert not vibration.background(Raw(arrays | {"empties/body_db": spoiled})).passed
    assert not vibration.background(Raw(arrays | {"empties/ground_db": random.normal(size=60)})).passed
    with pytest.raises(BadSetup, match="20 are needed"):
        vibration.background(Raw({name: array[:8] for name, array in arrays.items()}))
