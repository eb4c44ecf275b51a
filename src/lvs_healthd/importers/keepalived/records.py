"""What keepalived.conf says, as keepalived holds it. Times are in microseconds; None is what has not been set."""

import msgspec

from lvs_healthd.importers.account import Place
from lvs_healthd.importers.keepalived.blocks import Node
from lvs_healthd.importers.keepalived.words import Address

SECOND = 1_000_000
"""Microseconds in a second."""


class Forward(msgspec.Struct, frozen=True):
    """How packets are forwarded."""

    method: str
    """`NAT`, `DR` or `TUN`."""
    tunnel: str = "ipip"
    port: int = 0
    checksum: str = "nocsum"


class Script(msgspec.Struct, frozen=True):
    """A program that keepalived calls."""

    words: tuple[str, ...]
    node: Node
    user: tuple[str, ...] = ()
    """User and group, if they are given."""


class Pace(msgspec.Struct):
    """When something is checked. Each key that is not set comes from the level above."""

    delay_loop: int | None = None
    retry: int | None = None
    delay_before_retry: int | None = None
    connect_timeout: int | None = None
    alpha: bool | None = None

    def completed(self, above: "Pace") -> None:
        """Take what is not set from the level above."""
        for name in self.__struct_fields__:
            if getattr(self, name) is None:
                setattr(self, name, getattr(above, name))


class Url(msgspec.Struct):
    """A request of HTTP_GET or SSL_GET."""

    node: Node
    path: str = ""
    host: str = ""
    digest: str = ""
    statuses: list[tuple[int, int]] = msgspec.field(default_factory=list)
    """Ranges of statuses, both ends included."""
    regex: str = ""
    regex_node: Node | None = None
    is_absent: bool = False
    """Whether the expression must not match."""
    options: set[str] = msgspec.field(default_factory=set)
    not_carried: list[Node] = msgspec.field(default_factory=list)
    """Settings of the regular expression that count only if there is one."""


class Udp(msgspec.Struct):
    """What UDP_CHECK sends and wants."""

    payload: str = ""
    """In hexadecimal."""
    is_required: bool = False
    reply: str = ""
    """In hexadecimal, `?` for any digit."""
    reply_node: Node | None = None
    least: int = 0
    most: int = 255
    """How long a reply may be, bytes."""


class Checker(msgspec.Struct):
    """One check of a real server."""

    kind: str
    """Its keyword, such as `TCP_CHECK`."""
    node: Node
    pace: Pace = msgspec.field(default_factory=Pace)
    address: Address | None = None
    """Where the probe goes; None if the check says nothing."""
    port: int = 0
    """0 if the check says nothing."""
    family: int = 0
    """4 or 6: that of the address that is probed."""
    source: str = ""
    source_family: int = 0
    interface: str = ""
    mark: int = 0
    # HTTP_GET and SSL_GET
    urls: list[Url] = msgspec.field(default_factory=list)
    host: str = ""
    protocol: str = "1.0"
    has_sni: bool = False
    # MISC_CHECK
    command: tuple[str, ...] = ()
    command_node: Node | None = None
    misc_timeout: int = 0
    is_dynamic: bool = False
    # DNS_CHECK
    query: str = ""
    query_type: str = "SOA"
    # SMTP_CHECK
    helo: str = ""
    # UDP_CHECK
    udp: Udp = msgspec.field(default_factory=Udp)
    # FILE_CHECK
    track_file: str = ""
    file_weight: int | None = None


class RealServer(msgspec.Struct):
    """A real server."""

    node: Node
    address: Address
    written_port: int
    """The port in the file, where checks go; 0 if there is none."""
    port: int
    """The port in the table."""
    weight: int | None = None
    forward: Forward | None = None
    upper_threshold: int = 0
    lower_threshold: int = 0
    inhibit: bool | None = None
    host: str = ""
    pace: Pace = msgspec.field(default_factory=Pace)
    notify_up: Script | None = None
    notify_down: Script | None = None
    smtp_alert: bool | None = None
    checkers: list[Checker] = msgspec.field(default_factory=list)


class Sorry(msgspec.Struct):
    """A sorry server."""

    node: Node
    address: Address
    port: int
    forward: Forward | None
    inhibit_node: Node | None = None


class Entry(msgspec.Struct, frozen=True):
    """One entry of a group: a range of addresses with a port, or a mark."""

    node: Node
    first: Address | None = None
    last: Address | None = None
    port: int = 0
    fwmark: int = 0
    family: str = ""


class VirtualServer(msgspec.Struct):
    """A virtual server, or several with the same settings."""

    node: Node
    address: Address | None = None
    port: int = 0
    fwmark: int | None = None
    group: str = ""
    entries: list[Entry] = msgspec.field(default_factory=list)
    """The entries of its group."""
    family: int = 0
    """4 or 6; 0 while it is not known."""
    protocol: str = ""
    unknown_protocol: Node | None = None
    scheduler: str = ""
    flags: list[str] = msgspec.field(default_factory=list)
    ops_node: Node | None = None
    forward: Forward | None = None
    persistence_s: int = 0
    mask: str = ""
    """The mask of IPv4 or the prefix length of IPv6; "" for single addresses."""
    mask_node: Node | None = None
    engine: str = ""
    engine_node: Node | None = None
    inhibit: bool = False
    host: str = ""
    weight: int = 1
    quorum: int = 1
    hysteresis: int = 0
    omega: Node | None = None
    suspend: Node | None = None
    """`ha_suspend`: nothing is checked while this host does not have the address."""
    pace: Pace = msgspec.field(default_factory=Pace)
    quorum_up: Script | None = None
    quorum_down: Script | None = None
    smtp_alert: bool | None = None
    sorry: Sorry | None = None
    servers: list[RealServer] = msgspec.field(default_factory=list)


class TrackFile(msgspec.Struct):
    """A file whose number keepalived follows."""

    node: Node
    file: str = ""
    weight: int = 0


class Mail(msgspec.Struct):
    """What keepalived says of its mails."""

    to: list[str] = msgspec.field(default_factory=list)
    sender: str = ""
    is_sender_made: bool = False
    """Whether the sender comes from the host's name."""
    relay: str = ""
    timeout_s: int = 0
    """Seconds; 0 if it is not given."""
    defaults: dict[str, bool | None] = msgspec.field(default_factory=dict)
    """Whether servers are mailed about that say nothing, by keyword."""
    nodes: list[Node] = msgspec.field(default_factory=list)
    is_sent: bool = False
    """Whether mails about servers are sent at all."""


class Configuration(msgspec.Struct):
    """All that a keepalived.conf says about services."""

    servers: list[VirtualServer] = msgspec.field(default_factory=list)
    groups: dict[str, list[Entry]] = msgspec.field(default_factory=dict)
    files: dict[str, TrackFile] = msgspec.field(default_factory=dict)
    certificate: str = ""
    key: str = ""
    ssl_places: list[Place] = msgspec.field(default_factory=list)
    mail: Mail = msgspec.field(default_factory=Mail)
    fifos: list[Node] = msgspec.field(default_factory=list)
    general: dict[str, object] = msgspec.field(default_factory=dict)
    """Keys of other tables than services."""
