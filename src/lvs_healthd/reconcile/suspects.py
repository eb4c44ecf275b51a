"""Finds running programs that manage IPVS tables, and so may be undoing our writes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lvs_healthd.runtime.netns import Netns, NetnsError
from lvs_healthd.runtime.processes import process

MANAGERS = frozenset(
    {
        "keepalived",
        "ldirectord",
        "kube-proxy",
        "kube-router",
        "cilium-agent",
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


class Manager(NamedTuple):
    """A running program that manages IPVS tables."""

    name: str
    pid: int


def suspects(netns: Netns, own_pid: int, *, proc: Path = Path("/proc")) -> list[str]:
    """Return "NAME (pid N)" for each of `managers`."""
    return sorted(f"{each.name} (pid {each.pid})" for each in managers(netns, own_pid, proc=proc))


def managers(netns: Netns, own_pid: int, *, proc: Path = Path("/proc")) -> list[Manager]:
    """Return the managers of IPVS tables in this network namespace, except our own processes.

    A program whose namespace we may not read is included. Blocks for some milliseconds.

    netns: the network namespace whose table we write.
    own_pid: the daemon's pid. The daemon and its children are left out.
    proc: where procfs is mounted.
    """
    namespace = -1
    with contextlib.suppress(NetnsError):
        namespace = netns.identity()
    return [each for each in _anywhere(proc, own_pid) if _may_be_in(proc, each.pid, namespace)]


def _anywhere(proc: Path, own_pid: int) -> Iterator[Manager]:
    for folder in proc.glob("[0-9]*"):
        pid = int(folder.name)
        try:
            found = process(folder)
        except (OSError, ValueError):
            continue  # it has ended meanwhile, or we may not read it
        if found.name in MANAGERS and not found.has_ended and own_pid not in (pid, found.parent):
            yield Manager(found.name, pid)


def _may_be_in(proc: Path, pid: int, namespace: int) -> bool:
    try:
        return (proc / str(pid) / "ns" / "net").stat().st_ino == namespace
    except FileNotFoundError:
        return False
    except OSError:
        return True
