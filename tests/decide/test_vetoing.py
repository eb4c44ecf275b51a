"""Servers that other directors hold: what stays in the table, for how long, and what the brake and operators say."""

import asyncio
from collections.abc import Iterable

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.model import FallbackServer, Service
from lvs_healthd.decide.agreeing import LONGEST_S, Opinion, Sight
from lvs_healthd.decide.brake import Stage
from lvs_healthd.decide.held import ServerState
from lvs_healthd.decide.vetoing import TOLD_AFTER_S, Change, sight_of
from lvs_healthd.health.machine import Verdict
from lvs_healthd.ipvs.records import DestinationKey, ServiceKey
from lvs_healthd.probes.outcome import Outcome, Reason, unsure
from lvs_healthd.reconcile.gate import Braked
from lvs_healthd.state.overrides import Kind, Override
from tests.configs import config, server, service
from tests.decide.test_braking import PASS, REFUSED, TEN, TIMEOUT, Rounds
from tests.decide.test_decisions import table_of
from tests.ipvs.tables import WEB

FIRST, SECOND = TEN[:2]
UP, DOWN, UNSURE = Sight.UP, Sight.DOWN, Sight.UNSURE


class Directors:
    """What other directors say of all servers, or of some."""

    def __init__(self, **seen: Sight) -> None:
        self.seen = seen
        self.age_s = 0.0

    def of(self, service: ServiceKey, server: DestinationKey) -> Iterable[Opinion]:
        return [Opinion(name, sight, self.age_s) for name, sight in self.seen.items()]


class Fleet(Rounds):
    """A bench with other directors."""

    def __init__(self, *addresses: str, agree: int = 2, **seen: Sight) -> None:
        super().__init__()
        self.vetoing = self.decisions.vetoing
        self.vetoing.agree = agree
        self.directors = self.vetoing.directors = Directors(**seen)
        self.serve(*(addresses or TEN))

    def server(self, address: str) -> ServerState:
        return next(each for each in self.decisions.servers if each.key.address == address)

    def kept(self) -> set[str]:
        return {each.address for braked in self.vetoing.kept().values() for each in braked.servers}

    async def look(self) -> list[Change]:
        return await self.vetoing.turn()

    def verdict(self, address: str) -> Verdict:
        return self.server(address).health.verdict


def with_fallback(one: Service) -> Service:
    return msgspec.structs.replace(one, fallback=(FallbackServer(endpoint=Endpoint("198.51.100.99", 80)),))


async def test_server_that_others_see_up_stays_and_goes_as_soon_as_one_agrees() -> None:
    fleet = Fleet(b=UP)
    fleet.round({FIRST: REFUSED}, times=3)
    assert (fleet.verdict(FIRST), fleet.kept()) == (Verdict.DOWN, {FIRST})
    assert await fleet.look() == [], "not told yet: others may only be slower"
    fleet.now += TOLD_AFTER_S
    (told,) = await fleet.look()
    assert (told.server, told.reason, told.after_s) == (
        fleet.server(FIRST),
        "seen up by b: 1 of 2 needed see it down",
        None,
    )
    assert await fleet.look() == []
    fleet.directors.seen["b"] = DOWN
    (told,) = await fleet.look()
    assert (told.reason, told.after_s) == ("seen down by b: 2 of 2 needed see it down", TOLD_AFTER_S)
    assert (fleet.kept(), fleet.vetoing.is_busy) == (set(), False)
    fleet.directors.seen["b"] = UP
    assert (await fleet.look(), fleet.kept()) == ([], set()), "it does not begin again"


async def test_veto_ends_after_five_minutes_and_one_that_is_over_begins_again_only_after_a_recovery() -> None:
    fleet = Fleet(b=UP)
    fleet.round({FIRST: REFUSED}, times=3)
    fleet.now += LONGEST_S - 0.1
    (begun,) = await fleet.look()
    assert begun.after_s is None
    assert fleet.kept() == {FIRST}
    fleet.now += 0.1
    (over,) = await fleet.look()
    assert over.reason == "others have held it for 5 minutes, the longest allowed"
    assert fleet.kept() == set()
    fleet.round({FIRST: PASS}, times=3)
    fleet.round({FIRST: REFUSED}, times=3)
    assert fleet.kept() == {FIRST}


async def test_server_that_comes_back_meanwhile_is_kept_until_the_table_is_planned() -> None:
    fleet = Fleet(b=UP)
    fleet.round({FIRST: REFUSED}, times=3)
    fleet.round({FIRST: PASS}, times=2)
    assert (fleet.verdict(FIRST), fleet.kept()) == (Verdict.UP, {FIRST})
    fleet.vetoing.planned()
    assert (fleet.kept(), await fleet.look()) == (set(), [])


def test_nobody_is_asked_while_agree_is_one_and_an_operator_is_not_held_up() -> None:
    alone = Fleet(agree=1, b=UP)
    alone.round({FIRST: REFUSED}, times=3)
    assert (alone.kept(), alone.vetoing.of(alone.server(FIRST))) == (set(), None)
    fleet = Fleet(b=UP)
    fleet.round({FIRST: REFUSED, SECOND: REFUSED}, times=3)
    one = fleet.server(FIRST)
    order = Override(kind=Kind.DISABLE, service=str(one.service.key), server=str(one.key), since=0.0, uid=0)
    fleet.decisions.overrides.put(order)
    fleet.decisions.reconsider([one])
    assert fleet.kept() == {SECOND}


