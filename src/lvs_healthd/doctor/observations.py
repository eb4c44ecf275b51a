"""What was seen on a director, as plain data: the kernel's table, its network, and who answered questions on the wire.

Every finding is a function of these values alone. They can be written as JSON and read again, so that a bug report
brings them along and a test can start from them. Addresses are text without a prefix length.
"""

from typing import Any

import msgspec

from lvs_healthd.director.advice import Advice

TRANSLATED = ("nat", "fullnat")
"""The forwarding methods whose answers pass through the director."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's route to an address."""

    interface: str = ""
    """The interface's name."""
    next_hop: str = ""
    """The router's address; "" if the address is in the interface's own network."""
    source: str = ""
    """The address from which the kernel would send."""
    is_local: bool = False
    """Whether the address is one of this host."""


class Echoes(msgspec.Struct, frozen=True, kw_only=True):
    """What a server answered to echo requests (ICMP). None stands for a question that was not asked."""

    plain: bool | None = None
    """Whether it answered on its own address."""
    through: bool | None = None
    """Whether it answered in the way of its clients' packets: by dr or a tunnel with the service's address, by nat to
    an address outside its own network."""
    refused: bool = False
    """Whether it refused the tunnel's protocol (ICMP unreachable)."""
    source: str = ""
    """With nat, the address of the director outside the server's network from which it was asked."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """The kernel's counters for a server, which it refreshes every two seconds."""

    connections: int = 0
    in_packets: int = 0
    out_packets: int = 0
    persistent: int = 0
    """The number of persistence templates."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """One real server or fallback server of a service."""

    address: str
    port: int
    forward: str
    """The forwarding method in the configuration's words."""
    tunnel: str = ""
    """The kind of tunnel: ipip, gue or gre; "" without one."""
    tunnel_port: int = 0
    is_fallback: bool = False
    weight: int | None = None
    """The weight in the kernel's table; None if it is not there."""
    configured: int | None = None
    """The configured weight; None if it is not configured."""
    verdict: str = ""
    """The daemon's verdict ("up", "down", …); "" without a daemon."""
    state: str = ""
    """"drained", "disabled" or "damped"; "" for neither, and without a daemon."""
    reason: str = ""
    """The daemon's reason for the verdict."""
    remarks: tuple[str, ...] = ()
    """The daemon's remarks on the server's checks."""
    before: Counts = Counts()
    after: Counts = Counts()
    """The counters at the beginning, and at least two seconds later."""
    half_open: int = 0
    """The number of its connections in the state SYN_RECV: the kernel saw no end of their handshake."""
    established: int = 0
    """The number of its connections in the state ESTABLISHED."""
    half_open_clients: tuple[str, ...] = ()
    """The addresses of some clients with such a half-open connection."""
    way: Way | None = None
    """The route to it; None without a route."""
    network: str = ""
    """Our own network in which it is; "" if it is behind a router."""
    hardware: str = ""
    """Its link-layer address, as it is in the kernel's table of neighbours or as it answered."""
    neighbour: str = ""
    """The state of its entry, or of its router's, in the kernel's table of neighbours: "REACHABLE", "FAILED", …."""
    answers_arp: bool | None = None
    """Whether it answered an ARP request for its own address; None if it was not asked."""
    echoes: Echoes = Echoes()
    certified: tuple[str, ...] = ()
    """The names and addresses in the certificate that it shows to clients; empty if it was not asked or showed none."""
    quiet: int = 0
    """How many of its established connections have had no packet for more than half of the kernel's timeout."""

    @property
    def name(self) -> str:
        """The address with the port, or alone if the port is 0."""
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}" if self.port else self.address

    @property
    def is_translated(self) -> bool:
        """Whether its answers pass through the director."""
        return self.forward in TRANSLATED

    @property
    def is_here(self) -> bool:
        """Whether the server is this director itself."""
        return self.way is not None and self.way.is_local

    @property
    def is_wanted(self) -> bool:
        """Whether it ought to serve: nobody has drained or disabled it, and its configured weight is above 0."""
        return self.state not in {"drained", "disabled"} and self.configured != 0

    @property
    def has_answered(self) -> bool:
        """Whether anything shows that answers come back: they were counted, or the kernel saw a handshake's end."""
        return bool(self.established or self.after.out_packets)

    @property
    def arrived(self) -> int:
        """How many packets for it arrived between the two readings."""
        return self.after.in_packets - self.before.in_packets

    @property
    def answered(self) -> int:
        """How many of its packets went back through the director between the two readings."""
        return self.after.out_packets - self.before.out_packets


