"""Reports of records: they stand alone, say what the record says, and tell when its proof does not hold."""

from __future__ import annotations

import base64
import html
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from calibration import plots, report
from calibration.drift import Point, chart
from calibration.procedures import mmwave
from calibration.procedures.procedure import Curve, Plot
from calibration.raw import Raw
from calibration.record import Kept
from calibration.store import Store
from edge.calibrate import reporting
from hil.world.receivers import detuned

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
HOSTILE = "<script>alert(1)</script> & #quote[x] $a$"


def pictures(scene_k: float, seed: int) -> Any:
    imager = detuned(16, 20, {"gain": 1.1, "offset_k": -4, "baseline_k": 0.3})
    random = np.random.default_rng(seed)
    return np.stack([imager.shown(np.full((16, 20), scene_k), 0.0, random) for _ in range(32)]).astype(np.float32)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three records of an imager: two-point, and a flat twice."""
    store = Store(tmp_path_factory.mktemp("calibrations"))
    given = {
        role: {"name": "absorber", "value": k, "unit": "K", "expanded_uncertainty": 0.6, "certificate": HOSTILE}
        for role, k in (("ambient", 290.0), ("hot", 335.0))
    }
    scenes = {"ambient": 290.0, "hot": 335.0, "again": 290.0}
    raw = Raw({f"{step}/frames": pictures(k, n) for n, (step, k) in enumerate(scenes.items())}, {"references": given})
    _add(store, mmwave.two_point, "two-point", raw, given)
    _add(store, mmwave.flat, "flat", Raw({"flat/frames": pictures(290.0, 7)}), {})
    return store


def _add(store: Store, compute: Callable[[Raw], Any], name: str, raw: Raw, given: dict[str, Any]) -> Kept:
    outcome, until = compute(raw), "2027-01-01T00:00:00.000Z"
    return store.append(
        {
            "device": {"name": "eye", "modality": "mmwave", "driver": "mmwave.gigevision", "vendor": HOSTILE},
            "procedure": name, "procedure_version": 1, "performed_utc": "2026-01-01T10:00:00.000Z",
            "valid_until_utc": until, "operator": "uid 1000, A. Engineer", "verdict": "pass", "activates": True,
            "environment": {"temperature_c": 21.0}, "references": list(given.values()),
            "results": [one.document() for one in outcome.results], "before": dict(outcome.before),
            "after": dict(outcome.after), "residuals": dict(outcome.residuals), "notes": [HOSTILE],
            "checks": [one.model_dump(mode="json") for one in outcome.checks],
            "settings": {k: {"value": v, "valid_until_utc": until} for k, v in outcome.settings.items()},
        },
        raw,
        KEY,
    )  # fmt: skip


def page_of(store: Store, number: int, folder: Path, **words: Any) -> tuple[str, reporting.Written]:
    made = reporting.write(store, store.entries()[number - 1], KEY.public_key(), folder, **{"pdf": False, **words})
    return made.files[0].read_text(), made


def test_a_page_stands_alone_and_says_results_budget_plots_and_proof(store: Store, tmp_path: Path) -> None:
    page, made = page_of(store, 1, tmp_path)
    kept = store.entries()[0]
    assert made.holds
    assert not re.search(r"<script|https?://(?!www\.w3\.org)|<link|<img", page)
    assert page.count("<svg") == 2
    assert HOSTILE not in page
    assert html.escape(HOSTILE) in page
    for said in (
        "Uncertainty budget: gain, 1",
        "hot load",
        "Ambient load again",
        kept.id,
        "the same results",
        "uid 1000",
    ):
        assert said in page, said
    raw = re.search(r'href="([0-9a-f]{64}\.npz)"', page)
    assert raw is not None
    assert (tmp_path / raw[1]).read_bytes() == store.raw_bytes(str(kept.record.raw_sha256))
    assert page == page_of(store, 1, tmp_path / "again")[0]  # the same bytes each time


def test_openssl_finds_the_page_s_own_files_good(store: Store, tmp_path: Path) -> None:
    if not (program := shutil.which("openssl")):
        pytest.skip("openssl is not installed")
    page, _ = page_of(store, 1, tmp_path)
    carried = re.findall(r'download="([^"]+)" href="data:application/octet-stream;base64,([^"]+)"', page)
    for name, content in carried:
        (tmp_path / name).write_bytes(base64.b64decode(content))
    command = [program, "pkeyutl", "-verify", "-rawin", "-pubin", "-inkey", "signing.pub", "-in", "000001.json"]
    command += ["-sigfile", "000001.sig"]
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 0
    record = (tmp_path / "000001.json").read_bytes()
    (tmp_path / "000001.json").write_bytes(record.replace(b'"pass"', b'"fail"'))
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode != 0


def test_the_pdf_has_every_table_and_poppler_reads_it(store: Store, tmp_path: Path) -> None:
    if not (program := shutil.which("pdftotext")):
        pytest.skip("poppler is not installed")
    _, made = page_of(store, 1, tmp_path, pdf=True)
    said = subprocess.run([program, "-layout", str(made.files[-1]), "-"], capture_output=True, text=True).stdout
    for words in ("Uncertainty budget: gain", "Acceptance", "PASS", "Proof", "alert(1)", "#quote[x] $a$"):
        assert words in said, words
    assert made.files[-1].read_bytes() == page_of(store, 1, tmp_path / "again", pdf=True)[1].files[-1].read_bytes()


def test_what_was_tampered_with_is_said_in_the_report(store: Store, tmp_path: Path) -> None:
    broken = Store(tmp_path / "broken")
    shutil.copytree(store.root, broken.root)
    raw = broken.raw_path(str(broken.entries()[0].record.raw_sha256))
    raw.chmod(0o600)
    raw.write_bytes(raw.read_bytes()[:-1] + b"x")
    page, made = page_of(broken, 1, tmp_path)
    assert not made.holds
    assert "DOES NOT HOLD" in page
    other = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"1").public_key()
    assert not reporting.write(store, store.entries()[0], other, tmp_path, pdf=False).holds


def test_results_that_do_not_come_out_of_the_raw_data_are_said(tmp_path: Path) -> None:
    store = Store(tmp_path / "calibrations")
    raw = Raw({"flat/frames": pictures(290.0, 7)})

    def forged(given: Raw) -> Any:
        outcome = mmwave.flat(given)
        quantity = outcome.results[0]
        object.__setattr__(quantity, "value", quantity.value * 1.2)
        return outcome

    _add(store, forged, "flat", raw, {})
    page, made = page_of(store, 1, tmp_path)
    assert not made.holds
    assert "OTHER RESULTS" in page


def test_a_plot_is_svg_without_a_date_and_thins_what_a_page_cannot_show() -> None:
    x = np.linspace(0, 100, 50_000)
    wave = np.sin(x)
    wave[12_345] = 9.0
    drawn = plots.svg(Plot("wave", "s", "K", (Curve("line", x, wave), Curve("dots", x, wave, dots=True)), log_x=True))
    ElementTree.fromstring(drawn)
    assert len(drawn) < 400_000
    assert "<metadata" not in drawn or "dc:date" not in drawn
    assert float(np.max(plots._thinned(Curve("line", x, wave), Plot("", "", "", ()))[1])) == 9.0  # a peak stays


def test_the_drift_page_draws_limits_and_marks_what_left_them() -> None:
    points = [Point(f"2026-01-{n + 1:02d}T00:00:00Z", 1.0 + (0.2 if n > 7 else 0.001 * n), 0.002, n, "two-point")
              for n in range(12)]  # fmt: skip
    page = reporting.drift_page({"eye": {"two-point: gain": chart(points), "netd: NETD": []}})
    assert "OUT OF LIMITS" in page
    assert "fewer than 3 points" in page
    assert page.count("<svg") == 1


def test_numbers_are_said_to_two_digits_of_their_uncertainty() -> None:
    assert report.shown(838.2, 33.2) == "838 ± 33"
    assert report.shown(1.23456, 0.0123) == "1.235 ± 0.012"
    assert report.shown(1.15e9, 2.3e6) == "(1.1500 ± 0.0023) × 10^9"
    assert report.shown(2.1e-7, 3e-9) == "(2.100 ± 0.030) × 10^-7"
    assert report.shown(3.0, 0.0) == "3"
