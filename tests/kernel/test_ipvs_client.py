"""The client against the kernel: what is written is what is read, and what ipvsadm shows; errors are the kernel's."""

import errno
import itertools
import os
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from lab.ipvsadm import Ipvsadm
from lvs_healthd.ipvs.diff import diff
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import DestinationRecord, Operation, ServiceEntry, ServiceKey, ServiceRecord, Table, Verb
from lvs_healthd.ipvs.words import (
    AF_INET,
    AF_INET6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SVC_F_ONEPACKET,
    SVC_F_PERSISTENT,
    ForwardingMethod,
)
from tests.ipvs.tables import DNS, MARK, WEB, entry, server, service, table
from tests.kernel.fresh_network import director, network

__all__ = ["director", "network"]

DEADLINE_S = 60.0
"""An emulated kernel takes its time to load a scheduler's module."""

FORWARDS = {ForwardingMethod.MASQ: "-m", ForwardingMethod.DROUTE: "-g", ForwardingMethod.TUNNEL: "-i"}
SCHEDULERS = ["rr", "wrr", "lc", "wlc", "sh", "mh", "sed", "nq", "dh", "lblc", "lblcr", "fo", "ovf"]


@pytest_asyncio.fixture
async def client(director: Ipvsadm) -> AsyncIterator[IpvsClient]:
    client = IpvsClient(deadline_s=DEADLINE_S)
    await client.open()
    yield client
    client.close()


async def write(client: IpvsClient, wanted: Table) -> None:
    results = await client.apply(diff(wanted, await client.read(), ()))
    assert [result for result in results if not result.ok] == []


def every_kind_of_service() -> Table:
    """Return services of every kind: TCP, UDP and mark, over IPv4 and IPv6, with and without persistence.

    The schedulers take turns. Each service has a server of each forwarding method.
    """
    schedulers = itertools.cycle(SCHEDULERS)
    persistences = [(0, 0, None), (SVC_F_PERSISTENT, 300, None), (SVC_F_PERSISTENT, 60, 24)]
    result: Table = {}
    for family, kind, (number, (flags, timeout, prefix)) in itertools.product(
        [AF_INET, AF_INET6], [IPPROTO_TCP, IPPROTO_UDP, 0], enumerate(persistences, start=1)
    ):
        vip, backend = ("192.0.2.", "198.51.100.") if family == AF_INET else ("2001:db8::", "2001:db8:1::")
        key = ServiceKey(family, kind, f"{vip}{number}", 80) if kind else ServiceKey(family, fwmark=number)
        full = 32 if family == AF_INET else 128
        record = ServiceRecord(key, next(schedulers), flags, timeout, prefix or full)
        servers = [
            server(f"{backend}{last}", weight, port=8080 if forward is ForwardingMethod.MASQ else 80, forward=forward)
            for last, (forward, weight) in enumerate(zip(FORWARDS, [0, 1, 65535], strict=True), start=1)
        ]
        result[key] = entry(record, *servers)
    return result


def as_ipvsadm_saves_it(contents: Table) -> list[str]:
    lines: list[str] = []
    for one in contents.values():
        name = service_option(one.service.key)
        lines.append(f"-A {name} -s {one.service.scheduler}{persistence_options(one.service)}")
        lines += [f"-a {name} -r {server_options(destination)}" for destination in one.destinations.values()]
    return sorted(lines)


def service_option(key: ServiceKey) -> str:
    if key.fwmark:
        return f"-f {key.fwmark}" + (" -6" if key.family == AF_INET6 else "")
    return f"{'-t' if key.protocol == IPPROTO_TCP else '-u'} {str(key).partition('/')[0]}"


def persistence_options(record: ServiceRecord) -> str:
    text = f" -p {record.timeout}" if record.flags & SVC_F_PERSISTENT else ""
    if record.key.family == AF_INET6 and record.netmask != 128:
        text += f" -M {record.netmask}"
    if record.key.family == AF_INET and record.netmask == 24:
        text += " -M 255.255.255.0"
    return text + (" -o" if record.flags & SVC_F_ONEPACKET else "")


def server_options(record: DestinationRecord) -> str:
    tunnel = " --tun-type ipip" if record.forward is ForwardingMethod.TUNNEL else ""
    return f"{record.key} {FORWARDS[record.forward]} -w {record.weight}{tunnel}"


async def test_every_kind_of_service_is_read_as_written_and_as_ipvsadm_shows_it(
    client: IpvsClient, director: Ipvsadm
) -> None:
    wanted = every_kind_of_service()
    assert {one.service.scheduler for one in wanted.values()} == set(SCHEDULERS)
    await write(client, wanted)
    assert await client.read() == wanted
    assert await client.read_services(list(wanted)) == wanted
    assert sorted(line.strip() for line in director.saved().splitlines()) == as_ipvsadm_saves_it(wanted)


async def test_edits_replace_the_whole_record(client: IpvsClient, director: Ipvsadm) -> None:
    await write(client, table(entry(service(WEB, flags=1, timeout=300, netmask=24), server("198.51.100.1", 5))))
    edited = table(
        entry(
            service(WEB, "sh", flags=0x18),
            server(
                "198.51.100.1",
                2,
                forward=ForwardingMethod.TUNNEL,
                upper_threshold=100,
                lower_threshold=50,
                tunnel_type=1,
                tunnel_port=6080,
                tunnel_flags=1,
            ),
        )
    )
    await write(client, edited)
    assert await client.read() == edited
    assert director.saved().splitlines() == [
        "-A -t 192.0.2.100:80 -s sh -b sh-fallback,sh-port",
        "-a -t 192.0.2.100:80 -r 198.51.100.1:80 -i -w 2 --tun-type gue --tun-port 6080 --tun-csum",
    ]


