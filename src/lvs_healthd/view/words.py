"""Says in words what a status tells: what is wrong with the director, and how a service or a real server is. Pure.

The command line and the status page use the same words.
"""

import time
from collections.abc import Iterator

from lvs_healthd.runtime.printable import printable
from lvs_healthd.view.agreement_values import AgreementStatus, DirectorStatus, OpinionWhy
from lvs_healthd.view.announce_values import AnnounceStatus, errors_of
from lvs_healthd.view.hold_values import BrakeStatus, HoldStatus
from lvs_healthd.view.source_values import SourceStatus
from lvs_healthd.view.status_values import DaemonStatus, RealServerStatus, ServiceStatus
from lvs_healthd.view.store_values import StoreStatus

HELD = {
    "shadow": "SHADOW MODE",
    "operator": "HELD BY AN OPERATOR",
    "brake": "HELD BY THE BRAKE",
    "veto": "HELD BY OTHER DIRECTORS",
}
"""What keeps the daemon from writing what is wanted for a service, in words."""

MOST_VETOES = 5
"""How many servers that others hold, and how many other directors, are shown above the services."""

MOST_REMARKS = 10
"""How many remarks are shown above the services, which must stay in sight."""

_DONE = {"fail_open": "it fails open", "fallback": "the fallback serves"}


def is_bad(server: RealServerStatus, *, is_written: bool = True) -> bool:
    """Return whether a real server is down, damped or unproven, or its weight in the table is not the wanted one.

    What operators keep from serving is not bad, whatever its checks find.

    is_written: whether to look at the weight. In shadow mode nobody writes the wanted one.
    """
    is_down = server.state == "damped" or (server.verdict not in ("up", "unchecked") and not server.state)
    return is_down or (is_written and server.weight_wanted != server.weight_actual)


def alarms(daemon: DaemonStatus) -> Iterator[str]:
    """Yield what is wrong with the daemon, its table and its configuration."""
    if daemon.table_error:
        yield f"TABLE ERROR: {printable(daemon.table_error)}"
    if daemon.setting_error:
        yield f"SETTING ERROR: {printable(daemon.setting_error)}"
    if daemon.table_fights:
        lines = "1 line" if daemon.table_fights == 1 else f"{daemon.table_fights} lines"
        yield f"FIGHT: somebody else undoes {lines} of the table; table.fight in the log says who"
    for brake in daemon.brakes:
        cause = f": {printable(brake.cause)}" if brake.cause else ""
        yield f"BRAKE: {braked(brake)}, so none of them is taken out{cause}"
    if (agreement := daemon.agreement) is not None:
        for veto in agreement.vetoes[:MOST_VETOES]:
            yield f"VETO: {printable(veto.service)} {veto.server} is down here, and stays: {printable(veto.reason)}"
        if (more := agreement.vetoed - MOST_VETOES) > 0:
            yield f"VETO: and {more} more servers"
    yield from (f"NETWORK FAULT: {printable(fault)}" for fault in daemon.network_faults)
    if daemon.probes_unsure:
        yield f"BLIND: {daemon.probes_unsure} of {daemon.probes} probes cannot tell: {printable(daemon.unsure_reason)}"
    if daemon.pair_error:
        why = printable(daemon.pair_error)
        yield f"PAIR: the addresses of this host are not known, so every service counts as active: {why}"
    if daemon.track is not None and daemon.track.error:
        yield f"TRACK FILE: {printable(daemon.track.error)}"
    if daemon.track is not None and daemon.track.value:
        yield f"TRACK FILE says 1, so VRRP keeps the addresses away from here: {printable(daemon.track.reason)}"
    for error in errors_of(daemon.announced):
        yield f"ANNOUNCE ERROR: {printable(error)}"
    for each in daemon.announced:
        if each.wanted is False:
            would = "WOULD BE WITHDRAWN" if each.shadow else "WITHDRAWN"
            yield f"{would}: {each.vip} on {printable(each.interface)}: {printable(each.reason)}"
    if daemon.clock_suspected:
        yield f"CLOCK SUSPECTED: {printable(daemon.clock_suspected)}"
    if daemon.config_error:
        yield "CONFIGURATION REJECTED, the old one is in force:"
        yield from (f"  {printable(line)}" for line in daemon.config_error.splitlines())


