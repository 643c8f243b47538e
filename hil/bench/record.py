"""``make bench-record``: each analysis against importing the library and asking the engine the same by hand in SQL.

Records of 0.1 to 10 million verdict rows are generated; every figure is of a fresh process, the disk cache warm. By
hand stands for two things: SQL on the joined vehicles that the product keeps (the strictest floor there is), and, for
the first question after a change, SQL that joins the raw tables itself.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hil.bench import record_sql
from hil.bench.measure import Row
from hil.record_lake import write

LARGEST = 10_000_000
LANES, SITES, DAYS = 20, 5, 365
MOST_MB = 2_000.0
ENVIRONMENT = os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": ""}
CLI = (sys.executable, "-m", "edge.cli.main", "analyse")


@dataclass(frozen=True, slots=True)
class Run:
    """One process: wall clock, processor time of both cores, and resident memory at its most."""

    seconds: float
    cpu_s: float
    peak_mb: float


def generated(folder: Path, verdict_rows: int) -> Path:
    """A lake of about so many verdict rows; made once."""
    lake = folder / f"lake-{verdict_rows}"
    if not (lake / "done").exists():
        shutil.rmtree(lake, ignore_errors=True)
        lanes = [(f"site{n % SITES + 1}", str(n // SITES + 1)) for n in range(LANES)]
        for site, lane, _ in write(lake, lanes, DAYS, verdict_rows / 2 / LANES / DAYS, seed=1):
            print(f"generating {verdict_rows:,} rows: {site}/{lane}", file=sys.stderr, flush=True)
        (lake / "done").touch()
    return lake


def first_question(lake: Path) -> Iterator[str]:
    """Everything that a changed record costs once: files verified, vehicles joined."""
    for path in (lake / "kept").glob("*"):
        path.unlink()
    for path in (lake / "lanes").glob("*.seen"):
        path.unlink()
    yield _beside("first question", _run(_ours(lake, ["counts"])), _run(_by_hand(record_sql.joining(lake))), "a join")


def questions(lake: Path, runs: int) -> Iterator[tuple[str, float]]:
    """Each analysis as a line, with its peak memory in MB."""
    for part, (arguments, statements) in record_sql.QUESTIONS.items():
        pairs = [
            (_run(_ours(lake, arguments)), _run(_by_hand(record_sql.asking(lake, statements)))) for _ in range(runs)
        ]
        ours, floor = (Run(*(median(getattr(pair[i], name) for pair in pairs) for name in FIELDS)) for i in (0, 1))
        yield _beside(part, ours, floor, "the same question"), ours.peak_mb


FIELDS = ("seconds", "cpu_s", "peak_mb")


def _beside(what: str, ours: Run, floor: Run, asked: str) -> str:
    row = Row(what, ours.seconds, floor.seconds, "s", f"importing the library, and {asked} in SQL by hand")
    return (
        f"{row.text()}; processor {ours.cpu_s:.1f} / {floor.cpu_s:.1f} s, {ours.peak_mb:.0f} / {floor.peak_mb:.0f} MB"
    )


def growth(lake: Path, largest: int) -> Iterator[tuple[int, Run]]:
    """The whole answer for parts of the record: a fifth of one lane's year, one lane, two, six, all."""
    names = [f"site{n % SITES + 1}/{n // SITES + 1}" for n in range(LANES)]
    each = largest // LANES
    yield each // 5, _run(_ours(lake, ["--of", names[0], "--since", "2025-03-01", "--until", "2025-05-12"]))
    for lanes in (1, 2, 6, LANES):
        some = [word for name in names[:lanes] for word in ("--of", name)]
        yield each * lanes, _run(_ours(lake, some))


def _ours(lake: Path, arguments: Sequence[str]) -> list[str]:
    return [*CLI, *arguments, "--lake", str(lake), "--json"]


def _by_hand(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def _run(command: Sequence[str]) -> Run:
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, env=os.environ | {"PYTHONWARNINGS": "ignore", "PYTHONDONTWRITEBYTECODE": ""}
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"bench: {' '.join(command)[:200]}: exit {process.returncode}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


LINES = (("seconds, whole answer", "", 52), ("seconds of processor", "2 3", -12), ("MB at most", "6 4", -8))


def growth_svg(points: Sequence[tuple[int, float, float, float]]) -> str:
    """How the whole answer grows with the record, both axes logarithmic.

    Args:
        points: verdict rows, seconds, seconds of processor, MB.
    """
    from math import log10

    width, height, left, top = 560, 340, 70, 20

    def at(rows: float, value: float) -> tuple[float, float]:
        x = left + (width - left - 60) * (log10(rows) - 5) / 2
        return x, top + (height - top - 60) * (1 - log10(max(value, 1.0)) / 4)

    name_space = "http://www.w3.org/2000/svg"
    parts = [f'<svg xmlns="{name_space}" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">']
    for exponent in range(5):
        _, y = at(1e5, 10.0**exponent)
        parts.append(
            f'<path d="M{left} {y:.0f}H{width - 60}" stroke="#ccc"/><text x="{left - 8}" y="{y + 4:.0f}" '
            f'text-anchor="end">{10**exponent:,}</text>'
        )
    for index, (name, dash, below) in enumerate(LINES):
        line = " ".join("{:.1f},{:.1f}".format(*at(point[0], point[index + 1])) for point in points)
        parts.append(
            f'<polyline points="{line}" fill="none" stroke="#111" stroke-width="2" stroke-dasharray="{dash}"/>'
        )
        x, y = at(points[-1][0], points[-1][index + 1])
        parts.append(f'<text x="{x - 4:.0f}" y="{y + below:.0f}" text-anchor="end">{name}</text>')
    for rows, *_ in points:
        x, _ = at(rows, 1.0)
        parts.append(f'<text x="{x:.0f}" y="{height - 42}" text-anchor="middle">{rows / 1e6:g}</text>')
    parts.append(f'<text x="{width / 2}" y="{height - 20}" text-anchor="middle">million verdict rows</text></svg>\n')
    return "".join(parts)


def main() -> None:
    """As the module says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="for the generated records and growth.svg; some 4 GB")
    parser.add_argument("--largest", type=int, default=LARGEST)
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    lake = generated(chosen.folder, chosen.largest)
    print(f"{chosen.largest:,} verdict rows", flush=True)
    for line in first_question(lake):
        print(line, flush=True)
    peaks, points = [], []
    for line, peak_mb in questions(lake, chosen.runs):
        print(line, flush=True)
        peaks.append(peak_mb)
    for rows, run in growth(lake, chosen.largest):
        print(
            f"whole answer of {rows:10,} rows: {run.seconds:6.1f} s, processor {run.cpu_s:.1f} s, {run.peak_mb:.0f} MB"
        )
        points.append((rows, run.seconds, run.cpu_s, run.peak_mb))
        peaks.append(run.peak_mb)
    (chosen.folder / "growth.svg").write_text(growth_svg(points), encoding="utf-8")
    print(f"memory at most {max(peaks):.0f} MB of {MOST_MB:.0f}; growth: {chosen.folder / 'growth.svg'}")


if __name__ == "__main__":
    main()
