"""The engine against every kind of peer, on real sockets: the outcome is right, and no descriptor is left behind."""

import asyncio
import errno
import gc
import itertools
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, TcpCheck
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import probe_key, target
from lvs_healthd.probing import engine as engine_module
from lvs_healthd.probing import serving as serving_module
from lvs_healthd.probing import sockets as sockets_module
from lvs_healthd.probing.deadlines import STALL_WATCH_S, TICK_S
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.errnos import at_connect, at_open, from_network
from lvs_healthd.probing.once import run_once
from lvs_healthd.runtime.pace import SLICE_S
from tests.pacing import EXTENDED
from tests.probes.peers import (
    Behaviour,
    answering,
    datagram_server,
    dripping,
    flooding,
    free_port,
    refusing,
    resetting,
    silent,
    stream_server,
)
from tests.probing.hand import Hand, Noting, http, tcp, udp

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.fixture(autouse=True)
def _no_descriptor_left() -> Iterator[None]:
    gc.collect()
    before = descriptors()
    yield
    gc.collect()
    assert descriptors() <= before


async def outcome_of(check: AnyCheck) -> Outcome:
    return (await run_once([check]))[probe_key(check)].outcome


async def test_http_server_that_answers_is_up_with_its_latency() -> None:
    async with stream_server(answering(OK)) as port:
        check = http(port)
        outcome, course = (await run_once([check]))[probe_key(check)]
    assert (outcome.kind, outcome.reason, outcome.detail) == (OutcomeKind.UP, Reason.PASSED, "status 200")
    assert 0 < course.total_s <= 0.3


async def test_ipv6_server_is_probed_over_ipv6() -> None:
    async with stream_server(answering(OK), host="::1") as port:
        assert (await outcome_of(http(port, address="::1"))).kind is OutcomeKind.UP
        assert (await outcome_of(http(port))).reason is Reason.REFUSED


async def test_tcp_connect_is_enough_when_nothing_is_expected() -> None:
    async with stream_server(silent) as port:
        outcome = await outcome_of(tcp(port))
    assert (outcome.kind, outcome.detail) == (OutcomeKind.UP, "connected")


