"""Writes the metrics that are read from the daemon's state at each scrape."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from lvs_healthd.metrics.exposition import PREFIX, escape, family, labelled
from lvs_healthd.metrics.sampled_daemon import known, of_daemon
from lvs_healthd.view.status_values import Samples, ServiceSamples

STATES = ("up", "down", "unknown")

INTERNALS = {
    "probe_workers": ("gauge", "Live processes that run probes. If 1 is configured, that is the daemon itself."),
    "probes_in_flight": ("gauge", "Probes under way."),
    "probes_unsure": ("gauge", "Probes whose last outcome was unsure because of a fault on our own side."),
    "probes_waiting": ("gauge", "Probes that are due, but wait because max_probes are under way."),
    "kept_connections": ("gauge", "Connections that stay open from one probe to the next."),
    "table_fights": ("gauge", "Lines of the IPVS table that somebody else undoes again and again."),
    "log_lines_dropped_total": ("counter", "Log lines lost because they could not be written."),
    "log_lines_suppressed_total": ("counter", "Log lines held back by the rate limit."),
}
"""Metrics of numbers that the daemon's parts supply: name, kind and help text. Without a number there is no sample."""


def pieces(samples: Samples, internals: Mapping[str, float]) -> Iterator[str]:
    """Yield all sampled metrics in small pieces. Raises `KeyError` for a name that is not in `INTERNALS`."""
    yield from of_daemon(samples.daemon)
    yield from _internals(internals)
    yield from _services(samples.services)
    yield from _real_servers(samples.services)


def _internals(values: Mapping[str, float]) -> Iterator[str]:
    unknown = values.keys() - INTERNALS.keys()
    if unknown:
        raise KeyError(*sorted(unknown))
    for name, (kind, text) in INTERNALS.items():
        yield from family(name, kind, text, known(values.get(name)))