def notices(daemon: DaemonStatus, now: float) -> Iterator[str]:
    """Yield what does not stop the daemon's work but needs somebody's attention.

    `now` is Unix time.
    """
    for hold in daemon.holds:
        release = f"lvs-healthd release {hold.service}".rstrip()
        yield f"HELD: {held(hold, now)}; nothing is written to it until `{printable(release)}`"
    if daemon.announced_foreign:
        yield f"FOREIGN ADDRESSES, which BGP may announce: {printable(', '.join(daemon.announced_foreign))}"
    for each in daemon.sources:
        if trouble := source_trouble(each, now):
            stays = "nothing is known of it yet" if each.servers is None else "what it listed before stays in force"
            yield f"SOURCE {printable(each.source)}: {trouble}; {stays}"
    if daemon.store is not None and (trouble := store_trouble(daemon.store, now)):
        stays = "nothing is known of it yet" if daemon.store.services is None else "what it said before stays in force"
        yield f"ETCD {printable(daemon.store.prefix)}: {trouble}; {stays}"
    if daemon.agreement is not None and (trouble := agreement_trouble(daemon.agreement)):
        yield f"DIRECTORS: {trouble}"
    if daemon.state_error:
        yield f"STATE NOT SAVED: {printable(daemon.state_error)}"
    yield from (f"HOOK FAILS: {printable(each)}" for each in daemon.hook_errors)
    if daemon.maintenance_error:
        yield f"MAINTENANCE FOLDER: {printable(daemon.maintenance_error)}"
    if daemon.maintenance_unused:
        yield "MAINTENANCE FILES that do not drain what they should:"
        yield from (f"  {printable(each)}" for each in daemon.maintenance_unused)
    yield from (f"ADVICE: {printable(advice)}" for advice in daemon.setting_advice)
    if daemon.config_remarks:
        yield "REMARKS on the configuration in force:"
        yield from (f"  {printable(remark)}" for remark in daemon.config_remarks[:MOST_REMARKS])
        if len(daemon.config_remarks) > MOST_REMARKS:
            rest = len(daemon.config_remarks) - MOST_REMARKS
            yield f"  and {rest} more: lvs-healthd validate {printable(daemon.config_file)}"


def sourced(each: SourceStatus, now: float) -> str:
    """Say in words what a source lists, since when, and why that is not what it lists now.

    `now` is Unix time.
    """
    if each.servers is None or each.changed is None:
        listed = "no list yet, so what serves is left alone"
    else:
        servers = "1 server" if each.servers == 1 else f"{each.servers} servers"
        listed = f"{servers}, since {time_of_day(each.changed, now)} ({ago(now - each.changed)})"
    trouble = source_trouble(each, now)
    return f"{printable(each.source)}: {listed}" + (f"; {trouble}" if trouble else "")


def stored(store: StoreStatus, now: float) -> str:
    """Say in words what etcd says, since when, how old its word is, and why that is not what it says now.

    `now` is Unix time.
    """
    if store.services is None or store.changed is None:
        said = "nothing is known of it yet, so what serves is left alone"
    else:
        services = "1 service" if store.services == 1 else f"{store.services} services"
        said = f"{services}, since {time_of_day(store.changed, now)} ({ago(now - store.changed)})"
    heard = "no answer yet" if store.heard is None else f"heard {ago(now - store.heard)} ago"
    trouble = store_trouble(store, now)
    return f"{said}, {heard}" + (f"; {trouble}" if trouble else "")


def store_trouble(store: StoreStatus, now: float) -> str:
    """Say in words why what etcd says now is not in force, or not known; "" if it is. `now` is Unix time."""
    since = "" if store.since is None else f", for {ago(now - store.since)}"
    if store.error:
        return f"{printable(store.error)}{since}"
    return f"held{since}: {printable(store.held)}; if that is meant: {printable(store.todo)}" if store.held else ""


def source_trouble(each: SourceStatus, now: float) -> str:
    """Say in words why what a source lists now is not in force; "" if it is. `now` is Unix time."""
    since = "" if each.since is None else f", for {ago(now - each.since)}"
    if each.error:
        return f"{printable(each.error)}{since}"
    return f"held{since}: {printable(each.held)}; if that is meant: {printable(each.todo)}" if each.held else ""


def announcement(each: AnnounceStatus, now: float) -> str:
    """Say in words whether an address is announced, since when and why, and whether that is about to change.

    `now` is Unix time.
    """
    if each.wanted is None:
        how = "left as it is" + ("" if each.present is None else ", announced" if each.present else ", withdrawn")
    elif each.shadow:
        how = "would be announced" if each.wanted else "would be withdrawn"
    elif each.wanted:
        how = "announced" + ("" if each.present else ", but is not there yet")
    else:
        how = "withdrawn" + (", but is still there" if each.present else "")
    since = "" if each.since is None else f", since {time_of_day(each.since, now)} ({ago(now - each.since)})"
    change = f"; about to change, if it lasts: {printable(each.pending)}" if each.pending else ""
    error = f"; {printable(each.error)}" if each.error else ""
    where = f"{printable(each.vip)} on {printable(each.interface)}"
    return f"{where} {how}{since}: {printable(each.reason)}{change}{error}"


