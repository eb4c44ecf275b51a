"""Why a server is where it is, in the words of the check that decides."""

import pytest

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ServerState
from lvs_healthd.health import machine
from lvs_healthd.probes.outcome import Outcome, Reason, down, unsure, up
from lvs_healthd.view.reasons import reason_of
from tests import configs

REFUSED, LATE = down(Reason.REFUSED, "connection refused"), down(Reason.TIMEOUT, "no answer in 1s")
ADDRESS = "198.51.100.11"


def tcp(name: str, port: int = 80, address: str = ADDRESS) -> AnyCheck:
    return configs.tcp_check(address, port, name=name, fall=1, rise=1)


class _NoTally:
    def add(self, outcome: Outcome, latency_s: float, times: int = 1) -> None:
        pass


def probed(**outcomes: tuple[AnyCheck, Outcome]) -> ServerState:
    """A server whose checks have had these outcomes, in this order."""
    times = iter(range(1, 100))
    decisions = Decisions(
        emit=lambda _: None,
        changed=lambda: None,
        tally=lambda *_: _NoTally(),
        clock=lambda: float(next(times)),
        wall=lambda: 0.0,
    )
    checks = tuple(check for check, _ in outcomes.values())
    decisions.configure(configs.config(configs.service(configs.server(ADDRESS, checks=checks))), {}, {})
    (server,) = decisions.servers
    by_name = {watch.check.name: watch.probe for watch in server.watches}
    for name, (_, outcome) in outcomes.items():
        decisions.verdicts.judge(by_name[name], outcome, 0.0)
    return server


@pytest.mark.parametrize(
    ("outcomes", "reason"),
    [
        ({"http": (tcp("http"), REFUSED)}, "http: connection refused"),
        ({"ssh": (tcp("ssh", 2222), REFUSED)}, "ssh :2222: connection refused"),
        ({"db": (tcp("db", 80, "198.51.100.99"), REFUSED)}, "db 198.51.100.99:80: connection refused"),
        (
            {"http": (tcp("http"), LATE), "dns": (tcp("dns", 53), up("connected")), "ssh": (tcp("ssh", 2222), REFUSED)},
            "ssh :2222: connection refused (+1 more)",
        ),
        ({"http": (tcp("http"), up("connected"))}, "connected"),
    ],
    ids=["own address", "own port", "elsewhere", "several", "up"],
)
def test_reason_names_the_check_that_decides_and_where_it_probes(
    outcomes: dict[str, tuple[AnyCheck, Outcome]], reason: str
) -> None:
    assert reason_of(probed(**outcomes)) == reason


def test_server_that_was_never_probed_says_so() -> None:
    decisions = probed(http=(tcp("http"), up("connected")))
    decisions.health = machine.Health(machine.Verdict.UNKNOWN, 0.0)
    assert reason_of(decisions) == "not probed yet"


def test_server_that_could_only_be_probed_with_faults_of_ours_says_which() -> None:
    found = probed(http=(tcp("http"), unsure(Reason.LOCAL_LIMIT, "our file descriptors are used up")))
    assert reason_of(found) == "http: our file descriptors are used up"
