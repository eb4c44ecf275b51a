"""TLS sessions: when a probe resumes one, when it has a whole handshake, and that no outcome depends on it."""

import datetime as dt
import gc
import ssl
import time
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.check_model import HttpsCheck, Kept, Tls
from lvs_healthd.probes.exchange import Exchange, Farewell, Reconnect, Stays, Step
from lvs_healthd.probes.http import http_exchanges
from lvs_healthd.probes.http_kept import KeptHttpExchanges
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down
from lvs_healthd.probes.targets import read_certificates, target
from lvs_healthd.probes.tls import TlsExchanges
from lvs_healthd.probes.tls_sessions import MOST_APART_S, REFUSED_S, RENEW_S, TargetSessions, _Resuming, _ResumingKept
from tests.configs import server, service
from tests.probes.http_talk import answer
from tests.probes.tls_peer import Server, tls_context
from tests.probing.kept_world import Server as RealServer
from tests.probing.kept_world import https, world

OK, BAD = answer(b"ok"), answer(b"no").replace(b"200", b"503")
RESET = down(Reason.RESET, "connection reset")
REFUSED = down(Reason.REFUSED, "connection refused")


class Target:
    """One target on a clock that tests move, probed by hand."""

    def __init__(self, ca: Path, context: ssl.SSLContext, **keys: object) -> None:
        fields = {"name": "web", "address": "127.0.0.1", "port": 1, "host": "x", "tls": Tls(ca=str(ca))}
        self.check = HttpsCheck(**(fields | keys))  # type: ignore[arg-type]
        self.context = context
        self.now = 5000.0
        self.wall_s = time.time() - self.now
        """How much the wall clock is ahead."""
        inner = KeptHttpExchanges(self.check) if self.check.kept else http_exchanges(self.check)
        rules = TlsExchanges(self.check, inner, lambda: self.now + self.wall_s)
        self.begin = TargetSessions(rules, lambda: self.now, lambda: 0.0)

    def probe(self, said: bytes = OK) -> tuple[Outcome, bool]:
        """Return the outcome, and whether a session was resumed."""
        exchange, peer = self.begin(), Server(self.context)
        step = exchange.connected()
        while isinstance(step, bytes | Reconnect):
            if isinstance(step, Reconnect):
                exchange, peer = step.exchange, Server(self.context)
                step = exchange.connected()
                continue
            before = len(peer.asked)
            data = peer.heard(step)
            step = exchange.received(data) if data else None
            if step is None and len(peer.asked) > before:
                step = exchange.received(peer.says(said))
        outcome = step.outcome if isinstance(step, Farewell | Stays) else step
        assert isinstance(outcome, Outcome)
        exchange.end()
        self.last = exchange
        return outcome, bool(peer.tls.session_reused)

    def resumed(self, *, times: int) -> list[bool]:
        found = []
        for _ in range(times):
            outcome, is_resumed = self.probe()
            assert outcome.kind is OutcomeKind.UP
            found.append(is_resumed)
            self.now += 2.0
        return found

    def with_session(self) -> "Target":
        """Let the target be probed often enough for a session, and take one."""
        assert self.resumed(times=3) == [False, False, True]
        return self


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca(authority: trustme.CA, tmp_path: Path) -> Path:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.fixture(params=[True, False], ids=["1.3", "1.2"])
def one(request: pytest.FixtureRequest, authority: trustme.CA, ca: Path) -> Target:
    return Target(ca, tls_context(authority, tls13=request.param))


def test_session_is_resumed_for_a_minute_and_then_the_certificate_is_verified_anew(one: Target) -> None:
    assert one.resumed(times=33) == [False, False] + 29 * [True] + [False, True]


def test_certificate_is_verified_anew_within_a_minute_also_with_long_intervals(one: Target) -> None:
    whole = []
    for _ in range(12):
        if not one.probe()[1]:
            whole.append(one.now)
        one.now += 29.0
    assert {after - before for before, after in pairwise(whole[1:])} == {58.0}


@pytest.mark.parametrize("verify", [True, False])
def test_outcome_of_a_resumed_session_is_the_same_object(one: Target, ca: Path, verify: bool) -> None:
    if not verify:
        one = Target(ca, one.context, tls=Tls(verify=False))
    first, _ = one.probe()
    one.probe()
    second, is_resumed = one.probe()
    assert is_resumed
    assert second is first
    assert first.certificate_end is not None