async def test_what_ipvsadm_writes_is_read(client: IpvsClient, director: Ipvsadm) -> None:
    director.restore(
        "-A -t 192.0.2.100:80 -s mh -p 60 -M 255.0.255.0 -b mh-port\n"
        "-a -t 192.0.2.100:80 -r 198.51.100.1:80 -g -w 3 -x 100 -y 50\n"
        "-A -u [2001:db8::53]:53 -s rr -o\n"
        "-a -u [2001:db8::53]:53 -r 198.51.100.2:53 -i -w 1 --tun-type gre --tun-csum\n"
        "-A -f 7 -s wlc --pe sip -p 30\n"
    )
    assert await client.read() == table(
        entry(
            service(WEB, "mh", flags=SVC_F_PERSISTENT | 0x10, timeout=60, netmask=-0xFF00FF00),
            server("198.51.100.1", 3, forward=ForwardingMethod.DROUTE, upper_threshold=100, lower_threshold=50),
        ),
        entry(
            service(DNS, "rr", flags=SVC_F_ONEPACKET),
            server("198.51.100.2", port=53, forward=ForwardingMethod.TUNNEL, tunnel_type=2, tunnel_flags=1),
        ),
        entry(service(MARK, "wlc", flags=SVC_F_PERSISTENT, timeout=30, persistence_engine="sip")),
    )  # fmt: skip


async def test_a_mark_service_of_each_family_is_its_own(client: IpvsClient) -> None:
    wanted = table(
        entry(service(MARK, "rr"), server("198.51.100.1")),
        entry(service(ServiceKey(AF_INET6, fwmark=7), "wlc"), server("2001:db8::1")),
    )
    await write(client, wanted)
    assert await client.read() == wanted


async def test_the_table_describes_itself(client: IpvsClient, director: Ipvsadm) -> None:
    assert await client.open() in director.listing().replace("IP Virtual Server version", "IPVS")


async def test_errors_are_the_kernels_in_words(client: IpvsClient) -> None:
    web, one = service(WEB), server("198.51.100.1")
    results = await client.apply(
        [
            Operation(Verb.SET_SERVICE, web),
            Operation(Verb.ADD_SERVER, web, one),
            Operation(Verb.ADD_SERVICE, web),
            Operation(Verb.ADD_SERVICE, web),
            Operation(Verb.SET_SERVER, web, one),
            Operation(Verb.DELETE_SERVER, web, one),
            Operation(Verb.ADD_SERVER, web, server("198.51.100.1", upper_threshold=1, lower_threshold=2)),
            Operation(Verb.ADD_SERVER, web, server("224.0.0.1")),
            Operation(Verb.ADD_SERVICE, service(DNS, "no-such")),
            Operation(Verb.ADD_SERVER, web, one),
            Operation(Verb.ADD_SERVER, web, one),
        ]
    )
    assert [(result.errno, result.message.partition(":")[0]) for result in results] == [
        (errno.ESRCH, "no such service"),
        (errno.ESRCH, "no such service"),
        (0, ""),
        (errno.EEXIST, "the service already exists"),
        (errno.ENOENT, "no such server"),
        (errno.ENOENT, "no such server"),
        (errno.ERANGE, "weight or connection threshold out of range"),
        (errno.EINVAL, "the kernel rejects this server"),
        (errno.ENOENT, 'scheduler "no-such" is not known to this kernel'),
        (0, ""),
        (errno.EEXIST, "the server already exists"),
    ]


async def test_reading_a_service_that_is_gone_is_its_absence(client: IpvsClient) -> None:
    await write(client, table(entry(service(WEB))))
    assert await client.read_services([WEB, DNS, MARK]) == table(entry(service(WEB)))


async def test_thousands_of_servers_are_written_read_and_deleted(client: IpvsClient) -> None:
    servers = [server(f"10.{number // 250}.{number % 250}.1") for number in range(2000)]
    wanted = table(entry(service(WEB), *servers))
    await write(client, wanted)
    assert await client.read() == wanted
    await write(client, table(entry(service(WEB))))
    assert await client.read() == table(entry(service(WEB)))


async def test_writes_whose_acknowledgements_overflow_the_buffer_are_made_all_the_same(client: IpvsClient) -> None:
    await write(client, table(entry(service(WEB))))
    client._requests.channel.connect().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    servers = [server(f"198.51.100.{number}") for number in range(1, 101)]
    results = await client.apply([Operation(Verb.ADD_SERVER, service(WEB), one) for one in servers])
    assert {result.errno for result in results} == {0, None}
    assert results[0].ok
    assert await client.read() == table(entry(service(WEB), *servers))


async def test_without_the_capability_the_error_says_which(client: IpvsClient) -> None:
    os.seteuid(65534)  # a process without capabilities, as far as the kernel's checks go
    try:
        unprivileged = IpvsClient()
        with pytest.raises(TableUnavailableError, match="needs CAP_NET_ADMIN"):
            await unprivileged.open()
        unprivileged.close()
        (result,) = await client.apply([Operation(Verb.ADD_SERVICE, service(WEB))])
    finally:
        os.seteuid(0)
    assert (result.errno, "CAP_NET_ADMIN" in result.message) == (errno.EPERM, True)


async def test_the_socket_can_be_lost_between_requests(client: IpvsClient) -> None:
    wanted = table(ServiceEntry(service(WEB), {}))
    await write(client, wanted)
    client.close()
    assert await client.read() == wanted
