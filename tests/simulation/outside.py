"""What stands in for the outside of the daemon: probes, the director, the API's socket, locks, the service manager."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lvs_healthd.config.check_model import AnyCheck
from lvs_healthd.daemon.requests import Requests
from lvs_healthd.director.diagnosis import Answer, Question
from lvs_healthd.director.ways import Hop
from lvs_healthd.events.kinds import Event
from lvs_healthd.probing.probe import Probe
from lvs_healthd.state.safe_file import StateFileError
from tests.simulation.virtual_loop import VirtualLoop

NEAR, FAR = "eth1", "eth2"
ROUTER = "192.0.2.254"
INTERFACES = (NEAR, FAR)


def interface_of(address: str) -> str:
    """Return the interface by which a host is reached."""
    return FAR if address.startswith("10.2.") else NEAR


@dataclass(slots=True)
class Director:
    """The director itself, and what is wrong with it."""

    cut: set[str] = field(default_factory=set)
    """The interfaces without carrier."""
    mended: dict[str, float] = field(default_factory=dict)
    """When interfaces that were cut have got a carrier again. Seconds on the monotonic clock."""
    is_full: bool = False
    """Whether the table of neighbours is full."""
    drops: bool = False
    """Whether the director's own firewall drops probes."""
    neighbour: bool = False
    """Whether a neighbour answers."""
    lag_s: float = 0.0
    """How late a probe has started since the last look."""

    def fault(self, interface: str, began: float) -> str:
        """Return what was wrong with an interface at any time since `began`; "" for nothing."""
        if interface in self.cut or self.mended.get(interface, -1.0) > began:
            return f"our interface {interface} has no carrier"
        return ""


class Faults:
    """The director's faults as `OwnFaults` tells them."""

    director: Director

    def __init__(self, emit: Callable[[Event], None], *, clock: Callable[[], float]) -> None:
        self._known: set[str] = set()
        self.ongoing: tuple[str, ...] = ()

    @property
    def full_tables(self) -> tuple[str, ...]:
        return ("the director's ARP table is full",) if self.director.is_full else ()

    def is_ours(self, address: str) -> bool:
        return address == "192.0.2.9"

    def table(self, address: str, began: float, now: float) -> str:
        return self.full_tables[0] if self.director.is_full else ""

    def link(self, address: str, began: float, interface: str = "") -> str | None:
        fault = self.director.fault(interface or interface_of(address), began)
        if fault and address not in self._known:
            return None
        return fault

    def ask(self, address: str, then: Callable[[], None]) -> None:
        self._known.add(address)
        asyncio.get_running_loop().call_soon(then)

    async def run(self) -> None:
        """Watch nothing."""


class FixedWays:
    """The ways to the hosts, which never change."""

    def __init__(self, checks: Callable[[], Iterable[AnyCheck]]) -> None:
        self.is_frozen = False

    def of(self, check: AnyCheck) -> tuple[str, ...]:
        return (FAR, f"{FAR} via {ROUTER}") if interface_of(check.address) == FAR else (NEAR,)

    def hop(self, name: str) -> Hop | None:
        return Hop(NEAR, 1, "") if name == NEAR else Hop(FAR, 2, ROUTER if "via" in name else "")

    def configured(self) -> None:
        """Do nothing: all ways are known."""

    async def run(self) -> None:
        """Ask nobody."""


class Diagnosis:
    """Finds what is wrong with the director."""

    director: Director

    def __init__(self) -> None:
        self._from = 0.0

    def forget(self) -> None:
        self._from = 0.0

    def turn(self, questions: Mapping[str, Question], now: float) -> dict[str, Answer]:
        self._from = self._from or now
        drops = ("our own firewall drops packets: chain output",) if self.director.drops else ()
        proof = "a neighbour answers" if self.director.neighbour else ""
        return {name: Answer(proof, drops, self._from, now) for name in questions}


