"""The contract between a protocol and the engine: one conversation with a target, free of sockets.

The engine passes each event to the conversation, which answers with a step:

- bytes: send them.
- an `Outcome`: the probe is over. The engine closes the socket and makes no call after that but `end`.
- a `Farewell`: send these last bytes, if any; then the probe is over.
- a `Stays`: the probe is over, and the connection stays open for the next one (see `KeptExchange`).
- a `Reconnect`: reset the connection, and go on over a new one to the same target.
- None: wait for the next event.
"""

import enum
import socket
from collections.abc import Callable
from typing import Protocol

import msgspec

from lvs_healthd.config.check_ways import PathWay, Way
from lvs_healthd.config.secrecy import HIDDEN
from lvs_healthd.probes.outcome import Outcome, Reason


class Farewell(msgspec.Struct, frozen=True):
    """An outcome after which the connection ends in good order, because the peer's application has seen the connection.

    After a bare `Outcome` the connection is reset.
    """

    data: bytes
    """Last bytes to send."""
    outcome: Outcome
    peer_may_close: bool
    """Whether something was sent that may make the peer close first, such as QUIT."""


class Reconnect:
    """The end of a connection, but not of the probe, whose time goes on."""

    __slots__ = ("exchange",)

    def __init__(self, exchange: "Exchange") -> None:
        self.exchange = exchange
        """The conversation on the new connection. It begins with `connected`."""


class Stale(Reconnect):
    """The end of a connection that was kept, without a byte of answer: the request is repeated over a new one."""

    __slots__ = ()


class Stays(msgspec.Struct, frozen=True):
    """An outcome after which the connection stays open for the target's next probe, with the same conversation."""

    outcome: Outcome
    data: bytes = b""
    """Bytes to send now, which belong to the connection and not to the probe."""


class Sign(enum.Enum):
    """What the end of an idle connection tells. It is a reason to probe, and never a result."""

    URGENT = enum.auto()
    """It ended without a word: so ends a process that dies, and so do many healthy servers."""
    ORDERLY = enum.auto()
    """The peer's application has said that it ends the connection."""
    SPENT = enum.auto()
    """Nothing: the peer ends idle connections at this age, or we do not want this one any more."""


Step = bytes | Outcome | Farewell | Stays | Reconnect | None


class Exchange(Protocol):
    """One conversation with a target. A conversation that may use TLS inherits from `MaySecure` too."""

    def connected(self) -> Step:
        """Begin the conversation, because the connection is established. With UDP, the socket is ready to send."""

    def received(self, data: bytes) -> Step:
        """Take `data` from the peer. With TCP it is never empty; with UDP it is one whole datagram."""

    def closed(self) -> Outcome | Reconnect:
        """Return the outcome, because the peer has closed its side of the connection."""

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        """Return the outcome, because the connection has failed. It may depend on what has arrived before.

        outcome: the outcome if nothing had arrived.
        """

    def expired(self, timeout: str) -> Outcome:
        """Return the outcome, because the time is up. It may depend on what has arrived before.

        timeout: how long the probe was allowed to take, in words ("1s").
        """

    def end(self) -> None:
        """Drop all references back to this conversation, so that it is freed without the garbage collector."""


class KeptExchange(Exchange, Protocol):
    """A conversation whose connection may stay open for the next probe. It lasts as long as the connection."""

    @property
    def limit_s(self) -> float | None:
        """How long the peer says that it keeps an idle connection, seconds; None if it does not say."""

    @property
    def reads_first(self) -> bool:
        """Whether the next probe may begin only after everything that has come has been read."""

    @property
    def is_ready(self) -> bool:
        """Whether the next probe may begin, because nothing of the last one is left to come."""

    def resumed(self) -> Step:
        """Begin the next probe."""

    def ordinary(self, data: bytes) -> Outcome | None:
        """Return the outcome of a probe that passes, if these first bytes are its whole answer as nearly always.

        The connection is ready for the next probe then. None, as always from conversations that take no shortcut, means
        that `received` must be given the same bytes next. It would have done the same with them.
        """

    def idle(self, data: bytes) -> bytes | Sign | None:
        """Take what the peer sends while no probe is under way. Return what to send, or how the connection ends."""

    def idle_closed(self) -> Sign:
        """Return what it tells that the peer has closed the connection, or reset it, while no probe is under way."""