def test_failure_over_a_resumed_session_is_a_failure_and_teaches_no_session(one: Target) -> None:
    for _ in range(2):
        assert one.probe(BAD)[0].detail == "status 503, expected 200-299"
    assert one.resumed(times=2) == [False, True]
    outcome, is_resumed = one.probe(BAD)
    assert (outcome.reason, is_resumed) == (Reason.BAD_STATUS, True)
    assert one.probe(BAD)[1] is False
    assert one.resumed(times=2) == [False, True]


def test_server_that_was_restarted_passes_with_a_whole_handshake(one: Target, authority: trustme.CA) -> None:
    one.with_session().context = tls_context(authority)
    assert one.resumed(times=3) == [False, True, True]


def test_certificate_of_a_server_that_was_restarted_is_verified_at_once(one: Target) -> None:
    one.with_session().context = tls_context(trustme.CA())
    outcome, _ = one.probe()
    assert outcome.reason is Reason.TLS


@pytest.mark.parametrize("tls13", [True, False])
def test_server_that_gives_no_session_is_not_asked_for_one_each_time(
    authority: trustme.CA, ca: Path, tls13: bool
) -> None:
    context = tls_context(authority, tls13=tls13)
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    one = Target(ca, context)
    assert one.resumed(times=4) == 4 * [False]
    one.context = tls_context(authority, tls13=tls13)
    assert one.resumed(times=3) == 3 * [False]
    one.now += REFUSED_S
    assert one.resumed(times=3) == [False, False, True]


def test_server_that_refuses_the_session_that_it_gave_is_not_offered_one_each_time(
    authority: trustme.CA, ca: Path
) -> None:
    one = Target(ca, tls_context(authority))
    assert one.resumed(times=2) == [False, False]
    found = []
    for _ in range(4):
        one.context = tls_context(authority)
        found += one.resumed(times=1)
    assert found == 4 * [False]
    assert one.resumed(times=2) == [False, False]
    one.now += REFUSED_S
    assert one.resumed(times=3) == [False, False, True]


def test_files_that_a_reload_has_read_end_the_session(one: Target) -> None:
    one.with_session()
    read_certificates([service(server("127.0.0.1", checks=(one.check,)))])()
    assert one.resumed(times=2) == [False, True]


def test_handshake_that_breaks_over_a_session_is_begun_anew_within_the_probe(one: Target) -> None:
    one.with_session()
    ways: list[Callable[[Exchange], Step]] = [
        lambda exchange: exchange.received(b"\x15\x03\x03\x00\x02\x02\x2f"),  # a fatal alert: illegal parameter
        lambda exchange: exchange.closed(),
        lambda exchange: exchange.received(b"\x16") or exchange.failed(RESET),
        lambda exchange: exchange.failed(RESET),  # without a byte
    ]
    for breaks in ways:
        exchange = one.begin()
        assert isinstance(exchange.connected(), bytes)
        step = breaks(exchange)
        assert isinstance(step, Reconnect)
        # The second time it is a failure.
        again = step.exchange
        assert isinstance(again.connected(), bytes)
        assert isinstance(again.closed(), Outcome)
        assert one.resumed(times=2) == [False, True]


def test_refused_connection_is_not_tried_twice(one: Target) -> None:
    one.with_session()
    assert one.begin().failed(REFUSED) is REFUSED
    assert one.resumed(times=2) == [False, True]


def test_server_that_ignores_who_offers_a_session_fails_once(one: Target) -> None:
    assert one.resumed(times=2) == [False, False]
    exchange = one.begin()
    exchange.connected()
    assert exchange.expired("1s").reason is Reason.TIMEOUT
    assert one.resumed(times=10) == 10 * [False]
    one.now += REFUSED_S
    one.with_session()


def test_server_that_answers_badly_over_resumed_sessions_never_fails_twice_in_succession(one: Target) -> None:
    one.with_session()
    ups = []
    for _ in range(10):
        offered = one.begin()
        ups.append(one.probe(BAD if offered._is_offered else OK)[0].kind is OutcomeKind.UP)  # type: ignore[attr-defined]
        one.now += 2.0
    assert ups == [False, True, False] + 7 * [True]


def test_clock_that_was_set_ends_the_session(one: Target) -> None:
    for moved_s in (3600.0, -7200.0):
        one.with_session()
        one.wall_s += moved_s
        assert one.resumed(times=2) == [False, True]
        one.now += RENEW_S


def test_end_of_the_certificate_ends_the_session(one: Target) -> None:
    outcome, _ = one.probe()
    assert outcome.certificate_end is not None
    # As if time had passed, and not as if the clock had been set.
    one.now = outcome.certificate_end - one.wall_s - 7.0
    assert one.resumed(times=5) == [False, False, True, True, False]


