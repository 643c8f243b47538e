"""Procedures of the imager: what was planted is found, and a bad set-up never passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from calibration.apply import frame
from calibration.procedures import geometry, mmwave
from calibration.procedures.procedure import BadSetup, Outcome
from calibration.raw import Raw
from calibration.record import RecordFault
from hil.world.receivers import Receivers, detuned, with_target

ROWS, COLUMNS = 24, 32
COLD_K, HOT_K = 290.0, 335.0
Cert = Callable[..., dict[str, Any]]
Pictures = np.ndarray[Any, Any]
RANDOM = np.random.default_rng


def pictures(imager: Receivers, truth_k: Any, n: int = 64, seed: int = 1, creep_k: float = 0.0) -> Pictures:
    """(n, rows, columns); ``creep_k``: what the scene warms by meanwhile."""
    random = RANDOM(seed)
    whole = np.broadcast_to(np.asarray(truth_k, float), (ROWS, COLUMNS))
    return np.stack([imager.shown(whole + creep_k * i / n, i / 10, random) for i in range(n)]).astype(np.float32)


def loads(imager: Receivers, cert: Cert, **instead: Any) -> Raw:
    """Raw data of a two-point: ``ambient``, ``hot``, ``again`` may be pictures of something else."""
    shown = {
        "ambient/frames": pictures(imager, COLD_K, seed=1),
        "hot/frames": pictures(imager, HOT_K, seed=2),
        "again/frames": pictures(imager, COLD_K, seed=3),
    } | {f"{name}/frames": value for name, value in instead.items()}
    given = {"ambient": cert("absorber", COLD_K, "K", 0.4), "hot": cert("absorber", HOT_K, "K", 0.6)}
    return Raw(shown, {"references": given})


def half(imager: Receivers, load_k: float, other_k: float, across: bool, n: int = 64) -> Pictures:
    """A load over half of the view."""
    row, column = np.mgrid[0:ROWS, 0:COLUMNS]
    beside = (column > COLUMNS // 2) if across else (row > ROWS // 2)
    return pictures(imager, np.where(beside, other_k, load_k), n)


def never_passes(run: Callable[[], Outcome]) -> str:
    """Why not."""
    try:
        found = run()
    except (BadSetup, RecordFault) as fault:
        return str(fault)
    assert not found.passed
    return "; ".join(check.text() for check in found.checks if not check.passed)


def uneven() -> Receivers:
    random = RANDOM(5)
    return detuned(
        ROWS,
        COLUMNS,
        {
            "gain": random.normal(1.08, 0.02, ROWS).tolist(),
            "offset_k": random.normal(-4, 1, ROWS).tolist(),
            "baseline_k": 0.4,
            "stuck": [[2, 3]],
            "noisy": [[5, 5]],
        },
    )


def test_two_point_finds_gain_and_offset_of_each_channel(cert: Cert) -> None:
    imager = uneven()
    found = mmwave.two_point(loads(imager, cert))
    assert found.passed, never_passes(lambda: found)
    setting = found.settings["channels"]
    np.testing.assert_allclose(setting["gain"], imager.gain, rtol=0.02)
    assert found.result("gain").covers(float(imager.gain.mean()))
    scene = np.full((ROWS, COLUMNS), 305.0)
    seen = frame(imager.shown(scene, 0.0, RANDOM(9)).astype(np.float32), found.settings)
    assert float(np.nanmedian(seen)) == pytest.approx(305.0, abs=0.4)
    assert np.ptp(np.nanmedian(seen, axis=1)) < 1.0  # the channels agree


def test_channels_may_be_columns(cert: Cert) -> None:
    imager = uneven()
    raw = loads(imager, cert)
    turned = Raw(
        {name: np.swapaxes(array, 1, 2) for name, array in raw.arrays.items()}, {**raw.about, "axis": "columns"}
    )
    found = mmwave.two_point(turned)
    np.testing.assert_allclose(found.settings["channels"]["gain"], imager.gain, rtol=0.02)
    picture = imager.shown(np.full((ROWS, COLUMNS), 305.0), 0.0, RANDOM(9)).astype(np.float32)
    np.testing.assert_array_equal(frame(picture.T, found.settings), frame(picture, mmwave.two_point(raw).settings).T)


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (lambda one: {"hot": pictures(one, COLD_K, seed=4)}, "loads swapped, one load twice"),
        (lambda one: {"ambient": pictures(one, HOT_K), "hot": pictures(one, COLD_K)}, "loads swapped"),
        (lambda one: {"hot": half(one, HOT_K, COLD_K, across=True)}, "fill the view"),
        (lambda one: {"hot": half(one, HOT_K, COLD_K, across=False)}, "fill the view"),
        (lambda one: {"hot": pictures(one, HOT_K, creep_k=-6)}, "temperature moves"),
        (lambda one: {"again": pictures(one, COLD_K + 4)}, "does not repeat"),
        (lambda one: {"hot": np.repeat(pictures(one, HOT_K, 1), 64, axis=0)}, "frozen"),
        (lambda one: {"hot": pictures(one, HOT_K, 3)}, "3 frames"),
        (lambda one: {"hot": np.full((64, ROWS, COLUMNS), np.nan)}, "gave nothing"),
        (lambda one: {"hot": pictures(one, COLD_K + 20)}, "not the loads of the certificates"),
        (lambda one: {"ambient": pictures(one, with_target(ROWS, COLUMNS, COLD_K, (12, 16), 5))}, "stands before"),
    ],
    ids=["one load twice", "swapped", "half across", "half up", "creeping", "does not repeat", "frozen", "too short",
         "saturated", "colder than its label", "a head in the view"],
)  # fmt: skip
def test_two_point_never_passes_a_bad_set_up(instead: Any, said: str, cert: Cert) -> None:
    imager = Receivers.tuned(ROWS, COLUMNS)
    assert mmwave.two_point(loads(imager, cert)).passed
    assert said in never_passes(lambda: mmwave.two_point(loads(imager, cert, **instead(imager))))


def test_two_point_refuses_loads_that_are_too_near(cert: Cert) -> None:
    given = {"ambient": cert("a", 290.0, "K", 0.4), "hot": cert("b", 297.0, "K", 0.4)}
    raw = Raw(loads(Receivers.tuned(ROWS, COLUMNS), cert).arrays, {"references": given})
    with pytest.raises(BadSetup, match=r"7\.0 K apart"):
        mmwave.two_point(raw)


def test_flat_takes_the_baseline_off() -> None:
    imager = detuned(ROWS, COLUMNS, {"baseline_k": 0.5})
    found = mmwave.flat(Raw({"flat/frames": pictures(imager, 300.0)}))
    assert found.passed, never_passes(lambda: found)
    np.testing.assert_allclose(found.settings["flat"]["column_k"], imager.baseline_k, atol=0.05)
    assert found.result("baseline rms").covers(float(np.sqrt(np.mean(imager.baseline_k**2))))
    seen = frame(np.mean(pictures(imager, 280.0, seed=8), axis=0), found.settings)
    assert float(np.ptp(np.mean(seen, axis=0))) < 0.15


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        (lambda one: pictures(one, with_target(ROWS, COLUMNS, 290, (12, 16), 5)), "stands in the view"),
        (lambda one: half(one, 290, 305, across=True), "edge is in the view"),
        (lambda one: pictures(one, 290, creep_k=5), "temperature moves"),
        (lambda one: np.repeat(pictures(one, 290, 1), 64, axis=0), "frozen"),
        (lambda one: pictures(one, 290, 4), "4 frames"),
    ],
    ids=["somebody in the view", "half a load", "creeping", "frozen", "too short"],
)
def test_flat_never_passes_a_bad_set_up(shown: Any, said: str) -> None:
    imager = Receivers.tuned(ROWS, COLUMNS)
    assert said in never_passes(lambda: mmwave.flat(Raw({"flat/frames": shown(imager)})))


def test_netd_is_found_and_a_noisy_or_a_filtered_imager_fails() -> None:
    def of(order: dict[str, Any], **words: Any) -> Raw:
        return Raw({"steady/frames": pictures(detuned(ROWS, COLUMNS, order), 290.0, **words)})

    found = mmwave.netd(of({"netd_k": 0.35}))
    assert found.passed
    assert found.result("NETD").covers(0.35)
    assert "too much" in never_passes(lambda: mmwave.netd(of({"netd_k": 1.6})))
    assert "too little" in never_passes(lambda: mmwave.netd(of({"netd_k": 0.005})))
    assert "temperature moves" in never_passes(lambda: mmwave.netd(of({}, creep_k=4.0)))
    crowd = Raw({"steady/frames": pictures(detuned(ROWS, COLUMNS, {}), with_target(ROWS, COLUMNS, 290, (9, 9), 4))})
    assert "fill the view" in never_passes(lambda: mmwave.netd(crowd))


def bad_raw(order: dict[str, Any], hot_k: float = HOT_K, n: int = 100) -> Raw:
    imager = detuned(ROWS, COLUMNS, order)
    return Raw({"ambient/frames": pictures(imager, COLD_K, n, 1), "hot/frames": pictures(imager, hot_k, n, 2)})


def test_bad_pixels_are_the_planted_ones_and_no_other() -> None:
    order = {
        "stuck": [[0, 0], [7, 9]], "noisy": [[3, 4]], "deaf": [[5, 31], *([11, c] for c in range(COLUMNS))],
        "baseline_k": 0.5,
    }  # fmt: skip
    found = mmwave.bad_pixels(bad_raw(order))
    assert found.settings["bad"] == [[11, -1], [0, 0], [3, 4], [5, 31], [7, 9]]
    assert found.passed, never_passes(lambda: found)
    found = mmwave.bad_pixels(bad_raw(order | {"deaf": [[5, 31]]}))
    assert found.passed, never_passes(lambda: found)
    seen = frame(np.full((ROWS, COLUMNS), 300.0, np.float32), found.settings)
    assert np.argwhere(np.isnan(seen)).tolist() == [[0, 0], [3, 4], [5, 31], [7, 9]]


def test_bad_pixels_never_pass_a_bad_set_up() -> None:
    assert "heat it" in never_passes(lambda: mmwave.bad_pixels(bad_raw({}, COLD_K + 1)))
    assert "100 are needed" in never_passes(lambda: mmwave.bad_pixels(bad_raw({}, n=40)))
    imager = Receivers.tuned(ROWS, COLUMNS)
    beside = Raw(dict(bad_raw({}).arrays) | {"hot/frames": half(imager, HOT_K, COLD_K, False, 100)})
    assert "view" in never_passes(lambda: mmwave.bad_pixels(beside))
    warming = Raw(dict(bad_raw({}).arrays) | {"hot/frames": pictures(imager, HOT_K, 100, creep_k=8)})
    assert "temperature moves" in never_passes(lambda: mmwave.bad_pixels(warming))


PLACES = [[0.5, 3.4], [5.5, 3.4], [0.6, 0.9], [5.4, 0.8], [3.0, 2.0], [1.5, 1.5]]
M_COLUMN, M_ROW = 0.2, -0.15


def pixel(along_m: float, up_m: float) -> tuple[float, float]:
    return (up_m - 4.0) / M_ROW, (along_m + 0.2) / M_COLUMN


def marked(imager: Receivers, places: Any = PLACES, at: Any = None, n: int = 24) -> Raw:
    arrays = {"empty/frames": pictures(imager, 288.0, n, 50)}
    for number, place in enumerate(at or places, 1):
        scene = 288.0 if place is None else with_target(ROWS, COLUMNS, 288.0, pixel(*place), 1.6)
        arrays[f"place-{number}/frames"] = pictures(imager, scene, n, number)
    return Raw(arrays, {"places": places})


def test_geometry_finds_the_metres_of_a_pixel() -> None:
    found = geometry.geometry(marked(uneven()))
    assert found.passed, never_passes(lambda: found)
    assert found.result("metres of a column").covers(M_COLUMN)
    assert found.result("metres of a row").covers(M_ROW)
    constant, column, row = found.settings["geometry"]["along_m"]
    assert constant == pytest.approx(-0.2, abs=0.05)
    assert (column, row) == (pytest.approx(M_COLUMN, rel=0.02), pytest.approx(0.0, abs=0.01))


def test_geometry_never_passes_a_bad_set_up() -> None:
    imager = Receivers.tuned(ROWS, COLUMNS)
    swapped = [PLACES[1], PLACES[0], *PLACES[2:]]
    assert "taken for another" in never_passes(lambda: geometry.geometry(marked(imager, at=swapped)))
    hidden = [None, *PLACES[1:]]
    assert "not seen" in never_passes(lambda: geometry.geometry(marked(imager, at=hidden)))
    line = [[0.5 * n + 0.5, 2.0] for n in range(6)]
    assert "one line" in never_passes(lambda: geometry.geometry(marked(imager, places=line)))
    huddled = [[2 + 0.9 * (n % 2), 2 + 0.4 * (n // 2)] for n in range(6)]
    assert "corners" in never_passes(lambda: geometry.geometry(marked(imager, places=huddled)))
    upside = [[a, 4.2 - u] for a, u in PLACES]
    assert "upside down" in never_passes(lambda: geometry.geometry(marked(imager, places=upside, at=PLACES)))
    two = dict(marked(imager).arrays)
    scene = with_target(ROWS, COLUMNS, 288, pixel(*PLACES[0]), 1.6) + with_target(ROWS, COLUMNS, 0, pixel(4, 1), 3)
    two["place-1/frames"] = pictures(imager, scene, 24, 9)
    assert "step out" in never_passes(lambda: geometry.geometry(Raw(two, {"places": PLACES})))
    with pytest.raises(RecordFault, match="3 marks"):
        geometry.geometry(Raw({}, {"places": PLACES[:3]}))
