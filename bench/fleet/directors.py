"""etcd and the directors that use it, in virtual time: what they ask each other, and how long the answers take.

A director's moves are those of `lvs_healthd.store`: `Following` (a reading, a watch, a beat every few seconds, pauses
that grow) and `ThroughEtcd` (a key with a lease). Their limits and pauses are imported from there. A request that its
asker has given up is worked on all the same, as by the gateway of etcd.
"""

from collections.abc import Callable
from functools import partial

from bench.fleet.events import Agenda, Processors
from bench.fleet.parameters import Costs, Layout, said_bytes
from lvs_healthd.daemon.agreeing import PAUSE_S
from lvs_healthd.store.client import ANSWER_S, CONNECT_S
from lvs_healthd.store.following import BEAT_ANSWER_S, BEAT_S, READ_S, pause_s
from lvs_healthd.store.publishing import BYTES_PER_S, KEEP_S, LEAST_S

WAY_S = 0.003
"""From a put to the watch's event, if etcd has nothing else to do, seconds (median, with a network of no length)."""

TOLD_AT_ONCE = 50
"""How many watches etcd serves in one piece of work here. Each by itself would only make the simulation slower."""


class Etcd:
    """The server of etcd that all directors ask, or one of several that share them."""

    def __init__(self, agenda: Agenda, layout: Layout, costs: Costs) -> None:
        self.agenda = agenda
        self.layout = layout
        self.costs = costs
        self.cores = Processors(agenda, layout.store_cores * (layout.endpoints if layout.shuffled else 1))
        self.is_up = True
        self.is_silent = False
        """While it is down: whether requests are lost, and not refused."""
        self.cells: dict[int, list[Director]] = {}
        self.asked: list[float] = []
        """When each request or attempt came, seconds."""
        self.puts = 0
        self.told_bytes = 0
        """What directors were told of each other, bytes."""
        self.told_after: list[float] = []
        """How long each word took from a director to another, seconds."""

    def ask(self, work_s: float, timeout_s: float, done: Callable[[], None], failed: Callable[[], None]) -> None:
        """Work on a request. One of the two is called, once."""
        self.asked.append(self.agenda.now)
        if not self.is_up:
            self.agenda.after(CONNECT_S if self.is_silent else 0.001, failed)
            return
        is_open = True

        def end(then: Callable[[], None]) -> None:
            nonlocal is_open
            if is_open:
                is_open = False
                then()

        self.agenda.after(timeout_s, partial(end, failed))
        self.cores.ask(work_s, partial(end, done))

    def write(self, director: "Director", size: int, done: Callable[[], None], failed: Callable[[], None]) -> None:
        """Write what a director says, and tell the others of its cell."""
        began = self.agenda.now

        def written() -> None:
            self.puts += 1
            done()
            self._tell(director, size, began)

        self.ask(self.costs.put + size * self.costs.put_byte, ANSWER_S, written, failed)

    def _tell(self, director: "Director", size: int, began: float) -> None:
        others = [each for each in self.cells[director.cell] if each is not director and each.is_watching]
        each_s = self.costs.delivery + size * self.costs.delivery_byte
        for at in range(0, len(others), TOLD_AT_ONCE):
            told = others[at : at + TOLD_AT_ONCE]
            self.cores.ask(each_s * len(told), partial(self._told, told, director, size, began))

    def _told(self, told: "list[Director]", director: "Director", size: int, began: float) -> None:
        self.told_bytes += size * len(told)
        self.told_after += [self.agenda.now - began + WAY_S] * len(told)
        for each in told:
            each.hear(director, size)

    def fail(self, *, silent: bool) -> None:
        """Stop, or be cut off."""
        self.is_up, self.is_silent = False, silent
        self.cores.drop()
        if not silent:
            for each in self.all:
                each.lose()

    def come_back(self) -> None:
        """Answer again. Leases have their whole time again, as after the election of a leader."""
        self.is_up = True

    @property
    def all(self) -> "list[Director]":
        """All directors."""
        return [each for cell in self.cells.values() for each in cell]


class Follower:
    """One `Following` of a director."""

    def __init__(self, store: Etcd, keys: int, size: int) -> None:
        self._store = store
        self._costs = store.costs
        self._chance = store.agenda.random.random
        self._keys, self._size = keys, size
        self._is_known = False
        self._failures = 0
        self._attempt = 0
        self.is_watching = False

    def start(self) -> None:
        """Read everything if nothing is known, else ask whether etcd answers; then watch."""
        costs, size = self._costs, self._keys * self._size
        self._attempt += 1
        done, failed = partial(self._begun, self._attempt), partial(self.fail, self._attempt)
        if self._is_known:
            self._store.ask(self._beat_s, BEAT_ANSWER_S, done, failed)
        else:
            work_s = costs.read + self._keys * costs.read_key + size * costs.read_byte
            self._store.ask(work_s, READ_S, done, failed)

    @property
    def _beat_s(self) -> float:
        costs = self._costs
        return costs.beat + self._keys * (costs.beat_key + self._size * costs.beat_byte)

    def _begun(self, attempt: int) -> None:
        if attempt == self._attempt:
            self._is_known = self.is_watching = True
            self._failures = 0
            self._store.agenda.after(BEAT_S, partial(self._beat, attempt))

    def _beat(self, attempt: int) -> None:
        if attempt == self._attempt:
            self._store.ask(self._beat_s, BEAT_ANSWER_S, partial(self._begun, attempt), partial(self.fail, attempt))

    def fail(self, attempt: int | None = None) -> None:
        """Begin again after a pause, because etcd has not answered or has ended the watch."""
        if attempt not in (None, self._attempt):
            return
        self._attempt += 1
        self.is_watching = False
        self._failures += 1
        # The next server of the list is the same here: they are up and down together.
        self._store.agenda.after(pause_s(self._failures, self._store.layout.endpoints, self._chance), self.start)


