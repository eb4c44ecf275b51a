"""The records of a configuration, their defaults, and the reason for each default.

A field's name is its key in the TOML file. Durations are seconds here, and strings with a unit ("500ms") in the file.
`load` converts, inherits and validates, so every record is complete and consistent: a check knows the address and port
that it probes, and a real server knows its forwarding method. There may be tens of thousands of checks, servers and
endpoints. Such a record never contains a reference back to itself, so the garbage collector does not have to scan it
(`gc=False`).
"""

import enum
from collections.abc import Iterable

import msgspec

from lvs_healthd.config.basics import AnnounceWhen, Endpoint, Family, Protocol, Seconds
from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.hook_model import Hook
from lvs_healthd.config.sources import Source


class Forward(enum.StrEnum):
    """Forwarding method: how IPVS hands a packet to a real server.

    With `fullnat`, IPVS does nat, and nftables also replaces the client's address with the director's. So answers
    return through the director from any network.
    """

    NAT = "nat"
    FULLNAT = "fullnat"
    DR = "dr"
    TUN = "tun"


TRANSLATING = (Forward.NAT, Forward.FULLNAT)
"""The methods that translate addresses and ports. Their answers pass through the director."""


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
    """What the daemon does in the kernel's table with a real server that is down."""

    REMOVE = "remove"
    QUIESCE = "quiesce"


class ForeignServers(enum.StrEnum):
    """What the daemon does with a server that somebody else has added to one of its services."""

    REMOVE = "remove"
    KEEP = "keep"


class Mode(enum.StrEnum):
    """Whether decisions are written to the kernel (`enforce`) or only logged and counted (`shadow`)."""

    ENFORCE = "enforce"
    SHADOW = "shadow"


class Damping(msgspec.Struct, frozen=True, kw_only=True):
    """How a service treats real servers that go up and down again and again (see `health.damping`)."""

    falls: int = 4
    """So many falls within `window` are flapping. A restart or two for an upgrade are not."""
    window: Seconds = Seconds(600.0)
    longest: Seconds = Seconds(1800.0)
    """How long a server must be steady at most before it serves again. After half an hour somebody has looked."""


class Below(enum.StrEnum):
    """What the daemon does with a service of which fewer real servers may serve than `min_up`."""

    FAIL_OPEN = "fail_open"
    """All its servers serve, whatever their checks find, except those that operators have drained or disabled."""
    FALLBACK = "fallback"
    """The fallback servers serve instead."""
    NONE = "none"
    """It is told. The servers that may serve go on."""


