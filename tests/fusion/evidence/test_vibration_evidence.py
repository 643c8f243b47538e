from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymseed
import pytest
import scipy.fft
from numpy.typing import NDArray

from calibration.response import Response
from drivers.reading import ClockQuality, Stamp, WeatherSample
from fusion.evidence import conditioning
from fusion.evidence.conditioning import GRID_HZ, forget
from fusion.evidence.context import CONTEXT, context_values
from fusion.evidence.rhythm import rhythm
from fusion.evidence.vibration import FEATURES, _sums_over, _sums_over_all, prepare_vibration, vibration_evidence
from fusion.passage import Context, Passage, SensorSeries
from fusion.verdict import State
from hil.world.lorry import Lorry, Mode, Person, Scene, Surroundings, geophone, geophone_poles, vibration

SECOND = 1_000_000_000
START = 1_772_000_000 * SECOND
FLAT = Response(1e9, 5.0)
RATE = 100.0
LORRY = Lorry(15e3, "soft_sided", (Mode(0.9, 4.3, 0.05), Mode(0.1, 7.0, 0.04)), 1.0, 0.15, 0.0, 10.0)
CALM = Surroundings(0.5, True, 0.5, 0.95, 0.0, None)
PERSON = Person(72, 3.0, 0.27, 0.9, 0.35, 0.0, 0.25)
Waves = dict[str, NDArray[np.float64]]


def waves(people: int, seconds: float = 30, around: Surroundings = CALM, seed: int = 11) -> Waves:
    return vibration(Scene(LORRY, (PERSON,) * people, around), seconds, RATE, np.random.default_rng(seed))


def passage(velocity: Waves, response: Response | None = FLAT, context: Context | None = None) -> Passage:
    series = tuple(
        SensorSeries(name, "EHZ", START, RATE, np.round(wave * 1e9), response, None if response else "no response")
        for name, wave in velocity.items()
    )
    context = context or Context(shelter="shed")
    return Passage("01JQ0F7Y3W8V5R2M9K4T6B1N0D", "s", "1", START, None, vibration=series, context=context)


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def test_a_heart_beats_and_an_empty_lorry_does_not() -> None:
    occupied = vibration_evidence(passage(waves(1)), at(30))
    empty = vibration_evidence(passage(waves(0)), at(30))
    assert occupied.state is empty.state is State.MEASURED
    assert occupied.features["rhythm_bpm"] == pytest.approx(72, abs=3)
    assert occupied.features["energy_log"] > empty.features["energy_log"] + 0.2
    assert occupied.features["beat_log"] > empty.features["beat_log"] + 0.2
    assert occupied.where == "rear"
    assert set(FEATURES) <= set(occupied.features)


def test_the_ground_is_cancelled_by_most_of_its_coherence() -> None:
    found = vibration_evidence(passage(waves(0, 45)), at(45))
    explained = found.features["background_um_s"] / 0.33
    assert found.features["residual_um_s"] < 0.6 * explained


def test_a_coil_sensors_response_is_removed_by_its_poles_and_zeros() -> None:
    flat = waves(1)
    coil = Response(1e9, 20.0, (0j, 0j), geophone_poles())
    seen = vibration_evidence(passage({k: geophone(v, RATE) for k, v in flat.items()}, coil), at(30))
    true = vibration_evidence(passage(flat), at(30))
    assert seen.features["residual_um_s"] == pytest.approx(true.features["residual_um_s"], rel=0.1)


def test_too_little_data_is_absent() -> None:
    found = vibration_evidence(passage(waves(1)), at(3.5))
    assert (found.state, found.cause) == (State.ABSENT, "too little data: 3.5 of 4 s")


def test_samples_after_the_look_do_not_matter() -> None:
    long, short = passage(waves(1)), passage({k: v[:1500] for k, v in waves(1).items()})
    assert vibration_evidence(long, at(15)) == vibration_evidence(short, at(15))


def test_gaps_are_left_out_and_lower_the_quality() -> None:
    torn = waves(1)
    torn["B1"][1000:1600] = np.nan
    found, whole = vibration_evidence(passage(torn), at(30)), vibration_evidence(passage(waves(1)), at(30))
    assert found.state is State.MEASURED
    assert found.quality is not None and whole.quality is not None and found.quality < 0.85 * whole.quality


