"""What all records of a configuration are made of: durations, transports, addresses and ports."""

import enum
import socket
from typing import NewType

import msgspec

Seconds = NewType("Seconds", float)
"""A duration in seconds, written in the file as a string with a unit: "250ms", "2s", "1m", "1h"."""


class Protocol(enum.StrEnum):
    """Transport of a virtual service."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class Family(enum.StrEnum):
    """Address family. Only a service with a firewall mark has to name it; the address of any other service shows it."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class AnnounceWhen(enum.StrEnum):
    """How many of the announced services of one address must be able to serve, so that it is announced."""

    ANY = "any"
    ALL = "all"


class Endpoint(msgspec.Struct, frozen=True, order=True, gc=False):
    """An IP address, in the kernel's canonical spelling (`socket.inet_ntop`), and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def shown(self) -> str:
        """The address with the port, or alone if the port is 0."""
        return str(self) if self.port else self.address

    @property
    def family(self) -> Family:
        """The family of the address."""
        return Family.IPV6 if ":" in self.address else Family.IPV4

    @property
    def is_loopback(self) -> bool:
        """Whether only this host itself reaches the address: one of 127.0.0.0/8, or ::1."""
        return self.address.startswith("127.") or self.address == "::1"


def canonical_address(text: str) -> str:
    """Format an IP address the way the kernel's tools print it.

    Raises `ValueError` when `text` is not an IPv4 or IPv6 address.
    """
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, UnicodeEncodeError) as error:
        raise ValueError(f"not an IP address: {text!r}") from error
