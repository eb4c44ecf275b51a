"""Reads the `url` blocks of HTTP_GET and SSL_GET."""

import re
from collections.abc import Callable

from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.records import Url
from lvs_healthd.importers.keepalived.told import MissingWordError, Told
from lvs_healthd.importers.keepalived.words import UnmatchedQuoteError, shell_words

_FIRST_STATUS, _LAST_STATUS = 100, 599
_DIGEST = re.compile(r"[0-9a-fA-F]{32}")
_DIGEST_LENGTH = 32
_STATUSES = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_TWO_WORDS = 2


def url(told: Told, node: Node) -> Url | None:
    """Read one request. None if keepalived drops it, which is told."""
    found = Url(node)
    for child in node.nodes:
        try:
            _LINES[child.keyword](told, child, found)
        except MissingWordError:
            continue
    if not found.path:
        told.refused(node, "it has no path, so keepalived passes it over; which path is meant?")
        return None
    told.carried(node)
    if not found.regex:
        for child in found.not_carried:
            told.ignored(child, "there is no regular expression in this url")
    return found


def _path(told: Told, node: Node, found: Url) -> None:
    found.path = told.word(node)
    told.carried(node)


def _digest(told: Told, node: Node, found: Url) -> None:
    word = told.word(node)
    if found.digest:
        told.ignored(node, "keepalived keeps the first digest")
    elif not _DIGEST.fullmatch(word):
        told.ignored(node, f"keepalived refuses it, because a digest has {_DIGEST_LENGTH} hexadecimal digits")
    else:
        told.carried(node)
        found.digest = word.lower()


def _status(told: Told, node: Node, found: Url) -> None:
    """Add statuses. Several lines add up."""
    told.carried(node)
    for word in node.words:
        match = _STATUSES.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if _FIRST_STATUS <= first <= last <= _LAST_STATUS:
            found.statuses.append((first, last))
        else:
            told.ignored(node, f"keepalived does not understand the status {word!r}, and passes it over")


def _host(told: Told, node: Node, found: Url) -> None:
    found.host = told.word(node)
    told.carried(node)


def _regex(told: Told, node: Node, found: Url) -> None:
    try:
        given = shell_words(node.text)
    except UnmatchedQuoteError:
        told.refused(node, "a quote is never closed; what is the expression?")
        return
    if len(given) != _TWO_WORDS:
        told.refused(node, "keepalived passes it over, because it is not one word; put the expression in double quotes")
        return
    told.carried(node)
    found.regex, found.regex_node = given[1], node


def _absent(told: Told, node: Node, found: Url) -> None:
    told.carried(node)
    found.is_absent = True
    found.not_carried.append(node)


def _options(told: Told, node: Node, found: Url) -> None:
    told.carried(node)
    found.options |= set(node.words)


def _offset(told: Told, node: Node, found: Url) -> None:
    told.word(node)
    found.not_carried.append(node)
    told.dropped(node, "there are no offsets of a match; let the expression itself say where it stands")


def _stack(told: Told, node: Node, _found: Url) -> None:
    told.noted(node, "the engine of regular expressions needs no stack")


def _compliant(told: Told, node: Node, _found: Url) -> None:
    told.noted(node, "how the connection ends makes no difference to the outcome")


_LINES: dict[str, Callable[[Told, Node, Url], None]] = {
    "path": _path,
    "digest": _digest,
    "status_code": _status,
    "virtualhost": _host,
    "regex": _regex,
    "regex_no_match": _absent,
    "regex_options": _options,
    "regex_min_offset": _offset,
    "regex_max_offset": _offset,
    "regex_stack": _stack,
    "tls_compliant": _compliant,
}
