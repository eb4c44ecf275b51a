"""The state of interfaces, as the kernel's reports tell it. pyroute2 makes the reports; a dump is this machine's."""

import socket
import subprocess
import sys
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg

from lvs_healthd.director import links
from lvs_healthd.director.links import Links

NEWLINK, DELLINK, NEWADDR, DELADDR = 16, 17, 20, 21
UP, LOOPBACK = 0x1, 0x8
ETH0, ETH1 = 2, 3
SERVER, SERVER6, FAR = "198.51.100.11", "2001:db8:2::11", "203.0.113.66"


def _encoded(message: Any, kind: int) -> bytes:
    message["header"] = {"type": kind, "flags": 0, "sequence_number": 0}
    message.encode()
    return bytes(message.data)


def link(index: int, state: str = "UP", *, flags: int = UP, kind: int = NEWLINK, family: int = 0) -> bytes:
    message = ifinfmsg()
    message["family"], message["index"], message["flags"] = family, index, flags
    message["attrs"] = [("IFLA_IFNAME", f"eth{index - ETH0}"), ("IFLA_OPERSTATE", state)]
    return _encoded(message, kind)


def address(index: int, text: str, length: int, kind: int = NEWADDR) -> bytes:
    message = ifaddrmsg()
    message["family"] = socket.AF_INET6 if ":" in text else socket.AF_INET
    message["index"], message["prefixlen"] = index, length
    message["attrs"] = [("IFA_ADDRESS", text)]
    return _encoded(message, kind)


class Director:
    """Two interfaces: eth0 towards the servers, eth1 elsewhere."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.links = Links(lambda: self.now)
        self.take(link(ETH0), link(ETH1))
        self.take(address(ETH0, "198.51.100.1", 24), address(ETH0, "2001:db8:2::1", 64))
        self.take(address(ETH1, "192.0.2.1", 24))

    def take(self, *reports: bytes) -> None:
        for report in reports:
            self.links.take(report)

    def trouble(self, target: str = SERVER, lasted_s: float = 1.0) -> str:
        return self.links.on_link(target, self.now - lasted_s)


@pytest.fixture
def director() -> Director:
    return Director()


def test_good_interfaces_are_no_trouble(director: Director) -> None:
    assert not director.links.broken(0.0)
    assert director.trouble() == ""
    assert director.links.ongoing() == ()


@pytest.mark.parametrize(
    ("state", "flags", "text"),
    [
        ("DOWN", UP, "has no carrier"),
        ("LOWERLAYERDOWN", UP, "has no carrier"),
        ("DOWN", 0, "is down"),
        ("DORMANT", UP, "802.1X"),
    ],
)
def test_broken_interface_is_named_with_what_to_type(director: Director, state: str, flags: int, text: str) -> None:
    director.take(link(ETH0, state, flags=flags))
    for target in (SERVER, SERVER6):
        assert director.trouble(target).startswith("our interface eth0 ")
        assert text in director.trouble(target)
        assert "ip link show eth0" in director.trouble(target)
    assert director.trouble("192.0.2.9") == ""
    assert director.trouble(FAR) == ""
    assert director.links.trouble(ETH0, director.now) != ""
    assert director.links.trouble(ETH1, director.now) == ""
    assert director.links.trouble(99, director.now) == ""


def test_interface_of_unknown_state_passes_packets(director: Director) -> None:
    """Tunnels, dummies and lo have no carrier to speak of."""
    director.take(link(ETH0, "UNKNOWN"))
    assert director.trouble() == ""


def test_break_during_a_probe_counts_even_when_it_is_over(director: Director) -> None:
    director.take(link(ETH0, "DOWN"))
    director.now += 0.3
    director.take(link(ETH0))
    director.now += 0.5
    assert "was down a moment ago" in director.trouble(lasted_s=1.0)
    assert director.links.ongoing() == ()
    director.now += 10.0
    assert director.trouble(lasted_s=1.0) == ""
    assert not director.links.broken(director.now - 1.0)


def test_addresses_that_go_with_the_interface_are_remembered(director: Director) -> None:
    """The kernel takes IPv6 addresses away from an interface that is set down."""
    director.take(link(ETH0, "DOWN", flags=0), address(ETH0, "2001:db8:2::1", 64, DELADDR))
    assert "is down" in director.trouble(SERVER6)


def test_address_that_is_removed_from_a_good_interface_is_forgotten(director: Director) -> None:
    assert director.links.is_ours("2001:db8:2::1")
    director.take(address(ETH0, "2001:db8:2::1", 64, DELADDR), link(ETH0, "DOWN"))
    assert director.trouble(SERVER6) == ""
    assert not director.links.is_ours("2001:db8:2::1")


def test_second_interface_on_the_same_network_clears_the_first(director: Director) -> None:
    director.take(address(ETH1, "198.51.100.2", 24), link(ETH0, "DOWN"))
    assert director.trouble() == ""
    director.take(address(ETH0, "198.51.100.9", 28))  # a longer prefix
    assert director.trouble() != ""


def test_interface_that_was_never_good_and_has_no_address_is_no_matter(director: Director) -> None:
    director.take(link(7, "DOWN"))
    assert not director.links.broken(0.0)
    director.take(address(7, "172.17.0.1", 16))
    assert director.links.broken(0.0)


def test_removed_interface_is_forgotten_and_a_port_that_leaves_its_bridge_is_not(director: Director) -> None:
    director.take(link(ETH0, "DOWN"), link(ETH0, "DOWN", kind=DELLINK, family=socket.AF_BRIDGE))
    assert director.trouble() != ""
    director.take(link(ETH0, "DOWN", kind=DELLINK))
    assert director.trouble() == ""


def test_loopback_is_no_interface_towards_servers(director: Director) -> None:
    director.take(link(1, "DOWN", flags=LOOPBACK), address(1, "127.0.0.1", 8))
    assert not director.links.broken(0.0)


def test_dump_forgets_interfaces_that_are_gone(director: Director) -> None:
    director.take(link(ETH0, "DOWN"))
    director.links.take_dump([link(ETH1) + address(ETH1, "192.0.2.1", 24)])
    assert not director.links.broken(0.0)
    assert director.links.is_ours("192.0.2.1")


def test_this_machine_s_interfaces_can_be_listed_and_routes_asked_for(director: Director) -> None:
    answers = links.dump()
    assert answers
    director.links.take_dump(answers)
    assert links.routes(["127.0.0.1"]) == {"127.0.0.1": socket.if_nametoindex("lo")}
    with pytest.raises(OSError, match="illegal"):
        links.routes(["nonsense"])
    with links.listener() as reports:
        assert reports.fileno() >= 0


def test_threads_import_pyroute2_one_after_another() -> None:
    """Its modules import each other. Two threads that begin at different ends have met a deadlock."""
    code = """
import sys, threading, time
from lvs_healthd.director import announced, links

threads = [threading.Thread(target=each) for each in (links.parser, announced.load_library)]
with links.IMPORTING:
    for each in threads:
        each.start()
    time.sleep(0.5)
    print("pyroute2" in sys.modules)
for each in threads:
    each.join()
print("pyroute2" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120)
    assert run.stdout == "False\nTrue\n"
