"""Reads keepalived.conf as blocks of keywords, and says which lines keepalived does not use.

This is `process_stream` of keepalived's lib/parser.c. An unknown block is no block to keepalived: it ignores the brace
that opens it, so the brace that closes it ends the block around.
"""

from collections.abc import Callable

import msgspec

from lvs_healthd.importers.account import Account, Place
from lvs_healthd.importers.keepalived.grammar import ARITY, ROOT, Form, Grammar
from lvs_healthd.importers.keepalived.lines import Lines, Piece
from lvs_healthd.importers.keepalived.words import UnmatchedQuoteError, words

_OPEN, _CLOSE = "{", "}"


class Node(msgspec.Struct):
    """A keyword with its words, and what is in its block."""

    keyword: str
    words: list[str]
    """The words behind the keyword."""
    text: str
    place: Place
    also: tuple[Place, ...] = ()
    """Other lines that it comes from: those that use its macro."""
    nodes: list["Node"] = msgspec.field(default_factory=list)
    inside: list[Place] = msgspec.field(default_factory=list)
    """The lines of a block that the checkers do not read."""

    def places(self) -> list[Place]:
        """Return all lines of it and of what is in it."""
        return [self.place, *self.also, *self.inside, *(place for node in self.nodes for place in node.places())]


Invalid = Callable[[str, list[str]], str]
"""Says why keepalived skips a keyword and its block, "" if it does not."""


class Blocks:
    """Reads the blocks of a file.

    invalid: says why keepalived skips a block.
    """

    def __init__(self, lines: Lines, account: Account, invalid: Invalid) -> None:
        self._lines = lines
        self._account = account
        self._invalid = invalid
        self._open: list[Node] = []

    def read(self) -> list[Node]:
        """Return what stands outside of all blocks."""
        nodes: list[Node] = []
        while True:
            more, is_at_end = self._stream(ROOT, needs_brace=False)
            nodes += more
            if is_at_end:
                return nodes

    def _stream(self, grammar: Grammar, *, needs_brace: bool) -> tuple[list[Node], bool]:
        """Read a block up to its end. Returns what is in it, and whether the file has ended."""
        nodes: list[Node] = []
        while piece := self._lines.next():
            if needs_brace:
                needs_brace = False
                if piece.text == _OPEN:
                    self._carried(piece)
                    continue
                self._refuse_open_block(piece)
            elif piece.text == _OPEN:
                self._ignore(piece, "keepalived ignores this brace, so the one that closes it closes the block around")
                continue
            if piece.text == _CLOSE:
                if self._open:
                    self._carried(piece)
                    return nodes, False
                self._ignore(piece, "keepalived has no block open here")
                continue
            if node := self._node(piece, grammar):
                nodes.append(node)
        for node in self._open:
            self._account.refused(node.place, "its block is never closed; where should its } be?")
        return nodes, True

    def _node(self, piece: Piece, grammar: Grammar) -> Node | None:
        """Read a keyword, and the block that belongs to it."""
        found = self._words(piece)
        if not found:
            return None
        keyword, *rest = found
        form = grammar.get(keyword)
        if form is None:
            where = f"in {self._open[-1].keyword}" if self._open else "outside of all blocks"
            self._ignore(piece, f"keepalived knows no {keyword} {where}")
            return None
        node = Node(keyword, rest, piece.text, piece.place, piece.also)
        if extra := rest[ARITY.get(keyword, len(rest)) :]:
            self._account.ignored(piece.place, f"keepalived passes over {' '.join(extra)!r} behind {keyword}")
        if form is Form.LINE:
            return node
        if form is Form.SKIPPED:
            node.inside = self._skipped(piece)
            return node
        if why := self._invalid(keyword, rest):
            inside = self._skipped(piece)
            self._account.ignored(piece.place, why, *piece.also, *inside)
            if not inside:
                self._account.refused(piece.place, "no { follows, so keepalived takes what follows for something else")
            return None
        self._open.append(node)
        if form is Form.LIST:
            node.nodes = self._listed()
        else:
            node.nodes, is_at_end = self._stream(form, needs_brace=True)
            if is_at_end:
                return node
        self._open.pop()
        return node

    def _skipped(self, head: Piece) -> list[Place]:
        """Pass over the block that belongs to a keyword, whatever is in it. Returns its lines."""
        places: list[Place] = []
        depth = 0
        while piece := self._lines.next():
            if not depth and piece.text != _OPEN:
                self._lines.put_back(piece)
                break
            places += (piece.place, *piece.also)
            depth += (piece.text == _OPEN) - (piece.text == _CLOSE)
            if not depth:
                return places
        if depth:
            self._account.refused(head.place, "its block is never closed; where should its } be?")
        return places

    def _listed(self) -> list[Node]:
        """Read a block of lines that are no keywords."""
        nodes: list[Node] = []
        needs_brace = True
        while piece := self._lines.next():
            if piece.text in {_OPEN, _CLOSE}:
                self._carried(piece)
                if piece.text == _CLOSE:
                    return nodes
                needs_brace = False
                continue
            if needs_brace:
                self._refuse_open_block(piece)
                needs_brace = False
            if found := self._words(piece):
                keyword, *rest = found
                nodes.append(Node(keyword, rest, piece.text, piece.place, piece.also))
        self._account.refused(self._open[-1].place, "its block is never closed; where should its } be?")
        return nodes

    def _words(self, piece: Piece) -> list[str]:
        """Return the words of a piece; none, and a remark, if it has none that can be read."""
        try:
            found = words(piece.text)
        except UnmatchedQuoteError:
            self._account.refused(piece.place, "a quote is never closed; what should be in the quotes?")
            return []
        if not found:
            self._ignore(piece, "there is no word before this brace, only what ends a line elsewhere")
        return found

    def _refuse_open_block(self, piece: Piece) -> None:
        """Refuse a block that does not begin with a brace: keepalived takes what follows for what is in it."""
        block = self._open[-1]
        self._account.refused(
            block.place, f"no {{ follows, so keepalived takes what follows for a part of it, from {piece.place} on"
        )

    def _carried(self, piece: Piece) -> None:
        self._account.carried(piece.place, *piece.also)

    def _ignore(self, piece: Piece, why: str) -> None:
        self._account.ignored(piece.place, why)
        self._account.carried(*piece.also)