class Director:
    """One director: what it follows, and what it says of `not_up` servers."""

    def __init__(self, store: Etcd, cell: int) -> None:
        self.cell = cell
        self._store = store
        layout = store.layout
        self._size = said_bytes(layout.own_services)
        self._each = said_bytes(layout.own_services, 100) - said_bytes(layout.own_services, 0)
        self.followers = [
            Follower(store, layout.peers, self._size),
            # Services are a key each, read at the start; only their names are looked at by a beat.
            Follower(store, layout.own_services, 100 * layout.servers_in_service // 6),
            Follower(store, 0, 0),  # operators' orders, of which there are few
        ]
        self._chance = store.agenda.random.random
        self.not_up = 0
        self.has_lease = False
        self._failures = 0
        self._is_new = True
        self._is_saying = False
        self._not_before = 0.0
        self._turn = 0
        self.said_at: list[float] = []
        self.heard_s = 0.0
        """Processor time for what others say, seconds."""
        self.heard: Callable[[Director, float], None] = lambda _director, _now: None

    @property
    def is_watching(self) -> bool:
        """Whether it is told of what others say."""
        return self.followers[0].is_watching

    @property
    def is_well(self) -> bool:
        """Whether it follows everything, and the others can hear it."""
        return self.has_lease and all(each.is_watching for each in self.followers)

    def start(self) -> None:
        """Begin to follow and to say something."""
        for each in self.followers:
            each.start()
        self._say()

    def lose(self) -> None:
        """Notice that etcd has ended all connections."""
        for each in self.followers:
            each.fail()

    def see(self, not_up: int) -> None:
        """See so many more servers down (or up, if negative), and say so."""
        self.not_up += not_up
        self._is_new = True
        self._store.agenda.after(PAUSE_S, self._say)

    def hear(self, director: "Director", size: int) -> None:
        """Be told what another director says."""
        costs = self._store.costs
        self.heard_s += costs.hear + size * (costs.hear_byte + costs.understand_byte)
        self.heard(director, self._store.agenda.now)

    def _say(self) -> None:
        """Write what is new, or keep the lease alive. Only one of these is under way."""
        if self._is_saying:
            return
        now = self._store.agenda.now
        if self._is_new and now >= self._not_before:
            self._is_saying = True
            if self.has_lease:
                self._put()
            else:
                self._store.ask(self._store.costs.keep, ANSWER_S, self._put, self._failed)
        elif self._is_new:
            self._later(self._not_before - now)

    def _put(self) -> None:
        self._is_new = False
        size = self._size + self._each * self.not_up // 100
        least_s = max(LEAST_S, size / BYTES_PER_S)
        self._store.write(self, size, partial(self._written, least_s), self._failed)

    def _written(self, least_s: float) -> None:
        now = self._store.agenda.now
        self.has_lease, self._is_saying, self._failures = True, False, 0
        self.said_at.append(now)
        self._not_before = now + least_s
        self._later(least_s if self._is_new else KEEP_S)

    def _later(self, delay_s: float) -> None:
        self._turn += 1
        self._store.agenda.after(delay_s, partial(self._look, self._turn))

    def _look(self, turn: int) -> None:
        if turn != self._turn or self._is_saying:
            return
        if self._is_new:
            self._say()
            return
        self._is_saying = True
        self._store.ask(self._store.costs.keep, ANSWER_S, self._kept, self._failed)

    def _kept(self) -> None:
        self._is_saying = False
        if self._is_new:
            self._later(max(0.0, self._not_before - self._store.agenda.now))
        else:
            self._later(KEEP_S)

    def _failed(self) -> None:
        self.has_lease = self._is_saying = False
        self._is_new = True
        self._failures += 1
        wait_s = pause_s(self._failures, self._store.layout.endpoints, self._chance)
        self._not_before = self._store.agenda.now + wait_s
        self._later(wait_s)


class Fleet:
    """A whole fleet with its etcd.

    seed: decides every chance of the run.
    """

    def __init__(self, layout: Layout, costs: Costs, seed: int) -> None:
        self.agenda = Agenda(seed)
        self.layout = layout
        self.store = Etcd(self.agenda, layout, costs)
        for number in range(layout.cells * layout.peers):
            director = Director(self.store, number // layout.peers)
            self.store.cells.setdefault(director.cell, []).append(director)

    def start(self, within_s: float) -> None:
        """Start all directors, each at a moment within this time, and let it pass."""
        for each in self.store.all:
            self.agenda.at(self.agenda.random.random() * within_s, each.start)

    @property
    def well(self) -> int:
        """How many directors follow everything and can be heard."""
        return sum(each.is_well for each in self.store.all)

    def load(self, seconds: float) -> float:
        """Let time pass, and return how many cores of etcd were asked for meanwhile."""
        before = self.store.cores.used
        self.agenda.run(self.agenda.now + seconds)
        return (self.store.cores.used - before) / seconds
