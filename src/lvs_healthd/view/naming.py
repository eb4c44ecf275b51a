"""Recognises services and servers by the names and addresses that an operator types."""

import fnmatch
import ipaddress
from collections.abc import Iterable

from lvs_healthd.runtime.exceptions import InputError

WILD = "*?["
"""The characters that make a word a pattern."""


class UnknownNameError(InputError):
    """Nothing has the name or address that was asked for. The text is for the operator."""


def canonical(which: str) -> str:
    """Rewrite an address in the daemon's spelling, and keep a port and protocol after it. Keep any other text as is."""
    host, bracket, rest = which.removeprefix("[").partition("]")
    try:
        address = str(ipaddress.ip_address(host))
    except ValueError:
        return which
    return f"[{address}]{rest}" if bracket and rest else address


def spellings(address: str) -> tuple[str, ...]:
    """List what may be typed for an address: "192.0.2.100:80/tcp", "192.0.2.100:80", "192.0.2.100".

    address: a service's ("192.0.2.100:80/tcp", "fwmark 7 ipv6") or a server's ("198.51.100.11:80").
    """
    if address.startswith("fwmark "):
        return address, " ".join(address.split()[:2])
    endpoint = address.partition("/")[0]
    return address, endpoint, endpoint.rpartition(":")[0].removeprefix("[").removesuffix("]")


def is_called(word: str, names: Iterable[str]) -> bool:
    """Return whether a word, perhaps with wildcards, is one of the names."""
    known = tuple(names)
    if word in known or canonical(word) in known:
        return True
    if word.startswith("["):  # the bracket of an IPv6 address, which is not a wildcard
        word = f"[[]{word[1:]}" if any(character in word for character in "*?") else ""
    return any(character in word for character in WILD) and any(fnmatch.fnmatchcase(name, word) for name in known)