@pytest.mark.parametrize(
    ("how", "word"), [("flat", "flat at"), ("clipped", "clipped at"), ("uncoupled", "not coupled")]
)
def test_a_broken_body_sensor_is_named_and_when_all_are_it_is_faulty(how: str, word: str) -> None:
    broken = waves(1)
    for name in ("B1", "B2", "B3"):
        wave = broken[name]
        broken[name] = {
            "flat": np.full(len(wave), 7e-9),
            "clipped": np.clip(wave, -0.3 * wave.std(), 0.3 * wave.std()),
            "uncoupled": np.random.default_rng(1).normal(size=len(wave)) * 1e-9,
        }[how]
        if name == "B1":
            one = vibration_evidence(passage(broken), at(30))
            assert one.state is State.MEASURED and str(one.cause).startswith(
                f"B1: {word}" if how != "uncoupled" else "B1"
            )
    every = vibration_evidence(passage(broken), at(30))
    assert every.state is State.FAULTY and word in str(every.cause)


def test_without_a_response_it_is_faulty() -> None:
    found = vibration_evidence(passage(waves(1), None), at(30))
    assert found.state is State.FAULTY and "no response" in str(found.cause)


def test_without_ground_sensors_nothing_is_said() -> None:
    body = {k: v for k, v in waves(1).items() if k.startswith("B")}
    assert vibration_evidence(passage(body), at(30)).state is State.OUT_OF_LIMITS


def test_a_deaf_ground_sensor_does_not_make_the_ground_pass_for_a_person() -> None:
    deaf = waves(0)
    for name in ("G1", "G2"):
        deaf[name] = np.random.default_rng(1).normal(size=3000) * 1e-9
    found = vibration_evidence(passage(deaf), at(30))
    assert found.state is State.OUT_OF_LIMITS and "G1: " in str(found.cause) and "not coupled" in str(found.cause)


def windy(shelter: str, wind: float) -> Passage:
    sample = WeatherSample("mast", Stamp(at(1), at(1), 0, ClockQuality(True, None)), wind)
    return replace(passage(waves(0), context=Context(shelter=shelter)), weather=(sample,))


def test_wind_without_shelter_is_out_of_limits_with_its_figure() -> None:
    found = vibration_evidence(windy("open", 9.1), at(30))
    assert found.state is State.OUT_OF_LIMITS and "9.1 m/s" in str(found.cause)
    assert vibration_evidence(windy("unknown", 9.1), at(30)).state is State.OUT_OF_LIMITS
    assert vibration_evidence(windy("shed", 9.1), at(30)).state is State.MEASURED


@pytest.mark.parametrize(
    "context",
    [Context(engine="on"), Context(driver="in"), Context(refrigeration="on"), Context(cargo="live_animals")],
)
def test_an_engine_a_driver_and_animals_are_out_of_limits(context: Context) -> None:
    assert vibration_evidence(passage(waves(1), context=context), at(30)).state is State.OUT_OF_LIMITS


def test_an_engine_that_nobody_declared_is_seen_by_its_line() -> None:
    loud = waves(0)
    for name in ("B1", "B2", "B3"):
        loud[name] = loud[name] + 50e-6 * np.sin(2 * np.pi * 30.0 * np.arange(3000) / RATE)
    found = vibration_evidence(passage(loud), at(30))
    assert found.state is State.OUT_OF_LIMITS and "30.0 Hz" in str(found.cause)


def test_a_neighbours_engine_is_cancelled_by_the_ground() -> None:
    line = 20e-6 * np.sin(2 * np.pi * 12.5 * np.arange(3000) / RATE)
    found = vibration_evidence(passage({k: v + line for k, v in waves(0).items()}), at(30))
    calm = vibration_evidence(passage(waves(0)), at(30))
    assert found.state is State.MEASURED
    assert found.features["energy_log"] < calm.features["energy_log"] + 0.1


def test_a_passing_train_is_left_out_and_the_rest_is_measured() -> None:
    train = waves(0, 45)
    burst = np.exp(-0.5 * ((np.arange(4500) / RATE - 20) / 2) ** 2) * 100e-6
    noise = np.random.default_rng(3).normal(size=4500) * burst
    found = vibration_evidence(passage({k: v + noise for k, v in train.items()}), at(45))
    calm = vibration_evidence(passage(train), at(45))
    assert found.state is State.MEASURED
    person = vibration_evidence(passage(waves(1, 45)), at(45))
    assert found.features["energy_log"] < person.features["energy_log"] - 0.3
    assert found.quality is not None and calm.quality is not None and found.quality < calm.quality


def ticking(beats_s: NDArray[np.float64], seconds: float = 45) -> Passage:
    """An empty lorry that is struck at these moments: a short burst of 5 Hz at each body sensor."""
    velocity = waves(0, seconds)
    t = np.arange(round(seconds * RATE)) / RATE
    struck = np.zeros(len(t))
    for at in beats_s:
        struck += 4e-6 * np.exp(-0.5 * ((t - at) / 0.08) ** 2) * np.cos(2 * np.pi * 5 * (t - at))
    return passage({k: v + struck if k.startswith("B") else v for k, v in velocity.items()})


