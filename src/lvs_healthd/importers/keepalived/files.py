"""Reads the lines of keepalived.conf and of the files that it includes, without comments and blank lines."""

import glob
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.keepalived.words import without_comment
from lvs_healthd.importers.source import Source

LONGEST_LINE = 1022
"""The bytes of the longest line that keepalived reads as one (`MAXBUF` of lib/parser.h)."""

_DEEPEST = 100
"""How many files may be open inside each other. It stops a file that includes itself."""

_BRACES = re.compile(r"\{([^{}]*)\}")
_EXECUTABLE = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH


def lines_of(text: str) -> list[str]:
    """Split a text into lines as keepalived does: only a newline ends one."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


class _Open(msgspec.Struct):
    """A file that is being read."""

    name: str
    folder: Path
    lines: list[str]
    siblings: list[Path]
    """What the same include reads after it."""
    parent: str
    """The folder of the including file, as it is named in messages."""
    number: int = 0


class Files:
    """The files that are being read, the innermost last."""

    def __init__(self, source: Source, account: Account) -> None:
        self._account = account
        self._stack = [_Open(source.name, source.folder, lines_of(source.text), [], "")]
        self._blank_seen = False

    @property
    def folder(self) -> Path:
        """The folder of the file that is being read. Relative names of files start there."""
        return self._stack[-1].folder if self._stack else Path()

    def blank_seen(self) -> bool:
        """Return whether there was a blank line since the last call: it ends a macro of several lines."""
        seen, self._blank_seen = self._blank_seen, False
        return seen

    def __iter__(self) -> Iterator[tuple[str, Place]]:
        """Yield lines that are not empty, without comments. `include` puts other lines in front of the next."""
        while self._stack:
            current = self._stack[-1]
            if current.number == len(current.lines):
                self._end_of_file()
                continue
            line = current.lines[current.number]
            current.number += 1
            place = Place(current.name, current.number)
            text = self._cleaned(line.rstrip("\r"), place)
            if text:
                yield text, place

    def _cleaned(self, line: str, place: Place) -> str:
        if not line:
            self._blank_seen = True
        if "\0" in line or len(line.encode()) > LONGEST_LINE:
            self._account.refused(
                place, f"keepalived does not read a line of more than {LONGEST_LINE} bytes, or with a NUL, as one line"
            )
            return ""
        text = without_comment(line)
        if not text:
            self._account.empty(place)
        return text

    def _end_of_file(self) -> None:
        ended = self._stack.pop()
        if ended.siblings:
            self._open(ended.siblings, ended.parent)

    def include(self, pattern: str, place: Place) -> None:
        """Read the files that match a pattern next. Their names are relative to the folder of the current file."""
        if '"' in pattern:
            self._account.ignored(place, "keepalived takes the quotes for a part of the name, and so includes nothing")
            return
        if len(self._stack) >= _DEEPEST:
            self._account.refused(place, "files include each other without end")
            return
        found = [match for one in _alternatives(pattern) for match in sorted(glob.glob(one, root_dir=self.folder))]  # noqa: PTH207
        paths = [Path(match) for match in found if self._is_read(match, place)]
        if not paths:
            self._account.dropped(
                place,
                f"no file {pattern} is here, and keepalived goes on without it; "
                "import on the director if there is such a file",
            )
            return
        self._account.carried(place)
        self._open(paths, os.path.dirname(place.file))  # noqa: PTH120  # a name for messages, not a path

    def _is_read(self, match: str, place: Place) -> bool:
        try:
            mode = (self.folder / match).stat().st_mode
        except OSError:
            mode = 0
        if stat.S_ISREG(mode) and not mode & _EXECUTABLE:
            return True
        self._account.ignored(place, f"keepalived skips {match}: it reads plain files only that nobody may execute")
        return False

    def _open(self, paths: list[Path], parent: str) -> None:
        """Open the first of some files; the others follow it. `parent` is the name of the including file's folder."""
        first, *others = paths
        name = os.path.join(parent, first)  # noqa: PTH118
        path = self.folder / first
        try:
            text = path.read_bytes().decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            self._account.add_file(name, [""])
            self._account.refused(Place(name, 1), f"cannot be read: {reason}")
            text = ""
        lines = lines_of(text)
        self._account.add_file(name, lines)
        self._stack.append(_Open(name, path.parent, lines, others, parent))


def _alternatives(pattern: str) -> Iterator[str]:
    """Yield the patterns that the braces of a shell's pattern stand for."""
    match = _BRACES.search(pattern)
    if not match:
        yield pattern
        return
    for choice in match[1].split(","):
        yield from _alternatives(pattern[: match.start()] + choice + pattern[match.end() :])
