"""On what a verdict was computed: another processor or library may round the last digits otherwise."""

from __future__ import annotations

import platform
from functools import lru_cache

import numpy as np
import onnxruntime as ort

from fusion.verdict import Runtime

THREADS = 1  # of a model's session, and of BLAS as the command line sets it: sums then have one order
OPTIMISATION = "all"  # of the model's graph: the runtime's own default


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """This machine, this configuration."""
    return Runtime(
        processor=" ".join((platform.machine(), *processor_features())),
        onnxruntime=ort.__version__,
        numpy=np.__version__,
        threads=THREADS,
        optimisation=OPTIMISATION,
    )


def processor_features() -> list[str]:
    """What the libraries choose their kernels by, as numpy found it: no file is read, so no sandbox hides it."""
    found = np.show_config(mode="dicts") or {}
    simd = found.get("SIMD Extensions", {})
    return sorted({*simd.get("baseline", ()), *simd.get("found", ())})
