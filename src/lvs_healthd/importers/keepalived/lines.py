"""Reads keepalived.conf as a sequence of pieces: macros are replaced, and each brace that nests stands for itself.

This is `read_line` of keepalived's lib/parser.c, with the place of every piece.
"""

import re
from typing import NamedTuple

import msgspec

from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.keepalived.files import LONGEST_LINE, Files
from lvs_healthd.importers.keepalived.loops import Loop, loop_of
from lvs_healthd.importers.keepalived.words import BLANKS, SPACES, without_comment

_DEFINITION = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)=[ \t]*(.*)", re.DOTALL)
_BRACED = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?: [0-9 ]*[0-9])?\}")
_BARE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?=[ \t,)]|\Z)")
_CONDITION = re.compile(r"@(\^?)([^ \t]*)[ \t]+(.*)", re.DOTALL)
_INCLUDE = re.compile(r"include[rmwba]?\s[ \t]*(.*)", re.DOTALL)

_MOST_REPLACEMENTS = 1000
"""How many macros one line may hold, nested ones included. It stops macros that contain themselves."""

_UNKNOWABLE = frozenset({"_RANDOM", "_INSTANCE"})
"""Macros of keepalived itself whose value is different each time, or depends on its options."""


class Piece(NamedTuple):
    """A line, or what is left of it after its braces have been split off."""

    text: str
    place: Place
    also: tuple[Place, ...] = ()
    """Other lines that it was made from: those that use the macro that it comes from."""


class _Macro(msgspec.Struct):
    """A macro: `$NAME=…`, of one line or of several."""

    lines: list[tuple[str, Place]]
    place: Place
    is_multiline: bool = False
    is_used: bool = False


class _Rest(NamedTuple):
    """What is to be read of a macro of several lines."""

    lines: list[tuple[str, Place]]
    used_at: tuple[Place, ...]
    loops: int
    """How many loops were running when it began: those wait until it ends."""


