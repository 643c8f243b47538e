"""Another world: every range that a draw comes from is left, by a stated share of its width, on either side.

What was learned in the usual world has seen none of these values. Shares that must stay shares are held to it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.random import Generator

from hil.world.air import Air
from hil.world.passage import Truth, draw_truth


class Outside:
    """A generator whose ``uniform`` draws from just outside the range it is asked for; all else is as it was."""

    def __init__(self, random: Generator, share: float) -> None:
        self._random, self._share = random, share

    def uniform(self, low: float = 0.0, high: float = 1.0, size: Any = None) -> Any:
        """Outside ``low``..``high``, by up to ``share`` of its width."""
        over = self._random.uniform(0.0, self._share * np.abs(np.asarray(high) - low), size)
        return np.where(self._random.random(size) < 0.5, low - over, high + over)[()]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._random, name)


def draw_beyond(random: Generator, people: int | None, scanned: float, share: float) -> Truth:
    """As `draw_truth`, with every uniform range left by up to ``share`` of its width."""
    outside: Any = Outside(random, share)
    truth = draw_truth(outside, people, scanned)
    scene, air, side = truth.scene, truth.air, truth.side
    around = replace(
        scene.around,
        ground_coherence=float(np.clip(scene.around.ground_coherence, 0.0, 0.999)),
        wind_m_s=max(0.0, scene.around.wind_m_s),
        reaches=float(np.clip(scene.around.reaches or 0.0, 0.0, 1.2)),
        wheels=max(0.0, scene.around.wheels),
        scale_m=max(1.0, scene.around.scale_m),
        turbulence=max(0.02, scene.around.turbulence),
        swell_db=max(0.0, scene.around.swell_db),
    )
    modes = tuple(
        replace(mode, share=max(0.0, mode.share), damping=max(0.01, mode.damping)) for mode in scene.lorry.modes
    )
    lorry = replace(scene.lorry, modes=modes, roll_damping=max(0.03, scene.lorry.roll_damping))
    people_in = tuple(
        replace(
            person,
            force_n=max(0.1, person.force_n),
            at=float(np.clip(person.at, -0.5, 0.5)),
            along_share=float(np.clip(person.along_share, 0.0, 1.0)),
            co2_l_min=max(0.02, person.co2_l_min),
        )
        for person in scene.people
    )
    tau = float(np.clip(side.tau, 0.0, 0.95))
    view = replace(truth.view, channels_k=max(0.0, truth.view.channels_k), netd_k=max(0.1, truth.view.netd_k))
    stops_s = None if truth.drive.stops_s is None else max(0.0, truth.drive.stops_s)
    return replace(
        truth,
        scene=replace(scene, lorry=lorry, around=around, people=people_in),
        air=_possible(air),
        view=view,
        drive=replace(truth.drive, stops_s=stops_s, speed_m_s=max(0.1, truth.drive.speed_m_s)),
        side=replace(side, tau=tau, rho=float(np.clip(side.rho, 0.0, 1.0 - tau)), sun_k=max(0.0, side.sun_k)),
    )


def _possible(air: Air) -> Air:
    """Air that can be: flows, volumes and times are not negative."""
    return replace(
        air,
        free_m3=max(3.0, air.free_m3),
        pocket_share=float(np.clip(air.pocket_share, 0.05, 0.9)),
        exchange_m3_h=max(1.0, air.exchange_m3_h),
        lag_s=max(0.5, air.lag_s),
        delay_s=max(0.0, air.delay_s),
        noise_ppm=max(0.1, air.noise_ppm),
        driven_times=max(1.0, air.driven_times),
        aboard_s=None if air.aboard_s is None else min(air.sealed_for_s, max(1.0, air.aboard_s)),
    )
