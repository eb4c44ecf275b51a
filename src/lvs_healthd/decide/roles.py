"""Knows which services are active on this director of a pair, by the addresses that the host has. It is pure.

A role changes only what is told about a service, and whether it is probed if standby services are suspended. It never
changes the table: for a moment both directors may have an address, or neither.
"""

import enum
from collections.abc import Container, Iterable
from typing import NamedTuple

from lvs_healthd.config.announcing import vip_of
from lvs_healthd.config.model import ActiveWhen, Pair, Service
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.plan.records import service_key


class Role(enum.StrEnum):
    """What this director is for a service."""

    ACTIVE = "active"
    STANDBY = "standby"


class RoleStanding(NamedTuple):
    """The role that goes with one virtual address."""

    role: Role
    since: float
    """Seconds on the monotonic clock."""
    is_known: bool
    """Whether it follows from the host's addresses. They may be unknown, and then every service is active."""


class Turn(NamedTuple):
    """A virtual address whose role has changed, or is new."""

    vip: str
    services: tuple[str, ...]
    """The names of all services that go with it."""
    before: RoleStanding | None
    now: RoleStanding

    @property
    def after_s(self) -> float | None:
        """How long the role before lasted, seconds; None if there was none, or none that was known."""
        return self.now.since - self.before.since if self.before is not None and self.before.is_known else None


class Roles:
    """The role of each service. Without a pair, no service has one."""

    def __init__(self) -> None:
        self._vip_of: dict[ServiceKey, str] = {}
        self._services: dict[str, list[str]] = {}
        """The names of the services of each virtual address."""
        self._standings: dict[str, RoleStanding] = {}

    def configured(self, services: Iterable[Service], pair: Pair) -> None:
        """Take over a configuration. `see` must be called next, for addresses that are new in it.

        A service that is announced has no role, because whether its address is here is decided here.
        """
        self._vip_of, self._services = {}, {}
        for service in services if pair.active_when is ActiveWhen.VIP_PRESENT else ():
            if (vip := vip_of(service)) and not service.announce:
                self._vip_of[service_key(service)] = vip
                self._services.setdefault(vip, []).append(service.name)
        self._standings = {vip: known for vip, known in self._standings.items() if vip in self._services}

    def see(self, addresses: Container[str] | None, now: float) -> list[Turn]:
        """Find out the roles, and return those that have changed.

        addresses: the host's; None if they are not known.
        now: seconds on the monotonic clock.
        """
        turns = []
        for vip, services in self._services.items():
            role = Role.ACTIVE if addresses is None or vip in addresses else Role.STANDBY
            before = self._standings.get(vip)
            if before is None or before.role is not role:
                after = RoleStanding(role, now, addresses is not None)
                turns.append(Turn(vip, tuple(services), before, after))
            elif before.is_known is not (addresses is not None):
                after = before._replace(is_known=addresses is not None)
            else:
                continue
            self._standings[vip] = after
        return turns

    def of(self, key: ServiceKey) -> tuple[str, RoleStanding | None]:
        """Return the virtual address and the standing of a service; "" and None if it is always active."""
        vip = self._vip_of.get(key, "")
        return vip, self._standings.get(vip)

    def is_standby(self, key: ServiceKey) -> bool:
        """Whether a service's clients are not here."""
        standing = self.of(key)[1]
        return standing is not None and standing.role is Role.STANDBY
