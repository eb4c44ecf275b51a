"""The brake over many targets: who is counted behind which way, what is kept in the table, and when it is let go."""

from collections.abc import Callable

import msgspec
import pytest

from lvs_healthd.config.basics import Endpoint, Seconds
from lvs_healthd.config.check_model import AnyCheck, UdpCheck
from lvs_healthd.config.model import Below, Config, Damping, FallbackServer, MinUp, RealServer, Service
from lvs_healthd.decide.blame import OwnFaults
from lvs_healthd.decide.brake import Stage
from lvs_healthd.decide.braking import MOST_CAUSES
from lvs_healthd.decide.maintenance import Folder, new_file
from lvs_healthd.decide.way import NO_FINDING, Change, Finding
from lvs_healthd.health.damping import Flaps
from lvs_healthd.health.machine import Verdict
from lvs_healthd.probes.outcome import Course, Outcome, OutcomeKind, Reason, down, unsure, up
from lvs_healthd.probes.targets import probe_key
from lvs_healthd.reconcile.gate import Braked
from lvs_healthd.state.overrides import Kind, Override
from tests.configs import config, server, service, tcp_check
from tests.decide.test_blame import Faults
from tests.decide.test_decisions import Bench, table_of
from tests.ipvs.tables import WEB

PASS = up("connected")
TIMEOUT = down(Reason.TIMEOUT, "no answer in 1s")
HOST_UNREACHABLE = down(Reason.UNREACHABLE, "host unreachable")
REFUSED = down(Reason.REFUSED, "connection refused")
NO_CARRIER = unsure(Reason.LOCAL_NETWORK, "our interface eth1 has no carrier")
ARP = "neighbour 198.51.100.1 answers on eth1"
FIREWALL = "our own firewall drops packets"
TEN = tuple(f"198.51.100.{number}" for number in range(11, 21))
FAR = ("203.0.113.1", "203.0.113.2", "203.0.113.3")
TOOK_S = {Reason.TIMEOUT: 1.0, Reason.UNREACHABLE: 0.9}


class Ways:
    """All of 198.51.100.0/24 is behind eth1, and 203.0.113.0/24 behind a router in it. The rest is elsewhere."""

    def of(self, check: AnyCheck) -> tuple[str, ...]:
        if check.address.startswith("198.51.100."):
            return ("eth1",)
        return ("eth1", "eth1 via 198.51.100.1") if check.address.startswith("203.0.113.") else ()


class Rounds(Bench):
    """A bench on which all targets are probed in turn, one round every two seconds."""

    def __init__(self, own: OwnFaults | None = None) -> None:
        super().__init__(own=own)
        self.braking = self.decisions.braking
        self.braking.ways = Ways()

    def serve(self, *addresses: str, change: Callable[[Service], Service] | None = None) -> Config:
        """Configure one service with these servers, all of which are up, and answer."""
        one = service(*map(server, addresses))
        given = config(change(one) if change else one)
        self.configure(given, table_of(given))
        self.round(dict.fromkeys(addresses, PASS), times=2)
        return given

    def round(self, answers: dict[str, Outcome], times: int = 1, *, connected: bool = False) -> None:
        for _ in range(times):
            self.now += 1.0
            for address, outcome in answers.items():
                self.now += 1.0 / len(answers)
                took_s = TOOK_S.get(outcome.reason, 0.001)
                key = probe_key(tcp_check(address, 80))
                again = Outcome(outcome.kind, outcome.reason, outcome.detail)
                self.decisions.probes[key].outcome(again, Course(took_s, connected_s=0.01 if connected else None))

    async def turn(self, finding: Finding = NO_FINDING, way: str = "eth1") -> list[Change]:
        return await self.braking.turn({way: finding})

    def stage(self, way: str = "eth1") -> Stage:
        brake = self.braking.active.get(way)
        return Stage.CLEAR if brake is None else brake.stage

    def kept(self) -> set[str]:
        return {key.address for braked in self.braking.kept().values() for key in braked.servers}


@pytest.fixture
def bench() -> Rounds:
    return Rounds()