async def test_last_words_reach_the_server() -> None:
    heard = asyncio.get_running_loop().create_future()

    async def listen(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heard.set_result(await reader.read())

    async with stream_server(listen) as port:
        assert (await outcome_of(tcp(port, send=b"QUIT\r\n"))).kind is OutcomeKind.UP
        assert await asyncio.wait_for(heard, 2) == b"QUIT\r\n"


@pytest.mark.parametrize(
    ("behaviour", "check", "reason", "detail"),
    [
        (resetting, http, Reason.RESET, "connection reset"),
        (
            refusing(b"HTTP/1.1 503 Sorry\r\nRetry"),
            http,
            Reason.RESET,
            'the connection was reset within the headers: "HTTP/1.1 503 Sorry\\x0d\\x0aRetry"',
        ),
        (
            refusing(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"),
            lambda port: http(port, body="never"),
            Reason.RESET,
            "the connection was reset within the body, after 2 bytes",
        ),
        (
            refusing(b"-ERR max number of clients reached\r\n"),
            lambda port: tcp(port, send=b"PING\r\n", expect=b"+PONG"),
            Reason.BAD_ANSWER,
            'unexpected answer "-ERR max number of clients reached\\x0d\\x0a", then the connection was reset',
        ),
        (silent, http, Reason.TIMEOUT, "connected, but no answer in 300ms"),
        (answering(b""), http, Reason.CLOSED_EARLY, "connection closed without an answer"),
        (
            answering(b"HTTP/1.1 200 OK\r\nServ"),
            http,
            Reason.CLOSED_EARLY,
            'connection closed within the headers: "HTTP/1.1 200 OK\\x0d\\x0aServ"',
        ),
        (
            answering(b"SSH-2.0-x\r\n", until=b""),
            http,
            Reason.PROTOCOL_ERROR,
            'not an HTTP answer: "SSH-2.0-x"',
        ),
        (
            answering(b"HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n"),
            http,
            Reason.BAD_STATUS,
            "status 503, expected 200-299",
        ),
        (
            flooding(b"HTTP/1.1 200 OK\r\nX: ", 4 * 1024**3),
            http,
            Reason.TOO_LARGE,
            "headers longer than 65536 bytes",
        ),
    ],
)
async def test_stream_server_that_misbehaves_is_down(
    behaviour: Behaviour, check: Callable[[int], AnyCheck], reason: Reason, detail: str
) -> None:
    async with stream_server(behaviour) as port:
        outcome = await outcome_of(check(port))
    found = outcome.detail.removesuffix(EXTENDED)
    assert (outcome.kind, outcome.reason, found) == (OutcomeKind.DOWN, reason, detail)


@pytest.mark.parametrize("keys", [{}, {"send": b"PING\r\n"}])
@pytest.mark.parametrize(
    ("answer", "kind", "detail"),
    [
        (b"-ERR full", OutcomeKind.DOWN, 'unexpected answer "-ERR full", then the connection was reset'),
        (b"+PONG", OutcomeKind.UP, "answered as expected"),
    ],
)
async def test_answer_that_is_reset_before_we_look_is_read(
    keys: dict[str, bytes], answer: bytes, kind: OutcomeKind, detail: str
) -> None:
    has_refused = asyncio.Event()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await refusing(answer)(reader, writer)
        asyncio.get_running_loop().call_soon(has_refused.set)  # the loop closes the socket before

    async with stream_server(refuse) as port:
        hand = Hand()
        hand.start(target(tcp(port, expect=b"+PONG", timeout=60.0, **keys)))
        async with asyncio.timeout(10):
            await has_refused.wait()
        hand.until_polled(1)
        hand.engine.close()
    assert [(outcome.kind, outcome.detail) for outcome in hand.outcomes] == [(kind, detail)]


async def test_dripping_server_ends_at_the_total_deadline() -> None:
    """keepalived re-arms its timer at every read, and so lets such a server pass after any length of time."""
    async with stream_server(dripping(OK, every_s=0.05)) as port:
        begun = time.monotonic()
        outcome = await outcome_of(http(port))
        took = time.monotonic() - begun
    assert outcome.reason is Reason.TIMEOUT
    assert outcome.detail.startswith("headers incomplete after 300ms")
    assert took < 0.05 * len(OK) / 2  # the last byte would come after twice as long


async def test_endless_headers_one_line_at_a_time_end_at_the_deadline() -> None:
    async def endless(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-More: 1\r\n")
            await asyncio.sleep(0.01)

    async with stream_server(endless) as port:
        assert (await outcome_of(http(port))).reason is Reason.TIMEOUT


async def test_four_gigabytes_of_body_are_read_only_up_to_the_limit() -> None:
    async with stream_server(flooding(b"HTTP/1.1 200 OK\r\nContent-Length: 4294967296\r\n\r\n", 4 * 1024**3)) as port:
        check = http(port, body="never there", timeout=5.0)
        outcome, course = (await run_once([check]))[probe_key(check)]
        assert (outcome.reason, course.total_s < 2) == (Reason.BAD_ANSWER, True)
        assert outcome.detail.startswith("expected text not in the first 65536 bytes")
        # Without a body check the status is enough, and what follows does not matter.
        assert (await outcome_of(http(port))).kind is OutcomeKind.UP


async def test_tcp_flood_without_the_expected_answer_is_cut_off() -> None:
    async with stream_server(flooding(b"", 4 * 1024**3)) as port:
        outcome = await outcome_of(tcp(port, expect=b"never", timeout=5.0))
    assert (outcome.reason, outcome.detail) == (Reason.TOO_LARGE, "expected answer not in the first 65536 bytes")


async def test_large_reads_do_not_starve_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_module, "_READS_PER_TURN", 1)
    async with stream_server(flooding(b"", 4 * 1024**2)) as port:
        outcome = await outcome_of(tcp(port, expect_regex="never", max_answer=2 * 1024**2, timeout=5.0))
    assert outcome.reason is Reason.TOO_LARGE


async def test_closed_port_is_refused_at_once() -> None:
    outcome = await outcome_of(tcp(free_port()))
    assert (outcome.kind, outcome.reason, outcome.detail) == (OutcomeKind.DOWN, Reason.REFUSED, "connection refused")


async def test_full_backlog_swallows_connections_like_a_black_hole() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        port = listening.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            fillers.append(filler)
        outcome = await outcome_of(tcp(port))
        for filler in fillers:
            filler.close()
    found = outcome.detail.removesuffix(EXTENDED)
    assert (outcome.kind, outcome.reason, found) == (OutcomeKind.DOWN, Reason.TIMEOUT, "no answer in 300ms")


async def test_tcp_banner_is_read_without_sending() -> None:
    async with stream_server(answering(b"220 mail ready\r\n", until=b"")) as port:
        assert (await outcome_of(tcp(port, expect=b"220 "))).kind is OutcomeKind.UP
        refused = await outcome_of(tcp(port, expect_regex="^554"))
    assert refused.detail == 'unexpected answer "220 mail ready\\x0d\\x0a", then the connection closed'


async def test_udp_silence_is_up_only_when_nothing_is_expected() -> None:
    async with datagram_server() as port:
        nothing = await outcome_of(udp(port, send=b"?"))
        something = await outcome_of(udp(port, send=b"?", expect=b"!"))
    assert (nothing.kind, nothing.detail) == (OutcomeKind.UP, "no ICMP error in 300ms, and no answer is expected")
    assert (something.kind, something.detail.removesuffix(EXTENDED)) == (OutcomeKind.DOWN, "no answer in 300ms")


async def test_udp_icmp_unreachable_is_down() -> None:
    outcome = await outcome_of(udp(free_port(socket.SOCK_DGRAM), send=b"?"))
    assert (outcome.kind, outcome.reason, outcome.detail) == (
        OutcomeKind.DOWN,
        Reason.REFUSED,
        "port unreachable (ICMP)",
    )


@pytest.mark.parametrize(
    ("answer", "status"), [(b"!", OutcomeKind.UP), (b"", OutcomeKind.DOWN), (b"?", OutcomeKind.DOWN)]
)
async def test_udp_answer_must_be_the_expected_one(answer: bytes, status: OutcomeKind) -> None:
    """keepalived lets an empty or short reply pass whatever it was told to require."""
    async with datagram_server(answer) as port:
        assert (await outcome_of(udp(port, send=b"?", expect=b"!"))).kind is status


async def test_udp_answer_may_come_after_another() -> None:
    async with datagram_server(b"SIP/2.0 100 Trying", b"", b"SIP/2.0 200 OK") as port:
        outcome = await outcome_of(udp(port, send=b"OPTIONS", expect=b"SIP/2.0 200 "))
    assert (outcome.kind, outcome.detail) == (OutcomeKind.UP, "answered as expected")


async def test_udp_unexpected_answer_is_shown_when_no_other_comes() -> None:
    async with datagram_server(b"SIP/2.0 100 Trying", b"SIP/2.0 503 Sorry") as port:
        outcome = await outcome_of(udp(port, send=b"OPTIONS", expect=b"SIP/2.0 200 "))
    assert (outcome.kind, outcome.reason, outcome.detail.removesuffix(EXTENDED)) == (
        OutcomeKind.DOWN,
        Reason.BAD_ANSWER,
        'unexpected answer "SIP/2.0 503 Sorry", and no other in 300ms',
    )


async def test_udp_answers_are_searched_only_up_to_the_limit_of_one() -> None:
    """A search may take 20 ms, and a peer may send answers without end."""
    async with datagram_server(*[b"x" * 60] * 3, b"!") as port:
        outcome = await outcome_of(udp(port, send=b"?", expect=b"!", max_answer=150, timeout=5.0))
    assert (outcome.kind, outcome.reason) == (OutcomeKind.DOWN, Reason.BAD_ANSWER)
    assert outcome.detail.startswith('unexpected answer "xxx')


async def test_udp_any_answer_is_up_when_nothing_is_expected() -> None:
    async with datagram_server(b"x") as port:
        outcome = await outcome_of(udp(port, send=b"?"))
    assert (outcome.kind, outcome.detail) == (OutcomeKind.UP, "answered")


async def test_used_up_descriptors_are_unsure_not_down() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    async with stream_server(silent) as port:
        loop = asyncio.get_running_loop()
        engine = Engine(clock=loop.time)
        outcomes: list[Outcome] = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors() + 8, hard))
        try:
            fillers = []
            while True:
                try:
                    fillers.append(socket.socket())
                except OSError:
                    break
            engine.start(Noting(target(tcp(port)), outcomes))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for filler in fillers:
                filler.close()
            engine.close()
    assert [(outcome.kind, outcome.reason) for outcome in outcomes] == [(OutcomeKind.UNSURE, Reason.LOCAL_LIMIT)]
    assert "LimitNOFILE" in outcomes[0].detail


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.EADDRNOTAVAIL, OutcomeKind.UNSURE),
        (errno.ENOBUFS, OutcomeKind.UNSURE),
        (errno.ENETDOWN, OutcomeKind.UNSURE),
        (errno.ENETUNREACH, OutcomeKind.UNSURE),
        (errno.EPERM, OutcomeKind.UNSURE),
        (errno.EACCES, OutcomeKind.UNSURE),
        (errno.ECONNREFUSED, OutcomeKind.DOWN),
    ],
)
async def test_errno_of_connect_is_judged_by_whose_fault_it_is(
    number: int, status: OutcomeKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(socket.socket):
        def connect_ex(self, address: object) -> int:
            return number

    monkeypatch.setattr(sockets_module, "Socket", Failing)
    engine = Engine(clock=time.monotonic)
    outcomes: list[Outcome] = []
    engine.start(Noting(target(tcp(1)), outcomes))
    engine.close()
    assert [outcome.kind for outcome in outcomes] == [status]


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENETUNREACH, "nothing in the routing table"),
        (errno.EHOSTUNREACH, "unreachable"),
        (errno.EACCES, "prohibit"),
        (errno.EINVAL, "blackhole"),
    ],
)
def test_routing_table_that_refuses_is_named_with_what_to_type(number: int, kind: str) -> None:
    found = at_connect(number, "198.51.100.11")
    assert (found.kind, found.reason) == (OutcomeKind.UNSURE, Reason.NO_ROUTE)
    assert found.detail.startswith("no route from here: ")
    assert kind in found.detail
    assert "ip route get 198.51.100.11" in found.detail
    assert "ARP" not in found.detail
    assert "ICMP" not in found.detail


