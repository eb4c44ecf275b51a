"""Says in a few words what has happened to a real server. Pure.

The words have no times and no counts that are different for each server: in a mass failure, thousands of servers share
them.
"""

from collections.abc import Callable
from typing import Any

from lvs_healthd.events import kinds as events
from lvs_healthd.probes.exchange import seconds_in_words
from lvs_healthd.state.overrides import EVERYWHERE

_DONE = {
    "fail_open": "all serve that no order takes out",
    "fallback": "the fallback is in use",
    "none": "nothing is done about it",
}
"""What is done when fewer may serve than `min_up`, in words."""

_ORDERED = {"drain": "drained", "disable": "disabled"}


def _verdict(event: events.RealServerUp | events.RealServerDown) -> str:
    to = "up" if isinstance(event, events.RealServerUp) else "down"
    by = f"{event.check}: " if event.check else ""
    return f"{to}, was {event.was}: {by}{event.reason}"


def _weight(event: events.RealServerWeight) -> str:
    return f"{event.check} asks for weight {event.weight}, was {event.was}: {event.reason}"


def _flapping(event: events.RealServerFlapping) -> str:
    return f"flaps: {event.reason}"


def _damped(event: events.RealServerDamped) -> str:
    return f"held out for {seconds_in_words(round(event.for_s, 1))} because it flaps: {event.reason}"


def _released(event: events.RealServerReleased) -> str:
    return f"no longer held out because it flapped; it is {event.verdict}"


def _drained(event: events.RealServerDrained) -> str:
    return f"drained: {event.reason}; it leaves the table"


def _order(event: events.OverrideSet | events.OverrideEnded) -> str:
    if event.kind in _ORDERED:
        what = _ORDERED[event.kind]
    else:
        weight = event.weight if isinstance(event, events.OverrideSet) else None
        what = "an ordered weight" if weight is None else f"weight {weight}"
    where = " in all services" if event.service == EVERYWHERE else ""
    if isinstance(event, events.OverrideEnded):
        return f"no longer {'at ' if event.kind == 'weight' else ''}{what}{where}: {event.why}"
    until = f" until {event.until}" if event.until else ""
    who = f"uid {event.uid}{f' on {event.director} for the fleet' if event.director else ''}"
    return f"{what}{where} by {who}{until}{_because(event.reason)}"


def _filed(event: events.MaintenanceBegan | events.MaintenanceEnded) -> str:
    servers = ", ".join(event.servers)
    if isinstance(event, events.MaintenanceEnded):
        return f"the file {event.file} no longer drains {servers}: {event.why}"
    return f"the file {event.file} drains {servers}"


def _refused(event: events.OperatorRefused) -> str:
    return f"refused to uid {event.uid}: {event.request}: {event.why}"


def _written(event: events.TableChanged) -> str:
    verb, _, what = event.operation.partition("_")
    whole = "the service was " if what == "service" else ""
    would = "would be " if event.shadow else ""
    if verb == "add":
        return f"{whole}{would}added ({event.fields}): {event.reason}"
    if verb == "delete":
        return f"{whole}{would}removed: {event.reason}"
    return f"{whole}{would}{'set: ' if whole or would else ''}{event.fields}: {event.reason}"


def _drift(event: events.TableDrift) -> str:
    what = "" if event.server else "the service: "
    instead = f"; what lasts: {event.instead}" if event.instead else ""
    return f"somebody else has changed the kernel's table: {what}{event.found}{instead}"


def _fight(event: events.TableFight) -> str:
    suspects = f"; perhaps {', '.join(event.suspects)}" if event.suspects else ""
    return f"somebody else undoes what is written again and again{suspects}"


def _fight_over(_: events.TableFightOver) -> str:
    return "nobody undoes what is written any more"


def _error(event: events.TableError) -> str:
    if not event.service:
        return f"the kernel's table could not be {'read' if event.operation == 'read' else 'written'}: {event.error}"
    return f"could not be written ({event.operation}): {event.error}"


def _held(event: events.TableHeld) -> str:
    return f"{_whole(event.service)} is held by uid {event.uid}{_because(event.reason)}"


def _let_go(event: events.TableReleased) -> str:
    return f"{_whole(event.service)} is released by uid {event.uid}"


def _brake_on(event: events.BrakeOn) -> str:
    return f"brake on {event.way}: {event.silent} of {event.targets} targets are silent; {event.cause}"


def _brake_off(event: events.BrakeOff) -> str:
    return f"brake off {event.way}: {event.reason}"


def _veto_on(event: events.VetoOn) -> str:
    return f"other directors hold it: {event.reason}"


def _veto_off(event: events.VetoOff) -> str:
    return f"other directors do not hold it any more: {event.reason}"


def _fallback(event: events.ServiceFallback) -> str:
    used = f"the fallback is in use: {', '.join(event.fallback)}" if event.fallback else "clients are refused"
    return f"no real server may serve; {used}"


def _spare(event: events.FallbackUp | events.FallbackDown) -> str:
    to = "up" if isinstance(event, events.FallbackUp) else "down"
    return f"{to}: {event.check}: {event.reason}"


def _below(event: events.ServiceBelow) -> str:
    what = f"weight {event.able}" if event.is_weight else f"{event.able}"
    return f"{what} may serve, fewer than min_up {event.min_up}; {_DONE.get(event.action, event.action)}"


def _enough(event: events.ServiceEnough) -> str:
    return f"enough real servers may serve again: {event.able}, min_up is {event.min_up}"


def _serving(_: events.ServiceServing) -> str:
    return "a real server may serve again"


def _whole(service: str) -> str:
    return "the service" if service else "the whole table"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""


WORDS: dict[type[events.Event], Callable[[Any], str]] = {
    events.RealServerUp: _verdict,
    events.RealServerDown: _verdict,
    events.RealServerDownAnyway: _verdict,
    events.RealServerWeight: _weight,
    events.RealServerFlapping: _flapping,
    events.RealServerDamped: _damped,
    events.RealServerReleased: _released,
    events.RealServerDrained: _drained,
    events.OverrideSet: _order,
    events.OverrideEnded: _order,
    events.MaintenanceBegan: _filed,
    events.MaintenanceEnded: _filed,
    events.OperatorRefused: _refused,
    events.TableChanged: _written,
    events.TableDrift: _drift,
    events.TableFight: _fight,
    events.TableFightOver: _fight_over,
    events.TableError: _error,
    events.TableHeld: _held,
    events.TableReleased: _let_go,
    events.BrakeOn: _brake_on,
    events.BrakeOff: _brake_off,
    events.VetoOn: _veto_on,
    events.VetoOff: _veto_off,
    events.ServiceFallback: _fallback,
    events.FallbackUp: _spare,
    events.FallbackDown: _spare,
    events.ServiceBelow: _below,
    events.ServiceEnough: _enough,
    events.ServiceServing: _serving,
}
"""How to say each kind of event that is remembered."""
