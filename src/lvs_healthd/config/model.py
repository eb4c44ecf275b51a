"""What the operator configured: records, their defaults, and the reason for each default.

A field's name is its key in the TOML file. Durations are seconds here and strings with a unit ("500ms") in the file;
`load` converts, inherits and validates, so that every record in this file is complete and consistent: a check knows
the address and port it goes to, a real server knows its forwarding method. Of what there are tens of thousands, nothing
holds itself in a circle, and the garbage collector need not know of it (`gc=False`).
"""

import enum
import socket
from typing import NewType

import msgspec

Seconds = NewType("Seconds", float)
"""A duration; written in the file as a string with a unit: "250ms", "2s", "1m", "1h"."""


class Protocol(enum.StrEnum):
    """Transport of a virtual service."""

    TCP = "tcp"
    UDP = "udp"
    SCTP = "sctp"


class Family(enum.StrEnum):
    """Address family of a firewall-mark service (any other service shows it in its address)."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"


class Forward(enum.StrEnum):
    """Forwarding method: how IPVS hands a packet to a real server.

    `fullnat` is IPVS's nat with the client's address replaced too, by nftables: answers find back from any network.
    """

    NAT = "nat"
    FULLNAT = "fullnat"
    DR = "dr"
    TUN = "tun"


TRANSLATING = (Forward.NAT, Forward.FULLNAT)
"""Methods that change addresses and ports, and see the answers."""


class TunType(enum.StrEnum):
    """What a tunnelled packet is wrapped in: IP alone, UDP (Generic UDP Encapsulation) or GRE."""

    IPIP = "ipip"
    GUE = "gue"
    GRE = "gre"


class TunChecksum(enum.StrEnum):
    """Checksum of a gue or gre tunnel's outer header; `remote` is gue's remote checksum offload."""

    OFF = "off"
    ON = "on"
    REMOTE = "remote"


class OnFailure(enum.StrEnum):
    """What happens in the kernel's table to a real server that is down."""

    REMOVE = "remove"
    QUIESCE = "quiesce"


class ForeignServers(enum.StrEnum):
    """What happens to a server that somebody else has put into a service of ours."""

    REMOVE = "remove"
    KEEP = "keep"


class Mode(enum.StrEnum):
    """Whether decisions are written to the kernel (`enforce`) or only logged and counted (`shadow`)."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


class Endpoint(msgspec.Struct, frozen=True, order=True, gc=False):
    """An IP address, in the kernel's canonical spelling (`socket.inet_ntop`), and a port."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def family(self) -> Family:
        """The address family, read off the address."""
        return Family.IPV6 if ":" in self.address else Family.IPV4

    @property
    def is_loopback(self) -> bool:
        """Whether only this host itself reaches the address: one of 127.0.0.0/8, or ::1."""
        return self.address.startswith("127.") or self.address == "::1"


def canonical_address(text: str) -> str:
    """Spell an IP address the way the kernel's tools print it.

    Raises `ValueError` when `text` is not an IPv4 or IPv6 address.
    """
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        return socket.inet_ntop(family, socket.inet_pton(family, text))
    except (OSError, UnicodeEncodeError) as error:
        raise ValueError(f"not an IP address: {text!r}") from error


