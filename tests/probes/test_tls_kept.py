"""TLS and the PROXY header on a connection that stays open. The peer is OpenSSL, without a socket."""

import gc
import socket
import subprocess
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpsCheck, Tls
from lvs_healthd.probes.exchange import Exchange, KeptExchange, Sign, Stale, Stays, Step
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.proxy import HEADERS
from lvs_healthd.probes.targets import target
from tests.probes.http_talk import answer
from tests.probes.kept_talk import KEPT, RESET
from tests.probes.tls_peer import Server, tls_context

OK = answer(b"ok")
BAD = OK.replace(b"200", b"503")
CLOSE = answer(b"ok", "Connection: close")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


class Line:
    """A connection between a probe's conversation and such a server."""

    def __init__(self, authority: trustme.CA, ca: str, *, tls13: bool = True, **keys: object) -> None:
        fields = {"name": "https", "address": "127.0.0.1", "port": 443, "host": "x", "tls": Tls(ca=ca), "kept": KEPT}
        check = HttpsCheck(**(fields | keys))  # type: ignore[arg-type]
        self.server = Server(tls_context(authority, tls13=tls13))
        self.exchange: KeptExchange = target(check).begin()  # type: ignore[assignment]
        self.tickets = b""
        """What the server has sent at the end of the handshake, if it was kept back."""

    def connect(self, header: bytes = b"") -> None:
        """Shake hands, until the server has the first request."""
        step = self.exchange.connected()
        assert isinstance(step, bytes)
        assert step.startswith(header)
        to_server = step.removeprefix(header)
        self.tickets = self.server.heard(to_server)
        while b"\r\n\r\n" not in self.server.asked:
            step = self.exchange.received(self.tickets)
            assert isinstance(step, bytes)
            self.tickets = self.server.heard(step)

    def kept(self) -> "Line":
        self.connect()
        assert isinstance(self.exchange.received(self.tickets + self.server.says(OK)), Stays)
        assert self.exchange.is_ready
        return self

    def ask(self) -> None:
        """Begin the next probe."""
        self.server.asked = b""
        step = self.exchange.resumed()
        assert isinstance(step, bytes)
        assert self.server.heard(step) == b""
        assert self.server.asked.startswith(b"GET / HTTP/1.1\r\n")

    def probe(self) -> Step:
        self.ask()
        return self.exchange.received(self.server.says(OK))


@pytest.mark.parametrize("tls13", [True, False])
def test_requests_follow_each_other_over_one_handshake(authority: trustme.CA, ca: str, tls13: bool) -> None:
    one = Line(authority, ca, tls13=tls13).kept()
    for _ in range(5):
        step = one.probe()
        assert isinstance(step, Stays)
        assert step.outcome.detail == "status 200"
        assert step.outcome.certificate_end is not None
        assert one.exchange.is_ready
    assert one.exchange.decrypted().startswith(b"HTTP/1.1 200")  # type: ignore[attr-defined]


def test_tickets_that_come_after_the_first_answer_are_no_sign(authority: trustme.CA, ca: str) -> None:
    one = Line(authority, ca)
    one.connect()
    assert one.tickets
    # TLS keeps its records in order, so the answer comes after them; here all comes in small pieces.
    data = one.tickets + one.server.says(OK)
    steps = [one.exchange.received(data[at : at + 7]) for at in range(0, len(data), 7)]
    assert [step for step in steps if step is not None] == [steps[-1]]
    assert isinstance(steps[-1], Stays)


def like(step: Step) -> object:
    """Return what must be the same of a step for two connections, whose bytes are encrypted differently."""
    return type(step) if isinstance(step, bytes | Stale) else step


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    records=st.lists(st.sampled_from([OK, OK[:9], OK[9:], OK[-1:], BAD, b"x", CLOSE]), min_size=1, max_size=3),
    size=st.one_of(st.just(4000), st.integers(1, 60)),
    leaves=st.booleans(),
    tls13=st.booleans(),
    expires_fail=st.sampled_from([0.0, 1e12]),
)
def test_shortcut_finds_what_the_conversation_would(
    authority: trustme.CA,
    ca: str,
    records: list[bytes],
    size: int,
    leaves: bool,
    tls13: bool,
    expires_fail: float,
) -> None:
    def asked() -> tuple[Line, bytes]:
        one = Line(authority, ca, tls13=tls13, tls=Tls(ca=ca, expires_fail=Seconds(expires_fail)))
        one.kept().ask()
        says = b"".join(map(one.server.says, records)) + (one.server.leaves() if leaves else b"")
        return one, says

    (long, told), (short, told_too) = asked(), asked()
    for at in range(0, len(told), size):
        step = long.exchange.received(told[at : at + size])
        piece = told_too[at : at + size]
        passed = short.exchange.ordinary(piece)
        assert passed is None or passed.kind is OutcomeKind.UP
        found = short.exchange.received(piece) if passed is None else Stays(passed)
        assert like(found) == like(step)
        assert short.exchange.is_ready == long.exchange.is_ready
        if step is not None:
            return


