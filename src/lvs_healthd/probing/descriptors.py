"""How many sockets this process may open for its probes."""

import resource

from lvs_healthd.probing.sockets import MOST_SPARE

OTHER_DESCRIPTORS = 200 + 4 * MOST_SPARE
"""Descriptors that are not for probes under way: log, epoll, netlink, state file, clients of the API, and spare sockets
that wait for the next probes (IPv4, IPv6, TCP, UDP)."""


def raise_descriptor_limit() -> None:
    """Raise our limit of descriptors as far as allowed. Each probe needs one, and running out makes outcomes unsure."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def probes_within_limit(wanted: int) -> int:
    """Return how many of the wanted sockets this process may open, leaving room for the log, the API and netlink."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - OTHER_DESCRIPTORS))
