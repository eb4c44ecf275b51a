"""A datagram socket whose peer may answer from another port, as TFTP servers do (RFC 1350, section 4)."""

import _socket
import socket


class AnyPort(_socket.socket):
    """A socket that is connected only once its peer has answered: to the port that the answer came from.

    Until then, datagrams from other addresses are passed over. The kernel reports ICMP errors all the same, because the
    socket has IP_RECVERR.
    """

    __slots__ = ("_answered", "_peer")

    def connect_ex(self, address: tuple[str, int], /) -> int:  # type: ignore[override]  # it has this form only
        """Note where to send the first datagram. Return 0: what the routing table says shows when it is sent."""
        self._peer = address
        self._answered = False
        return 0

    def send(self, data: bytes, /) -> int:  # type: ignore[override]  # no flags are ever passed
        """Send a datagram to the port that has answered, or to the first one. Raises `OSError`."""
        return super().send(data) if self._answered else self.sendto(data, self._peer)

    def recv(self, size: int, /) -> bytes:  # type: ignore[override]  # no flags are ever passed
        """Return the next datagram of the peer.

        Raises `OSError`: `BlockingIOError` when none is there, `InterruptedError` for one of another address.
        """
        if self._answered:
            return super().recv(size)
        data, sender = self.recvfrom(size)
        if _packed(self.family, sender[0]) != _packed(self.family, self._peer[0]):
            raise InterruptedError
        self.connect(sender)
        self._answered = True
        return data


def _packed(family: int, address: str) -> bytes:
    """Return the bytes of an address, which may be written in several ways, without its zone."""
    return socket.inet_pton(family, address.partition("%")[0])
