"""Knows when the kernel dropped packets because one of its own tables was full.

Connection tracking (nf_conntrack) and the neighbour tables (ARP, and NDISC for IPv6) have a maximum size. When a table
is full, the kernel drops the packets of new connections, including those of probes. Then the servers seem not to
answer. The kernel counts these drops in /proc/net/stat. The counters are read once a second, because a drop during a
probe shows only when a reading is compared with one from before the probe.

Sources: ct_cpu_seq_show in net/netfilter/nf_conntrack_standalone.c, neigh_stat_seq_show in net/core/neighbour.c. The
column `early_drop` of nf_conntrack is not read. It counts old entries that were removed to make room for a new
connection, and the packet of the new connection passed.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

EVERY_S = 1.0
"""The time between two readings, seconds."""

_EARLY_S = 0.1
"""How much sooner a reading may come, because whoever asks for one every `EVERY_S` does not to the millisecond."""

OVER_S = 10.0
"""A table counts as full until it has dropped nothing for this long, seconds."""


class Counter(msgspec.Struct, frozen=True):
    """One counter of dropped packets."""

    file: str
    """The file's name in /proc/net/stat. The files of the neighbour tables exist only in the host's first network
    namespace."""
    column: str
    """The column's name in the first line of the file."""
    text: str
    """What is wrong when the counter rises, and what to do."""
    only_ipv6: bool | None = None
    """True if only IPv6 is concerned, False if only IPv4 is, None if both are."""


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
        """The sum over all CPUs at the last reading; None before the first reading, and while there is no such file."""
        self.rose_after = -math.inf
        """The counter last rose between two readings. This is the time of the earlier one."""
        self.rose_by = -math.inf
        """The time of the later one, which noticed the rise."""


class Overflows:
    """Follows the counters of packets that the kernel dropped because a table was full.

    clock: monotonic time, seconds.
    folder: the folder with the kernel's statistics.
    """

    def __init__(self, clock: Callable[[], float], folder: Path = Path("/proc/net/stat")) -> None:
        self._clock = clock
        self._folder = folder
        self._watched = [_Watched(counter) for counter in COUNTERS]
        self._read_at = -math.inf

    def turn(self) -> None:
        """Read the counters, if that is due."""
        now = self._clock()
        if now - self._read_at >= EVERY_S - _EARLY_S:
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
            # The counter rose at some time between two readings. It may have been during the probe unless both readings
            # were before the probe, or both after it.
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
