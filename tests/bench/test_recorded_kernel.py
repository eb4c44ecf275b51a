"""The daemon's own client talks to the recorded kernel and gets the answers that a real one would give."""

import asyncio
import errno
import itertools
import json
import socket
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from bench.daemon_on_recorded_kernel import KernelSocket
from bench.recorded_kernel import RECORDED, RecordedKernel
from lvs_healthd.ipvs.kernel import channel
from lvs_healthd.ipvs.kernel.client import IpvsClient
from lvs_healthd.ipvs.records import DestinationKey, DestinationRecord, Operation, ServiceKey, ServiceRecord, Verb
from lvs_healthd.ipvs.words import AF_INET, AF_INET6, IPPROTO_TCP, ForwardingMethod

WEB = ServiceRecord(ServiceKey(AF_INET, IPPROTO_TCP, "192.0.2.1", 80), "wrr", flags=1, timeout=300)
WEB6 = ServiceRecord(ServiceKey(AF_INET6, IPPROTO_TCP, "2001:db8::1", 80), "rr", netmask=128)
MARK = ServiceRecord(ServiceKey(AF_INET, fwmark=7), "mh")


def destination(number: int, *, weight: int = 1) -> DestinationRecord:
    key = DestinationKey(AF_INET, f"198.51.{number >> 8}.{number & 255}", 8080)
    return DestinationRecord(key, ForwardingMethod.MASQ, weight, 9, 4)


DESTINATION6 = DestinationRecord(
    DestinationKey(AF_INET6, "2001:db8::2", 80), ForwardingMethod.TUNNEL, 3, tunnel_type=1, tunnel_port=6080
)


def serve(kernel: RecordedKernel, connection: socket.socket) -> None:
    while data := connection.recv(1 << 18):
        for answer in list(kernel.serve(data)):
            connection.send(answer)


@pytest_asyncio.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IpvsClient]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    monkeypatch.setattr(channel, "_opened", lambda: KernelSocket(fileno=ours.detach()))
    kernel = RecordedKernel(json.loads(RECORDED.read_text()))
    thread = threading.Thread(target=serve, args=(kernel, theirs))
    thread.start()
    made = IpvsClient()
    yield made
    made.close()
    await asyncio.to_thread(thread.join)
    theirs.close()


async def test_kernel_says_what_it_is(client: IpvsClient) -> None:
    assert await client.open() == "IPVS 1.2.1"


async def test_what_was_written_is_read_back(client: IpvsClient) -> None:
    await client.open()
    many = [destination(number, weight=number) for number in range(1, 400)]
    results = await client.apply(
        [
            *(Operation(Verb.ADD_SERVICE, service) for service in (WEB, WEB6, MARK)),
            *(Operation(Verb.ADD_SERVER, WEB, each) for each in many),
            Operation(Verb.ADD_SERVER, WEB6, DESTINATION6),
        ]
    )
    assert all(result.ok for result in results)
    table = await client.read()
    assert {entry.service for entry in table.values()} == {WEB, WEB6, MARK}
    assert list(table[WEB.key].destinations.values()) == many
    assert list(table[WEB6.key].destinations.values()) == [DESTINATION6]


async def test_edits_and_deletions_take_effect(client: IpvsClient) -> None:
    await client.open()
    changed = ServiceRecord(WEB.key, "rr")
    results = await client.apply(
        [
            Operation(Verb.ADD_SERVICE, WEB),
            Operation(Verb.ADD_SERVER, WEB, destination(1)),
            Operation(Verb.ADD_SERVER, WEB, destination(2)),
            Operation(Verb.SET_SERVICE, changed),
            Operation(Verb.SET_SERVER, WEB, destination(1, weight=5)),
            Operation(Verb.DELETE_SERVER, WEB, destination(2)),
        ]
    )
    assert all(result.ok for result in results)
    entry = (await client.read_services([WEB.key]))[WEB.key]
    assert entry.service == changed
    assert list(entry.destinations.values()) == [destination(1, weight=5)]
    assert (await client.apply([Operation(Verb.DELETE_SERVICE, WEB)]))[0].ok
    assert await client.read() == {}


async def test_errors_are_the_kernels(client: IpvsClient) -> None:
    await client.open()
    operations = [
        Operation(Verb.ADD_SERVER, WEB, destination(1)),
        Operation(Verb.ADD_SERVICE, WEB),
        Operation(Verb.ADD_SERVICE, WEB),
        Operation(Verb.ADD_SERVER, WEB, destination(1)),
        Operation(Verb.ADD_SERVER, WEB, destination(1)),
        Operation(Verb.SET_SERVER, WEB, destination(2)),
        Operation(Verb.DELETE_SERVER, WEB, destination(2)),
        Operation(Verb.DELETE_SERVICE, WEB6),
    ]
    # One at a time: a batch with an ENOENT would be tried again after looking for the module.
    results = list(itertools.chain(*[await client.apply([operation]) for operation in operations]))
    assert [result.errno for result in results] == [
        errno.ESRCH,
        0,
        errno.EEXIST,
        0,
        errno.EEXIST,
        errno.ENOENT,
        errno.ENOENT,
        errno.ESRCH,
    ]


def test_refusals_are_those_that_were_recorded() -> None:
    recorded = json.loads(RECORDED.read_text())
    codes = {name: int.from_bytes(bytes.fromhex(recorded[name])[16:20], "little", signed=True) for name in
             ("added", "exists", "absent")}  # fmt: skip
    assert codes == {"added": 0, "exists": -errno.EEXIST, "absent": -errno.ENOENT}