class MinUp(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a service must be able to serve. Exactly one of `count`, `percent` and `weight` is not 0."""

    count: int = 0
    """So many real servers."""
    percent: int = 0
    """This share of the real servers that are configured with a weight above 0, rounded up."""
    weight: int = 0
    """So much weight altogether, as keepalived's quorum counts."""
    hysteresis: int = 0
    """The service is below only with less than `min_up` minus this, and not any more with `min_up` plus this."""

    def needed(self, weights: Iterable[int]) -> int:
        """Return how many servers, or how much weight, must be able to serve. Never less than 1.

        weights: the configured weights of the real servers.
        """
        weighty = sum(weight > 0 for weight in weights)
        return self.weight or self.count or max(1, -(-weighty * self.percent // 100))


class RealServer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A backend of one virtual service."""

    endpoint: Endpoint
    """The server's address and port, written in the file as `address`. Default for the port: the service's port."""
    weight: int = 1
    """Share of new connections: 0..65535, which is ipvsadm's range. 0 keeps the server configured but gives it no new
    connections."""
    forward: Forward = Forward.NAT
    """Default: the service's value. The same goes for all fields below, except `checks`."""
    tun_type: TunType = TunType.IPIP
    tun_port: int = 0
    """UDP port on which the server receives gue packets; 0 for the other tunnel types."""
    tun_checksum: TunChecksum = TunChecksum.OFF
    upper_threshold: int = 0
    """Number of connections above which IPVS gives the server no new ones. 0 means no limit."""
    lower_threshold: int = 0
    """Number of connections below which a server that was above `upper_threshold` gets new ones again. 0 means three
    quarters of `upper_threshold`."""
    checks: tuple[AnyCheck, ...] = ()
    """The checks, all of which must pass. Only a fallback server may have none."""


class FallbackServer(RealServer, frozen=True, kw_only=True, gc=False):
    """A server that is used while the service's real servers are not enough. Without checks, it counts as up."""

    tier: int = 1
    """The servers of the lowest tier serve of which any is up."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual service: address, port and protocol, or a firewall mark."""

    name: str
    """Unique name for logs, metrics and people. Default: the address and protocol, or the firewall mark."""
    endpoint: Endpoint | None = None
    """The service's address and port, written in the file as `address`. None for a firewall mark."""
    protocol: Protocol = Protocol.TCP
    """Ignored for a firewall mark, which matches any protocol."""
    fwmark: int = 0
    """The firewall mark; 0 for a service with an address."""
    family: Family = Family.IPV4
    """Set in the file only for a firewall mark, for which the default is the real servers' family."""
    scheduler: str = "wlc"
    """IPVS scheduler. wlc is the default of ipvsadm and of the kernel's documentation."""
    forward: Forward = Forward.NAT
    """Forwarding method of servers that name none. nat requires only that the servers' route to clients leads through
    the director, so it works without preparation."""
    scheduler_flags: tuple[str, ...] = ()
    """Flags of the scheduler: sh-port, sh-fallback, mh-port, mh-fallback, or the kernel's flag-1 to flag-3."""
    persistence: Seconds = Seconds(0.0)
    """How long a client stays with its real server, whole seconds. 0 turns persistence off."""
    persistence_mask: int | None = None
    """Number of leading address bits that identify a client. None: each address is a client of its own.

    An IPv4 mask with holes is stored as a negative number: minus the mask.
    """
    persistence_engine: str = ""
    """Identifies clients by something other than their address: "sip" uses the Call-ID."""
    one_packet: bool = False
    """Schedule each datagram by itself, so that even the datagrams of one client port are spread over all servers. UDP
    only."""
    on_failure: OnFailure = OnFailure.REMOVE
    """What to do with a server that is down. `remove` also ends its persistence; `quiesce` keeps established
    connections through a short failure."""
    foreign_servers: ForeignServers = ForeignServers.REMOVE
    """What to do with servers in this service that are not configured. Use `keep` when another program adds some."""
    damping: Damping | None = None
    """Keep servers that flap out, for longer each time; None to tell of them only. Off by default, because a server
    that serves most of the time may be better than none, and only the operator knows."""
    min_up: MinUp = MinUp(count=1)
    """How much must be able to serve. Below it, `below` says what happens."""
    below: Below = Below.NONE
    """Default: `fallback` if there is one, else `none`. While no real server may serve at all, a fallback serves in any
    case."""
    slow_start: Seconds = Seconds(0.0)
    """How long a server that comes back takes to reach its weight; 0 to give it all at once. Off by default, because
    it means nothing where all weights are 1, as they are by default."""
    mode: Mode = Mode.ENFORCE
    """`shadow`: what is decided for this service is only logged and counted, and nothing of it is written."""
    brake: bool = True
    """Whether the brake (see `Brake`) may keep this service's servers in the table."""
    vip: str | None = None
    """The address of this host by which the service is active here (see `Pair`). None: the service's own address. "":
    the service is always active, as is one by a firewall mark that has no such key."""
    announce: str | None = None
    """The interface that has the service's address while it may serve, so that BGP announces it. None or "": none."""
    announce_when: AnnounceWhen = AnnounceWhen.ANY
    """If several services have one address. With `any`, one of them is enough to keep the clients of all here."""
    announce_after: Seconds = Seconds(30.0)
    """How long it must be able to serve until it is announced again. A route that flaps may be away for a minute."""
    withdraw_after: Seconds = Seconds(2.0)
    """How long it must be unable to serve until it is withdrawn. What passes sooner costs less than another route."""
    synproxy: bool = False
    """Complete TCP handshakes on the director, with nftables, so that spoofed SYNs create no IPVS connections."""
    synproxy_mss: int | None = None
    """Maximum segment size announced to clients, bytes. None means what fits into a packet of 1500 bytes."""
    synproxy_wscale: int = 7
    """Window scale announced to clients (RFC 7323). 7 is what Linux uses with its default buffers."""
    fallback: tuple[FallbackServer, ...] = ()
    """Servers to use while no real server may serve, or fewer than `min_up`."""
    sources: tuple[Source, ...] = msgspec.field(default=(), name="source")
    """Files, names or keys of etcd from which it has real servers too: `{ file = "/etc/web.list" }`,
    `{ dns = "web.example.net" }`, `{ etcd = "web" }` or a list of such tables. They are followed."""
    pattern: RealServer | None = None
    """What it gives the servers that its sources list: a server without an address. None without sources."""
    real_servers: tuple[RealServer, ...] = msgspec.field(default=(), name="real_server")

    @property
    def servers(self) -> tuple[RealServer, ...]:
        """All servers, including fallback servers."""
        return (*self.real_servers, *self.fallback)

    @property
    def needs_conntrack(self) -> bool:
        """Whether the service requires connection tracking of IPVS connections."""
        return self.synproxy or any(server.forward is Forward.FULLNAT for server in self.servers)


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon's own settings."""

    listen: str = "127.0.0.1:9880"
    """Address and port for /metrics, JSON and /healthz; "" turns them off. The default is loopback because there is no
    authentication."""
    control: str = "/run/lvs-healthd/control.sock"
    """Unix socket through which `lvs-healthd status` talks to the daemon."""
    state: str = "/var/lib/lvs-healthd/state.json"
    """File for what must survive a restart: verdicts with their reasons, and which services belong to the daemon."""
    overrides: str = ""
    """File with what operators have ordered, such as which servers are drained. "": `overrides.json` beside `state`."""
    maintenance_dir: str = ""
    """Folder in which a file named after a server drains it, as ldirectord's `maintenancedir`; "": none."""
    mode: Mode = Mode.ENFORCE
    resync: Seconds = Seconds(10.0)
    """How often the kernel's table is read back. A change by somebody else lasts no longer than this."""
    reload_guard: int = 50
    """The share of the serving servers that a reload, or a start, may take out unless it is forced, percent. It counts
    if at least ten serve. Nobody replaces more than half of a director's servers in one reload by habit."""
    max_probes: int = 10_000
    """The maximum number of probes in flight, which also limits the number of sockets. A probe above the limit is not
    dropped but starts late, and its delay counts as lag."""
    history: int = 20
    """How many streaks of like outcomes are kept of each check, and how many events of each server, for
    `lvs-healthd why`."""
    max_exec: int = 16
    """The maximum number of programs of exec checks that run at once, if the daemon runs them. Others wait."""
    exec_socket: str = ""
    """Unix socket of the process that runs programs, for when systemd starts it. "": the daemon starts one as its
    child, with its socket beside `control`."""
    probe_workers: int = 1
    """Number of processes that run probes. 1 means that the daemon's own process runs them. One core runs about 10 000
    probes a second."""


class Brake(msgspec.Struct, frozen=True, kw_only=True):
    """When too many servers fall silent together to believe that they are dead. Then none is taken out."""

    share: int = 80
    """The share of the targets behind one interface or next hop that must fall silent, percent. Servers that fail for
    reasons of their own rarely fail all at once, and a half (one of two rooms without power) must go out as usual."""
    within: Seconds = Seconds(10.0)
    """The time within which they must fall silent. With the default interval, all are probed several times in it."""
    min_targets: int = 2
    """How many must fall silent. One alone says nothing about the way to it."""
    longest: Seconds = Seconds(300.0)
    """After how long to let go in any case: time for somebody to look, if the fault is the director's."""


class ActiveWhen(enum.StrEnum):
    """When a service is active on this director."""

    ALWAYS = "always"
    VIP_PRESENT = "vip-present"
    """While its address is one of this host's."""


class Standby(enum.StrEnum):
    """What the daemon does for a service that is active on the other director of a pair."""

    WARM = "warm"
    """The same as for any other: its table is right when it becomes active."""
    SUSPEND = "suspend"
    """It is not probed, and keeps the verdicts it had."""


class TrackFault(enum.StrEnum):
    """For which faults the track file asks VRRP to move the addresses."""

    OWN = "own"
    """Only while the fault may be this director's own."""
    ANY = "any"
    """Whenever a tracked service may not serve."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What this director does as one of a pair, between which VRRP moves the virtual addresses."""

    active_when: ActiveWhen = ActiveWhen.ALWAYS
    """By default there is no pair."""
    standby: Standby = Standby.WARM
    """By default a takeover finds the table right. Probing twice costs the servers little."""
    track_file: str = ""
    """The file that tells keepalived whether this director can serve; "": none."""
    track: tuple[str, ...] = ("*",)
    """The names of the services for which the file speaks, perhaps with wildcards."""
    track_fault: TrackFault = TrackFault.OWN
    """By default a service whose servers are dead for both directors stays where it is, and refuses its clients. Two
    files that say 1 would leave its address on neither director."""
    track_after: Seconds = Seconds(2.0)
    """How long a fault must last until the file tells it. What passes sooner costs less than a takeover."""
    track_back: Seconds = Seconds(30.0)
    """How long all must be well until the file says so. VRRP takes its address back then, which costs another gap."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long IPVS remembers an idle connection (`ipvsadm --set`), whole seconds. None keeps the kernel's value."""

    tcp: Seconds | None = None
    """The timeout of an established TCP connection."""
    tcp_fin: Seconds | None = None
    """The timeout of a TCP connection after a FIN."""
    udp: Seconds | None = None
    """The timeout of what was sent by UDP."""


class SyncDaemon(msgspec.Struct, frozen=True, kw_only=True):
    """A sync daemon: the kernel thread that sends connections to the other director, or receives them.

    The defaults are the kernel's.
    """

    interface: str
    """The interface that leads to the other director. Required."""
    syncid: int = 0
    """Identifies the pair of directors, both of which must have the same. In `backup`, 0 accepts messages of any
    syncid."""
    group: str = "224.0.0.81"
    """Multicast address of the messages."""
    port: int = 8848
    """UDP port of the messages."""
    ttl: int = 1
    """Time to live of the messages. With 1, no router passes them on."""
    maxlen: int | None = None
    """The maximum size of a message, bytes. None means what fits into the interface's MTU."""


class Sync(msgspec.Struct, frozen=True, kw_only=True):
    """The sync daemons to run on this director, one or both. A daemon that is None is left as it is, running or not."""

    master: SyncDaemon | None = None
    backup: SyncDaemon | None = None


class Ipvs(msgspec.Struct, frozen=True, kw_only=True):
    """Settings for the director's IPVS as a whole. Settings that are not configured are left alone."""

    netns: str = ""
    """Network namespace of the IPVS table: a name listed by `ip netns`, or a path. Empty means the daemon's own
    namespace, in which probes always run."""
    timeouts: Timeouts = Timeouts()
    """How long idle connections are remembered: a table of its own."""
    sync: Sync = Sync()
    """The sync daemons: the tables `master` and `backup`."""
    sysctl: tuple[tuple[str, str], ...] = ()
    """Names of files in /proc/sys/net/ipv4/vs, and their wanted contents."""
    path_marks: tuple[int, int] = (65536, 81919)
    """The first and the last firewall mark for the services of path probes, written in the file as "65536-81919". The
    default is above the marks that people choose by hand."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """A whole configuration, complete and consistent."""

    daemon: Daemon = Daemon()
    ipvs: Ipvs = Ipvs()
    brake: Brake = Brake()
    pair: Pair = Pair()
    fleet: Fleet = Fleet()
    services: tuple[Service, ...] = msgspec.field(default=(), name="service")
    hooks: tuple[Hook, ...] = msgspec.field(default=(), name="hook")
    remarks: tuple[str, ...] = ()
    """Remarks on what will probably not do what was meant: one line of text each, with file, line and key path. They
    are found while the file is read; the file has no such key."""
