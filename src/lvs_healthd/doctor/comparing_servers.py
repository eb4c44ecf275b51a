"""Compares the servers of one service on two directors: which there are, who is up, and what the kernel has. Pure."""

from collections.abc import Iterator
from typing import NamedTuple

from lvs_healthd.doctor.finding import Finding, Note, Sureness
from lvs_healthd.doctor.peers import Told
from lvs_healthd.view.status_values import RealServerStatus, ServiceStatus
from lvs_healthd.view.words import ago

_SHOWN = 5
"""How many servers one finding names."""


class Pair(NamedTuple):
    """One service on this director and on another one."""

    own: Told
    peer: Told
    mine: ServiceStatus
    theirs: ServiceStatus

    def have_lasted(self, mine: float | None, theirs: float | None, least_s: float) -> bool:
        """Return whether what began at these times, each by its director's clock, has lasted for long enough."""
        ages = _age_s(self.own, mine), _age_s(self.peer, theirs)
        return all(each is not None and each >= least_s for each in ages)

    @property
    def sides(self) -> tuple[tuple[Told, ServiceStatus], tuple[Told, ServiceStatus]]:
        """Both directors, each with the service there."""
        return (self.own, self.mine), (self.peer, self.theirs)


def _age_s(told: Told, since: float | None) -> float | None:
    if told.director is None or since is None:
        return None
    return told.director.at - since


def judged(pair: Pair, held_s: float) -> Iterator[Finding | Note]:
    """Compare the servers.

    held_s: how long a verdict must have lasted on both sides to count as a difference, seconds.
    """
    mine, theirs = ({each.server: each for each in service.real_servers} for _, service in pair.sides)
    yield from _listed(pair, mine, theirs)
    for name in mine.keys() & theirs.keys():
        here, there = mine[name], theirs[name]
        yield from _orders(pair, here, there)
        if here.verdict != there.verdict and {here.verdict, there.verdict} == {"up", "down"}:
            yield from _verdicts(pair, here, there, held_s)
        elif here.verdict == there.verdict and here.weight_actual != there.weight_actual:
            yield from _weights(pair, here, there)


def _listed(pair: Pair, mine: dict[str, RealServerStatus], theirs: dict[str, RealServerStatus]) -> Iterator[Finding]:
    name = pair.peer.name
    parts = [
        _only("only here", [*(mine.keys() - theirs.keys())]),
        _only(f"only on {name}", [*(theirs.keys() - mine.keys())]),
        *(
            f"{each} has weight {mine[each].weight_configured} here and {theirs[each].weight_configured} on {name}"
            for each in sorted(mine.keys() & theirs.keys())
            if mine[each].weight_configured != theirs[each].weight_configured
        ),
    ]
    found = [each for each in parts if each]
    if not found:
        return
    # Lists are followed by each director at its own pace, and a name server may answer each in another way.
    is_followed = any(
        told.status.daemon.store is not None
        or any(service.service in each.services for each in told.status.daemon.sources)
        for told, service in pair.sides
    )
    rest = len(found) - _SHOWN
    yield Finding(
        name="peer-servers",
        sureness=Sureness.LIKELY if is_followed else Sureness.CERTAIN,
        seen="; ".join([*found[:_SHOWN], *([f"and {rest} more"] if rest > 0 else [])]),
        why="clients have other servers after a takeover"
        + (", unless one of the two is about to follow: its servers come from elsewhere" if is_followed else ""),
        command=f"diff <(lvs-healthd export) <(ssh {name} lvs-healthd export)",
        service=pair.mine.service,
    )


def _only(where: str, servers: list[str]) -> str:
    shown = ", ".join(sorted(servers)[:_SHOWN])
    rest = len(servers) - _SHOWN
    return f"{where}: {shown}{f' and {rest} more' if rest > 0 else ''}" if servers else ""


def _orders(pair: Pair, here: RealServerStatus, there: RealServerStatus) -> Iterator[Note]:
    """Name what operators have ordered on one director only."""
    mine, theirs = (each.override or each.state for each in (here, there))
    if bool(mine) != bool(theirs):
        where = "here" if mine else f"on {pair.peer.name}"
        yield Note(text=f"{here.server}, {where} only: {mine or theirs}", service=pair.mine.service)


