"""Works out how many sockets this process may open for its probes."""

import resource

from lvs_healthd.probing.sockets import MOST_SPARE

OTHER_DESCRIPTORS = 200 + 4 * MOST_SPARE
"""How many descriptors to leave for everything but probes under way: the log, epoll, netlink, the state file, clients
of the API, and spare sockets that wait for the next probes (IPv4, IPv6, TCP, UDP)."""

_MANY = 1_000_000


def raise_descriptor_limit() -> None:
    """Raise this process's limit on descriptors as far as allowed. A probe that gets no descriptor is unsure."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def kept_within_limit(probes: int) -> int:
    """Return how many connections this process may keep open beside the sockets of this many probes."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MANY if soft == resource.RLIM_INFINITY else max(0, soft - OTHER_DESCRIPTORS - probes)


def probes_within_limit(wanted: int) -> int:
    """Return how many of the wanted sockets this process may open, leaving room for the log, the API and netlink."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - OTHER_DESCRIPTORS))
