"""Checks by ICMP and SCTP across a director, with servers that are there, closed and gone; and marked probes."""

import asyncio
import re
import socket

import msgspec
import pytest

from lab.topology import Topology
from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import PingCheck, SctpCheck
from lvs_healthd.config.check_ways import Way
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason
from lvs_healthd.probing.once import run_once

SERVERS = ("198.51.100.11", "2001:db8:2::11")
GONE = ("198.51.100.99", "2001:db8:2::99")
TIMEOUT_S = Seconds(10.0)
"""Emulated; an answer comes at once."""
PORT = 3868


def outcome_of(nat: Topology, check: PingCheck | SctpCheck) -> Outcome:
    with nat.director.entered():
        (found,) = asyncio.run(run_once([check])).values()
    return found.outcome


def ping(address: str) -> PingCheck:
    return PingCheck(name="ping", address=address, port=0, timeout=TIMEOUT_S)


@pytest.mark.parametrize("address", SERVERS)
def test_server_that_is_there_answers_a_ping(nat: Topology, address: str) -> None:
    found = outcome_of(nat, ping(address))
    assert (found.kind, found.detail) == (OutcomeKind.UP, "echo reply")


@pytest.mark.parametrize("address", GONE)
def test_address_that_nobody_has_is_down(nat: Topology, address: str) -> None:
    assert outcome_of(nat, ping(address)).reason is Reason.UNREACHABLE


@pytest.mark.parametrize("address", SERVERS)
def test_sctp_server_is_up_while_it_listens(nat: Topology, address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    check = SctpCheck(name="sctp", address=address, port=PORT, timeout=TIMEOUT_S)
    with nat.servers[0].entered():
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_SCTP)
    with listener:
        listener.bind((address, PORT))
        listener.listen()
        assert outcome_of(nat, check).kind is OutcomeKind.UP
    found = outcome_of(nat, check)
    assert (found.kind, found.reason) == (OutcomeKind.DOWN, Reason.REFUSED)


RULES = """
table inet marked {
  chain out { type filter hook output priority 0;
    meta mark 0xfffffffe counter
    ip dscp 46 counter
    ip6 dscp 46 counter
  }
}
"""


@pytest.mark.parametrize(("address", "counted"), [(SERVERS[0], [True, True, False]), (SERVERS[1], [True, False, True])])
def test_packets_of_a_probe_have_its_mark_and_dscp(nat: Topology, address: str, counted: list[bool]) -> None:
    nat.director.run(["nft", "-f", "-"], stdin=RULES)
    try:
        outcome_of(nat, msgspec.structs.replace(ping(address), way=Way(mark=0xFFFFFFFE, dscp=46)))
        listed = nat.director.run(["nft", "list", "table", "inet", "marked"]).stdout
    finally:
        nat.director.run(["nft", "delete", "table", "inet", "marked"])
    packets = [int(found) for found in re.findall(r"counter packets (\d+)", listed)]
    assert [each > 0 for each in packets] == counted