def test_a_machine_that_ticks_is_named_and_says_nothing() -> None:
    found = vibration_evidence(ticking(np.arange(0.3, 45, 0.8)), at(45))
    assert found.state is State.OUT_OF_LIMITS
    assert str(found.cause).startswith("a machine ticks at 75.") and found.features["rhythm_bpm"] == pytest.approx(
        75, abs=1
    )


@pytest.mark.parametrize("seed", range(8))
def test_a_heart_however_loud_is_no_machine(seed: int) -> None:
    random = np.random.default_rng(seed)
    breath = np.sin(2 * np.pi * 0.27 * 0.8 * np.arange(60))
    beats = np.cumsum(0.8 * (1 + 0.03 * breath + 0.02 * random.normal(size=60)))  # SCIENCE 2.1
    found = vibration_evidence(ticking(beats[beats < 45]), at(45))
    assert found.state is State.MEASURED and found.features["beat_log"] > 0.3


@pytest.mark.parametrize("seconds", [5, 10, 30, 60])
def test_noise_reaches_its_null_in_one_record_of_a_hundred_at_every_length(seconds: int) -> None:
    random, keep = np.random.default_rng(seconds), np.ones(round(seconds * GRID_HZ), np.bool_)
    noises = [random.normal(size=(2, len(keep))) for _ in range(300)]
    over = sum(rhythm(noise, scipy.fft.rfft(noise), keep).over_null_log > 0 for noise in noises)
    assert over <= 12  # three expected; five standard errors over that


def test_exchanged_plugs_are_a_fault_and_the_rest_is_measured() -> None:
    right = waves(1, around=replace(CALM, ground_coherence=0.98))
    wrong = dict(right, B2=right["G1"], G1=right["B2"])
    found = vibration_evidence(passage(wrong), at(30))
    assert found.state is State.MEASURED and "B2 and G1: swapped" in str(found.cause)
    assert "swapped" not in str(vibration_evidence(passage(right), at(30)).cause)


def test_a_movement_is_counted() -> None:
    moved = waves(1)
    t = np.arange(3000) / RATE
    for name in ("B1", "B2", "B3"):
        moved[name] = moved[name] + 60e-6 * np.exp(-0.5 * ((t - 17) / 0.15) ** 2) * np.sin(2 * np.pi * 4.3 * (t - 17))
    found = vibration_evidence(passage(moved), at(30))
    assert found.features["movements"] == 1 and vibration_evidence(passage(waves(1)), at(30)).features["movements"] == 0
    assert found.features["shift_log"] > 0.5


def test_a_changed_rate_is_a_fault_of_that_sensor_only() -> None:
    one = passage(waves(1))
    changed = replace(one.vibration[0], counts=np.empty(0), response=None, fault="rate: B1 has records of two rates")
    found = vibration_evidence(replace(one, vibration=(changed, *one.vibration[1:])), at(30))
    assert found.state is State.MEASURED and "rate: B1" in str(found.cause)


@pytest.mark.parametrize("rate_hz", [200.0, 250.0, 488.28125, 500.0])
def test_the_rate_of_a_recorder_hardly_matters(rate_hz: float) -> None:
    velocity = vibration(Scene(LORRY, (PERSON,), CALM), 30, 1000.0, np.random.default_rng(11))
    found = []
    for rate in (1000.0, rate_hz):
        t = np.arange(round(30 * rate)) / rate
        series = tuple(
            SensorSeries(
                k, "EHZ", START, rate, np.round(np.interp(t, np.arange(30_000) / 1e3, v) * 1e10), Response(1e10, 5.0)
            )
            for k, v in velocity.items()
        )
        found.append(vibration_evidence(replace(passage({}), vibration=series), at(30)).features["residual_um_s"])
    assert found[1] == pytest.approx(found[0], rel=0.05)


def test_a_baseline_and_the_sea_do_not_leak_into_the_heart_band() -> None:
    t = np.arange(3000) / RATE
    sea = {k: v + 3e-3 + 20e-6 * np.sin(2 * np.pi * 0.2 * t + 1) for k, v in waves(0).items()}
    found, calm = vibration_evidence(passage(sea), at(30)), vibration_evidence(passage(waves(0)), at(30))
    assert found.features["residual_um_s"] == pytest.approx(calm.features["residual_um_s"], rel=0.1)


def test_a_look_after_others_has_the_bits_of_one_that_starts_from_nothing() -> None:
    whole = passage(waves(1, 45))
    grown = [vibration_evidence(whole, at(second)) for second in (5, 7.3, 10, 15, 30, 45)]
    for second, before in zip((5, 7.3, 10, 15, 30, 45), grown, strict=True):
        forget()
        assert vibration_evidence(whole, at(second)) == before


