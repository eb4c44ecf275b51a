"""Writes the metrics of the daemon itself, and of what it shares with others, which are read at each scrape."""

from collections.abc import Callable, Iterable, Iterator

from lvs_healthd.metrics.exposition import family, labelled
from lvs_healthd.view.announce_values import AnnounceStatus
from lvs_healthd.view.source_values import SourceStatus
from lvs_healthd.view.status_values import DaemonStatus
from lvs_healthd.view.store_values import StoreStatus

MODES = ("enforce", "shadow")

_Samples = Iterable[tuple[str, float]]
"""Labels and values."""


def known(value: float | None) -> list[tuple[str, float]]:
    """Return the one sample of a metric without labels; none if its value is not known."""
    return [] if value is None else [("", value)]


_GAUGES: tuple[tuple[str, str, Callable[[DaemonStatus], _Samples]], ...] = (
    (
        "build_info",
        "Always 1; the version is in the label.",
        lambda daemon: [(labelled(version=daemon.version), 1)],
    ),
    (
        "start_time_seconds",
        "When the daemon started, Unix time.",
        lambda daemon: [("", daemon.started)],
    ),
    (
        "mode",
        "1 for the mode in force: enforce writes to the kernel, shadow only decides.",
        lambda daemon: [(labelled(mode=mode), int(mode == daemon.mode)) for mode in MODES],
    ),
    (
        "config_last_reload_successful",
        "1 if the last load of the configuration succeeded, 0 if it was rejected and the old one is in force.",
        lambda daemon: [("", int(not daemon.config_error))],
    ),
    (
        "config_last_reload_success_timestamp_seconds",
        "When the configuration in force was loaded, Unix time.",
        lambda daemon: [("", daemon.config_loaded)],
    ),
    (
        "config_remarks",
        "Remarks on the configuration in force: what will probably not do what was meant.",
        lambda daemon: [("", len(daemon.config_remarks))],
    ),
    (
        "table_error",
        "1 while the IPVS table cannot be read or written as wanted.",
        lambda daemon: [("", int(bool(daemon.table_error)))],
    ),
    (
        "setting_error",
        "1 while a setting other than the IPVS table is not as configured.",
        lambda daemon: [("", int(bool(daemon.setting_error)))],
    ),
    (
        "network_faults",
        "Faults of the director's own network that make servers seem dead.",
        lambda daemon: [("", len(daemon.network_faults))],
    ),
    (
        "setting_advice",
        "Sysctls whose values keep a service from working as its operator expects.",
        lambda daemon: [("", len(daemon.setting_advice))],
    ),
    (
        "clock_suspected",
        "1 while certificates are not valid at this time, but perhaps the director's clock is wrong.",
        lambda daemon: [("", int(bool(daemon.clock_suspected)))],
    ),
    (
        "brake_start_timestamp_seconds",
        "Since when the brake is on for the servers behind a way, Unix time; no sample while it is off.",
        lambda daemon: [(labelled(way=brake.way), brake.since) for brake in daemon.brakes],
    ),
    (
        "vetoed_servers",
        "Real servers that are down here and stay in the table, because other directors see them up.",
        lambda daemon: known(daemon.agreement.vetoed if daemon.agreement is not None else None),
    ),
    (
        "directors_heard",
        "Other directors that are heard; no sample if directors do not tell each other anything.",
        lambda daemon: known(daemon.agreement.heard if daemon.agreement is not None else None),
    ),
    (
        "directors_needed",
        "Other directors that must be heard so that this one does not decide alone: agree without itself.",
        lambda daemon: known(daemon.agreement.agree - 1 if daemon.agreement is not None else None),
    ),
    (
        "hold_start_timestamp_seconds",
        "Since when an operator holds a service, Unix time; no service: the whole table. No sample without a hold.",
        lambda daemon: [(labelled(service=hold.service), hold.since) for hold in daemon.holds],
    ),
    (
        "pair_error",
        "1 while the addresses of this host are not known, so that every service counts as active.",
        lambda daemon: [("", int(bool(daemon.pair_error)))],
    ),
    (
        "track_value",
        "What the track file says: 0 while this director can serve, 1 while it cannot; no sample without a file.",
        lambda daemon: known(daemon.track.value if daemon.track is not None else None),
    ),
    (
        "track_error",
        "1 while the track file cannot be read or written.",
        lambda daemon: [("", int(daemon.track is not None and bool(daemon.track.error)))],
    ),
    (
        "state_error",
        "1 while the state file cannot be written.",
        lambda daemon: [("", int(bool(daemon.state_error)))],
    ),
    (
        "maintenance_error",
        "1 while the maintenance folder cannot be read, so that what it said before is in force.",
        lambda daemon: [("", int(bool(daemon.maintenance_error)))],
    ),
    (
        "maintenance_files",
        "Files of the maintenance folder that drain servers.",
        lambda daemon: [("", daemon.maintenance_files)],
    ),
    (
        "maintenance_files_unused",
        "Files of the maintenance folder that drain nobody, or not what they should.",
        lambda daemon: [("", daemon.maintenance_unused_files)],
    ),
    (
        "last_resync_timestamp_seconds",
        "When the kernel's table was last read whole, Unix time; no sample before the first time.",
        lambda daemon: known(daemon.last_resync),
    ),
    (
        "resync_interval_seconds",
        "The configured time between two readings of the kernel's whole table.",
        lambda daemon: [("", daemon.resync_s)],
    ),
)
"""Each gauge of the daemon: its name, its help text, and what gives its samples."""