def all_of(addresses: tuple[str, ...], outcome: Outcome) -> dict[str, Outcome]:
    return dict.fromkeys(addresses, outcome)


async def test_ten_that_fall_silent_together_stay_in_the_table_until_one_answers(bench: Rounds) -> None:
    bench.serve(*TEN)
    bench.round(all_of(TEN, TIMEOUT))
    assert bench.stage() is Stage.DOUBT
    (change,) = await bench.turn()
    assert (change.stage, change.held.way, change.held.silent, change.held.targets) == (Stage.BRAKED, "eth1", 10, 10)
    bench.round(all_of(TEN, TIMEOUT), times=2)
    assert all(bench.verdict(each) is Verdict.DOWN for each in TEN)
    assert bench.kept() == {*TEN}
    assert await bench.turn() == []
    bench.round({TEN[3]: PASS})
    (change,) = await bench.turn()
    assert (change.stage, change.why) == (Stage.CLEAR, "a target answers")


async def braked_with_all_down(bench: Rounds) -> None:
    bench.serve(*TEN)
    for _ in range(4):
        bench.round(all_of(TEN, TIMEOUT))
        await bench.turn()
    assert (bench.stage(), bench.kept()) == (Stage.BRAKED, {*TEN})


async def test_network_that_works_again_takes_nobody_out_before_the_servers_have_shown_themselves(
    bench: Rounds,
) -> None:
    """With rise = 2, the first pass leaves a server down. It must not go out between the two."""
    await braked_with_all_down(bench)
    bench.round({TEN[0]: PASS})
    assert [change.stage for change in await bench.turn()] == [Stage.CLEAR]
    assert bench.kept() == {*TEN}
    bench.round(all_of(TEN[1:], PASS))
    await bench.turn()
    assert bench.kept() == {*TEN}
    assert bench.verdict(TEN[5]) is Verdict.DOWN
    bench.round(all_of(TEN, PASS))
    assert all(bench.verdict(each) is Verdict.UP for each in TEN)
    await bench.turn()
    assert bench.kept() == {*TEN}  # the wanted table still lacks them
    bench.braking.planned()
    assert bench.kept() == set()
    await bench.turn()
    assert not bench.braking.is_busy


async def test_server_that_the_brake_has_kept_does_not_come_slowly(bench: Rounds) -> None:
    def slowly(one: Service) -> Service:
        heavy = tuple(msgspec.structs.replace(each, weight=100) for each in one.real_servers)
        return msgspec.structs.replace(one, slow_start=Seconds(60.0), real_servers=heavy)

    bench.serve(*TEN, change=slowly)
    for _ in range(4):
        bench.round(all_of(TEN, TIMEOUT))
        await bench.turn()
    assert bench.kept() == {*TEN}
    bench.round(all_of(TEN[1:], PASS), times=2)
    assert bench.weights() == dict.fromkeys(TEN[1:], 100)
    bench.braking.planned()
    await bench.turn()
    bench.round({TEN[0]: TIMEOUT})
    await bench.turn()
    assert bench.kept() == set()
    bench.round({TEN[0]: PASS}, times=2)
    assert bench.weights()[TEN[0]] == 5  # the brake has let it go


async def test_those_that_stay_silent_or_refuse_go_out_at_their_next_probe(bench: Rounds) -> None:
    await braked_with_all_down(bench)
    bench.round({TEN[0]: PASS})
    await bench.turn()
    bench.round({TEN[0]: PASS} | all_of(TEN[1:4], TIMEOUT) | all_of(TEN[4:6], REFUSED))
    await bench.turn()
    bench.braking.planned()
    assert bench.kept() == {*TEN[6:]}
    bench.now += 10.0
    await bench.turn()
    assert bench.kept() == set()
    assert not bench.braking.is_busy


async def test_network_that_breaks_again_meanwhile_is_held_again(bench: Rounds) -> None:
    await braked_with_all_down(bench)
    bench.round({TEN[0]: PASS})
    await bench.turn()
    for _ in range(10):
        bench.round(all_of(TEN[::-1], TIMEOUT))
        await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert bench.kept() >= {*TEN[1:]}


