"""`docs/officer.md` in its four languages: its pictures are the page's own, and it prints on one side of paper.

`make officer` takes the pictures anew and leaves the printed pages in build/.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, expect

import edge.booth

TREE = Path(edge.booth.__file__).parents[2]
DOCS, CATALOGUES = TREE / "docs", TREE / "edge" / "booth" / "catalogues"
LANGUAGES = {"en": "officer.md", "fr": "officer.fr.md", "nl": "officer.nl.md", "de": "officer.de.md"}
LEVELS = ("open_now", "search", "recheck", "no_search")
FACES = (*LEVELS, "measuring")
WRITE = os.environ.get("OFFICER") == "write"
VIEWPORT = {"width": 880, "height": 500}
LARGEST_PICTURE = 70_000  # bytes
# Rules of paper, A4 and 12 mm of edge; the words stand in docs/.
PAPER = """<!doctype html><html lang="%(language)s"><meta charset="utf-8"><base href="%(base)s/"><style>
  @page { size: A4; margin: 12mm }
  body { font: 11pt/1.3 system-ui, "DejaVu Sans", sans-serif; color: #000; margin: 0 }
  h1 { font-size: 20pt; margin: 0 0 2mm } h2 { font-size: 13pt; margin: 3mm 0 1mm } p { margin: 0 0 2mm }
  table { border-collapse: collapse; width: 100%% } th { text-align: left }
  td, th { border-bottom: 0.3mm solid #999; padding: 1.2mm 3mm 1.2mm 0; vertical-align: middle }
  img { width: 70mm; display: block } ul { margin: 0; padding-left: 5mm } li { margin-bottom: 0.8mm }
  p:last-child { display: none }
</style>%(content)s</html>"""


def printed(browser: Browser, language: str, folder: Path) -> Path:
    """The page as PDF."""
    content = MarkdownIt("commonmark").enable("table").render((DOCS / LANGUAGES[language]).read_text())
    source, target = folder / f"officer-{language}.html", folder / f"officer-{language}.pdf"
    source.write_text(PAPER % {"language": language, "base": DOCS.as_uri(), "content": content})
    page = browser.new_page()
    page.goto(source.as_uri())
    page.locator("img").evaluate_all("all => Promise.all(all.map((one) => one.decode()))")
    page.pdf(path=target, prefer_css_page_size=True)
    page.close()
    return target


def told(command: str, *arguments: str) -> str:
    return subprocess.run([command, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


@pytest.mark.skipif(not WRITE, reason="takes the pictures anew: make officer")
@pytest.mark.parametrize("face", FACES)
def test_pictures_are_taken_of_the_real_page(
    show: Callable[[str], str], new_page: Callable[..., Page], face: str
) -> None:
    (DOCS / "pictures").mkdir(exist_ok=True)
    show(face)
    page = new_page(viewport=VIEWPORT, color_scheme="light", reduced_motion="reduce")
    for language in LANGUAGES:
        page.select_option("#language", language)
        expect(page.locator("html")).to_have_attribute("lang", language)
        expect(page.locator("body")).to_have_attribute("data-level", face if face in LEVELS else "none")
        expect(page.locator("body")).to_have_attribute("data-covered", "no")
        page.locator("#prompt").screenshot(path=DOCS / "pictures" / f"officer-{language}-{face}.png")


@pytest.mark.skipif(not WRITE, reason="takes the picture anew: make officer")
def test_the_readme_shows_the_whole_page(show: Callable[[str], str], new_page: Callable[..., Page]) -> None:
    show("no_search")
    show("recheck")
    show("search")
    page = new_page(viewport={"width": 1600, "height": 1190}, device_scale_factor=0.6, color_scheme="light")
    expect(page.locator("body")).to_have_attribute("data-level", "search")
    page.locator(".seen img").evaluate_all("all => Promise.all(all.map((one) => one.decode()))")
    expect(page.locator("#presses button").first).to_be_enabled()
    page.screenshot(path=DOCS / "pictures" / "booth.png")


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_prints_on_one_side_with_all_its_pictures(browser: Browser, tmp_path: Path, language: str) -> None:
    pdf = printed(browser, language, tmp_path)
    assert re.search(r"^Pages:\s+1$", told("pdfinfo", str(pdf)), re.MULTILINE)
    pictures = [line for line in told("pdfimages", "-list", str(pdf)).splitlines()[2:] if " image " in line]
    assert len(pictures) == len(FACES)
    if WRITE:
        (TREE / "build").mkdir(exist_ok=True)
        shutil.copy(pdf, TREE / "build" / pdf.name)


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_names_the_prompts_and_buttons_as_the_page_does(language: str) -> None:
    text = (DOCS / LANGUAGES[language]).read_text()
    words = json.loads((CATALOGUES / f"{language}.json").read_text())
    rows = re.findall(r"!\[([^\]]+)\]\((pictures/[^)]+)\)", text)
    assert [name for name, _ in rows] == [*(words[f"level.{level}"] for level in LEVELS), words["phase.measuring"]]
    for face, (_, picture) in zip(FACES, rows, strict=True):
        assert picture == f"pictures/officer-{language}-{face}.png"
        assert 0 < (DOCS / picture).stat().st_size <= LARGEST_PICTURE
    for key in ("outcome.not_searched", "outcome.nobody", "outcome.found", "outcome.undo", "cover.lane", "drill.open"):
        assert f"**{words[key]}**" in text, key


def test_each_language_says_the_same_things() -> None:
    shapes = {
        language: [re.match(r"[-|#]*", line).group() for line in (DOCS / name).read_text().splitlines()]  # type: ignore[union-attr]
        for language, name in LANGUAGES.items()
    }
    assert len({tuple(shape) for shape in shapes.values()}) == 1