def of_daemon(daemon: DaemonStatus) -> Iterator[str]:
    """Yield the metrics of the daemon itself."""
    for name, text, samples in _GAUGES:
        yield from family(name, "gauge", text, samples(daemon))
    yield from _announced(daemon.announced)
    yield from _sources(daemon.sources)
    yield from _store(daemon.store)


def _announced(announced: Iterable[AnnounceStatus]) -> Iterator[str]:
    """Yield the metrics of announced addresses. Those for which nothing is written are left out."""
    labels = [(each, labelled(vip=each.vip, interface=each.interface)) for each in announced if not each.shadow]
    yield from family(
        "announced",
        "gauge",
        "1 while a virtual address is to be announced, 0 while it is withdrawn; no sample while that is not known.",
        [(label, int(each.wanted)) for each, label in labels if each.wanted is not None],
    )
    yield from family(
        "announced_present",
        "gauge",
        "1 while a virtual address is on its interface, which is up, 0 while it is not; no sample before it was read.",
        [(label, int(each.present)) for each, label in labels if each.present is not None],
    )
    yield from family(
        "announce_error",
        "gauge",
        "1 while a virtual address is not on its interface as wanted, or BGP does not see it there.",
        [(label, int(bool(each.error))) for each, label in labels],
    )


def _sources(sources: tuple[SourceStatus, ...]) -> Iterator[str]:
    yield from family(
        "source_servers",
        "gauge",
        "Real servers of a source that are in force; no sample while it has never listed any.",
        [(labelled(source=each.source), each.servers) for each in sources if each.servers is not None],
    )
    yield from family(
        "source_changed_timestamp_seconds",
        "gauge",
        "When the servers of a source last changed, Unix time; no sample while it has never listed any.",
        [(labelled(source=each.source), each.changed) for each in sources if each.changed is not None],
    )
    yield from family(
        "source_error",
        "gauge",
        "1 while a source cannot be read, or what it lists is wrong, so that what it listed before stays in force.",
        [(labelled(source=each.source), int(bool(each.error))) for each in sources],
    )
    yield from family(
        "source_held",
        "gauge",
        "1 while what a source lists takes effect only if somebody says that it is meant.",
        [(labelled(source=each.source), int(bool(each.held))) for each in sources],
    )


def _store(store: StoreStatus | None) -> Iterator[str]:
    if store is None:
        return
    yield from family(
        "store_services",
        "gauge",
        "Keys of services in etcd that are in force; no sample while nothing is known of them.",
        [] if store.services is None else [("", store.services)],
    )
    yield from family(
        "store_changed_timestamp_seconds",
        "gauge",
        "When what etcd says last changed, Unix time; no sample while nothing is known of it.",
        [] if store.changed is None else [("", store.changed)],
    )
    yield from family(
        "store_heard_timestamp_seconds",
        "gauge",
        "When a server of etcd answered last, Unix time; no sample while none has.",
        [] if store.heard is None else [("", store.heard)],
    )
    yield from family(
        "store_error",
        "gauge",
        "1 while etcd does not answer, or what it says is wrong, so that what it said before stays in force.",
        [("", int(bool(store.error)))],
    )
    yield from family(
        "store_held",
        "gauge",
        "1 while what etcd says takes effect only if somebody says that it is meant.",
        [("", int(bool(store.held)))],
    )