class Check(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What every check has. One target's health is decided by `rise` and `fall` on consecutive outcomes."""

    name: str
    """Tells a server's checks apart in logs and on reload; unique within a server. Default: the check's type."""
    interval: Seconds = Seconds(2.0)
    """From one start to the next. 2 s: HAProxy's `inter`, detection in seconds at a load nobody notices."""
    timeout: Seconds = Seconds(1.0)
    """Total, from first packet to outcome. 1 s: below the interval, and above one SYN retransmission's worth."""
    rise: int = 2
    """Consecutive passes that bring a server back: one lucky answer is not health."""
    fall: int = 3
    """Consecutive failures that take a server out: one lost packet is not death."""
    address: str
    """Where the probe goes. Default: the real server's own address."""
    port: int
    """Where the probe goes. Default: the real server's own port."""


class HttpCheck(Check, frozen=True, kw_only=True, gc=False, tag_field="type", tag="http"):
    """An HTTP/1.1 request; up when the status is in `status` and the body (if asked for) matches."""

    method: str = "GET"
    path: str = "/"
    host: str = ""
    """The Host header, never empty once loaded.

    Default: the virtual service's address as a client would send it, so with the port unless it is the scheme's own;
    for a mark, where the probe goes.
    """
    headers: tuple[tuple[str, str], ...] = ()
    """Further request headers; written as a table in the file."""
    status: tuple[tuple[int, int], ...] = ((200, 299),)
    """Accepted ranges, both ends included; written as ["200-299", "301"]."""
    body: str = ""
    """Text the body must contain."""
    body_regex: str = ""
    """Regular expression (RE2) that must match somewhere in the body; instead of `body`."""
    max_body: int = 65536
    """Bytes of body looked at, at most, when `body` or `body_regex` is set. 64 KiB: a health page is smaller."""


class HttpsCheck(HttpCheck, frozen=True, kw_only=True, gc=False, tag="https"):
    """The same over TLS, with the server's certificate verified."""

    sni: str = ""
    """Server name to ask for and to verify. Default: the name in `host`.

    Empty where `host` is an IP address and no `sni` is written: no name is asked for (RFC 6066 knows none for
    addresses), and the certificate must hold the probed `address`.
    """
    verify: bool = True
    """Verify chain, name and dates. keepalived never does; an expired certificate is an outage for clients."""
    ca: str = ""
    """PEM file of trusted certificates. Default: the system's."""


class StreamCheck(Check, frozen=True, kw_only=True, gc=False):
    """What tcp and udp checks share: bytes to send and what must come back."""

    send: bytes = b""
    """Written as text in `send`, or as hexadecimal in `send_hex`."""
    expect: bytes = b""
    """The answer must contain these bytes; written as text in `expect`, or as hexadecimal in `expect_hex`."""
    expect_regex: str = ""
    """Regular expression (RE2) that must match somewhere in the answer's bytes; instead of `expect`."""
    max_answer: int = 65536
    """Bytes of answer looked at, at most."""


class TcpCheck(StreamCheck, frozen=True, kw_only=True, gc=False, tag_field="type", tag="tcp"):
    """A TCP connection; with `send` or `expect…` also a short exchange."""


class UdpCheck(StreamCheck, frozen=True, kw_only=True, gc=False, tag_field="type", tag="udp"):
    """A datagram. Silence is up only when nothing is expected; ICMP unreachable is down."""


AnyCheck = HttpCheck | HttpsCheck | TcpCheck | UdpCheck


class RealServer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A backend of one virtual service."""

    endpoint: Endpoint
    """Written as `address` in the file; the port defaults to the service's."""
    weight: int = 1
    """0..65535 (ipvsadm's range); 0 keeps the server configured but sends it no new connections."""
    forward: Forward = Forward.NAT
    """Default: the service's, as for all that follows but the checks."""
    tun_type: TunType = TunType.IPIP
    tun_port: int = 0
    """UDP port at which the server takes gue packets; 0 for the other types."""
    tun_checksum: TunChecksum = TunChecksum.OFF
    upper_threshold: int = 0
    """Connections above which IPVS gives it no new ones; 0 is no limit."""
    lower_threshold: int = 0
    """Connections below which it gets some again after that. 0: three quarters of the upper one."""
    checks: tuple[AnyCheck, ...] = ()
    """All must pass. Empty only for fallback servers."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual service: address, port and protocol, or a firewall mark."""

    name: str
    """For logs, metrics and people; unique. Default: the address and protocol, or the mark."""
    endpoint: Endpoint | None = None
    """Written as `address` in the file. None for a firewall mark."""
    protocol: Protocol = Protocol.TCP
    """Ignored for a firewall mark, which matches any protocol."""
    fwmark: int = 0
    family: Family = Family.IPV4
    """Only for a firewall mark; default: the real servers' family."""
    scheduler: str = "wlc"
    """IPVS scheduler; wlc is ipvsadm's and the kernel documentation's default."""
    forward: Forward = Forward.NAT
    """nat needs nothing on the real servers but a route back, so it is the one that works unprepared."""
    scheduler_flags: tuple[str, ...] = ()
    """By the scheduler's own names (sh-port, sh-fallback, mh-port, mh-fallback) or the kernel's (flag-1 to flag-3)."""
    persistence: Seconds = Seconds(0.0)
    """How long a client sticks to its real server; whole seconds; 0 is off."""
    persistence_mask: int | None = None
    """Clients that share so many leading bits of their address are one. None: each address is a client of its own.

    An IPv4 mask with holes is minus the mask as a number.
    """
    persistence_engine: str = ""
    """What tells clients apart instead of their address: "sip" takes the Call-ID."""
    one_packet: bool = False
    """Schedule each datagram by itself: a client on one port is spread over all servers. UDP only."""
    on_failure: OnFailure = OnFailure.REMOVE
    """Removal also ends a dead server's persistence; quiesce keeps established connections through short trouble."""
    foreign_servers: ForeignServers = ForeignServers.REMOVE
    """What happens to servers in it that are not configured; `keep` where another program adds some of its own."""
    synproxy: bool = False
    """Finish TCP handshakes on the director, by nftables, so that only real clients make IPVS connections."""
    synproxy_mss: int | None = None
    """Largest segment announced to clients, bytes; None is what fits into 1500 bytes."""
    synproxy_wscale: int = 7
    """Window scale announced to clients (RFC 7323); Linux's with its default buffers."""
    fallback: tuple[RealServer, ...] = ()
    """Used while no real server may serve."""
    real_servers: tuple[RealServer, ...] = msgspec.field(default=(), name="real_server")

    @property
    def servers(self) -> tuple[RealServer, ...]:
        """All of them, fallbacks too."""
        return (*self.real_servers, *self.fallback)

    @property
    def needs_conntrack(self) -> bool:
        """Whether it works only with connection tracking of IPVS connections."""
        return self.synproxy or any(server.forward is Forward.FULLNAT for server in self.servers)


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's own settings."""

    listen: str = "127.0.0.1:9880"
    """Address and port of /metrics, JSON and /healthz; "" turns it off. Loopback: it has no authentication."""
    control: str = "/run/lvs-healthd/control.sock"
    """Unix socket through which `lvs-healthd status` talks to the daemon."""
    state: str = "/var/lib/lvs-healthd/state.json"
    """What survives a restart: verdicts with their reasons, and which services are ours."""
    mode: Mode = Mode.ENFORCE
    resync: Seconds = Seconds(10.0)
    """How often the kernel's table is read back, and so the longest a foreign edit lives."""
    max_probes: int = 10_000
    """Probes in flight at once; bounds sockets. A probe that has to wait is counted as lag, never dropped."""
    probe_workers: int = 1
    """Processes that run the probes. 1: the daemon itself, whose one core is enough for some 10 000 probes a second."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long IPVS remembers an idle connection (`ipvsadm --set`), whole seconds; None leaves the kernel's."""

    tcp: Seconds | None = None
    tcp_fin: Seconds | None = None
    """After a FIN."""
    udp: Seconds | None = None


class SyncDaemon(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's thread that sends connections to the other director, or takes its. Defaults: the kernel's."""

    interface: str
    syncid: int = 0
    """Both directors of a pair need the same; in `backup` 0 takes any."""
    group: str = "224.0.0.81"
    """Multicast address."""
    port: int = 8848
    ttl: int = 1
    maxlen: int | None = None
    """Longest message, bytes. None: what fits into the interface's MTU."""


class Sync(msgspec.Struct, frozen=True, kw_only=True):
    """The sync daemons that run here; a director may be both. None: whether one runs is not our affair."""

    master: SyncDaemon | None = None
    backup: SyncDaemon | None = None


class Ipvs(msgspec.Struct, frozen=True, kw_only=True):
    """The director's IPVS as a whole. Only what is configured is set."""

    netns: str = ""
    """Network namespace whose IPVS it is: a name of `ip netns`, or a path. Empty: the daemon's own, as probes are."""
    timeouts: Timeouts = Timeouts()
    sync: Sync = Sync()
    sysctl: tuple[tuple[str, str], ...] = ()
    """Names in /proc/sys/net/ipv4/vs and what the file is to hold."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """One whole configuration, complete and consistent."""

    daemon: Daemon = Daemon()
    ipvs: Ipvs = Ipvs()
    services: tuple[Service, ...] = msgspec.field(default=(), name="service")