@pytest.mark.parametrize("silence", [TIMEOUT, HOST_UNREACHABLE])
async def test_half_of_ten_powered_off_is_no_case_for_the_brake(bench: Rounds, silence: Outcome) -> None:
    bench.serve(*TEN)
    for _ in range(3):
        bench.round(all_of(TEN[:5], silence) | all_of(TEN[5:], PASS))
        assert await bench.turn() == []
        bench.round({})
    assert [bench.verdict(each) for each in TEN] == [Verdict.DOWN] * 5 + [Verdict.UP] * 5
    assert bench.stage() is Stage.CLEAR
    assert bench.kept() == set()


@pytest.mark.parametrize("outcome", [REFUSED, down(Reason.BAD_STATUS, "status 503"), down(Reason.RESET, "reset")])
async def test_answer_of_any_kind_proves_the_way(bench: Rounds, outcome: Outcome) -> None:
    bench.serve(*TEN)
    bench.round(all_of(TEN, outcome), times=3)
    assert bench.stage() is Stage.CLEAR
    assert bench.verdict(TEN[0]) is Verdict.DOWN
    assert bench.kept() == set()


async def test_connection_that_was_accepted_proves_the_way_though_nothing_follows(bench: Rounds) -> None:
    bench.serve(*TEN)
    bench.round(all_of(TEN, TIMEOUT), times=3, connected=True)
    assert bench.stage() is Stage.CLEAR
    assert bench.verdict(TEN[0]) is Verdict.DOWN


async def test_two_servers_of_which_one_dies_are_no_case(bench: Rounds) -> None:
    bench.serve(*TEN[:2])
    for _ in range(3):
        bench.round({TEN[0]: TIMEOUT, TEN[1]: PASS})
        await bench.turn()
    assert bench.verdict(TEN[0]) is Verdict.DOWN
    assert bench.kept() == set()


async def test_lone_server_is_taken_out_at_once(bench: Rounds) -> None:
    bench.serve(TEN[0])
    bench.round({TEN[0]: TIMEOUT})
    await bench.turn()
    assert bench.stage() is Stage.RELEASED
    bench.round({TEN[0]: TIMEOUT}, times=2)
    assert bench.verdict(TEN[0]) is Verdict.DOWN
    assert bench.kept() == set()


async def test_last_server_is_not_delayed_by_those_that_died_long_before(bench: Rounds) -> None:
    bench.serve(*TEN[:3])
    bench.round(all_of(TEN[:2], TIMEOUT) | {TEN[2]: PASS}, times=20)
    await bench.turn()
    bench.round(all_of(TEN[:3], TIMEOUT))
    await bench.turn()
    assert bench.stage() is Stage.RELEASED


async def test_uplink_that_breaks_while_some_are_dead_is_a_case_all_the_same(bench: Rounds) -> None:
    bench.serve(*TEN)
    for _ in range(20):
        bench.round(all_of(TEN[:3], TIMEOUT) | all_of(TEN[3:], PASS))
        await bench.turn()
    bench.round(all_of(TEN, TIMEOUT))
    (change,) = await bench.turn()
    assert (change.stage, change.held.silent, change.held.targets) == (Stage.BRAKED, 7, 7)


async def test_first_server_to_go_down_waits_for_what_the_others_say(bench: Rounds) -> None:
    """With fall = 1, the first verdict comes before the other targets have been probed."""
    checks = {each: (tcp_check(each, 80, fall=1),) for each in TEN}
    given = config(service(*(server(each, checks=checks[each]) for each in TEN)))
    bench.configure(given, table_of(given))
    bench.round(all_of(TEN, PASS))
    bench.round({TEN[0]: TIMEOUT})
    assert (bench.verdict(TEN[0]), bench.stage()) == (Verdict.DOWN, Stage.DOUBT)
    assert bench.kept() == {TEN[0]}
    bench.round({TEN[1]: PASS})
    assert await bench.turn() == []
    assert bench.kept() == set()


