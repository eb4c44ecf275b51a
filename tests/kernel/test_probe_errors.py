"""What a probe learns when its target does not exist: a router sends ICMP, and the kernel must pass it on."""

import asyncio

import pytest

from lab.topology import Topology
from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import TcpCheck, UdpCheck
from lvs_healthd.probes.outcome import Reason
from lvs_healthd.probing.once import run_once

GONE = ("203.0.113.66", "2001:db8:9::66")
"""Nobody has these; the client's route to them leads over the director."""
TIMEOUT_S = Seconds(10.0)
"""Emulated; an answer comes at once."""


@pytest.mark.parametrize("address", GONE)
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_router_that_says_unreachable_is_heard(nat: Topology, address: str, kind: str) -> None:
    ip = ["ip", "-6"] if ":" in address else ["ip"]
    nat.director.run([*ip, "route", "replace", "unreachable", address])
    where = {"name": kind, "address": address, "port": 5300, "timeout": TIMEOUT_S}
    check = UdpCheck(send=b"?", **where) if kind == "udp" else TcpCheck(**where)  # type: ignore[arg-type]
    with nat.client.entered():
        (found,) = asyncio.run(run_once([check])).values()
    assert found.outcome.reason is Reason.UNREACHABLE
    assert found.latency_s < TIMEOUT_S
