"""What `why` says between a verdict and the line in the kernel: orders, damping, what keeps writes back, the plan."""

from pathlib import Path

import msgspec
import pytest

from lvs_healthd.api.peers import Peer
from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.model import Below, Config, Daemon, Damping, FallbackServer, MinUp, Mode
from lvs_healthd.daemon.parts import Parts, Settings, Surroundings, build
from lvs_healthd.decide.maintenance import Folder, new_file
from lvs_healthd.decide.way import Held
from lvs_healthd.health.damping import Flaps
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.log import configure
from lvs_healthd.probes.outcome import Course
from lvs_healthd.reconcile.gate import Braked
from lvs_healthd.runtime.netns import Netns
from lvs_healthd.view.override_values import OverrideRequest
from lvs_healthd.view.why_values import KeptBack, Layers, ServerWhy
from tests import configs
from tests.decide.test_decisions import FAIL, PASS
from tests.ipvs.tables import MARK

A, B, SPARE = "198.51.100.11", "198.51.100.12", "198.51.100.99"
ROOT = Peer(1, 0, frozenset())


class Site:
    """The parts of a daemon with a table in memory, in which both servers have come up."""

    def __init__(self, folder: Path) -> None:
        around = Surroundings(table=MemoryTable(), log=configure(), netns=Netns(), aspects=(), exclusive=False)
        self.kernel = around.table
        self.config = Config(daemon=Daemon(state=str(folder / "state.json")))
        self.parts: Parts = build(Settings(config_file=Path("config.toml")), self.config, around)

    async def start(self, mode: Mode = Mode.ENFORCE, weight: int = 3, **keys: object) -> None:
        service = configs.service(configs.server(A, weight=weight), configs.server(B), fallback=(SPARE,), mode=mode)
        service = msgspec.structs.replace(service, **keys)
        config = Config(daemon=self.config.daemon, services=(service,))
        parts = self.parts
        parts.adopt(config)
        await parts.holding.restore(config.daemon.state)
        await parts.reconciler.adopt()
        parts.decisions.configure(config, parts.reconciler.actual, {})
        parts.past.configured(parts.decisions.services, config.daemon.history)
        self.feed(A, PASS, PASS)
        self.feed(B, PASS, PASS)
        await self.settle()

    def feed(self, address: str, *outcomes: object) -> None:
        for probe in list(self.parts.decisions.probes.values()):
            if probe.check.address == address:
                for outcome in outcomes:
                    probe.outcome(outcome, Course(0.0))  # type: ignore[arg-type]

    async def settle(self) -> None:
        self.parts.replans.now()
        self.parts.reconciler.look_again()
        await self.parts.reconciler.turn()

    def why(self, address: str = A) -> ServerWhy:
        (found,) = self.parts.view.why("web", address).servers
        return found

    def layers(self, address: str = A) -> Layers:
        found = self.why(address).layers
        assert found is not None
        return found

    def kept_back(self, address: str = A) -> KeptBack:
        (found,) = self.layers(address).kept_back
        return found


@pytest.fixture
async def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


async def test_server_that_serves_is_as_planned(site: Site) -> None:
    await site.start()
    found = site.layers()
    assert (found.orders, found.damping.flaps_since, found.kept_back) == ((), None, ())
    assert (found.plan.weight, found.plan.reason, found.plan.service) == (3, "it is up", "")
    assert (found.kernel.weight, found.kernel.is_as_planned, found.kernel.todo) == (3, True, "")
    assert found.kernel.read is not None
    site.feed(A, FAIL)
    assert site.layers().plan.reason == "it is up"


async def test_weight_of_0_that_is_configured_is_the_reason(site: Site) -> None:
    await site.start(weight=0)
    plan = site.layers().plan
    assert (plan.weight, plan.reason) == (0, "it is up, but its configured weight is 0")


async def test_orders_say_who_why_and_until_when(site: Site) -> None:
    await site.start()
    operators = site.parts.operators
    await operators.order(OverrideRequest(verb="drain", service="web", servers=(A,), reason="kernel", until=2e9), ROOT)
    await operators.order(OverrideRequest(verb="weight", everywhere=A, weight=7), ROOT)
    await site.settle()
    drained, weighted = site.layers().orders
    assert (drained.kind, drained.text, drained.until) == ("drain", "drained by uid 0: kernel", 2e9)
    assert (weighted.kind, weighted.text, weighted.until) == ("weight", "weight 7 in all services by uid 0", None)
    assert site.layers().plan.reason == "drained by uid 0: kernel"
    assert site.layers(B).orders == ()
    file = new_file("/m/x", B, 5.0, 6.0)
    site.parts.decisions.overrides.maintenance.folder = Folder({"/m/x": file})
    (filed,) = site.layers(B).orders
    assert (filed.kind, filed.text, filed.since) == ("maintenance", "drained by the file /m/x", 5.0)


