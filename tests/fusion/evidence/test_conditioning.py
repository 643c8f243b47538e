from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fusion.evidence.conditioning import FADE_S, _gap_fade, _stretch, _valid

STRETCHES = st.lists(st.tuples(st.booleans(), st.integers(1, 90)), min_size=1, max_size=5)


@given(STRETCHES, st.sampled_from([100.0, 488.28125, 500.0]))
def test_weights_fall_towards_what_is_not_known_and_only_there(
    stretches: list[tuple[bool, int]], rate_hz: float
) -> None:
    known = np.concatenate([np.full(count, there) for there, count in stretches])
    unknown = np.flatnonzero(~known)
    weights = _gap_fade(known, _stretch(known), rate_hz)
    for at, weight in enumerate(weights.tolist()):
        distance = float(np.min(np.abs(unknown - at), initial=10**6))
        fade = min(1.0, max(0.0, (distance - 0.5) / (FADE_S * rate_hz)))
        assert weight == np.sin(0.5 * np.pi * fade) ** 2


@given(STRETCHES)
def test_one_stretch_is_dealt_with_as_many_are(stretches: list[tuple[bool, int]]) -> None:
    known = np.concatenate([np.full(count, there) for there, count in stretches] + [np.zeros(3000, np.bool_)])[:2740]
    stretch = _stretch(known)
    assert np.array_equal(_valid(known, stretch, 500.0), _valid(known, None, 500.0))
    assert np.array_equal(_gap_fade(known, stretch, 500.0) * known, _gap_fade(known, None, 500.0) * known)