def _services(services: tuple[ServiceSamples, ...]) -> Iterator[str]:
    yield from family(
        "service_real_servers",
        "gauge",
        "Configured real servers by verdict.",
        [
            (labelled(service=service.name, state=state), service.verdicts.count(state))
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
        "fallback_up",
        "gauge",
        "1 while a fallback server with checks is up, 0 while it is down or not proven yet.",
        [
            (labelled(service=service.name, server=server), int(verdict == "up"))
            for service in services
            for server, verdict in service.fallback_verdicts
        ],
    )
    yield from family(
        "service_below_min_up",
        "gauge",
        "1 while fewer real servers of the service may serve than its min_up.",
        [(labelled(service=service.name), int(bool(service.below))) for service in services],
    )
    yield from family(
        "service_fails_open",
        "gauge",
        "1 while the service uses servers that are not up, because fewer than its min_up are.",
        [(labelled(service=service.name), int(service.below == "fail_open")) for service in services],
    )
    yield from family(
        "service_in_sync",
        "gauge",
        "1 while the service is in the kernel's table exactly as wanted.",
        [(labelled(service=service.name), int(service.in_sync)) for service in services],
    )
    yield from family(
        "service_shadow",
        "gauge",
        "1 for a service in shadow mode by itself: nothing of it is written.",
        [(labelled(service=service.name), int(service.is_shadow)) for service in services],
    )
    yield from family(
        "service_active",
        "gauge",
        "1 while the service's address is one of this host's, 0 while it is not; no sample if that does not matter.",
        [(labelled(service=service.name), int(service.role == "active")) for service in services if service.role],
    )
    yield from family(
        "service_suspended",
        "gauge",
        "1 while the service is not probed, because its address is not one of this host's.",
        [(labelled(service=service.name), int(service.suspended)) for service in services if service.role],
    )
    yield from family(
        "service_certificates_ending",
        "gauge",
        "Checks of the service that were presented a certificate that ends within their expires_within.",
        [(labelled(service=service.name), service.certificates_ending) for service in services],
    )
    yield from family(
        "service_real_servers_damped",
        "gauge",
        "Real servers of the service that are up, but held out because they flap.",
        [(labelled(service=service.name), service.servers_damped) for service in services],
    )
    yield from family(
        "service_checks_stale",
        "gauge",
        "Checks of the service whose verdict is only held, because no outcome has renewed it for long.",
        [(labelled(service=service.name), service.checks_stale) for service in services],
    )


def _real_servers(services: tuple[ServiceSamples, ...]) -> Iterator[str]:
    """Yield the metrics of real servers, one service at a time, because they make up nearly all of a scrape."""
    labels: list[list[str]] = []
    """For each service, the labels of its servers, without the closing brace."""
    counted: list[list[str | None]] = []
    """For each service, the labels of each line of the kernel's counters. These are the same strings as in `labels`, to
    save memory: there are tens of thousands."""
    for service in services:
        begin = labelled(service=service.name)[:-1] + ',server="'
        # Addresses are numeric, so there is nothing to escape.
        of_servers = [f'{begin}{server}"' for server in service.servers]
        of = dict(zip(service.servers, of_servers, strict=True))
        labels.append(of_servers)
        counted.append([name and (of.get(name) or f'{begin}{name}"') for name in service.counted])
        yield ""  # no output yet, but a chance for the event loop to run
    for name, text, column in _COLUMNS:
        yield from family(name, "gauge", text, ())
        full = PREFIX + name
        for of_servers, service in zip(labels, services, strict=True):
            values = zip(of_servers, column(service), strict=True)
            # repr keeps every digit of a Unix time.
            yield "".join([f"{full}{label}}} {value!r}\n" for label, value in values if value is not None])
    yield from _of_checks(services)
    yield from _orders(services)
    yield from _statistics(services, counted)


def _of_checks(services: tuple[ServiceSamples, ...]) -> Iterator[str]:
    """Yield the metrics with one number per check."""
    for name, text, column in _CHECK_COLUMNS:
        yield from family(name, "gauge", text, ())
        for service in services:
            begin = PREFIX + name + labelled(service=service.name)[:-1] + ',server="'
            lines = [
                f'{begin}{server}",check="{escape(check)}"}} {value!r}\n' for server, check, value in column(service)
            ]
            yield "".join(lines)


def _orders(services: tuple[ServiceSamples, ...]) -> Iterator[str]:
    """Yield since when operators have had each of their orders about servers."""
    yield from family(
        "real_server_override_timestamp_seconds",
        "gauge",
        "Since when an operator, or a file, has drained, disabled or weighed the real server, Unix time.",
        [
            (labelled(service=service.name, server=server, kind=kind), since)
            for service in services
            for server, kind, since in service.overrides
        ],
    )


def _statistics(services: tuple[ServiceSamples, ...], labels: list[list[str | None]]) -> Iterator[str]:
    """Yield what the kernel has counted for services and for their servers."""
    counted = [(service, service.statistics) for service in services if service.statistics is not None]
    own = [(labelled(service=service.name), statistics.service()) for service, statistics in counted]
    for name, text, field in _COUNTERS:
        samples = [(labels, getattr(statistics, field)) for labels, statistics in own]
        yield from family(f"service_{name}", "counter", f"{text} of the service, as the kernel counts.", samples)
    for name, kind, text, field in _SERVER_STATISTICS:
        yield from family(name, kind, text, ())
        full = PREFIX + name
        for of_servers, service in zip(labels, services, strict=True):
            if service.statistics is None or (field == "persistent_connections" and not service.is_persistent):
                continue
            values = zip(of_servers, service.statistics.column(field), strict=True)
            yield "".join([f"{full}{label}}} {value}\n" for label, value in values if label])


_UP = {"up": 1, "down": 0}

_COLUMNS: tuple[tuple[str, str, Callable[[ServiceSamples], Iterable[float | None]]], ...] = (
    (
        "real_server_up",
        "1 if the real server may serve, 0 if it is down; no sample while its verdict is unknown.",
        lambda service: map(_UP.get, service.verdicts),
    ),
    ("real_server_weight_configured", "Weight in the configuration.", lambda service: service.weights_configured),
    (
        "real_server_weight_wanted",
        "Weight that the kernel's table should have; no sample while the server should not be in it.",
        lambda service: service.weights_wanted,
    ),
    (
        "real_server_weight_actual",
        "Weight in the kernel's table as last read or written; no sample while the server is not in it.",
        lambda service: service.weights_actual,
    ),
    (
        "real_server_last_change_timestamp_seconds",
        "When the verdict last changed, Unix time.",
        lambda service: service.since,
    ),
)
"""The metrics with one number per server: name, help text, and column of values. A value of None makes no sample."""

_CHECK_COLUMNS: tuple[tuple[str, str, Callable[[ServiceSamples], list[tuple[str, str, float]]]], ...] = (
    (
        "real_server_last_probe_duration_seconds",
        "Duration of the last probe of each check; no sample before the first.",
        lambda service: service.latencies,
    ),
    (
        "real_server_certificate_expiry_timestamp_seconds",
        "When the certificate ends that the real server presented last, Unix time; no sample before the first.",
        lambda service: service.certificate_ends,
    ),
)
"""The metrics with one number per check: name, help text, and samples as server, check and value."""

_COUNTERS = (
    ("connections_total", "Connections", "connections"),
    ("incoming_packets_total", "Packets from clients", "in_packets"),
    ("outgoing_packets_total", "Packets to clients", "out_packets"),
    ("incoming_bytes_total", "Bytes from clients", "in_bytes"),
    ("outgoing_bytes_total", "Bytes to clients", "out_bytes"),
)
"""What the kernel counts for services and servers alike: name, help text, and field of `Statistics`."""

_SERVER_STATISTICS = (
    *(
        (f"real_server_{name}", "counter", f"{text} of the real server, as the kernel counts.", field)
        for name, text, field in _COUNTERS
    ),
    (
        "real_server_active_connections",
        "gauge",
        "Connections in state ESTABLISHED, by the kernel's count.",
        "active_connections",
    ),
    (
        "real_server_inactive_connections",
        "gauge",
        "Connections in any other state, by the kernel's count.",
        "inactive_connections",
    ),
    (
        "real_server_persistent_connections",
        "gauge",
        "Persistence templates, that is, clients bound to the real server; only for persistent services.",
        "persistent_connections",
    ),
)
