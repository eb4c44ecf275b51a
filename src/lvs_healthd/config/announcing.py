"""Reports announced services whose keys do not fit together: BGP would announce something other than what was meant."""

import ipaddress
from collections.abc import Iterator, Sequence

from lvs_healthd.config.errors import Errors, show
from lvs_healthd.config.lines import KeyPath
from lvs_healthd.config.model import Service
from lvs_healthd.config.schema import TomlTable
from lvs_healthd.config.values import duration_text

HOW = ("announce_when", "announce_after", "withdraw_after")
"""The keys that say when an address is announced. They mean nothing without `announce`."""

_Placed = tuple[KeyPath, Service]


def vip_of(service: Service) -> str:
    """Return the address of this host that goes with a service; "" if there is none."""
    if service.vip is not None:
        return service.vip
    return service.endpoint.address if service.endpoint is not None else ""


def validate_keys(service: Service, table: TomlTable, errors: Errors) -> None:
    """Add an error for each key that does nothing because the service is not announced."""
    if service.announce or table.is_wrong("announce"):
        return
    for key in HOW:
        if key in table and key not in table.elsewhere:  # a default may be meant for other services
            errors.add(table.at(key), 'this does nothing without announce, such as announce = "lvs0"')


def validate_announced(services: Sequence[_Placed], errors: Errors) -> None:
    """Add an error where an address cannot be announced, or its services do not agree how.

    A service that has an announced address but does not say whether it is announced too is remarked on.
    """
    first: dict[str, _Placed] = {}
    for path, service in services:
        if not service.announce:
            continue
        vip = vip_of(service)
        if trouble := _not_announced(service, vip):
            errors.add((*path, "announce"), trouble)
            continue
        other_path, other = first.setdefault(vip, (path, service))
        for key, theirs, own in _differences(other, service):
            errors.add(
                (*path, key),
                f"service {show(other.name)}, {errors.on_line(other_path, path)}, has the same address and says "
                f"{theirs}, not {own}: an address is announced or not, so they must agree",
            )
    for path, service in services:
        if service.announce is None and (vip := vip_of(service)) in first:
            _, other = first[vip]
            errors.remark(
                path,
                f"its address {vip} is announced by what service {show(other.name)} says, and this one has no say: "
                f'give it one: announce = "{other.announce}"; or say that this is meant: announce = ""',
            )


def _not_announced(service: Service, vip: str) -> str:
    """Say why the address of a service cannot be announced; "" if it can."""
    if not vip:
        what = 'vip = ""' if service.vip is not None else "a firewall mark"
        return f'{what} has no address to announce; name it: vip = "192.0.2.100"; or announce nothing: announce = ""'
    if (parsed := ipaddress.ip_address(vip)).is_loopback or parsed.is_unspecified:
        return f'{vip} is no address that others could reach; name one: vip = "192.0.2.100"'
    if service.endpoint is not None and vip != service.endpoint.address:
        own = service.endpoint.address
        return (
            f"it would announce {vip}, which vip names, though clients reach this service at {own}: leave out vip; "
            f'or announce nothing: announce = ""'
        )
    return ""


def _differences(one: Service, other: Service) -> Iterator[tuple[str, str, str]]:
    """Yield each key of which two services of one address have different values, with both values."""
    for key in ("announce", *HOW):
        first, second = getattr(one, key), getattr(other, key)
        if first != second:
            write = duration_text if isinstance(first, float) else str
            yield key, show(write(first)), show(write(second))
