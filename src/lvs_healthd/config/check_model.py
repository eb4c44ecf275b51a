"""The records of checks, their defaults, and the reason for each default. `model` says what holds for all records."""

import enum
from typing import TypeGuard

import msgspec

from lvs_healthd.config.basics import Endpoint, Protocol, Seconds
from lvs_healthd.config.check_ways import DataPath, PathWay, Way


class Convention(enum.StrEnum):
    """What the exit status of a program means.

    `nagios`: 0 (OK) and 1 (WARNING) pass, 3 (UNKNOWN) is unsure, all others fail. `mon` and `keepalived`: 0 passes, all
    others fail. With `mon` the server's address is appended to the arguments, and there are more variables.
    """

    NAGIOS = "nagios"
    MON = "mon"
    KEEPALIVED = "keepalived"


class Per(enum.StrEnum):
    """For whom a program runs: for each server, or once for all servers of a service that have the check."""

    SERVER = "server"
    GROUP = "group"


class MonNames(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a program with mon's convention is told that it is about. The checks of a service share one record."""

    group: str
    """The virtual service's name, for MON_GROUP."""
    service: str
    """The check's name, for MON_SERVICE."""


class Carrier(enum.StrEnum):
    """What carries a question: a datagram, a TCP connection, or TLS."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class Tls(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How the probes of a check use TLS. Its fields are keys of the check.

    Checks with the same keys share one record.
    """

    sni: str = ""
    """Server name to request and to verify. Empty: no name is requested, and the certificate must be valid for the
    probed `address`."""
    verify: bool = True
    """Verify the certificate's chain, name and dates. keepalived never verifies certificates, but an expired one is an
    outage for clients."""
    ca: str = ""
    """PEM file of trusted certificates. Default: the system's trusted certificates."""
    client_cert: str = ""
    """PEM file of the certificate to present if the server asks for one, and of intermediates. Default: none."""
    client_key: str = ""
    """PEM file of its private key. Default: the key is in `client_cert` too."""
    min_tls: str = "1.2"
    """The lowest version of TLS to accept. 1.2 is the default of OpenSSL, browsers and curl."""
    alpn: tuple[str, ...] | None = None
    """The protocols to offer (RFC 7301), of which the server must select one.

    None: those that the type of check speaks, and a server need not select any of them.
    """
    expires_within: Seconds = Seconds(14 * 86400.0)
    """So long before a certificate ends, the daemon remarks on it; 0 for never. In two weeks, there is a working day on
    which somebody can renew it. Authorities that renew by themselves do so earlier (Let's Encrypt: 30 days before)."""
    expires_fail: Seconds = Seconds(0.0)
    """So long before a certificate ends, the check fails; 0 for never."""


class Connection(enum.StrEnum):
    """Whether each probe has a connection of its own, or the one of the last probe."""

    NEW = "new"
    KEEP = "keep"


class Kept(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How the probes of a check with `connection = "keep"` keep it. Its fields are keys of the check.

    Checks with the same keys share one record.
    """

    reconnect: Seconds = Seconds(60.0)
    """How long a connection is used. A new one finds what only a beginning shows, such as another certificate. A minute
    costs next to nothing. Over HTTP without TLS it is ten seconds at most, because a new connection is cheap there."""
    confirm_interval: Seconds = Seconds(0.05)
    """How soon the next probe follows one that confirms an early warning. A process that ends closes its port within so
    long of its connections, or little more (Varnish: 130 ms)."""


class Check(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The fields that every check has."""

    name: str
    """Identifies the check in logs and on reload; unique within a server. Default: the check's type."""
    interval: Seconds = Seconds(2.0)
    """Time from the start of one probe to the start of the next. 2 s is the default of HAProxy's `inter`: failures are
    detected within seconds, and nobody notices the load."""
    fast_interval: Seconds = Seconds(0.0)
    """The same while the verdict is in doubt: some failures, but fewer than `fall`, or some passes, but fewer than
    `rise`. 0 stands for `interval`; never 0 after loading (see `config.paces`)."""
    down_interval: Seconds = Seconds(0.0)
    """The same while the check is down and does not pass. 0 stands for `interval`; never 0 after loading."""
    timeout: Seconds = Seconds(1.0)
    """The longest that a whole probe may take, from its first packet to its outcome. 1 s is shorter than the interval,
    and leaves time for one SYN to be sent again."""
    rise: int = 2
    """How many probes must pass in succession before a server that is down counts as up. The default is more than one,
    because a single pass may be luck."""
    fall: int = 3
    """How many probes must fail in succession before a server that is up counts as down. The default is more than one,
    because a single packet may get lost."""
    address: str
    """Address to probe. Default: the real server's own."""
    port: int
    """Port to probe. Default: the real server's own."""
    way: Way | PathWay | None = None
    """Where probes leave; None for what the routing table says. Checks with the same keys share one record."""


class HttpCheck(Check, frozen=True, kw_only=True, gc=False, tag_field="type", tag="http"):
    """A check that sends an HTTP request.

    It passes when the status is accepted and the answer meets every condition that is set, such as `body`.
    """

    kept: Kept | None = None
    """How the connection is kept from one probe to the next; None for a new one each time."""
    proxy_protocol: int = 0
    """Version of the PROXY protocol (1 or 2) with whose header the connection begins; 0 for none."""
    method: str = "GET"
    """The method of the request."""
    path: str = "/"
    """The path to ask for, with or without a query."""
    http_version: str = "1.1"
    """Version of the request. "1.0" is for servers that understand no other; it has a Host header all the same. "2" is
    selected by ALPN in TLS, and in cleartext the server must know it (RFC 9113, section 3.3)."""
    host: str = ""
    """The Host header; never empty after loading.

    Default: the virtual service's address as a client would send it, with the port unless it is the scheme's default.
    A service with a firewall mark has no address, so its default is the probed address.
    """
    headers: tuple[tuple[str, str], ...] = ()
    """Additional request headers, written in the file as a table."""
    send_body: str = ""
    """Text to send as the request's body. Its type is a header of its own, because no default suits all servers."""
    user: str = ""
    """User name to authenticate with (Basic, RFC 7617); the password is in `password_file`."""
    password_file: str = ""
    """File with the password of `user`. Secrets have files of their own, so that the configuration can be shown."""
    token_file: str = ""
    """File with a bearer token to authenticate with (RFC 6750). Excludes `password_file`."""
    redirects: int = 0
    """How many redirects are followed, on the same connection only. By default a 301 is judged as any other status."""
    websocket: bool = False
    """Open a WebSocket (RFC 6455) and close it. The status is then 101 and no other."""
    status: tuple[tuple[int, int], ...] = ((200, 299),)
    """Accepted ranges of status codes, both ends included, written in the file as ["200-299", "301"]."""
    expect_headers: tuple[tuple[str, str], ...] = ()
    """Headers that the answer must have, with exactly these values; written in the file as a table."""
    expect_headers_regex: tuple[tuple[str, str], ...] = ()
    """Headers that the answer must have, with values in which these regular expressions (RE2) match."""
    body: str = ""
    """Text the body must contain."""
    body_regex: str = ""
    """Regular expression (RE2) that must match somewhere in the body. Excludes `body`."""
    absent: str = ""
    """Text the body must not contain, such as an error message on a page whose status is good all the same."""
    absent_regex: str = ""
    """Regular expression (RE2) that must match nowhere in the body. Excludes `absent`."""
    json: tuple[tuple[str, str], ...] = ()
    """Fields that the body must have as a JSON document: each field's path, and its value as JSON."""
    digest: str = ""
    """Digest that the whole body must have: "sha256:…" or "md5:…" in lower case."""
    max_body: int = 65536
    """How many bytes of the body are examined at most. 64 KiB is enough for health pages."""
    requests: "tuple[HttpCheck | HttpsCheck, ...]" = ()
    """Requests that are sent one after another instead of the one above, each with all its values, and an answer that
    is judged by them. They have no `name`, `address` and `port` of their own. Empty for one request."""


class HttpsCheck(HttpCheck, frozen=True, kw_only=True, gc=False, tag="https"):
    """An HTTP check over TLS, which also verifies the server's certificate."""

    tls: Tls = Tls()
    """Its `sni` is by default the name in `host`. It is empty when `host` is an IP address and the file does not set
    `sni`, because RFC 6066 does not allow addresses as names."""


class ConversationStep(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One step of a conversation. Exactly one of its fields is set."""

    send: bytes = b""
    """Bytes to send, written in the file as text (`send`) or in hexadecimal (`send_hex`)."""
    expect: bytes = b""
    """Bytes that must come, written in the file as text (`expect`) or in hexadecimal (`expect_hex`)."""
    expect_regex: str = ""
    """Regular expression (RE2) that must match. An `expect_hex` with wildcards is stored as one."""
    starttls: bool = False
    """Begin TLS. As the first step, the connection is encrypted from its start."""

    @property
    def expects(self) -> bool:
        """Whether the step waits for something."""
        return bool(self.expect or self.expect_regex)


class StreamCheck(Check, frozen=True, kw_only=True, gc=False):
    """The fields that tcp and udp checks share: a conversation, in steps or in the short form `send` and `expect`."""

    send: bytes = b""
    """Bytes to send, written in the file as text (`send`) or in hexadecimal (`send_hex`)."""
    expect: bytes = b""
    """Bytes that the answer must contain, written in the file as text (`expect`) or in hexadecimal (`expect_hex`)."""
    expect_regex: str = ""
    """Regular expression (RE2) that must match somewhere in the answer's bytes. Excludes `expect`."""
    max_answer: int = 65536
    """How many bytes of an answer are searched at most for `expect` or `expect_regex`."""
    steps: tuple[ConversationStep, ...] = ()
    """The conversation step by step. Excludes the short form."""

    @property
    def is_silent(self) -> bool:
        """Whether the check expects no answer."""
        return not self.expect and not self.expect_regex and not any(step.expects for step in self.steps)


class TcpCheck(StreamCheck, frozen=True, kw_only=True, gc=False, tag_field="type", tag="tcp"):
    """A check that opens a TCP connection, and exchanges data if `send`, `expect…` or `steps` is set."""

    kept: Kept | None = None
    """How one more connection is held between the probes, only for its end; None for none."""

    proxy_protocol: int = 0
    """Version of the PROXY protocol (1 or 2) with whose header the connection begins; 0 for none."""
    tls: Tls = Tls()
    """What holds once a step begins TLS."""


class UdpCheck(StreamCheck, frozen=True, kw_only=True, gc=False, tag_field="type", tag="udp"):
    """A check that sends a datagram. It fails when the answer is an ICMP unreachable message.

    A check that expects nothing passes when nothing comes back. It has defaults of its own: `SILENT_TIMEOUT` and
    `SILENT_INTERVAL`.
    """

    any_port: bool = False
    """Whether the answer may come from another port of the address, as that of TFTP does. What follows goes there."""


class DnsCheck(Check, frozen=True, kw_only=True, gc=False, tag_field="type", tag="dns"):
    """A check that asks a DNS server, and looks at the answer code and the records."""

    query: str = ""
    """The name to ask for; never empty after loading."""
    query_type: str = "A"
    """The type of record to ask for. A is the default of dig."""
    over: Carrier = Carrier.UDP
    """What carries the query. TLS is DoT (RFC 7858)."""
    rcode: tuple[str, ...] = ("NOERROR",)
    """Accepted answer codes, by their names (RFC 6895). SERVFAIL and REFUSED are answers, but no service."""
    recursion: bool = True
    """Ask the server to find the answer elsewhere if it does not know it (the flag RD), as clients and dig do."""
    authoritative: bool = False
    """Whether the answer must be authoritative (the flag AA), which proves that the server has loaded the zone."""
    answer: str = ""
    """Text that one of the records must contain, in the form in which zone files write records."""
    min_answers: int = 1
    """How many records of the type an answer with the code NOERROR must have. Without any, clients find nothing."""
    tls: Tls = Tls()
    """What holds if `over` is TLS."""


class GrpcCheck(Check, frozen=True, kw_only=True, gc=False, tag_field="type", tag="grpc"):
    """A check that asks the health service of a gRPC server (grpc.health.v1), and passes if the answer is SERVING."""

    proxy_protocol: int = 0
    """Version of the PROXY protocol (1 or 2) with whose header the connection begins; 0 for none."""
    service: str = ""
    """The name of the service to ask for. Empty: the server as a whole."""
    authority: str = ""
    """The host and port of the request; never empty after loading. Default: the virtual service's address and port, or
    the probed ones for a service with a firewall mark."""
    over: Carrier = Carrier.TCP
    """What carries the request: TCP or TLS."""
    tls: Tls = Tls()
    """What holds if `over` is TLS. Its `sni` is by default the name in `authority`, as in https checks."""


class SctpCheck(Check, frozen=True, kw_only=True, gc=False, tag_field="type", tag="sctp"):
    """A check that sets up an SCTP association (RFC 9260), and aborts it."""


class PingCheck(Check, frozen=True, kw_only=True, gc=False, tag_field="type", tag="ping"):
    """A check that sends an ICMP echo request. It shows that the host is there, and nothing about its services.

    Its `port` is always 0.
    """


class ExecCheck(Check, frozen=True, kw_only=True, gc=False, tag_field="type", tag="exec"):
    """A check that runs a program, and takes its exit status for the outcome."""

    command: tuple[str, ...] = ()
    """The program's absolute path and its arguments; never empty after loading. `{address}` and `{port}` in them stand
    for what is probed. There is no shell."""
    convention: Convention = Convention.KEEPALIVED
    """What the exit status means, and which arguments the program gets. Required in the file: if the default were
    `nagios`, a script that fails with status 1 would pass."""
    per: Per = Per.SERVER
    """Whether one run is for one server or for all. With all, the program says who failed, as those of mon do."""
    dynamic_weight: bool = False
    """Whether an exit status above 1 is a pass that asks for the weight 2 less, as with keepalived's misc_dynamic."""
    environment: tuple[tuple[str, str], ...] = ()
    """Variables that the program gets beside the usual ones, written in the file as a table."""
    helper: str = ""
    """Path of the Unix socket of the process that runs the program; not a key of checks."""
    mon: MonNames | None = None
    """What a program with mon's convention is told; None with another one. Not a key of checks."""
    servers: tuple[Endpoint, ...] = ()
    """The servers that one run is for, if it is not for `address` and `port`; not a key of checks."""


class AgentCheck(Check, frozen=True, kw_only=True, gc=False, tag_field="type", tag="agent"):
    """A check that listens to an agent on the real server, which says how the server is and which weight it wants.

    An agent that is silent says nothing against its server: what it said last stands. So a server also needs a check
    that notices its death. `rise` and `fall` are 1 by default, because an agent does not err by chance.
    """

    rise: int = 1
    fall: int = 1
    send: bytes = b""
    """Bytes to send first, such as a name for an agent that speaks for several services."""
    path: str = ""
    """Path to ask for over HTTP, where the body of the answer is the line. "": over plain TCP. Excludes `send`."""
    host: str = ""
    """The Host header, over HTTP. Default: the probed address, with the port unless it is 80."""


EXEC_TIMEOUT = Seconds(5.0)


EXEC_INTERVAL = Seconds(10.0)
"""Defaults of an exec check. To run a program costs as much as thirty http probes, and many a program is slow."""


SILENT_TIMEOUT = Seconds(4.0)
"""Default and minimum timeout of a udp check that expects nothing. The kernel asks three times, a second apart, for the
hardware address of a host on its own network (`mcast_solicit`, `retrans_time_ms`), before it reports the host as
unreachable. A shorter timeout would make a host that does not exist count as up."""


SILENT_INTERVAL = Seconds(5.0)
"""Default interval of a udp check that expects nothing. Each probe of a healthy server takes its whole timeout."""


AnyCheck = (
    HttpCheck | HttpsCheck | TcpCheck | UdpCheck | DnsCheck | GrpcCheck | SctpCheck | PingCheck | ExecCheck | AgentCheck
)


TlsCheck = HttpsCheck | TcpCheck | DnsCheck | GrpcCheck
"""The checks that can use TLS."""


def uses_tls(check: Check) -> TypeGuard[TlsCheck]:
    """Return whether a check uses TLS, so that its `tls` matters."""
    match check:
        case HttpsCheck():
            return True
        case TcpCheck():
            return any(step.starttls for step in check.steps)
        case DnsCheck() | GrpcCheck():
            return check.over is Carrier.TLS
        case _:
            return False


def kept(check: Check) -> Kept | None:
    """Return how the connection of a check's probes is kept; None if each probe has its own."""
    return check.kept if isinstance(check, HttpCheck | TcpCheck) else None


def data_path(check: Check) -> DataPath | None:
    """Return the way of the clients' packets that a check with `through = "vip"` takes; None for any other check."""
    return check.way.path if isinstance(check.way, PathWay) else None


def transport(check: Check) -> Protocol | None:
    """Return the transport that carries a check's probes; None for ICMP, and for a program that decides itself."""
    match check:
        case PingCheck() | ExecCheck():
            return None
        case SctpCheck():
            return Protocol.SCTP
        case UdpCheck() | DnsCheck(over=Carrier.UDP):
            return Protocol.UDP
        case _:
            return Protocol.TCP
