"""Whatever happens, the wanted table is what the policy decides from the same verdicts and the same kernel table."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from lvs_healthd.config.model import Config, OnFailure, RealServer
from lvs_healthd.health.machine import Health, Verdict
from lvs_healthd.ipvs.drift import compare
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, ServiceEntry, ServiceKey, Table, TableLine, Why
from lvs_healthd.ipvs.words import AF_INET, IPPROTO_TCP, ForwardingMethod
from lvs_healthd.plan.planner import Planner
from lvs_healthd.plan.precedence import Special
from lvs_healthd.plan.reasons import CONFIGURED_REASON, LEAVING_REASON
from lvs_healthd.plan.records import prepare
from tests.configs import config, server, service
from tests.ipvs.tables import copy
from tests.plan.whole import plan

WEB = ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.100", 80)
MAIL = ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.101", 80)
HOSTS = [f"198.51.100.{number}" for number in range(1, 7)]
KEYS = [DestinationKey(AF_INET, host, 80) for host in HOSTS]
SPARES = ("198.51.100.98", "198.51.100.99")

keys = st.sampled_from(KEYS + [DestinationKey(AF_INET, spare, 80) for spare in SPARES])
healths = st.builds(
    Health,
    st.sampled_from(Verdict),
    st.just(0.0),
    detail=st.sampled_from(["", "connection refused", "no answer in 1s"]),
    first_failure=st.sampled_from([None, 7.0, 8.0]),
)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Up to two services over the same few hosts, so that a reload drops, adds and reweighs servers."""
    services = [
        service(
            *draw(st.lists(_servers, max_size=4, unique_by=lambda one: one.endpoint)),
            name=address,
            address=address,
            on_failure=draw(st.sampled_from(OnFailure)),
            fallback=SPARES[: draw(st.integers(0, 2))],
        )
        for address in ("192.0.2.100", "192.0.2.101")[: draw(st.integers(1, 2))]
    ]
    return config(*services)


def _server(host: str, weight: int) -> RealServer:
    return server(host, weight=weight)


_servers = st.builds(_server, st.sampled_from(HOSTS), st.integers(0, 2))


def lines_that_moved(before: Table, after: Table) -> set[TableLine]:
    """Return the lines that a reconciler would name after somebody has changed the table."""
    appeared: set[TableLine] = {(key, None) for key in after.keys() - before.keys()}
    return appeared | {(drift.service, drift.server) for drift in compare(before, after, list(before))}