class Handed:
    """A prober that probes nothing. Whoever has its `probes` hands their outcomes to the sinks."""

    workers = 1
    in_flight = 0
    waiting = 0
    director: Director

    def __init__(self, clock: Callable[[], float]) -> None:
        self.probes: dict[AnyCheck, Probe[AnyCheck]] = {}
        self.by_target: dict[tuple[str, str], list[Probe[AnyCheck]]] = {}
        """The probes of each host and type of check."""
        self.max_in_flight = 0
        self._clock = clock

    @property
    def next_wake(self) -> float:
        return self._clock()

    async def run(self) -> None:
        await asyncio.get_running_loop().create_future()

    def close(self) -> None:
        self.probes.clear()
        self.by_target.clear()

    def update(self, probes: Iterable[Probe[AnyCheck]], dropped: Iterable[AnyCheck] = ()) -> None:
        for key in dropped:
            self.probes.pop(key, None)
        for probe in probes:
            self.probes[probe.key] = probe
        self.by_target = {}
        for key, probe in self.probes.items():
            self.by_target.setdefault((key.address, str(key.__struct_config__.tag)), []).append(probe)

    def pace(self, key: AnyCheck, pace_s: float) -> None:
        """Do nothing: the steps say when outcomes come."""

    def take_worst_lag(self) -> float:
        lag_s, self.director.lag_s = self.director.lag_s, 0.0
        return lag_s


class Unlocked:
    """A lock that nobody else wants."""

    def __init__(self, *_: object) -> None: ...

    def take(self) -> bool:
        return False

    def release(self) -> None: ...

    def follow_netns(self) -> None: ...

    def move(self, path: object) -> None: ...


class NoPrograms:
    """Runs no programs."""

    def __init__(self, *_: object) -> None: ...

    async def start(self, socket: str) -> None: ...

    async def run(self) -> None: ...

    async def stop(self) -> None: ...


class NoSettings:
    """Keeps no settings beside the table."""

    last_error = ""
    advice = ()

    def __init__(self, *_: object, **__: object) -> None: ...

    def want(self, config: object, *, shadow: bool) -> None: ...

    async def turn(self) -> None: ...

    async def run(self) -> None: ...


class Door:
    """The API's sockets: nobody connects, but the `requests` behind them can be used."""

    requests: Requests

    def __init__(self, requests: Requests) -> None:
        self.requests = requests

    async def start(self, listen: str, control: str, *, is_starting: bool) -> None: ...

    def begin(self) -> None: ...

    async def stop(self) -> None: ...

    async def rebind(self, listen: str, control: str) -> None: ...

    async def renew_control(self) -> bool:
        return False


def app(view: object, *, requests: Requests, **_: object) -> Requests:
    """Return what `Door` needs of the application."""
    return requests


class NoTally:
    """Counts nothing."""

    def add(self, *_: object) -> None: ...


class NoMetrics:
    """Measures nothing."""

    def __init__(self, **_: object) -> None:
        self._tally = NoTally()

    def tally(self, *_: object) -> NoTally:
        return self._tally

    def listen(self, _: Event) -> None: ...

    def operation(self, *_: object) -> None: ...

    def resync(self, _: float) -> None: ...

    def drift(self, _: str) -> None: ...

    def detection(self, _: float) -> None: ...

    def forget_service(self, _: str) -> None: ...

    async def render(self) -> Iterator[bytes]:
        return iter(())


class LoopWriter:
    """Writes a file on the loop, as late as a call on a thread would."""

    def __init__(
        self,
        loop: VirtualLoop,
        write_file: Callable[..., None],
        report: Callable[[Path, StateFileError | None], None],
    ) -> None:
        self.error = ""
        self._loop = loop
        self._write_file = write_file
        self._report = report
        self._next: tuple[Path, tuple[object, ...]] | None = None

    def write(self, path: Path, *content: object) -> None:
        is_waiting, self._next = self._next is not None, (path, content)
        if not is_waiting:
            self._loop.run_in_executor(None, self._write)

    def _write(self) -> None:
        if self._next is None:
            return
        (path, content), self._next = self._next, None
        error: StateFileError | None = None
        try:
            self._write_file(path, *content)
        except StateFileError as caught:
            error = caught
        text = "" if error is None else str(error)
        if text != self.error:
            self._report(path, error)
        self.error = text

    async def flush(self) -> None:
        while self._next is not None:
            await asyncio.sleep(0.01)


class Log:
    """Passes events on."""

    dropped = 0
    suppressed = 0

    def __init__(self, heard: Callable[[Event], None]) -> None:
        self._heard = heard

    def __call__(self, event: Event) -> None:
        self._heard(event)

    def flush(self) -> None: ...

    def close(self) -> None: ...
