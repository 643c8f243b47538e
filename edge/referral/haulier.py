"""What a haulier may know of its own vehicles: which checks were not in order, and nothing of anybody else.

Only searched vehicles are listed: that one was not searched, what was advised and whether a draw chose it are nobody's
business outside. A plate that only looks alike is another's vehicle until a person says otherwise. Of a vehicle whose
two plates belong to two firms each sees its own plate alone.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from drivers.xray.plates import Same, join_key
from edge.journal.read import Reader
from edge.records.outcome import CHECKS
from edge.records.outcome_book import KIND as OUTCOME
from edge.referral.case import BROKEN_SEALS, FAILING
from edge.referral.plates import passages_with
from edge.referral.words import WordsRefused
from fusion.bundle.times import format_utc

MOST_PLATES = 5_000  # assumed: the largest fleets have some thousand vehicles
MOST_BYTES = 1024 * 1024
HOUR_NS = 3_600 * 10**9
COLUMNS = (
    "plate",
    "position",
    "hour_utc",
    "site",
    "lane",
    "secured",
    "not_in_order",
    "not_checked",
    "seals_not_intact",
)
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would run what begins so
SAID = (
    "Only vehicles that were searched are listed, and only while their plates are kept.",
    "A check that was not made says nothing. Times are to the hour, in UTC.",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One search of one of the haulier's vehicles."""

    plate: str  # as the haulier wrote it
    position: str
    hour_utc: str
    site: str
    lane: str
    secured: str  # yes, no, or not checked
    not_in_order: tuple[str, ...]
    not_checked: tuple[str, ...]
    seals_not_intact: int

    def cells(self) -> tuple[str, ...]:
        """As a table has it."""
        lists = (", ".join(self.not_in_order), ", ".join(self.not_checked), str(self.seals_not_intact))
        return (self.plate, self.position, self.hour_utc, self.site, self.lane, self.secured, *lists)


@dataclass(frozen=True, slots=True)
class Report:
    """What one haulier gets. ``passages`` and ``alike`` are for the record and for whoever makes it, not for them."""

    findings: tuple[Finding, ...]
    passages: tuple[str, ...]
    alike: int  # passages whose plate only looks like one of theirs: left out


def read_plates(path: Path) -> list[str]:
    """One plate a line; empty lines and those that begin with # are skipped.

    Raises:
        WordsRefused: file and line of the first thing that is wrong.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MOST_BYTES + 1)
        lines = raw.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise WordsRefused(f"{path}: {error.strerror}; give a file with one plate a line") from None
    except UnicodeDecodeError:
        raise WordsRefused(f"{path}: not UTF-8; save it as UTF-8 text") from None
    plates = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if len(text) > 64 or join_key(text) is None or any(mark in text for mark in ",;\t"):
            raise WordsRefused(f"{path}:{number}: {text[:20]!r} is no plate; give one plate a line")
        plates.append(text)
    if not 0 < len(plates) <= MOST_PLATES or len(raw) > MOST_BYTES:
        raise WordsRefused(f"{path}: {len(plates)} plates; give 1 to {MOST_PLATES}")
    return plates


def report(reader: Reader, site: str, lane: str, plates: Sequence[str]) -> Report:
    """The findings for these plates, oldest first."""
    findings, passages, alike = [], [], 0
    for match in passages_with(reader, plates):
        if match.same is not Same.YES:
            alike += 1
            continue
        rows = [row for row in reader.of_passage(match.passage_id) if row.kind == OUTCOME]
        outcome = rows[-1].document()["outcome"] if rows else None
        if outcome is None or not outcome["searched"]:
            continue
        hour = format_utc(rows[0].written_utc_ns // HOUR_NS * HOUR_NS)
        findings.append(_finding(match.asked, match.position, hour, site, lane, outcome))
        passages.append(match.passage_id)
    findings.sort(key=lambda finding: (finding.hour_utc, finding.plate))
    return Report(tuple(findings), tuple(passages), alike)


def as_csv(found: Report) -> bytes:
    """For a spreadsheet; what it would run gets an apostrophe before it."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for finding in found.findings:
        writer.writerow([f"'{cell}" if cell.startswith(FORMULA) else cell for cell in finding.cells()])
    return text.getvalue().encode("utf-8")


def as_html(found: Report) -> str:
    """One page without script or anything from elsewhere."""
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in COLUMNS)
    body = "".join(_html_row(finding) for finding in found.findings)
    style = (
        "body{font:16px/1.5 sans-serif;margin:1.5rem}td,th{text-align:left;padding:.2rem .8rem .2rem 0;border-bottom:"
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Security findings</title>'
        f"<style>{style}1px solid #bbb}}</style></head><body><h1>Security findings of your vehicles</h1>"
        + "".join(f"<p>{escape(line)}</p>" for line in SAID)
        + f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></body></html>\n"
    )


def _finding(plate: str, position: str, hour: str, site: str, lane: str, outcome: dict[str, object]) -> Finding:
    states = outcome.get("secured")
    secured: dict[str, str] = states if isinstance(states, dict) else {}
    seals = outcome.get("seals")
    broken = sum(seal["state"] in BROKEN_SEALS for seal in seals) if isinstance(seals, list) else 0
    failing = tuple(check for check in CHECKS if secured.get(check) in FAILING)
    checked = [check for check in CHECKS if secured.get(check, "not_checked") != "not_checked"]
    word = "no" if failing or broken else "yes" if checked else "not checked"
    unchecked = tuple(check for check in CHECKS if check not in checked)
    return Finding(plate, position, hour, site, lane, word, failing, unchecked, broken)


def _html_row(finding: Finding) -> str:
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in finding.cells())}</tr>"


def said(found: Report) -> Iterator[str]:
    """For whoever makes it."""
    yield f"{len(found.findings)} searches of these vehicles"
    if found.alike:
        yield f"{found.alike} passages have a plate that only looks like one of these: left out; compare by eye"