class Lines:
    """The pieces of a file, one after another."""

    def __init__(self, files: Files, account: Account) -> None:
        self._files = files
        self._lines = iter(files)
        self._account = account
        self._macros: dict[str, _Macro] = {}
        self._defined: list[tuple[str, _Macro]] = []
        self._residue: list[Piece] = []
        self._loops: list[Loop] = []
        self._rests: list[_Rest] = []

    def next(self) -> Piece | None:
        """Return the next piece, or None at the end."""
        while raw := self._take():
            piece = self._resolved(raw)
            if piece is None:
                continue
            if match := _INCLUDE.match(piece.text):
                self._files.include(match[1], piece.place)
                continue
            return self._split(piece)
        self._tell_unused()
        return None

    def put_back(self, piece: Piece) -> None:
        """Let a piece come next again."""
        self._residue.append(piece)

    def _take(self) -> Piece | None:
        """Take what comes next: the rest of a line, a turn of a loop, a line of a macro, or a line of a file."""
        if self._residue:
            return self._residue.pop()
        if len(self._loops) > (self._rests[-1].loops if self._rests else 0):
            return self._turn(self._loops[-1])
        if self._rests:
            rest = self._rests[-1]
            text, place = rest.lines.pop(0)
            if not rest.lines:
                self._rests.pop()
            return Piece(text, place, rest.used_at)
        return next((Piece(text, place) for text, place in self._lines), None)

    def _turn(self, loop: Loop) -> Piece:
        for name, value in loop.values.pop(0).items():
            self._macros[name] = _Macro([(value, loop.place)], loop.place, is_used=True)
        if not loop.values:
            self._loops.pop()
        return Piece(loop.text, loop.place, loop.also)

    def _resolved(self, piece: Piece) -> Piece | None:
        """Apply conditions, definitions, loops and macros to a piece. Returns None if nothing is left of it."""
        text, also = piece.text, piece.also
        for _ in range(_MOST_REPLACEMENTS):
            if text.startswith("@"):
                text = self._condition(text, piece.place)
            if not text:
                return None
            if match := _DEFINITION.match(text):
                self._define(match[1], match[2], piece.place)
                return None
            if text.startswith(("~SEQ", "~LST")):
                self._begin_loop(piece._replace(text=text, also=also))
                return None
            if text.startswith("~"):
                break
            replaced, more = self._replaced(text, piece.place)
            if replaced is None:
                return None
            if not more:
                break
            text, also = without_comment(replaced), (*also, *more)
            if not (text.startswith("@") or "$" in text):
                break
        if text.strip(SPACES):
            return Piece(text, piece.place, also)
        self._account.empty(piece.place, *also)
        return None

    def _condition(self, text: str, place: Place) -> str:
        """Return what follows `@id`, or "" if it does not count without the option -i of keepalived."""
        match = _CONDITION.match(text)
        if match and match[1]:
            return match[3]
        name = match[2] if match else text[1:]
        self._account.ignored(
            place, f"only for keepalived -i {name}; if the director's has this option, remove @{name} in a copy"
        )
        return ""

    def _define(self, name: str, value: str, place: Place) -> None:
        macro = _Macro([(value, place)], place)
        self._macros[name] = macro
        self._defined.append((name, macro))
        if not value.endswith("\\"):
            return
        first = value[:-1].rstrip(BLANKS)
        macro.lines = [(first, place)] if first else []
        self._files.blank_seen()
        self._continue(macro)
        macro.is_multiline = bool(macro.lines)

    def _continue(self, macro: _Macro) -> None:
        """Add lines to a macro as long as the last one ends with a backslash."""
        while raw := self._take():
            if self._files.blank_seen():
                # keepalived's definition ended with the blank line before this one.
                self._residue.append(raw)
                return
            is_last = not raw.text.endswith("\\")
            text = raw.text if is_last else raw.text[:-1].rstrip(BLANKS)
            if text:
                macro.lines.append((text, raw.place))
            else:
                self._account.empty(raw.place)
            if is_last:
                return

    def _begin_loop(self, piece: Piece) -> None:
        loop = loop_of(piece.text, lambda text: self._replaced(text, piece.place)[0] or "")
        if isinstance(loop, str):
            self._account.ignored(piece.place, loop)
            return
        self._account.carried(piece.place, *piece.also)
        loop.place, loop.also = piece.place, piece.also
        self._loops.append(loop)

    def _replaced(self, text: str, place: Place) -> tuple[str | None, list[Place]]:
        """Replace the macros of a line.

        Returns the line with the places of its macros, or None instead of a line that is refused.
        """
        used: list[Place] = []
        position = 0
        while (position := text.find("$", position)) >= 0 and position + 1 < len(text):
            found = self._found(text, position + 1, place)
            if found is None:
                position += 1
                continue
            end, macro = found
            used.append(macro.place)
            macro.is_used = True
            value = macro.lines[0][0] if macro.lines else ""
            text = text[:position] + value + text[end:]
            if macro.is_multiline and macro.lines[1:]:
                self._rests.append(_Rest(macro.lines[1:], (place,), len(self._loops)))
            if len(used) > _MOST_REPLACEMENTS or len(text.encode()) > LONGEST_LINE:
                self._account.refused(place, "its macros make it too long")
                return None, []
            if value.lstrip(BLANKS).startswith("~"):
                break
        return text, used

    def _found(self, text: str, start: int, place: Place) -> tuple[int, _Macro] | None:
        """Return where the reference to a macro ends, and the macro. None if it is none, and so stays as it is."""
        match = _BRACED.match(text, start) or _BARE.match(text, start)
        if match is None:
            return None
        macro = self._macros.get(match[1]) or self._own(match[1], place)
        if macro is None or (macro.is_multiline and match.end() != len(text)):
            return None
        return match.end(), macro

    def _own(self, name: str, place: Place) -> _Macro | None:
        """Return a macro of keepalived itself."""
        if name in _UNKNOWABLE:
            self._account.refused(place, f"what keepalived puts in for ${name} is not known here; write it out")
        value = {"_PWD": str(self._files.folder), "_HASH": "#", "_BANG": "!"}.get(name)
        return None if value is None else _Macro([(value, place)], place)

    def _split(self, piece: Piece) -> Piece:
        """Cut a piece before its first brace, or after one that it begins with. The rest comes next."""
        text = piece.text
        at = 0 if text[0] in "{}" else _first_brace(text)
        cut = at or (1 if text[0] in "{}" else len(text))
        rest = text[cut:].strip(BLANKS)
        if rest:
            self._residue.append(piece._replace(text=rest))
        return piece._replace(text=text[:cut].rstrip(BLANKS))

    def _tell_unused(self) -> None:
        for name, macro in self._defined:
            for place in {macro.place, *(place for _text, place in macro.lines)}:
                if macro.is_used:
                    self._account.carried(place)
                else:
                    self._account.ignored(place, f"nothing uses ${name}")


def _first_brace(text: str) -> int:
    """Return where the first brace outside of double quotes is, or 0 if there is none."""
    position = 0
    while match := re.compile(r'[{}"]').search(text, position):
        if match[0] != '"':
            return match.start()
        position = text.find('"', match.end()) + 1
        if position == 0:
            return 0
    return 0
