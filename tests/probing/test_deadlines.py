"""How long a probe may take while the loop that runs it lags, and that it is judged in the end."""

import asyncio
import select
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AnyCheck, HttpsCheck, Tls
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason
from lvs_healthd.probes.targets import target
from lvs_healthd.probing import deadlines
from lvs_healthd.probing.engine import Engine
from lvs_healthd.probing.once import run_once
from lvs_healthd.probing.probe import Probe
from lvs_healthd.probing.scheduler import Scheduler
from lvs_healthd.runtime.pace import SLICE_S
from tests.probes.peers import answering, datagram_server, dripping, silent, stream_server
from tests.probing.hand import Hand, http, tcp, udp
from tests.probing.peers_apart import (
    OK,
    answering_datagrams,
    answering_streams,
    black_hole,
    mute_datagrams,
    mute_listener,
)

LAG_S = 0.12
"""How long the loop stands still between any two of its turns, where it really does, seconds."""


def https(port: int, ca: str, *, timeout: float) -> HttpsCheck:
    return HttpsCheck(name="", address="127.0.0.1", port=port, host="test", tls=Tls(ca=ca), timeout=Seconds(timeout))


@pytest.fixture
def ca(tmp_path: Path) -> trustme.CA:
    made = trustme.CA()
    made.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return made