async def test_flapping_server_says_since_when_and_until_when_it_is_held_out(site: Site) -> None:
    await site.start()
    server = next(iter(site.parts.decisions.servers))
    server.flaps = Flaps(falls=(1.0,), since=site.parts.decisions.clock() - 10, until=site.parts.decisions.clock() + 50)
    found = site.layers().damping
    assert found.flaps_since is not None
    assert found.held_until is not None
    assert (round(found.held_until - found.flaps_since), found.is_damped) == (60, False)
    assert found.reason


async def test_hold_keeps_a_write_back_and_says_what_to_type(site: Site) -> None:
    await site.start()
    await site.parts.holding.hold("web", "look first", ROOT)
    site.feed(A, FAIL, FAIL, FAIL)
    await site.settle()
    kept, kernel = site.kept_back(), site.layers().kernel
    assert (kept.by, kept.reason, kept.todo) == (
        "hold",
        "the service is held by uid 0: look first",
        "lvs-healthd release web",
    )
    assert kept.since is not None
    assert (kernel.weight, kernel.is_as_planned, kernel.difference, kernel.todo) == (3, False, "remove", kept.todo)
    await site.parts.holding.release("", ROOT)
    await site.parts.holding.hold("", "", ROOT)
    assert (site.kept_back().reason, site.kept_back().todo) == (
        "the whole table is held by uid 0",
        "lvs-healthd release",
    )
    await site.parts.holding.release("", ROOT)
    await site.settle()
    assert site.layers().kernel.is_as_planned
    assert [each.event for each in site.why().history] == [
        "table.held",
        "real_server.down",
        "table.released",
        "table.held",
        "table.released",
        "table.changed",
    ]


async def test_command_quotes_a_name_with_a_space(site: Site) -> None:
    await site.start(name="fwmark 7")
    await site.parts.holding.hold("fwmark 7", "", ROOT)
    (found,) = site.parts.view.why("fwmark 7", A).servers
    assert found.layers is not None
    assert found.layers.kept_back[0].todo == "lvs-healthd release 'fwmark 7'"


async def test_shadow_mode_of_the_service_or_the_daemon_is_told(site: Site) -> None:
    await site.start(Mode.SHADOW)
    assert (site.kept_back().by, site.layers().kernel.difference) == ("shadow", "add")
    assert 'mode = "enforce" in the service' in site.layers().kernel.todo
    site.parts.facts.mode = Mode.SHADOW
    assert "--shadow" in site.kept_back().todo


async def test_brake_says_what_it_has_seen_and_that_an_order_is_obeyed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.start()
    service = site.parts.decisions.services[0]
    braking = site.parts.decisions.braking
    kept_in = {service.key: Braked({service.servers[0].key}, frozenset())}
    monkeypatch.setattr(braking, "kept", lambda: kept_in)
    site.feed(A, FAIL, FAIL, FAIL)
    await site.settle()
    assert (site.layers().kernel.weight, site.layers().kernel.difference) == (3, "remove")
    kept = site.kept_back()
    assert (kept.by, kept.since) == ("brake", None)
    assert kept.reason.startswith("it has fallen silent together with others")
    assert kept.todo.endswith(f"lvs-healthd disable web {A}:80")
    held = Held("eth1", since=1.0, silent=5, targets=6, causes=("eth1 has no carrier",))
    monkeypatch.setattr(type(braking), "held", (held,))
    monkeypatch.setattr(braking, "ways", Eth1())
    kept = site.kept_back()
    assert kept.reason == "the brake is on for eth1: 5 of 6 targets are silent; eth1 has no carrier"
    assert kept.since is not None
    assert site.layers(B).kept_back == ()


class Eth1:
    """Knows one way."""

    def of(self, _: object) -> tuple[str, ...]:
        return ("eth1",)


async def test_line_that_somebody_else_keeps_changing_is_told(site: Site) -> None:
    await site.start()
    key = site.parts.decisions.services[0].key
    for _ in range(20):
        entry = site.kernel.entries[key]  # type: ignore[attr-defined]
        for destination, record in entry.destinations.items():
            if destination.address == A:
                entry.destinations[destination] = type(record)(record.key, record.forward, 9)
        site.parts.reconciler.read_again([key])
        await site.parts.reconciler.turn()
    found = site.layers()
    assert [each.by for each in found.kept_back] == ["fight"]
    assert (found.kernel.weight, found.kernel.difference) == (9, "weight 9 -> 3")
    assert "table.fight" in found.kernel.todo


async def test_table_error_and_rejected_reload_are_told(site: Site) -> None:
    await site.start()
    site.parts.reconciler.errors._of = {MARK: "no such scheduler"}
    assert site.layers().kept_back == (), "another service has an error"
    site.parts.reconciler.errors.last, site.parts.reconciler.errors._of = "the kernel is out of memory", None
    site.parts.facts.config_error = "config.toml:3: " + "x" * 500
    error, reload = site.layers().kept_back
    assert (error.by, error.reason) == ("error", "the kernel is out of memory")
    assert (reload.by, len(reload.reason) < 300, reload.since) == ("reload", True, site.parts.facts.config_loaded)
    assert site.layers().kernel.todo == ""


