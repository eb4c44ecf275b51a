"""What the daemon asks of the process it runs in."""

import gc
import resource

from lvs_healthd.probes.sockets import MOST_SPARE

OTHER_DESCRIPTORS = 200 + 4 * MOST_SPARE
"""Descriptors that are not for probes under way: log, epoll, netlink, state file, clients of the API; and sockets that
wait for the next probes (IPv4, IPv6, TCP, UDP)."""


def spare_long_lived() -> None:
    """Keep the garbage collector from walking what lives as long as the configuration does.

    Fifty thousand servers are a million objects: one full round over them holds the event loop up for 0.2 s. What is
    spared once is spared for good, so that a reload does not walk it either: parts of a configuration that know each
    other must let go of each other when they are dropped, or they are never freed.
    """
    gc.collect()
    gc.freeze()


def raise_descriptor_limit() -> None:
    """Use all the descriptors we may have: a probe needs one each, and running out makes outcomes unsure."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def probes_within_limit(wanted: int) -> int:
    """Return how many of the wanted sockets this process may open; the rest is for the log, the API and netlink."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(1, min(wanted, soft - OTHER_DESCRIPTORS))
