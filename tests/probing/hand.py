"""An engine moved by hand, the checks that it runs, and a record of what they find."""

import time

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpCheck, TcpCheck, UdpCheck
from lvs_healthd.probes.exchange import Sign, Target
from lvs_healthd.probes.outcome import Course, Outcome
from lvs_healthd.probing.engine import Engine


class Noting:
    """A run that notes its outcome."""

    def __init__(self, target: Target, outcomes: list[Outcome]) -> None:
        self.target = target
        self._outcomes = outcomes
        self.repeats = True
        self.signs: list[Sign] = []
        """What the ends of its kept connections told."""

    def started(self, now: float) -> None:
        pass

    def ended(self, outcome: Outcome, course: Course) -> None:
        self._outcomes.append(outcome)

    def signalled(self, sign: Sign) -> None:
        self.signs.append(sign)


class Hand:
    """An engine moved by hand, with a clock of its own."""

    def __init__(self, *, max_in_flight: int = 1000, most_kept: int = 1000) -> None:
        self.now = 1000.0
        self.engine = Engine(
            clock=lambda: self.now, max_in_flight=max_in_flight, most_kept=lambda _: most_kept, random=lambda: 0.0
        )
        self.outcomes: list[Outcome] = []

    def start(self, aim: Target) -> None:
        self.engine.start(Noting(aim, self.outcomes))

    def tick_all(self) -> None:
        """Tick as the scheduler does: again at once while something is overdue."""
        self.engine.tick(late_s=0.0)
        while (due := self.engine.next_tick) is not None and due <= self.now:
            self.engine.tick(late_s=0.0)

    def slow_down(self, method: str, cost_s: float) -> None:
        """Let each call of a method of the engine, or of what serves its sockets, take `cost_s` seconds."""
        owner = self.engine if hasattr(self.engine, method) else self.engine._serving
        real = getattr(owner, method)

        def slow(*arguments: object) -> object:
            self.now += cost_s
            return real(*arguments)

        setattr(owner, method, slow)

    def until_polled(self, count: int) -> None:
        deadline = time.monotonic() + 5
        while len(self.outcomes) < count and time.monotonic() < deadline:
            self.engine.poll()


def http(port: int, *, timeout: float = 0.3, address: str = "127.0.0.1", **keys: object) -> HttpCheck:
    return HttpCheck(name="http", address=address, port=port, host="test", timeout=Seconds(timeout), **keys)  # type: ignore[arg-type]


def tcp(port: int, *, timeout: float = 0.3, **keys: object) -> TcpCheck:
    return TcpCheck(name="tcp", address="127.0.0.1", port=port, timeout=Seconds(timeout), **keys)  # type: ignore[arg-type]


def udp(port: int, *, timeout: float = 0.3, **keys: object) -> UdpCheck:
    return UdpCheck(name="udp", address="127.0.0.1", port=port, timeout=Seconds(timeout), **keys)  # type: ignore[arg-type]
