"""Packets that the kernel drops for lack of room are noticed, and only in the probes that they may have failed."""

from pathlib import Path

import pytest

from lvs_healthd.director.overflows import COUNTERS, EVERY_S, OVER_S, Overflows, column_sum

NAMES = "entries  clashres found new invalid ignore delete chainlength insert insert_failed drop early_drop icmp_error"
A, A6 = "198.51.100.11", "2001:db8:2::11"


def row(drop: int, early_drop: int = 0) -> str:
    return " ".join(["00000004", *["00000000"] * 9, f"{drop:08x}", f"{early_drop:08x}", "00000000"])


class Kernel:
    """The kernel's statistics in a folder, and a clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 1000.0
        self.overflows = Overflows(lambda: self.now, folder)

    def conntrack(self, *drops: int, early_drop: int = 0) -> None:
        (self.folder / "nf_conntrack").write_text("\n".join([NAMES, *(row(each, early_drop) for each in drops)]) + "\n")

    def neighbours(self, file: str, fulls: int) -> None:
        (self.folder / file).write_text(f"entries  allocs table_fulls\n00000001 00000001 {fulls:08x}\n")

    def pass_s(self, seconds: float) -> None:
        """Let time pass, with a reading every second."""
        end = self.now + seconds
        while self.now < end:
            self.now += EVERY_S
            self.overflows.turn()

    def during(self, address: str = A, lasted_s: float = 1.0) -> str:
        return self.overflows.during(address, self.now - lasted_s, self.now)


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel(tmp_path)


def test_columns_are_hexadecimal_and_there_is_a_row_for_each_cpu() -> None:
    assert column_sum(NAMES, [row(0x1F), row(0x10)], "drop") == 0x2F
    assert column_sum(NAMES, [row(1)], "nothing") is None
    assert column_sum(NAMES, ["00000001"], "drop") is None
    assert column_sum(NAMES, ["none"], "entries") is None


def test_drops_from_before_the_daemon_are_no_fault(kernel: Kernel) -> None:
    kernel.conntrack(7, 9)
    kernel.pass_s(5)
    assert (kernel.during(), kernel.overflows.ongoing()) == ("", ())


def test_drop_during_a_probe_is_found_when_the_probe_ends(kernel: Kernel) -> None:
    kernel.conntrack(0, 0)
    kernel.pass_s(5)
    kernel.conntrack(0, 1)
    kernel.now += EVERY_S
    assert "nf_conntrack_max" in kernel.during()
    assert "nf_conntrack_max" in kernel.during(A6)


def test_probe_after_the_last_drop_is_not_concerned_but_the_fault_is_told_for_a_while(kernel: Kernel) -> None:
    kernel.conntrack(0)
    kernel.pass_s(3)
    kernel.conntrack(5)
    kernel.pass_s(3)
    assert kernel.during(lasted_s=0.5) == ""
    assert len(kernel.overflows.ongoing()) == 1
    kernel.pass_s(OVER_S)
    assert kernel.overflows.ongoing() == ()


def test_entries_that_made_room_are_no_fault(kernel: Kernel) -> None:
    kernel.conntrack(0, early_drop=0)
    kernel.pass_s(3)
    kernel.conntrack(0, early_drop=9)
    kernel.pass_s(1)
    assert kernel.during() == ""


def test_each_neighbour_table_concerns_its_own_address_family(kernel: Kernel) -> None:
    for file in ("arp_cache", "ndisc_cache"):
        kernel.neighbours(file, 0)
    kernel.pass_s(2)
    kernel.neighbours("arp_cache", 3)
    kernel.pass_s(1)
    assert "net.ipv4.neigh" in kernel.during(A)
    assert kernel.during(A6) == ""
    kernel.pass_s(5)
    kernel.neighbours("ndisc_cache", 3)
    kernel.pass_s(1)
    assert "net.ipv6.neigh" in kernel.during(A6)
    assert kernel.during(A) == ""


def test_files_are_read_at_most_once_a_second(kernel: Kernel) -> None:
    kernel.conntrack(0)
    kernel.pass_s(3)
    kernel.conntrack(5)
    kernel.now += EVERY_S / 2
    assert kernel.during() == ""
    kernel.now += EVERY_S / 2
    assert kernel.during() != ""


def test_counters_that_appear_late_or_start_again_are_no_fault(kernel: Kernel) -> None:
    kernel.pass_s(3)
    kernel.conntrack(500)  # the module has been loaded
    kernel.pass_s(1)
    assert kernel.during() == ""
    kernel.conntrack(3)  # and loaded again
    kernel.pass_s(1)
    assert kernel.during() == ""
    assert len({counter.text for counter in COUNTERS}) == len(COUNTERS)
