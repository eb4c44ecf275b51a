"""Finds the line of each key in a TOML document, because tomli does not report line numbers.

The scanner reads only documents that tomli has accepted. So it does not validate them, and skips what it does not need.
"""

import bisect
import re

import tomli

KeyPath = tuple[str | int, ...]
"""The keys and array indices that lead from the document's root to a value: ("service", 0, "real_server", 1, "weight").
"""

# Possessive quantifiers are used only on single characters, because Python 3.11.2, which Debian 12 has, mishandles them
# on groups (gh-106052).
_BLANK = re.compile(r"(?:[ \t\n]++|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_LINES = re.compile(r"[ \t\n]*")  # only JSON has line breaks between a key and its value
_KEY_PART = re.compile(r"""[A-Za-z0-9_-]+|'[^'\n]*'|"(?:[^"\\\n]++|\\.)*\"""")
# A multi-line string may itself end with one or two quotes, right before its three closing quotes.
_SCALAR = re.compile(
    r'''"""(?:[^"\\]++|\\.|"{1,2}(?!"))*"{3,5}'''
    r"""|'''(?:[^']++|'{1,2}(?!'))*'{3,5}"""
    r'''|"(?:[^"\\\n]++|\\.)*"'''
    r"""|'[^'\n]*'"""
    r"""|[^,\]}\n#]+""",
    re.DOTALL,
)


def line_numbers(text: str) -> dict[KeyPath, int]:
    """Map every key path of a valid TOML document to its line, counted from 1.

    The line of a table is the line of its header, and the line of an array element is the one where it begins. A table
    that has no header of its own has the line where a key or another header first mentions it.
    """
    return Scanner(text).scan()


def json_line_numbers(text: str) -> dict[KeyPath, int]:
    """Map every key path of a valid JSON object to its line, as `line_numbers` does for TOML."""
    return Scanner(text).scan_object()


class Scanner:
    """Reads a document once, and notes the line of every key path."""

    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._newlines = [match.start() for match in re.finditer("\n", self._text)]
        self._pos = 0
        self._lines: dict[KeyPath, int] = {}
        self._tables_in_array: dict[KeyPath, int] = {}
        self._header_path: KeyPath = ()

    def scan(self) -> dict[KeyPath, int]:
        """Return the lines of the document, as `line_numbers` does."""
        try:
            self._document()
        except _LostError:
            # The document uses TOML newer than this scanner. The lines found so far still help to locate errors.
            return self._lines
        return self._lines

    def scan_object(self) -> dict[KeyPath, int]:
        """Return the lines of a JSON object, which is as an inline table of TOML with colons and more line breaks."""
        try:
            self._skip(_BLANK)
            self._value(())
        except (_LostError, tomli.TOMLDecodeError):  # JSON has escapes that TOML has not
            return self._lines
        return self._lines

    def path_of(self, line: str) -> KeyPath:
        """Return the key path that a line (a key or a header) would set if it came right after the scanned document."""
        is_header = line.lstrip().startswith("[")
        parts = Scanner(line.lstrip(" \t["))._key_parts()  # noqa: SLF001  # the same class
        path = () if is_header else self._header_path
        for number, part in enumerate(parts):
            path = (*path, part)
            if number < len(parts) - 1:
                path = self._latest(path)
        return path

    def _document(self) -> None:
        self._skip(_BLANK)
        while self._pos < len(self._text):
            if self._next() == "[":
                self._header_path = self._header()
            else:
                self._value(self._key(self._header_path))
            self._skip(_BLANK)

    def _header(self) -> KeyPath:
        line = self._line()
        is_array = self._text.startswith("[[", self._pos)
        self._pos += 2 if is_array else 1
        *parents, last = self._key_parts()
        self._pos += 2 if is_array else 1
        path: KeyPath = ()
        for part in parents:
            path = self._latest((*path, part))
            self._lines.setdefault(path, line)
        path = (*path, last)
        if is_array:
            self._lines.setdefault(path, line)
            index = self._tables_in_array.get(path, 0)
            self._tables_in_array[path] = index + 1
            path = (*path, index)
        self._lines[path] = line
        return path

    def _latest(self, path: KeyPath) -> KeyPath:
        """Resolve the path of a parent in a header: the name of an array of tables stands for its latest table."""
        count = self._tables_in_array.get(path, 0)
        if not count:
            return path
        self._lines.setdefault(path, self._line())
        return (*path, count - 1)

    def _key(self, table: KeyPath) -> KeyPath:
        """Read `key =`, and record the lines of the key and of the tables that a dotted key implies."""
        line = self._line()
        path = table
        for part in self._key_parts():
            path = (*path, part)
            self._lines.setdefault(path, line)
        self._pos += 1  # the equals sign, or JSON's colon
        self._skip(_LINES)
        return path

    def _key_parts(self) -> list[str]:
        parts = []
        while True:
            self._skip(_SPACE)
            raw = self._take(_KEY_PART)
            parts.append(raw if raw[0] not in "\"'" else _unquoted(raw))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._pos):
                return parts
            self._pos += 1

    def _value(self, path: KeyPath) -> None:
        """Read a value, and record the lines of everything inside it.

        The open arrays and tables are kept in a list instead of on Python's stack, which deep nesting could exhaust.
        """
        inside: list[_Container] = []
        while True:
            match self._next():
                case "[":
                    inside.append(_Container(path, "]"))
                    self._pos += 1
                case "{":
                    inside.append(_Container(path, "}"))
                    self._pos += 1
                case _:
                    self._take(_SCALAR)
            following = self._next_inside(inside)
            if following is None:
                return
            path = following

    def _next_inside(self, inside: "list[_Container]") -> KeyPath | None:
        """Move to the next value in the innermost open array or inline table, and return its key path.

        Returns None when no array or inline table is open any more.
        """
        while inside:
            container = inside[-1]
            self._skip(_BLANK)
            if self._next() == ",":
                self._pos += 1
            elif self._next() == container.end:
                self._pos += 1
                inside.pop()
            elif container.end == "}":
                return self._key(container.path)
            else:
                path = (*container.path, container.next_index)
                container.next_index += 1
                self._lines[path] = self._line()
                return path
        return None

    def _next(self) -> str:
        """Return the next character without consuming it, or an empty string at the end of the document."""
        return self._text[self._pos : self._pos + 1]

    def _line(self) -> int:
        return bisect.bisect_left(self._newlines, self._pos) + 1

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._pos)
        if match:
            self._pos = match.end()

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self._text, self._pos)
        if match is None:
            raise _LostError
        self._pos = match.end()
        return match.group()


class _LostError(Exception):
    """Raised when the text continues in a way that this scanner does not understand."""


class _Container:
    """An array or inline table that is still open."""

    __slots__ = ("end", "next_index", "path")

    def __init__(self, path: KeyPath, end: str) -> None:
        self.path = path
        self.end = end
        self.next_index = 0


def _unquoted(raw: str) -> str:
    if raw[0] == '"' and "\\" in raw:
        unescaped: str = tomli.loads(f"key = {raw}")["key"]
        return unescaped
    return raw[1:-1]
