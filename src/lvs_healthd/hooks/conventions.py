"""Puts together, for each way to tell, what is told and who tells it."""

from collections.abc import Callable, Iterable

from lvs_healthd.config.hook_model import Hook, HookConvention
from lvs_healthd.events.kinds import Event
from lvs_healthd.hooks import json_convention
from lvs_healthd.hooks.digest import Gathered
from lvs_healthd.hooks.facts import Facts, Lookup, Message, Told, about, lane_of
from lvs_healthd.hooks.keepalived_convention import SHORTAGES, Quorums, line_of, state_of
from lvs_healthd.hooks.letter import letter
from lvs_healthd.hooks.mon_convention import Alerts
from lvs_healthd.hooks.pipe import Pipe
from lvs_healthd.hooks.program import Call, Programs
from lvs_healthd.hooks.run import WORKERS, Convention, Sender
from lvs_healthd.hooks.selection import Selection
from lvs_healthd.hooks.webhook import Webhook, post


def convention_of(hook: Hook, lookup: Lookup, clock: Callable[[], float], wall: Callable[[], float]) -> Convention:
    """Return what a hook is told, and when.

    lookup: finds what is known of servers.
    clock: monotonic time, seconds.
    wall: Unix time, seconds.
    """
    match hook.convention:
        case HookConvention.MON:
            return Alerts(hook, lookup, clock, wall)
        case HookConvention.KEEPALIVED:
            return _Keepalived(hook, lookup)
        case HookConvention.JSON:
            return _Json(hook, lookup)


def sender_of(hook: Hook, helper: str) -> tuple[Sender, int]:
    """Return who tells a hook, and how many messages may be under way at once.

    helper: the socket of the process that runs programs.
    """
    if hook.command:
        return Programs(helper, hook.timeout), WORKERS
    if hook.url:
        return Webhook(hook), 1
    if hook.mail is not None:
        # Only here, because the library takes 17 ms of every start, and few have such a hook.
        from lvs_healthd.hooks.relay import Relay  # noqa: PLC0415

        return Relay(hook, hook.mail), 1
    return Pipe(hook.fifo), 1


class _Json:
    """Tells of an event as one JSON object, or in a mail."""

    def __init__(self, hook: Hook, lookup: Lookup) -> None:
        self._hook = hook
        self._lookup = lookup
        self._selection = Selection(hook)
        self.names = self._selection.heard

    def wants(self, event: Event, *, in_shadow: bool) -> bool:
        return self._selection.has(event, in_shadow=in_shadow) and json_convention.is_told(event)

    def messages(self, told: Told) -> Iterable[Message]:
        event = told.event
        facts = self._facts(event) if self._hook.command else None
        yield Message(lane_of(event), about(event), lambda: self._payload(told, facts))

    def gathered(self, gathered: Gathered) -> Message:
        what = about(gathered.events[0].event) if gathered.total == 1 else f"{gathered.total} events"
        return Message("", what, lambda: self._payload_of_many(gathered))

    def repeated(self) -> Iterable[Message]:
        return ()

    def keep(self, services: frozenset[str]) -> None:
        self._selection.keep(services)

    def _payload(self, told: Told, facts: Facts | None) -> object:
        if self._hook.mail is not None:
            return letter(self._hook.mail, Gathered((told,), {told.event.name: 1}))
        return self._wrapped(json_convention.of_event(told), json_convention.variables(told.event, facts))

    def _payload_of_many(self, gathered: Gathered) -> object:
        if self._hook.mail is not None:
            return letter(self._hook.mail, gathered)
        return self._wrapped(json_convention.of_many(gathered), {"LVS_EVENT": json_convention.DIGEST})

    def _wrapped(self, body: bytes, variables: dict[str, str]) -> object:
        if self._hook.url:
            return post(body)
        if self._hook.fifo:
            return body + b"\n"
        return Call(self._hook.command, variables | dict(self._hook.environment), body.decode() + "\n")

    def _facts(self, event: Event) -> Facts | None:
        service = getattr(event, "service", "")
        return self._lookup(service, getattr(event, "server", ""), "") if service else None


class _Keepalived:
    """Tells of servers that go and come, and of services that have too few, in keepalived's way."""

    def __init__(self, hook: Hook, lookup: Lookup) -> None:
        self._hook = hook
        self._lookup = lookup
        self._selection = Selection(hook)
        self._quorums = Quorums()
        self._states = {SHORTAGES[name] for name in hook.events & SHORTAGES.keys()}
        """The changes of services that are told."""
        self._told = hook.events | (SHORTAGES.keys() if self._states else frozenset())
        self.names = self._told | self._selection.heard

    def wants(self, event: Event, *, in_shadow: bool) -> bool:
        is_about = self._selection.is_about(event, in_shadow=in_shadow)
        return is_about and event.name in self._told and json_convention.is_told(event)

    def messages(self, told: Told) -> Iterable[Message]:
        event = told.event
        if event.name in SHORTAGES:
            state = self._quorums.changed(event)
            state = state if state in self._states else ""
        else:
            state = state_of(event)
        facts = self._lookup(getattr(event, "service", ""), getattr(event, "server", ""), "") if state else None
        if facts is not None:
            yield Message(lane_of(event), about(event), lambda: self._payload(event, facts, state))

    def gathered(self, _: Gathered) -> Message:
        raise AssertionError("the configuration has no `every` with this convention")

    def repeated(self) -> Iterable[Message]:
        return ()

    def keep(self, services: frozenset[str]) -> None:
        self._selection.keep(services)
        self._quorums.forget_others(services)

    def _payload(self, event: Event, facts: Facts, state: str) -> object:
        if self._hook.fifo:
            return line_of(facts.service, facts.server, state).encode()
        return Call(self._hook.command, json_convention.variables(event, facts) | dict(self._hook.environment), "")
