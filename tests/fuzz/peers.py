"""The peers that conversations talk to while they are fuzzed: one without TLS, and one with real TLS in memory."""

import contextlib
import ssl
from collections.abc import Callable, Iterable, Iterator

from tests.fuzz.control import Control, cut, pieces
from tests.fuzz.conversation import CLOSED_IN_ORDER

_READ_SIZE = 65536
_CLIENT_HELLO = b"\x16\x03"
"""How the first record of a TLS client begins (RFC 8446, section 5.1)."""

INSIDE_TLS, INSTEAD_OF_TLS, WITHIN_HANDSHAKE = range(3)
"""Where the peer's answer goes: through TLS, in place of TLS, or into the middle of the server's handshake."""

Fit = Callable[[bytes, bytes, Control], bytes]
"""Makes an answer fit to what was asked: what the conversation has sent, the input's answer, and its control."""


def as_it_is(_asked: bytes, answer: bytes, _control: Control) -> bytes:
    """Return the answer of an input as it is."""
    return answer


class PlainPeer:
    """A peer without TLS."""

    def __init__(self, answer: bytes, control: Control, fit: Fit = as_it_is) -> None:
        self._answer = answer
        self._control = control
        self._fit = fit
        self._asked = b""

    def heard(self, data: bytes) -> Iterable[bytes]:
        """Remember what was asked."""
        self._asked += data
        return ()

    def said(self) -> Iterator[bytes]:
        """Yield the pieces of the answer."""
        return pieces(self._fit(self._asked, self._answer, self._control), self._control)

    def last(self, ending: int) -> Iterable[bytes]:  # there is no end in good order without TLS
        """Yield nothing."""
        return ()


class TlsPeer:
    """A peer whose TLS begins at once, or after a few words.

    words: what it says before TLS, each in a piece of its own.
    """

    def __init__(
        self, context: ssl.SSLContext, answer: bytes, control: Control, fit: Fit, words: tuple[bytes, ...] = ()
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._answer = answer
        self._control = control
        self._fit = fit
        self._words = words
        self._where = (INSIDE_TLS, INSIDE_TLS, INSTEAD_OF_TLS, WITHIN_HANDSHAKE)[control.manner >> 6]
        self._asked = b""
        self._has_begun = self._is_ready = False

    def heard(self, data: bytes) -> Iterator[bytes]:
        """Take a part of the handshake, or of what is asked inside TLS. Yield the rest of the handshake."""
        if not self._has_begun:
            start = data.find(_CLIENT_HELLO)
            if start < 0 or self._where == INSTEAD_OF_TLS:
                return
            self._has_begun, data = True, data[start:]
        self._incoming.write(data)
        with contextlib.suppress(ssl.SSLError):  # it wants more, or the fuzzed handshake has failed
            if not self._is_ready:
                self._tls.do_handshake()
                self._is_ready = True
            while asked := self._tls.read(_READ_SIZE):
                self._asked += asked
        flight = self._outgoing.read()
        if self._where == WITHIN_HANDSHAKE:
            middle = self._control.begin * len(flight) // 256
            flight = flight[:middle] + self._answer + flight[middle + len(self._answer) * (self._control.length & 1) :]
        yield from cut(flight, self._control)

    def said(self) -> Iterator[bytes]:
        """Yield the words before TLS, then the pieces of the answer, each in a record of its own."""
        if self._where == INSTEAD_OF_TLS:
            yield from (*self._words, *pieces(self._answer, self._control))
            return
        yield from self._words
        if not self._is_ready:
            return
        for piece in pieces(self._fit(self._asked, self._answer, self._control), self._control):
            self._tls.write(piece)
            yield self._outgoing.read()

    def last(self, ending: int) -> Iterator[bytes]:
        """Yield the end of TLS if it ends in good order."""
        if ending == CLOSED_IN_ORDER and self._is_ready:
            with contextlib.suppress(ssl.SSLError):  # it wants the conversation's own end
                self._tls.unwrap()
            if end := self._outgoing.read():
                yield end
