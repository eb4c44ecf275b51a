"""A loop on which time jumps, and what hooks are given in tests."""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.events.kinds import (
    Event,
    RealServerDown,
    RealServerUp,
)
from lvs_healthd.hooks.facts import Facts, NotToldError
from lvs_healthd.probes.outcome import MonitorRun

WALL = 1_700_000_000.0
"""Unix time when the clock shows 0, seconds."""

SERVICES = """
[[service]]
name = "web"
address = "192.0.2.100:80"
check = { type = "http", name = "http" }
real_server = ["198.51.100.11", "198.51.100.12", { address = "198.51.100.13", weight = 5 }]
[[service]]
name = "cache"
address = "[2001:db8::1]:11211"
check = "tcp"
real_server = ["[2001:db8::11]"]
[[service]]
name = "marked"
fwmark = 7
check = { type = "tcp", port = 80 }
real_server = ["198.51.100.21"]
"""


class Clock:
    """Monotonic time, from 0."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wall(self) -> float:
        return WALL + self.now


class _Jumping(selectors.SelectSelector):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "everything waits for ever"
        self._clock.now += timeout
        return super().select(0)


def run(main: Callable[[Clock], Coroutine[Any, Any, None]]) -> None:
    """Run a coroutine on a loop whose time jumps to the next timer. The clock that it is given is the loop's."""
    clock = Clock()

    def loop() -> asyncio.AbstractEventLoop:
        made = asyncio.SelectorEventLoop(_Jumping(clock))
        made.time = clock  # type: ignore[method-assign]
        made._clock_resolution = 1e-9  # type: ignore[attr-defined]
        return made

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main(clock))


def read(hooks: str, services: str = SERVICES) -> Config:
    return parse(services + hooks, "/none/config.toml")


def down(server: str = "198.51.100.11:80", *, service: str = "web", was: str = "up", **fields: Any) -> RealServerDown:
    return RealServerDown(
        **{
            "service": service,
            "server": server,
            "check": "http",
            "reason": "connection refused",
            "failures": 3,
            "fall": 3,
            "was": was,
            "after_s": 9.0,
            **fields,
        }
    )


def up(server: str = "198.51.100.11:80", *, service: str = "web", was: str = "down", **fields: Any) -> RealServerUp:
    return RealServerUp(
        **{
            "service": service,
            "server": server,
            "check": "http",
            "reason": "status 200",
            "passes": 2,
            "rise": 2,
            "was": was,
            "after_s": 9.0,
            **fields,
        }
    )


class Known:
    """What is known of the servers of a configuration."""

    def __init__(self, config: Config) -> None:
        self._services = {service.name: service for service in config.services}
        self.monitor: MonitorRun | None = None

    def __call__(self, service: str, server: str, check: str) -> Facts | None:
        found = self._services.get(service)
        if found is None or not server:
            return None if found is None else Facts(found)
        for each in found.servers:
            if str(each.endpoint) == server:
                return Facts(found, each, self.monitor if check else None)
        return None


class Scripted:
    """A sender that takes as long as it is told, and fails as it is told."""

    def __init__(self, *results: NotToldError | float | None) -> None:
        self._results = list(results)
        self.sent: list[object] = []
        self.tried = 0
        self.is_closed = False

    async def send(self, payload: object) -> None:
        self.tried += 1
        result = self._results.pop(0) if self._results else None
        if isinstance(result, NotToldError):
            raise result
        if result:
            await asyncio.sleep(result)
        self.sent.append(payload)

    async def close(self) -> None:
        self.is_closed = True


class Counts:
    """Counts messages as the metrics do."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, str], int] = {}
        self.forgotten: list[str] = []

    def hook(self, hook: str, result: str, times: int) -> None:
        self.of[hook, result] = self.of.get((hook, result), 0) + times

    def forget_hook(self, hook: str) -> None:
        self.forgotten.append(hook)


Events = list[Event]
