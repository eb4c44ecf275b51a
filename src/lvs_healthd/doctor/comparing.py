"""Compares directors that should be alike: what differs, unless that is meant. Pure.

Each other director is compared with the one on which the doctor runs. What is meant to differ (an order, a mode, a
standby) or will pass (a verdict of this moment, a ramp) becomes a note that names it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain

from lvs_healthd.doctor import comparing_servers, comparing_sync
from lvs_healthd.doctor.comparing_servers import Pair
from lvs_healthd.doctor.finding import Finding, Note, Sureness
from lvs_healthd.doctor.peers import HERE, Told, Unreached
from lvs_healthd.view.status_values import ServiceStatus

CLOCK_S = 2.0
"""How far clocks may be apart, seconds. Where NTP works they are some milliseconds apart."""

HELD_S = 30.0
"""How long a verdict or a role must have lasted on both sides to count as a difference, seconds."""

_DEFENCES = ("net.ipv4.vs.drop_entry", "net.ipv4.vs.drop_packet", "net.ipv4.vs.secure_tcp")
DIFF = "diff <(lvs-healthd validate --effective) <(ssh {name} lvs-healthd validate --effective)"


def compare(
    own: Told, others: Sequence[Told | Unreached], chosen: Callable[[str], bool] = lambda _: True
) -> tuple[list[Finding], list[Note]]:
    """Return what differs between directors, and what differs and is meant.

    own: the director on which the doctor runs.
    chosen: whether a service of this name is looked at.
    """
    found: list[Finding | Note] = []
    peers: list[Told] = []
    for each in others:
        if isinstance(each, Unreached):
            found.append(_unreached(each))
        elif own.director is not None and each.director is not None and own.director.run == each.director.run:
            found.append(Note(text=f"{each.name} is this director itself, and is not compared"))
        else:
            peers.append(each)
            found += _pair(own, each, chosen)
    if len(peers) == len(others):
        # Only if all have answered can it be said that nobody does something.
        found += chain(comparing_sync.judged(own, peers), _nobody(own, peers, chosen))
    return (
        [each for each in found if isinstance(each, Finding)],
        [each for each in found if isinstance(each, Note)],
    )


def _unreached(peer: Unreached) -> Finding:
    return Finding(
        name="peer-unreached",
        sureness=Sureness.CERTAIN,
        seen=f"{peer.url}: {peer.error}",
        why="it cannot be compared. A daemon listens on 127.0.0.1 unless [daemon] listen says otherwise",
        command=f"curl {peer.url}/healthz",
    )


def _pair(own: Told, peer: Told, chosen: Callable[[str], bool]) -> Iterator[Finding | Note]:
    yield from _daemons(own, peer)
    if own.director is None or peer.director is None:
        old = own if own.director is None else peer
        version = old.status.daemon.version
        yield Note(text=f"{old.name} has version {version}, which does not say what it is set to: not all is compared")
    else:
        yield from _clock(peer)
        yield from _kernel(own, peer)
        yield from _configured(own, peer, chosen)
    yield from _services(own, peer, chosen)


def _daemons(own: Told, peer: Told) -> Iterator[Finding | Note]:
    mine, theirs = own.status.daemon, peer.status.daemon
    if mine.version != theirs.version:
        older = own if _parts(mine.version) < _parts(theirs.version) else peer
        yield Finding(
            name="peer-version",
            sureness=Sureness.CERTAIN,
            seen=f"version {mine.version} here, {theirs.version} on {peer.name}",
            why="what one of them does the other may not; after an upgrade of both this is gone",
            command="apt-get install --only-upgrade lvs-healthd   # or as it was installed",
            on="" if older is own else peer.name,
        )
    if theirs.config_error:
        yield Finding(
            name="peer-rejected",
            sureness=Sureness.CERTAIN,
            seen=f"{peer.name} has rejected its last reload: {theirs.config_error}",
            why="it goes on with its old configuration, which may explain what else differs",
            command="lvs-healthd validate",
            on=peer.name,
        )
    if mine.mode != theirs.mode:
        yield Note(text=f"mode {mine.mode} here, {theirs.mode} on {peer.name}: one of them writes nothing")


def _parts(version: str) -> list[int]:
    return [int(each) if each.isdecimal() else 0 for each in version.replace("+", ".").split(".")]


def _clock(peer: Told) -> Iterator[Finding]:
    apart_s = abs(peer.ahead_s) - peer.within_s
    if apart_s > CLOCK_S:
        word = "ahead of" if peer.ahead_s > 0 else "behind"
        yield Finding(
            name="peer-clock",
            sureness=Sureness.CERTAIN,
            seen=f"the clock of {peer.name} is {abs(peer.ahead_s):.1f}s {word} that of this director",
            why="certificates and orders with --until end at other times there, and the logs do not fit together",
            command="timedatectl",
            on=peer.name,
        )


def _kernel(own: Told, peer: Told) -> Iterator[Finding | Note]:
    assert own.director is not None and peer.director is not None  # noqa: PT018, S101  # the caller has looked
    mine, theirs = own.director, peer.director
    for director, told in ((mine, own), (theirs, peer)):
        if director.error:
            yield Note(text=f"the kernel's settings are not compared: {told.name}: {director.error}")
    for name in sorted(mine.sysctls.keys() & theirs.sysctls.keys()):
        values = mine.sysctls[name], theirs.sysctls[name]
        if values[0] == values[1] or (name in _DEFENCES and {*values} == {"1", "2"}):
            continue  # the kernel itself turns 1 into 2 while memory is short
        yield Finding(
            name="peer-sysctl",
            sureness=Sureness.CERTAIN,
            seen=f"{name} is {values[0]} here and {values[1]} on {peer.name}",
            why="with the same services, one of the two treats its clients in another way",
            command=f"sysctl -w {name}='{values[0]}'   # or {values[1]} here; and in /etc/sysctl.d or [ipvs.sysctl]",
            on=peer.name,
        )
    if mine.timeouts is not None and theirs.timeouts is not None and mine.timeouts != theirs.timeouts:
        here, there = (f"{each.tcp} {each.tcp_fin} {each.udp}" for each in (mine.timeouts, theirs.timeouts))
        yield Finding(
            name="peer-timeouts",
            sureness=Sureness.CERTAIN,
            seen=f"the timeouts (tcp, tcp_fin, udp) are {here} here and {there} on {peer.name}",
            why="silent connections are forgotten at another time by one of the two",
            command=f"ipvsadm --set {here}   # or [ipvs.timeouts] of both",
            on=peer.name,
        )


def _configured(own: Told, peer: Told, chosen: Callable[[str], bool]) -> Iterator[Finding]:
    """Compare how services are configured, beside their servers."""
    assert own.director is not None and peer.director is not None  # noqa: PT018, S101  # the caller has looked
    theirs = {each.address: each for each in peer.director.services}
    for mine in own.director.services:
        other = theirs.get(mine.address)
        if other is None or not chosen(mine.service):
            continue
        names = sorted(mine.settings.keys() | other.settings.keys())
        differing = [
            f"{name} is {mine.settings.get(name, 'the default')} here and {other.settings.get(name, 'the default')}"
            f" on {peer.name}"
            for name in names
            if mine.settings.get(name) != other.settings.get(name)
        ]
        if differing:
            yield Finding(
                name="peer-settings",
                sureness=Sureness.CERTAIN,
                seen="; ".join(differing),
                why="clients are treated in another way after a takeover",
                command=DIFF.format(name=peer.name),
                service=mine.service,
            )
        same_servers = _addresses(own, mine.address) == _addresses(peer, mine.address)
        if mine.checks != other.checks and same_servers:
            yield Finding(
                name="peer-checks",
                sureness=Sureness.CERTAIN,
                seen=f"its servers are checked in another way on {peer.name}",
                why="one director may take a server out that the other one keeps",
                command=DIFF.format(name=peer.name),
                service=mine.service,
            )


def _addresses(told: Told, address: str) -> set[str]:
    return {
        server.server
        for service in told.status.services
        if service.address == address
        for server in service.real_servers
    }


def _services(own: Told, peer: Told, chosen: Callable[[str], bool]) -> Iterator[Finding | Note]:
    mine, theirs = ({each.address: each for each in told.status.services} for told in (own, peer))
    for only, where, lacking in (
        ([each for each in own.status.services if each.address not in theirs], own, peer),
        ([each for each in peer.status.services if each.address not in mine], peer, own),
    ):
        for service in only:
            if chosen(service.service):
                yield Finding(
                    name="peer-service",
                    sureness=Sureness.CERTAIN,
                    seen=f"{service.address} is configured {_place(where)} and not {_place(lacking)}",
                    why=f"{lacking.name} does not serve its clients" if lacking is peer else "it is not served here",
                    command=DIFF.format(name=peer.name),
                    service=service.service,
                )
    for address, service in mine.items():
        other = theirs.get(address)
        if other is not None and chosen(service.service):
            pair = Pair(own, peer, service, other)
            yield from _roles(pair)
            yield from comparing_servers.judged(pair, HELD_S)


def _place(told: Told) -> str:
    return "here" if told.name == HERE else f"on {told.name}"


def _roles(pair: Pair) -> Iterator[Finding]:
    mine, theirs = pair.mine, pair.theirs
    if mine.role == theirs.role == "active" and pair.have_lasted(mine.role_since, theirs.role_since, HELD_S):
        yield Finding(
            name="peer-both-active",
            sureness=Sureness.CERTAIN,
            seen=f"{mine.vip or mine.service} is here and on {pair.peer.name}",
            why="of two directors with one address, clients reach sometimes this one and sometimes that one",
            command=f"journalctl -u keepalived -n 50   # here and on {pair.peer.name}: do they hear each other?",
            service=mine.service,
        )


def _nobody(own: Told, peers: Sequence[Told], chosen: Callable[[str], bool]) -> Iterator[Finding]:
    """Find addresses that nobody has."""
    told = (own, *peers)
    for service in own.status.services if peers else ():
        alike = [(each, found) for each in told for found in each.status.services if found.address == service.address]
        if chosen(service.service) and len(alike) == len(told) and all(_waits(*each) for each in alike):
            yield Finding(
                name="peer-none-active",
                sureness=Sureness.CERTAIN,
                seen=f"{service.vip} is on none of the {len(told)} directors: each waits for another one",
                why="its clients reach nobody",
                command="journalctl -u keepalived -n 50",
                service=service.service,
            )
    for vip in [each.vip for each in own.status.daemon.announced] if peers else ():
        found = [[each for each in director.status.daemon.announced if each.vip == vip] for director in told]
        if all(each and each[0].wanted is False and not each[0].shadow for each in found):
            yield Finding(
                name="peer-none-announces",
                sureness=Sureness.CERTAIN,
                seen=f"none of the {len(told)} directors announces {vip}: {found[0][0].reason}",
                why="its clients reach nobody",
                command="lvs-healthd status",
            )


def _waits(director: Told, service: ServiceStatus) -> bool:
    now = director.status.daemon.last_resync if director.director is None else director.director.at
    since = service.role_since
    return service.role == "standby" and since is not None and now is not None and now - since > HELD_S


def services_named(names: Iterable[str]) -> Callable[[str], bool]:
    """Return whether a service of a name is among these."""
    known = frozenset(names)
    return lambda name: name in known
