"""Tells what became of the lines of watches."""

from collections.abc import Iterable, Mapping

from lvs_healthd.importers.account import Account, Fate, Place
from lvs_healthd.importers.mon import alerts
from lvs_healthd.importers.mon.alerts import Effect, Fall, Link, effect
from lvs_healthd.importers.mon.checks import Probe
from lvs_healthd.importers.mon.drafting import LEAST_INTERVAL_S, MOST_INTERVAL_S, Times, interval_of, text_of
from lvs_healthd.importers.mon.hooks import ALL, MOST_REPEAT_S, Scripts, statuses
from lvs_healthd.importers.mon.periods import When, when
from lvs_healthd.importers.mon.placing import Watched
from lvs_healthd.importers.mon.records import Alert, Period, Service, Setting
from lvs_healthd.importers.mon.watching import every
from lvs_healthd.importers.mon.words import seconds

ONLY_TELLS = (
    "its alerts change nothing in the table, and there are no checks that only tell; let another program watch it, "
    "or add it as a check of the service, which then takes servers out"
)
TELLS_IN_MON = (
    "no alert of it changes the table, so in mon a server that fails stays in; with this check it leaves. If that is "
    'not wanted, remove the check, or write mode = "shadow" at the service'
)
_DEPENDENCIES = ("depend", "alertdepend", "monitordepend", "hostdepend")
_ONLY_WITH_DEPENDENCIES = ("dep_behavior", "dep_memory")
_NO_DEPENDENCIES = (
    "there are no dependencies: each server is judged by its own checks, and the brake holds the table when many fail "
    "together (docs/guards.md)"
)
_NO_PAUSE = "checks run at all times; drain the servers for that time (lvs-healthd drain, docs/operators.md)"
_NO_TRAPS = "lvs-healthd takes no traps; let an agent on the server answer (docs/configuration.md, agent)"
_LOST = {
    **dict.fromkeys(_DEPENDENCIES, _NO_DEPENDENCIES),
    "exclude_period": _NO_PAUSE,
    "traptimeout": _NO_TRAPS,
    "trapduration": _NO_TRAPS,
    "unack_summary": "failures are not acknowledged here",
    "redistribute": "it calls no script for every outcome; ask its API (docs/api.md) or metrics (docs/metrics.md)",
}
"""Keys of services that are not carried over, and why."""
_NEEDLESS = {
    "randskew": "probes have a jitter of their own, and are spread over the interval",
    "allow_empty_group": "a check belongs to a server, so none is run without one",
}
"""Keys of services that say nothing to lvs-healthd, and why."""


def tell_lost(service: Service, reason: str, account: Account) -> None:
    """Tell that a service of mon is not carried over. reason: "" if it is told elsewhere."""
    account.dropped(service.places[0], reason)
    for place in service.all_lines():
        if not account.fates(place):
            account.dropped(place, "")


def tell_carried(service: Service, probe: Probe, fall: Fall, scripts: Scripts, account: Account) -> None:
    """Tell what became of each line of a service that is carried over."""
    account.carried(*service.places)
    settings = service.settings
    for key in ("interval", "monitor", "description", "exclude_hosts", "failure_interval"):
        if key in settings:
            account.carried(*settings[key].places)
    (monitor, *_) = settings["monitor"].places
    for text in probe.notes:
        account.noted(monitor, text)
    for text in probe.doubts:
        account.dropped(monitor, text)
    _tell_times(service, fall, account)
    _tell_rare_keys(service, account)
    for name, setting in service.environment.items():
        place, *more = setting.places
        if probe.is_program or scripts.found:
            account.carried(place)
        else:
            account.dropped(place, f"the native check has no variables, and {name} reaches no script")
        account.carried(*more)
    for period in service.periods.values():
        _tell_period(service, period, fall, scripts, account)
    for place, text in scripts.notes:
        account.noted(place, text)
    for place, text in scripts.losses:
        account.dropped(place, text)


def failing_interval(service: Service) -> float | None:
    """Return the time between the runs of a monitor that fails, seconds, or None if it is the same as otherwise."""
    setting = service.settings.get("failure_interval")
    return seconds(setting.value) if setting else None


