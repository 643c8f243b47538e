from __future__ import annotations

import random
from pathlib import Path

import ibis
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edge.records.analysis_time import quantile_bounds, shared_levels
from edge.records.intervals import quantile_ranks

SIZES = {"a": 1, "b": 5, "c": 58, "d": 59, "e": 60, "f": 1_000, "g": 1_001, "h": 1_002, "i": 20_011}
QUANTILES = (0.5, 0.95)


def test_bounds_of_every_group_are_its_own_sorted_values_whatever_its_size(tmp_path: Path) -> None:
    drawn = random.Random(3)
    lanes = {lane: [drawn.expovariate(1.0) for _ in range(size)] for lane, size in SIZES.items()}
    pairs = [(lane, value) for lane, values in lanes.items() for value in (*values, None)]
    pq.write_table(
        pa.table({"lane": [p[0] for p in pairs], "bay_s": [p[1] for p in pairs]}), tmp_path / "stays.parquet"
    )
    engine = ibis.duckdb.connect()
    table = engine.read_parquet(tmp_path / "stays.parquet")
    found = quantile_bounds(table, {"bay_s": QUANTILES}, ("lane",))
    engine.disconnect()
    assert list(found) == [(lane,) for lane in SIZES]
    for lane, values in lanes.items():
        count, estimates = found[(lane,)]["bay_s"]
        assert count == len(values)
        for quantile, estimate in zip(QUANTILES, estimates, strict=True):
            ranks = quantile_ranks(quantile, count)
            told = [None if rank is None else round(sorted(values)[rank - 1], 3) for rank in ranks]
            assert [estimate.low, estimate.high] == told, (lane, quantile)


def test_a_group_without_a_value_is_unknown(tmp_path: Path) -> None:
    none_and_two = pa.array([None, 2.0], pa.float64())
    pq.write_table(pa.table({"lane": ["a", "b"], "bay_s": none_and_two}), tmp_path / "stays.parquet")
    engine = ibis.duckdb.connect()
    table = engine.read_parquet(tmp_path / "stays.parquet")
    found = quantile_bounds(table, {"bay_s": (0.5,)}, ("lane",))
    engine.disconnect()
    assert found[("a",)]["bay_s"][1][0].value is None
    assert found[("b",)]["bay_s"][1][0].value == pytest.approx(2.0)


def test_groups_of_nearly_one_size_share_what_is_asked_and_others_do_not() -> None:
    assert len(shared_levels([(500, 1_000), (500, 1_001), (501, 1_001)])) < 3
    assert len(shared_levels([(1, 10), (5, 10), (9, 10)])) == 3
