"""Metrics read from the daemon's state at each scrape."""

from collections.abc import Callable, Iterator, Mapping

from lvs_healthd.metrics.exposition import escape, family, labelled
from lvs_healthd.status import RealServerStatus, ServiceStatus, Status

STATES = ("up", "down", "unknown")
MODES = ("enforce", "shadow")

INTERNALS = {
    "probe_workers": ("gauge", "Processes alive that run probes; with 1 configured, the daemon itself."),
    "probes_in_flight": ("gauge", "Probes under way."),
    "probes_unsure": ("gauge", "Probes whose last outcome was unsure, through a fault on our own side."),
    "probes_waiting": ("gauge", "Probes that are due and wait for a free place among max_probes."),
    "log_lines_dropped_total": ("counter", "Log lines lost because they could not be written."),
    "log_lines_suppressed_total": ("counter", "Log lines held back by the rate limit."),
}
"""What the daemon's parts tell as plain numbers; the keys of `gauges()`. One that is not given has no sample."""


def pieces(status: Status, internals: Mapping[str, float]) -> Iterator[str]:
    """Write all sampled metrics, a line at a time. Raises `KeyError` for a name that is not in `INTERNALS`."""
    yield from _daemon(status)
    yield from _internals(internals)
    yield from _services(status.services)
    yield from _real_servers(status)


def _known(value: float | None) -> list[tuple[str, float]]:
    return [] if value is None else [("", value)]


def _daemon(status: Status) -> Iterator[str]:
    daemon = status.daemon
    yield from family(
        "build_info", "gauge", "Always 1; the version is in the label.", [(labelled(version=daemon.version), 1)]
    )
    yield from family("start_time_seconds", "gauge", "When the daemon started, Unix time.", [("", daemon.started)])
    yield from family(
        "mode",
        "gauge",
        "1 for the mode in force: enforce writes to the kernel, shadow only decides.",
        [(labelled(mode=mode), int(mode == daemon.mode)) for mode in MODES],
    )
    yield from family(
        "config_last_reload_successful",
        "gauge",
        "1 if the last load of the configuration succeeded, 0 if it was rejected and the old one is in force.",
        [("", int(not daemon.config_error))],
    )
    yield from family(
        "config_last_reload_success_timestamp_seconds",
        "gauge",
        "When the configuration in force was loaded, Unix time.",
        [("", daemon.config_loaded)],
    )
    yield from family(
        "table_error",
        "gauge",
        "1 while the IPVS table cannot be read or written as wanted.",
        [("", int(bool(daemon.table_error)))],
    )
    yield from family(
        "resync_age_seconds",
        "gauge",
        "Time since the kernel's table was last read whole; no sample before the first time.",
        _known(daemon.last_resync_age_s),
    )


def _internals(values: Mapping[str, float]) -> Iterator[str]:
    unknown = values.keys() - INTERNALS.keys()
    if unknown:
        raise KeyError(*sorted(unknown))
    for name, (kind, text) in INTERNALS.items():
        yield from family(name, kind, text, _known(values.get(name)))


def _services(services: tuple[ServiceStatus, ...]) -> Iterator[str]:
    yield from family(
        "service_real_servers",
        "gauge",
        "Configured real servers by verdict.",
        [
            (labelled(service=service.name, state=state), _count(service, state))
            for service in services
            for state in STATES
        ],
    )
    yield from family(
        "service_in_fallback",
        "gauge",
        "1 while no real server of the service may serve.",
        [(labelled(service=service.name), int(service.in_fallback)) for service in services],
    )
    yield from family(
        "service_in_sync",
        "gauge",
        "1 while the kernel's entry of the service equals the wanted one.",
        [(labelled(service=service.name), int(service.in_sync)) for service in services],
    )


def _count(service: ServiceStatus, state: str) -> int:
    return sum(server.verdict == state for server in service.real_servers if not server.fallback)


def _real_servers(status: Status) -> Iterator[str]:
    # Fallback servers have no checks and so no state; whether they are in use is the service's.
    servers: list[tuple[str, RealServerStatus]] = []
    for service in status.services:
        for server in service.real_servers:
            if not server.fallback:
                servers.append((labelled(service=service.name, server=server.server), server))
                yield ""  # nothing yet, but a chance to pause

    def gauge(name: str, text: str, value: Callable[[RealServerStatus], float | None]) -> Iterator[str]:
        values = ((labels, value(server)) for labels, server in servers)
        return family(name, "gauge", text, ((labels, found) for labels, found in values if found is not None))

    yield from gauge(
        "real_server_up",
        "1 if the real server may serve, 0 if it is down; no sample while its verdict is unknown.",
        lambda server: {"up": 1, "down": 0}.get(server.verdict),
    )
    yield from family(
        "real_server_state",
        "gauge",
        "1 for the real server's verdict.",
        (
            (f'{labels[:-1]},state="{state}"}}', int(server.verdict == state))
            for labels, server in servers
            for state in STATES
        ),
    )
    yield from gauge(
        "real_server_weight_configured", "Weight in the configuration.", lambda server: server.weight_configured
    )
    yield from gauge(
        "real_server_weight_wanted",
        "Weight the kernel's table should have; no sample while the server should not be in it.",
        lambda server: server.weight_wanted,
    )
    yield from gauge(
        "real_server_weight_actual",
        "Weight in the kernel's table as last read or written; no sample while the server is not in it.",
        lambda server: server.weight_actual,
    )
    yield from gauge(
        "real_server_last_change_timestamp_seconds",
        "When the verdict last changed, Unix time.",
        lambda server: server.since,
    )
    yield from family(
        "real_server_last_probe_duration_seconds",
        "gauge",
        "Duration of the last probe of each check; no sample before the first.",
        (
            (f'{labels[:-1]},check="{escape(check.name)}"}}', check.latency_s)
            for labels, server in servers
            for check in server.checks
            if check.latency_s is not None
        ),
    )
