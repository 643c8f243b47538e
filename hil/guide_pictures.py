"""Pictures for the calibration guide, right beside wrong: ``python -m hil.guide_pictures docs/pictures/calibration``.

Each is what the procedure itself draws, of raw data that the simulated world made; the wrong ones fail, or this does.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from calibration import plots
from calibration.apply import response_setting
from calibration.procedures import co2, geometry, lane, mmwave, vibration, xray
from calibration.procedures.procedure import Outcome, Plot
from calibration.procedures.signals import geophone
from calibration.raw import Raw
from hil.world import geophones
from hil.world.geophones import Element
from hil.world.lane_switches import Lane, on
from hil.world.receivers import Receivers, detuned, with_target
from hil.world.test_piece import Exposure, detector

RATE_HZ, ROWS, COLUMNS, LINE = 250.0, 24, 32, (96, 320)
SIZE_IN = (8.4, 2.7)
SHEET = response_setting(geophone(geophones.VOLTS_PER_M_S * geophones.COUNTS_PER_VOLT, 4.5, 0.7))
Pair = tuple[str, Outcome, Outcome, int]  # name, right, wrong, which of the plots


def given(value: float, unit: str, expanded: float) -> dict[str, Any]:
    """A certificate."""
    return {"name": "reference", "value": value, "unit": unit, "expanded_uncertainty": expanded}


def heard(step: str, waves: dict[str, Any]) -> Raw:
    """Vibration at 250 Hz."""
    references = {
        "current": given(geophones.CURRENT_A, "A", 1e-3 * geophones.CURRENT_A),
        "moving_mass": given(geophones.MASS_KG, "kg", 0.01 * geophones.MASS_KG),
        "digitizer": given(geophones.COUNTS_PER_VOLT, "counts/V", 2e-3 * geophones.COUNTS_PER_VOLT),
    }
    about = {"rates_hz": dict.fromkeys(waves, RATE_HZ), "responses": dict.fromkeys(waves, SHEET)}
    return Raw({f"{step}/{name}": wave for name, wave in waves.items()}, {**about, "references": references})


def vibrating(random: np.random.Generator) -> Iterator[Pair]:
    """Noise, step and huddle."""
    good = {name: Element() for name in ("B1", "B2", "G1")}
    quiet = vibration.noise(heard("quiet", geophones.at_rest(good, 60, RATE_HZ, random)))
    wind = vibration.noise(heard("quiet", geophones.at_rest(good, 60, RATE_HZ, random, 60.0)))
    yield "noise", quiet, wind, 0
    bare = {"B1": Element(damping=0.25)}
    right = vibration.step(heard("release", geophones.releases({"B1": Element()}, 24, RATE_HZ, random)))
    yield "step", right, vibration.step(heard("release", geophones.releases(bare, 24, RATE_HZ, random))), 0
    loose = {**good, "G1": Element(coupled=False)}
    together = vibration.huddle(heard("plate", geophones.on_a_plate(good, 60, RATE_HZ, random)))
    yield "huddle", together, vibration.huddle(heard("plate", geophones.on_a_plate(loose, 60, RATE_HZ, random))), 0


def breathing(random: np.random.Generator) -> Iterator[Pair]:
    """Two gases, and gas that is switched."""
    t = np.arange(0.0, 60.0, 0.5)

    def two(creep_ppm: float) -> Outcome:
        levels = {"zero": 0.0 * t, "span": 1950 + creep_ppm * np.exp(-t / 40), "check": 1950 + 0.0 * t}
        arrays = {f"{step}/ppm": level + random.normal(0, 0.6, len(t)) for step, level in levels.items()}
        references = {"zero": given(0.5, "ppm", 0.5), "span": given(2000.0, "ppm", 20.0)}
        return co2.two_point(Raw(arrays | {f"{step}/t_s": t for step in levels}, {"references": references}))

    yield "two-gases", two(0.0), two(-120.0), 1

    def switched(leak: float) -> Outcome:
        arrays: dict[str, Any] = {}
        at = np.arange(0.0, 240.0, 1.0)
        for n in range(4):
            low, high = (420.0, 2000.0) if n % 2 == 0 else (2000.0, 420.0)
            fast, slow = (np.exp(-np.maximum(at - 5, 0) / tau) for tau in (3.0, 60.0))
            shown = high + (low - high) * ((1 - leak) * fast + leak * slow)
            arrays |= {f"switch-{n}/t_s": at, f"switch-{n}/ppm": shown + random.normal(0, 2, len(at))}
        return co2.lag(Raw(arrays))

    yield "lag", switched(0.0), switched(0.5), 0


def seeing(random: np.random.Generator) -> Iterator[Pair]:
    """The imager before its loads."""
    imager = detuned(ROWS, COLUMNS, {"gain": random.normal(1.06, 0.02, ROWS), "baseline_k": 0.4})
    row, column = np.mgrid[0:ROWS, 0:COLUMNS]

    def film(scene: Any, one: Receivers = imager, n: int = 64) -> Any:
        whole = np.broadcast_to(np.asarray(scene, float), (ROWS, COLUMNS))
        return np.stack([one.shown(whole, 0.0, random) for _ in range(n)])

    def two(hot: Any) -> Outcome:
        references = {"ambient": given(290.0, "K", 0.4), "hot": given(335.0, "K", 0.8)}
        arrays = {"ambient/frames": film(290.0), "hot/frames": film(hot), "again/frames": film(290.0)}
        return mmwave.two_point(Raw(arrays, {"references": references}))

    yield "two-loads", two(335.0), two(np.where(row < 9, 290.0, 335.0)), 0
    head = with_target(ROWS, COLUMNS, 290.0, (10, 12), 4.0)
    yield "flat", mmwave.flat(Raw({"flat/frames": film(290.0)})), mmwave.flat(Raw({"flat/frames": film(head)})), 0
    noisy = replace(imager, noisy=tuple((r, c) for r in (3, 4, 17) for c in range(COLUMNS)))
    steady = (mmwave.netd(Raw({"steady/frames": film(290.0, one)})) for one in (imager, noisy))
    yield "netd", next(steady), next(steady), 0

    def pixels(hot: Any) -> Outcome:
        one = replace(imager, deaf=((2, 2), (9, 30)), stuck=((5, 5),))
        return mmwave.bad_pixels(Raw({"ambient/frames": film(290.0, one, 100), "hot/frames": film(hot, one, 100)}))

    yield "bad-pixels", pixels(335.0), pixels(np.where(column < 9, 290.0, 335.0)), 0
    right, wrong = _marks(film)
    yield "geometry", right, wrong, 0


def _marks(film: Callable[..., Any]) -> Iterator[Outcome]:
    places = [[0.5, 3.4], [5.5, 3.4], [0.6, 0.9], [5.4, 0.8], [3.0, 2.0], [1.5, 1.5]]
    for order in ((0, 1, 2, 3, 4, 5), (1, 0, 2, 3, 4, 5)):
        arrays = {"empty/frames": film(288.0, n=24)}
        for number, place in enumerate(order, 1):
            along, up = places[place]
            spot = ((4.0 - up) / 0.15, (along + 0.2) / 0.2)
            arrays[f"place-{number}/frames"] = film(with_target(ROWS, COLUMNS, 288.0, spot, 1.6), n=24)
        yield geometry.geometry(Raw(arrays, {"places": places}))


def scanned(random: np.random.Generator) -> Iterator[Pair]:
    """Detector lines."""
    one = detector(LINE[0], {})
    known = {"dark": one.dark.tolist(), "air": (one.dark + one.air).tolist()}

    def scan(piece: str, shape: tuple[int, int] = LINE, **order: Any) -> Any:
        return Exposure(piece, order).share(shape, random)

    def pair(step: str, compute: Callable[[Raw], Outcome], change: Any) -> Outcome:
        return compute(Raw({f"{step}/image-{n}": scan(step) * change for n in range(2)}, {"known": known}))

    hidden = np.where(np.arange(LINE[0]) < 35, 0.55, 1.0)[:, None]
    yield "air", pair("air", xray.air, 1.0), pair("air", xray.air, hidden), 0
    told: dict[str, Any] = {"known": known, "references": {"piece": given(120.0, "g/cm2", 1.2)}}
    wedges = [xray.penetration(Raw({"wedge/image-0": scan("wedge", steps=steps)}, told)) for steps in (8, 5)]
    yield "penetration", wedges[0], wedges[1], 0
    told = {"known": known, "spacing_mm": [4.0, 5.0]}
    plates = [xray.resolution(Raw({"plate/image-0": scan("plate", (96, 128), blur_pixels=b)}, told)) for b in (1.2, 4)]
    yield "resolution", plates[0], plates[1], 0


def rolling(random: np.random.Generator) -> Iterator[Pair]:
    """Switches and clock."""

    def drives(turned: bool) -> Outcome:
        arrays: dict[str, Any] = {}
        t = np.arange(0.0, 20.0, 0.05)
        for n in range(1, 5):
            seen = on(Lane(2.4), 13.6, t - 2.0, float(random.uniform(1.1, 1.4)))
            arrays |= {f"drive-{n}/t_s": t, f"drive-{n}/on": seen[:, ::-1] if turned else seen}
        about = {"inputs": [0, 1], "poll_s": 0.05, "debounce_s": 0.2, "references": {"lorry": given(13.6, "m", 0.05)}}
        return lane.switches(Raw(arrays, about))

    yield "lane", drives(False), drives(True), 0

    def pulses(hand_s: float) -> Outcome:
        utc = 1_770_000_000.0 - 4 + np.arange(0.0, 66.0, 0.05)
        lit = np.zeros(len(utc))
        for full in range(0, 61, 10):
            start = 1_770_000_000.0 + full + 0.2 + random.normal(0, hand_s)
            lit[(utc >= start) & (utc < start + 0.6)] = 1
        about = {"inputs": [0, 1], "poll_s": 0.05, "watch": "02:40", "references": {"time": given(0.0, "s", 0.02)}}
        return lane.clock(Raw({"pulses/utc_s": utc, "pulses/on": np.stack([lit, lit], axis=1)}, about))

    yield "clock", pulses(0.03), pulses(0.8), 0


def titled(plot: Plot, word: str) -> Plot:
    """Right or wrong stands above it."""
    return replace(plot, title=f"{word}: {plot.title}")


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for make in (vibrating, breathing, seeing, scanned, rolling):
        for name, right, wrong, which in make(np.random.default_rng(2026)):
            if not right.passed or wrong.passed:
                raise SystemExit(f"{name}: the right one must pass ({right.passed}), the wrong one fail")
            pair = [titled(right.plots[which], "right"), titled(wrong.plots[which], "wrong")]
            drawn = re.sub(
                r"\d+\.\d{4,}", lambda found: f"{float(found[0]):.1f}", plots.panels(pair, SIZE_IN, small=True)
            )
            (out / f"{name}.svg").write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