def agreement_trouble(agreement: AgreementStatus) -> str:
    """Say in words that too few other directors are heard, or what else is wrong with them; empty if all is well."""
    if agreement.heard >= agreement.agree - 1:
        return printable(agreement.error)
    error = f": {printable(agreement.error)}" if agreement.error else ""
    heard = f"{agreement.heard} of {agreement.agree - 1} other directors needed are heard"
    return f"{heard}, so this one decides alone{error}"


def directors(agreement: AgreementStatus) -> str:
    """Say in words which other directors are heard."""
    others = [_director(each) for each in agreement.directors[:MOST_VETOES]]
    more = len(agreement.directors) - MOST_VETOES
    named = f": {', '.join(others)}{f' and {more} more' if more > 0 else ''}" if others else ""
    return f"{printable(agreement.director)} hears {agreement.heard} other directors (agree = {agreement.agree}){named}"


def _director(each: DirectorStatus) -> str:
    name = printable(each.director)
    if each.error:
        return f"{name} (not understood: {printable(each.error)})"
    return f"{name} ({each.not_up} not up)" if each.is_heard else f"{name} (silent for {ago(each.age_s)})"


def opinion(each: OpinionWhy) -> str:
    """Say in words what another director says of a server."""
    how = {"": "does not know it", "unsure": "cannot tell"}.get(each.sight, each.sight)
    return f"{printable(each.director)} {how}" if each.is_heard else f"{printable(each.director)} is silent"


def braked(brake: BrakeStatus) -> str:
    """Say in words on which way the brake is on, and why."""
    return f"{brake.silent} of {brake.targets} targets behind {printable(brake.way)} fell silent together"


def held(hold: HoldStatus, now: float) -> str:
    """Say in words what is held, by whom, for how long and why.

    `now` is Unix time.
    """
    what = printable(hold.service) or "the whole table"
    by = f" by user {hold.uid}" if hold.uid >= 0 else ""
    why = f": {printable(hold.reason)}" if hold.reason else ""
    return f"{what} for {ago(now - hold.since)}{by}{why}"


def remarks(server: RealServerStatus) -> list[str]:
    """Return what the checks of a real server remark on, each remark once."""
    return list(dict.fromkeys(check.remark for check in server.checks if check.remark))


def shortage(service: ServiceStatus) -> str:
    """Say in words that no real server of a service may serve, or fewer than `min_up`; empty if enough may."""
    done = _DONE.get(service.below, "")
    if service.below and (service.min_up > 1 or service.below == "fail_open"):
        unit = "weight " if service.counts_weight else ""
        return f"only {unit}{service.able} of at least {service.min_up} may serve{f', and {done}' if done else ''}"
    return "no real server may serve" if service.in_fallback else ""


def standby(service: ServiceStatus) -> str:
    """Say in words that a service's clients are on the other director of a pair; empty if they are here."""
    if service.role != "standby":
        return ""
    return "standby, not probed" if service.suspended else "standby"


def verdict_word(server: RealServerStatus) -> str:
    """Return the word that says how a real server is: an operator's word first, then its verdict."""
    if server.fallback and not server.state and server.verdict in {"up", "unchecked"}:
        return "fallback"
    return server.state or server.verdict


def weight_words(server: RealServerStatus) -> str:
    """Write the configured, wanted and actual weight, or a single number if all three are equal."""
    weights = (server.weight_configured, server.weight_wanted, server.weight_actual)
    if len(set(weights)) == 1:
        return str(server.weight_configured)
    return "/".join("-" if weight is None else str(weight) for weight in weights)


def since(server: RealServerStatus, now: float) -> str:
    """Write how long ago the verdict changed; "" for a server without checks. `now` is Unix time."""
    return "" if server.since is None else ago(now - server.since)


def ago(seconds: float) -> str:
    """Write a duration of `seconds` in its largest unit, such as "3h"."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{max(0, int(seconds))}s"


def time_of_day(moment: float, now: float) -> str:
    """Write a Unix time as the local time of day, with the date if it is not within a day."""
    pattern = "%H:%M:%S" if abs(now - moment) < 86400.0 else "%Y-%m-%d %H:%M:%S"
    return time.strftime(pattern, time.localtime(moment))
