"""Reads a list of real servers: JSON, or one server a line. Pure.

A list is right as a whole or not at all, because half of a list takes out the servers of the other half.
"""

import json
import string
from collections.abc import Iterator
from typing import Any

from lvs_healthd.config.addresses import server_addresses
from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.errors import WrongValueError, show
from lvs_healthd.config.sources import Entry
from lvs_healthd.runtime.exceptions import HostError

LARGEST = 1024 * 1024
"""The largest list, bytes. It has room for ten thousand servers as JSON."""

MOST_SERVERS = 10_000
"""How many servers a list may have."""

MOST_WEIGHT = 65535
"""ipvsadm's greatest weight."""

_BLANKS = " \t\r\n"


class ListError(HostError):
    """Raised when a source cannot be read, or does not say what it should. The message says where and why."""


def read_list(content: bytes, name: str) -> tuple[Entry, ...]:
    """Read the servers of a list. It may be empty.

    content: the text of the list.
    name: the name of the file, for messages.

    Raises `ListError` for the first entry that is wrong.
    """
    if len(content) > LARGEST:
        raise ListError(f"{name}: larger than {LARGEST // 1024 // 1024} MiB")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ListError(f"{name}:{line}: not text in UTF-8") from None
    entries: list[Entry] = []
    lines: dict[str, str] = {}
    for line, value in _json(text, name) if _is_json(text) else _lines(text, name):
        place = f"{name}:{line}"
        for entry in _entries(value, place):
            if entry.address in lines:
                raise ListError(f"{place}: {entry.address} is already listed, {lines[entry.address]}; keep one of them")
            lines[entry.address] = f"on line {line}"
            entries.append(entry)
        if len(entries) > MOST_SERVERS:
            raise ListError(f"{place}: more than {MOST_SERVERS} servers")
    return tuple(entries)


def _is_json(text: str) -> bool:
    """Whether a list is JSON. A line that begins with an IPv6 address in brackets looks a little like it."""
    begin = text.lstrip(_BLANKS)
    if begin.startswith("["):
        return begin[1:].lstrip(_BLANKS)[:1] not in {*string.hexdigits, ":"}
    return begin.startswith("{")


def _lines(text: str, name: str) -> Iterator[tuple[int, dict[str, object]]]:
    """Yield each server of a list with one a line: its address, and perhaps `weight=2`."""
    for number, line in enumerate(text.split("\n"), start=1):
        address, *words = line.partition("#")[0].split() or [""]
        value: dict[str, object] = {"address": address}
        for word in words:
            key, _, written = word.partition("=")
            if key != "weight" or "weight" in value or not (written.isascii() and written.isdecimal()):
                raise ListError(
                    f"{name}:{number}: expected an address, and perhaps weight=2 after it, got {show(word)}"
                )
            value["weight"] = int(written[:10])  # more digits are too many in any case
        if address:
            yield number, value


def _json(text: str, name: str) -> Iterator[tuple[int, object]]:
    """Yield each element of a JSON array with its line. An object with the array as `real_server` is taken too.

    The array is decoded element by element, so that it is known where each of them is.
    """
    at, line = _skip(text, 0), 1
    if text.startswith("{", at):
        at = _into_object(text, at, name)
    end = "}" if text.startswith("{", _skip(text, 0)) else ""
    decoder = json.JSONDecoder(object_pairs_hook=_distinct)
    counted = 0
    at = _skip(text, at + 1)
    if text.startswith("]", at):
        at = _skip(text, at + 1)
    else:
        while True:
            line += text.count("\n", counted, at)
            counted = at
            try:
                value, after = decoder.raw_decode(text, at)
            except (ValueError, RecursionError) as error:
                wrong = error.pos if isinstance(error, json.JSONDecodeError) else at
                why = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                raise ListError(f"{name}:{text.count(chr(10), 0, wrong) + 1}: not JSON: {why}") from None
            yield line, value
            at = _skip(text, after)
            if text.startswith("]", at):
                at = _skip(text, at + 1)
                break
            if not text.startswith(",", at):
                raise _not_json(text, at, name, "a comma or ]")
            at = _skip(text, at + 1)
    for each in end:
        if not text.startswith(each, at):
            raise _not_json(text, at, name, each)
        at = _skip(text, at + 1)
    if at < len(text):
        raise _not_json(text, at, name, "nothing more")


def _into_object(text: str, at: int, name: str) -> int:
    """Return where the array of `real_server` begins, the only key of an object that begins at `at`."""
    at = _skip(text, at + 1)
    for each in ('"real_server"', ":"):
        if not text.startswith(each, at):
            raise _not_json(text, at, name, f'{each} of {{ "real_server": […] }}')
        at = _skip(text, at + len(each))
    if not text.startswith("[", at):
        raise _not_json(text, at, name, "[")
    return at


def _not_json(text: str, at: int, name: str, what: str) -> ListError:
    got = show(text[at : at + 20]) if at < len(text) else "the end of the file"
    return ListError(f"{name}:{text.count(chr(10), 0, at) + 1}: expected {what}, got {got}")


def _skip(text: str, at: int) -> int:
    """Return where the blanks that begin at `at` end."""
    while at < len(text) and text[at] in _BLANKS:
        at += 1
    return at


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _entries(value: object, place: str) -> Iterator[Entry]:
    """Yield the servers of one entry: an address, or a range of them, alone or with a weight."""
    written = {"address": value} if isinstance(value, str) else value
    if not isinstance(written, dict) or "address" not in written:
        raise ListError(f'{place}: expected an address such as "198.51.100.11:80", or an object with one')
    for key in written.keys() - {"address", "weight"}:
        raise ListError(f"{place}: {show(key)} is nothing that a source may say: only address and weight")
    weight = written.get("weight", 1)
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= MOST_WEIGHT:
        raise ListError(f"{place}: weight: expected 0..{MOST_WEIGHT}, got {show(weight)}")
    try:
        found = server_addresses(written["address"])
    except WrongValueError as error:
        raise ListError(f"{place}: {error}") from None
    for address in found.addresses:
        yield Entry(written_address(address, found.port), weight, place)


def written_address(address: str, port: int | None) -> str:
    """Write the address of a server as `real_server` does."""
    if port is not None:
        return str(Endpoint(address, port))
    return f"[{address}]" if ":" in address else address
