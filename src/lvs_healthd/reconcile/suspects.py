"""Finds running programs that manage IPVS tables, and so may be undoing our writes."""

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
"""Programs that manage IPVS tables, named as in /proc/PID/comm, which holds at most 15 characters."""


def suspects(netns: Netns, own_pid: int, *, proc: Path = Path("/proc")) -> list[str]:
    """Return "NAME (pid N)" for each manager of IPVS tables in this network namespace, except our own processes.

    A program whose namespace we may not read is included. Blocks for some milliseconds.

    netns: the network namespace whose table we write.
    own_pid: the daemon's pid. The daemon and its children are left out.
    proc: where procfs is mounted.
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
            continue  # it has ended meanwhile, or we may not read it


def _parent(folder: Path) -> int:
    # The name is in parentheses and may contain anything. After it come the state and the parent's pid.
    return int((folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])


def _may_be_in(proc: Path, pid: int, namespace: int) -> bool:
    try:
        return (proc / str(pid) / "ns" / "net").stat().st_ino == namespace
    except FileNotFoundError:
        return False
    except OSError:
        return True
