"""Sources of real servers other than the configuration itself: the key `source`, and what a source lists.

Only the name of a source is configured. What it lists is given to the reading of the configuration from outside, so
that servers from a source are read, validated and put into force like all others.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from lvs_healthd.config import dns_values
from lvs_healthd.config.addresses import server_addresses
from lvs_healthd.config.basics import Endpoint, Family, Seconds, canonical_address
from lvs_healthd.config.errors import Problem, WrongValueError, expected
from lvs_healthd.config.inline_table import inline_table
from lvs_healthd.config.shapes import Shape, shape_of, shaped, table_shape, with_shape
from lvs_healthd.config.values import (
    absolute_path,
    duration,
    duration_text,
    integer,
    listing,
    member,
    one_or_more,
    string,
)

LISTED = "listed"
"""The first part of the key path of an entry that a source lists. Its name and the entry's number follow."""


MIN_TTL = Seconds(5.0)
"""How soon a name may be looked up again by default, whatever its records allow. A name server and the network stand
that, and it is about as long as a server takes to be proven."""

DNS_PORT = 53

_KEY = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where real servers come from. One of `file`, `dns` and `etcd` is set."""

    file: str = ""
    """Path of a file that lists them."""
    dns: str = ""
    """A name whose records list them, without the dot at its end."""
    family: Family | None = None
    """dns: whether to ask for IPv4 or IPv6 addresses; None for those of the service. Only a configuration has None."""
    port: int = 0
    """dns: the port of servers, if it is not that of the service; 0 if it is. SRV records have ports of their own."""
    nameserver: tuple[Endpoint, ...] = ()
    """dns: whom to ask; empty for those of /etc/resolv.conf."""
    min_ttl: Seconds = MIN_TTL
    """dns: how soon to ask again at the earliest, whatever the records allow, seconds."""

    etcd: str = ""
    """The name of the keys of etcd that list them, after the prefix of `[fleet]` and `servers/`."""

    def __str__(self) -> str:
        """Name the source for people, logs and metrics. No two sources have the same name."""
        if self.etcd:
            return f"etcd {self.etcd}"
        if self.file:
            return f"file {self.file}"
        kinds = [*(["SRV"] if self.is_srv else []), *(["A"] if self.family is Family.IPV4 else [])]
        kinds += ["AAAA"] if self.family is Family.IPV6 else []
        port = f" port {self.port}" if self.port else ""
        asked = f" from {', '.join(map(_short, self.nameserver))}" if self.nameserver else ""
        ttl = f" every {duration_text(self.min_ttl)}" if self.min_ttl != MIN_TTL else ""
        return f"dns {' '.join((self.dns, *kinds))}{port}{asked}{ttl}"

    @property
    def is_srv(self) -> bool:
        """Whether the name has SRV records. Their names begin with an underscore, and those of hosts do not."""
        return self.dns.startswith("_")

    def of_family(self, family: Family) -> "Source":
        """Return the source as a service of this family uses it."""
        return msgspec.structs.replace(self, family=family) if self.dns and self.family is None else self

    @property
    def variants(self) -> tuple["Source", ...]:
        """The source as services of any family use it."""
        return tuple(dict.fromkeys(map(self.of_family, Family)))


def _short(server: Endpoint) -> str:
    return server.address if server.port == DNS_PORT else str(server)


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One real server that a source lists."""

    address: str
    """As in `real_server`: an address, with a port or without."""
    weight: int = 1
    place: str = ""
    """Where the source says so, for messages: "/etc/web.list:7"."""


Lists = Mapping[Source, tuple[Entry, ...]]
"""What is known of sources: the servers that each of them lists. A source of which nothing is known is not in it."""


def said(entries: Iterable[Entry]) -> dict[str, int]:
    """Return the weight of each address: what a list says, without the order and places of its entries."""
    return {entry.address: entry.weight for entry in entries}