async def test_servers_behind_a_router_that_is_gone_are_kept_though_its_network_answers(bench: Rounds) -> None:
    bench.serve(*TEN, *FAR)
    for _ in range(3):
        bench.round(all_of(FAR, TIMEOUT) | all_of(TEN, PASS))
        await bench.turn(way="eth1 via 198.51.100.1")
    assert bench.stage() is Stage.CLEAR
    assert bench.stage("eth1 via 198.51.100.1") is Stage.BRAKED
    assert bench.kept() == {*FAR}


async def test_servers_elsewhere_are_taken_out_as_usual(bench: Rounds) -> None:
    bench.serve(*TEN, "192.0.2.66")
    for _ in range(3):
        bench.round(all_of((*TEN, "192.0.2.66"), TIMEOUT))
        await bench.turn()
    assert bench.verdict("192.0.2.66") is Verdict.DOWN
    assert bench.kept() == {*TEN}


async def test_neighbour_that_answers_lets_go_once_the_firewall_has_been_watched(bench: Rounds) -> None:
    bench.serve(*TEN)
    bench.round(all_of(TEN, TIMEOUT))
    await bench.turn(Finding(proof=ARP, watched_from=bench.now + 0.1, watched_to=bench.now + 0.2))
    assert bench.stage() is Stage.BRAKED  # no probe has been sent while the firewall was watched
    watched_from = bench.now
    bench.round(all_of(TEN, TIMEOUT))
    (change,) = await bench.turn(Finding(proof=ARP, watched_from=watched_from, watched_to=bench.now))
    assert (change.stage, change.why) == (Stage.RELEASED, ARP)


async def test_own_firewall_that_drops_is_named_and_no_neighbour_lets_go(bench: Rounds) -> None:
    bench.serve(*TEN)
    bench.round(all_of(TEN, TIMEOUT))
    watched_from = bench.now
    assert [change.held.causes for change in await bench.turn()] == [()]
    bench.round(all_of(TEN, TIMEOUT))
    finding = Finding((FIREWALL,), ARP, watched_from, bench.now)
    assert [(change.stage, change.held.causes) for change in await bench.turn(finding)] == [(Stage.BRAKED, (FIREWALL,))]
    assert await bench.turn(finding) == []  # the same cause is not told again


async def test_fault_that_makes_all_outcomes_unsure_brakes_and_is_named(bench: Rounds) -> None:
    bench.serve(*TEN)
    bench.round(all_of(TEN, NO_CARRIER))
    (change,) = await bench.turn()
    assert (change.stage, change.held.causes) == (Stage.BRAKED, (NO_CARRIER.detail,))
    assert bench.kept() == set()  # nobody has gone down, so nothing had to be kept
    bench.round(all_of(TEN, PASS))
    (change,) = await bench.turn()
    assert change.stage is Stage.CLEAR


async def test_causes_that_name_each_target_are_not_told_by_the_thousand(bench: Rounds) -> None:
    bench.serve(*TEN)
    for number in range(3):
        bench.round({each: unsure(Reason.NO_ROUTE, f"no route to {each}, {number}") for each in TEN})
        changes = await bench.turn()
        assert len(changes) == (number == 0)
    assert [len(held.causes) for held in bench.braking.held] == [MOST_CAUSES]


async def test_it_lets_go_after_the_longest_time_and_stays_so_until_somebody_answers(bench: Rounds) -> None:
    bench.serve(*TEN)
    bench.round(all_of(TEN, TIMEOUT), times=3)
    await bench.turn()
    bench.round(all_of(TEN, TIMEOUT), times=151)
    (change,) = await bench.turn()
    assert (change.stage, bench.kept()) == (Stage.RELEASED, set())
    bench.round(all_of(TEN, TIMEOUT), times=5)
    assert await bench.turn() == []
    bench.round(all_of(TEN, PASS), times=2)
    await bench.turn()
    assert bench.stage() is Stage.CLEAR
    bench.round(all_of(TEN, TIMEOUT))
    assert [change.stage for change in await bench.turn()] == [Stage.BRAKED]


def with_fallback(*addresses: str) -> Callable[[Service], Service]:
    spares = tuple(FallbackServer(endpoint=Endpoint(each, 80)) for each in addresses)
    return lambda one: msgspec.structs.replace(one, fallback=spares)