@pytest.mark.parametrize("number", [errno.EACCES, errno.EHOSTUNREACH, errno.EMFILE])
def test_socket_that_cannot_be_made_is_no_target_s_fault(number: int) -> None:
    assert at_open(number).kind is OutcomeKind.UNSURE
    assert at_open(number).reason is Reason.LOCAL_LIMIT


def test_prohibition_by_a_firewall_on_the_way_is_down_over_ipv6_too() -> None:
    """ICMPv6 "administratively prohibited" arrives as EACCES, its IPv4 twin as EHOSTUNREACH."""
    assert from_network(errno.EACCES).kind is OutcomeKind.DOWN
    assert from_network(errno.EHOSTUNREACH).kind is OutcomeKind.DOWN
    assert from_network(errno.ENETDOWN).kind is OutcomeKind.UNSURE
    assert from_network(errno.EILSEQ).kind is OutcomeKind.UNSURE


async def test_costly_answers_do_not_hold_the_loop_up_all_in_one_turn() -> None:
    batch = engine_module._BATCH
    count = 6 * batch
    async with stream_server(silent) as port:
        hand = Hand()
        hand.slow_down("advance", 0.001)
        for _ in range(count):
            hand.start(target(TcpCheck(name="", address="127.0.0.1", port=port, timeout=Seconds(60.0))))
        await asyncio.sleep(0.2)
        ended = []
        while hand.engine.poll():
            ended.append(len(hand.outcomes))
        hand.engine.close()
    assert len(hand.outcomes) == count
    # Each takes a millisecond, so one batch uses up a turn.
    assert max(later - earlier for earlier, later in itertools.pairwise([0, *ended])) == batch


