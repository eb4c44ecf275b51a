"""Judges whether what one director's sync daemon sends is received by another one's. Pure.

Source: net/netfilter/ipvs/ip_vs_sync.c: a backup drops messages whose syncid is not its own, unless its own is 0.
"""

from collections.abc import Iterator, Sequence

from lvs_healthd.doctor.finding import Finding, Sureness
from lvs_healthd.doctor.peers import HERE, Told
from lvs_healthd.view.director_values import SyncValues


def judged(own: Told, peers: Sequence[Told]) -> Iterator[Finding]:
    """Find sync daemons that nobody hears, or that hear nobody."""
    told = [each for each in (own, *peers) if each.director is not None and not each.director.error]
    if len(told) < 1 + len(peers) or not peers:
        return  # what was not told may be what is missing
    for director in told:
        others = [each for each in told if each is not director]
        for sync in _of(director, "master"):
            backups = [(each, backup) for each in others for backup in _of(each, "backup")]
            if not any(_hears(backup, sync) for _, backup in backups):
                yield _unheard(director, sync, others, backups)
        for sync in _of(director, "backup"):
            masters = [master for each in others for master in _of(each, "master")]
            if not masters:
                yield Finding(
                    name="peer-sync",
                    sureness=Sureness.CERTAIN,
                    seen=f"the sync daemon {_place(director)} receives (syncid {sync.syncid}), and nobody sends",
                    why="connections are not copied, so a takeover breaks them",
                    command=f"ipvsadm --start-daemon master --mcast-interface {sync.interface} --syncid {sync.syncid}",
                    on=_on(others[0]),
                )


def _of(told: Told, role: str) -> list[SyncValues]:
    return [] if told.director is None else [each for each in told.director.sync if each.role == role]


def _hears(backup: SyncValues, master: SyncValues) -> bool:
    return backup.syncid in (0, master.syncid) and (backup.group, backup.port) == (master.group, master.port)


def _unheard(
    director: Told, sync: SyncValues, others: Sequence[Told], backups: Sequence[tuple[Told, SyncValues]]
) -> Finding:
    sends = f"the sync daemon {_place(director)} sends with syncid {sync.syncid} to {sync.group} port {sync.port}"
    if backups:
        who, backup = backups[0]
        takes = f"the one {_place(who)} takes syncid {backup.syncid} from {backup.group} port {backup.port}"
    else:
        who, takes = others[0], "nobody receives"
    start = (
        f"ipvsadm --start-daemon backup --mcast-interface {backups[0][1].interface if backups else sync.interface} "
        f"--syncid {sync.syncid} --mcast-group {sync.group} --mcast-port {sync.port}   # or [ipvs.sync.backup]"
    )
    return Finding(
        name="peer-sync",
        sureness=Sureness.CERTAIN,
        seen=f"{sends}, and {takes}",
        why="connections are not copied, so a takeover breaks them",
        command=f"ipvsadm --stop-daemon backup; {start}" if backups else start,
        on=_on(who),
    )


def _place(told: Told) -> str:
    return "here" if told.name == HERE else f"on {told.name}"


def _on(told: Told) -> str:
    return "" if told.name == HERE else told.name
