"""Reads the lines `virtual`, `real` and `fallback`, with the program's own expressions (ldirectord 4.12.0)."""

import ipaddress
import re
from collections.abc import Iterator

import msgspec

from lvs_healthd.importers.account import Place
from lvs_healthd.importers.ldirectord.keys import MOST_DIGITS, QuestionError, WrongLineError
from lvs_healthd.importers.ldirectord.names import Lookup, port_of
from lvs_healthd.importers.ldirectord.records import FORWARDS, Fallback, Real, Virtual
from lvs_healthd.ipvs.words import AF_INET, AF_INET6

MOST_SERVERS = 4096
"""A range of more servers than this is taken for a mistake: IPVS set-ups have some hundred at most."""

_PORT = r"[0-9A-Za-z_-]+"
_HOST = r"\d+\.\d+\.\d+\.\d+|[A-Za-z0-9.-]+|\[[0-9A-fa-f:]+\]"
_REAL = re.compile(rf"({_HOST})(->({_HOST}))?(:({_PORT}))?\s+(.*)", re.ASCII)
_FALLBACK_PORT = re.compile(rf"(:({_PORT}))?$", re.ASCII)

_SERVICES = {
    21: "ftp",
    25: "smtp",
    53: "dns",
    80: "http",
    110: "pop",
    119: "nntp",
    143: "imap",
    389: "ldap",
    443: "https",
    587: "submission",
    636: "ldaps",
    995: "pops",
    993: "imaps",
    1521: "oracle",
    1812: "radius",
    3128: "http_proxy",
    3306: "mysql",
    5060: "sip",
    5432: "pgsql",
}
"""The service of a virtual's port (`ld_port_to_service`)."""

SERVICE_PORTS = {service: port for port, service in _SERVICES.items()}
"""The port of a service, for real servers without one (`ld_service_to_port`)."""


def service_of(port: int) -> str:
    """Return the service that the program takes a virtual's port for."""
    return _SERVICES.get(port, "none")


def virtual_of(place: Place, value: str, *, is_v6: bool) -> tuple[Virtual, str, str]:
    """Read what follows `virtual=`.

    Returns the virtual with its mark or without, its host and its port, which are not looked up yet: that needs the
    protocol, which comes further down. Both are empty for a mark.
    """
    family = AF_INET6 if is_v6 else AF_INET
    found = re.match(rf"([0-9A-Za-z._+-]+):({_PORT})", value)
    if found is not None:
        _ask_about_rest(value, found)
        protocol = "udp" if found[2] in {"53", "domain"} else "tcp"
        return Virtual(place, family, None, protocol=protocol), found[1], found[2]
    found = re.match(r"\d+", value, re.ASCII)
    if found is not None:
        if re.match(r"[\d.]+\.", value, re.ASCII):
            raise QuestionError(
                found[0],
                f"without a port, this is the firewall mark {found[0]} to ldirectord: was it an address, and with "
                f"which port? Write virtual={value.split(maxsplit=1)[0]}:PORT, or virtual={found[0]} for the mark",
            )
        _ask_about_rest(value, found)
        if len(found[0]) > MOST_DIGITS or not 1 <= int(found[0]) < 2**32:
            raise QuestionError(found[0], "the kernel has no such firewall mark: what was meant?")
        return Virtual(place, family, int(found[0]), protocol="fwm"), "", ""
    found = re.match(rf"\[([0-9A-Fa-f:]+)\]:({_PORT})", value)
    if found is None:
        raise WrongLineError("invalid address for virtual server")
    if not is_v6:
        raise WrongLineError('cannot specify an IPv6 address here. please use "virtual6" instead.')
    try:
        ipaddress.IPv6Address(found[1])
    except ValueError:
        raise WrongLineError("invalid ipv6 address for virtual server") from None
    _ask_about_rest(value, found)
    protocol = "udp" if found[2] in {"53", "domain"} else "tcp"
    return Virtual(place, family, None, protocol=protocol), found[1], found[2]


def _ask_about_rest(value: str, found: re.Match[str]) -> None:
    rest = re.sub(r"\s+#.*", "", value[found.end() :])
    if re.search(r"\w", rest):
        raise QuestionError(found[0], f"ldirectord takes only {found[0]!r} of {value.strip()!r}: what was meant?")


def fallback_words(value: str) -> tuple[str, str]:
    """Return the server and the forwarding method that follow `fallback=`; the method is "" if there is none."""
    words = re.search(r"(\S+)(?:\s+(\S+))?\s*$", value)
    server, forward = (words[1], words[2] or "") if words else (value, "")
    if forward and forward not in FORWARDS:
        raise WrongLineError("forward method must be gate, masq or ipip")
    return server, forward


