"""A lint rule of this house: nothing under ``drivers/xray/`` can ask a scanner for anything, least of all a beam.

``python tests/no_exposure.py`` names each place and ends with 1. The lane is a storage SCP: it listens, and answers.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CALLS = re.compile(
    r"associate|send_[cn]_\w+|connect|connect_ex|create_connection|open_connection|create_datagram_endpoint|urlopen"
)
WORDS = re.compile(r"\b(SCU|VerificationSOPClass|ModalityWorklist\w*|StorageCommitment\w*|ModalityPerformed\w*)\b")
MODULES = ("urllib", "http", "requests", "httpx", "telnetlib", "serial", "pymodbus", "subprocess")


def faults(source: str, name: str) -> Iterator[str]:
    """A line for each thing that could ask a scanner for something."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and CALLS.fullmatch(node.attr):
            yield f"{name}:{node.lineno}: .{node.attr}: a receiver opens no connection and sends no request"
        if isinstance(node, ast.Name | ast.alias) and (word := node.id if isinstance(node, ast.Name) else node.name):
            if WORDS.search(word) or CALLS.fullmatch(word.rpartition(".")[2]):
                yield f"{name}:{node.lineno}: {word}: no SCU role here"
            if word.partition(".")[0] in MODULES:
                yield f"{name}:{node.lineno}: {word}: no way out of here"
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in MODULES:
            yield f"{name}:{node.lineno}: {node.module}: no way out of here"


def main() -> int:
    """Exit 0 where there is nothing to find."""
    found = [
        line
        for file in sorted((ROOT / "drivers" / "xray").rglob("*.py"))
        for line in faults(file.read_text(encoding="utf-8"), str(file.relative_to(ROOT)))
    ]
    for line in found:
        print(line)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