def served(ca: trustme.CA, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    ca.issue_cert("127.0.0.1").configure_cert(context)
    return context


async def test_pause_extends_the_deadline_by_its_length() -> None:
    async with stream_server(silent) as port:
        hand = Hand()
        hand.start(target(http(port, timeout=1.0)))
        hand.now += 0.9
        hand.engine.tick(late_s=0.8)
        hand.now += 0.85
        hand.tick_all()
        assert hand.outcomes == []
        hand.now += 0.1
        hand.tick_all()
        hand.engine.close()
    assert [(outcome.kind, outcome.detail) for outcome in hand.outcomes] == [
        (OutcomeKind.DOWN, "connected, but no answer in 1s (extended, because this daemon stood still)")
    ]


async def test_many_small_pauses_extend_as_much_as_a_big_one() -> None:
    async with stream_server(silent) as port:
        hand = Hand()
        hand.start(target(http(port, timeout=1.0)))
        for late_s in (0.2, 0.06, 0.2, 0.06):
            hand.now += late_s
            hand.engine.tick(late_s)
        hand.now += 0.93
        hand.tick_all()
        assert hand.outcomes == []
        hand.now += 0.2
        hand.tick_all()
        hand.engine.close()
    assert [outcome.reason for outcome in hand.outcomes] == [Reason.TIMEOUT]


@pytest.mark.parametrize("late_s", [0.07, 0.3, 5.0])
def test_black_hole_is_down_however_much_the_loop_lags(late_s: float) -> None:
    with black_hole() as port:
        hand = Hand()
        begun = hand.now
        hand.start(target(tcp(port, timeout=1.0)))
        while not hand.outcomes:
            assert hand.engine.next_tick is not None
            hand.now = max(hand.now, hand.engine.next_tick) + late_s
            hand.engine.poll()
            hand.engine.tick(late_s)
        hand.engine.close()
    assert [(outcome.kind, outcome.reason) for outcome in hand.outcomes] == [(OutcomeKind.DOWN, Reason.TIMEOUT)]
    # One more turn may be under way when the time is up.
    assert 1.0 < hand.now - begun <= 2.0 + deadlines.TICK_S + deadlines.STALL_WATCH_S + late_s


async def test_pause_before_the_probe_began_extends_nothing() -> None:
    async with stream_server(silent) as port:
        hand = Hand()
        hand.engine.tick(late_s=5.0)
        hand.now += 0.01
        hand.start(target(http(port, timeout=1.0)))
        hand.now += 1.1
        hand.engine.tick(late_s=0.0)
        hand.engine.close()
    assert [(outcome.reason, outcome.detail) for outcome in hand.outcomes] == [
        (Reason.TIMEOUT, "connected, but no answer in 1s")
    ]


async def test_answer_that_arrived_while_we_stood_still_counts() -> None:
    async with stream_server(silent) as port, datagram_server(b"!") as other:
        hand = Hand()
        hand.start(target(tcp(port, timeout=1.0)))
        hand.start(target(udp(other, send=b"?", expect=b"!", timeout=1.0)))
        await asyncio.sleep(0.2)
        hand.now += 10.0
        hand.engine.tick(late_s=9.0)
        hand.engine.close()
    assert [outcome.kind for outcome in hand.outcomes] == [OutcomeKind.UP] * 2


def test_datagram_without_an_answer_is_down_after_a_long_pause() -> None:
    with mute_datagrams() as mute:
        hand = Hand()
        hand.start(target(udp(mute, send=b"?", expect=b"!", timeout=1.0)))
        hand.now += 10.0
        hand.engine.tick(late_s=9.0)
        hand.engine.close()
    assert [outcome.reason for outcome in hand.outcomes] == [Reason.TIMEOUT]


async def turn_after(hand: Hand, pause_s: float) -> None:
    """Stand still for `pause_s`, in which the peer does its part, then serve the sockets and the clock like a loop."""
    descriptor = hand.engine._epoll.fileno()
    await asyncio.to_thread(select.select, [descriptor], [], [], 10)
    hand.now += pause_s
    hand.engine.poll()
    if hand.engine.in_flight:
        hand.engine.tick(pause_s)


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_server_that_answers_each_time_outlives_pauses_of_any_length(
    ca: trustme.CA, tmp_path: Path, newest: ssl.TLSVersion
) -> None:
    """While we stand still it is our turn to speak: a request that was never sent is no timeout of the server's."""
    async with stream_server(answering(OK), tls=served(ca, newest)) as port:
        hand = Hand()
        hand.start(target(https(port, str(tmp_path / "ca.pem"), timeout=1.0)))
        while not hand.outcomes:
            await turn_after(hand, 10.0)
        hand.engine.close()
    assert [(outcome.kind, outcome.detail) for outcome in hand.outcomes] == [(OutcomeKind.UP, "status 200")]


async def test_server_that_only_accepts_is_down_after_its_timeout_from_the_pause_on() -> None:
    async with stream_server(silent) as port:
        hand = Hand()
        hand.start(target(http(port, timeout=1.0)))
        await turn_after(hand, 10.0)
        hand.now += 0.9
        hand.tick_all()
        assert hand.outcomes == []
        hand.now += 0.2
        hand.tick_all()
        hand.engine.close()
    assert [outcome.reason for outcome in hand.outcomes] == [Reason.TIMEOUT]


async def test_dripping_server_is_down_however_much_the_loop_lags() -> None:
    async with stream_server(dripping(OK, every_s=0.01)) as port:
        hand = Hand()
        begun = hand.now
        hand.start(target(http(port, timeout=1.0)))
        while not hand.outcomes:
            await turn_after(hand, 3.0)
        hand.engine.close()
    assert [outcome.reason for outcome in hand.outcomes] == [Reason.TIMEOUT]
    assert hand.now - begun <= 3.0 * (deadlines.MOST_REPRIEVES + 2)


# A loop that really lags


class Listening:
    """Notes what one probe found."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []

    def outcome(self, outcome: Outcome, course: Course) -> None:
        self.outcomes.append(outcome)


class Unobserved:
    def lag(self, seconds: float) -> None: ...
    def loop_lag(self, seconds: float) -> None: ...
    def skipped(self) -> None: ...

    def warned(self) -> None: ...


async def found_by_a_loop_that_lags(checks: list[AnyCheck], *, count: int) -> list[list[Outcome]]:
    """Probe from a loop that stands still for `LAG_S` between any two turns, until each has `count` outcomes."""
    loop = asyncio.get_running_loop()
    scheduler: Scheduler[int] = Scheduler(
        Engine(clock=loop.time), clock=loop.time, random=lambda: 0.0, observer=Unobserved()
    )
    sinks = [Listening() for _ in checks]
    scheduler.update(
        Probe(number, target(check), 0.5, sink) for number, (check, sink) in enumerate(zip(checks, sinks, strict=True))
    )
    running = asyncio.create_task(scheduler.run())
    async with asyncio.timeout(60):
        while any(len(sink.outcomes) < count for sink in sinks):
            time.sleep(LAG_S)
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return [sink.outcomes for sink in sinks]


async def test_loop_that_lags_for_long_judges_every_kind_of_dead_server_down(ca: trustme.CA, tmp_path: Path) -> None:
    with black_hole() as hole, mute_listener() as mute, mute_datagrams() as datagrams:
        found = await found_by_a_loop_that_lags(
            [
                tcp(hole),
                tcp(mute, expect=b"220"),
                http(mute),
                https(mute, str(tmp_path / "ca.pem"), timeout=0.3),
                udp(datagrams, send=b"?", expect=b"!"),
            ],
            count=3,
        )
    assert {(each.kind, each.reason) for outcomes in found for each in outcomes} == {(OutcomeKind.DOWN, Reason.TIMEOUT)}


@pytest.mark.parametrize("timeout", [0.05, 0.4])
async def test_loop_that_lags_for_long_never_fails_a_healthy_server(
    ca: trustme.CA, tmp_path: Path, timeout: float
) -> None:
    """The shorter timeout is less than the loop stands still each time."""
    with answering_streams() as plain, answering_streams(served(ca)) as tls, answering_datagrams() as datagrams:
        found = await found_by_a_loop_that_lags(
            [
                tcp(plain, timeout=timeout),
                tcp(plain, send=b"?", expect=b"HTTP/", timeout=timeout),
                http(plain, body="ok", timeout=timeout),
                https(tls, str(tmp_path / "ca.pem"), timeout=timeout),
                udp(datagrams, send=b"?", expect=b"!", timeout=timeout),
            ],
            count=3,
        )
    assert {each.kind for outcomes in found for each in outcomes} == {OutcomeKind.UP}


async def test_slow_end_of_many_probes_run_once_is_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is overdue ends in slices. A later slice is not late."""
    late: list[float] = []
    tick, expire = Engine.tick, Engine._expire

    def noting_tick(engine: Engine, late_s: float) -> None:
        late.append(late_s)
        tick(engine, late_s)

    def slow_expire(engine: Engine, *arguments: Any) -> None:
        time.sleep(SLICE_S)
        expire(engine, *arguments)

    monkeypatch.setattr(Engine, "tick", noting_tick)
    monkeypatch.setattr(Engine, "_expire", slow_expire)
    with mute_listener() as port:
        await run_once([tcp(port, expect=bytes([65 + each])) for each in range(30)])
    assert len([each for each in late if each > deadlines.TICK_S]) < 5