def fallback_of(place: Place, value: str, *, family: int, protocols: tuple[str, ...], lookup: Lookup) -> Fallback:
    """Read what follows `fallback=`, with its host and port looked up (`parse_fallback`).

    protocols: those in which the port's name must be known.
    """
    server, forward = fallback_words(value)
    found = _FALLBACK_PORT.search(server)
    port_text = found[2] if found else None
    host = server[: found.start()] if found else server
    if not host:
        raise QuestionError("", "to ldirectord, a fallback without an address is 127.0.0.1: which one was meant?")
    address = _looked_up(host, family, lookup)
    if address is None:
        version = "IPv6" if family == AF_INET6 else "IPv4"
        raise WrongLineError(f"invalid {version} address or could not resolve for fallback server: {host}")
    port: int | None = None
    if port_text and port_text != "0":
        ports = [port_of(port_text, protocol, lookup) for protocol in protocols]
        if not all(ports):
            raise WrongLineError("invalid port for fallback server")
        port = ports[0]
    if value.split() != [word for word in (server, forward) if word]:
        raise QuestionError(server, f"ldirectord takes only {server!r} of {value.strip()!r}: what was meant?")
    return Fallback(place, address, port, forward or "gate")


def _looked_up(host: str, family: int, lookup: Lookup) -> str | None:
    inside = re.search(r"\[(.*)\]", host)
    name = inside[1] if inside else host
    return lookup.host(name, family) if name else None


class RealLine:
    """A line `real`, read.

    servers: the real servers that it stands for.
    ignored: the words in it that the program passes over.
    """

    def __init__(self, place: Place, value: str, family: int, lookup: Lookup) -> None:
        found = _REAL.search(value)
        if found is None:
            raise WrongLineError("invalid address for real server (wrong format)")
        host, _, last, _, port_text, flags = found.groups()
        self.ignored: list[str] = []
        port = port_of(port_text or "0", "", lookup)
        if port is None:
            raise WrongLineError(f"invalid port ({port_text}) for real server (could not resolve port)")
        addresses = _addresses(host, last, family, lookup)
        server = self._flags(Real(place, "", port, ""), flags)
        self.servers = [msgspec.structs.replace(server, address=address) for address in addresses]
        if re.search(r"\w", value[: found.start()]):
            words = value[: found.start()].strip().rstrip(",")
            raise QuestionError(
                host, f"ldirectord takes only {host} here, and passes over {words!r}: write one line for each server"
            )

    def _flags(self, real: Real, flags: str) -> Real:
        """Read what follows the address, in the order and by the expressions of `add_real_server`."""
        found = re.search(r"(\w+)(.*)", flags, re.ASCII)
        if found is None or found[1] not in FORWARDS:
            raise WrongLineError("forward method must be gate, masq or ipip")
        self._skip(flags[: found.start()])
        forward, flags = found[1], found[2]
        weight, flags = self._number(r"\s+(\d+)(.*)", flags)
        request = receive = None
        found = re.search(r'\s+"(.*)"[, ]\s*"(.*)"(.*)', flags)
        if found is not None:
            self._skip(flags[: found.start()])
            request, receive, flags = found[1], found[2], found[3]
            request = request if request.startswith("/") else f"/{request}"
        lower, flags = self._number(r"\s+l:(\d+)(.*)", flags)
        upper, flags = self._number(r"\s+u:(\d+)(.*)", flags)
        if re.search(r"\S", flags):
            raise WrongLineError(f'Invalid real server line, around "{flags}"')
        weight = 1 if weight is None else weight
        return Real(real.place, "", real.port, forward, weight, request, receive, lower or 0, upper or 0)

    def _number(self, pattern: str, flags: str) -> tuple[int | None, str]:
        found = re.search(pattern, flags, re.ASCII)
        if found is None:
            return None, flags
        self._skip(flags[: found.start()])
        if len(found[1]) > MOST_DIGITS:
            raise QuestionError(found[1], f"a number has {len(found[1])} digits: what was meant?")
        return int(found[1]), found[2]

    def _skip(self, text: str) -> None:
        if re.search(r"\S", text):
            self.ignored.append(text.strip())


def _addresses(host: str, end: str | None, family: int, lookup: Lookup) -> list[str]:
    """Return the address of a host, or those of a range of hosts."""
    first = _looked_up(host, family, lookup)
    if first is None:
        raise WrongLineError(f"invalid address ({host}) for real server (could not resolve host)")
    if end is None:
        return [first]
    last = _looked_up(end, family, lookup)
    if last is None:
        raise WrongLineError(f"invalid address ({end}) for real server (could not resolve end host)")
    return list(_range(first, last, family))


def _range(first: str, last: str, family: int) -> Iterator[str]:
    """Yield the addresses of a range (`add_real_server_range`)."""
    if family == AF_INET6:
        raise WrongLineError("Address range for IPv6 is not supported yet")
    begin, end = int(ipaddress.IPv4Address(first)), int(ipaddress.IPv4Address(last))
    if begin > end:
        raise WrongLineError(
            f"Invalid Range: {first}-{last}: First value must be greater than or equal to the second value"
        )
    # The program compares the numbers as text (`le`), which is wrong where the last one has a digit more.
    if end - begin >= MOST_SERVERS or len(str(begin)) != len(str(end)):
        raise QuestionError(first, f"{first}->{last} are {end - begin + 1} servers: what was meant?")
    for number in range(begin, end + 1):
        yield str(ipaddress.IPv4Address(number))
