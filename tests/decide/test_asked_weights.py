"""Weights for which checks ask, and agents that say nothing: what becomes of them between outcomes and the table."""

import pytest

from lvs_healthd.config.check_model import AgentCheck, TcpCheck
from lvs_healthd.config.model import Config
from lvs_healthd.events.kinds import CheckUnsure, RealServerDown, RealServerUp, RealServerWeight
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.records import DestinationKey
from lvs_healthd.ipvs.words import AF_INET
from lvs_healthd.probes.agent import heard
from lvs_healthd.probes.outcome import Reason, down
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import FAIL, PASS, Bench

A, B = "198.51.100.11", "198.51.100.12"
AGENT = AgentCheck(name="agent", address=A, port=9707)
CHECK_A, CHECK_B = tcp_check(A, 80), tcp_check(B, 80)
REFUSED = down(Reason.REFUSED, "connection refused")


def web(weight: int = 10, *checks: AgentCheck | TcpCheck) -> Config:
    return config(service(server(A, weight=weight, checks=checks or (CHECK_A, AGENT)), server(B, weight=5)))


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.configure(web())
    made.feed(CHECK_A, PASS, PASS)
    made.feed(CHECK_B, PASS, PASS)
    return made


def why(bench: Bench) -> str:
    wanted, key = bench.decisions.wanted({}), bench.decisions.services[0].key
    return wanted.why[key, DestinationKey(AF_INET, A, 80)].reason


def test_agent_that_has_not_spoken_says_nothing_against_its_server(bench: Bench) -> None:
    assert bench.weights() == {A: 10, B: 5}
    bench.feed(AGENT, *[REFUSED] * 10)
    assert bench.weights() == {A: 10, B: 5}
    assert bench.decisions.unsure_probes() == (0, "")
    (told,) = bench.of(CheckUnsure)
    assert isinstance(told, CheckUnsure)
    assert told.reason == "connection refused; what the agent said last stands"


def test_weight_follows_the_agent_and_stays_while_it_is_silent(bench: Bench) -> None:
    bench.feed(AGENT, heard(b"up 75%"))
    assert bench.weights() == {A: 8, B: 5}
    assert why(bench) == "agent asks for 75%; connected"
    bench.feed(AGENT, REFUSED, heard(b"what?"), REFUSED)
    assert bench.weights() == {A: 8, B: 5}
    bench.feed(AGENT, heard(b"up"))
    assert bench.weights() == {A: 10, B: 5}
    assert why(bench) == "connected"
    weights = [(each.was, each.weight, each.reason) for each in bench.events if isinstance(each, RealServerWeight)]
    assert weights == [(10, 8, 'the agent says "up 75%"'), (8, 10, 'the agent says "up"')]


def test_repeated_word_changes_nothing_and_asks_for_no_plan(bench: Bench) -> None:
    bench.feed(AGENT, heard(b"up 75%"))
    changes, events = bench.changes, len(bench.events)
    bench.feed(AGENT, *[heard(b"up 75%")] * 5, heard(b"75% up"))
    assert (bench.changes, len(bench.events)) == (changes, events)


def test_drain_leaves_the_server_at_weight_0_and_ready_brings_it_back(bench: Bench) -> None:
    bench.feed(AGENT, heard(b"drain"))
    assert bench.weights() == {A: 0, B: 5}
    bench.feed(AGENT, heard(b"ready 50%"))
    assert bench.weights() == {A: 5, B: 5}
    assert not bench.of(RealServerDown)


def test_agent_takes_its_server_down_until_it_says_otherwise(bench: Bench) -> None:
    bench.feed(AGENT, heard(b"down # disk"), REFUSED, REFUSED)
    assert bench.weights() == {B: 5}
    assert bench.verdict(A) is Verdict.DOWN
    bench.feed(AGENT, heard(b"40%"))
    assert bench.weights() == {A: 4, B: 5}
    (told,) = bench.of(RealServerDown)
    assert isinstance(told, RealServerDown)
    assert (told.check, told.reason) == ("agent", "the agent says down: disk")
    assert len(bench.of(RealServerUp)) == 3


def test_agent_does_not_save_a_server_that_another_check_takes_down(bench: Bench) -> None:
    bench.feed(AGENT, heard(b"up 30%"))
    bench.feed(CHECK_A, FAIL, FAIL, FAIL)
    assert bench.weights() == {B: 5}
    bench.feed(CHECK_A, PASS, PASS)
    assert bench.weights() == {A: 3, B: 5}


def test_server_with_only_an_agent_is_proven_by_its_word() -> None:
    bench = Bench()
    bench.configure(web(10, AGENT))
    bench.feed(CHECK_B, PASS, PASS)
    bench.feed(AGENT, REFUSED, REFUSED, REFUSED)
    assert bench.weights() == {B: 5}
    bench.feed(AGENT, heard(b"50%"))
    assert bench.weights() == {A: 5, B: 5}


def test_reload_keeps_the_share_and_takes_it_of_the_new_weight(bench: Bench) -> None:
    bench.feed(AGENT, heard(b"50%"))
    bench.configure(web(40))
    assert bench.weights() == {A: 20, B: 5}
    assert why(bench) == "agent asks for 50%; connected"
    bench.configure(web(40, CHECK_A))
    assert bench.weights() == {A: 40, B: 5}


def test_restart_keeps_the_share() -> None:
    before = Bench()
    before.configure(web())
    before.feed(CHECK_A, PASS, PASS)
    before.feed(CHECK_B, PASS, PASS)
    before.feed(AGENT, heard(b"70%"))
    table, saved = before.decisions.wanted({}).table, list(before.decisions.saved_verdicts())
    after = Bench()
    after.configure(web(), table, saved)
    assert after.weights() == {A: 7, B: 5}


def test_service_whose_servers_all_drain_falls_back() -> None:
    bench = Bench()
    bench.configure(config(service(server(A, checks=(CHECK_A, AGENT)), fallback=("198.51.100.99",))))
    bench.feed(CHECK_A, PASS, PASS)
    bench.feed(AGENT, heard(b"maint"))
    assert bench.weights() == {A: 0, "198.51.100.99": 1}
