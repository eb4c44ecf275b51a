"""Connections that stay open between probes: how long, what their ends bring about, and what an idle limit teaches."""

import gc
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import Kept
from lvs_healthd.probes.exchange import Target
from lvs_healthd.probes.http_kept import _KeptHttp
from lvs_healthd.probes.outcome import OutcomeKind, Reason
from lvs_healthd.probes.tls_sessions import TargetSessions
from lvs_healthd.probing import serving
from lvs_healthd.probing.deadlines import TICK_S
from lvs_healthd.probing.habits import FORGET_S
from lvs_healthd.probing.sockets import Socket
from tests.probes.http_talk import answer
from tests.probing.kept_world import KEPT, OK, Found, Server, World, http, https, tcp, world

LATE = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"
INTERVAL_S = 2.0
JITTER_S = 0.02 * INTERVAL_S + 2 * TICK_S


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def _no_descriptor_left() -> Iterator[None]:
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    assert descriptors() <= before


def kinds(found: list[Found]) -> set[OutcomeKind]:
    return {each.outcome.kind for each in found}


def begun(one: World, server: Server, *, kept: Kept = KEPT, fall: int = 3) -> list[Found]:
    """Let a probe and the one after it pass over one connection. Return what is found."""
    (found,) = one.probe((https if server.secured else http)(server, kept=kept, fall=fall))
    one.run(3.5)
    assert [each.is_up for each in found] == [True, True]
    assert (len(server.accepted), one.engine.kept) == (1, 1)
    return found


@pytest.mark.parametrize("secured", [False, True])
def test_probes_follow_each_other_over_one_connection(secured: bool) -> None:
    with world() as one:
        server = Server(one, secured=secured)
        found = begun(one, server)
        one.run(INTERVAL_S)
        assert len(server.requests) == len(found) == 3
        assert len(server.accepted) == 1
        assert one.engine.in_flight == 0
        one.run(120.0)
        assert len(server.requests) == len(found)
        # With TLS a connection is used for a minute, without for ten seconds, and each for half of that at least.
        assert (2, 4) <= (len(server.accepted),) * 2 <= (5, 5) if secured else 12 <= len(server.accepted) <= 25
        assert kinds(found) == {OutcomeKind.UP}
        assert one.warnings == 0


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("secured", [False, True])
def test_server_that_dies_is_found_out_at_once(secured: bool, reset: bool) -> None:
    with world() as one:
        server = Server(one, secured=secured)
        found = begun(one, server)
        server.die(reset=reset)
        died = one.now
        one.run(0.5)
        assert [each.outcome.reason for each in found[2:]] == [Reason.REFUSED] * 3
        assert found[2].at == died
        assert found[-1].at - died <= 2 * (0.05 + TICK_S)
        assert one.warnings == 1
        # The series ends with the verdict.
        assert len(found) == 5
        assert one.engine.kept == 0


def test_probes_that_confirm_keep_their_distance() -> None:
    with world() as one:
        server = Server(one)
        found = begun(one, server, kept=Kept(confirm_interval=Seconds(0.3)), fall=4)
        server.die()
        died = one.now
        one.run(1.5)
        assert [each.at - died for each in found[2:5]] == pytest.approx([0, 0.3, 0.6], abs=2 * TICK_S)
        # The fourth failure is that of the next regular turn, if that comes first.
        assert found[5].at - died <= 0.9 + 2 * TICK_S


@pytest.mark.parametrize("secured", [False, True])
def test_server_that_is_reloaded_passes_one_probe_more(secured: bool) -> None:
    with world() as one:
        server = Server(one, secured=secured)
        found = begun(one, server)
        server.end_all()
        ended = one.now
        one.run(0.2)
        assert (len(found), found[2].at, found[2].is_up) == (3, ended, True)
        assert (one.warnings, len(server.accepted), one.engine.kept) == (1, 2, 1)
        # The probes after that are the usual ones, over the new connection.
        one.run(4.0)
        assert kinds(found) == {OutcomeKind.UP}
        assert 4 <= len(found) <= 5
        assert len(server.accepted) == 2


