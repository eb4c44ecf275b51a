"""Metrics read from the daemon's state at each scrape."""

from collections.abc import Callable, Iterator, Mapping

from lvs_healthd.metrics.exposition import PREFIX, escape, family, labelled
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


_Row = tuple[str, RealServerStatus]
"""A real server and its labels, without the closing brace."""


def _real_servers(status: Status) -> Iterator[str]:
    """Write the metrics of real servers, a service's worth at a time: their lines are nearly all of a scrape."""
    # Fallback servers have no checks and so no state; whether they are in use is the service's.
    services: list[list[_Row]] = []
    for service in status.services:
        begin = labelled(service=service.name)[:-1] + ',server="'
        services.append(
            # Addresses are numeric: there is nothing to escape.
            [(f'{begin}{server.server}"', server) for server in service.real_servers if not server.fallback]
        )
        yield ""  # nothing yet, but a chance to pause
    for name, text, lines in _REAL_SERVER_METRICS:
        yield from family(name, "gauge", text, ())
        for rows in services:
            yield lines(PREFIX + name, rows)


def _up(name: str, rows: list[_Row]) -> str:
    return "".join([f"{name}{labels}}} {_UP[server.verdict]}\n" for labels, server in rows if server.verdict in _UP])


def _weight_configured(name: str, rows: list[_Row]) -> str:
    return "".join([f"{name}{labels}}} {server.weight_configured}\n" for labels, server in rows])


def _weight_wanted(name: str, rows: list[_Row]) -> str:
    weights = [(labels, server.weight_wanted) for labels, server in rows]
    return "".join([f"{name}{labels}}} {weight}\n" for labels, weight in weights if weight is not None])


def _weight_actual(name: str, rows: list[_Row]) -> str:
    weights = [(labels, server.weight_actual) for labels, server in rows]
    return "".join([f"{name}{labels}}} {weight}\n" for labels, weight in weights if weight is not None])


def _last_change(name: str, rows: list[_Row]) -> str:
    return "".join([f"{name}{labels}}} {server.since!r}\n" for labels, server in rows if server.since is not None])


def _last_probe(name: str, rows: list[_Row]) -> str:
    return "".join(
        [
            f'{name}{labels},check="{escape(check.name)}"}} {check.latency_s!r}\n'
            for labels, server in rows
            for check in server.checks
            if check.latency_s is not None
        ]
    )


_UP = {"up": 1, "down": 0}

_REAL_SERVER_METRICS: tuple[tuple[str, str, Callable[[str, list[_Row]], str]], ...] = (
    ("real_server_up", "1 if the real server may serve, 0 if it is down; no sample while its verdict is unknown.", _up),
    ("real_server_weight_configured", "Weight in the configuration.", _weight_configured),
    (
        "real_server_weight_wanted",
        "Weight the kernel's table should have; no sample while the server should not be in it.",
        _weight_wanted,
    ),
    (
        "real_server_weight_actual",
        "Weight in the kernel's table as last read or written; no sample while the server is not in it.",
        _weight_actual,
    ),
    ("real_server_last_change_timestamp_seconds", "When the verdict last changed, Unix time.", _last_change),
    (
        "real_server_last_probe_duration_seconds",
        "Duration of the last probe of each check; no sample before the first.",
        _last_probe,
    ),
)