class SecureExchange(Exchange, Protocol):
    """A conversation that uses TLS."""

    def decrypted(self) -> bytes | None:
        """See `MaySecure`."""


class MaySecure:
    """A conversation whose bytes may be encrypted, so that only the conversation itself knows what it heard."""

    __slots__ = ()

    def decrypted(self) -> bytes | None:
        """Return the first bytes that came through TLS, up to `HEARD_BYTES`; None while TLS has not begun."""
        raise NotImplementedError


class SingleExchange(Exchange, Protocol):
    """A conversation that needs one connection only."""

    def closed(self) -> Outcome:
        """Return the outcome, as in `Exchange`."""

    def failed(self, outcome: Outcome) -> Outcome:
        """Return the outcome, as in `Exchange`."""


class Keeping(msgspec.Struct, frozen=True, gc=False):
    """How the connection of a target's probes is kept. Times are seconds."""

    interval_s: float
    """How often the target is probed."""
    reconnect_s: float
    """How long a connection is used."""
    confirm_s: float
    """How soon the next probe follows one that has confirmed an early warning."""
    confirms: int
    """How many more probes follow, at most, so soon."""
    look_s: float | None = None
    """How often a bare connection looks whether the target still listens; None if never, because the connections of
    probes are new that often anyway."""
    is_watch: bool = False
    """Whether the connection is kept for its end only. Then each probe has a new one."""


class Target(msgspec.Struct, frozen=True, gc=False):
    """A probe that is ready to run any number of times: where to connect, how much time it has, and what to say."""

    kind: socket.SocketKind
    family: socket.AddressFamily
    address: tuple[str, int] | str
    """The address and port; for a Unix socket its path."""
    timeout_s: float
    """The time allowed from the first packet to the outcome, seconds."""
    begin: Callable[[], Exchange]
    """Begins one conversation."""
    protocol: int = 0
    """The number of the IP protocol; 0 for TCP with a stream socket, for UDP with a datagram socket, and for a Unix
    socket."""
    apart: bool = False
    """Whether its socket serves one probe only: it is no TCP or UDP socket, has a way of its own, or takes answers from
    any port."""
    way: Way | PathWay | None = None
    """Where the probe leaves; None for what the routing table says."""
    hidden: Callable[[], tuple[bytes, ...]] = tuple
    """Returns the parts of secrets that the target may repeat, and that nobody may see."""
    any_port: bool = False
    """Whether the answer may come from another port of the address."""
    keeping: Keeping | None = None
    """How its connection is kept from one probe to the next; None if each probe has its own."""


MOST_DATAGRAMS = 100
"""The maximum number of datagrams that a probe looks at before the expected one comes. Healthy servers send one or two
first, such as SIP's 100 Trying. A server that sends more would make other probes late."""


def seconds_in_words(seconds: float) -> str:
    """Spell a duration as an operator would write it: 1.0 is "1s", 0.25 is "250ms"."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds:g}s"


def what_happened(outcome: Outcome) -> str:
    """Return a failure of the connection in words that can end a sentence, such as "the connection was reset"."""
    return "the connection was reset" if outcome.reason is Reason.RESET else outcome.detail


_LOOKED_AT = 4096
"""How many bytes of an answer are searched for secrets. Many more than are quoted."""

_SHORTEST = 2
"""How many bytes at the end of a cut answer may be the beginning of a secret by chance."""


def quote(data: bytes | bytearray, limit: int = 40, *, hidden: tuple[bytes, ...] = ()) -> str:
    """Show the start of what a peer sent, safe to print on any terminal.

    hidden: parts of secrets, which are not shown: a peer may repeat what it was sent.
    """
    data = bytes(data[:_LOOKED_AT])
    for part in hidden:
        data = data.replace(part, HIDDEN.encode())
        # The end of what has arrived may be the beginning of a part.
        arrived = next((length for length in range(len(part) - 1, _SHORTEST, -1) if data.endswith(part[:length])), 0)
        if arrived:
            data = data[:-arrived] + HIDDEN.encode()
    shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in data[:limit])
    return f'"{shown}"' + ("…" if len(data) > limit else "")
