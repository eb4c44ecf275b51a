"""A TLS server without a socket."""

import contextlib
import ssl

import trustme


def tls_context(authority: trustme.CA, *, tls13: bool = True) -> ssl.SSLContext:
    """Return the context of servers on loopback."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.maximum_version = ssl.TLSVersion.TLSv1_3 if tls13 else ssl.TLSVersion.TLSv1_2
    return context


class Server:
    """A TLS server that answers each request."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)
        self.asked = b""
        self._is_shaken = False

    def heard(self, data: bytes) -> bytes:
        """Take bytes. Return those of the answer."""
        self._in.write(data)
        try:
            if not self._is_shaken:
                self.tls.do_handshake()
                self._is_shaken = True
            while data := self.tls.read(65536):
                self.asked += data
        except ssl.SSLWantReadError:
            pass
        return self._out.read()

    def says(self, data: bytes) -> bytes:
        self.tls.write(data)
        return self._out.read()

    def leaves(self) -> bytes:
        """Return close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._out.read()