async def test_probes_above_the_bound_wait_and_then_run() -> None:
    async with stream_server(silent) as port:
        hand = Hand(max_in_flight=2)
        for _ in range(5):
            hand.start(target(tcp(port)))
        assert (hand.engine.in_flight, hand.engine.waiting) == (2, 3)
        hand.until_polled(5)
        assert [outcome.kind for outcome in hand.outcomes] == [OutcomeKind.UP] * 5
        assert (hand.engine.in_flight, hand.engine.waiting) == (0, 0)
        hand.engine.close()


async def test_probe_never_ends_before_its_timeout_and_at_most_a_tick_after_it() -> None:
    async with stream_server(silent) as port:
        hand = Hand()
        idle = hand.engine.next_tick
        assert idle is None
        hand.start(target(http(port, timeout=0.3)))
        begun = hand.now
        while not hand.outcomes:
            due = hand.engine.next_tick or 0.0
            assert 0.0 < due - hand.now <= STALL_WATCH_S + 1e-6
            hand.now = due
            hand.engine.tick(0.0)
        assert 0.3 <= hand.now - begun <= 0.3 + TICK_S
        assert [outcome.reason for outcome in hand.outcomes] == [Reason.TIMEOUT]
        hand.engine.close()


async def test_answers_in_time_count_however_many_come_at_once() -> None:
    async with datagram_server(b"!") as port:
        hand = Hand()
        hand.slow_down("advance", SLICE_S)
        for _ in range(200):
            hand.start(target(udp(port, send=b"?", expect=b"!", timeout=1.0)))
        await asyncio.sleep(0.5)
        hand.now += 1.1
        hand.tick_all()
        hand.engine.close()
    assert [outcome.kind for outcome in hand.outcomes] == [OutcomeKind.UP] * 200


