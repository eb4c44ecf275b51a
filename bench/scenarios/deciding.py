"""What deciding costs: one verdict among 10 000 servers, and 10 000 verdicts at once, in a hundred services and in one.

Only the decisions are measured, in this process: outcomes go in, the wanted table comes out, and nothing is written.
"""

import time

from bench.context import Context, Scenario
from bench.figures import Figure, figure
from bench.outcome import Claim, Outcome, Table
from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.check_model import TcpCheck
from lvs_healthd.config.model import Config, RealServer, Service
from lvs_healthd.decide.decisions import Decisions
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.probes.outcome import Course, Reason, down, up
from lvs_healthd.probes.outcome import Outcome as Found

SERVERS = 10_000
SHAPES = ((100, SERVERS // 100), (1, SERVERS))
"""Services, and servers in each."""
LIMIT_S = 0.02
"""A verdict in the largest service must not hold the event loop for longer."""

_RISE, _FALL = 2, 3
_UP = up("connected")
_DOWN = down(Reason.REFUSED, "connection refused")


class _Uncounted:
    def add(self, outcome: Found, latency_s: float, times: int = 1) -> None:
        """Ignore it."""


class _Bench:
    """Decisions about servers that are all up."""

    def __init__(self, services: int, per_service: int) -> None:
        self._decisions = Decisions(
            emit=lambda _: None,
            changed=lambda: None,
            tally=lambda *_: _Uncounted(),
            clock=time.monotonic,
            wall=time.time,
        )
        made = [_service(number, per_service) for number in range(services)]
        self.probes = self._decisions.configure(Config(services=tuple(made)), {}, {}).added
        self.pass_all()

    def pass_all(self) -> None:
        """Bring every server up."""
        for _ in range(_RISE):
            self.find(self.probes, _UP)
        self.decide()

    @staticmethod
    def find(probes: list[ProbeState], outcome: Found) -> None:
        """Give each of these probes this outcome."""
        for probe in probes:
            probe.outcome(outcome, Course(0.001))

    def decide(self) -> None:
        """Bring the wanted table up to date, as the daemon does."""
        self._decisions.wanted({}, ())
        self._decisions.take_touched()

    def fail_s(self, probes: list[ProbeState]) -> float:
        """Bring these servers down, and return the CPU time of their last failure and of the new table, seconds."""
        for _ in range(_FALL - 1):
            self.find(probes, _DOWN)
        began = time.process_time()
        self.find(probes, _DOWN)
        self.decide()
        cpu_s = time.process_time() - began
        self.pass_all()
        return cpu_s


def run(context: Context) -> Outcome:
    """Bring down one server, then all of them, in each shape."""
    rows: list[tuple[str, ...]] = []
    ones: list[Figure] = []
    for services, per_service in SHAPES:
        bench = _Bench(services, per_service)
        one = figure(*(bench.fail_s([bench.probes[turn * 7]]) for turn in range(context.pick(50, 10)))).scaled(1e6)
        every = figure(*(bench.fail_s(bench.probes) for _ in range(context.pick(5, 2)))).scaled(1e3)
        rows.append((f"{services} x {per_service}", one.text(), every.text()))
        ones.append(one)
    many, single = ones
    claim = Claim(
        what=f"one verdict among {SERVERS} servers in one service: CPU of the new table",
        measured=single.text("µs"),
        beside=f"in {SHAPES[0][0]} services of {SHAPES[0][1]}: {many.text('µs')}",
        target=f"<= {LIMIT_S * 1000:g} ms",
        holds=single.high <= LIMIT_S * 1e6,
    )
    table = Table("CPU of deciding", ("services x servers", "one verdict, µs", f"{SERVERS} verdicts at once, ms"), rows)
    return Outcome([claim], [table])


def _service(number_: int, per_service: int) -> Service:
    servers = [f"10.{number_}.{index // 250}.{index % 250 + 1}" for index in range(per_service)]
    return Service(
        name=f"service {number_}",
        endpoint=Endpoint(f"192.0.2.{number_ + 1}", 80),
        scheduler="rr",
        real_servers=tuple(
            RealServer(
                endpoint=Endpoint(address, 80),
                checks=(TcpCheck(name="tcp", address=address, port=80, rise=_RISE, fall=_FALL),),
            )
            for address in servers
        ),
    )


SCENARIOS = (Scenario("deciding", "deciding", run),)