def _tell_times(service: Service, fall: Fall, account: Account) -> None:
    interval = service.settings["interval"]
    value = interval_of(service)
    for key in ("interval", "failure_interval"):
        setting = service.settings.get(key)
        given = seconds(setting.value) or 0 if setting else LEAST_INTERVAL_S
        if setting and given < LEAST_INTERVAL_S:
            account.noted(setting.places[0], "mon looks once a second whose turn it is, so this is 1s")
        if setting and given > MOST_INTERVAL_S:
            account.dropped(setting.places[0], f"the longest interval is {text_of(MOST_INTERVAL_S)}, which is written")
    failing = failing_interval(service)
    place = service.settings["failure_interval"].places[0] if failing else None
    if place and failing and failing > value and fall.count != 1:
        account.dropped(place, "as down_interval it counts only once `fall` failures have come, each after `interval`")
    elif place and failing and failing > value and failing % value:
        account.noted(place, f"down_interval is rounded up to whole intervals of {interval.value}")
    for setting, text in fall.notes:
        account.noted(setting.places[0], text)
    for setting, text in fall.losses:
        account.dropped(setting.places[0], text)


def _tell_rare_keys(service: Service, account: Account) -> None:
    has_dependency = any(key in service.settings for key in _DEPENDENCIES)
    for key, setting in service.settings.items():
        place, *more = setting.places
        if key in _ONLY_WITH_DEPENDENCIES:
            _tell_dependency(key, place, account, has_dependency=has_dependency)
        elif key in _LOST:
            account.dropped(place, _LOST[key])
        elif key in _NEEDLESS:
            account.noted(place, _NEEDLESS[key])
        account.carried(*more)


def _tell_dependency(key: str, place: Place, account: Account, *, has_dependency: bool) -> None:
    if has_dependency:
        account.dropped(place, _NO_DEPENDENCIES)
    else:
        account.ignored(place, f"{key} does nothing without a dependency")


def refuse_unclear_alerts(service: Service, account: Account) -> None:
    """Refuse the lines that call a script in a way that their writer cannot have meant."""
    for alert in (each for period in service.periods.values() for each in period.alerts):
        if alert.words is None:
            text = "a quote or backslash is left over, so mon calls the script without any argument of its own"
            account.refused(alert.places[0], f"{text}; what was meant? Close the quote")
        elif alert.script.startswith("=") or not alert.script:
            text = f"mon takes {alert.script!r} for the script's name and never finds it"
            account.refused(alert.places[0], f"{text}; which script was meant? Write exit=N without blanks")


def _tell_period(service: Service, period: Period, fall: Fall, scripts: Scripts, account: Account) -> None:
    account.carried(*period.places)
    time = when(period.when)
    if time is When.NEVER:
        for place in _lines(period):
            account.ignored(place, "the period is never, so mon calls nothing of it")
        return
    if time is When.SOMETIMES and effect(service) >= Effect.SCRIPT:
        account.dropped(period.places[0], "there are no periods: a server that fails is out at all times")
    elif time is When.SOMETIMES:
        account.dropped(period.places[0], "there are no periods")
    has_hooks = period.label in scripts.has_hooks
    lost = {setting.places[0] for setting, _ in fall.losses}
    for setting in period.after:
        if setting.places[0] not in lost:
            account.carried(*setting.places)
    _tell_verdict(service, period, fall, account, has_hooks=has_hooks)
    for key, setting in period.settings.items():
        place, *more = setting.places
        if key == "no_comp_alerts" and has_hooks:
            _tell_uncompared(place, period, fall, account)
        else:
            _tell_key(key, setting, (service, period), account, has_hooks=has_hooks)
        account.carried(*more)
    for alert in period.alerts:
        _tell_alert(alert, service, period, account)


def _tell_verdict(service: Service, period: Period, fall: Fall, account: Account, *, has_hooks: bool) -> None:
    """Tell where the scripts of a period that decides nothing are called earlier or later than in mon."""
    if any(period is each for each in alerts.deciding(service)):
        return
    if not has_hooks:
        for setting in period.after:
            account.dropped(setting.places[0], "no alert of this period decides about the server, and none is a hook")
        return
    count = alerts.count_of(period, interval_of(service))
    if count != fall.count:
        place = period.after[0].places[0] if period.after else period.places[0]
        here = f"at failure {fall.count}" if fall.count else "which is an open question"
        account.dropped(place, f"its scripts are called in mon at failure {count}, here with the verdict, {here}")


def _tell_key(key: str, setting: Setting, where: tuple[Service, Period], account: Account, *, has_hooks: bool) -> None:
    """Tell what became of a key of a period. where: the service and its period."""
    place, (service, period) = setting.places[0], where
    is_ours = all(each.script == alerts.IPVS_ALERT for each in period.alerts)
    if key == "upalertafter":
        account.ignored(place, "mon 1.3.6 reads upalertafter and never uses it")
    elif key == "alerts_dont_count":
        account.noted(place, "not needed: it is about mon's own displays")
    elif key == "alertexitrange":
        _tell_exit_range(place, service, period, account, has_hooks=has_hooks)
    elif is_ours:
        account.noted(place, "not needed: the table is kept true, and not only when something changes")
    elif not has_hooks:
        account.dropped(place, f"{key} is about scripts, and none of this period is a hook")
    elif key == "alertevery":
        _tell_every(setting, account)
    elif key == "numalerts" and len({statuses(each, period) for each in period.alerts if each.kind == "alert"}) > 1:
        account.dropped(place, "each hook counts for itself (most), and not all alerts of the period together")
    else:
        account.carried(place)


