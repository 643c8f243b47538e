"""The lane never commands an exposure and never prompts one: a rule over the drivers, and every text that is shown."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RULE = ROOT / "tests" / "no_exposure.py"
CATALOGUES = sorted((ROOT / "edge" / "booth" / "catalogues").glob("*.json"))
# X-ray, radiograph, scan, expose, beam, in the languages of the booth.
XRAY = re.compile(
    r"x-?ray|radiogra|r[oö]ntgen|\bscan|expos|\bbeam\b|faisceau|\brayon|doorlicht|durchleucht|\bstrahl|bestrahl|\bstraal"
    r"|belicht|irradi",
    re.IGNORECASE,
)
# What is said of a scan that others made; each key was read by a person when it was put here.
SAYS_WHAT_WAS = re.compile(
    r"place\.radiograph|reason\.xray\.(for|against|neutral|against_share|faulty|out_of_limits)|reason\.late\.xray"
    r"|cause\.\w+|modality\.xray|technique\.xray|sign\.id"
)
# "X-ray it", "take a scan", "send it to the scanner": what no text may ask for, in any of them.
ASKS = re.compile(
    r"\b(x-?ray (it|the|this|that|again)|scan (it|the (lorry|vehicle|load)|again)"
    r"|(take|make|do|get|order|request|need|go to|send to|drive (in)?to|through) (a |an |the )?(x-?ray|scan|radiograph)"
    r"|radiographier|passer (au|aux|à la) (scanner|rayons?)|faire (une|un) (radio|scan)\w*|à scanner"
    r"|scannen|röntgen (bitte|lassen|nu|nog)|durchleuchten|doorlichten|bestrahlen)\b",
    re.IGNORECASE,
)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60, cwd=ROOT)


def test_nothing_under_the_xray_drivers_can_ask_a_scanner_for_anything() -> None:
    done = run(str(RULE))
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    "planted",
    [
        "from pynetdicom import AE\nAE().associate('scanner', 104)\n",
        "def ask(assoc):\n    return assoc.send_n_create(1)\n",
        "import socket\nsocket.create_connection(('scanner', 104))\n",
        "from urllib.request import urlopen\n",
        "from asyncio import open_connection as look\n",
        "import subprocess\n",
    ],
)
def test_the_rule_finds_a_planted_way_out(tmp_path: Path, planted: str) -> None:
    spec = f"import sys; sys.path.insert(0, {str(RULE.parent)!r}); import no_exposure; "
    (tmp_path / "planted.py").write_text(planted)
    read = f"print(list(no_exposure.faults(open({str(tmp_path / 'planted.py')!r}).read(), 'planted.py')))"
    assert "planted.py:" in run("-c", spec + read).stdout


@pytest.mark.parametrize("catalogue", CATALOGUES, ids=lambda path: path.stem)
def test_no_text_of_the_booth_asks_for_a_scan(catalogue: Path) -> None:
    texts = json.loads(catalogue.read_text(encoding="utf-8"))
    assert len(texts) > 100
    for key, text in texts.items():
        assert not ASKS.search(str(text)), f"{key}: {text}"
        if XRAY.search(str(text)):
            assert SAYS_WHAT_WAS.fullmatch(key), f"{key}: {text}: nothing but a scan that was made may be spoken of"


def shown_texts() -> list[tuple[str, str]]:
    """(place, text) of every string that the lane's own code could put into a prompt."""
    found = []
    for folder in ("fusion", "edge/cli", "edge/booth"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append((f"{file.relative_to(ROOT)}:{node.lineno}", node.value))
    for file in sorted((ROOT / "edge" / "booth" / "static").glob("*.*")):
        if file.suffix in (".html", ".js"):
            found.append((str(file.relative_to(ROOT)), file.read_text(encoding="utf-8")))
    return found


def test_no_text_of_the_lanes_own_code_asks_for_a_scan() -> None:
    texts = shown_texts()
    assert len(texts) > 1000
    for place, text in texts:
        assert not ASKS.search(text), f"{place}: {text[:200]}"


@pytest.mark.parametrize(
    "text",
    ["X-ray it", "Take a scan", "Scan the lorry", "Passer au scanner", "Nochmals durchleuchten", "Nu doorlichten"],
)
def test_the_words_that_would_ask_are_known(text: str) -> None:
    assert ASKS.search(text)
