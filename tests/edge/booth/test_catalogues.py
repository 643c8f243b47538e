"""Every text of the page, in every language: none is missing, whatever the lane, its sensors or its drivers say."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import edge.booth
from edge.booth import causes, view
from edge.booth.officers import Role
from edge.booth.server import CONTEXT_WORDS, LANGUAGES
from edge.records.outcome import CHECKS, By, CheckState, Reason, Technique
from fusion.bundle.read import WORDS
from fusion.passage import BodyType
from fusion.verdict import MODALITIES, Level, State

BOOTH = Path(edge.booth.__file__).parent
TREE = BOOTH.parents[1]
CATALOGUES = {name: json.loads((BOOTH / "catalogues" / f"{name}.json").read_text()) for name in LANGUAGES}
ENGLISH = CATALOGUES["en"]
# What only a lane with a fault of its own says, in words that no catalogue can foresee.
FREE = {"{}", "{}: {}", "{}: {} ({} of {} frames are good)", ", status {}", "{} of {} s"}


def said(node: ast.AST | None) -> Iterator[str]:
    """A text of the source, with {} for what it fills in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    elif isinstance(node, ast.IfExp):
        yield from said(node.body)
        yield from said(node.orelse)


def causes_of(path: Path) -> Iterator[str]:
    """Texts that a module gives as a cause or a status: arguments, assignments, and what judging functions return."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            if getattr(node.func, "id", "") == "silent" and len(node.args) > 2:
                yield from said(node.args[2])
            for keyword in node.keywords:
                if keyword.arg in ("status", "cause"):
                    yield from said(keyword.value)
        elif isinstance(node, ast.Assign) and {getattr(one, "id", "") for one in node.targets} & {"cause", "status"}:
            yield from said(node.value)
        elif isinstance(node, ast.Return):
            for element in node.value.elts if isinstance(node.value, ast.Tuple) else ():
                yield from said(element)


def all_causes() -> list[str]:
    modules = [path for folder in ("fusion/evidence", "drivers/co2", "drivers/mmwave", "drivers/vibration")
               for path in (TREE / folder).glob("*.py")]  # fmt: skip
    found = {text for path in modules for text in causes_of(path) if " " in text}
    return sorted(found - FREE)


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_every_text_with_the_same_values_in_it(language: str) -> None:
    texts = CATALOGUES[language]
    assert list(texts) == list(ENGLISH), "the same keys in the same order, so that a difference can be read"
    for key, text in texts.items():
        assert text.strip(), key
        assert set(re.findall(r"\{(\w+)\}", text)) == set(re.findall(r"\{(\w+)\}", ENGLISH[key])), key


def test_the_causes_of_the_source_are_found_at_all() -> None:
    assert len(all_causes()) > 40
    assert {"no probe presented", "wind {} m/s, limit {} m/s without shelter"} <= set(all_causes())


@pytest.mark.parametrize("cause", all_causes())
def test_every_cause_of_evidence_and_drivers_is_said_in_the_officers_language(cause: str) -> None:
    assert causes.key_of(cause) in ENGLISH, cause


def test_every_cause_key_has_its_text() -> None:
    assert {f"cause.{key}" for _, key in causes.PHRASES} <= set(ENGLISH)


def test_every_reason_code_has_its_text() -> None:
    codes = set()
    for path in (*(TREE / "fusion").glob("*.py"), *(TREE / "edge").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Reason":
                codes |= {text for word in node.keywords if word.arg == "code" for text in said(word.value)}
    plain = {code for code in codes if "{" not in code}
    assert {"score.over", "life.co2", "restarted"} <= plain
    sides = {f"{modality}.{side}" for modality in MODALITIES for side in ("for", "against", "neutral")}
    assert [code for code in sorted(plain | sides) if f"reason.{code}" not in ENGLISH] == []


def test_every_word_that_a_page_may_show_of_a_closed_list_has_its_text() -> None:
    families = {
        "level": list(Level),
        "state": [*(state.value for state in State if state is not State.MEASURED), *get_args(CheckState)],
        "modality": MODALITIES,
        "technique": get_args(Technique),
        "override": get_args(Reason),
        "by": get_args(By),
        "check": CHECKS,
        "role": get_args(Role),
        "place": view.PLACES,
        "context": CONTEXT_WORDS,
        "body_type": [kind.value for kind in BodyType if kind is not BodyType.UNKNOWN],
        **{word: [one for one in words if one != "unknown"] for word, words in WORDS.items() if word != "shelter"},
        "language": LANGUAGES,
    }
    wanted = [f"{family}.{word}" for family, words in families.items() for word in words]
    assert [key for key in wanted if key not in ENGLISH] == []


def test_every_key_that_a_script_or_page_names_is_in_the_catalogue() -> None:
    wanted = set()
    for path in (*(BOOTH / "static").glob("*.js"), *(BOOTH / "static").glob("*.html"), BOOTH / "view.py"):
        text = path.read_text()
        wanted |= set(re.findall(r"""\bt\("([a-z_.0-9]+)\"""", text)) | set(re.findall(r'data-t="([a-z_.0-9]+)"', text))
        wanted |= set(re.findall(r'"(?:key": ")?((?:line|reason|place)\.[a-z_.0-9]*[a-z])"', text))
    assert {"page.light", "line.where", "reason.silent"} <= wanted
    assert [key for key in sorted(wanted) if key not in ENGLISH] == []
