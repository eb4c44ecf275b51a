"""Looks up the names of hosts and ports, as ldirectord does when it reads its file."""

import socket
from typing import Protocol

MOST_PORT = 65535
"""A port has 16 bits."""


class Lookup(Protocol):
    """Where the names in a file are looked up."""

    def host(self, name: str, family: int) -> str | None:
        """Return the address of a host without brackets, or None. An address is its own name.

        family: AF_INET or AF_INET6.
        """

    def port(self, name: str, protocol: str) -> int | None:
        """Return the port of a service such as "http", or None.

        protocol: "tcp" or "udp"; "" for either.
        """


class SystemLookup:
    """Looks names up where this machine does: in DNS, /etc/hosts and /etc/services."""

    def host(self, name: str, family: int) -> str | None:
        """Return the address of a host without brackets, or None."""
        try:
            return str(socket.getaddrinfo(name, None, family)[0][4][0])
        except (OSError, UnicodeError):
            return None

    def port(self, name: str, protocol: str) -> int | None:
        """Return the port of a service such as "http", or None."""
        try:
            return socket.getservbyname(name, protocol) if protocol else socket.getservbyname(name)
        except OSError:
            return None


def port_of(text: str, protocol: str, lookup: Lookup) -> int | None:
    """Return a port, given as a number or by its name. None if there is none (`ld_getservbyname`).

    protocol: "tcp" or "udp"; "" for either.
    """
    if text.isascii() and text.isdecimal():
        number = int(text) if len(text) <= len(str(MOST_PORT)) + 1 else MOST_PORT + 1
        return number if number <= MOST_PORT else None
    return lookup.port(text, protocol)