def test_signs_that_come_too_often_count_for_nothing() -> None:
    with world() as one:
        server = Server(one)
        found = begun(one, server)
        for _ in range(20):
            server.end_all()
            one.run(0.1)
        assert one.warnings <= 2
        assert len(found) <= 2 + 2 + 2
        assert kinds(found) == {OutcomeKind.UP}


def test_what_nobody_asked_for_brings_one_probe_without_haste() -> None:
    with world(seed=3) as one:
        server = Server(one)
        found = begun(one, server)
        server.clients[0].send(LATE)
        one.settle()
        assert (len(found), one.engine.kept, one.warnings) == (2, 0, 0)
        one.run(1.0 + 2 * TICK_S)
        assert len(found) >= 3
        assert kinds(found) == {OutcomeKind.UP}
        assert len(server.accepted) == 2


def test_orderly_end_of_a_dead_server_is_no_alarm() -> None:
    with world(seed=3) as one:
        server = Server(one)
        found = begun(one, server)
        server.clients[0].send(LATE)
        one.settle()
        server.die()
        one.run(1.0 + 2 * TICK_S)
        assert [each.is_up for each in found[2:3]] == [False]
        assert one.warnings == 0


@pytest.mark.parametrize("secured", [False, True])
def test_ordinary_answers_take_the_shortcut(monkeypatch: pytest.MonkeyPatch, secured: bool) -> None:
    with world() as one:
        server = Server(one, secured=secured)
        found = begun(one, server)
        with monkeypatch.context() as patch:
            patch.setattr(_KeptHttp, "received", None)  # nobody calls it
            one.run(3.0)
        assert len(found) == 3
        assert len(server.accepted) == one.engine.kept == 1
        # What is not ordinary is studied as before, and so is what comes after it.
        server.says = lambda: OK.replace(b"200", b"503")
        one.run(INTERVAL_S)
        assert found[-1].outcome.detail == "status 503, expected 200-299"
        assert one.engine.kept == 1
        server.says = lambda: OK
        one.run(2 * INTERVAL_S)
        assert [each.is_up for each in found[-2:]] == [True, True]
        assert one.engine.kept == 1


@pytest.mark.parametrize("secured", [False, True])
def test_answer_in_two_pieces_is_nothing_to_the_course_of_the_next_probe(secured: bool) -> None:
    with world() as one:
        server = Server(one, secured=secured)
        (found,) = one.probe((https if secured else http)(server, interval=1.0))
        while len(found) < 2:
            one.run(TICK_S)
        client = server.clients[0]
        rest: list[bytes] = []

        def says_a_piece() -> None:
            data = OK if client.tls is None else client.tls.says(OK)
            client.socket.send(data[:20])
            rest.append(data[20:])

        server.says = says_a_piece
        while not rest:
            one.run(TICK_S)
        client.socket.send(rest.pop())
        server.says = lambda: None
        while len(found) < 4:
            one.run(TICK_S)
        assert [each.is_up for each in found] == [True] * 3 + [False]
        assert found[-1].course.connected_s == 0.0  # over the same connection
        assert found[-1].course.answered_s is None


def test_proxy_header_is_no_tls() -> None:
    with world() as one:
        (found,) = one.probe(http(Server(one), proxy_protocol=1))
        one.run(3 * INTERVAL_S)
        assert len(found) > 2
        assert {each.course.secured_s for each in found} == {None}


def test_shortcut_does_not_put_off_that_the_certificate_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    with world() as one:
        server = Server(one, secured=True)
        found = begun(one, server)
        one.run(2 * INTERVAL_S)
        assert len(server.accepted) == 1
        monkeypatch.setattr(TargetSessions, "is_verified", lambda _: False)
        one.run(INTERVAL_S)
        assert len(server.accepted) == 2
        assert kinds(found) == {OutcomeKind.UP}


def test_ordinary_answer_that_the_end_follows_passes_and_its_connection_is_replaced() -> None:
    with world() as one:
        server = Server(one)
        found = begun(one, server)

        def last() -> bytes:
            server.clients[0].send(OK)
            server.clients[0].socket.shutdown(socket.SHUT_WR)
            server.says = lambda: OK
            return b""

        server.says = last
        one.run(INTERVAL_S)
        assert len(server.accepted) == 2
        assert {each.is_up for each in found} == {True}
        assert one.engine.kept == 1


