from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from edge import active_model
from edge.cli.main import run
from edge.dataset import LeftOut, Omitted, open_dataset, weighed
from edge.models.source import RELEASED, read_source
from edge.replay import Weighing, replayed
from fusion.policy import Policy

FORMAT = {
    "schema", "dataset", "kind", "cases", "positives", "fused", "by_modality", "by_body_type", "levels", "cases_detail",
}  # fmt: skip
OURS = {"by_wind", "by_look", "by_people", "pd_three_less_one", "decisions"}  # beside those of FORMATS
FIGURES = {"auc", "cllr", "cllr_min", "pd", "pfa", "n_pos", "n_neg"}


def evaluate(capfd: pytest.CaptureFixture[str], *words: str, code: int = 0) -> tuple[str, str]:
    capfd.readouterr()
    assert run(["evaluate", *words, "--root", "/nonexistent", "--workers", "2"]) == code
    out, err = capfd.readouterr()
    return out, err


@pytest.fixture(scope="module")
def weighing() -> Weighing:
    return Weighing(active_model.load(None), Policy())


def test_the_object_is_that_of_formats(dataset: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out, err = evaluate(capfd, str(dataset), "--json")
    told = json.loads(out)
    assert set(told) == FORMAT | OURS
    assert (told["schema"], told["dataset"], told["kind"]) == ("lanepulse.evaluation/1", "Small <trial>", "simulated")
    assert (told["cases"], told["positives"], told["cases_detail"]) == (14, 6, None)
    assert list(told["by_modality"]) == ["co2", "mmwave", "vibration", "xray"]  # sorted: canonical JSON
    assert set(told["by_body_type"]) == {"soft_sided", "hard_sided"}
    every = [told["fused"], *told["by_modality"].values(), *told["by_body_type"].values()]
    every += [*told["by_wind"].values(), *told["by_look"].values(), *told["by_people"].values()]
    for figures in every:
        assert set(figures) == FIGURES
        for name in FIGURES - {"n_pos", "n_neg"}:
            assert set(figures[name]) == {"value", "low", "high"}
    assert sum(body["n_pos"] for body in told["by_body_type"].values()) == told["fused"]["n_pos"] == 6
    assert sum(level["n_neg"] for level in told["levels"].values()) == 8
    assert set(told["by_wind"]) == {"shed"} and set(told["by_look"]) == {"5", "10"}
    assert {name: (one["n_pos"], one["n_neg"]) for name, one in told["by_people"].items()} == {
        "1": (2, 8), "2": (2, 8), "3": (2, 8)
    }  # fmt: skip
    assert {"all", "shed", "vibration+co2"} <= set(told["decisions"])
    assert told["by_modality"]["xray"]["auc"] == {"value": None, "low": None, "high": None}
    assert "17 of 17 bundles weighed, 0 left" in err
    assert "left out: 1 no outcome, 1 not searched, 1 unreadable" in err


def test_the_figures_are_those_of_the_replayed_verdicts(
    dataset: Path, weighing: Weighing, capfd: pytest.CaptureFixture[str]
) -> None:
    out, _ = evaluate(capfd, str(dataset), "--json")
    told = json.loads(out)
    truth, ratios, opened = [], [], []
    for path in sorted(dataset.glob("01*"))[:14]:
        last = replayed(path, weighing).verdicts[-1]
        truth.append(json.loads((path / "outcome.json").read_text())["found"])
        ratios.append(sum(part.log10_lr for part in last.evidence))
        opened.append(last.level.value in ("search", "open_now"))
    assert told["fused"]["auc"]["value"] == pytest.approx(roc_auc_score(truth, ratios), abs=1e-6)
    occupied, empty = np.array(ratios)[truth], np.array(ratios)[~np.array(truth)]
    by_hand = 0.5 * (np.mean(np.log2(1 + 10.0**-occupied)) + np.mean(np.log2(1 + 10.0**empty)))
    assert told["fused"]["cllr"]["value"] == pytest.approx(by_hand, abs=1e-6)
    hits = sum(over for over, found in zip(opened, truth, strict=True) if found)
    exact = binomtest(hits, 6).proportion_ci(0.95, "exact")
    pd = told["fused"]["pd"]
    assert (pd["value"], pd["low"], pd["high"]) == pytest.approx((hits / 6, exact.low, exact.high), abs=1e-6)


def test_two_evaluations_are_equal_whatever_the_number_of_processes(
    dataset: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first, _ = evaluate(capfd, str(dataset), "--json")
    second, _ = evaluate(capfd, str(dataset), "--json", "--workers", "1")
    assert first == second


def test_each_case_and_each_that_was_left_out_has_its_line(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    detail = tmp_path / "cases.jsonl"
    out, _ = evaluate(capfd, str(dataset), "--json", "--cases", str(detail))
    assert json.loads(out)["cases_detail"] == str(detail)
    rows = [json.loads(line) for line in detail.read_text().splitlines()]
    assert len(rows) == 17
    assert sorted(row["left_out"] for row in rows if "left_out" in row) == ["no_outcome", "not_searched", "unreadable"]


class Tags(HTMLParser):
    """Counts what a page opens and closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_says_on_each_printed_page_what_the_data_are(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    evaluate(capfd, str(dataset), "--html", str(page))
    text = page.read_text()
    tags = Tags()
    tags.feed(text)
    assert tags.open == [] and tags.seen.count("svg") == 3 and "script" not in tags.seen
    assert not re.search(r"https?:|src=|url\(|@import", text)
    links = re.findall(r'href="([^"]*)"', text)
    assert links and all((page.parent / unquote(link)).is_dir() for link in links)
    assert "Small &lt;trial&gt;" in text and "<trial>" not in text
    assert 'role="presentation"><thead><tr><th>SIMULATED' in text  # browsers print such a head on every page
    assert text.count("<strong>simulated</strong>") == 5
    assert "bootstrap" in text and "Clopper" in text and "CC0-1.0" in text and "concealment-2" in text


def test_a_dataset_that_does_not_say_what_it_is_claims_the_least(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(dataset / "01JQ0F7Y3W8V5R2M9K4T6B0000", tmp_path / "set" / "one")
    out, err = evaluate(capfd, str(tmp_path / "set"))
    assert out.startswith("set: simulated; 1 passages, 1 with people")
    assert "does not say kind" in err


def test_the_same_passage_twice_counts_once(dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two"):
        shutil.copytree(dataset / "01JQ0F7Y3W8V5R2M9K4T6B0000", tmp_path / "set" / name)
    out, err = evaluate(capfd, str(tmp_path / "set"), "--json")
    assert json.loads(out)["cases"] == 1
    assert "two: left out: the passage 01JQ0F7Y3W8V5R2M9K4T6B0000 is in one too" in err


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        ('{"searched": false, "found": false}', LeftOut.NOT_SEARCHED),
        ('{"searched": true}', LeftOut.NOT_SEARCHED),
        ('{"searched": true, "found": "yes"}', LeftOut.UNREADABLE),
        ('{"searched": true, "found": 1}', LeftOut.UNREADABLE),
        ('{"found": true, "found": false}', LeftOut.UNREADABLE),
        ("[]", LeftOut.UNREADABLE),
        ("", LeftOut.UNREADABLE),
    ],
)
def test_an_outcome_that_says_nothing_is_left_out_by_its_reason(
    dataset: Path, tmp_path: Path, weighing: Weighing, outcome: str, why: LeftOut
) -> None:
    path = shutil.copytree(dataset / "01JQ0F7Y3W8V5R2M9K4T6B0000", tmp_path / "one")
    (path / "outcome.json").write_text(outcome)
    found = weighed(path, weighing)
    assert isinstance(found, Omitted) and found.why is why


@pytest.mark.parametrize(
    ("text", "said"),
    [('kind = "real"', "dataset.toml: kind"), ("kind = ", "dataset.toml"), ('name = ""\nkind = "mixed"', "name")],
)
def test_a_wrong_dataset_file_is_wrong_use(
    tmp_path: Path, text: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "dataset.toml").write_text(text)
    out, err = evaluate(capfd, str(tmp_path), code=2)
    assert out == "" and said in err and err.count("\n") == 1


def test_a_bundle_and_an_empty_folder_are_no_datasets(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert "give the folder that holds" in evaluate(capfd, str(dataset / "01JQ0F7Y3W8V5R2M9K4T6B0000"), code=2)[1]
    assert "no bundle in it" in evaluate(capfd, str(tmp_path), code=2)[1]


def test_where_no_outcome_is_known_the_answer_is_no(
    dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(dataset / "01JQ0F7Y3W8V5R2M9K4T6B0021", tmp_path / "one")
    out, _ = evaluate(capfd, str(tmp_path), "--json", "--html", str(tmp_path / "r.html"), code=1)
    assert json.loads(out)["fused"]["auc"]["value"] is None


def test_a_model_that_is_refused_is_named(dataset: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.onnx").write_bytes(b"")
    (tmp_path / "x.json").write_bytes(read_source(RELEASED).manifest)
    assert "x.onnx" in evaluate(capfd, str(dataset), "--model", str(tmp_path / "x.onnx"), code=2)[1]


def test_what_is_not_whole_yet_is_no_bundle_of_the_dataset(tmp_path: Path) -> None:
    for name in ("a.partial", ".hidden", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "c.ZIP").touch()
    (tmp_path / "notes.txt").touch()
    assert [path.name for path in open_dataset(tmp_path).bundles] == ["b", "c.ZIP"]


@pytest.fixture
def many(dataset: Path, tmp_path: Path) -> Path:
    """Six hundred bundles, whose series are links to those of fourteen."""
    root = tmp_path / "many"
    root.mkdir()
    for number in range(600):
        source = dataset / f"01JQ0F7Y3W8V5R2M9K4T6B{number % 14:04d}"
        path = shutil.copytree(source, root / f"{number:03d}", copy_function=os.link)
        text = (path / "passage.json").read_text()
        (path / "passage.json").unlink()
        (path / "passage.json").write_text(text.replace(source.name, f"01JQ0F7Y3W8V5R2M9K4T6C{number:04d}"))
    return root


@pytest.fixture
def running(many: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "edge.cli.main", "evaluate", str(many), "--json", "--workers", "1"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    yield process
    process.kill()
    process.communicate()


def test_ctrl_c_tells_what_was_done_until_then(running: subprocess.Popen[str]) -> None:
    assert running.stderr is not None
    assert "of 600 bundles weighed" in running.stderr.readline()
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the workers hear it too
    out, err = running.communicate(timeout=100)
    assert running.returncode == 130, err
    told: dict[str, Any] = json.loads(out)
    assert 0 < told["cases"] < 600
    told_shares = [told["fused"][name] for name in ("pd", "pfa") if told["fused"][name]["value"] is not None]
    assert told_shares and all(one["low"] <= one["value"] <= one["high"] for one in told_shares)
    stopped = re.search(r"stopped: (\d+) of 600 bundles were weighed, and the figures are of those alone", err)
    assert stopped is not None and int(stopped[1]) == told["cases"]
    assert "Traceback" not in err
