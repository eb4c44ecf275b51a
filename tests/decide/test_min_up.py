"""What is told of a service of which fewer real servers may serve than `min_up`, and when."""

import msgspec

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.model import Below, Config, MinUp
from lvs_healthd.events.kinds import Event, ServiceBelow, ServiceEnough, ServiceFallback, ServiceServing
from lvs_healthd.health.machine import Verdict
from lvs_healthd.state.overrides import Kind, Override
from tests.configs import config, server, service, tcp_check
from tests.decide.test_decisions import CHECK_A, CHECK_B, FAIL, PASS, A, B, Bench, table_of

C, SPARE = "198.51.100.13", "198.51.100.99"
CHECK_C = tcp_check(C, 80)
DOWN, UP = (FAIL, FAIL, FAIL), (PASS, PASS)


def needing(needed: int, below: Below, *, weight: int = 1, **keys: object) -> Config:
    plain = service(*(server(each, weight=weight) for each in (A, B, C)), fallback=(SPARE,))
    return config(msgspec.structs.replace(plain, min_up=MinUp(count=needed), below=below, **keys))


def started(given: Config) -> Bench:
    bench = Bench()
    bench.configure(given, table_of(given))
    bench.weights()
    return bench


def told(bench: Bench) -> list[Event]:
    """Plan, and return what was told of the service since the last call."""
    bench.weights()
    kinds = (ServiceBelow, ServiceEnough, ServiceFallback, ServiceServing)
    found: list[Event] = [event for event in bench.events if isinstance(event, kinds)]
    bench.events.clear()
    return found


def below(able: int, needed: int, action: str) -> ServiceBelow:
    return ServiceBelow(service="web", able=able, min_up=needed, is_weight=False, action=action)


def test_service_that_goes_to_its_fallback_and_comes_back() -> None:
    bench = started(needing(2, Below.FALLBACK))
    bench.feed(CHECK_A, *DOWN)
    assert told(bench) == []
    bench.feed(CHECK_B, *DOWN)
    assert told(bench) == [below(1, 2, "fallback")]
    assert bench.weights() == {C: 0, SPARE: 1}
    bench.feed(CHECK_C, *DOWN)
    assert told(bench) == [ServiceFallback(service="web", fallback=(f"{SPARE}:80",))]
    bench.feed(CHECK_C, *UP)
    assert told(bench) == [ServiceServing(service="web", servers=1)]
    assert bench.weights() == {C: 0, SPARE: 1}
    bench.feed(CHECK_A, *UP)
    assert told(bench) == [ServiceEnough(service="web", able=2, min_up=2, is_weight=False)]
    assert bench.weights() == {A: 1, C: 1}


def test_service_that_is_only_told_uses_its_fallback_when_nobody_is_left() -> None:
    bench = started(needing(2, Below.NONE))
    bench.feed(CHECK_A, *DOWN)
    bench.feed(CHECK_B, *DOWN)
    assert told(bench) == [below(1, 2, "none")]
    assert bench.weights() == {C: 1}
    bench.feed(CHECK_C, *DOWN)
    assert below(0, 2, "fallback") in told(bench)
    assert bench.weights() == {SPARE: 1}


def test_service_that_fails_open_even_if_it_needs_only_one() -> None:
    bench = started(needing(1, Below.FAIL_OPEN))
    for check in (CHECK_A, CHECK_B, CHECK_C):
        bench.feed(check, *DOWN)
    assert told(bench) == [below(0, 1, "fail_open")]
    assert bench.weights() == {A: 1, B: 1, C: 1}
    bench.feed(CHECK_A, *UP)
    assert told(bench)[0] == ServiceEnough(service="web", able=1, min_up=1, is_weight=False)
    assert bench.weights() == {A: 1}


def test_service_that_fails_open_tells_when_operators_take_out_all_and_the_fallback_serves() -> None:
    bench = started(needing(1, Below.FAIL_OPEN))
    for check in (CHECK_A, CHECK_B, CHECK_C):
        bench.feed(check, *DOWN)
    assert told(bench) == [below(0, 1, "fail_open")]
    for address in (A, B, C):
        bench.decisions.overrides.put(
            Override(kind=Kind.DISABLE, service="192.0.2.100:80/tcp", server=f"{address}:80", uid=0, since=0.0)
        )
    bench.decisions.reconsider(bench.decisions.servers)
    assert told(bench) == [below(0, 1, "fallback")]
    assert bench.weights() == {SPARE: 1}


def test_start_is_no_alarm_until_it_is_known_and_does_not_fail_open_before() -> None:
    for action in (Below.FAIL_OPEN, Below.FALLBACK):
        bench = Bench()
        bench.configure(needing(2, action))
        bench.weights()
        bench.feed(CHECK_A, *UP)
        assert told(bench) == [ServiceServing(service="web", servers=1)]
        assert bench.weights() == ({A: 1} if action is Below.FAIL_OPEN else {A: 0, SPARE: 1})
        bench.feed(CHECK_B, *DOWN)
        assert told(bench) == []
        bench.feed(CHECK_C, *DOWN)
        assert told(bench) == [below(1, 2, str(action))]
        assert bench.weights() == ({A: 1, B: 1, C: 1} if action is Below.FAIL_OPEN else {A: 0, SPARE: 1})


def test_start_with_enough_is_no_news() -> None:
    bench = started(needing(2, Below.FALLBACK))
    assert not [event for event in bench.events if isinstance(event, ServiceBelow | ServiceEnough)]


