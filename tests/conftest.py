"""Where the real recordings and the awkward inputs lie, when they lie beside the checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same inputs each time, however busy the machine: searching for new ones is `make fuzz`'s.
settings.register_profile("tests", derandomize=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does, before anything imports numpy
SHARED = Path(os.environ.get("LANEPULSE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def cases() -> Path:
    """Folder of small inputs that break programs like ours."""
    if not (SHARED / "cases").is_dir():
        pytest.skip("no cases folder beside the checkout (LANEPULSE_SHARED)")
    return SHARED / "cases"


@pytest.fixture(scope="session")
def recordings() -> Path:
    """Folder of real recordings."""
    if not (SHARED / "data").is_dir():
        pytest.skip("no recordings beside the checkout (LANEPULSE_SHARED)")
    return SHARED / "data"
