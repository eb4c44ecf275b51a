"""Parsers for addresses and ports. Addresses must be numeric, because a name would make health depend on DNS."""

import functools
import ipaddress
import re
from typing import NamedTuple

from lvs_healthd.config.basics import Endpoint, canonical_address
from lvs_healthd.config.errors import WrongValueError, expected, show
from lvs_healthd.config.shapes import shaped
from lvs_healthd.config.values import string

_PORT = re.compile(r"[0-9]{1,5}")
_NAME = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z][A-Za-z0-9_.-]*")
_IPV4_BITS = 32
_IPV4_ONES = 0xFFFFFFFF
_IPV6_BITS = 128
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)


MOST_PORT = 65535

MOST_IN_RANGE = 1024
"""The largest number of addresses allowed in one range. It keeps a typing mistake from creating a million services."""


class ServerAddresses(NamedTuple):
    """The address of one real server, or a range of addresses. The port is None when the service provides it."""

    addresses: tuple[str, ...]
    port: int | None


class Mask(NamedTuple):
    """A netmask."""

    bits: int
    """Its prefix length. An IPv4 mask with holes has none, and is stored as a negative number: minus the mask."""
    is_dotted: bool
    """Whether it was written like an IPv4 address, and not as a number of bits."""


@shaped("an IP address", type="string", minLength=2)
def address(value: object) -> str:
    """Parse the IP address of one host, without a port."""
    text = string(value)
    host, port = (text, None) if text.count(":") > 1 and not text.startswith("[") else _split(text)
    if port is not None:
        raise expected(
            "an IP address", value, f"the port has a key of its own: port = {port}" if _is_port(port) else ""
        )
    return _host(host, value, "an IP address")


@shaped('an IP address, or ""', type="string")
def optional_address(value: object) -> str:
    """Parse the IP address of one host, or "" for none."""
    return "" if value == "" else address(value)


@shaped('an address and port such as "192.0.2.100:80", or a range', type="string", pattern=":[0-9]{1,5}$")
def endpoints(value: object) -> tuple[Endpoint, ...]:
    """Parse the address and port of a virtual service, or a range of addresses with a port. Port 0 means all ports."""
    hosts, port = _hosts_and_port(value, "an address and port", least_port=0)
    if port is None:
        raise expected("an address and port", value, f'add the port, such as "{value}:80"')
    return tuple(Endpoint(host, port) for host in hosts)


@shaped('an address such as "198.51.100.11:80", or a range', type="string", minLength=2)
def server_addresses(value: object) -> ServerAddresses:
    """Parse the address of a real server, or a range of addresses, with or without a port."""
    what = "an address and port"
    try:
        return ServerAddresses(*_hosts_and_port(value, what))
    except WrongValueError:
        host = value.partition(":")[0] if isinstance(value, str) else ""
        if _NAME.fullmatch(host):
            how = f'write its address, or have DNS list the servers: source = {{ dns = "{host}" }}'
            raise expected(what, value, f"{show(host)} is a name; {how}") from None
        raise


@shaped(
    'a number of bits of 0..128, or an IPv4 mask such as "255.255.255.0"',
    anyOf=[{"type": "integer", "minimum": 0, "maximum": _IPV6_BITS}, {"type": "string", "pattern": r"^[0-9.]+$"}],
)
def mask(value: object) -> Mask:
    """Parse a netmask: a number of bits, or an IPv4 mask."""
    what = 'a number of bits of 0..128, or an IPv4 mask such as "255.255.255.0"'
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _IPV6_BITS:
        return Mask(value, is_dotted=False)
    try:
        number = int(ipaddress.IPv4Address(string(value)))
    except ValueError:
        raise expected(what, value) from None
    bits = number.bit_count()
    has_holes = number != _IPV4_ONES << (_IPV4_BITS - bits) & _IPV4_ONES
    return Mask(-number if has_holes else bits, is_dotted=True)


@shaped('an address and port such as "127.0.0.1:9880", or ""', type="string", pattern="^(.*:[0-9]{1,5})?$")
def listen(value: object) -> str:
    """Parse the address and port to listen on. Empty means not to listen."""
    text = string(value)
    if not text:
        return text
    what = 'an address and port such as "127.0.0.1:9880", or "" for none'
    if text.startswith((":", "*:")):
        port = text.rpartition(":")[2]
        raise expected(what, value, f'to listen on every address write "0.0.0.0:{port}" or "[::]:{port}"')
    hosts, port_number = _hosts_and_port(value, what, unicast=False)
    if port_number is None:
        raise expected(what, value, "add the port")
    if len(hosts) > 1:
        raise expected(what, value, "one address, not a range")
    return str(Endpoint(hosts[0], port_number))


