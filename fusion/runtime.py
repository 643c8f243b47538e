"""On what a verdict was computed: another processor or library may round the last digits otherwise."""

from __future__ import annotations

import platform
from functools import lru_cache
from pathlib import Path

import numpy as np
import onnxruntime as ort

from fusion.verdict import Runtime

THREADS = 1  # of a model's session, and of BLAS as the command line sets it: sums then have one order
OPTIMISATION = "all"  # of the model's graph: the runtime's own default
_TELLING = ("avx", "fma", "amx", "asimd", "sve")  # what the libraries choose their kernels by


@lru_cache(maxsize=1)
def runtime() -> Runtime:
    """This machine, this configuration."""
    return Runtime(
        processor=" ".join((platform.machine(), *processor_features(Path("/proc/cpuinfo")))),
        onnxruntime=ort.__version__,
        numpy=np.__version__,
        threads=THREADS,
        optimisation=OPTIMISATION,
    )


def processor_features(cpuinfo: Path) -> list[str]:
    """The features of the first processor that change how numbers are summed, in order of name."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    said = next((line for line in lines if line.split(":")[0].strip() in ("flags", "Features")), "")
    return sorted({word for word in said.partition(":")[2].split() if word.startswith(_TELLING)})