class Planning(RuleBasedStateMachine):
    """Random verdicts, reloads and changes of the kernel's table, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.planner = Planner()
        self.services = prepare(Config())
        self.healths: dict[tuple[ServiceKey, DestinationKey], Health] = {}
        self.actual: Table = {}
        self.as_planned: Table = {}
        """The kernel's table at the last plan."""
        self.copied: Table = {}
        """The wanted table as known to a reader that copies only the lines named as changed."""

    @initialize(given_config=configs())
    def start(self, given_config: Config) -> None:
        self.reload(given_config, [])

    @rule(given_config=configs(), fresh=st.lists(healths, max_size=8))
    def reload(self, given_config: Config, fresh: list[Health]) -> None:
        self.config = given_config
        # As in the daemon, what has not changed stays the same object.
        same = {each: each for each in self.services}
        self.services = tuple(same.get(each, each) for each in prepare(given_config))
        wanted = [(each.key, one.key) for each in self.services for one in each.servers]
        known = self.healths
        first = Health(Verdict.UNKNOWN, 0.0)
        self.healths = {key: known.get(key, fresh.pop() if fresh else first) for key in wanted}
        self.planner.configure(self.services, self.healths)
        self.plan(told=True)

    @rule(given_config=configs(), fresh=st.lists(healths, max_size=8))
    def reload_one_service(self, given_config: Config, fresh: list[Health]) -> None:
        self.reload(config(*self.config.services[:1], *given_config.services[1:]), fresh)

    @precondition(lambda self: self.healths)
    @rule(data=st.data(), many=st.integers(1, 4), told=st.booleans())
    def change_verdicts(self, data: st.DataObject, many: int, told: bool) -> None:
        for _ in range(many):
            key = data.draw(st.sampled_from(sorted(self.healths)))
            self.healths[key] = data.draw(healths)
            self.planner.changed(*key, self.healths[key])
        self.plan(told=told)

    @rule(service_key=st.sampled_from([WEB, MAIL]), key=keys, weight=st.integers(-1, 2))
    def somebody_writes(self, service_key: ServiceKey, key: DestinationKey, weight: int) -> None:
        entry = self.actual.get(service_key)
        if entry is None:
            record = next((each.record for each in self.services if each.key == service_key), None)
            if record is None:
                return
            entry = self.actual[service_key] = ServiceEntry(record, {})
        if weight < 0:
            entry.destinations.pop(key, None)
        else:
            entry.destinations[key] = DestinationRecord(key, ForwardingMethod.MASQ, weight)

    @rule(service_key=st.sampled_from([WEB, MAIL]))
    def somebody_removes_the_service(self, service_key: ServiceKey) -> None:
        self.actual.pop(service_key, None)

    @rule()
    def all_is_written(self) -> None:
        self.actual = copy(self.planner.wanted.table)

    @rule(told=st.booleans())
    def plan(self, told: bool) -> None:
        self.planner.plan(self.actual, lines_that_moved(self.as_planned, self.actual) if told else None)
        self.as_planned = copy(self.actual)
        touched = self.planner.take_touched()
        table = self.planner.wanted.table
        if touched is None:
            self.copied = copy(table)
            return
        for key, each in touched:
            assert each is not None
            self.copied[key].destinations.pop(each, None)
            if each in table[key].destinations:
                self.copied[key].destinations[each] = table[key].destinations[each]

    @invariant()
    def it_equals_a_plan_from_scratch(self) -> None:
        dropped = {each.key: self.planner.standing(each.key).dropped for each in self.services}
        wanted = plan(self.services, self.healths, self.as_planned, dropped)
        # Nothing from scratch knows what a reload has changed.
        why = {
            line: wanted.why[line] if each.reason == CONFIGURED_REASON else each
            for line, each in self.planner.wanted.why.items()
        }
        assert msgspec.structs.replace(self.planner.wanted, why=why) == wanted
        assert self.copied == wanted.table

    @invariant()
    def servers_are_counted(self) -> None:
        assert self.planner.up == sum(health.verdict is Verdict.UP for health in self.healths.values())
        for each in self.services:
            held = [(one.record.weight, self.healths[each.key, one.key].verdict) for one in each.servers]
            standing = self.planner.standing(each.key)
            assert standing.up == sum(verdict is Verdict.UP for _, verdict in held)
            assert standing.may_serve == any(weight and verdict is Verdict.UP for weight, verdict in held)
            assert standing.may_come == any(weight and verdict is Verdict.UNKNOWN for weight, verdict in held)


Planning.TestCase.settings = settings(max_examples=200, stateful_step_count=30, deadline=None)
TestPlanning = Planning.TestCase


@given(st.lists(healths, min_size=1, max_size=6))
def test_a_change_touches_only_the_lines_it_changes(given_healths: list[Health]) -> None:
    services = prepare(config(service(*(server(host) for host in HOSTS), name="web")))
    start = {(WEB, key): Health(Verdict.UP, 0.0) for key in KEYS}
    planner = Planner()
    planner.configure(services, start)
    planner.plan({})
    assert planner.take_touched() is None
    for key, health in zip(KEYS, given_healths, strict=False):
        planner.changed(WEB, key, health)
    planner.plan({}, [])
    out = {(WEB, key) for key, health in zip(KEYS, given_healths, strict=False) if health.verdict is not Verdict.UP}
    assert planner.take_touched() == out


def test_a_server_that_leaves_is_let_go_when_somebody_has_taken_it_out_already() -> None:
    old = prepare(config(service(server(HOSTS[0]), server(HOSTS[1]))))
    planner = Planner()
    planner.configure(old, {(WEB, key): Health(Verdict.UP, 0.0) for key in KEYS[:2]})
    planner.plan({})
    actual = copy(planner.wanted.table)
    planner.configure(prepare(config(service(server(HOSTS[2])))), {(WEB, KEYS[2]): Health(Verdict.UNKNOWN, 0.0)})
    planner.plan(actual)
    planner.take_touched()
    assert {key for key, why in planner.wanted.why.items() if why.reason == LEAVING_REASON} == {
        (WEB, KEYS[0]),
        (WEB, KEYS[1]),
    }
    del actual[WEB].destinations[KEYS[0]]
    planner.plan(actual, [(WEB, KEYS[0])])
    assert planner.take_touched() == {(WEB, KEYS[0])}
    assert list(planner.wanted.table[WEB].destinations) == [KEYS[1]]