def _tell_exit_range(place: Place, service: Service, period: Period, account: Account, *, has_hooks: bool) -> None:
    is_deciding = any(period is each for each in alerts.deciding(service)) and effect(service) >= Effect.SCRIPT
    if is_deciding or not has_hooks:
        account.dropped(place, "a check fails or passes, whatever the exit status")
    else:
        account.carried(place)


def _tell_uncompared(place: Place, period: Period, fall: Fall, account: Account) -> None:
    if not any(each.kind == "upalert" for each in period.alerts):
        account.ignored(place, "there is no upalert in this period")
    elif fall.count == 1:
        account.carried(place)
    else:
        account.dropped(place, "mon calls upalert also after fewer failures; here it comes after a verdict only")


def _tell_every(setting: Setting, account: Account) -> None:
    place = setting.places[0]
    time, how = every(setting.value)
    if how == "strict":
        account.dropped(place, "a new failure is told here also within that time of the last one")
    elif how == "observe_detail":
        account.dropped(place, "a change of the output does not lead to another call before the time is over")
    elif (seconds(time) or 0) > MOST_REPEAT_S:
        account.dropped(place, "the longest repeat is 7d, which is written")
    else:
        account.carried(place)


def _tell_alert(alert: Alert, service: Service, period: Period, account: Account) -> None:
    place, *more = alert.places
    if Fate.REFUSED in account.fates(place):
        pass
    elif not alerts.is_called(alert, period):
        account.ignored(place, f"mon never calls this {alert.kind}: {_why_never(alert)}")
    elif alert.script != alerts.IPVS_ALERT:
        account.carried(place)
        _tell_deciding(alert, service, period, account)
    elif alert.kind not in {"alert", "upalert"}:
        account.dropped(place, f"mon calls it without -u ({alert.kind}), so ipvs.alert takes the server out then")
    elif alert.exit_range and alert.kind == "alert":
        account.dropped(place, f"a check fails whatever the exit status, and not only with {alert.exit_range}")
    else:
        account.carried(place)
    account.carried(*more)


def _tell_deciding(alert: Alert, service: Service, period: Period, account: Account) -> None:
    """Tell where a script that may change the table differs from the daemon."""
    if alert.kind != "alert" or alerts.is_teller(alert.script):
        return
    if alerts.is_one_way(alert, service):
        text = "no upalert puts a server back, so in mon it may stay out; here it comes back"
        account.dropped(alert.places[0], text)
    others = [each for each in period.alerts if each.kind == "alert" and not alerts.is_teller(each.script)]
    if alert.exit_range and frozenset().union(*(statuses(each, period) for each in others)) != ALL:
        text = f"a check fails whatever the exit status, and not only with {alert.exit_range}"
        account.dropped(alert.places[0], text)


def _why_never(alert: Alert) -> str:
    if alert.exit_range:
        return "its exit status is 0 then"
    return "the period has no alert, and so nothing to take back (no_comp_alerts)"


def _lines(period: Period) -> list[Place]:
    places = [setting.places for setting in (*period.settings.values(), *period.after)]
    return [place for each in (*places, *(alert.places for alert in period.alerts)) for place in each]


def losses_of(link: Link, one: Watched, watched: list[Watched]) -> Iterable[str]:
    """Yield what ipvs.alert does that lvs-healthd will not do."""
    if len(watched) > 1:
        text = "mon takes it out when any host of the group fails; here it leaves only for its own check"
        yield f"{link.server}: {text} ({one.host.word})"
    if link.removes_service:
        yield "-D removes the whole virtual service when this server fails; here only the server leaves it"
    if not link.comes_back:
        yield f"no upalert puts {link.server} back, so in mon it stays out; here it comes back when its check passes"


def comments(services: Iterable[Service], times: Mapping[tuple[str, str], Times]) -> list[str]:
    """Return what belongs above a service: descriptions, and what is an open question."""
    texts: dict[str, None] = {}
    for each in services:
        if "description" in each.settings and each.settings["description"].value.isprintable():
            texts[f"{each.name}: {each.settings['description'].value}"] = None
        if times[each.group, each.name].fall is None:
            texts[f"missing: fall = ... at the check {each.name}: mon.cf says different things in its periods"] = None
    return list(texts)
