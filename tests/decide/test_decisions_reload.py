"""After any sequence of reloads, the state fits the configuration as if that had been the first one read."""

from hypothesis import given, settings
from hypothesis import strategies as st

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.config.model import Config, RealServer, Service
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.health.machine import Verdict
from lvs_healthd.probes.outcome import Course, Outcome, Reason, down, up
from lvs_healthd.probes.targets import probe_key
from tests.configs import config, server, service, tcp_check

HOSTS = ["198.51.100.11", "198.51.100.12", "198.51.100.13"]
SHARED = tcp_check("198.51.100.99", 7, name="shared")


class Uncounted:
    def add(self, outcome: Outcome, latency_s: float, times: int = 1) -> None:
        pass


class Run:
    """Decisions, and the set of running probes, kept only by what each reload adds and drops."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.decisions = Decisions(
            emit=lambda _event: None,
            changed=lambda: None,
            tally=lambda _name, _kind: Uncounted(),
            clock=lambda: self.now,
            wall=lambda: self.now,
        )
        self.running: set[AnyCheck] = set()

    def configure(self, given_config: Config) -> None:
        added, dropped = self.decisions.configure(given_config, {}, {})
        new = {probe.check for probe in added}
        assert len(new) == len(added)
        assert not new & self.running
        assert set(dropped) <= self.running
        self.running = (self.running - set(dropped)) | new


def _server(host: str, weight: int, *, shares: bool) -> RealServer:
    checks: tuple[AnyCheck, ...] = (tcp_check(host, 80),)
    return server(host, weight=weight, checks=(*checks, SHARED) if shares else checks)


_servers = st.builds(_server, st.sampled_from(HOSTS), st.integers(1, 2), shares=st.booleans())
_service_servers = st.lists(_servers, min_size=1, max_size=3, unique_by=lambda one: one.endpoint)


@st.composite
def sequences(draw: st.DrawFn) -> list[Config]:
    """Draw configurations. Each keeps some services of the previous one as the same objects, as a reload does."""
    configs: list[Config] = []
    kept: dict[str, Service] = {}
    for _ in range(draw(st.integers(2, 5))):
        chosen: list[Service] = []
        for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
            match draw(st.sampled_from(["same", "new", "none"])):
                case "same" if address in kept:
                    chosen.append(kept[address])
                case "none":
                    kept.pop(address, None)
                case _:
                    kept[address] = service(*draw(_service_servers), name=address, address=address)
                    chosen.append(kept[address])
        configs.append(config(*chosen))
    return configs


def assert_fits(decisions: Decisions, given_config: Config) -> None:
    assert [state.config for state in decisions.services] == list(given_config.services)
    wanted = {
        (str(state.key), str(one.endpoint), check.name, probe_key(check))
        for state in decisions.services
        for one in state.config.real_servers
        for check in one.checks
    }
    watches = {
        (str(watch.server.service.key), str(watch.server.key), watch.check.name, key)
        for key, probe in decisions.probes.items()
        for watch in probe.watches
    }
    assert watches == wanted
    for probe in decisions.probes.values():
        assert sum(probe.times or (1,) * len(probe.tallies)) == len(probe.watches) > 0
    assert all(one.service is state for state in decisions.services for one in state.servers)
    assert decisions.server_count == len(list(decisions.servers))
    table = decisions.wanted({}).table
    assert table.keys() == {state.key for state in decisions.services}


@settings(deadline=None, max_examples=200)
@given(sequences())
def test_what_is_held_fits_the_configuration_after_every_reload(configs: list[Config]) -> None:
    run = Run()
    for given_config in configs:
        run.configure(given_config)
        assert run.running == {probe.check for probe in run.decisions.probes.values()}
        assert_fits(run.decisions, given_config)
        for number, probe in enumerate(run.decisions.probes.values()):
            run.now += 1.0
            for _ in range(3):
                probe.outcome(up("connected") if number % 2 else down(Reason.REFUSED, "refused"), Course(0.001))
        verdicts = {(str(one.service.key), str(one.key)): one.health.verdict for one in run.decisions.servers}
        assert Verdict.UNKNOWN not in verdicts.values()


def test_unchanged_service_and_unchanged_server_go_on_as_they_are() -> None:
    web = service(server(HOSTS[0]), name="web")
    mail = service(server(HOSTS[0]), server(HOSTS[1]), name="mail", port=25)
    run = Run()
    run.configure(config(web, mail))
    before = {id(state) for state in run.decisions.servers}
    changed = service(server(HOSTS[0]), server(HOSTS[1], weight=2), name="mail", port=25)
    run.configure(config(web, changed))
    after = [id(state) in before for state in run.decisions.servers]
    assert after == [True, True, False]


def test_service_under_another_name_counts_under_that_name() -> None:
    """The servers are the same, but what counts their probes is not."""
    counted: list[str] = []

    class Counting(Uncounted):
        def __init__(self, name: str) -> None:
            self._name = name

        def add(self, outcome: Outcome, latency_s: float, times: int = 1) -> None:
            counted.append(self._name)

    decisions = Decisions(
        emit=lambda _event: None,
        changed=lambda: None,
        tally=lambda name, _kind: Counting(name),
        clock=lambda: 0.0,
        wall=lambda: 0.0,
    )
    for name in ("web", "shop"):
        decisions.configure(config(service(server(HOSTS[0]), name=name)), {}, {})
        next(iter(decisions.probes.values())).outcome(up("connected"), Course(0.001))
    assert counted == ["web", "shop"]