def _verdicts(pair: Pair, here: RealServerStatus, there: RealServerStatus, held_s: float) -> Iterator[Finding | Note]:
    own_is_down = here.verdict == "down"
    dead, lives = (here, there) if own_is_down else (there, here)
    down_at, up_at = (pair.own, pair.peer) if own_is_down else (pair.peer, pair.own)
    where = {pair.own.name: "here", pair.peer.name: f"on {pair.peer.name}"}
    text = f"{dead.server} is down {where[down_at.name]} ({dead.reason}) and up {where[up_at.name]}"
    ages = _age_s(down_at, dead.since), _age_s(up_at, lives.since)
    suspended = [where[told.name] for told, service in pair.sides if service.suspended]
    if suspended:
        yield Note(text=f"{text}; nobody probes it {suspended[0]}, which waits", service=pair.mine.service)
        return
    known = [each for each in ages if each is not None]
    if len(known) < len(ages) or min(known) < held_s:
        since = f", for {ago(max(0.0, min(known)))}" if known else ""
        yield Note(text=f"{text}{since}: it may be a moment's difference", service=pair.mine.service)
        return
    yield Finding(
        name="peer-verdict",
        sureness=Sureness.LIKELY,
        seen=f"{text}, for {ago(min(known))}",
        why="the way from one of the two to the server is broken, or the two ask it in different ways",
        command=f"lvs-healthd why '{pair.mine.service}' {dead.server}",
        on="" if own_is_down else down_at.name,
        service=pair.mine.service,
        server=dead.server,
    )


def _weights(pair: Pair, here: RealServerStatus, there: RealServerStatus) -> Iterator[Finding | Note]:
    """Compare what the kernel has of a server that both see alike."""
    name = pair.peer.name
    text = f"{here.server} has {_weight(here)} in the table here and {_weight(there)} on {name}"
    meant = [
        f"{reason} {'here' if told is pair.own else f'on {name}'}"
        for (told, service), server in zip(pair.sides, (here, there), strict=True)
        if (reason := _meant(told, service, server))
    ]
    if here.weight_configured != there.weight_configured:
        return  # told already
    if meant:
        yield Note(text=f"{text}: {'; '.join(meant)}", service=pair.mine.service)
        return
    yield Finding(
        name="peer-table",
        sureness=Sureness.CERTAIN,
        seen=text,
        why="both directors see it alike, and their clients get another share of it, or none",
        command=f"lvs-healthd table '{pair.mine.service}'   # here and on {name}",
        service=pair.mine.service,
        server=here.server,
    )


def _weight(server: RealServerStatus) -> str:
    return "no line" if server.weight_actual is None else f"weight {server.weight_actual}"


def _meant(told: Told, service: ServiceStatus, server: RealServerStatus) -> str:
    """Say why the kernel's line of a server is not the configured one; "" if it should be."""
    vetoes = () if told.status.daemon.agreement is None else told.status.daemon.agreement.vetoes
    reasons = (
        (told.status.daemon.mode == "shadow", "shadow mode"),
        (bool(service.held_by), f"held by {service.held_by}"),
        (bool(server.state), server.state),
        (bool(server.override), server.override),
        (service.suspended, "it waits, and probes nobody,"),
        (server.fallback or service.in_fallback, "the fallback serves"),
        (bool(service.below), f"below min_up ({service.below})"),
        (any(each.type == "agent" for each in server.checks), "its agent says so"),
        (any((each.service, each.server) == (service.service, server.server) for each in vetoes), "a veto"),
        (_ramps(told, service, server), "slow start"),
        (server.weight_actual != server.weight_wanted, "not written yet"),
        (server.verdict == "unknown", "not proven yet"),
    )
    return next((text for holds, text in reasons if holds), "")


def _ramps(told: Told, service: ServiceStatus, server: RealServerStatus) -> bool:
    found = (
        [] if told.director is None else [each for each in told.director.services if each.address == service.address]
    )
    age_s = _age_s(told, server.since)
    return any(age_s is not None and age_s < float(each.settings.get("slow_start", 0)) for each in found)
