"""Asks servers for their TLS certificates, as a client does, and verifies nothing. It blocks, `PATIENCE_S` at most."""

import contextlib
import errno
import selectors
import socket
import ssl
import time
from collections.abc import Iterable
from typing import NamedTuple

from lvs_healthd.probes.certificate import read_names

PATIENCE_S = 3.0
"""How long handshakes may take, seconds, all of them together. Without emulation they take milliseconds."""


class TlsQuestion(NamedTuple):
    """A handshake with one server."""

    service: str
    """The service's name."""
    server: str
    """The server's name, as in `Server.name`."""
    address: str
    port: int
    sni: str
    """The name that is asked for; "" for none."""


def presented(questions: Iterable[TlsQuestion]) -> dict[TlsQuestion, tuple[str, ...]]:
    """Return the names in the certificate of each server that showed one."""
    found: dict[TlsQuestion, tuple[str, ...]] = {}
    end = time.monotonic() + PATIENCE_S
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for question in questions:
            with contextlib.suppress(OSError):  # no such family, or no descriptor
                opened = stack.enter_context(_connecting(question))
                selector.register(opened, selectors.EVENT_WRITE, question)
        while selector.get_map() and (left := end - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                opened = key.fileobj  # type: ignore[assignment]  # one of ours
                selector.unregister(opened)
                if waits := _waits(opened):
                    selector.register(opened, waits, key.data)
                elif der := _certificate(opened):
                    found[key.data] = read_names(der)
    return found


def _connecting(question: TlsQuestion) -> ssl.SSLSocket:
    """Return a socket that connects. Raises `OSError`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    plain = socket.socket(socket.AF_INET6 if ":" in question.address else socket.AF_INET, socket.SOCK_STREAM)
    plain.setblocking(False)
    with contextlib.closing(plain):  # wrapping takes its descriptor away
        opened = context.wrap_socket(plain, do_handshake_on_connect=False, server_hostname=question.sni or None)
    with contextlib.ExitStack() as stack:
        stack.callback(opened.close)
        code = opened.connect_ex((question.address, question.port))
        if code not in {0, errno.EINPROGRESS}:
            raise OSError(code, "connect")
        stack.pop_all()
    return opened


def _waits(opened: ssl.SSLSocket) -> int:
    """Go on with a handshake, and return for what it waits; 0 when it has ended or failed."""
    try:
        opened.do_handshake()
    except ssl.SSLWantReadError:
        return selectors.EVENT_READ
    except ssl.SSLWantWriteError:
        return selectors.EVENT_WRITE
    except OSError:
        return 0
    return 0


def _certificate(opened: ssl.SSLSocket) -> bytes | None:
    try:
        return opened.getpeercert(binary_form=True)
    except (OSError, ValueError):  # no connection, or no handshake
        return None