def until(whole: Passage, second: float) -> Passage:
    """What had come by then."""
    return replace(
        whole, vibration=tuple(replace(s, counts=s.counts[: round(second * RATE)].copy()) for s in whole.vibration)
    )


def test_what_is_prepared_between_looks_changes_no_bit() -> None:
    whole = passage(waves(1, 45))
    seconds = (5, 10, 15, 30, 45)
    forget()
    fresh = []
    for second in seconds:
        fresh.append(vibration_evidence(until(whole, second), at(second)))
        forget()
    grown = []
    for second in range(1, 46):
        come = until(whole, second)
        prepare_vibration(come.vibration, START)
        if second in seconds:
            grown.append(vibration_evidence(come, at(second)))
    assert grown == fresh


def test_nothing_is_conditioned_twice_and_a_look_on_the_end_of_a_segment_finds_all_of_it_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked: list[int] = []
    one_segment = conditioning._segment

    def counted(counts: NDArray[np.float64], rate_hz: float, late: int, response: Response) -> conditioning._Segment:
        worked.append(len(counts))
        return one_segment(counts, rate_hz, late, response)

    monkeypatch.setattr(conditioning, "_segment", counted)
    whole, sensors = passage(waves(1, 45)), len(waves(1, 1))
    at_look, ahead = {}, 0
    forget()
    for second in range(1, 46):
        come = until(whole, second)
        prepare_vibration(come.vibration, START)
        ahead += len(worked)
        worked.clear()
        if second in (5, 10, 15, 30, 45):
            vibration_evidence(come, at(second))
            at_look[second] = len(worked)
            worked.clear()
    assert at_look == dict.fromkeys((5, 10, 15, 30, 45), 0) and ahead == 9 * sensors


@pytest.mark.parametrize("name", ["explained_log", "apart_log", "each_beat_log", "dry_beat_log", "repeat_log"])
def test_what_lasts_and_what_repeats_is_more_with_a_person(name: str) -> None:
    occupied, empty = (vibration_evidence(passage(waves(people)), at(30)).features[name] for people in (1, 0))
    assert occupied > empty + 0.1


def test_a_thump_moves_what_lasts_by_little_and_energy_by_much() -> None:
    calm = waves(0)
    thumped = {name: wave.copy() for name, wave in calm.items()}
    for name in ("B1", "B2", "B3"):
        thumped[name][1000:1040] += 5e-6 * np.hanning(40) * np.sin(2 * np.pi * 5 * np.arange(40) / RATE)
    before, after = (vibration_evidence(passage(one), at(30)).features for one in (calm, thumped))
    assert after["shift_log"] > before["shift_log"] + 0.5
    assert after["explained_log"] < before["explained_log"] + 0.15


def test_the_order_of_sensors_does_not_matter() -> None:
    one = passage(waves(1))
    assert vibration_evidence(one, at(30)) == vibration_evidence(replace(one, vibration=one.vibration[::-1]), at(30))


def test_context_is_finite_where_all_is_unknown() -> None:
    assert context_values(Passage("01JQ0F7Y3W8V5R2M9K4T6B1N0D", "s", "1", 0, None), 5) == dict.fromkeys(CONTEXT, 0.0)


def test_real_ground_recordings_do_not_crash(recordings: Path) -> None:
    files = sorted((recordings / "ground").glob("*/*.miniseed"))
    assert files
    states = []
    for file in files:
        traces = pymseed.MS3TraceList.from_file(str(file), unpack_data=True)
        parts = [np.asarray(s.np_datasamples, np.float64)[:6000] for t in traces for s in t][:3]
        names = ("B1", "G1", "B2")
        series = tuple(
            SensorSeries(n, "EHZ", START, RATE, c, Response(1e8, 5.0)) for n, c in zip(names, parts, strict=False)
        )
        real = replace(passage({}), vibration=series)
        states += [vibration_evidence(real, at(second)).state for second in (5, 10, 45)]
    assert State.MEASURED in states


def test_scipy_signal_stays_out() -> None:
    code = "import sys, fusion.evidence.vibration; raise SystemExit('scipy.signal' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


@pytest.mark.parametrize(("points", "ground", "taps"), [(1125, 2, 32), (1123, 1, 20), (101, 1, 8), (125, 3, 1)])
def test_sums_over_the_whole_record_are_the_same_from_spectra(points: int, ground: int, taps: int) -> None:
    random = np.random.default_rng(points)
    bodies, sources = random.normal(size=(4, points)), random.normal(size=(ground, points))
    shifts = np.arange(taps) - (taps - 1 - taps // 4)
    by_sum = _sums_over(bodies, sources, shifts, np.ones(points, np.bool_))
    by_spectra = _sums_over_all(np.fft.rfft(bodies), np.fft.rfft(sources), shifts, points)
    for one, other in zip(by_sum, by_spectra, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)
