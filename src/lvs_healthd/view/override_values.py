"""What operators order about servers, and what comes of it, as values: for POST /api/v1/overrides and the verbs."""

from typing import Literal

import msgspec

Verb = Literal["drain", "disable", "enable", "weight"]


class OverrideRequest(msgspec.Struct, frozen=True, kw_only=True):
    """An order. Times are Unix time."""

    verb: Verb
    service: str = ""
    """The service's name, address or firewall mark; may have wildcards (fnmatch)."""
    servers: tuple[str, ...] = ()
    """Addresses of its servers, with or without a port; may have wildcards. Empty: all of them."""
    everywhere: str = ""
    """The address of a machine, which is meant in all its services, in place of a service."""
    weight: int | None = None
    """For "weight": the weight; None for the configured one."""
    reason: str = ""
    until: float | None = None
    """When it ends by itself; None for never."""
    deadline: float | None = None
    """For "drain": when a server is removed though it has connections; None for never."""
    force: bool = False
    """Whether it may leave a service without a real server."""
    fleet: bool = False
    """Whether it is for all directors of the fleet."""

    @property
    def named(self) -> tuple[str, tuple[str, ...]]:
        """The service and the servers that it names; "*" and the machine's address if it is about all services."""
        return ("*", (self.everywhere,)) if self.everywhere else (self.service, self.servers)

    def __str__(self) -> str:
        """Return it as an operator would type it, for the log."""
        what = ["--everywhere", self.everywhere] if self.everywhere else [self.service, *self.servers]
        weight = ["auto" if self.weight is None else str(self.weight)] if self.verb == "weight" else []
        options = [*(["--fleet"] if self.fleet else []), *(["--force"] if self.force else [])]
        return " ".join([self.verb, *what, *weight, *options])


class OverriddenServer(msgspec.Struct, frozen=True, kw_only=True):
    """One server that an order is about."""

    service: str
    """The service's name."""
    server: str
    """address:port."""
    verdict: str
    state: str
    """"drained", "disabled" or "" from now on."""
    weight: int
    """Its weight when it serves, from now on."""
    was_changed: bool
    """Whether the order has changed anything."""


class OverrideOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an order."""

    refused: str = ""
    """Why nothing was done; empty if it was."""
    is_usage: bool = False
    """Whether it was refused because nothing has such a name."""
    servers: tuple[OverriddenServer, ...] = ()
    advice: tuple[str, ...] = ()
    """What will keep sending clients to drained servers, and what the operator should know besides."""


class OverrideValues(msgspec.Struct, frozen=True, kw_only=True):
    """One order in force. Times are Unix time."""

    kind: str
    """"drain", "disable" or "weight"; or "maintenance" for a file in the maintenance folder, which drains a server."""
    service: str
    """The service's name, or its address if it is not configured now; "*" for all services."""
    server: str
    """The server's address, with its port unless all ports are meant; what a file is named if that has no address."""
    weight: int | None = None
    reason: str = ""
    """Why, in the operator's words; of a file: why it drains nobody, or not what it should."""
    uid: int
    """Who; -1 for a file."""
    since: float
    """When it was ordered, or when the file was made or last changed."""
    until: float | None = None
    deadline: float | None = None
    is_configured: bool = True
    """Whether the server is configured at the moment."""
    file: str = ""
    """The path of the file in the maintenance folder; empty for an order."""
    director: str = ""
    """The director on which it was ordered for the whole fleet; empty: it is for this one alone."""
    is_lost: bool = False
    """Whether etcd has it no more though nobody has ended it (see the event override.lost)."""