async def test_fallback_does_not_come_beside_servers_that_are_held() -> None:
    fleet = Fleet(FIRST, b=UP)
    fleet.serve(FIRST, change=with_fallback)
    fleet.round({FIRST: REFUSED}, times=3)
    (held,) = fleet.vetoing.kept().values()
    assert held == Braked({fleet.server(FIRST).key}, {DestinationKey(WEB.family, "198.51.100.99", 80)})


async def test_brake_comes_first_and_the_five_minutes_begin_when_it_lets_go() -> None:
    fleet = Fleet(b=UP)
    fleet.round(dict.fromkeys(TEN, TIMEOUT), times=4)
    await fleet.turn()
    assert (fleet.stage(), fleet.kept()) == (Stage.BRAKED, set())
    fleet.now += 301.0
    await fleet.turn()
    assert (fleet.stage(), fleet.kept()) == (Stage.RELEASED, set(TEN)), "others see them up"
    fleet.now += LONGEST_S
    await fleet.look()
    assert fleet.kept() == set()


async def test_broken_cable_with_a_silent_store_removes_nothing_while_the_brake_holds() -> None:
    fleet = Fleet(b=UP)
    fleet.directors.age_s = 3600.0
    fleet.round(dict.fromkeys(TEN, TIMEOUT), times=4)
    await fleet.turn()
    braked = {each.address for kept in fleet.braking.kept().values() for each in kept.servers}
    assert (braked, fleet.kept()) == (set(TEN), set())


async def test_reload_that_drops_a_server_or_the_veto_ends_it() -> None:
    fleet = Fleet(b=UP)
    fleet.round({FIRST: REFUSED, SECOND: REFUSED}, times=3)
    fleet.now += TOLD_AFTER_S
    assert len(await fleet.look()) == 2
    less = config(service(*map(server, TEN[1:])))
    fleet.configure(less, table_of(less))
    fleet.vetoing.configured(2)
    (gone,) = await fleet.look()
    assert (str(gone.server.key.address), gone.reason) == (FIRST, "it is not configured any more")
    assert fleet.kept() == {SECOND}
    fleet.vetoing.configured(1)
    (gone,) = await fleet.look()
    assert (gone.reason, fleet.kept()) == ("agree is 1 now", set())


def test_what_a_director_says_of_a_server() -> None:
    fleet = Fleet()
    one = fleet.server(FIRST)
    assert sight_of(one, is_braked=False) is UP
    fleet.round({FIRST: unsure(Reason.LOCAL_NETWORK, "no carrier")})
    assert sight_of(one, is_braked=False) is UNSURE
    fleet.round({FIRST: REFUSED}, times=3)
    assert sight_of(one, is_braked=False) is DOWN
    assert sight_of(one, is_braked=True) is UNSURE, "it may be this director that is cut off"


OUTCOMES = st.sampled_from([PASS, REFUSED, TIMEOUT, unsure(Reason.LOCAL_NETWORK, "no carrier")])
SAID = st.dictionaries(st.sampled_from(["b", "c", "d"]), st.sampled_from(list(Sight)), max_size=3)
ROUNDS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(TEN[:4]), OUTCOMES, min_size=1),
        SAID,
        st.sampled_from([0.0, 5.0, 100.0]),
        st.sampled_from([0.0, 30.0, 200.0]),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(ROUNDS, st.integers(1, 4))
def test_whatever_others_say_no_server_goes_sooner_than_alone_nor_five_minutes_later(
    rounds: list[tuple[dict[str, Outcome], dict[str, Sight], float, float]], agree: int
) -> None:
    asyncio.run(_compare(rounds, agree))


async def _compare(rounds: list[tuple[dict[str, Outcome], dict[str, Sight], float, float]], agree: int) -> None:
    """Run the same probes with other directors and without, and compare who may be taken out, and since when."""
    fleet, alone = Fleet(*TEN[:4], agree=agree), Fleet(*TEN[:4], agree=1)
    gone_alone: dict[str, float] = {}
    """Since when each server would be out without other directors."""
    for answers, said, age_s, wait_s in rounds:
        fleet.directors.seen, fleet.directors.age_s = said, age_s
        for bench in (fleet, alone):
            bench.round(answers)
            bench.now += wait_s
            await bench.turn()
            await bench.look()
        braked = {each.address for kept in alone.braking.kept().values() for each in kept.servers}
        out_alone = {each for each in TEN[:4] if alone.verdict(each) is Verdict.DOWN} - braked
        out = {each for each in TEN[:4] if fleet.verdict(each) is Verdict.DOWN} - fleet.kept()
        out -= {each.address for kept in fleet.braking.kept().values() for each in kept.servers}
        assert out <= out_alone, "others have taken a server out"
        gone_alone = {each: gone_alone.get(each, alone.now) for each in out_alone}
        late = {each for each, since in gone_alone.items() if alone.now - since >= LONGEST_S}
        assert late <= out, "others hold a server for too long"
        if agree == 1:
            assert out == out_alone