@pytest.mark.parametrize("shortcut", [True, False])
def test_surplus_behind_an_answer_that_fills_a_read_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, shortcut: bool
) -> None:
    with world() as one:
        server = Server(one)
        found = begun(one, server)
        if not shortcut:
            monkeypatch.setattr(_KeptHttp, "ordinary", lambda *_: None)
        # In truth a read takes 64 KiB, which an answer may have too.
        monkeypatch.setattr(serving, "_RECV_SIZE", len(OK))
        server.says = lambda: OK + OK
        one.run(INTERVAL_S)
        assert one.engine.kept == 0
        server.says = lambda: OK.replace(b"200", b"503")
        one.run(INTERVAL_S)
        assert found[-1].outcome.detail == "status 503, expected 200-299"


@pytest.mark.parametrize("reset", [False, True])
def test_request_that_meets_the_end_is_repeated_within_the_probe(reset: bool) -> None:
    with world() as one:
        server = Server(one)
        found = begun(one, server)
        one.until_turn(http(server))
        server.end_all(reset=reset)
        # The next probe begins before the end has been read.
        one.turn(http(server))
        one.run(0.1)
        assert len(found) == 3
        assert kinds(found) == {OutcomeKind.UP}
        assert (len(server.accepted), one.warnings) == (2, 0)


def test_repeated_request_that_is_refused_is_confirmed_soon() -> None:
    with world() as one:
        server = Server(one)
        found = begun(one, server)
        one.until_turn(http(server))
        server.die()
        one.turn(http(server))
        one.run(0.5)
        assert [each.outcome.reason for each in found[2:]] == [Reason.REFUSED] * 3


def test_listener_that_is_gone_is_found_although_the_connection_answers() -> None:
    for secured in (False, True):
        with world() as one:
            server = Server(one, secured=secured)
            found = begun(one, server)
            server.stop_listening()
            gone = one.now
            one.run(14.0)
            first = next(each for each in found if not each.is_up)
            assert first.outcome.reason is Reason.REFUSED
            assert first.at - gone <= 10.0 + INTERVAL_S + JITTER_S
            # Now that is known, so the connection is not used again.
            assert not any(each.is_up for each in found if each.at > first.at)
            assert one.engine.kept == 0


def test_look_at_the_listener_is_nothing_to_the_application() -> None:
    with world() as one:
        server = Server(one, secured=True)
        found = begun(one, server, kept=Kept(reconnect=Seconds(200.0)))
        one.run(90.0)
        assert (len(server.accepted), len(server.clients)) == (1, 1)
        assert kinds(found) == {OutcomeKind.UP}
        assert len(server.requests) == len(found)


def test_connection_that_ends_during_the_look_is_replaced() -> None:
    with world() as one:
        server = Server(one, secured=True)
        found = begun(one, server)
        kept = one.engine._kept
        (connection,) = kept._by_run.values()
        connection.look_at = one.now
        one.turn(https(server))  # the look has begun
        assert one.engine.in_flight == 1
        server.end_all()
        one.run(0.1)
        assert kinds(found) == {OutcomeKind.UP}
        assert (len(found), len(server.accepted), one.engine.kept) == (3, 2, 1)


def test_connections_are_renewed_at_different_times() -> None:
    with world() as one:
        servers = [Server(one) for _ in range(20)]
        one.probe(*(http(server, interval=0.2) for server in servers))
        one.run(11.0)
        ages = [server.accepted[1] - server.accepted[0] for server in servers]
        assert min(ages) >= 5.0
        assert max(ages) <= 10.0 + 0.5
        assert max(ages) - min(ages) > 2.0


def takes_a_while_to_connect_anew(one: World, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = one.engine._sockets.connect_anew

    def connects(opened: Socket, target: Target) -> bool:
        one.now += 0.01
        return connect(opened, target)

    monkeypatch.setattr(one.engine._sockets, "connect_anew", connects)


def renewing(one: World, server: Server) -> list[Found]:
    """Let probes pass until the next one has a new connection."""
    found = begun(one, server)
    server.accepted.clear()
    while one.now + INTERVAL_S <= next(iter(one.engine._kept._by_run.values())).renew_at:
        one.run(INTERVAL_S)
    assert server.accepted == []
    assert kinds(found) == {OutcomeKind.UP}
    return found


def user_timeout(one: World) -> int:
    """Return after how many milliseconds the kernel gives up the connection that is kept."""
    (connection,) = one.engine._kept._by_run.values()
    return connection.flight.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)


