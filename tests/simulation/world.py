"""Goes through a list of steps: what operators, other programs, the kernel and the network do to a site."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from lvs_healthd.api.peers import Peer
from lvs_healthd.decide.held import ProbeState
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.reconcile.trouble import RETRY_MAX_S
from lvs_healthd.view.hold_values import HoldOutcome, HoldRefusedError
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.override_values import OverrideOutcome, OverrideRequest
from lvs_healthd.view.reload_values import ReloadOutcome, ReloadRequest
from tests.simulation import documents
from tests.simulation.documents import CHECKS, HOSTS, INTERVAL_S, KEYS, NAMES, RESYNC_S
from tests.simulation.eyes import Eyes
from tests.simulation.model import EVERYWHERE, GRACE_S, LATE_S, Place
from tests.simulation.others import Others
from tests.simulation.outcomes import PASS, course, outcome
from tests.simulation.site import HOLDS, OVERRIDES, START_S, STATE

Step = tuple[Any, ...]
"""What happens: the name of a method of `World` or `Others` without its "do_", and its arguments."""

ROOT = Peer(1, 0, frozenset())

_FILES = {"state": STATE, "overrides": OVERRIDES, "holds": HOLDS}

GUARDED = 10
"""How many servers must serve so that the reload guard looks (docs/guards.md)."""

SLOW_DISK_S = 10.0
"""After how long the file of orders is as it ought to be, if the disk does not hang any more, seconds."""


class InvariantError(AssertionError):
    """Something is not as it must be.

    what: the invariant, and why it does not hold.
    number: of the step after which that was found.
    """

    def __init__(self, what: str, number: int) -> None:
        super().__init__(f"step {number}: {what}")
        self.what = what
        self.number = number

    @property
    def rule(self) -> str:
        """The name of the invariant."""
        return self.what.partition(":")[0]


class World:
    """A site to which things happen.

    document: the configuration to begin with.
    """

    def __init__(self, document: documents.Document) -> None:
        self.eyes = Eyes()
        self.site, self.model = self.eyes.site, self.eyes.model
        self._others = Others(self.eyes)
        self.in_file = self.in_force = document
        """The configuration that is in the file, and the last one that the daemon has taken."""
        self.weather: dict[tuple[int, str], str] = {}
        """What probes of a host find, by host and kind of check, if it is not `PASS`."""
        self.number = 0
        """Of the step."""

    def run(self, steps: Sequence[Step]) -> None:
        """Go through the steps. Raises `InvariantError` as soon as an invariant does not hold."""
        with self.site.entered():
            self.site.text = documents.text(self.in_file)
            self._start()
            for self.number, step in enumerate(steps):
                self._take(step)

    def _take(self, step: Step) -> None:
        self.eyes.note(step)
        actor = self if hasattr(self, f"do_{step[0]}") else self._others
        act: Callable[..., None] = getattr(actor, f"do_{step[0]}")
        try:
            act(*step[1:])
            self.site.loop.settle()
            self.site.check_alive()
            if step[0] != "outcome":
                self.eyes.look()
        except InvariantError:
            raise
        except Exception as error:
            raise InvariantError(f"raises nothing: {error!r}", self.number) from error
        self._stop_if_broken()

    def _stop_if_broken(self) -> None:
        if self.eyes.broken:
            raise InvariantError(self.eyes.broken[0], self.number)

    # Probes

    def do_outcome(self, host: int, kind: str, result: str) -> None:
        """The probes of a host end."""
        self._hand(HOSTS[host], kind, result)

    def do_weather(self, hosts: int, kinds: int, result: str) -> None:
        """From now on, probes of these hosts end like this. Both are sets of bits."""
        for host in range(len(HOSTS)):
            for number, kind in enumerate(CHECKS):
                if hosts >> host & 1 and kinds >> number & 1:
                    self.weather[host, kind] = result

    def do_round(self, times: int) -> None:
        """Each probe runs so many times, at its interval."""
        for _ in range(times):
            for host, address in enumerate(HOSTS):
                for kind in CHECKS:
                    self._hand(address, kind, self.weather.get((host, kind), PASS))
            self.site.loop.advance(INTERVAL_S)
            self._stop_if_broken()

    def _hand(self, address: str, kind: str, result: str) -> None:
        """Give the probes of a host their outcome, and judge by it in the model too."""
        probes = self.site.probes.by_target.get((address, kind)) if self.site.is_running else None
        if not probes:
            return
        now, began = self.site.clock.now, {}
        for probe in probes:
            state = probe.sink
            assert isinstance(state, ProbeState)
            how = course(result, now if state.last_at is None else now - state.last_at)
            began[state.key] = now - how.total_s
            state.outcome(outcome(result, kind), how)
        # Nothing has been written yet, because the plan follows on the loop.
        self.eyes.judge(address, kind, result, began)
        self.site.loop.settle()

    # Time

    def do_pass(self, seconds: float) -> None:
        """Time passes, without probes."""
        self.site.loop.advance(seconds)

    def do_stall(self, seconds: float) -> None:
        """The daemon gets no processor for a while."""
        self.eyes.stalled_until = self.site.clock.now + seconds + LATE_S
        self.model.unsettle(self.eyes.stalled_until)
        self.site.clock.now += seconds
        self.site.loop.advance(0.0)

    def do_clock(self, seconds: float) -> None:
        """Somebody sets the clock forward."""
        self.site.clock.shift += seconds

    def do_thread(self, seconds: float) -> None:
        """Calls on threads take so long from now on."""
        self.site.loop.thread_s = seconds

    def do_slices(self, items: int) -> None:
        """Paced work rests after so many items from now on; 0 for never."""
        self.site.clock.slice_s = 0.0011 / items if items else 0.0

    def do_work(self, seconds: float) -> None:
        """A plan seems to take so long from now on."""
        self.site.clock.work_s = seconds

    # Operators

    def do_order(self, verb: str, where: int, host: int, weight: int, for_s: float, force: bool) -> None:
        """An operator orders something about servers.

        where: the service; -1 for all of them.
        host: the machine; -1 for all servers of the service.
        weight: -1 for the configured one.
        for_s: 0 for no end.
        """
        until = self.site.clock.time() + for_s if for_s and verb != "enable" else None
        request = OverrideRequest(
            verb=verb,  # type: ignore[arg-type]
            service="" if where < 0 else NAMES[where],
            servers=() if where < 0 or host < 0 else (HOSTS[host],),
            everywhere=HOSTS[host] if where < 0 else "",
            weight=weight if verb == "weight" and weight >= 0 else None,
            until=until,
            force=force,
        )
        places = self._meant(where, host)
        came: OverrideOutcome = self._asked(self.site.requests.order(request, ROOT))
        if not came.refused:
            self.model.order(verb, places, request.weight, float("inf") if until is None else until)
            self.model.unsettle(self.site.clock.now + GRACE_S)

    def do_both(self, verb: str, where: int, host: int, other: Step) -> None:
        """An operator orders something while another one does something else: orders too, or reloads."""
        until = self.site.clock.time() + 3600.0
        mine = OverrideRequest(verb=verb, service=NAMES[where], servers=(HOSTS[host],), until=until, force=True)  # type: ignore[arg-type]
        theirs: Any = ReloadRequest(force=False)
        if other[0] == "order":
            theirs = OverrideRequest(verb=other[1], service=NAMES[other[2]], force=True)
        self.site.loop.thread_s = min(self.site.loop.thread_s, 0.4)
        if self.site.has_doubtful_orders:
            self.site.loop.advance(SLOW_DISK_S)
            if self.site.has_doubtful_orders:
                return
        requests = self.site.requests
        second = requests.order(theirs, ROOT) if other[0] == "order" else requests.reload(theirs, ROOT)
        came = self._asked(_both(requests.order(mine, ROOT), second))
        if other[0] == "reload" and not came[1].errors:
            self.in_force = self.in_file
        self.model.restore(self.site.disk.files.get(OVERRIDES, b""))
        self.model.unsettle(self.site.clock.now + GRACE_S)
        self.eyes.look_at_orders(have_ended=False)

    def _meant(self, where: int, host: int) -> list[Place]:
        if where < 0:
            return [(EVERYWHERE, HOSTS[host])]
        place = next((each for key, each in self.model.services.items() if str(key) == KEYS[where]), None)
        if place is not None and host < 0:
            return [(KEYS[where], str(each)) for each in place.servers]
        members = () if place is None else place.members
        if found := [each for each in members if each.address == HOSTS[host]]:
            return [(KEYS[where], str(each)) for each in found]
        absent = [each for orders in (self.model.states, self.model.weights) for each in orders]
        meant = [each for each in absent if each[0] == KEYS[where]]
        return [each for each in meant if host < 0 or each[1].rpartition(":")[0] == HOSTS[host]]

    def _asked(self, work: Any) -> Any:
        """Carry out what an operator asks for."""
        self.eyes.is_asked = True
        try:
            return self.site.loop.result(work, START_S)
        finally:
            self.eyes.is_asked = False

    def do_hold(self, where: int) -> None:
        """An operator holds a service, or the whole table (-1)."""
        try:
            came = self._asked(self.site.requests.hold("" if where < 0 else NAMES[where], "a test", ROOT))
        except (HoldRefusedError, UnknownNameError):
            return
        self.model.held[None if where < 0 else self._key(where, self.model.services)] = None
        self._keep(came)

    def do_release(self, where: int) -> None:
        """An operator releases a service, or everything (-1)."""
        try:
            came = self._asked(self.site.requests.release("" if where < 0 else NAMES[where], ROOT))
        except (HoldRefusedError, UnknownNameError):
            return
        if where < 0:
            self.model.held.clear()
        else:
            self.model.held.pop(self._key(where, self.model.held), None)
        self._keep(came)

    def _keep(self, came: HoldOutcome) -> None:
        self.model.unsettle(self.site.clock.now + GRACE_S)
        if not came.not_kept:
            self.model.kept = dict(self.model.held)

    def _key(self, where: int, among: Any) -> ServiceKey | None:
        return next((key for key in among if key is not None and str(key) == KEYS[where]), None)

    # The configuration

    def do_edit(self, what: str, number: int, host: int, value: int) -> None:
        """Somebody edits the file."""
        self.in_file = documents.edited(self.in_file, what, number, host, value)
        self.site.text = documents.text(self.in_file)

    def do_spoil(self) -> None:
        """Somebody leaves the file with an error."""
        self.site.text = documents.BROKEN

    def do_reload(self, force: bool) -> None:
        """An operator reloads."""
        came: ReloadOutcome = self._asked(self.site.requests.reload(ReloadRequest(force=force), ROOT))
        if not came.errors:
            self.in_force = self.in_file
        elif self.site.text != documents.BROKEN and not ("reload_guard" in came.errors[0] and self._counts_strangers):
            self.eyes.find("takes a good file", came.errors[0])

    @property
    def _counts_strangers(self) -> bool:
        """Whether only those servers make so many that the reload guard looks which somebody else has added."""
        serving = [
            (key, server)
            for key, entry in self.site.entries.items()
            for server, record in entry.destinations.items()
            if record.weight > 0
        ]
        added = sum(server in self.eyes.strangers.get(key, ()) for key, server in serving)
        return len(serving) >= GUARDED > len(serving) - added

    # The process

    def _start(self) -> None:
        if self.site.start():
            self.in_force = self.in_file
        else:  # somebody mends the file
            self.in_file = self.in_force
            self.site.text = documents.text(self.in_force)
            if not self.site.start():
                self.eyes.find("starts", "it does not, with a file that was good before")
        self.eyes.look()
        self.eyes.look_at_orders(have_ended=False)
        self._stop_if_broken()

    def do_restart(self) -> None:
        """The daemon is stopped and started."""
        is_doubtful = self.site.has_doubtful_orders
        self.site.stop()
        self._begin_again(is_doubtful=is_doubtful)

    def do_crash(self, torn: str, share: float) -> None:
        """The daemon is killed and started.

        torn: which file is found cut off: "state", "overrides", "holds", or "" for none.
        share: how much of it is left.
        """
        is_doubtful = self.site.has_doubtful_orders
        self.site.kill()
        if torn and _FILES[torn] in self.site.disk.files:
            self.site.disk.tear(_FILES[torn], share)
            if torn == "overrides":
                is_doubtful = True
            elif torn == "holds":
                self.model.kept = {None: None}
        self._begin_again(is_doubtful=is_doubtful)

    def _begin_again(self, *, is_doubtful: bool) -> None:
        """Start the daemon.

        is_doubtful: whether the file may hold other orders than those in force.
        """
        if is_doubtful:
            self.model.restore(self.site.disk.files.get(OVERRIDES, b""))
        self.model.forget()
        self._start()

    def do_disk(self, broken: bool) -> None:
        """The disk is full, or has room again."""
        self.site.disk.broken = broken

    # Other directors

    def do_peers(self, agree: int, modes: tuple[str, ...]) -> None:
        """Other directors say something else."""
        self.site.peers.say(self.site.running.agreement, agree, modes)
        self.site.running.agreement.adopt(self.site.running.config)
        self.site.running.replans.now()

    # The end

    def do_settle(self) -> None:
        """Nothing happens any more but probes. Then everything must be as it ought to be."""
        self.do_peers(1, ())
        self.site.table.mend()
        self.site.disk.broken = False
        self.site.loop.thread_s = self.site.clock.work_s = self.site.clock.slice_s = 0.0
        had_trouble = bool(self.site.running.reconciler.errors.last)
        wait_s = RESYNC_S + 1.0 + (RETRY_MAX_S if had_trouble else 0.0)
        self.do_round(int(wait_s / INTERVAL_S) + 1)
        self.eyes.look()
        self.eyes.look_at_orders(have_ended=True)
        self.eyes.look_at_table()


async def _both(one: Coroutine[Any, Any, Any], other: Coroutine[Any, Any, Any]) -> tuple[Any, Any]:
    return await asyncio.gather(one, other)
