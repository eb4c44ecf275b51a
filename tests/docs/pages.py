"""The pages that an operator reads, taken apart: links, headings, blocks of code, and the commands in them."""

import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import msgspec

REPOSITORY = Path(__file__).parents[2]
PAGES = (REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md")))

_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(r"(?P<host>\w*)(?P<sign>[#$]) (?P<command>\S.*)")
_SEPARATORS = {"|", "||", "&&", ";", "&"}
_REDIRECTIONS = {">", ">>", "<", "2>"}
_INLINE = re.compile(r"`(lvs-healthd [a-z]+ [^`]*)`")
"""A command within the text. A verb without words is only its name there."""


class Block(msgspec.Struct, frozen=True):
    """A fenced block."""

    page: str
    line: int
    """The number of its first line, that of the fence."""
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


class Command(msgspec.Struct, frozen=True):
    """A command as it is shown; a pipe is several."""

    where: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.where}: {shlex.join(self.words)}"


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(name(page), line, found[2], textwrap.dedent(found[3]))


def prose(page: Path) -> str:
    """Return a page without its blocks."""
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as forges make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} (.*)$", prose(page), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip()
        slug = "".join(each for each in plain.lower() if each.isalnum() or each in " -_").replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


def links(page: Path) -> list[str]:
    """Return where the links of a page lead to, except those to other sites."""
    text = re.sub(r"`[^`\n]*`", lambda code: "x" * len(code[0]), prose(page))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def commands(page: Path) -> Iterator[Command]:
    """Yield every command in a page's blocks, and those of lvs-healthd within the text."""
    for block in blocks(page):
        for number, line in _lines(block):
            yield from _split(f"{block.page}:{number}", line)
    for found in _INLINE.findall(prose(page).replace("\\|", "|")):
        if "[OPTIONS]" in found or re.fullmatch(r"\S+ import \w+", found):  # a usage, and the name of an import
            continue
        yield from _split(name(page), found)


def _lines(block: Block) -> Iterator[tuple[int, str]]:
    """Yield the lines with commands, joined where a command goes on."""
    whole = ""
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if block.language == "sh":
            whole += line
        elif (found := _PROMPT.match(line)) and (block.language == "console" or found["sign"] == "$"):
            whole = found["command"]
        else:
            continue
        if not whole.strip() or whole.lstrip().startswith("# "):
            whole = ""
        elif _goes_on(whole):
            whole = whole.rstrip("\\") + "\n"
        else:
            yield number, whole
            whole = ""
    assert not whole, f"{block}: a command without an end"


def _goes_on(text: str) -> bool:
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return text.rstrip().endswith(("\\", "|", "&&"))


def _split(where: str, line: str) -> Iterator[Command]:
    """Split a line of a shell into its commands, without redirections and assignments."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    skips = False
    for word in (*lexer, ";"):
        if skips:
            skips = False
        elif word in _REDIRECTIONS:
            skips = True
        elif word in _SEPARATORS:
            if words:
                yield Command(where, tuple(words))
            words = []
        elif words or not re.fullmatch(r"[A-Z_]+=.*", word):
            words.append(word)