def test_new_connection_takes_the_place_of_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with world() as one:
        server = Server(one)
        found = renewing(one, server)
        takes_a_while_to_connect_anew(one, monkeypatch)
        (flight,) = (each.flight for each in one.engine._kept._by_run.values())
        with monkeypatch.context() as patch:
            patch.setattr(_KeptHttp, "received", None)  # nobody calls it
            before = len(found)
            one.run(15.0)
        renewed = [each for each in found[before:] if each.course.connected_s]
        assert len(renewed) == len(server.accepted) == 2
        assert [each.course.connected_s for each in renewed] == pytest.approx([0.01] * 2)
        assert {each.course.connected_s for each in found[before:] if each not in renewed} == {0.0}
        assert kinds(found) == {OutcomeKind.UP}
        assert server.requests[-1] == found[-1].at
        assert (len(server.clients), one.engine.kept, user_timeout(one)) == (1, 1, 1000)
        assert next(iter(one.engine._kept._by_run.values())).flight is flight


@pytest.mark.parametrize("says", [OK.replace(b"200", b"503"), OK.replace(b"OK", b"Sure", 1), OK + LATE])
def test_odd_answer_over_a_renewed_connection_is_judged_as_any_other(
    says: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world() as one:
        server = Server(one)
        found = renewing(one, server)
        takes_a_while_to_connect_anew(one, monkeypatch)
        server.says = lambda: says
        before = len(found)
        one.run(INTERVAL_S + JITTER_S)
        assert len(server.accepted) == 1
        assert found[before].course.connected_s == pytest.approx(0.01)
        is_down = b" 503 " in says
        assert found[before].is_up is not is_down
        assert one.engine.kept == (LATE not in says)
        assert not one.engine.kept or user_timeout(one) == 1000
        server.says = lambda: OK
        one.run(2 * INTERVAL_S)
        assert found[-1].is_up
        assert len(server.accepted) == (2 if LATE in says else 1)


@pytest.mark.parametrize("fault", ["hung", "refused"])
def test_server_that_fails_when_its_connection_is_renewed_is_down(fault: str) -> None:
    with world() as one:
        server = Server(one)
        found = renewing(one, server)
        before = len(found)
        if fault == "hung":
            server.is_hung = True
        else:
            server.stop_listening()
        one.run(INTERVAL_S + JITTER_S + 1.0)
        reason = Reason.TIMEOUT if fault == "hung" else Reason.REFUSED
        assert found[before].outcome.reason is reason
        assert one.engine.kept == 0
        server.is_hung = False
        if fault == "refused":
            server.listen()
        one.run(3 * INTERVAL_S)
        assert found[-1].is_up
        assert one.engine.kept == 1


def test_limit_that_is_told_meanwhile_keeps_no_further_connection() -> None:
    with world() as one:
        server = Server(one)
        found = begun(one, server)
        server.says = lambda: answer(b"ok", "Keep-Alive: timeout=1")
        one.run(12.0)
        assert one.engine.kept == 0
        assert kinds(found) == {OutcomeKind.UP}
        assert "the server ends idle ones after 1s" in found[-1].outcome.detail


def test_connection_is_not_renewed_for_a_probe_that_is_dropped_under_way() -> None:
    with world() as one:
        server = Server(one)
        check = http(server)
        renewing(one, server)
        server.is_hung = True
        one.until_turn(check)
        one.turn(check)
        assert one.engine.in_flight == 1
        one.drop(check)
        server.is_hung = False
        one.run(1.0)
        assert one.engine.kept == one.engine.in_flight == 0
        assert server.clients == []


def test_no_more_connections_are_kept_than_allowed() -> None:
    with world(most_kept=2) as one:
        servers = [Server(one) for _ in range(4)]
        found = one.probe(*(http(server) for server in servers))
        one.run(6.0)
        assert one.engine.kept == 2
        assert sorted(len(server.accepted) > 1 for server in servers) == [False, False, True, True]
        assert {each.outcome.detail for some in found for each in some} == {"status 200"}


def test_dropped_probes_leave_no_connection() -> None:
    with world() as one:
        server, other, watched = Server(one, secured=True), Server(one), Server(one)
        checks = https(server), http(other), tcp(watched)
        one.probe(*checks)
        one.run(3.0)
        assert one.engine.kept == 3
        one.drop(*checks)
        one.settle()
        assert one.engine.kept == one.engine.in_flight == 0
        assert server.clients == other.clients == watched.clients == []


def test_probe_that_is_dropped_under_way_leaves_no_connection() -> None:
    with world() as one:
        server, watched = Server(one), Server(one)
        check, watch = http(server), tcp(watched)
        begun(one, server)
        server.is_hung = True
        one.run(2.0)
        assert one.engine.in_flight == 1
        one.drop(check)
        server.is_hung = False
        one.run(1.0)
        assert one.engine.kept == one.engine.in_flight == 0
        assert server.clients == []
        # The same for a first connection, and for one that is held.
        one.probe(http(server), watch)
        one.now = one.scheduler.next_wake
        one.scheduler.tick()
        one.run(0.6)
        assert one.engine.kept == 2
        one.drop(check, watch)
        one.run(1.0)
        assert one.engine.kept == one.engine.in_flight == 0
        assert server.clients == watched.clients == []


def test_hung_server_fails_after_its_timeout_and_the_connection_is_given_up() -> None:
    with world() as one:
        server = Server(one)
        found = begun(one, server)
        server.is_hung = True
        one.run(3.2)
        (late,) = found[2:3]
        assert late.outcome.detail == "connected, but no answer in 1s"
        assert 1.0 <= late.at - (found[1].at + INTERVAL_S) <= 1.0 + JITTER_S
        assert one.engine.kept == 0


def test_slow_answers_time_after_time_are_watched_by_one_deadline() -> None:
    with world() as one:
        server = Server(one, says=lambda: None)
        (found,) = one.probe(http(server, interval=0.1, timeout=Seconds(5.0), kept=Kept(reconnect=Seconds(9.0))))
        for _ in range(200):
            one.run(0.05)
            for client in server.clients:
                client.send(OK)
        watched = sum(len(items) for items in one.engine._deadlines._due.values())
        assert len(found) > 60
        assert kinds(found) == {OutcomeKind.UP}
        assert watched <= 2 * len(server.accepted)


# Idle limits


def test_limit_that_the_server_tells_is_believed_at_once() -> None:
    said = answer(b"ok", "Connection: keep-alive", "Keep-Alive: timeout=2, max=100")
    with world() as one:
        server = Server(one, says=lambda: said)
        (found,) = one.probe(http(server, interval=2.0))
        one.run(20.0)
        assert {each.outcome.detail for each in found} == {
            "status 200, over a new connection each time: the server ends idle ones after 2s"
        }
        assert (one.warnings, one.engine.kept) == (0, 0)
        assert len(server.accepted) == len(found) == len({id(each.outcome) for each in found}) * len(found)


def test_told_limit_above_the_interval_lets_the_connection_be_kept() -> None:
    said = answer(b"ok", "Connection: keep-alive", "Keep-Alive: timeout=5")
    with world() as one:
        server = Server(one, says=lambda: said)
        server.idle_s = 6.0
        found = begun(one, server)
        one.run(60.0)
        assert {each.outcome.detail for each in found} == {"status 200"}
        assert one.warnings == 0


def test_limit_is_learnt_from_two_ends_at_the_same_age() -> None:
    with world() as one:
        server = Server(one)
        server.idle_s = 3.0
        (found,) = one.probe(http(server, interval=5.0))
        one.run(60.0)
        details = [each.outcome.detail for each in found]
        remark = "status 200, over a new connection each time: the server ends idle ones after 3s"
        first = details.index(remark)
        assert details[:first] == ["status 200"] * first
        assert set(details[first:]) == {remark}
        # The first end was a surprise, and so was the second. The third connection was not kept.
        assert (one.warnings, one.engine.kept) == (2, 0)
        assert kinds(found) == {OutcomeKind.UP}
        probes = len(found)
        one.run(50.0)
        assert len(found) - probes == 10
        # After a while keeping is tried again, and the limit is learnt again.
        one.run(FORGET_S)
        assert one.warnings == 4


def test_limit_at_the_interval_is_learnt_however_the_end_is_met() -> None:
    with world() as one:
        server = Server(one)
        server.idle_s = 1.95
        (found,) = one.probe(http(server, interval=2.0))
        one.run(60.0)
        assert kinds(found) == {OutcomeKind.UP}
        assert "over a new connection each time: the server ends idle ones after " in found[-1].outcome.detail
        assert one.warnings <= 3
        assert len(found) <= 30 + 4


def test_reloads_teach_no_limit() -> None:
    with world() as one:
        server = Server(one)
        (found,) = one.probe(http(server))
        for _ in range(30):
            one.run(5.0)
            server.end_all()
        assert {each.outcome.detail for each in found} == {"status 200"}
        assert 20 <= one.warnings <= 30
        assert len(found) <= 1.5 * 150.0 / INTERVAL_S


def test_death_at_the_usual_age_is_found_by_the_usual_probes() -> None:
    with world() as one:
        server = Server(one)
        said = answer(b"ok", "Connection: keep-alive", "Keep-Alive: timeout=3")
        server.says = lambda: said
        found = begun(one, server)
        one.run(INTERVAL_S)
        one.run(server.requests[-1] + 1.98 - one.now)
        server.die()
        one.run(3 * INTERVAL_S)
        assert one.warnings == 0
        assert len([each for each in found if not each.is_up]) >= 3


# Watches


def test_tcp_check_holds_one_more_connection() -> None:
    with world() as one:
        server = Server(one)
        (found,) = one.probe(tcp(server))
        one.run(20.0)
        assert kinds(found) == {OutcomeKind.UP}
        assert (one.engine.kept, len(server.clients), one.warnings) == (1, 1, 0)
        assert server.requests == []
        one.run(60.0)
        assert (one.engine.kept, len(server.clients)) == (1, 1)
        assert server.accepted[-1] - server.accepted[0] > 50.0  # it was renewed


@pytest.mark.parametrize("reset", [False, True])
def test_end_of_a_held_connection_is_an_early_warning(reset: bool) -> None:
    with world() as one:
        server = Server(one)
        (found,) = one.probe(tcp(server))
        one.run(3.0)
        assert one.engine.kept == 1
        server.die(reset=reset)
        died, before = one.now, len(found)
        one.run(0.4)
        assert [each.outcome.reason for each in found[before:]] == [Reason.REFUSED] * 3
        assert found[-1].at - died <= 2 * (0.05 + TICK_S)
        assert (one.warnings, one.engine.kept) == (1, 0)


def test_held_connection_is_replaced_after_its_end_and_its_limit_is_learnt() -> None:
    with world() as one:
        server = Server(one)
        server.idle_s = 7.0
        (found,) = one.probe(tcp(server))
        one.run(200.0)
        assert kinds(found) == {OutcomeKind.UP}
        assert one.warnings == 2
        assert len(server.accepted) >= 15
        probes, before = len(found), one.now
        one.run(100.0)
        assert len(found) - probes <= (one.now - before) / INTERVAL_S + 1
        assert one.warnings == 2
        # An end at another age is a warning all the same.
        one.run(server.next_end - one.now - 4.0)
        server.die()
        one.run(0.5)
        assert one.warnings == 3


def test_greeting_on_a_held_connection_is_nothing() -> None:
    with world() as one:
        server = Server(one)
        one.probe(tcp(server))
        one.run(3.0)
        server.clients[0].send(b"220 hello\r\n")
        one.run(1.0)
        assert (one.engine.kept, one.warnings) == (1, 0)


def test_no_connection_is_held_to_a_server_that_fails() -> None:
    with world() as one:
        server = Server(one, says=lambda: b"NO")
        (found,) = one.probe(tcp(server, send=b"PING\r\n\r\n", expect=b"PONG"))
        one.run(10.0)
        assert kinds(found) == {OutcomeKind.DOWN}
        assert len(server.accepted) == len(server.requests)
        assert one.engine.kept == 0
