"""Parsers of addresses and ports. Addresses are numeric, always: a name would make health depend on DNS."""

import ipaddress
import re
from typing import NamedTuple

from lvs_healthd.config.errors import WrongValueError, expected, show
from lvs_healthd.config.model import Endpoint, canonical_address
from lvs_healthd.config.values import string

_PORT = re.compile(r"[0-9]{1,5}")
_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?", re.DOTALL)


class ServerAddress(NamedTuple):
    """A real server as written: the port may be left to its service."""

    address: str
    port: int | None


def address(value: object) -> str:
    """Take the IP address of one host, without a port."""
    text = string(value)
    host, port = (text, None) if text.count(":") > 1 and not text.startswith("[") else _split(text)
    if port is not None:
        raise expected(
            "an IP address", value, f"the port has a key of its own: port = {port}" if _is_port(port) else ""
        )
    return _host(host, value, "an IP address")


def endpoint(value: object) -> Endpoint:
    """Take the address and port of a virtual service."""
    host, port = _host_and_port(value, "an address and port")
    if port is None:
        raise expected("an address and port", value, f'add the port, such as "{value}:80"')
    return Endpoint(host, port)


def server_address(value: object) -> ServerAddress:
    """Take the address of a real server, with or without a port."""
    return ServerAddress(*_host_and_port(value, "an address and port"))


def listen(value: object) -> str:
    """Take the address and port to listen on; empty for none."""
    text = string(value)
    if not text:
        return text
    what = 'an address and port such as "127.0.0.1:9880", or "" for none'
    if text.startswith((":", "*:")):
        port = text.rpartition(":")[2]
        raise expected(what, value, f'to listen on every address write "0.0.0.0:{port}" or "[::]:{port}"')
    host, port_number = _host_and_port(value, what, unicast=False)
    if port_number is None:
        raise expected(what, value, "add the port")
    return str(Endpoint(host, port_number))


def _host_and_port(value: object, what: str, *, unicast: bool = True) -> tuple[str, int | None]:
    text = string(value)
    if text.count(":") > 1 and not text.startswith("["):
        # "2001:db8::1:80" is an address whose last group is 80 as much as an address with a port.
        raise expected(what, value, f'an IPv6 address stands in brackets: "[{text.partition("%")[0]}]:80"')
    host, port = _split(text)
    canonical = _host(host, value, what, unicast=unicast)
    if port is None:
        return canonical, None
    if not _is_port(port):
        raise expected("a port of 1..65535 after the address", value)
    return canonical, int(port)


def _split(text: str) -> tuple[str, str | None]:
    """Split "host:port" and "[host]:port"; the port is None where there is no colon."""
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        return bracketed[1], bracketed[2]
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _is_port(text: str) -> bool:
    return bool(_PORT.fullmatch(text)) and 1 <= int(text) <= 65535


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
        return expected(what, value, f"{show(text)} is a name, and names would make health depend on DNS")
    return expected(what, value, f"{show(text)} is no IP address")


def _is_ipv6(text: str) -> bool:
    try:
        return ":" in canonical_address(text)
    except ValueError:
        return False


def _unfit(canonical: str) -> str:
    """Say why an address cannot be a server's, or nothing."""
    if ":" in canonical:
        ip = ipaddress.IPv6Address(canonical)
        if ip.ipv4_mapped:
            return f"write the IPv4 address itself: {ip.ipv4_mapped}"
        if ip.is_link_local:
            return "a link-local address needs an interface, and IPVS has no place for one"
        is_one_host = not ip.is_unspecified and not ip.is_multicast
    else:
        # By hand: `ipaddress` would be half of the time it takes to read a big configuration.
        is_multicast = 224 <= int(canonical.partition(".")[0]) <= 239
        is_one_host = not is_multicast and canonical not in {"0.0.0.0", "255.255.255.255"}  # noqa: S104
    return "" if is_one_host else "it must be the address of one host"