@pytest.mark.parametrize("tls13", [True, False])
def test_ordinary_answers_take_the_shortcut(authority: trustme.CA, ca: str, tls13: bool) -> None:
    one = Line(authority, ca, tls13=tls13).kept()
    for _ in range(2):
        one.ask()
        passed = one.exchange.ordinary(one.server.says(OK))
        assert passed is not None
        assert passed.detail == "status 200"
        assert passed.certificate_end is not None
        assert one.exchange.is_ready
    one.ask()
    step = one.exchange.received(one.server.says(BAD))
    assert isinstance(step, Stays)
    assert step.outcome.detail == "status 503, expected 200-299"
    one.ask()
    assert one.exchange.ordinary(one.server.says(OK) + one.server.leaves()) is None


@pytest.mark.parametrize("ends", [False, True])
def test_answer_in_pieces_leaves_no_garbage(authority: trustme.CA, ca: str, ends: bool) -> None:
    """An exception refers to the frames that it has passed, and they to the connection and to what has come."""
    one = Line(authority, ca).kept()
    one.ask()
    says = one.server.says(OK)
    piece = b"" if ends else says[:20]
    connection = weakref.ref(one.exchange._tls)  # type: ignore[attr-defined]
    gc.collect()
    gc.disable()
    try:
        assert one.exchange.ordinary(piece) is None
        if ends:
            assert isinstance(one.exchange.closed(), Stale)
        else:
            assert one.exchange.received(piece) is None
            assert isinstance(one.exchange.received(says[20:]), Stays)
        one.exchange.end()
        del one
        assert connection() is None
    finally:
        gc.enable()


class Asking:
    """An OpenSSL server that may ask for another handshake, as TLS 1.2 allows and Python's servers cannot."""

    def __init__(self, server: subprocess.Popen[bytes], line: socket.socket, port: int) -> None:
        self._server = server
        self._line = line
        self.port = port

    def says(self, data: bytes) -> None:
        assert self._server.stdin is not None
        self._server.stdin.write(data)
        self._server.stdin.flush()

    def asks_for_another_handshake(self) -> None:
        self.says(b"r\n")

    def hears(self, step: Step) -> None:
        assert step is None or isinstance(step, bytes)
        self._line.send(step or b"")

    def speaks(self) -> bytes:
        return self._line.recv(65536)

    def has_heard(self, line: bytes) -> None:
        assert self._server.stdout is not None
        while (said := self._server.stdout.readline()).rstrip() != line:
            assert said

    def shakes_hands(self, one: Exchange) -> None:
        self.hears(one.connected())
        while not one._handshaken:  # type: ignore[attr-defined]
            self.hears(one.received(self.speaks()))


@pytest.fixture
def asking(tmp_path: Path) -> Iterator[Asking]:
    pem = tmp_path / "pem"
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(pem))
    command = ("openssl", "s_server", "-tls1_2", "-accept", "127.0.0.1:0", "-cert", str(pem), "-key", str(pem))
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        try:
            port = next(int(line.rpartition(b":")[2]) for line in server.stdout if line.startswith(b"ACCEPT "))
            with socket.create_connection(("127.0.0.1", port), timeout=30.0) as line:
                yield Asking(server, line, port)
        finally:
            server.kill()


def untrusting(asking: Asking, **keys: object) -> HttpsCheck:
    fields = {"name": "https", "address": "127.0.0.1", "port": asking.port, "host": "x", "tls": Tls(verify=False)}
    return HttpsCheck(**(fields | keys))  # type: ignore[arg-type]