async def test_fallback_server_says_whether_it_is_in_use(site: Site) -> None:
    await site.start()
    assert site.layers(SPARE).plan.reason == "standing by: a real server may serve"
    assert (site.why(SPARE).verdict, site.why(SPARE).is_fallback, site.why(SPARE).since) == ("unchecked", True, None)
    for address in (A, B):
        site.feed(address, FAIL, FAIL, FAIL)
    await site.settle()
    assert site.layers(SPARE).plan.reason == "fallback: no real server may serve"
    assert site.layers(A).plan.service == f"no real server may serve, so the fallback is in use: {SPARE}:80"
    assert site.why(SPARE).history[-1].text == "added (weight 1, forward nat): fallback: no real server may serve"


async def test_damped_service_is_named_as_such(site: Site) -> None:
    await site.start()
    assert not site.layers().damping.is_damped
    config = site.parts.decisions.services[0].config
    site.parts.decisions.services[0].config = type(config)(name="web", damping=Damping())
    assert site.layers().damping.is_damped


NEAR, FAR = "198.51.100.91", "198.51.100.92"


async def test_fallback_of_two_tiers_says_which_serves_and_why_not_the_other(site: Site) -> None:
    near = FallbackServer(endpoint=Endpoint(NEAR, 80), tier=1, checks=(configs.tcp_check(NEAR, 80),))
    far = FallbackServer(endpoint=Endpoint(FAR, 80), tier=2)
    await site.start(fallback=(near, far))
    site.feed(NEAR, PASS, PASS)
    await site.settle()
    assert (site.why(NEAR).verdict, site.why(NEAR).is_fallback, len(site.why(NEAR).checks)) == ("up", True, 1)
    assert (site.why(FAR).verdict, site.why(FAR).checks) == ("unchecked", ())
    assert site.layers(NEAR).plan.reason == "standing by: a real server may serve"
    for address in (A, B):
        site.feed(address, FAIL, FAIL, FAIL)
    await site.settle()
    assert (site.layers(NEAR).plan.weight, site.layers(FAR).plan.weight) == (1, None)
    assert site.layers(FAR).plan.reason == f"standing by: another serves; in use: {NEAR}:80"
    site.feed(NEAR, FAIL, FAIL, FAIL)
    await site.settle()
    assert site.layers(NEAR).plan.reason == f"standing by: it is down; in use: {FAR}:80"
    assert site.layers(A).plan.service == f"no real server may serve, so the fallback is in use: {FAR}:80"
    texts = [each.text for each in site.why(NEAR).history]
    assert "down: tcp: connection refused" in texts
    assert texts[-1] == "removed: connection refused"
    await site.parts.operators.order(OverrideRequest(verb="disable", service="web", servers=(NEAR,)), ROOT)
    assert (site.layers(NEAR).plan.reason, site.layers(NEAR).orders[0].kind) == ("disabled by uid 0", "disable")
    site.feed(A, PASS, PASS)
    await site.settle()
    await site.parts.operators.order(OverrideRequest(verb="enable", service="web", servers=(NEAR,)), ROOT)
    assert site.layers(NEAR).plan.reason == "standing by, and it is down: connection refused"


@pytest.mark.parametrize(
    ("below", "told"),
    [
        (Below.FAIL_OPEN, "so all serve that no order takes out"),
        (Below.FALLBACK, f"so the fallback is in use: {SPARE}:80"),
        (Below.NONE, ""),
    ],
)
async def test_service_below_min_up_says_what_is_done(site: Site, below: Below, told: str) -> None:
    await site.start(min_up=MinUp(count=2), below=below)
    assert site.layers().plan.service == ""
    site.feed(B, FAIL, FAIL, FAIL)
    await site.settle()
    few = "only 1 of the real servers may serve, and min_up is 2"
    assert site.layers().plan.service == ", ".join(filter(None, (few, told)))
    assert any(each.event == "service.below" for each in site.why().history)
    if below is Below.FAIL_OPEN:
        assert site.layers(B).plan.reason.startswith("serves all the same, because fewer than min_up may")
    if below is Below.FALLBACK:
        assert site.layers().plan.reason.startswith("waits for others, because fewer than min_up may serve")
    site.feed(A, FAIL, FAIL, FAIL)
    await site.settle()
    everybody = told or f"so the fallback is in use: {SPARE}:80"
    assert site.layers().plan.service == f"no real server may serve, {everybody}"


async def test_service_without_a_fallback_refuses_clients(site: Site) -> None:
    await site.start(fallback=())
    for address in (A, B):
        site.feed(address, FAIL, FAIL, FAIL)
    await site.settle()
    assert site.layers().plan.service == "no real server may serve, so clients are refused"