def _hosts_and_port(
    value: object, what: str, *, unicast: bool = True, least_port: int = 1
) -> tuple[tuple[str, ...], int | None]:
    text = string(value)
    if text.count(":") > 1 and not text.startswith("["):
        # "2001:db8::1:80" may be an address whose last group is 80, or an address with port 80.
        bare = text.partition("%")[0]
        first, _, last = bare.rpartition(":")
        split = f'"[{first}]:{last}" or ' if _is_port(last) and _is_ipv6(first) else ""
        raise expected(what, value, f'write an IPv6 address in brackets: {split}"[{bare}]:80"')
    host, port = _split(text)
    hosts = _range(host, value, what) if "-" in host else (_host(host, value, what, unicast=unicast),)
    if port is None:
        return hosts, None
    if not _is_port(port, least_port):
        raise expected(f"a port of {least_port}..65535 after the address", value)
    return hosts, _number(port)


@functools.lru_cache(maxsize=1024)
def _number(port: str) -> int:
    """Return the same object for the same port, because thousands of servers may have it."""
    return int(port)


def _range(text: str, value: object, what: str) -> tuple[str, ...]:
    """Return every address of the range "192.0.2.10-192.0.2.19", or in short form "192.0.2.10-19"."""
    first_text, _, last_text = text.partition("-")
    if not any(mark in last_text for mark in ".:"):
        mark = ":" if ":" in first_text else "."
        last_text = f"{first_text.rpartition(mark)[0]}{mark}{last_text}"
    if any(letter.isalpha() for letter in text) and ":" not in text:
        raise _no_address(text, value, what)
    first, last = (ipaddress.ip_address(_host(each, value, what)) for each in (first_text, last_text))
    count = int(last) - int(first) + 1
    if first.version != last.version:
        raise expected(what, value, "the range begins in one address family and ends in another")
    if count < 1:
        raise expected(
            what, value, f"the range ends before it begins; write the lower end first: {show(f'{last}-{first}')}"
        )
    if count > MOST_IN_RANGE:
        raise expected(what, value, f"the range holds {count} addresses, and at most {MOST_IN_RANGE} are allowed")
    return tuple(canonical_address(str(first + index)) for index in range(count))


def _split(text: str) -> tuple[str, str | None]:
    """Split "host:port" or "[host]:port". The port is None when there is no colon after the host."""
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        return bracketed[1], bracketed[2]
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _is_port(text: str, least: int = 1) -> bool:
    return bool(_PORT.fullmatch(text)) and least <= int(text) <= MOST_PORT


def _host(text: str, value: object, what: str, *, unicast: bool = True) -> str:
    bare, percent, _ = text.partition("%")
    if percent and _is_ipv6(bare):
        raise expected(what, value, "without an interface (%…): IPVS has no place for one")
    try:
        canonical = canonical_address(text)
    except ValueError:
        raise _no_address(text, value, what) from None
    problem = _unfit(canonical) if unicast else ""
    if problem:
        raise expected(what, value, problem)
    return canonical


def _no_address(text: str, value: object, what: str) -> WrongValueError:
    if any(letter.isalpha() for letter in text) and ":" not in text:
        return expected(
            what, value, f"{show(text)} is a name, and names would make health depend on DNS; write its address"
        )
    if "/" in text:
        return expected(what, value, 'a network is no list of hosts; write a range such as "198.51.100.11-19"')
    host, blank, port = text.partition(" ")
    if blank and _is_port(port):
        return expected(what, value, f'a colon separates them: "{host}:{port}"')
    return expected(what, value, f"{show(text)} is not an IP address")


def _is_ipv6(text: str) -> bool:
    try:
        return ":" in canonical_address(text)
    except ValueError:
        return False


def _unfit(canonical: str) -> str:
    """Return why an address cannot be a server's, or an empty string when it can."""
    if ":" in canonical:
        ip = ipaddress.IPv6Address(canonical)
        if ip.ipv4_mapped:
            return f"write the IPv4 address itself: {ip.ipv4_mapped}"
        if ip.is_link_local:
            return "a link-local address needs an interface, and IPVS has no place for one"
        is_one_host = not ip.is_unspecified and not ip.is_multicast
    else:
        # `ipaddress` would take half of the time in which a big configuration is read, so it is not used here.
        is_multicast = 224 <= int(canonical.partition(".")[0]) <= 239
        is_one_host = not is_multicast and canonical not in {"0.0.0.0", "255.255.255.255"}  # noqa: S104
    return "" if is_one_host else "it must be the address of one host"