def test_a_stranger_beside_unproven_servers_does_not_count_as_dropped_by_a_reload() -> None:
    old = prepare(config(service(server(HOSTS[0]), fallback=SPARES[:1])))
    planner = Planner()
    planner.configure(old, {(WEB, KEYS[0]): Health(Verdict.DOWN, 0.0)})
    planner.plan({})
    actual = copy(planner.wanted.table)
    planner.configure(
        prepare(config(service(server(HOSTS[1]), fallback=SPARES[:1]))), {(WEB, KEYS[1]): Health(Verdict.UNKNOWN, 0.0)}
    )
    planner.plan(actual)
    spare = DestinationKey(AF_INET, SPARES[0], 80)
    assert list(planner.wanted.table[WEB].destinations) == [spare]
    actual[WEB].destinations[KEYS[4]] = DestinationRecord(KEYS[4], ForwardingMethod.MASQ, 1)
    planner.plan(actual, [(WEB, KEYS[4])])
    assert list(planner.wanted.table[WEB].destinations) == [spare]


def test_a_fallback_that_a_reload_replaces_goes_at_once_although_servers_are_unproven() -> None:
    unproven = {(WEB, KEYS[0]): Health(Verdict.UNKNOWN, 0.0)}
    planner = Planner()
    planner.configure(prepare(config(service(server(HOSTS[0]), fallback=SPARES[:1]))), unproven)
    planner.plan({})
    actual = copy(planner.wanted.table)
    planner.configure(prepare(config(service(server(HOSTS[0]), fallback=SPARES[1:]))), unproven)
    planner.plan(actual)
    assert list(planner.wanted.table[WEB].destinations) == [DestinationKey(AF_INET, SPARES[1], 80)]


def test_the_last_fallback_of_a_service_goes_on_until_a_new_server_is_proven() -> None:
    planner = Planner()
    planner.configure(
        prepare(config(service(server(HOSTS[0]), fallback=SPARES[:1]))), {(WEB, KEYS[0]): Health(Verdict.DOWN, 0.0)}
    )
    planner.plan({})
    actual = copy(planner.wanted.table)
    planner.configure(prepare(config(service(server(HOSTS[1])))), {(WEB, KEYS[1]): Health(Verdict.UNKNOWN, 0.0)})
    planner.plan(actual)
    assert list(planner.wanted.table[WEB].destinations) == [DestinationKey(AF_INET, SPARES[0], 80)]
    planner.changed(WEB, KEYS[1], Health(Verdict.UP, 0.0))
    planner.plan(actual, [])
    assert list(planner.wanted.table[WEB].destinations) == [KEYS[1]]


def test_a_server_that_the_file_drains_or_restores_is_said_to_be_configured_so() -> None:
    up, down = Health(Verdict.UP, 0.0, detail="connected"), Health(Verdict.DOWN, 0.0, detail="connection refused")
    planner = Planner()

    def reload(weight: int, *healths: Health) -> list[str]:
        """Reload with this weight for all servers, and return the reasons."""
        services = prepare(config(service(*(server(host, weight=weight) for host in HOSTS[: len(healths)]))))
        planner.configure(services, {(WEB, KEYS[index]): health for index, health in enumerate(healths)})
        planner.plan({})
        return [planner.wanted.why[WEB, KEYS[index]].reason for index in range(len(healths))]

    assert reload(1, up, down, up) == ["connected", "connection refused", "connected"]
    assert reload(0, up, down, down) == ["configured", "connection refused", "connection refused"]
    assert reload(2, up, down, up) == ["configured", "connection refused", "connected"]
    assert reload(3, up, down, up) == ["connected", "connection refused", "connected"]
    reload(0, up)
    planner.changed(WEB, KEYS[0], down)
    planner.plan({})
    assert planner.wanted.why[WEB, KEYS[0]].reason == "connection refused"


def test_a_server_that_the_file_restores_and_that_asks_for_less_is_said_to_ask() -> None:
    up = {(WEB, KEYS[0]): Health(Verdict.UP, 0.0, detail="up")}
    planner = Planner()
    planner.configure(prepare(config(service(server(HOSTS[0], weight=0)))), up)
    planner.plan({})
    asks = {(WEB, KEYS[0]): Special(None, 25, "agent asks for 50%")}
    planner.configure(prepare(config(service(server(HOSTS[0], weight=50)))), up, asks)
    planner.plan({})
    assert planner.wanted.why[WEB, KEYS[0]] == Why("agent asks for 50%; up", is_asked=True)


def test_lines_are_touched_in_the_order_in_which_they_changed() -> None:
    """Whatever Python's hashes are: so the log of two directors with the same servers is the same."""
    planner = Planner()
    planner.configure(
        prepare(config(service(*map(server, HOSTS)))), {(WEB, key): Health(Verdict.UP, 0.0) for key in KEYS}
    )
    planner.plan({})
    planner.take_touched()
    order = [*KEYS[1:], KEYS[0]]
    for key in order:
        planner.changed(WEB, key, Health(Verdict.DOWN, 1.0))
    planner.plan({}, [])
    assert [key for _, key in planner.take_touched() or ()] == order