async def test_service_whose_fallback_is_the_director_goes_there_without_waiting() -> None:
    own = Faults()
    own.ours = "198.51.100.1"
    bench = Rounds(own=own)
    for fallback, is_kept in (("127.0.0.1", False), ("198.51.100.1", False), ("192.0.2.99", True)):
        bench = Rounds(own=own)
        bench.serve(*TEN, change=with_fallback(fallback))
        bench.round(all_of(TEN, TIMEOUT))
        await bench.turn()
        bench.round(all_of(TEN, TIMEOUT), times=2)
        assert bench.stage() is Stage.BRAKED
        assert (bench.kept() == {*TEN}) is is_kept, fallback


async def test_fallback_that_is_kept_out_is_named_and_one_that_answers_a_check_serves() -> None:
    bench = Rounds()
    elsewhere = "192.0.2.99"
    given = config(
        with_fallback(elsewhere)(service(*map(server, TEN))),
        service(server(elsewhere), name="other", address="192.0.2.101"),
    )
    bench.configure(given, table_of(given))
    bench.round(all_of((*TEN, elsewhere), PASS))
    bench.round(all_of((*TEN, elsewhere), TIMEOUT), times=3)
    await bench.turn()
    ((key, braked),) = bench.braking.kept().items()
    assert key == WEB
    assert isinstance(braked, Braked)
    assert {each.address for each in braked.fallback} == {elsewhere}
    bench.round(all_of(TEN, TIMEOUT) | {elsewhere: PASS}, times=2)
    await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert bench.kept() == set()


async def test_fallback_on_a_machine_that_answers_again_does_not_come_while_the_servers_show_themselves() -> None:
    bench = Rounds()
    bench.serve(*TEN, change=with_fallback(TEN[0]))
    for _ in range(3):
        bench.round(all_of(TEN, TIMEOUT))
        await bench.turn()
    assert bench.kept() == {*TEN}
    bench.round({TEN[0]: PASS})
    for _ in range(3):
        await bench.turn()
    assert bench.stage() is Stage.CLEAR
    assert bench.kept() == {*TEN}


async def test_service_of_which_one_server_elsewhere_serves_keeps_its_silent_ones(bench: Rounds) -> None:
    bench.serve(*TEN, "192.0.2.66", change=with_fallback("127.0.0.1"))
    for _ in range(3):
        bench.round(all_of(TEN, TIMEOUT) | {"192.0.2.66": PASS})
        await bench.turn()
    assert bench.kept() == {*TEN}


async def test_fallback_that_serves_and_falls_silent_with_all_others_stays(bench: Rounds) -> None:
    spare = FallbackServer(endpoint=Endpoint("198.51.100.99", 80), checks=(tcp_check("198.51.100.99", 80),))
    bench.serve(*TEN, change=lambda one: msgspec.structs.replace(one, fallback=(spare,)))
    everybody = (*TEN, "198.51.100.99")
    bench.round(all_of(TEN, REFUSED) | {"198.51.100.99": PASS}, times=3)
    assert bench.weights() == {"198.51.100.99": 1}
    for _ in range(3):
        bench.round(all_of(everybody, TIMEOUT))
        await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert "198.51.100.99" in bench.kept()


async def test_silent_fallback_does_not_stay_beside_a_real_server_that_serves_again(bench: Rounds) -> None:
    spare = FallbackServer(endpoint=Endpoint("198.51.100.99", 80), checks=(tcp_check("198.51.100.99", 80),))
    elsewhere = "192.0.2.66"
    bench.serve(*TEN, elsewhere, change=lambda one: msgspec.structs.replace(one, fallback=(spare,)))
    real = (*TEN, elsewhere)
    bench.round(all_of(real, REFUSED) | {"198.51.100.99": PASS}, times=3)
    for _ in range(3):
        bench.round(all_of((*TEN, "198.51.100.99"), TIMEOUT) | {elsewhere: REFUSED})
        await bench.turn()
    bench.weights()
    assert bench.kept() == {"198.51.100.99"}
    bench.round(all_of((*TEN, "198.51.100.99"), TIMEOUT) | {elsewhere: PASS}, times=2)
    await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert bench.weights() == {elsewhere: 1}
    assert bench.kept() == set()