class Answerer(msgspec.Struct, frozen=True, kw_only=True):
    """Another host that answers ARP requests for a service's address."""

    hardware: str
    server: str = ""
    """The real server that has this link-layer address; "" if none has."""


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """One virtual service, of the configuration, of the kernel's table, or of both."""

    name: str
    family: str = "ipv4"
    protocol: str = "tcp"
    address: str = ""
    """"" for a firewall mark."""
    port: int = 0
    fwmark: int = 0
    scheduler: str = ""
    is_one_packet: bool = False
    persistence_s: int = 0
    is_configured: bool = True
    is_in_table: bool = True
    is_shadow: bool = False
    """Whether the daemon writes nothing of it."""
    expects_answers: bool = False
    """Whether a check of the service shows that its servers answer: all of tcp do, and udp if a check expects it."""
    needs_conntrack: bool = False
    is_located: bool = True
    """Whether routes and neighbours were looked at. If not, none is known, which says nothing."""
    way: Way | None = None
    """The route to the service's own address."""
    local_elsewhere: bool = False
    """Whether some routing table takes packets to the address as ours, though the main one does not."""
    interface: str = ""
    """The interface on whose network the address is; "" if none."""
    leaves: tuple[str, ...] = ()
    """The interfaces by which answers to clients probably leave: that one, and the one to strangers."""
    answerers: tuple[Answerer, ...] = ()
    """Others who answer ARP requests for the address."""
    was_asked: bool = False
    """Whether such requests were sent."""
    servers: tuple[Server, ...] = ()

    @property
    def is_here(self) -> bool:
        """Whether packets to its address are taken as ours."""
        return (self.way is not None and self.way.is_local) or self.local_elsewhere

    @property
    def shown_address(self) -> str:
        """Its address and port, or its firewall mark."""
        if self.fwmark:
            return f"fwmark {self.fwmark}"
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{address}:{self.port}/{self.protocol}"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One network interface."""

    name: str
    mtu: int = 1500
    trouble: str = ""
    """What is wrong with it: "is down", "has no carrier"; "" if nothing."""
    addresses: tuple[str, ...] = ()
    """Its addresses with their prefix lengths."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A setting that is not as configured."""

    name: str
    found: str
    wanted: str


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """What the running daemon says of itself."""

    version: str = ""
    mode: str = ""
    troubles: tuple[str, ...] = ()
    """What is wrong, each with what to do."""
    advice: tuple[str, ...] = ()
    """Its advice on sysctls: "NAME is VALUE: what to do"."""
    fights: int = 0
    """How many lines of the table somebody else undoes again and again."""
    not_announced: tuple[str, ...] = ()
    """The addresses that it has taken off their interfaces, or not put there yet, so that nobody announces them."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen of the director beside the table."""

    sysctls: dict[str, str] = {}
    """Those that exist, by their dotted names."""
    links: tuple[Link, ...] = ()
    modules: tuple[str, ...] = ()
    """Those kernel modules of IPVS that are loaded."""
    installed: tuple[str, ...] | None = None
    """Those that could be loaded; None if that cannot be read."""
    vendor: str = ""
    """What the machine's firmware calls its maker: "Amazon EC2"."""
    writers: tuple[str, ...] = ()
    """Running programs that may write to the table."""
    sync_roles: tuple[str, ...] = ()
    """The sync daemons that run: "master", "backup"."""
    sync_interfaces: tuple[str, ...] = ()
    timeouts: tuple[int, int, int] | None = None
    """The timeouts of tcp, tcp_fin and udp, seconds."""
    tracked: int = 0
    tracked_most: int = 0
    """The number of tracked connections, and the most there may be; 0 if connection tracking is not loaded."""
    overflows: tuple[str, ...] = ()
    """Which of the kernel's tables were too small while the doctor looked, and what to do."""
    rules: list[dict[str, Any]] | None = None
    """The ruleset of nftables, as `nft -j list ruleset` lists it; None if it cannot be read."""
    has_legacy_rules: bool = False
    """Whether there are rules of the old iptables, which nft does not show."""
    counters_before: dict[str, int] = {}
    counters_after: dict[str, int] = {}
    """The kernel's counters of IP, ICMP and TCP (/proc/net/snmp and netstat), as "Ip.InDiscards"."""

    def risen(self, name: str) -> int:
        """Return by how much one of these counters rose between the two readings."""
        return self.counters_after.get(name, 0) - self.counters_before.get(name, 0)

    def is_on(self, name: str) -> bool | None:
        """Return whether a sysctl is not 0; None if it does not exist."""
        value = self.sysctls.get(name)
        return None if value is None else value != "0"

    def link(self, name: str) -> Link | None:
        """Return the interface of this name; None if there is none."""
        return next((each for each in self.links if each.name == name), None)


class Observations(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was seen."""

    services: tuple[Service, ...] = ()
    host: Host = Host()
    daemon: Daemon | None = None
    """None if no daemon answers."""
    daemon_error: str = ""
    """Why a daemon that runs does not answer; "" if none runs, or if it answers."""
    table_error: str = ""
    """Why the kernel's table cannot be read; "" if it can."""
    kernel: str = ""
    """The versions of IPVS and of the kernel: "IPVS 1.2.1, Linux 6.1.0-56-amd64"."""
    table: str = ""
    """The kernel's table, as `ipvsadm -Sn` writes it."""
    config_errors: tuple[str, ...] = ()
    """What is wrong with the configuration file."""
    is_shadow: bool = False
    """Whether the whole daemon is in shadow mode."""
    settings: tuple[Difference, ...] = ()
    advice: tuple[Advice, ...] = ()
    """Advice on sysctls that the daemon would give too."""
    lost_connections: dict[str, int] = {}
    """How many connections go to servers that are no longer in the table, by the service's name."""
    unseen: tuple[str, ...] = ()
    """What could not be looked at, and why."""
