"""A model is tried in a process of its own before it is trusted: what hangs or crashes there takes nothing with it.

The child is this module run as a program. It gets the bytes on stdin, limits its memory, puts the model through its
whole contract (`fusion.classifier`), and answers one line. The parent waits so long and no longer.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

from edge.models.source import Source
from fusion.classifier import Classifier, ModelRefused
from models.manifest import ManifestRefused, read_manifest

LIMIT_S = 15.0  # assumed: 2 s on two busy cores; two tries must fit into the unit's TimeoutStartSec
MEMORY_BYTES = 2 << 30  # assumed: of address space; the runtime and a model of ours take a quarter
ANSWER_BYTES_MOST = 2_000
UNLIMITED = 0  # where a sandbox forbids a process to limit itself (SystemCallFilter=~@resources)
LENGTH_BYTES = 8
PASSED, REFUSED = 0, 7


def accept(source: Source, limit_s: float = LIMIT_S, memory_bytes: int = MEMORY_BYTES) -> None:
    """Put a model through its contract, in a process of its own.

    Args:
        source: the bytes that are to be trusted.
        limit_s: seconds for all of it, the start of the process included.
        memory_bytes: address space of the process; `UNLIMITED` sets no limit.

    Raises:
        ModelRefused: it broke its contract, did not finish, or killed the process.
    """
    length = len(source.manifest).to_bytes(LENGTH_BYTES, "big")
    command = [sys.executable, "-P", "-m", __name__, str(memory_bytes)]
    here = {"PYTHONPATH": str(Path(__file__).parents[2])}  # the very code that runs here, whatever is installed
    try:
        done = subprocess.run(
            command,
            input=length + source.manifest + source.model,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.defpath, **here},
            cwd="/",
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelRefused(f"{source.path}: not accepted within {limit_s:g} s; a model of ours takes 2") from None
    except OSError as error:
        raise ModelRefused(f"{source.path}: could not be tried: {error.strerror}") from None
    if done.returncode == PASSED:
        return
    if done.returncode == REFUSED:
        raise ModelRefused(f"{source.path}: {done.stdout[:ANSWER_BYTES_MOST].decode('utf-8', 'replace').strip()}")
    raise ModelRefused(f"{source.path}: the process that tried it {_end(done.returncode)}; do not use this file")


def _end(returncode: int) -> str:
    if returncode >= 0:
        return f"ended with {returncode}"
    try:
        return f"was killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"was killed by signal {-returncode}"


def _try(memory_bytes: int) -> int:
    """The child's side."""
    if memory_bytes != UNLIMITED:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    given = sys.stdin.buffer.read()
    length = int.from_bytes(given[:LENGTH_BYTES], "big")
    manifest, model = given[LENGTH_BYTES : LENGTH_BYTES + length], given[LENGTH_BYTES + length :]
    try:
        Classifier(model, read_manifest(manifest).contract())
    except (ModelRefused, ManifestRefused) as refusal:
        print(refusal)
        return REFUSED
    except MemoryError:
        print(f"it wants more than {memory_bytes} bytes of memory")
        return REFUSED
    return PASSED


if __name__ == "__main__":
    sys.exit(_try(int(sys.argv[1])))
