"""Asks name servers for the records of a name. Everything here blocks, and runs on threads.

A thread, because an answer of 64 KiB takes dnspython 0.1 to 0.2 s to read: in the event loop, a name server could stop
all probes for so long.
"""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from lvs_healthd.config.basics import Endpoint, Family
from lvs_healthd.config.sources import DNS_PORT, Source
from lvs_healthd.discovery.listing import ListError

if TYPE_CHECKING:
    from dns.resolver import Resolver

TRY_S = 1.5
"""How long to wait for one answer of one name server, seconds. Then the next one is asked, or the same once more."""

QUESTION_S = 4.0
"""How long one question may take in all, seconds: less than a start waits for sources."""

LOOKUP_S = 10.0
"""How long all questions of one look-up may take, seconds."""

RECORD_TYPES = {Family.IPV4: "A", Family.IPV6: "AAAA"}


class NoRecordsError(ListError):
    """Raised when a name server says that a name does not exist, or has no such records. This may be meant."""


class Addresses(NamedTuple):
    """The addresses of a name."""

    found: tuple[str, ...]
    ttl_s: float
    """For how long this may be relied on, seconds."""


class Target(NamedTuple):
    """One SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    name: str
    """The name of the host, without the dot at its end; "" if the record says that there is no such service."""


class Targets(NamedTuple):
    """The SRV records of a name."""

    found: tuple[Target, ...]
    ttl_s: float


class Lookup:
    """The questions of one look-up, which share their name servers and their time.

    source: whom to ask.

    Every method raises `ListError` if there is no answer, and `NoRecordsError` if the answer is that there is nothing.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._until = clock() + LOOKUP_S
        self._servers = _servers(source)
        self._resolver = _resolver(self._servers)

    def addresses(self, name: str, family: Family) -> Addresses:
        """Return the addresses of a name."""
        records, ttl_s = self._ask(name, RECORD_TYPES[family])
        return Addresses(tuple(record.address for record in records), ttl_s)

    def targets(self, name: str) -> Targets:
        """Return the SRV records of a name."""
        records, ttl_s = self._ask(name, "SRV")
        return Targets(
            tuple(
                Target(each.priority, each.weight, each.port, each.target.to_text(omit_final_dot=True).strip("."))
                for each in records
            ),
            ttl_s,
        )

    def _ask(self, name: str, kind: str) -> tuple[list[Any], float]:
        """Return the records of a name of one type, and for how long they may be relied on, seconds."""
        from dns.exception import DNSException  # noqa: PLC0415  # imported only where it is configured
        from dns.resolver import NXDOMAIN, LifetimeTimeout, NoAnswer, NoNameservers  # noqa: PLC0415

        left_s = self._until - self._clock()
        if left_s <= 0:
            raise ListError(f"{name} {kind}: the look-up takes more than {LOOKUP_S:g}s in all")
        try:
            answer = self._resolver.resolve(name + ".", kind, search=False, lifetime=min(QUESTION_S, left_s))
            return list(answer), float(answer.chaining_result.minimum_ttl)
        except NXDOMAIN:
            raise NoRecordsError(f"{name} {kind}: there is no such name (NXDOMAIN); {self._try(name, kind)}") from None
        except NoAnswer:
            raise NoRecordsError(f"{name} {kind}: the name has no such record; {self._try(name, kind)}") from None
        except (LifetimeTimeout, NoNameservers) as error:
            raise ListError(f"{name} {kind}: {_whys(error.kwargs['errors'])}; {self._try(name, kind)}") from None
        except (DNSException, OSError, ValueError, UnicodeError) as error:  # whatever it makes of a stranger's bytes
            why = f"no usable answer: {type(error).__name__}"
            raise ListError(f"{name} {kind}: {why}; {self._try(name, kind)}") from None

    def _try(self, name: str, kind: str) -> str:
        """Say what to type, to see the same."""
        first = self._servers[0]
        port = f" -p {first.port}" if first.port != DNS_PORT else ""
        return f"try: dig @{first.address}{port} {name} {kind}"


def _servers(source: Source) -> tuple[Endpoint, ...]:
    """Return the name servers of a source, or else those of /etc/resolv.conf as it is now."""
    from dns.exception import DNSException  # noqa: PLC0415  # imported only where it is configured
    from dns.resolver import Resolver  # noqa: PLC0415

    if source.nameserver:
        return source.nameserver
    try:
        own = Resolver()
        return tuple(Endpoint(str(each), own.port) for each in own.nameservers)
    except (DNSException, OSError, ValueError):
        raise ListError(
            f'{source.dns}: /etc/resolv.conf names no name server; write one in the source: nameserver = "192.0.2.53"'
        ) from None


def _resolver(servers: Iterable[Endpoint]) -> "Resolver":
    """Return a resolver that asks these name servers, one after another."""
    from dns.nameserver import Do53Nameserver  # noqa: PLC0415  # imported only where it is configured
    from dns.resolver import Resolver  # noqa: PLC0415

    resolver = Resolver(configure=False)
    resolver.nameservers = [Do53Nameserver(each.address, each.port) for each in servers]
    resolver.timeout = TRY_S
    return resolver


def _whys(errors: Iterable[tuple[Any, ...]]) -> str:
    """Say why no name server has given an answer, each once, as it said or failed last.

    errors: what dnspython collects: server, whether over TCP, port, what went wrong, and the answer.
    """
    from dns.exception import Timeout  # noqa: PLC0415  # imported only where it is configured

    found: dict[str, str] = {}
    for server, _, port, what, *_ in errors:
        address = str(server).removeprefix("Do53:").removesuffix(f"@{port}")
        name = address if port == DNS_PORT else f"{address} port {port}"
        if isinstance(what, Timeout):
            found.setdefault(name, f"{name} does not answer")
        elif isinstance(what, OSError):
            found[name] = f"{name} cannot be asked: {what.strerror or what}"
        else:
            found[name] = f"{name} answers {what if isinstance(what, str) else type(what).__name__}"
    return ", ".join(found.values()) or f"no name server has answered in {QUESTION_S:g}s"
