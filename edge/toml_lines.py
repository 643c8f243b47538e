"""From a TOML path to the line that it stands on: no TOML reader of Python tells that, and an error needs it.

The scanner is a companion of ``tomllib``, which alone decides what is valid. On broken text it returns what it saw
until then. Keys that stand twice are kept with both lines, since the reader names only the second.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Path = tuple[str | int, ...]
_BARE_END = frozenset(" \t\r\n=.[]{},#\"'")
_ESCAPES = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Lines:
    """``of`` maps each key's path to its line, from 1; ``twice`` lists (path, first line, second line)."""

    of: dict[Path, int] = field(default_factory=dict)
    twice: list[tuple[Path, int, int]] = field(default_factory=list)

    def nearest(self, path: Path) -> int | None:
        """Line of ``path`` or of the closest table around it that is written; None for what is nowhere."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.of:
                return self.of[path[:length]]
        return None


def scan(text: str) -> Lines:
    """Lines of every table, array entry and key in ``text``. Never raises: what cannot be scanned is left out."""
    scanner = _Scanner(text)
    try:
        scanner.document()
    except (IndexError, _Broken):
        pass  # tomllib says what is wrong with it
    except RecursionError:
        pass  # nested beyond reason: tomllib refuses it too
    return scanner.lines


class _Broken(Exception):
    """Not TOML from here on."""


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text, self._at, self._line = text + "\n", 0, 1
        self._table: Path = ()
        self._entries: dict[Path, int] = {}
        self.lines = Lines()
        self._headers: set[Path] = set()

    def document(self) -> None:
        while True:
            self._skip(newlines=True)
            if self._at >= len(self._text):
                return
            if self._peek() == "[":
                self._header()
            else:
                self._pair(self._table)

    def _peek(self) -> str:
        return self._text[self._at]

    def _take(self) -> str:
        letter = self._text[self._at]
        self._at += 1
        self._line += letter == "\n"
        return letter

    def _expect(self, letter: str) -> None:
        if self._take() != letter:
            raise _Broken

    def _skip(self, *, newlines: bool) -> None:
        while self._at < len(self._text):
            letter = self._peek()
            if letter == "#":
                while self._peek() != "\n":
                    self._take()
            elif letter in " \t\r" or (newlines and letter == "\n"):
                self._take()
            else:
                return

    def _header(self) -> None:
        line = self._line
        self._expect("[")
        many = self._peek() == "["
        if many:
            self._take()
        path = self._inside_entries(self._key(), last=not many)
        for length in range(1, len(path)):
            self.lines.of.setdefault(path[:length], line)
        self._expect("]")
        if many:
            self._expect("]")
            index = self._entries.get(path, -1) + 1
            self._entries[path] = index
            self.lines.of.setdefault(path, line)
            path = (*path, index)
        elif path in self._headers:
            self.lines.twice.append((path, self.lines.of[path], line))
        self._headers.add(path)
        self.lines.of.setdefault(path, line)
        self._table = path

    def _inside_entries(self, key: tuple[str, ...], *, last: bool) -> Path:
        """The header's path, with the number of the entry that is open wherever it goes through an array of tables."""
        path: Path = ()
        for place, part in enumerate(key):
            path = (*path, part)
            if path in self._entries and (last or place < len(key) - 1):
                path = (*path, self._entries[path])
        return path

    def _pair(self, table: Path) -> None:
        line = self._line
        path = (*table, *self._key())
        self._expect("=")
        for length in range(len(table) + 1, len(path)):
            self.lines.of.setdefault(path[:length], line)
        if path in self.lines.of:
            self.lines.twice.append((path, self.lines.of[path], line))
        self.lines.of.setdefault(path, line)
        self._skip(newlines=False)
        self._value(path)

    def _key(self) -> tuple[str, ...]:
        parts = []
        while True:
            self._skip(newlines=False)
            parts.append(self._string() if self._peek() in "\"'" else self._bare())
            self._skip(newlines=False)
            if self._peek() != ".":
                return tuple(parts)
            self._take()

    def _bare(self) -> str:
        start = self._at
        while self._peek() not in _BARE_END:
            self._at += 1
        if start == self._at:
            raise _Broken
        return self._text[start : self._at]

    def _value(self, path: Path) -> None:
        letter = self._peek()
        if letter in "\"'":
            self._string()
        elif letter == "[":
            self._array(path)
        elif letter == "{":
            self._inline(path)
        else:
            while self._peek() not in ",]}#\n":
                self._at += 1

    def _array(self, path: Path) -> None:
        self._expect("[")
        index = 0
        while True:
            self._skip(newlines=True)
            if self._peek() == "]":
                self._take()
                return
            self.lines.of.setdefault((*path, index), self._line)
            self._value((*path, index))
            index += 1
            self._skip(newlines=True)
            if self._peek() == ",":
                self._take()
            elif self._peek() != "]":
                raise _Broken

    def _inline(self, path: Path) -> None:
        self._expect("{")
        while True:
            self._skip(newlines=True)
            if self._peek() == "}":
                self._take()
                return
            self._pair(path)
            self._skip(newlines=True)
            if self._peek() == ",":
                self._take()
            elif self._peek() != "}":
                raise _Broken

    def _string(self) -> str:
        quote = self._peek()
        long = self._text.startswith(quote * 3, self._at)
        end = quote * 3 if long else quote
        for _ in end:
            self._take()
        found = []
        while not self._text.startswith(end, self._at):
            letter = self._take()
            if letter == "\n" and not long:
                raise _Broken
            found.append(self._escape() if letter == "\\" and quote == '"' else letter)
        for _ in end:
            self._take()
        while long and self._text.startswith(quote, self._at):  # """ may be preceded by up to two quotes of content
            found.append(self._take())
        return "".join(found)

    def _escape(self) -> str:
        letter = self._take()
        length = {"u": 4, "U": 8}.get(letter)
        if length is None:
            return _ESCAPES.get(letter, "")
        digits = self._text[self._at : self._at + length]
        self._at += length
        try:
            return chr(int(digits, 16))
        except (ValueError, OverflowError):
            raise _Broken from None
