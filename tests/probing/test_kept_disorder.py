"""Whatever happens to kept connections, in any order: a good server stays up, and a dead one does not."""

import contextlib
import random
import socket
from collections.abc import Callable

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, Kept
from tests.probes.http_talk import answer, chunked
from tests.probing.kept_world import OK, Found, Server, World, http, https, tcp, world

INTERVAL_S = 1.0
LATE_S = 0.3
"""For how much longer than its interval a probe may be waited for: jitter, ticks and confirming probes."""
LISTENER_S = 10.0
FALL, RISE = 3, 2

ANSWERS = [
    OK,
    chunked(b"some content"),
    answer(b"ok", "Connection: close"),
    answer(b"ok", "Connection: keep-alive", "Keep-Alive: timeout=5, max=100"),
    answer(b"ok", "Keep-Alive: timeout=1"),
    b"HTTP/1.1 200 OK\r\n\r\nno length",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK,
    OK + b"HTTP/1.1 500 Nobody asked\r\nContent-Length: 0\r\n\r\n",
    OK + b"\r\n",
    OK + b"\0" * 5000,
    OK[:-1],
]
RUBBISH = [
    b"\r\n",
    b"\0",
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 500 Nobody asked\r\nContent-Length: 0\r\n\r\n",
    OK,
    b"x" * 100_000,
]


def fin(server: Server, _draw: random.Random) -> None:
    server.end_all()


def reset(server: Server, _draw: random.Random) -> None:
    server.end_all(reset=True)


def half_close(server: Server, _draw: random.Random) -> None:
    for client in server.clients:
        with contextlib.suppress(OSError):
            client.socket.shutdown(socket.SHUT_WR)


def late_bytes(server: Server, draw: random.Random) -> None:
    data = draw.choice(RUBBISH)
    for client in server.clients:
        client.send(data)


def late_bytes_and_end(server: Server, draw: random.Random) -> None:
    late_bytes(server, draw)
    server.end_all()


def other_answers(server: Server, draw: random.Random) -> None:
    chosen = draw.choice(ANSWERS)
    server.says = lambda: chosen


def mixed_answers(server: Server, draw: random.Random) -> None:
    server.says = lambda: draw.choice(ANSWERS)


def other_limit(server: Server, draw: random.Random) -> None:
    server.idle_s = draw.choice([float("inf"), 0.3, 0.9, 1.0, 2.5])


Action = Callable[[Server, random.Random], None]
ENDS: list[Action] = [fin, reset, half_close]
ACTIONS: list[Action] = [*ENDS, late_bytes, late_bytes_and_end, other_answers, mixed_answers, other_limit]


def checks_of(one: World) -> list[tuple[Server, AnyCheck]]:
    plain, secured, watched = Server(one), Server(one, secured=True), Server(one)
    kept = Kept(reconnect=Seconds(30.0))
    return [
        (plain, http(plain, interval=INTERVAL_S, kept=kept)),
        (secured, https(secured, interval=INTERVAL_S, kept=kept)),
        (watched, tcp(watched, interval=INTERVAL_S, kept=kept)),
    ]


def longest_streak(found: list[Found], *, up: bool) -> int:
    longest = streak = 0
    for each in found:
        streak = streak + 1 if each.is_up is up else 0
        longest = max(longest, streak)
    return longest


@pytest.mark.parametrize("seed", range(6))
def test_good_server_passes_every_probe(seed: int) -> None:
    draw = random.Random(seed)
    with world(seed=seed) as one:
        pairs = checks_of(one)
        results = one.probe(*(check for _, check in pairs))
        for _ in range(60):
            one.run(draw.uniform(0.05, 1.5))
            server, check = draw.choice(pairs)
            if draw.random() < 0.3:  # the end crosses the next request
                one.until_turn(check)
                draw.choice(ENDS)(server, draw)
                one.turn(check)
            else:
                draw.choice(ACTIONS)(server, draw)
            one.settle()
        for found in results:
            assert [each.outcome.detail for each in found if not each.is_up] == []
            assert len(found) >= 20
        assert one.engine.kept <= 3


@pytest.mark.parametrize("seed", range(3))
def test_bytes_that_cross_a_request_fail_one_probe_at_most(seed: int) -> None:
    draw = random.Random(seed)
    with world(seed=seed) as one:
        server = Server(one)
        check = http(server, interval=INTERVAL_S)
        (found,) = one.probe(check)
        one.run(2.0)
        for _ in range(20):
            one.until_turn(check)
            late_bytes(server, draw)
            one.turn(check)
            one.run(0.2)
            assert longest_streak(found, up=False) <= 1
        assert any(each.is_up for each in found[-3:])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("reset", [False, True])
def test_dead_server_is_down_in_time_and_up_again(seed: int, reset: bool) -> None:
    draw = random.Random(seed)
    with world(seed=seed) as one:
        pairs = checks_of(one)
        results = one.probe(*(check for _, check in pairs))
        one.run(3.0)
        for _ in range(5):
            for _ in range(draw.randrange(6)):
                server, _ = draw.choice(pairs)
                draw.choice(ACTIONS)(server, draw)
                one.run(draw.uniform(0.0, 0.7))
            for server, _ in pairs:
                server.die(reset=reset)
            before = [len(found) for found in results]
            one.settle()
            one.run(FALL * (INTERVAL_S + LATE_S))
            for found, start in zip(results, before, strict=True):
                # At most the answer that was already there is a pass.
                assert [each.is_up for each in found[start + 1 :]] == [False] * (len(found) - start - 1)
                assert len(found) - start >= FALL
            for server, _ in pairs:
                server.says, server.idle_s = (lambda: OK), float("inf")
                server.listen()
            before = [len(found) for found in results]
            one.run(RISE * (INTERVAL_S + LATE_S))
            for found, start in zip(results, before, strict=True):
                assert longest_streak(found[start:], up=True) >= RISE


@pytest.mark.parametrize("seed", range(3))
def test_server_that_does_not_listen_is_down_although_it_answers(seed: int) -> None:
    draw = random.Random(seed)
    with world(seed=seed) as one:
        pairs = checks_of(one)
        results = one.probe(*(check for _, check in pairs))
        one.run(draw.uniform(2.0, 9.0))
        for server, _ in pairs:
            server.stop_listening()
        one.run(LISTENER_S + FALL * (INTERVAL_S + LATE_S))
        for found in results:
            assert longest_streak(found, up=False) >= FALL
            assert not found[-1].is_up