async def test_servers_that_answer_go_on_serving_though_they_are_fewer_than_needed(bench: Rounds) -> None:
    """The plan holds them out for the sake of the fallback, which the brake keeps out."""
    more = ("192.0.2.66", "192.0.2.67")
    needs = {"min_up": MinUp(count=5), "below": Below.FALLBACK}
    bench.serve(*TEN, *more, change=lambda one: msgspec.structs.replace(with_fallback("192.0.2.99")(one), **needs))
    for _ in range(3):
        bench.round(all_of(TEN, TIMEOUT) | all_of(more, PASS))
        await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert bench.weights()["192.0.2.66"] == 0
    assert bench.kept() == {*TEN, *more}
    bench.round(all_of((more[0],), REFUSED), times=3)
    bench.weights()
    assert bench.kept() == {*TEN, more[1]}


async def test_service_with_too_few_that_answer_goes_to_a_fallback_that_answers(bench: Rounds) -> None:
    needs = {"min_up": MinUp(count=2), "below": Below.FALLBACK}
    bench.serve(
        *TEN, "192.0.2.66", change=lambda one: msgspec.structs.replace(with_fallback("127.0.0.1")(one), **needs)
    )
    for _ in range(3):
        bench.round(all_of(TEN, TIMEOUT) | {"192.0.2.66": PASS})
        await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert bench.kept() == set()


async def test_service_without_the_brake_is_not_held(bench: Rounds) -> None:
    bench.serve(*TEN, change=lambda one: msgspec.structs.replace(one, brake=False))
    bench.round(all_of(TEN, TIMEOUT), times=3)
    await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert bench.kept() == set()


async def test_server_that_another_check_has_proved_dead_is_not_kept(bench: Rounds) -> None:
    both = (tcp_check(TEN[0], 80), tcp_check(TEN[0], 81, name="admin"))
    given = config(service(server(TEN[0], checks=both), *map(server, TEN[1:])))
    bench.configure(given, table_of(given))
    bench.round(all_of(TEN, PASS))
    bench.round(all_of(TEN, TIMEOUT), times=3)
    await bench.turn()
    assert TEN[0] in bench.kept()
    for _ in range(3):
        bench.feed(both[1], REFUSED)
    await bench.turn()
    assert TEN[0] not in bench.kept()


async def test_servers_that_a_reload_drops_are_not_kept(bench: Rounds) -> None:
    bench.serve(*TEN)
    bench.round(all_of(TEN, TIMEOUT), times=3)
    await bench.turn()
    given = config(service(*map(server, TEN[:4])))
    bench.configure(given, table_of(given))
    assert bench.kept() == {*TEN[:4]}
    await bench.turn()
    bench.configure(config(service(server("192.0.2.66"))))
    await bench.turn()
    assert (bench.stage(), bench.kept()) == (Stage.CLEAR, set())


async def test_datagrams_that_nobody_answers_prove_nothing(bench: Rounds) -> None:
    silent = UdpCheck(name="udp", address=TEN[0], port=53)
    given = config(service(server(TEN[0], checks=(silent, tcp_check(TEN[0], 80))), *map(server, TEN[1:])))
    bench.configure(given, table_of(given))
    bench.round(all_of(TEN, PASS))
    bench.round(all_of(TEN, TIMEOUT))
    bench.feed(silent, up("nobody refuses"))
    assert [change.stage for change in await bench.turn()] == [Stage.BRAKED]
    assert bench.decisions.probes[probe_key(silent)].last is not None
    assert OutcomeKind.UP is bench.decisions.probes[probe_key(silent)].last.kind  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("kind", "weight", "is_kept"),
    [(Kind.DRAIN, None, False), (Kind.DISABLE, None, False), (Kind.WEIGHT, 0, False), (Kind.WEIGHT, 7, True)],
)
async def test_brake_does_not_block_what_an_operator_orders(
    bench: Rounds, kind: Kind, weight: int | None, is_kept: bool
) -> None:
    await braked_with_all_down(bench)
    order = Override(kind=kind, service=str(WEB), server=f"{TEN[0]}:80", weight=weight, uid=0, since=0.0)
    bench.decisions.overrides.put(order)
    bench.decisions.reconsider(list(bench.decisions.servers))
    assert bench.kept() == ({*TEN} if is_kept else {*TEN[1:]})
    await bench.turn()
    assert bench.stage() is Stage.BRAKED
    bench.decisions.overrides.remove(order)
    bench.decisions.reconsider(list(bench.decisions.servers))
    assert bench.kept() == {*TEN}


