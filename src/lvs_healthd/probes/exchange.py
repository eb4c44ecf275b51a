"""What a protocol must offer the engine: one conversation with a target, bytes in, bytes or an outcome out. No sockets.

A step is what a conversation answers to an event: bytes to send, an `Outcome` when it has made up its mind (the engine
then closes the socket and calls nothing more), a `Farewell` for an outcome with last words, or None to wait.
"""

import socket
from collections.abc import Callable
from typing import Protocol

import msgspec

from lvs_healthd.probes.outcome import Outcome


class Farewell(msgspec.Struct, frozen=True):
    """Bytes to send before the outcome; the connection is then closed in good order, not reset."""

    data: bytes
    outcome: Outcome


Step = bytes | Outcome | Farewell | None


class Exchange(Protocol):
    """One conversation. Every method but `expired` and `closed` may answer with any `Step`."""

    def connected(self) -> Step:
        """Begin: the connection stands (for UDP: the socket is ready to send)."""

    def received(self, data: bytes) -> Step:
        """Take `data` from the peer (never empty for TCP; one whole datagram for UDP)."""

    def closed(self) -> Outcome:
        """Judge by what has come so far: the peer closed its side of the connection."""

    def expired(self, timeout: str) -> Outcome:
        """Judge by what has come so far: the time is up; `timeout` is that time in words ("1s")."""

    def end(self) -> None:
        """Let go of whatever refers back to this conversation: it is over, and only the garbage collector would."""


class Target(msgspec.Struct, frozen=True):
    """A probe made ready to run any number of times: where to connect, for how long, and what to say there."""

    kind: socket.SocketKind
    family: socket.AddressFamily
    address: tuple[str, int]
    timeout_s: float
    """Total: from the first packet to the outcome."""
    begin: Callable[[], Exchange]


def seconds_in_words(seconds: float) -> str:
    """Spell a duration as an operator would write it: 1.0 is "1s", 0.25 is "250ms"."""
    if seconds < 1:
        return f"{seconds * 1000:g}ms"
    return f"{seconds:g}s"


def quote(data: bytes, limit: int = 40) -> str:
    """Show the start of what a peer sent, safe to print on any terminal."""
    shown = "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in data[:limit])
    return f'"{shown}"' + ("…" if len(data) > limit else "")
