"""Calls programs as mon calls its alerts: when, with which arguments, input and variables.

Sources: `process_event`, `do_alert` and `call_alert` of mon 1.3.6, and running it. What is different is in
docs/hooks.md.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from lvs_healthd.config.check_model import Per
from lvs_healthd.config.hook_model import Hook
from lvs_healthd.events.kinds import (
    Event,
    FallbackDown,
    FallbackUp,
    RealServerDown,
    RealServerDownAnyway,
    RealServerUp,
)
from lvs_healthd.hooks.digest import Gathered
from lvs_healthd.hooks.facts import Facts, Lookup, Message, Told, about, lane_of
from lvs_healthd.hooks.json_convention import of_facts
from lvs_healthd.hooks.program import Call
from lvs_healthd.hooks.selection import Selection
from lvs_healthd.probes.mon import CONFIGURATION_FOLDER, STATE_FOLDERS, summary_of
from lvs_healthd.probes.outcome import MonitorRun

_FAILED = 1
"""The exit status of a check that is no program."""

_OPSTATUS_FAILED, _OPSTATUS_OK = "0", "1"
"""MON_OPSTATUS: $STAT_FAIL and $STAT_OK of mon."""

_NAMES = frozenset(event.name for event in (RealServerDown, RealServerUp, FallbackDown, FallbackUp))

_Change = RealServerDown | RealServerUp | FallbackDown | FallbackUp


class _Outage(msgspec.Struct):
    """A failure that is under way: of a server, or of a check of a service."""

    event: _Change
    """The event that has begun it."""
    failing: set[str]
    """The servers that have failed."""
    run: MonitorRun | None = None
    """The run that was told last."""
    times: int = 0
    """How often it was told."""
    due: float = 0.0
    """When it is to be told again, seconds on the monotonic clock."""


class Alerts:
    """When and how mon would call an alert.

    hook: the hook with this convention.
    lookup: finds what is known of servers.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    """

    def __init__(self, hook: Hook, lookup: Lookup, clock: Callable[[], float], wall: Callable[[], float]) -> None:
        self._hook = hook
        self._lookup = lookup
        self._clock = clock
        self._wall = wall
        self._selection = Selection(hook)
        self._outages: dict[tuple[str, str], _Outage] = {}
        self._told = hook.events
        self.names = _NAMES
        """The events that it must hear of. What is up again is told only if it was told that it was down."""

    def wants(self, event: Event, *, in_shadow: bool) -> bool:
        """Return whether an event matters."""
        return self._selection.is_about(event, in_shadow=in_shadow)

    def messages(self, told: Told) -> Iterator[Message]:
        """Yield the alert for an event, if mon would call one."""
        match told.event:
            case RealServerDown() | FallbackDown():
                yield from self._down(told.event)
            case RealServerUp() | FallbackUp():
                yield from self._up(told.event)
            case _:
                pass

    def gathered(self, _: Gathered) -> Message:
        """Raise an error, because mon has no message about several events."""
        raise AssertionError("the configuration has no `every` with this convention")

    def repeated(self) -> Iterator[Message]:
        """Yield the alerts that are due again, because a failure goes on."""
        now = self._clock()
        for key, outage in list(self._outages.items()):
            is_told = outage.times and outage.event.name in self._told
            if not is_told or outage.due > now or self._is_enough(outage):
                continue
            facts = self._facts(outage.event)
            if facts is None:
                del self._outages[key]
            else:
                yield self._alert(outage, facts, facts.monitor or outage.run)

    def keep(self, services: frozenset[str]) -> None:
        """Forget the failures of all services but these."""
        self._selection.keep(services)
        for key in [key for key in self._outages if key[0] not in services]:
            del self._outages[key]

    def _down(self, event: RealServerDown | FallbackDown) -> Iterator[Message]:
        facts = self._facts(event)
        outage = self._outages.setdefault(self._key(event), _Outage(event, set()))
        outage.failing.add(event.server)
        if facts is None or isinstance(event, RealServerDownAnyway) or self._is_enough(outage):
            return
        run = facts.monitor
        status = run.status if run is not None else _FAILED
        if self._hook.exit_status and not any(first <= status <= last for first, last in self._hook.exit_status):
            return
        if run is not None and run == outage.run:  # it has named several servers, and mon calls one alert
            return
        alert = self._alert(outage, facts, run)
        if event.name in self._told:
            yield alert

    def _up(self, event: RealServerUp | FallbackUp) -> Iterator[Message]:
        # The check that has failed is the one to tell of. It may be another one that has passed last.
        keys = [key for key in self._keys(event) if event.server in self._outages[key].failing]
        for key in keys:
            outage = self._outages[key]
            outage.failing.discard(event.server)
            if not outage.failing:
                del self._outages[key]
                if outage.times:  # mon sends no upalert without an alert
                    yield from self._end(outage.event, event, outage.run)
        if not keys and getattr(event, "was", "down") == "down":
            yield from self._end(event, event, None)

    def _end(self, of: _Change, event: _Change, run: MonitorRun | None) -> Iterator[Message]:
        """Yield the alert for the end of a failure.

        of: the event that has begun it, or else the one that ends it.
        run: the run that was told last.
        """
        facts = self._facts(of)
        if facts is not None and event.name in self._told:
            yield self._message(of, event, facts, facts.monitor or run, is_up=True)

    def _alert(self, outage: _Outage, facts: Facts, run: MonitorRun | None) -> Message:
        outage.times += 1
        outage.run = run
        outage.due = self._clock() + (self._hook.repeat or float("inf"))
        return self._message(outage.event, outage.event, facts, run, is_up=False)

    def _message(self, of: _Change, event: _Change, facts: Facts, run: MonitorRun | None, *, is_up: bool) -> Message:
        service, server = (part or "" for part in self._key(of))
        lane = f"{service} {server}" if self._hook.per is Per.GROUP else lane_of(event)
        at = int(self._wall())
        return Message(lane, about(event), lambda: self._call(of, facts, run or _run_of(of, facts, at), is_up=is_up))

    def _call(self, event: _Change, facts: Facts, run: MonitorRun, *, is_up: bool) -> Call:
        hook = self._hook
        group, service = hook.mon_group or event.service, hook.mon_service or event.check
        program, *own = hook.command
        words = ("-s", service, "-g", group, "-h", " ".join(self._hosts(facts)), "-t", str(int(self._wall())))
        variables = {
            "MON_ALERTTYPE": "up" if is_up else "failure",
            "MON_RETVAL": "0" if is_up else str(run.status),
            "MON_OPSTATUS": _OPSTATUS_OK if is_up else _OPSTATUS_FAILED,
            "MON_GROUP": group,
            "MON_SERVICE": service,
            "MON_LAST_SUMMARY": summary_of(run.output),
            "MON_LAST_FAILURE": str(run.last_failure),
            "MON_FIRST_FAILURE": str(run.first_failure),
            "MON_LAST_SUCCESS": str(run.last_success),
            "MON_FIRST_SUCCESS": "",  # mon always has it empty
            "MON_CFBASEDIR": CONFIGURATION_FOLDER,
            **of_facts(facts),
        }
        before = run.output if is_up else run.before
        if before is not None:
            variables["MON_LAST_OUTPUT"] = before
        variables |= dict(hook.environment)
        return Call(
            (program, *words, *(("-u",) if is_up else ()), *own),
            variables,
            run.output,
            tuple(name for name in STATE_FOLDERS if name not in variables),
        )

    def _hosts(self, facts: Facts) -> Iterable[str]:
        if self._hook.per is Per.SERVER and facts.server is not None:
            return (facts.server.endpoint.address,)
        servers: Sequence[str] = [server.endpoint.address for server in facts.service.real_servers]
        return dict.fromkeys(servers)

    def _facts(self, event: _Change) -> Facts | None:
        return self._lookup(event.service, event.server, event.check)

    def _key(self, event: _Change) -> tuple[str, str]:
        return (event.service, event.check if self._hook.per is Per.GROUP else event.server)

    def _keys(self, event: _Change) -> list[tuple[str, str]]:
        """Return the keys of the failures that a server's recovery may end."""
        if self._hook.per is Per.GROUP:
            return [key for key in self._outages if key[0] == event.service]
        return [key] if (key := self._key(event)) in self._outages else []

    def _is_enough(self, outage: _Outage) -> bool:
        return 0 < self._hook.most <= outage.times


def _run_of(event: _Change, facts: Facts, at: int) -> MonitorRun:
    """Return what a monitor would have said, for a check that is none: the server, and below it what is wrong."""
    host = facts.server.endpoint.address if facts.server is not None else ""
    return MonitorRun(
        status=_FAILED,
        output=f"{host}\n{event.reason}\n",
        before=None,
        first_failure=at,
        last_failure=at,
        last_success=0,
    )
