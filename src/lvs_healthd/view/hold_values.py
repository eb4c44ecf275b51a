"""Holds and brakes as values: the answer to POST /api/v1/hold and /release, and what the status shows of each."""

import msgspec

from lvs_healthd.runtime.exceptions import InputError

MOST_REASON = 200
"""The longest reason for a hold, characters. It must fit into a line of the status."""


class HoldRefusedError(InputError):
    """Raised when there is nothing to release. The text is for the operator."""


class HoldOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What is held after a request. The request is in force in any case."""

    held: tuple[str, ...]
    """The names of the services that are held; "" stands for the whole table."""
    not_kept: str = ""
    """Why a restart would forget the request; empty if it would not."""


class HoldStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One hold that is in force."""

    service: str
    """The service's name; "" for the whole table."""
    address: str = ""
    """The service's address or firewall mark; "" for the whole table."""
    since: float
    """Unix time."""
    uid: int
    """The user who ordered it; -1 if the file of holds could not be read."""
    reason: str = ""


class BrakeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A way out of the director on which the brake is on."""

    way: str
    """The interface, or the interface and the next hop behind it: "eth1 via 198.51.100.1"."""
    since: float
    """Unix time."""
    silent: int
    """How many targets behind it are silent."""
    targets: int
    """How many targets there are behind it, without those that were silent long before."""
    cause: str = ""
    """What was found wrong with the director, and what to do; empty while nothing was."""
