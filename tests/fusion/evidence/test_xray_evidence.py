from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.reading import ClockQuality, Radiograph, Stamp
from fusion.evidence.xray import FEATURES, xray_evidence
from fusion.passage import Passage
from fusion.verdict import State
from hil.world.radiography import Beam, Load, Stowed, radiograph

STAMP = Stamp(1, 1, 1, ClockQuality(True, None))
BEAM = Beam(pixel_m=0.01, mu_cm2_g=0.055, photons=3e4, scatter=0.02, air=0.85, spread_m=0.006)
EMPTY = Load(10.0, 30.0, 0.7, ((4.0, 5.2),), (), seed=4)
SITTING = Stowed(along_m=4.6, up_m=1.7, pose="sitting", mass_g_cm2=30.0)


def scanned(load: Load, beam: Beam = BEAM, status: str = "ok") -> Radiograph:
    picture = radiograph(load, beam, np.random.default_rng(1)).astype(np.float32)
    spacing = beam.pixel_m
    return Radiograph("scanner", STAMP, picture, spacing, spacing, 1, None, None, None, Path("x"), "1", status)


def passage(*radiographs: Radiograph) -> Passage:
    return Passage("p", "calais", "3", 0, None, radiographs=radiographs)


def test_a_person_in_a_void_of_the_load_is_like_a_body_in_form_and_density() -> None:
    empty = xray_evidence(passage(scanned(EMPTY)))
    person = xray_evidence(passage(scanned(replace(EMPTY, people=(SITTING,)))))
    assert (empty.state, person.state) == (State.MEASURED, State.MEASURED)
    assert person.features["likeness"] > empty.features["likeness"] + 0.1
    assert person.features["alone"] > empty.features["alone"]
    assert 0.5 < person.features["contrast_neper"] < 2.5
    assert set(FEATURES) <= set(person.features)


def test_the_place_is_metres_from_the_edge_and_the_region_holds_the_person() -> None:
    found = xray_evidence(passage(scanned(replace(EMPTY, people=(SITTING,)))))
    width_m = scanned(EMPTY).transmission.shape[1] * BEAM.pixel_m
    middle_m = (found.features["region_left"] + found.features["region_right"]) / 2 * width_m
    assert middle_m == pytest.approx(4.6 + 1.2, abs=0.15)  # the picture begins 1.2 m behind the rear end
    assert found.where is not None
    assert found.where.startswith(f"{middle_m:.1f}"[:2])


def test_a_mirrored_scan_says_the_same() -> None:
    scan = scanned(replace(EMPTY, people=(SITTING,)))
    turned = replace(scan, transmission=np.ascontiguousarray(scan.transmission[:, ::-1]))
    one, other = xray_evidence(passage(scan)).features, xray_evidence(passage(turned)).features
    assert one["likeness"] == pytest.approx(other["likeness"], abs=0.05)


def test_without_spacing_the_place_is_unknown_and_said() -> None:
    blind = replace(
        scanned(EMPTY), row_spacing_m=None, column_spacing_m=None, status="PixelSpacing (0028,0030) is absent"
    )
    found = xray_evidence(passage(blind))
    assert found.state is State.MEASURED
    assert "place unknown" in (found.where or "")
    assert found.quality is not None
    assert found.quality < 0.7


def test_where_nothing_comes_through_nothing_is_said() -> None:
    scan = scanned(EMPTY)
    full = scan.transmission.copy()
    full[90:310, 130:1000] = np.minimum(full[90:310, 130:1000], 0.0171)  # the pedestal and no more
    found = xray_evidence(passage(replace(scan, transmission=full)))
    assert found.state is State.OUT_OF_LIMITS
    assert "penetration" in (found.cause or "")


def test_a_faulty_radiograph_is_faulty_with_its_cause() -> None:
    found = xray_evidence(passage(scanned(EMPTY, status="faulty: 62 of 128 rows are missing from PixelData")))
    assert (found.state, found.cause) == (State.FAULTY, "scanner: 62 of 128 rows are missing from PixelData")


def test_a_second_faulty_radiograph_does_not_take_back_the_first() -> None:
    good = scanned(replace(EMPTY, people=(SITTING,)))
    assert xray_evidence(passage(good, replace(good, status="faulty: all pixels are equal"))).state is State.MEASURED


def blank() -> NDArray[np.float32]:
    return np.full((400, 800), 0.2, np.float32)


def test_a_picture_without_open_beam_is_relative_and_says_nothing() -> None:
    found = xray_evidence(passage(replace(scanned(EMPTY), transmission=blank())))
    assert found.state is State.OUT_OF_LIMITS
    assert "open beam" in (found.cause or "")


@pytest.mark.parametrize("shape", [(0, 0), (1, 1), (16, 4000)])
def test_a_picture_that_shows_no_load_space_says_nothing(shape: tuple[int, int]) -> None:
    found = xray_evidence(passage(replace(scanned(EMPTY), transmission=np.full(shape, 0.5, np.float32))))
    assert found.state is State.OUT_OF_LIMITS


def test_missing_rows_and_dead_elements_are_unknown_and_never_dense() -> None:
    scan = scanned(EMPTY)
    broken = scan.transmission.copy()
    broken[100:110] = np.nan
    broken[50] = 0.0
    whole = xray_evidence(passage(scan))
    found = xray_evidence(passage(replace(scan, transmission=broken, status="10 of 430 rows are missing")))
    assert found.state is State.MEASURED
    assert all(np.isfinite(value) for value in found.features.values())
    assert found.features["coverage"] < whole.features["coverage"]


def test_no_radiograph_is_absent() -> None:
    assert xray_evidence(passage()).state is State.ABSENT
