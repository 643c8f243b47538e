from __future__ import annotations

from pathlib import Path

import pytest

from edge import active_model
from edge.replay import Weighing
from fusion.policy import Policy
from hil.bench.passages import write_passages


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four simulated passages: two empty, two with people, whose outcomes are known."""
    folder = tmp_path_factory.mktemp("dataset")
    write_passages(folder, 4)
    (folder / "dataset.toml").write_text('name = "practice"\nkind = "simulated"\n')
    return folder


@pytest.fixture(scope="session")
def weighing() -> Weighing:
    return Weighing(active_model.load(None), Policy())
