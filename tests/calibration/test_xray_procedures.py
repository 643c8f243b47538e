"""Procedures on received radiographs: what was planted is found, and a bad set-up never passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from calibration.apply import lines
from calibration.procedures import xray
from calibration.procedures.procedure import BadSetup, Outcome
from calibration.raw import Raw
from calibration.record import RecordFault
from hil.world.test_piece import Exposure, detector

SHAPE = (96, 320)
Cert = Callable[..., dict[str, Any]]


def shown(piece: str, order: dict[str, Any] | None = None, seed: int = 1, shape: tuple[int, int] = SHAPE) -> Any:
    return Exposure(piece, order or {}).share(shape, np.random.default_rng(seed)).astype(np.float32)


def two(step: str, first: Any, second: Any) -> Raw:
    return Raw({f"{step}/image-0": first, f"{step}/image-1": second}, {"known": known()})


def known(order: dict[str, Any] | None = None) -> dict[str, Any]:
    one = detector(SHAPE[0], order or {})
    return {"dark": one.dark.tolist(), "air": (one.dark + one.air).tolist()}


def why(run: Callable[[], Outcome]) -> str:
    try:
        found = run()
    except (BadSetup, RecordFault) as fault:
        return str(fault)
    assert not found.passed
    return "; ".join(check.text() for check in found.checks if not check.passed)


def lorry(seed: int = 1) -> Any:
    """Open beam but for something in the middle."""
    picture = shown("air", seed=seed)
    picture[20:, 100:200] *= 0.4
    return picture


def test_dark_and_air_of_each_element_are_found_and_make_air_one() -> None:
    order = {"dark": 0.05, "air": 0.7}
    truth = detector(SHAPE[0], order)
    dark = xray.dark(two("dark", shown("dark", order, 1), shown("dark", order, 2)))
    assert dark.passed
    np.testing.assert_allclose(dark.settings["dark"], truth.dark, atol=2e-4)
    raw = Raw({f"air/image-{n}": shown("air", order, n) for n in (3, 4)}, {"known": {"dark": dark.settings["dark"]}})
    air = xray.air(raw)
    assert air.passed, why(lambda: air)
    picture = lines(shown("air", order, 9), {**dark.settings, **air.settings})
    assert float(np.nanmean(picture)) == pytest.approx(1.0, abs=0.003)  # clipped at 1 from above


def test_elements_that_the_driver_left_out_are_told_as_bad_and_stop_nothing() -> None:
    def without(piece: str) -> Any:
        picture = np.array(shown(piece))
        picture[12] = np.nan
        return picture

    dark = xray.dark(two("dark", without("dark"), without("dark")))
    assert dark.passed
    found = xray.bad_pixels(Raw({"dark/image-0": without("dark"), "air/image-0": without("air")}))
    assert found.passed
    assert found.settings["bad"] == [12]


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (lambda: shown("air"), lambda: shown("air"), "beam was on"),
        (lambda: np.hstack([shown("dark")[:, :160], shown("air")[:, :160] * 0.2]), lambda: shown("dark"), "part of it"),
        (lambda: shown("dark"), lambda: shown("dark", {"dark": 0.06}), "warm up"),
        (lambda: np.zeros(SHAPE), lambda: np.zeros(SHAPE), "by itself"),
        (lambda: shown("dark"), lambda: shown("dark", shape=(64, 320)), "another scanner"),
        (lambda: shown("dark"), lambda: np.full(SHAPE, np.nan), "lines are missing"),
    ],
    ids=["beam on", "beam on for a part", "drifts", "corrected already", "two detectors", "lines missing"],
)
def test_dark_never_passes_a_bad_set_up(first: Any, second: Any, said: str) -> None:
    assert said in why(lambda: xray.dark(two("dark", first(), second())))
    with pytest.raises(BadSetup, match="1 pictures"):
        xray.dark(Raw({"dark/image-0": shown("dark")}))


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        (lorry, lambda: lorry(2), "in the beam"),
        (lambda: shown("air"), lorry, "in the beam"),
        (lambda: shown("dark"), lambda: shown("dark"), "beam is off"),
        (lambda: shown("air", {"air": 1.2}), lambda: shown("air", {"air": 1.2}), "saturate"),
        (lambda: shown("air"), lambda: shown("air", {"air": 0.7}), "warm up"),
        (lambda: shown("air", {}) * np.linspace(0.8, 1, SHAPE[1]), lambda: shown("air"), "not steady"),
        (lambda: shown("air") * np.where(np.arange(96) < 40, 0.5, 1)[:, None],
         lambda: shown("air") * np.where(np.arange(96) < 40, 0.5, 1)[:, None], "hides a part"),
    ],
    ids=["a lorry in both", "a lorry in one", "beam off", "saturated", "another dose", "dose ramps", "a plate left in"],
)  # fmt: skip
def test_air_never_passes_a_bad_set_up(first: Any, second: Any, said: str) -> None:
    assert said in why(lambda: xray.air(two("air", first(), second())))
    with pytest.raises(BadSetup, match="run `dark` first"):
        xray.air(Raw({"air/image-0": shown("air"), "air/image-1": shown("air", seed=2)}))


def test_bad_elements_are_the_planted_ones() -> None:
    order = {"stuck": [7], "deaf": [40, 41], "noisy": [90]}
    found = xray.bad_pixels(Raw({"dark/image-0": shown("dark", order), "air/image-0": shown("air", order, 2)}))
    assert found.settings["bad"] == [7, 40, 41, 90]
    assert found.passed, why(lambda: found)
    for pair, said in (
        (("dark", "dark"), "beam was off"),
        (("air", "air"), "beam was off"),
        ((None, "lorry"), "in the beam"),
    ):
        dark = shown(pair[0] or "dark")
        air = lorry() if pair[1] == "lorry" else shown(pair[1], seed=3)
        raw = Raw({"dark/image-0": dark, "air/image-0": air})
        assert said in why(lambda raw=raw: xray.bad_pixels(raw))  # type: ignore[misc]


def wedge_raw(cert: Cert, picture: Any, about: Any = None, order: dict[str, Any] | None = None) -> Raw:
    told = {"known": known(order), "references": {"piece": cert("wedge", 120.0, "g/cm2", 1.2)}, **(about or {})}
    return Raw({"wedge/image-0": picture}, told)


def test_penetration_finds_attenuation_scatter_and_where_noise_ends_it(cert: Cert) -> None:
    order = {"mu_cm2_g": 0.055, "scatter": 0.03, "photons": 5e4}
    found = xray.penetration(wedge_raw(cert, shown("wedge", order), order=order))
    assert found.passed, why(lambda: found)
    assert found.result("attenuation").covers(0.055)
    assert found.result("scatter").covers(0.03)
    weak = order | {"photons": 60.0}
    less = xray.penetration(wedge_raw(cert, shown("wedge", weak), order=weak))
    assert less.result("penetration").value < found.result("penetration").value - 10
    assert "weak" in why(lambda: less)
    assert xray.penetration(wedge_raw(cert, shown("wedge", order)[:, ::-1], order=order)).passed  # drawn the other way


@pytest.mark.parametrize(
    ("picture", "about", "said"),
    [
        (lambda: shown("air"), {}, "nothing thick"),
        (lambda: shown("wedge", {"steps": 5}), {}, "law"),
        (lambda: shown("wedge")[:, 60:], {}, "not whole"),
        (lambda: shown("wedge"), {"known": {}}, "run `dark` first"),
        (lambda: shown("plate"), {}, "not whole"),
        (lambda: shown("wedge") * np.where(np.arange(SHAPE[1]) > 200, 0.7, 1.0), {}, "not whole"),
    ],
    ids=["no wedge", "another wedge", "half a wedge", "no dark", "a plate", "something before it"],
)
def test_penetration_never_passes_a_bad_set_up(picture: Any, about: dict[str, Any], said: str, cert: Cert) -> None:
    assert said in why(lambda: xray.penetration(wedge_raw(cert, picture(), about)))


def plate_raw(picture: Any, **about: Any) -> Raw:
    return Raw({"plate/image-0": picture}, {"known": known(), "spacing_m": [0.004, 0.005], **about})


def test_resolution_finds_the_blur_of_both_directions() -> None:
    found = xray.resolution(plate_raw(shown("plate", {"blur_pixels": 1.3}, shape=(96, 128))))
    assert found.passed, why(lambda: found)
    assert found.result("edge along the travel").covers(2.5631 * 1.3 * 5)
    assert found.result("edge along the detector").covers(2.5631 * 1.3 * 4)


@pytest.mark.parametrize(
    ("picture", "about", "said"),
    [
        (lambda: shown("air", shape=(96, 128)), {}, "no edge"),
        (lambda: shown("plate", {"tilt_deg": 0.0}, shape=(96, 128)), {}, "tilt the plate"),
        (lambda: shown("plate", {"tilt_deg": 15.0}, shape=(96, 128)), {}, "tilt the plate"),
        (lambda: shown("plate", shape=(96, 128)), {"spacing_m": None}, "spacing"),
        (lambda: shown("plate", {"blur_pixels": 4.0}, shape=(96, 128)), {}, "the spot has grown"),
        (lambda: shown("plate", shape=(96, 128))[:, 35:], {}, "thicker"),
    ],
    ids=["no plate", "upright", "far too tilted", "no spacing", "blurred", "edge outside"],
)
def test_resolution_never_passes_a_bad_set_up(picture: Any, about: dict[str, Any], said: str) -> None:
    assert said in why(lambda: xray.resolution(plate_raw(picture(), **about)))