def test_kept_connections_are_verified_anew_for_the_same_reasons(one: Target, ca: Path, authority: trustme.CA) -> None:
    kept, other = Target(ca, one.context, kept=Kept()), Target(ca, one.context)

    def begun() -> _ResumingKept:
        assert kept.probe()[0].kind is OutcomeKind.UP
        assert isinstance(kept.last, _ResumingKept)
        assert kept.last.is_ready
        return kept.last

    exchange = begun()
    kept.wall_s += 3600.0
    assert not exchange.is_ready
    exchange = begun()
    other.probe()
    other.context = ended(authority)
    assert other.probe()[0].reason is Reason.EXPIRED
    assert not exchange.is_ready
    exchange = begun()
    outcome, _ = kept.probe()
    assert outcome.certificate_end is not None
    kept.now = outcome.certificate_end - kept.wall_s
    assert not exchange.is_ready


def test_connection_of_a_server_that_fails_is_kept_as_that_of_any_other(ca: Path, authority: trustme.CA) -> None:
    kept = Target(ca, tls_context(authority), kept=Kept())
    assert kept.probe(BAD)[0].reason is Reason.BAD_STATUS
    assert isinstance(kept.last, _ResumingKept)
    assert kept.last.is_ready


def test_dates_mean_nothing_where_no_certificate_is_verified(ca: Path, authority: trustme.CA) -> None:
    one = Target(ca, ended(authority), tls=Tls(verify=False)).with_session()
    one.wall_s += 3600.0
    assert one.resumed(times=1) == [True]
    kept = Target(ca, ended(authority), tls=Tls(verify=False), kept=Kept())
    kept.probe()
    kept.wall_s += 3600.0
    assert kept.last.is_ready  # type: ignore[attr-defined]


def ended(authority: trustme.CA) -> ssl.SSLContext:
    """Return the context of a server whose certificate has ended."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    authority.issue_cert("127.0.0.1", not_after=yesterday).configure_cert(context)
    return context


def test_certificate_that_is_refused_for_its_dates_ends_all_sessions_once(
    authority: trustme.CA, ca: Path, one: Target
) -> None:
    other, third = Target(ca, one.context), Target(ca, one.context)
    for each in (one, other, third):
        each.with_session()
    one.context = ended(authority)
    assert one.probe()[0].reason is Reason.EXPIRED
    assert other.resumed(times=2) == [False, True]
    # One that is always refused says nothing new.
    assert one.probe()[0].reason is Reason.EXPIRED
    assert other.resumed(times=1) == [True]
    assert third.resumed(times=1) == [False]


def test_nothing_of_a_configuration_that_was_replaced_is_held(authority: trustme.CA, ca: Path) -> None:
    one = Target(ca, tls_context(authority)).with_session()
    old = weakref.ref(one.begin._context)
    assert old() is not None
    read_certificates([service(server("127.0.0.1", checks=(one.check,)))])()
    one.probe(BAD)
    gc.collect()
    assert old() is None


def test_only_targets_that_are_asked_often_have_sessions(one: Target) -> None:
    for _ in range(5):
        assert one.probe()[1] is False
        one.now += MOST_APART_S + 1.0
    one.with_session()


def test_connections_that_are_kept_need_no_session_but_those_that_cannot_be_do(ca: Path, authority: trustme.CA) -> None:
    one = Target(ca, tls_context(authority), kept=Kept())
    for _ in range(3):
        assert one.probe()[1] is False
        one.now += 60.0
    one.with_session()
    # Now the server keeps its connections.
    assert isinstance(one.last, _ResumingKept)
    one.last.resumed()
    assert one.resumed(times=3) == [False, False, True]


def test_every_target_with_tls_may_resume_a_session(ca: Path) -> None:
    fields = {"name": "web", "address": "127.0.0.1", "port": 1, "host": "x", "tls": Tls(ca=str(ca))}
    for keys in ({}, {"kept": Kept()}):
        assert isinstance(target(HttpsCheck(**fields, **keys)).begin, TargetSessions)  # type: ignore[arg-type]
    begin = target(HttpsCheck(**fields, proxy_protocol=1)).begin  # type: ignore[arg-type]
    assert isinstance(begin()._inner, _Resuming)  # type: ignore[attr-defined]


def test_sessions_of_the_whole_engine_on_real_sockets() -> None:
    with world() as whole:
        one = RealServer(whole, secured=True)
        (found,) = whole.probe(https(one, kept=None))
        whole.run(12.0)
        assert len(found) >= 6
        assert {each.is_up for each in found} == {True}
        # A session's clock is real, so no whole handshake is due.
        assert whole.context.session_stats()["hits"] == len(found) - 2
