"""Verdicts that nothing renews are told, and never removed."""

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import AgentCheck, AnyCheck
from lvs_healthd.config.model import Config
from lvs_healthd.decide.stale import patience_s, remark_on
from lvs_healthd.events.kinds import CheckRenewed, CheckStale
from lvs_healthd.health.machine import Verdict
from lvs_healthd.probes.targets import probe_key
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import CHECK_A, CHECK_B, FAIL, PAIR, PASS, UNSURE, A, Bench, table_of

SLOW = tcp_check(A, 80, interval=Seconds(60.0))
SLOW_WHILE_DOWN = tcp_check(A, 80, down_interval=Seconds(60.0))
LONG = tcp_check(A, 80, timeout=Seconds(30.0))


def one(check: AnyCheck) -> Config:
    return config(service(server(A, checks=(check,))))


async def told(bench: Bench) -> list[CheckStale | CheckRenewed]:
    return [each async for each in bench.decisions.stale.turn()]


def started(check: AnyCheck) -> Bench:
    bench = Bench()
    bench.configure(one(check), table_of(one(check)))
    return bench


@pytest.mark.parametrize("last", [PASS, FAIL])
async def test_verdict_that_only_unsure_outcomes_follow_is_told_once_and_held(last: object) -> None:
    bench = Bench()
    bench.configure(PAIR, table_of(PAIR))
    bench.feed(CHECK_A, PASS, last)  # type: ignore[arg-type]
    proved = bench.now
    while bench.now < proved + 60.0:
        bench.feed(CHECK_A, UNSURE)
        bench.feed(CHECK_B, PASS)
        assert await told(bench) == []
    bench.feed(CHECK_A, UNSURE)
    (event,) = await told(bench)
    assert event == CheckStale(
        service="web",
        server=f"{A}:80",
        check="tcp",
        verdict="up",
        age_s=bench.now - proved,
        reason=UNSURE.detail,
    )
    for _ in range(1000):
        bench.feed(CHECK_A, UNSURE)
        bench.feed(CHECK_B, PASS)
        assert await told(bench) == []
    assert bench.weights()[A] == 3
    assert bench.verdict(A) is Verdict.UP


async def test_outcome_of_either_kind_renews_the_verdict() -> None:
    for outcome in (PASS, FAIL):
        bench = started(CHECK_A)
        bench.now += 61.0
        assert [type(each) for each in await told(bench)] == [CheckStale]
        bench.feed(CHECK_A, outcome)
        (event,) = await told(bench)
        assert event == CheckRenewed(service="web", server=f"{A}:80", check="tcp", verdict="up")
        assert await told(bench) == []


async def test_verdict_is_stale_too_when_no_outcome_comes_at_all() -> None:
    bench = started(CHECK_A)
    bench.now += 60.0
    assert await told(bench) == []
    bench.now += 0.1
    (event,) = await told(bench)
    assert isinstance(event, CheckStale)
    assert event.reason == "its probe has not ended once"
    bench.feed(CHECK_A, PASS, PASS)
    await told(bench)
    bench.now += 60.1
    (event,) = await told(bench)
    assert isinstance(event, CheckStale)
    assert event.reason == PASS.detail


@pytest.mark.parametrize(
    ("check", "is_down", "expected"),
    [
        (CHECK_A, False, 60.0),
        (SLOW, False, 300.0),
        (SLOW_WHILE_DOWN, False, 60.0),
        (SLOW_WHILE_DOWN, True, 300.0),
        (LONG, False, 150.0),
    ],
)
async def test_patience_is_five_intervals_or_a_minute(check: AnyCheck, is_down: bool, expected: float) -> None:
    bench = started(check)
    bench.feed(check, *[FAIL if is_down else PASS] * 3)
    probe = bench.decisions.probes[probe_key(check)]
    assert patience_s(probe) == expected
    bench.now += expected
    assert await told(bench) == []
    bench.now += 0.1
    assert len(await told(bench)) == 1
    assert bench.verdict(A) is (Verdict.DOWN if is_down else Verdict.UP)


async def test_silent_agent_is_not_stale() -> None:
    agent = AgentCheck(name="agent", address=A, port=9777)
    bench = Bench()
    given = config(service(server(A, checks=(agent, CHECK_A))))
    bench.configure(given, table_of(given))
    for _ in range(100):
        bench.feed(agent, FAIL)
        bench.feed(CHECK_A, PASS)
    assert await told(bench) == []


async def test_every_check_that_shares_the_probe_is_told() -> None:
    both = config(service(server(A)), service(server(A), name="two", port=81))
    shared = tcp_check(A, 80)
    bench = Bench()
    bench.configure(both, table_of(both))
    bench.now += 61.0
    assert [each.service for each in await told(bench)] == ["web", "two"]
    assert len(bench.decisions.probes) == 1
    assert remark_on(bench.decisions.probes[probe_key(shared)], bench.now) == (
        "the verdict is 61s old and only held, because no probe has proved anything since"
    )


async def test_reload_does_not_renew_anything() -> None:
    bench = started(CHECK_A)
    bench.feed(CHECK_A, PASS)
    for _ in range(6):
        bench.feed(CHECK_A, UNSURE)
        bench.now += 9.5
        bench.configure(one(CHECK_A))
    assert [type(each) for each in await told(bench)] == [CheckStale]
