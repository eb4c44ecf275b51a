"""ping checks by hand, and against this host where raw sockets are permitted."""

import asyncio
import socket
import struct
import threading

import pytest

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import PingCheck
from lvs_healthd.config.load import parse
from lvs_healthd.probes.exchange import Exchange
from lvs_healthd.probes.outcome import Outcome, OutcomeKind, Reason, down, unsure
from lvs_healthd.probes.ping import ping_exchanges
from lvs_healthd.probes.targets import targets
from lvs_healthd.probing.apart import NO_PING
from lvs_healthd.probing.once import run_once
from lvs_healthd.runtime.capabilities import give_up_capabilities


def check(address: str = "127.0.0.1", timeout: float = 1.0) -> PingCheck:
    return PingCheck(name="ping", address=address, port=0, timeout=Seconds(timeout))


def begun(address: str = "127.0.0.1") -> tuple[Exchange, bytes]:
    exchange = ping_exchanges(check(address))()
    request = exchange.connected()
    assert isinstance(request, bytes)
    return exchange, request


HEADER = bytes((0x46, *bytes(23)))
"""An IPv4 header with one option: six words."""


def is_checksum_right(message: bytes) -> bool:
    total: int = sum(struct.unpack(f"!{len(message) // 2}H", message))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total == 0xFFFF


def test_request_is_an_echo_request_with_a_right_checksum() -> None:
    for _ in range(50):
        _, request = begun()
        assert request[:2] == b"\x08\x00"
        assert is_checksum_right(request)
    assert begun("::1")[1][:4] == b"\x80\0\0\0"  # the kernel fills in the checksum


@pytest.mark.parametrize(("address", "header", "kind"), [("192.0.2.1", HEADER, 0), ("2001:db8::1", b"", 129)])
def test_only_the_reply_to_this_request_passes(address: str, header: bytes, kind: int) -> None:
    exchange, request = begun(address)
    _, other = begun(address)
    others = (request, bytes((kind, 0)) + other[2:], bytes((3, 1)) + request[2:])
    for stranger in (b"", header, *(header + each for each in others)):
        assert exchange.received(stranger) is None
    found = exchange.received(header + bytes((kind, 0)) + request[2:])
    assert isinstance(found, Outcome)
    assert found.kind is OutcomeKind.UP


def test_each_family_is_asked_in_its_own_way_in_one_configuration() -> None:
    text = (
        '[[service]]\nname = "four"\nfwmark = 4\ncheck = "ping"\nreal_server = ["192.0.2.1", "192.0.2.2"]\n'
        '[[service]]\nname = "six"\nfwmark = 6\ncheck = "ping"\nreal_server = ["[2001:db8::1]"]\n'
    )
    kinds = {}
    for key, target in targets(parse(text, "c.toml").services).items():
        request = target.begin().connected()
        assert isinstance(request, bytes)
        kinds[key.address] = request[0]
    assert kinds == {"192.0.2.1": 8, "192.0.2.2": 8, "2001:db8::1": 128}


def test_no_reply_is_down() -> None:
    assert begun()[0].expired("1s") == down(Reason.TIMEOUT, "no echo reply in 1s")


def may_ping() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    except PermissionError:
        return False
    return True


@pytest.mark.skipif(not may_ping(), reason="raw sockets need CAP_NET_RAW")
async def test_this_host_answers() -> None:
    many = [check(f"127.0.0.{last}") for last in range(1, 51)]
    found = await run_once([*many, check("::1")])
    assert {probed.outcome.detail for probed in found.values()} == {"echo reply"}


@pytest.mark.skipif(not may_ping(), reason="raw sockets need CAP_NET_RAW")
async def test_host_that_does_not_answer_is_down() -> None:
    (found,) = (await run_once([check("127.255.255.255", timeout=0.2)])).values()  # a broadcast address
    assert found.outcome.kind is not OutcomeKind.UP


def test_without_the_right_it_is_our_own_fault() -> None:
    found: list[Outcome] = []

    def ping() -> None:
        give_up_capabilities()  # only of this thread
        found.extend(each.outcome for each in asyncio.run(run_once([check()])).values())

    thread = threading.Thread(target=ping)
    thread.start()
    thread.join()
    assert found == [unsure(Reason.LOCAL_LIMIT, NO_PING)]