async def test_many_timeouts_at_once_leave_the_loop_its_turns() -> None:
    async with stream_server(silent) as port:
        hand = Hand()
        hand.slow_down("_expire", SLICE_S / 16)
        for _ in range(100):
            hand.start(target(http(port, timeout=1.0)))
        hand.now += 1.1
        ended = []
        while hand.engine.in_flight:
            before = len(hand.outcomes)
            hand.engine.tick(late_s=0.0)
            ended.append(len(hand.outcomes) - before)
        hand.engine.close()
    assert [outcome.reason for outcome in hand.outcomes] == [Reason.TIMEOUT] * 100
    assert max(ended) <= 17


async def test_closing_the_engine_drops_probes_without_an_outcome() -> None:
    async with stream_server(silent) as port:
        hand = Hand(max_in_flight=1)
        hand.start(target(http(port)))
        hand.start(target(http(port)))
        hand.engine.close()
    assert hand.outcomes == []


async def test_identical_checks_are_one_probe() -> None:
    connections = 0

    async def count(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        writer.write(b"!")

    async with stream_server(count) as port:
        first = TcpCheck(name="a", address="127.0.0.1", port=port, expect=b"!", rise=1, fall=1)
        second = TcpCheck(name="b", address="127.0.0.1", port=port, expect=b"!", rise=5, fall=5)
        found = await run_once([first, second])
        await asyncio.sleep(0.01)
    assert len(found) == 1
    assert connections == 1


async def test_check_that_only_connects_is_over_before_the_application_hears_of_it() -> None:
    """The real server's processes must not be woken ten thousand times a second by connections that ask for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found = await run_once([tcp(listener.getsockname()[1])])
        assert [each.outcome.kind for each in found.values()] == [OutcomeKind.UP]
        listener.settimeout(0.2)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize("body", ["", "ok"])
async def test_conversation_that_is_over_leaves_no_garbage(body: str) -> None:
    """Ten thousand probes a second would keep the collector busy, and it would never free what it was told to spare."""
    async with stream_server(answering(OK)) as port:
        check = http(port, body=body)
        await run_once([check])
        gc.collect()
        gc.disable()
        try:
            before = len([each for each in gc.get_objects() if type(each).__module__ == "lvs_healthd.probes.http"])
            for _ in range(5):
                await run_once([check])
            left = [each for each in gc.get_objects() if type(each).__module__ == "lvs_healthd.probes.http"]
        finally:
            gc.enable()
    assert len(left) <= before


async def test_datagram_that_finds_our_own_buffer_full_is_unsure(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(socket.socket):
        def send(self, data: object, flags: int = 0) -> int:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(sockets_module, "Socket", Full)
    engine = Engine(clock=time.monotonic)
    outcomes: list[Outcome] = []
    engine.start(Noting(target(udp(9, send=b"?", expect=b"!")), outcomes))
    engine.close()
    assert [(outcome.kind, outcome.reason) for outcome in outcomes] == [(OutcomeKind.UNSURE, Reason.LOCAL_LIMIT)]
    assert "buffer" in outcomes[0].detail


async def test_probe_that_changes_its_connection_counts_as_one_and_lets_others_wait() -> None:
    """With one socket at a time, each probe ends before the next begins, however many connections it needs."""
    served: list[str] = []

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        served.append(head.split()[1].decode())
        writer.write(OK)
        await writer.drain()

    async with stream_server(behave) as port:
        checks = [
            http(port, timeout=20, requests=tuple(http(0, path=f"/{name}/{number}") for number in (1, 2)))
            for name in ("a", "b", "c")
        ]
        results = await run_once(checks, max_in_flight=1)
    assert {result.outcome.detail for result in results.values()} == {"all requests passed"}
    assert served == [f"/{name}/{number}" for name in ("a", "b", "c") for number in (1, 2)]


async def test_engine_that_is_closed_drops_a_probe_between_two_connections() -> None:
    async with stream_server(answering(OK)) as port:
        hand = Hand()
        hand.start(target(http(port, timeout=20, requests=(http(0), http(0)))))
        hand.engine._start_waiting = lambda: None  # type: ignore[method-assign]
        deadline = time.monotonic() + 5
        while not hand.engine._again and time.monotonic() < deadline:
            hand.engine.poll()
            await asyncio.sleep(0)
        assert len(hand.engine._again) == 1
        assert hand.engine.in_flight == 0
        hand.engine.close()
    assert hand.outcomes == []
