"""Others may edit the table at any time. After one resync, our services are as wanted, and theirs are untouched.

The test makes five hundred random sequences of edits with ipvsadm, some of them during a resync. The long tests make
two thousand.
"""

import asyncio
import random
from collections.abc import Iterator

import msgspec
import pytest

from lab.ipvsadm import Ipvsadm
from lvs_healthd.importers.ipvsadm import table_of
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import ServiceEntry, ServiceKey, Table
from lvs_healthd.ipvs.saved import saved
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, IPPROTO_TCP, ForwardingMethod
from tests.ipvs.tables import copy, entry, server, service
from tests.kernel.fresh_network import director, network
from tests.kernel.reconciling import DEADLINE_S, FOREIGN_RULES, WANTED, Bench

__all__ = ["director", "network"]

SEQUENCES, SEQUENCES_LONG = 100, 2000
PER_TEST = 100
MOST_EDITS = 6

FOREIGN_KEYS = (
    ServiceKey(AF_INET, IPPROTO_TCP, "203.0.113.5", 443),
    ServiceKey(AF_INET6, fwmark=99),
    ServiceKey(AF_INET, fwmark=100),
    ServiceKey(AF_INET, IPPROTO_TCP, "203.0.113.6", 80),
)


LONG_S = 1000.0


@pytest.mark.parametrize(
    "first",
    [
        *range(0, SEQUENCES, PER_TEST),
        *(pytest.param(first, marks=pytest.mark.long) for first in range(SEQUENCES, SEQUENCES_LONG, PER_TEST)),
    ],
)
@pytest.mark.long
async def test_random_edits_are_undone_in_ours_and_left_in_theirs(director: Ipvsadm, first: int) -> None:
    source = random.Random(first)
    director.restore(FOREIGN_RULES)
    foreign = table_of(FOREIGN_RULES.splitlines(), "foreign")
    bench = Bench(IpvsClient(deadline_s=DEADLINE_S))
    await bench.start(WANTED)
    undone = 0
    try:
        for number in range(first, first + PER_TEST):
            # Every sequence is a separate accident. The same edit again and again within minutes would be a fight.
            bench.now += LONG_S
            table = {**copy(WANTED), **foreign}
            edits = "".join(random_edits(source, table))
            if source.random() < 0.3:
                # The reconciler may undo edits while others are being made, so some edits may fail.
                await asyncio.gather(asyncio.to_thread(restore, director, edits), bench.resync())
                foreign = theirs(await bench.client.read())
            else:
                restore(director, edits)
                foreign = theirs(table)
            await bench.resync()
            found = await bench.client.read()
            assert theirs(found) == foreign, (number, edits)
            assert {key: each for key, each in found.items() if key in WANTED} == WANTED, (number, edits)
        undone = len(bench.drifts())
    finally:
        bench.client.close()
    assert undone > PER_TEST, "the edits hardly ever were of ours"


def theirs(table: Table) -> Table:
    return copy({key: each for key, each in table.items() if key not in WANTED})


def restore(director: Ipvsadm, edits: str) -> None:
    """Make the edits in one process. An edit that fails does not stop the others."""
    director.restore(edits, check=False)


def random_edits(source: random.Random, table: Table) -> Iterator[str]:
    """Draw random edits, return them as commands for ipvsadm, and make them in `table`."""
    for _ in range(source.randint(1, MOST_EDITS)):
        if source.random() < 0.03:
            table.clear()
            yield "-C\n"
        elif not table or source.random() < 0.15:
            yield from _new_service(source, table)
        else:
            yield _edit(source, table, source.choice(sorted(table, key=str)))


def _new_service(source: random.Random, table: Table) -> Iterator[str]:
    key = source.choice(FOREIGN_KEYS)
    if key in table:
        return
    address = "198.51.100.77" if key.family == AF_INET else "2001:db8::77"
    table[key] = entry(service(key, "rr"), server(address, source.randint(0, 9), port=key.port))
    yield "".join(saved({key: table[key]}))


def _edit(source: random.Random, table: Table, key: ServiceKey) -> str:
    one = table[key]
    which = _words({key: ServiceEntry(one.service, {})}).removeprefix("-A ").partition(" -s ")[0]
    kind = source.choice(["service", "delete service", "add", "server", "server", "delete", "delete"])
    if kind == "delete service":
        del table[key]
        return f"-D {which}\n"
    if kind == "service":
        one.service = msgspec.structs.replace(one.service, scheduler=source.choice(["rr", "wlc", "lc"]))
        return _words({key: ServiceEntry(one.service, {})}).replace("-A ", "-E ", 1)
    number = source.randint(50, 59)
    new = server(
        f"198.51.100.{number}" if key.family == AF_INET else f"2001:db8::{number}",
        source.randint(0, 9),
        port=key.port,
        forward=source.choice([ForwardingMethod.MASQ, ForwardingMethod.DROUTE]),
    )
    if kind == "add" or not one.destinations:
        if new.key in one.destinations:
            return ""
        one.destinations[new.key] = new
        return _server_line({key: ServiceEntry(one.service, {new.key: new})})
    old = source.choice(sorted(one.destinations))
    if kind == "delete":
        line = _server_line({key: ServiceEntry(one.service, {old: one.destinations.pop(old)})})
        return "-d " + line.removeprefix("-a ").partition(" -r ")[0] + f" -r {old}\n"
    changed = msgspec.structs.replace(one.destinations[old], weight=source.randint(0, 9))
    one.destinations[old] = changed
    return _server_line({key: ServiceEntry(one.service, {old: changed})}).replace("-a ", "-e ", 1)


def _words(table: Table) -> str:
    return "".join(saved(table))


def _server_line(table: Table) -> str:
    return _words(table).splitlines(keepends=True)[1]