async def test_brake_does_not_block_a_file_of_the_maintenance_folder(bench: Rounds) -> None:
    await braked_with_all_down(bench)
    bench.decisions.overrides.maintenance.folder = Folder({"/m/x": new_file("/m/x", TEN[0], 0.0, 0.0)})
    bench.decisions.reconsider(list(bench.decisions.servers))
    assert bench.kept() == {*TEN[1:]}
    await bench.turn()
    assert bench.stage() is Stage.BRAKED


async def test_server_that_serves_only_because_an_operator_gave_it_a_weight_is_kept(bench: Rounds) -> None:
    """Its configured weight is 0, but it has clients."""
    given = bench.serve(*TEN, change=lambda one: msgspec.structs.replace(one, real_servers=idle(one, 2)))
    for address in TEN[:1]:
        order = Override(kind=Kind.WEIGHT, service=str(WEB), server=f"{address}:80", weight=3, uid=0, since=0.0)
        bench.decisions.overrides.put(order)
    bench.decisions.reconsider(bench.decisions.servers)
    assert given.services[0].real_servers[0].weight == 0
    for _ in range(4):
        bench.round(all_of(TEN, TIMEOUT))
        await bench.turn()
    assert bench.kept() == {TEN[0], *TEN[2:]}


def idle(one: Service, count: int) -> tuple[RealServer, ...]:
    """Return the servers of a service, the first of them with weight 0."""
    first = [msgspec.structs.replace(each, weight=0) for each in one.real_servers[:count]]
    return (*first, *one.real_servers[count:])


async def test_drained_server_that_is_up_does_not_keep_a_service_from_its_fallback(bench: Rounds) -> None:
    elsewhere = "192.0.2.66"
    bench.serve(*TEN, elsewhere, change=with_fallback("127.0.0.1"))
    order = Override(kind=Kind.DRAIN, service=str(WEB), server=f"{elsewhere}:80", uid=0, since=0.0)
    bench.decisions.overrides.put(order)
    bench.decisions.reconsider(list(bench.decisions.servers))
    for _ in range(3):
        bench.round(all_of(TEN, TIMEOUT) | {elsewhere: PASS})
        await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert bench.kept() == set()


async def test_damped_server_serves_before_the_fallback_and_keeps_the_silent_ones(bench: Rounds) -> None:
    elsewhere = "192.0.2.66"
    with_damping = with_fallback("127.0.0.1")
    bench.serve(*TEN, elsewhere, change=lambda one: msgspec.structs.replace(with_damping(one), damping=Damping()))
    held = next(each for each in bench.decisions.servers if each.key.address == elsewhere)
    flaps = Flaps(since=bench.now, last=bench.now, holds=1, until=bench.now + 3600)
    bench.decisions.flapping.keep(held, flaps)
    bench.decisions.reconsider([held])
    for _ in range(3):
        bench.round(all_of(TEN, TIMEOUT) | {elsewhere: PASS})
        await bench.turn()
    assert bench.stage() is Stage.BRAKED
    assert bench.kept() == {*TEN}


async def test_target_that_nobody_asks_does_not_count_among_those_that_are_silent_or_not(bench: Rounds) -> None:
    """The services of half of the targets are standby, and suspended: the others fall silent together all the same."""
    bench.serve(*TEN)
    for probe in list(bench.decisions.probes.values()):
        if probe.check.address in TEN[5:]:
            bench.decisions.suspend(probe)
    bench.round(all_of(TEN[:5], TIMEOUT))
    (change,) = await bench.turn()
    assert (change.stage, change.held.silent, change.held.targets) == (Stage.BRAKED, 5, 5)
