"""The table in memory against the kernel's: the same random writes have the same results and leave the same table."""

import random

import pytest

from lab.ipvsadm import Ipvsadm
from lvs_healthd.ipvs.in_memory import MemoryTable
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import Operation, Verb
from lvs_healthd.ipvs.words import ForwardingMethod
from tests.ipvs.tables import WEB, random_operation, server, service
from tests.kernel.fresh_network import director, network

__all__ = ["director", "network"]

DEADLINE_S = 60.0
"""An emulated kernel takes its time to run modprobe."""

ADDRESSES = (
    *("0.0.0.0", "0.0.0.1", "1.2.3.4", "127.0.0.1", "169.254.1.1", "240.0.0.1"),
    *("224.0.0.1", "239.255.255.255", "255.255.255.255"),
    *("::", "::1", "::ffff:1.2.3.4", "::1.2.3.4", "64:ff9b::1", "2001:db8::1"),
    *("fe80::1", "fec0::1", "fc00::1", "ff02::1"),
)


@pytest.mark.parametrize("seed", range(3))
async def test_memory_does_as_the_kernel_does(director: Ipvsadm, seed: int) -> None:
    source = random.Random(seed)
    client, memory = IpvsClient(load=no_module, deadline_s=DEADLINE_S), MemoryTable()
    await client.open()
    try:
        for _ in range(4):
            operations = [random_operation(source) for _ in range(100)]
            ours, theirs = await memory.apply(operations), await client.apply(operations)
            for operation, our, their in zip(operations, ours, theirs, strict=True):
                assert our == their, operation
            assert await memory.read() == await client.read()
        assert len(memory.writes) > 50, "the writes were hardly ever good ones"
    finally:
        client.close()


async def test_memory_takes_and_refuses_the_addresses_that_the_kernel_does(director: Ipvsadm) -> None:
    client, memory = IpvsClient(deadline_s=DEADLINE_S), MemoryTable()
    await client.open()
    try:
        operations = [Operation(Verb.ADD_SERVICE, service(WEB))]
        for address in ADDRESSES:
            forward = ForwardingMethod.TUNNEL  # the one by which an IPv4 service takes servers of either family
            operations.append(Operation(Verb.ADD_SERVER, service(WEB), server(address, forward=forward)))
        ours, theirs = await memory.apply(operations), await client.apply(operations)
        judged = [
            (address, our.errno, their.errno)
            for address, our, their in zip(["service", *ADDRESSES], ours, theirs, strict=True)
        ]
        assert [one for one in judged if one[1] != one[2]] == []
    finally:
        client.close()


async def no_module(_name: str) -> bool:
    return False