def test_server_that_wants_another_handshake_and_does_not_go_on_is_asked_anew(asking: Asking) -> None:
    one: KeptExchange = target(untrusting(asking, kept=KEPT)).begin()  # type: ignore[assignment]
    asking.shakes_hands(one)
    asking.says(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert isinstance(one.received(asking.speaks()), Stays)
    asking.asks_for_another_handshake()
    assert isinstance(one.idle(asking.speaks()), bytes)  # which the server never gets
    assert isinstance(one.resumed(), Stale)


@pytest.mark.parametrize("keys", [{}, {"kept": KEPT}])
def test_request_waits_for_a_handshake_that_the_server_wants_within_a_conversation(
    asking: Asking, keys: dict[str, object]
) -> None:
    one = target(untrusting(asking, redirects=1, path="/from", **keys)).begin()
    asking.shakes_hands(one)
    asking.has_heard(b"GET /from HTTP/1.1")
    asking.asks_for_another_handshake()
    step = one.received(asking.speaks())
    assert isinstance(step, bytes)
    asking.says(b"HTTP/1.1 302 Found\r\nLocation: /to\r\nContent-Length: 0\r\n\r\n")
    assert one.received(asking.speaks()) is None  # the request for /to cannot be encrypted yet
    asking.hears(step)
    while one._unsaid:  # type: ignore[attr-defined]
        asking.hears(one.received(asking.speaks()))
    asking.has_heard(b"GET /to HTTP/1.1")
    asking.says(b"HTTP/1.1 204 No Content\r\n\r\n")
    step = one.received(asking.speaks())
    found = step.outcome if isinstance(step, Stays) else step
    assert isinstance(found, Outcome)
    assert found.kind is OutcomeKind.UP


def test_close_notify_between_two_probes_is_an_orderly_end(authority: trustme.CA, ca: str) -> None:
    one = Line(authority, ca).kept()
    assert one.exchange.idle(one.server.leaves()) is Sign.ORDERLY


def test_end_without_close_notify_is_urgent(authority: trustme.CA, ca: str) -> None:
    assert Line(authority, ca).kept().exchange.idle_closed() is Sign.URGENT


def test_rubbish_between_two_probes_ends_the_connection(authority: trustme.CA, ca: str) -> None:
    assert Line(authority, ca).kept().exchange.idle(b"HTTP/1.1 400 Bad Request\r\n\r\n") is Sign.URGENT


def test_408_between_two_probes_is_an_orderly_end(authority: trustme.CA, ca: str) -> None:
    one = Line(authority, ca).kept()
    assert one.exchange.idle(one.server.says(b"HTTP/1.1 408 Request Timeout\r\n\r\n")) is Sign.ORDERLY


def test_close_notify_with_the_answer_ends_the_connection_after_it(authority: trustme.CA, ca: str) -> None:
    one = Line(authority, ca).kept()
    one.ask()
    step = one.exchange.received(one.server.says(OK) + one.server.leaves())
    assert isinstance(step, Outcome)
    assert step.kind is OutcomeKind.UP


@pytest.mark.parametrize("end", ["closed", "failed", "close_notify"])
def test_request_that_meets_the_end_is_repeated_with_a_handshake(authority: trustme.CA, ca: str, end: str) -> None:
    one = Line(authority, ca).kept()
    one.ask()
    match end:
        case "closed":
            step: Step = one.exchange.closed()
        case "failed":
            step = one.exchange.failed(RESET)
        case _:
            step = one.exchange.received(one.server.leaves())
    assert isinstance(step, Stale)
    other = Line(authority, ca)
    other.exchange = step.exchange  # type: ignore[assignment]
    other.kept()


def test_end_within_the_handshake_is_a_failure(authority: trustme.CA, ca: str) -> None:
    one = Line(authority, ca).kept()
    one.ask()
    step = one.exchange.closed()
    assert isinstance(step, Stale)
    step.exchange.connected()
    found = step.exchange.closed()
    assert isinstance(found, Outcome)
    assert found.reason is Reason.TLS


def test_rest_of_an_answer_may_come_later(authority: trustme.CA, ca: str) -> None:
    one = Line(authority, ca).kept()
    one.ask()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
    assert isinstance(one.exchange.received(one.server.says(head)), Stays)
    assert not one.exchange.is_ready
    assert one.exchange.idle(one.server.says(b"rest")) is None
    assert one.exchange.is_ready


def test_proxy_header_comes_once(authority: trustme.CA, ca: str) -> None:
    one = Line(authority, ca, proxy_protocol=2)
    one.connect(HEADERS[2])
    assert isinstance(one.exchange.received(one.tickets + one.server.says(OK)), Stays)
    assert isinstance(one.probe(), Stays)
    assert (one.exchange.limit_s, one.exchange.reads_first, one.exchange.is_ready) == (None, False, True)
    one.ask()
    step = one.exchange.closed()
    # The new connection begins with the header too.
    assert isinstance(step, Stale)
    other = Line(authority, ca, proxy_protocol=2)
    other.exchange = step.exchange  # type: ignore[assignment]
    other.connect(HEADERS[2])
    assert isinstance(other.exchange.received(other.tickets + other.server.says(OK)), Stays)
    assert other.exchange.idle(other.server.leaves()) is Sign.ORDERLY
    assert one.exchange.idle_closed() is Sign.URGENT
