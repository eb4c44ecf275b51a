"""Reads and writes the addresses of the interfaces from which BGP announces them.

An address is there alone (/32, or /128), so that nothing else is announced with it. One of IPv6 is deprecated: it takes
packets, but the director itself never sends from it, such as probes or tunnelled packets. And it is not looked for on
the network first (`nodad`), because all directors of a fleet have it.
"""

import errno
import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from lvs_healthd.config.basics import canonical_address
from lvs_healthd.director import links
from lvs_healthd.runtime.exceptions import HostError
from lvs_healthd.runtime.netns import Netns

_IFF_UP = 0x1
_IFA_F_NODAD = 0x02
_FOREVER = 0xFFFFFFFF
"""linux/if_addr.h: an address without an end."""


class Place(NamedTuple):
    """An address on an interface."""

    interface: str
    address: str


class Found(NamedTuple):
    """One interface as it is."""

    is_up: bool
    addresses: frozenset[tuple[str, int]]
    """Its addresses with the lengths of their prefixes, without those of the link alone (fe80::/10, 127.0.0.0/8)."""


class AnnounceError(HostError):
    """Raised when addresses cannot be read or written. The message says what to do."""


def load_library() -> None:
    """Import pyroute2, which takes a quarter of a second. To be called before the functions below."""
    with links.IMPORTING:
        import pyroute2  # noqa: F401, PLC0415


def read(netns: Netns, interfaces: Iterable[str]) -> dict[str, Found]:
    """Return each of these interfaces that is there. This blocks. Raises `AnnounceError` or `NetnsError`."""
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

    found = {}
    try:
        with netns.entered(), IPRoute() as kernel:
            for name in set(interfaces):
                if (link := _link(kernel, name)) is not None:
                    present = _addresses(kernel, link["index"])
                    addresses = frozenset(pair for pair in present if not _is_of_the_link(pair[0]))
                    found[name] = Found(bool(link["flags"] & _IFF_UP), addresses)
    except (NetlinkError, OSError) as error:
        raise AnnounceError(f"the addresses of this host cannot be read: {error}") from error
    return found


def write(netns: Netns, add: Iterable[Place], delete: Iterable[Place]) -> dict[Place, str]:
    """Put addresses on interfaces, and take others off them. This blocks.

    Return why that was not possible, for each for which it was not. Raises `AnnounceError` or `NetnsError` if nothing
    was.
    """
    from pyroute2 import IPRoute, NetlinkError  # noqa: PLC0415

    failed = {}
    try:
        with netns.entered(), IPRoute() as kernel:
            for verb, places in (("add", add), ("del", delete)):  # an address that moves is never nowhere
                for place in places:
                    if (link := _link(kernel, place.interface)) is None:
                        if verb == "add":
                            failed[place] = missing(place.interface)
                        continue
                    try:
                        kernel.addr(verb, **_fields(place, link["index"], is_new=verb == "add"))
                    except NetlinkError as error:
                        if why := _failure(kernel, verb, place, link["index"], error.code):
                            failed[place] = why
    except (NetlinkError, OSError) as error:
        raise AnnounceError(f"the addresses of this host cannot be written: {error}") from error
    return failed


def missing(interface: str) -> str:
    """Say that an interface is missing, and what to type."""
    return (
        f"there is no interface {interface}: ip link add {interface} type dummy && ip link set {interface} up "
        "(docs/fleet.md says how it is there after a reboot)"
    )


def is_down(interface: str) -> str:
    """Say that an interface is down, and what to type."""
    return f"{interface} is down, and BGP announces nothing from it: ip link set {interface} up"


def alone(address: str) -> int:
    """Return the length of a prefix that holds this address alone."""
    return 128 if ":" in address else 32


def listed(places: Iterable[Place], found: Mapping[str, Found]) -> frozenset[Place]:
    """Return those of these addresses that are on their interfaces, alone."""
    return frozenset(
        place
        for place in places
        if place.interface in found and (place.address, alone(place.address)) in found[place.interface].addresses
    )


def shown(places: Iterable[Place], found: Mapping[str, Found]) -> frozenset[Place]:
    """Return those of these addresses whose interfaces are up. BGP sees no other."""
    return frozenset(place for place in places if place.interface in found and found[place.interface].is_up)


def _fields(place: Place, index: int, *, is_new: bool) -> dict[str, object]:
    fields: dict[str, object] = {"index": index, "address": place.address, "prefixlen": alone(place.address)}
    if is_new and ":" in place.address:
        fields |= {"preferred_lft": 0, "valid_lft": _FOREVER, "flags": _IFA_F_NODAD}
    return fields


def _link(kernel: Any, name: str) -> Any:  # noqa: ANN401  # pyroute2 has no types
    """Return the kernel's message about an interface; None if there is none of this name."""
    from pyroute2 import NetlinkError  # noqa: PLC0415

    try:
        (link,) = kernel.link("get", ifname=name)
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
        return None
    return link


def _addresses(kernel: Any, index: int) -> set[tuple[str, int]]:  # noqa: ANN401
    """Return the addresses of an interface with the lengths of their prefixes."""
    return {(_own_address(each), each["prefixlen"]) for each in kernel.addr("dump", index=index)}


def _own_address(message: Any) -> str:  # noqa: ANN401
    return canonical_address(message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"))


def _is_of_the_link(address: str) -> bool:
    parsed = ipaddress.ip_address(address)
    return parsed.is_link_local or parsed.is_loopback


def _failure(kernel: Any, verb: str, place: Place, index: int, code: int) -> str:  # noqa: ANN401
    """Say why an address could not be written; "" if somebody else has just done the same.

    An interface has an IPv6 address only once, with whatever prefix (net/ipv6/addrconf.c, `ipv6_add_addr`). With
    another one, BGP would announce a whole network, or nothing.
    """
    if verb == "del" and code == errno.EADDRNOTAVAIL:
        return ""
    if verb == "add" and code == errno.EEXIST:
        lengths = [length for address, length in _addresses(kernel, index) if address == place.address]
        if alone(place.address) in lengths:
            return ""
        for length in lengths:
            where = f"{place.address}/{length}"
            return (
                f"{place.address} cannot be put on {place.interface} alone, because {where} is there: "
                f"ip address del {where} dev {place.interface}"
            )
    return _refusal(verb, place, code)


def _refusal(verb: str, place: Place, code: int) -> str:
    what = f"{place.address} cannot be {'put on' if verb == 'add' else 'taken off'} {place.interface}"
    match code:
        case errno.EPERM:
            return f"{what}: not permitted: needs CAP_NET_ADMIN: run as root, or see docs/systemd.md"
        case errno.EACCES if ":" in place.address:
            return f"{what}: IPv6 is off there: sysctl net.ipv6.conf.{place.interface}.disable_ipv6=0"
        case _:
            return f"{what}: {errno.errorcode.get(code, code)}"