def test_service_that_fails_open_goes_on_after_a_restart() -> None:
    given = needing(2, Below.FAIL_OPEN)
    bench = started(given)
    for check in (CHECK_A, CHECK_B):
        bench.feed(check, *DOWN)
    table = bench.decisions.wanted({}).table
    again = Bench()
    again.configure(given, table, [*bench.decisions.saved_verdicts()])
    for _ in range(4):
        for check, outcome in ((CHECK_A, FAIL), (CHECK_B, FAIL), (CHECK_C, PASS)):
            again.feed(check, outcome)
            assert again.weights() == {A: 1, B: 1, C: 1}
    again.feed(CHECK_A, *UP)
    assert again.weights() == {A: 1, C: 1}


def test_server_that_was_down_and_is_in_the_table_is_adopted_unless_its_service_failed_open() -> None:
    for given, dead in ((needing(2, Below.FAIL_OPEN), (CHECK_A,)), (needing(2, Below.NONE), (CHECK_A, CHECK_B))):
        bench = started(given)
        for check in dead:
            bench.feed(check, *DOWN)
        again = Bench()
        again.configure(given, table_of(given), [*bench.decisions.saved_verdicts()])
        assert again.weights() == {A: 1, B: 1, C: 1}
        assert again.verdict(A) is Verdict.UP


def test_reload_tells_nothing_again() -> None:
    bench = started(needing(2, Below.FALLBACK))
    bench.feed(CHECK_A, *DOWN)
    bench.feed(CHECK_B, *DOWN)
    assert told(bench) == [below(1, 2, "fallback")]
    bench.configure(needing(2, Below.FALLBACK, on_failure="quiesce"))
    assert told(bench) == []


def test_reload_that_needs_fewer_tells_that_there_are_enough() -> None:
    bench = started(needing(2, Below.FALLBACK))
    bench.feed(CHECK_A, *DOWN)
    bench.feed(CHECK_B, *DOWN)
    assert told(bench) == [below(1, 2, "fallback")]
    bench.configure(needing(1, Below.FALLBACK))
    assert told(bench) == [ServiceEnough(service="web", able=1, min_up=1, is_weight=False)]
    assert bench.weights() == {C: 1}
    bench.feed(CHECK_C, *DOWN)
    assert told(bench) == [ServiceFallback(service="web", fallback=(f"{SPARE}:80",))]
    bench.feed(CHECK_C, *UP)
    assert told(bench) == [ServiceServing(service="web", servers=1)]


def test_server_that_recovers_while_the_service_fails_open_has_its_whole_weight() -> None:
    bench = started(needing(2, Below.FAIL_OPEN, weight=100, slow_start=Seconds(60.0)))
    bench.feed(CHECK_A, *DOWN)
    bench.feed(CHECK_B, *DOWN)
    assert bench.weights() == {A: 100, B: 100, C: 100}
    bench.feed(CHECK_A, *UP)
    assert bench.weights() == {A: 100, C: 100}
    bench.feed(CHECK_B, *UP)
    assert bench.weights() == {A: 100, B: 5, C: 100}


def share_of(below_it: Below, *addresses: str) -> Config:
    """A service of which all real servers are needed."""
    plain = service(*map(server, addresses), fallback=(SPARE,))
    return config(msgspec.structs.replace(plain, min_up=MinUp(percent=100), below=below_it))


def test_servers_that_a_reload_adds_do_not_put_the_others_out_of_service() -> None:
    for action in Below:
        bench = started(share_of(action, A, B))
        bench.configure(share_of(action, A, B, C))
        assert told(bench) == []
        assert bench.weights() == {A: 1, B: 1}
        bench.feed(CHECK_C, *UP)
        assert told(bench) == []
        assert bench.weights() == {A: 1, B: 1, C: 1}


def test_servers_that_a_reload_adds_count_as_missing_once_they_are_known_to_be_down() -> None:
    bench = started(share_of(Below.FALLBACK, A, B))
    bench.configure(share_of(Below.FALLBACK, A, B, C))
    bench.feed(CHECK_C, *DOWN)
    assert told(bench) == [below(2, 3, "fallback")]
    assert bench.weights() == {A: 0, B: 0, SPARE: 1}


def test_reload_that_adds_servers_changes_nothing_of_what_is_done_below_until_they_are_proven() -> None:
    for action, before in ((Below.FAIL_OPEN, {A: 1, B: 1}), (Below.FALLBACK, {B: 0, SPARE: 1})):
        bench = started(share_of(action, A, B))
        bench.feed(CHECK_A, *DOWN)
        assert told(bench) == [below(1, 2, str(action))]
        few = share_of(action, A, B, C)
        few = config(msgspec.structs.replace(few.services[0], min_up=MinUp(count=2)))
        bench.configure(few)
        assert {address: weight for address, weight in bench.weights().items() if address != C} == before
        assert told(bench) == []
        bench.feed(CHECK_C, *UP)
        assert bench.weights() == {B: 1, C: 1}


def test_reload_that_replaces_a_server_of_a_service_that_fails_open_takes_out_no_other() -> None:
    bench = started(needing(2, Below.FAIL_OPEN))
    for check in (CHECK_A, CHECK_B, CHECK_C):
        bench.feed(check, *DOWN)
    bench.weights()
    table = bench.decisions.wanted({}).table
    new = "198.51.100.14"
    plain = service(*(server(each) for each in (A, B, new)), fallback=(SPARE,))
    bench.configure(config(msgspec.structs.replace(plain, min_up=MinUp(count=2), below=Below.FAIL_OPEN)), table)
    (planned,) = bench.decisions.wanted(table).table.values()
    weights = {each.address: record.weight for each, record in planned.destinations.items()}
    assert {each: weights[each] for each in (A, B, C)} == {A: 1, B: 1, C: 1}
    bench.feed(tcp_check(new, 80), *DOWN)
    assert bench.weights() == {A: 1, B: 1, new: 1}
