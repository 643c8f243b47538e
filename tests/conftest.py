"""Where the real recordings and the awkward inputs lie, when they lie beside the checkout."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

# The same inputs each time, however busy the machine: searching for new ones is `make fuzz`'s.
settings.register_profile("tests", derandomize=True, deadline=None)
settings.register_profile("fuzz", max_examples=int(os.environ.get("FUZZ_RUNS", "2000")), deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does, before anything imports numpy
SHARED = Path(os.environ.get("LANEPULSE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def program_of() -> Callable[[str, str], str]:
    """``program_of("storescp", "DCMTK")``: the system's own program, or a skip.

    Never one of this environment: pynetdicom brings programs of the same names, and would judge itself.
    """
    own = Path(sys.executable).parent
    places = [place for place in os.environ.get("PATH", "").split(os.pathsep) if place and Path(place) != own]

    def find(name: str, package: str) -> str:
        found = shutil.which(name, path=os.pathsep.join(places))
        if found is None:
            pytest.skip(f"{package} is not installed")
        return found

    return find


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
