"""The header of the PROXY protocol, for servers that accept no connection without one. Sans-I/O.

https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt. Both headers say that the sender speaks for itself and for
no client, which the protocol has for health checks. So they contain no addresses, and the server takes those of the
connection.
"""

from collections.abc import Callable

from lvs_healthd.probes.exchange import Exchange, Farewell, KeptExchange, MaySecure, Reconnect, Sign, Stays, Step
from lvs_healthd.probes.outcome import Outcome

HEADERS = {
    1: b"PROXY UNKNOWN\r\n",
    2: b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00",
}
"""The header of each version. Version 2 consists of the signature, the version with the command LOCAL, no address
family and the length of what follows: nothing."""


def with_proxy_header(version: int, begin: Callable[[], Exchange], *, is_kept: bool = False) -> Callable[[], Exchange]:
    """Return a factory of conversations that begin with the header.

    version: of the protocol; 0 for no header.
    begin: begins the conversation that follows.
    is_kept: whether that conversation is a `KeptExchange`.
    """
    header = HEADERS.get(version)
    kind = _KeptAfterHeader if is_kept else _AfterHeader
    return begin if header is None else lambda: kind(header, begin())


class _AfterHeader(MaySecure):
    """A conversation that sends a header first, and then is like another one."""

    __slots__ = ("_header", "_inner")

    def __init__(self, header: bytes, inner: Exchange) -> None:
        self._header = header
        self._inner = inner

    def connected(self) -> Step:
        step = self._inner.connected()
        match step:
            case None:
                return self._header
            case Reconnect() | Stays():
                raise AssertionError("a conversation that ends before it begins")
            case bytes():
                return self._header + step
            case Farewell(data=data, outcome=outcome):
                return Farewell(self._header + data, outcome, step.peer_may_close)
            case Outcome():
                # The server's application now hears of the connection, so it ends in good order.
                return Farewell(self._header, step, peer_may_close=True)

    def received(self, data: bytes) -> Step:
        step = self._inner.received(data)
        return self._again(step) if isinstance(step, Reconnect) else step

    def closed(self) -> Outcome | Reconnect:
        step = self._inner.closed()
        return self._again(step) if isinstance(step, Reconnect) else step

    def failed(self, outcome: Outcome) -> Outcome | Reconnect:
        step = self._inner.failed(outcome)
        return self._again(step) if isinstance(step, Reconnect) else step

    def expired(self, timeout: str) -> Outcome:
        return self._inner.expired(timeout)

    def decrypted(self) -> bytes | None:
        return self._inner.decrypted() if isinstance(self._inner, MaySecure) else None

    def end(self) -> None:
        self._inner.end()

    def _again(self, step: Reconnect) -> Reconnect:
        """Begin the new connection with the header too."""
        return type(step)(type(self)(self._header, step.exchange))


class _KeptAfterHeader(_AfterHeader):
    """The same for a connection that stays open from one probe to the next. The header comes once."""

    __slots__ = ()

    _inner: KeptExchange

    @property
    def limit_s(self) -> float | None:
        return self._inner.limit_s

    @property
    def reads_first(self) -> bool:
        return self._inner.reads_first

    @property
    def is_ready(self) -> bool:
        return self._inner.is_ready

    def resumed(self) -> Step:
        return self._inner.resumed()

    def ordinary(self, data: bytes) -> Outcome | None:
        return self._inner.ordinary(data)

    def idle(self, data: bytes) -> bytes | Sign | None:
        return self._inner.idle(data)

    def idle_closed(self) -> Sign:
        return self._inner.idle_closed()
