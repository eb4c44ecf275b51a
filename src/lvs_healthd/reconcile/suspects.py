"""Programs that write IPVS tables, found running: who may be undoing our writes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lvs_healthd.runtime.netns import Netns, NetnsError

MANAGERS = frozenset(
    {
        "keepalived",
        "ldirectord",
        "kube-proxy",
        "kube-router",
        "mon",
        "nanny",  # piranha's
        "seesaw_engine",
        "seesaw_ncc",
        "surealived",
        "dockerd",  # swarm's routing mesh
        "gorb",
        "ipvsadm",
        "lvs-healthd",
    }
)
"""As /proc/PID/comm has them, which is cut at 15 characters."""


def suspects(netns: Netns, own_pid: int, *, proc: Path = Path("/proc")) -> list[str]:
    """Return "NAME (pid N)" of each manager of IPVS tables in the network namespace, this process and its own not.

    One whose namespace may not be looked at is included. Blocks for some milliseconds.
    """
    namespace = -1
    with contextlib.suppress(NetnsError):
        namespace = netns.identity()
    return sorted(f"{name} (pid {pid})" for name, pid in _managers(proc, own_pid) if _may_be_in(proc, pid, namespace))


def _managers(proc: Path, own_pid: int) -> Iterator[tuple[str, int]]:
    for folder in proc.glob("[0-9]*"):
        pid = int(folder.name)
        try:
            name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
            if name in MANAGERS and own_pid not in (pid, _parent(folder)):
                yield name, pid
        except (OSError, ValueError, IndexError):
            continue  # it has ended, or is none of our business


def _parent(folder: Path) -> int:
    # The name in parentheses may hold anything; after it come the state and the parent's pid.
    return int((folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])


def _may_be_in(proc: Path, pid: int, namespace: int) -> bool:
    try:
        return (proc / str(pid) / "ns" / "net").stat().st_ino == namespace
    except FileNotFoundError:
        return False
    except OSError:
        return True
