"""The reconciler on the kernel's table undoes foreign edits, leaves foreign services alone, and is silent otherwise."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lab.ipvsadm import Ipvsadm
from lvs_healthd.events.kinds import TableError
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import ServiceKey
from lvs_healthd.ipvs.words import AF_INET
from tests.ipvs.tables import WEB, entry, server, service, table
from tests.kernel.fresh_network import director, network
from tests.kernel.reconciling import DEADLINE_S, FOREIGN_RULES, WANTED, Bench

__all__ = ["director", "network"]


@pytest_asyncio.fixture
async def bench(director: Ipvsadm) -> AsyncIterator[Bench]:
    director.restore(FOREIGN_RULES)
    client = IpvsClient(deadline_s=DEADLINE_S)
    bench = Bench(client)
    await bench.start(WANTED)
    assert [event for event in bench.events if isinstance(event, TableError)] == []
    bench.events.clear()
    yield bench
    client.close()


def foreign(director: Ipvsadm) -> str:
    return "".join(
        line.rstrip() + "\n" for line in director.saved().splitlines() if "203.0.113.5" in line or "-f 99" in line
    )


@pytest.mark.parametrize(
    ("command", "drifts"),
    [
        (
            "-e -t 192.0.2.100:80 -r 198.51.100.1:80 -m -w 7",
            [("web", "198.51.100.1:80", "weight 7, expected 1")],
        ),
        (
            "-e -t 192.0.2.100:80 -r 198.51.100.2:80 -g -w 2 -x 10",
            [("web", "198.51.100.2:80", "forward dr, expected nat; upper threshold 10, expected 0")],
        ),
        ("-d -t 192.0.2.100:80 -r 198.51.100.1:80", [("web", "198.51.100.1:80", "missing")]),
        ("-a -t 192.0.2.100:80 -r 198.51.100.9:80 -m", [("web", "198.51.100.9:80", "not configured")]),
        ("-E -u [2001:db8::53]:53 -s wlc", [
            ("dns", "", "scheduler wlc, expected rr; persistence off, expected 120s; netmask /128, expected /64"),
        ]),
        ("-D -f 7", [("mark", "", "missing")]),
    ],
)  # fmt: skip
async def test_a_foreign_edit_is_undone_within_one_resync(
    bench: Bench, director: Ipvsadm, command: str, drifts: list[tuple[str, str, str]]
) -> None:
    before = director.saved()
    director(*command.split())
    assert director.saved() != before
    await bench.resync()
    assert sorted(director.saved().splitlines()) == sorted(before.splitlines())
    assert bench.drifts() == drifts
    assert foreign(director) == FOREIGN_RULES


async def test_an_emptied_table_gets_our_services_back_and_only_ours(bench: Bench, director: Ipvsadm) -> None:
    director.clear()
    await bench.resync()
    assert await bench.client.read() == WANTED
    assert bench.drifts() == [("web", "", "missing"), ("dns", "", "missing"), ("mark", "", "missing")]


async def test_in_sync_no_write_is_sent_over_100_resyncs(bench: Bench, director: Ipvsadm) -> None:
    before = director.saved()
    sent = bench.client.writes_sent
    assert sent > 0
    for _ in range(100):
        await bench.resync()
    assert bench.client.writes_sent == sent
    assert director.saved() == before
    assert bench.events == []


async def test_a_restart_sends_no_write(bench: Bench, director: Ipvsadm) -> None:
    after = Bench(IpvsClient(deadline_s=DEADLINE_S))
    await after.start(WANTED)
    await after.resync()
    after.client.close()
    assert after.client.writes_sent == 0
    assert after.events == []


async def test_foreign_services_are_the_same_to_the_byte_through_changes_and_removal_of_ours(
    bench: Bench, director: Ipvsadm
) -> None:
    await bench.want(table(entry(service(WEB, "sed"), server("198.51.100.1", 0), server("198.51.100.4"))))
    assert foreign(director) == FOREIGN_RULES
    await bench.want({})
    assert director.saved().replace(" \n", "\n") == FOREIGN_RULES
    assert bench.reconciler.ownership.services == set()


async def test_a_service_the_kernel_refuses_keeps_no_other_from_its_place(bench: Bench, director: Ipvsadm) -> None:
    bad = ServiceKey(AF_INET, 6, "192.0.2.101", 80)
    await bench.want(WANTED | table(entry(service(bad, "no-such"), server("198.51.100.8"))))
    (error,) = bench.events
    assert isinstance(error, TableError)
    assert error.error == 'scheduler "no-such" is not known to this kernel: modprobe ip_vs_no-such'
    assert bench.reconciler.in_sync(WEB)
    assert not bench.reconciler.in_sync(bad)
