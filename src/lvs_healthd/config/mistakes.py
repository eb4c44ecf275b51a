"""Explains why a text is not TOML: finds the real cause around the place where the parser stopped.

The parser names the place where it cannot go on. The mistake itself may be elsewhere: the brackets of a list were left
open five lines above, for example. When it is clear how to correct a mistake, the text is corrected and parsed again.
So one run finds several mistakes.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import tomli

from lvs_healthd.config.lines import Scanner
from lvs_healthd.runtime.printable import printable

MOST = 20
"""The maximum number of mistakes to report. The whole text is parsed once for each."""

_SHOWN_LENGTH = 80

_STRING = re.compile(
    r'''"""(?:[^"\\]++|\\.|"{1,2}(?!"))*"{3,5}'''
    r"""|'''(?:[^']++|'{1,2}(?!'))*'{3,5}"""
    r'''|"(?!"")(?:[^"\\\n]++|\\.)*"'''
    r"""|'(?!'')[^'\n]*'""",
    re.DOTALL,
)
_STATEMENT = re.compile(
    r"""[ \t]*(?:\[\[?[ \t]*[A-Za-z_][\w.-]*[ \t]*\]\]?[ \t]*(?:#.*)?$|[\w."'-]+[ \t]*=)""", re.MULTILINE
)
_BARE = re.compile(r"""[^\s,\[\]{}"'#=]+""")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+\]:[0-9]+")
_MARK = re.compile(r"""["'#\n\[\]{}=]""")
_WORDS = {"true": "true", "yes": "true", "on": "true", "false": "false", "no": "false", "off": "false"}
_CURLY = "\u201c\u201d\u201e\u2018\u2019\u201a\u00ab\u00bb`\u00b4"
_REPEATED = ("Cannot overwrite", "Cannot declare", "Cannot mutate", "Cannot redefine")

_OTHERS = (
    "and lvs-healthd reads TOML; `lvs-healthd import` makes a file of a saved IPVS table: "
    "ipvsadm -Sn | lvs-healthd import ipvsadm - > config.toml"
)
_FOREIGN = (
    (
        re.compile(r"^[ \t]*(?:virtual_server(?:_group)?|global_defs|vrrp_\w+)\b[^=\n]*\{", re.MULTILINE),
        f"this is a configuration of keepalived, {_OTHERS}",
    ),
    (
        re.compile(
            r"^virtual6?[ \t]*=[ \t]*[^\s\"'].*\n(?:[ \t]+.*\n)*?[ \t]+real6?[ \t]*=[ \t]*[^\s\"']", re.MULTILINE
        ),
        f"this is a configuration of ldirectord, {_OTHERS}",
    ),
    (
        re.compile(r"\A(?:#.*\n|\s)*-A[ \t]+-[tufs6]"),
        "this is a saved IPVS table, not a configuration; make one of it: lvs-healthd import ipvsadm FILE",
    ),
)
"""Patterns that recognise other programs' files, each with the message for the person who passed such a file."""


class Mistake(NamedTuple):
    """One mistake in a text."""

    line: int
    """Counted from 1; 0 for the text as a whole."""
    message: str
    repaired: str | None = None
    """The text without the mistake, with the same number of lines; None when it is unclear how it was meant."""


def mistakes(error: tomli.TOMLDecodeError) -> Iterator[str]:
    """Yield the mistakes in a text that is not TOML, each with its line: "3: text stands in quotes: …".

    error: the parser's error, which holds the text.
    """
    for pattern, message in _FOREIGN:
        if pattern.search(error.doc):
            yield f" {message}"
            return
    for _ in range(MOST):
        found = _explain(error)
        if found is None:
            yield f"{error.lineno}:{error.colno}: {error.msg}"
            return
        yield f"{found.line}: {printable(found.message)}"
        if found.repaired is None or found.repaired == error.doc:
            return
        try:
            tomli.loads(found.repaired)
        except tomli.TOMLDecodeError as following:
            error = following
        except (ValueError, RecursionError):
            return  # the first mistakes are enough
        else:
            return


class _Context(NamedTuple):
    """What surrounds a position in a text. All fields are positions too."""

    statement: int
    """The beginning of the line with the key or the header."""
    value: int | None
    """The beginning of the key's value; None in a header or before the equals sign."""
    brackets: tuple[int, ...]
    """The brackets and braces that are open at the position."""
    string: int | None
    """The beginning of the string around the position; None when the position is not in a string."""


def _context(doc: str, position: int) -> _Context:
    statement, at = 0, 0
    value: int | None = None
    brackets: list[int] = []
    while (mark := _MARK.search(doc, at, position)) is not None:
        at, letter = mark.start(), mark[0]
        if letter in "\"'":
            match = _STRING.match(doc, at)
            if match is None or match.end() > position:
                return _Context(statement, value, tuple(brackets), at)
            at = match.end()
            continue
        if letter == "#" or (letter == "[" and value is None):  # a comment, or a header
            at = _end_of_line(doc, at)[1]
            continue
        if letter == "\n" and not brackets:
            statement, value = at + 1, None
        elif letter in "[{":
            brackets.append(at)
        elif letter in "]}" and brackets:
            brackets.pop()
        elif letter == "=" and value is None:
            value = at + 1 + len(_blanks(doc, at + 1))
        at += 1
    return _Context(statement, value, tuple(brackets), None)


def _blanks(doc: str, at: int) -> str:
    match = re.compile(r"[ \t]*").match(doc, at)
    return match[0] if match else ""


def _explain(error: tomli.TOMLDecodeError) -> Mistake | None:
    """Find the cause of one error. Return None when nothing better is known than the parser's message."""
    doc, position = error.doc, error.pos
    where = _context(doc, position)
    if where.string is not None:
        return _in_string(error, where, where.string)
    if error.msg.startswith(_REPEATED):
        return _repeated(doc, where.statement, position)
    if error.msg.startswith("Duplicate inline table key"):
        key = error.msg.partition("key ")[2].strip("'\"")
        return Mistake(_line(doc, position), f"{key} is set twice between the braces; keep one of them")
    if where.brackets:
        unclosed = _unclosed(doc, position, where)
        if unclosed is not None:
            return unclosed
    rest = _end_of_line(doc, where.statement)[0]
    if error.msg.startswith("Expected '='") and "=" not in rest:
        key, colon, meant = rest.strip().partition(":")
        if colon and re.fullmatch(r"[A-Za-z_-]+", key) and meant.strip():
            fixed = f"{key} = {meant.strip()}"
            return Mistake(_line(doc, position), f"a key is followed by =, not by a colon: {_short(fixed)}")
        return Mistake(_line(doc, position), f"not KEY = VALUE: {_short(rest)}")
    if where.value is None or not rest.replace("\t", "").isprintable():
        return None
    return _value(doc, position, where, where.value)


def _in_string(error: tomli.TOMLDecodeError, where: _Context, start: int) -> Mistake | None:
    doc = error.doc
    line, key = _line(doc, start), _key(doc, where)
    quote = doc[start : start + 3] if doc.startswith(('"""', "'''"), start) else doc[start]
    match = _STRING.match(doc, start)
    if error.msg.startswith(("Unescaped", "Invalid hex", "Escaped")) and match is not None and quote == '"':
        inner = match[0][1:-1]
        fixed = match[0].replace("\\", "\\\\") if "'" in inner else f"'{inner}'"
        how = "write it twice" if "'" in inner else "write such text in single quotes"
        message = f"in double quotes a backslash begins an escape such as \\n; {how}: {key}{_short(fixed)}"
        return Mistake(line, message, doc[:start] + fixed + doc[match.end() :])
    if len(quote) == 3 and match is None:
        return Mistake(line, f"{_named(doc, where)}the text that begins here with {quote} is never closed")
    if error.msg.startswith(("Illegal character '\\n'", "Unterminated", "Expected")) and match is None:
        rest, end = _end_of_line(doc, start)
        message = f"{_named(doc, where)}the quote that opens here is not closed: {_short(rest)}"
        return Mistake(line, message, None if where.brackets else f"{doc[:end]}{quote}{doc[end:]}")
    return None


def _unclosed(doc: str, position: int, where: _Context) -> Mistake | None:
    """Explain an error between an opening bracket or brace and the place where it should be closed."""
    begin = doc.rfind("\n", 0, position) + 1
    before = [bracket for bracket in where.brackets if bracket < begin]
    rest = doc[position:]
    closing = {"[": "]", "{": "}"}
    innermost = where.brackets[-1]
    if rest[:1] in ("]", "}") and rest[0] != closing[doc[innermost]]:
        wanted = closing[doc[innermost]]
        message = f"the {doc[innermost]} that opens here is not closed: a {wanted} is missing before {rest[0]}"
        return Mistake(_line(doc, innermost), _named(doc, where) + message, doc[:position] + wanted + rest)
    if not rest.strip() or (before and _STATEMENT.match(doc, begin)):
        opening = before[0] if before and rest.strip() else where.brackets[0]
        until = f"before line {_line(doc, position)}" if rest.strip() else "before the end of the file"
        message = f"the {doc[opening]} that opens here is not closed: a {closing[doc[opening]]} is missing {until}"
        return Mistake(_line(doc, opening), _named(doc, where) + message)
    if rest[:1] in ('"', "'", "{", "[") and doc[:position].rstrip()[-1:] in ('"', "'", "}", "]"):
        if doc[position - 1] in "\"'":
            return _unpaired(doc, position)
        piece = _end_of_line(doc, position)[0]
        message = f"{_named(doc, where)}a comma is missing before {_short(piece)}"
        return Mistake(_line(doc, position), message, f"{doc[:position]},{rest}")
    return None


def _unpaired(doc: str, position: int) -> Mistake:
    line = _end_of_line(doc, doc.rfind("\n", 0, position) + 1)[0]
    return Mistake(_line(doc, position), f"the quotes on this line do not pair up: {_short(line)}")


def _value(doc: str, position: int, where: _Context, value: int) -> Mistake | None:
    """Explain an error in a value that is not a string."""
    line, key = _line(doc, position), _key(doc, where)
    if position and doc[position - 1] in "\"'" and position > value:
        return _unpaired(doc, position)
    address = _IPV6.match(doc, where.brackets[-1]) if where.brackets else None
    if address is not None:
        start, end, text = address.start(), address.end(), address[0]
        key = _named(doc, where).replace(":", " =") if start == value else ""
    elif where.brackets:
        start = position
        while start > value and doc[start - 1] not in " \t\n,[]{}=\"'#":
            start -= 1
        match = _BARE.match(doc, start)
        text, end = (match[0], match.end()) if match else ("", start)
        inner = re.compile(r"([\w-]+)[ \t]*=[ \t]*$").search(doc, 0, start)
        key = f"{inner[1]} = " if inner else ""
    else:
        start = value
        text, end = _end_of_line(doc, start)
        text = text.partition(" #")[0].rstrip()
        end = start + len(text)
    if not text or text.startswith("#"):
        return Mistake(line, f"{_named(doc, where)}there is no value", f'{doc[:start]}""{doc[start:]}')
    if text.startswith("="):
        return Mistake(line, f"{_named(doc, where)}one = is enough")
    word = _WORDS.get(text.lower())
    if word and key != "tun_checksum = ":
        how = "in small letters" if text.lower() == word else "a switch is true or false"
        return Mistake(line, f"{how}: {key}{word}", doc[:start] + word + doc[end:])
    bare = text.strip(_CURLY)
    if any(letter in bare for letter in "\"'[]{}\n,=") and not _IPV6.fullmatch(bare):
        return None
    how = "text stands in quotes" if bare == text else "quotes have to be straight ones"
    within = "" if key else _named(doc, where)
    return Mistake(
        line, f'{within}{how}: {key}"{_short(bare)}"', f'{doc[:start]}"{bare}"{doc[end:]}' if "\\" not in bare else None
    )


def _repeated(doc: str, statement: int, position: int) -> Mistake | None:
    """Explain a key or a header that the file has already set."""
    line = _line(doc, statement)
    scanner = Scanner(doc[:statement])
    lines = scanner.scan()
    path = scanner.path_of(_end_of_line(doc, statement)[0])
    known = next((path[:length] for length in range(len(path), 0, -1) if path[:length] in lines), None)
    if known is None:
        return None
    first, header = lines[known], _end_of_line(doc, statement)[0].strip().partition("#")[0].strip()
    name = ".".join(str(part) for part in path if isinstance(part, str))
    if not header.startswith("["):
        end = max(position, statement)
        blanked = doc[:statement] + "\n" * doc.count("\n", statement, end) + doc[end:]
        message = f"{_short(header.partition('=')[0])} is already set, on line {first}; keep one of them"
        return Mistake(line, message, blanked)
    there = _end_of_line(doc, _start_of_line(doc, first))[0].strip()
    if there.startswith("[[") and not header.startswith("[["):
        return Mistake(line, f"[{name}] is a list, as on line {first}: write [[{name}]]")
    if there.startswith("["):
        several = f"; for several write [[{name}]] each time" if name.startswith("service") else ""
        return Mistake(line, f"{_short(header)} is already there, on line {first}: write its keys there{several}")
    return Mistake(line, f"{_short(header)}: {known[-1]} is already set, on line {first}; keep one of them")


def _key(doc: str, where: _Context) -> str:
    """Return the key of a statement in the form "scheduler = ". Empty in a header, before "=" and within brackets."""
    if where.value is None or where.brackets:
        return ""
    return doc[where.statement : where.value].partition("=")[0].strip() + " = "


def _named(doc: str, where: _Context) -> str:
    """Return the key of a statement in the form "scheduler: ". Empty in a header and before "="."""
    if where.value is None:
        return ""
    return doc[where.statement : where.value].partition("=")[0].strip() + ": "


def _short(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}…"


def _line(doc: str, position: int) -> int:
    return doc.count("\n", 0, position) + 1


def _start_of_line(doc: str, line: int) -> int:
    position = 0
    for _ in range(line - 1):
        position = doc.index("\n", position) + 1
    return position


def _end_of_line(doc: str, position: int) -> tuple[str, int]:
    """Return the rest of a line, and where it ends."""
    end = doc.find("\n", position)
    end = len(doc) if end < 0 else end
    return doc[position:end], end