@shaped("a domain name, not an address", type="string", minLength=1)
def _dns_name(value: object) -> str:
    what = "a domain name"
    name = dns_values.name(value).lower().rstrip(".")
    try:
        canonical_address(name)
    except ValueError:
        pass
    else:
        raise expected(what, value, f'it is an address, which needs no look-up: real_server = ["{name}"]')
    host, colon, port = name.partition(":")
    if not _NAME.fullmatch(host) or colon:
        is_port = bool(host) and port.isdecimal()
        hint = f'dns = "{host}", port = {port}' if is_port else 'letters, digits, "-", "_" and dots'
        raise expected(what, value, hint)
    return name


@shaped('an IP address, or one with a port such as "192.0.2.53:5353"', type="string", minLength=2)
def _nameserver(value: object) -> Endpoint:
    what = "the address of a name server"
    try:
        found = server_addresses(value)
    except WrongValueError:
        raise expected(what, value, 'an IP address, alone or with a port: "192.0.2.53:5353"') from None
    if len(found.addresses) > 1:
        raise expected(what, value, "one address, not a range")
    return Endpoint(found.addresses[0], found.port or DNS_PORT)


with_shape(_nameserver, msgspec.structs.replace(shape_of(_nameserver), write=_short))


@shaped('the name of keys such as "web"', type="string", pattern="^[^/]")
def _key_name(value: object) -> str:
    """Parse the name of keys of etcd, which is without the prefix."""
    text = string(value)
    if not _KEY.fullmatch(text):
        raise expected('a name such as "web", for the keys PREFIX/servers/web and PREFIX/servers/web/ADDRESS', value)
    return text


_PARSERS: dict[str, dict[str, Callable[[object], Any]]] = {
    "file": {"file": absolute_path},
    "dns": {
        "dns": _dns_name,
        "family": member(Family),
        "port": integer(1, 65535),
        "nameserver": one_or_more(_nameserver),
        "min_ttl": duration("1s", "1h"),
    },
    "etcd": {"etcd": _key_name},
}
"""The keys of each kind of source. The first one names it."""

_EXAMPLES = {
    "file": '{ file = "/etc/lvs-healthd/web.list" }',
    "dns": '{ dns = "web.example.net" }',
    "etcd": '{ etcd = "web" }',
}


def _source(value: object) -> Source:
    if not isinstance(value, dict):
        is_path = isinstance(value, str) and value.startswith("/")
        raise expected("a table", value, f'write source = {{ file = "{value}" }}' if is_path else "")
    kinds = [kind for kind in _PARSERS if kind in value]
    if len(kinds) > 1:
        both = ", ".join(f"{{ {kind} = … }}" for kind in kinds)
        raise WrongValueError(Problem((), f"{' and '.join(kinds)} are sources of their own: source = [{both}]"))
    if not kinds:
        inline_table(value, {key: parse for keys in _PARSERS.values() for key, parse in keys.items()})
        examples = " or ".join(_EXAMPLES.values())
        raise WrongValueError(Problem((), f"{listing(_PARSERS)} is missing: source = {examples}"))
    found = Source(**inline_table(value, _PARSERS[kinds[0]]))
    if found.is_srv and found.port:
        raise WrongValueError(Problem(("port",), "SRV records have ports of their own; leave it out"))
    return found


def _written(source: Source) -> dict[str, object]:
    """Return a source as a file has it."""
    kind = next(kind for kind in _PARSERS if getattr(source, kind))
    given = msgspec.structs.asdict(source)
    usual = msgspec.structs.asdict(Source())
    return {key: shape_of(parse).write(given[key]) for key, parse in _PARSERS[kind].items() if given[key] != usual[key]}


with_shape(
    _source,
    Shape(
        schema={"anyOf": [dict(table_shape(keys, "", required=[kind]).schema) for kind, keys in _PARSERS.items()]},
        words="a table with `file`, an absolute path, or with `dns`, a domain name, or with `etcd`, the name of keys",
        write=_written,
    ),
)

sources = one_or_more(_source)
"""Parses the value of `source`: one source, or a list of them."""
