"""Explains the kernel's errno for each write, and says what to do about it.

Source: net/netfilter/ipvs/ip_vs_ctl.c.
"""

import errno
import os

from lvs_healthd.ipvs.records import Operation, Verb

NO_PERMISSION = "not permitted: needs CAP_NET_ADMIN: run as root or give the unit AmbientCapabilities=CAP_NET_ADMIN"
NO_MODULE = (
    'this kernel has no IPVS loaded: run "modprobe ip_vs" as root. On Debian the module is in linux-image-amd64, '
    "not in the cloud flavour of the kernel; in a container it must be loaded on the host"
)
UNKNOWN_OUTCOME = "outcome unknown: the kernel's acknowledgement was lost"

GONE_ANYWAY = frozenset({(Verb.DELETE_SERVER, errno.ENOENT), (Verb.DELETE_SERVICE, errno.ESRCH)})
"""Errors that count as success, because the service or server to delete is already gone."""
MISMATCH = frozenset(
    {
        (Verb.ADD_SERVICE, errno.EEXIST),
        (Verb.SET_SERVICE, errno.ESRCH),
        (Verb.ADD_SERVER, errno.EEXIST),
        (Verb.ADD_SERVER, errno.ESRCH),
        (Verb.SET_SERVER, errno.ENOENT),
        (Verb.SET_SERVER, errno.ESRCH),
        (Verb.DELETE_SERVER, errno.ESRCH),
    }
)
"""Errors that show that the table is not as the daemon expected, because somebody else writes to it.

The table must then be read, and the writes decided again.
"""

_SERVICE_WRITES = frozenset({Verb.ADD_SERVICE, Verb.SET_SERVICE})

_BY_VERB = {
    (Verb.ADD_SERVICE, errno.EEXIST): "the service already exists",
    (Verb.ADD_SERVICE, errno.EINVAL): "the kernel rejects this service: check the persistence netmask",
    (Verb.SET_SERVICE, errno.EINVAL): "the kernel rejects this service: check the persistence netmask",
    (Verb.ADD_SERVER, errno.EEXIST): "the server already exists",
    (Verb.ADD_SERVER, errno.EINVAL): "the kernel rejects this server: its address must be unicast, and of the "
    "service's family unless the forwarding method is tun",
    (Verb.SET_SERVER, errno.ENOENT): "no such server",
    (Verb.SET_SERVER, errno.EINVAL): "the kernel rejects this server: its address must be of the service's family "
    "unless the forwarding method is tun",
    (Verb.DELETE_SERVER, errno.ENOENT): "no such server",
}

_BY_ERRNO = {
    errno.EPERM: NO_PERMISSION,
    errno.EACCES: NO_PERMISSION,
    errno.ESRCH: "no such service",
    errno.ERANGE: "weight or connection threshold out of range",
    errno.EAFNOSUPPORT: "this kernel's IPVS does not support this address family (is IPv6 disabled?)",
    errno.ENOPROTOOPT: "the ip_vs module is being unloaded",
    errno.ENOMEM: "the kernel is out of memory",
}


def explain(operation: Operation, code: int, kernel_text: str = "") -> str:
    """Explain what an errno means for a write.

    operation: the write that failed.
    code: the errno.
    kernel_text: the kernel's own message, which is appended; may be empty.
    """
    if operation.verb in _SERVICE_WRITES and code == errno.ENOENT:
        words = _no_scheduler(operation)
    else:
        words = _BY_VERB.get((operation.verb, code)) or _BY_ERRNO.get(code) or os.strerror(code).lower()
    return f"{words} ({kernel_text})" if kernel_text else words


def code_name(code: int | None) -> str:
    """Return the name of an errno for a metric's label, such as "EPERM"; "unknown" when there is no errno."""
    return "unknown" if code is None else errno.errorcode.get(code, str(code))


def _no_scheduler(operation: Operation) -> str:
    """Explain ENOENT: the scheduler or the persistence engine is missing. The kernel does not say which of the two."""
    service = operation.service
    words = f'scheduler "{service.scheduler}" is not known to this kernel: modprobe ip_vs_{service.scheduler}'
    if service.persistence_engine:
        engine = service.persistence_engine
        words += f', or persistence engine "{engine}" is not: modprobe ip_vs_pe_{engine}'
    return words
