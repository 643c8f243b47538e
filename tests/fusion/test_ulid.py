from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ulid import ULID

from fusion.ulid import ulid


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_another_library_reads_our_ulid(milliseconds: int, randomness: bytes) -> None:
    text = ulid(milliseconds * 1_000_000, randomness)
    assert ULID.from_str(text).bytes == milliseconds.to_bytes(6, "big") + randomness


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        ulid(-1, bytes(10))
    with pytest.raises(ValueError, match="give 10"):
        ulid(0, bytes(9))
