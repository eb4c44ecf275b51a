"""Knows when the kernel dropped packets because one of its own tables was full.

Connection tracking (nf_conntrack) and the neighbour tables (ARP, and NDISC for IPv6) have a maximum size. When a table
is full, the packets of new connections are dropped, also those of probes, and the servers seem not to answer. The
kernel counts these drops in /proc/net/stat. The counters are read once a second, because a drop during a probe shows
only in the difference to a reading from before the probe.

Sources: ct_cpu_seq_show in net/netfilter/nf_conntrack_standalone.c, neigh_stat_seq_show in net/core/neighbour.c. The
column `early_drop` of nf_conntrack is left out: it counts entries that made room for a new connection, whose packet
then passed.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

EVERY_S = 1.0
"""The time between two readings, seconds."""

OVER_S = 10.0
"""A table that has dropped nothing for this long is not full any more, seconds."""


class Counter(msgspec.Struct, frozen=True):
    """One counter of dropped packets."""

    file: str
    """The file, in /proc/net/stat. In a network namespace other than the first, those of the neighbour tables do not
    exist."""
    column: str
    text: str
    """What is wrong when the counter rises, and what to do."""
    only_ipv6: bool | None = None
    """Whether only IPv6, or only IPv4, is concerned; None for both."""


COUNTERS = (
    Counter(
        "nf_conntrack",
        "drop",
        "the director's connection tracking table is full and drops new connections: raise "
        "net.netfilter.nf_conntrack_max (see: conntrack -C, dmesg)",
    ),
    Counter(
        "arp_cache",
        "table_fulls",
        "the director's ARP table is full: raise net.ipv4.neigh.default.gc_thresh3 (see: ip -4 neigh, dmesg)",
        only_ipv6=False,
    ),
    Counter(
        "ndisc_cache",
        "table_fulls",
        "the director's NDISC table is full: raise net.ipv6.neigh.default.gc_thresh3 (see: ip -6 neigh, dmesg)",
        only_ipv6=True,
    ),
)


class _Watched:
    """What is known of one counter. Times are seconds on the monotonic clock."""

    __slots__ = ("counter", "rose_after", "rose_by", "total")

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.total: int | None = None
        """The sum over all CPUs at the last reading; None before the first, and while there is no such file."""
        self.rose_after = -math.inf
        """When the reading took place after which the counter rose last."""
        self.rose_by = -math.inf
        """When that was noticed."""


class Overflows:
    """Follows the counters of packets dropped for lack of room.

    clock: monotonic time, seconds.
    folder: where the kernel's statistics are.
    """

    def __init__(self, clock: Callable[[], float], folder: Path = Path("/proc/net/stat")) -> None:
        self._clock = clock
        self._folder = folder
        self._watched = [_Watched(counter) for counter in COUNTERS]
        self._read_at = -math.inf

    def turn(self) -> None:
        """Read the counters, if that is due."""
        now = self._clock()
        if now - self._read_at >= EVERY_S:
            self._read(now)

    def during(self, address: str, began: float, now: float) -> str:
        """Return in words which table was too full for a probe of `address`; "" if none was.

        began: when the probe began, seconds on the monotonic clock.
        now: when it ended, on the same clock.
        """
        self.turn()
        for each in self._watched:
            if each.counter.only_ipv6 not in (None, ":" in address):
                continue
            # It rose at some time between two readings, which is during the probe unless both were before or after it.
            if each.rose_by >= began and each.rose_after <= now:
                return each.counter.text
        return ""

    def ongoing(self) -> tuple[str, ...]:
        """Return in words which tables are full now."""
        recent = self._clock() - OVER_S
        return tuple(each.counter.text for each in self._watched if each.rose_by >= recent)

    def _read(self, now: float) -> None:
        for each in self._watched:
            total = _total(self._folder / each.counter.file, each.counter.column)
            if total is not None and each.total is not None and total > each.total:
                each.rose_after, each.rose_by = self._read_at, now
            each.total = total
        self._read_at = now


def _total(file: Path, column: str) -> int | None:
    """Return the sum of one column over all CPUs; None when there is no such file or column."""
    try:
        names, *rows = file.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return None
    return column_sum(names, rows, column)


def column_sum(names: str, rows: Iterable[str], column: str) -> int | None:
    """Return the sum of one column of a file in /proc/net/stat; None when it is not there.

    names: the first line, with the names of the columns.
    rows: the other lines, one for each CPU, with hexadecimal numbers.
    """
    try:
        position = names.split().index(column)
        return sum(int(row.split()[position], 16) for row in rows)
    except (ValueError, IndexError):
        return None
