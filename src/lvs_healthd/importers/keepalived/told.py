"""Reads the words behind a keyword, and records what becomes of its line."""

from lvs_healthd.importers.account import Account
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.records import Script
from lvs_healthd.importers.keepalived.words import (
    Invalid,
    Taken,
    UnmatchedQuoteError,
    is_true,
    microseconds,
    number,
    shell_words,
)

_UNSIGNED = 0xFFFF_FFFF


class MissingWordError(Exception):
    """Raised when a keyword has too few words: keepalived stops there."""


class Told:
    """The account of one import, for nodes. Lines that only use a macro are carried with what they use."""

    def __init__(self, account: Account) -> None:
        self.account = account

    def carried(self, *nodes: Node) -> None:
        """Record that these lines are carried over exactly."""
        for node in nodes:
            self.account.carried(node.place, *node.also)

    def noted(self, node: Node, text: str) -> None:
        """Record that a line is carried over, with something the operator should know."""
        self.carried(node)
        self.account.noted(node.place, text)

    def ignored(self, node: Node, why: str) -> None:
        """Record that keepalived does not use a line."""
        self.account.carried(*node.also)
        self.account.ignored(node.place, why)

    def dropped(self, node: Node, why: str) -> None:
        """Record that a line is understood and cannot be carried over, with what is in its block."""
        place, *more = node.places()
        self.account.dropped(place, why, *more)

    def refused(self, node: Node, why: str) -> None:
        """Record that a line must be made clear before anything is imported."""
        self.account.carried(*node.also)
        self.account.refused(node.place, why)

    def refused_whole(self, node: Node, why: str) -> None:
        """Refuse a block whose inside is not read."""
        place, *more = node.places()
        self.account.refused(place, why, *more)

    def word(self, node: Node, index: int = 0) -> str:
        """Return one of the words behind a keyword. Raises `MissingWordError`, and refuses the line."""
        if index >= len(node.words):
            self.refused_whole(node, f"keepalived stops here, because a word is missing behind {node.keyword}")
            raise MissingWordError
        return node.words[index]

    def taken(self, node: Node, found: Taken | Invalid) -> int | None:
        """Record what becomes of a line with a number, and return the number. None if keepalived refuses it."""
        if isinstance(found, Invalid):
            self.ignored(node, f"keepalived refuses it, because {found.why}, and leaves what was set before")
            return None
        if found.doubt:
            self.refused(node, f"{found.doubt}; what is meant?")
        else:
            self.carried(node)
        return found.value

    def number(self, node: Node, least: int, most: int = _UNSIGNED, *, is_strict: bool = False) -> int | None:
        """Read a whole number."""
        return self.taken(node, number(self.word(node), least, most, is_strict=is_strict))

    def time(self, node: Node, least: int = 0) -> int | None:
        """Read a time, microseconds."""
        return self.taken(node, microseconds(self.word(node), least))

    def switch(self, node: Node) -> bool | None:
        """Read a switch: alone it is on."""
        value = is_true(node.words[0]) if node.words else True
        if value is None:
            self.ignored(node, f"keepalived does not understand {node.words[0]!r} here")
        else:
            self.carried(node)
        return value

    def script(self, node: Node) -> Script | None:
        """Read a command: the first word is split again, and user and group follow it."""
        try:
            _keyword, *rest = shell_words(node.text)
            command = tuple(shell_words(rest[0])) if rest else ()
            later = shell_words(node.text, keeps_escapes=True)
            is_clear = not rest or tuple(shell_words(later[1])) == command
        except UnmatchedQuoteError:
            self.refused(node, "a quote is never closed; what is the command?")
            return None
        if not is_clear:
            self.refused(
                node, "keepalived 2.2 and 2.3 read its backslashes differently; write the command without them"
            )
        if not command:
            self.refused(node, "keepalived has no command here; what is it?")
            return None
        return Script(command, node, tuple(rest[1:]))
