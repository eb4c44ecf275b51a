"""What is asked on the wire, how it is packed, and which answers count."""

import ipaddress
import socket
import struct

import pytest

from lvs_healthd.director.neighbours import Entry
from lvs_healthd.doctor import on_the_wire
from lvs_healthd.doctor.network import Around, Own, Port, located
from lvs_healthd.doctor.observations import Link, Service, Way
from lvs_healthd.doctor.on_the_wire import Claim, EchoAnswers, EchoQuestion
from lvs_healthd.doctor.wire_questions import arp_questions, echo_questions, with_claims, with_echoes
from tests.doctor.seen import RS1, RS2, VIP, server, service

CLIENTS = Port(2, Link(name="clients"), "02:00:00:00:00:01", has_arp=True)
SERVERS = Port(3, Link(name="servers"), "02:00:00:00:00:02", has_arp=True)
LO = Port(1, Link(name="lo"), "", has_arp=False)


def around(vip: str = VIP) -> Around:
    def own(address: str, length: int, port: Port) -> Own:
        return Own(address, ipaddress.ip_network(f"{address}/{length}", strict=False), port)

    return Around(
        (LO, CLIENTS, SERVERS), (own("192.0.2.1", 24, CLIENTS), own(vip, 32, LO), own("198.51.100.1", 24, SERVERS)), {}
    )


def test_the_narrowest_network_counts_and_host_addresses_are_none() -> None:
    assert around().on_link(VIP) == around().own[0]
    assert around().on_link("203.0.113.9") is None


def test_services_and_their_near_servers_are_asked_for() -> None:
    far = server("203.0.113.11", network="", way=Way(interface="clients", next_hop="192.0.2.9"))
    asked = arp_questions([service(server(), server(RS1), far)], around())
    assert asked == [(CLIENTS, VIP), (SERVERS, RS1)]
    assert arp_questions([service(interface="")], around())[0] == (SERVERS, RS1)


def test_claims_name_the_server_that_has_the_hardware_address() -> None:
    both = [service(server(hardware=""), server(RS2, hardware=""))]
    claims = {Claim(RS1, "02:00:00:00:00:11"), Claim(VIP, "02:00:00:00:00:11")}
    (found,) = with_claims(both, arp_questions(both, around()), claims)
    assert [(each.hardware, each.server) for each in found.answerers] == [("02:00:00:00:00:11", RS1)]
    assert [each.answers_arp for each in found.servers] == [True, False]


@pytest.mark.parametrize(
    ("fields", "question"),
    [
        ({}, EchoQuestion(RS1, VIP, interface="servers")),
        ({"forward": "dr"}, EchoQuestion(RS1, "198.51.100.1", VIP, "servers", "02:00:00:00:00:11")),
        ({"forward": "tun", "tunnel": "gre"}, EchoQuestion(RS1, "198.51.100.1", VIP, tunnel="gre")),
    ],
)
def test_each_method_has_its_echo_request(fields: dict[str, str], question: EchoQuestion) -> None:
    one = [service(server(**fields))]
    asked = echo_questions(one, around())
    assert asked == [EchoQuestion(RS1, ""), question]
    (found,) = with_echoes(one, asked, EchoAnswers(frozenset(asked[:1]), frozenset()))
    assert (found.servers[0].echoes.plain, found.servers[0].echoes.through) == (True, False)
    (found,) = with_echoes(one, asked, EchoAnswers(frozenset(asked), frozenset()))
    assert found.servers[0].echoes.through is True


@pytest.mark.parametrize(
    "one",
    [
        service(server("2001:db8::11"), address="2001:db8::100", family="ipv6"),
        service(server(way=Way(interface="lo", is_local=True))),
        service(server(forward="dr", hardware="")),
        service(server(forward="fullnat")),
        service(server(), address="198.51.100.100"),
        service(server(), address="", fwmark=7),
        service(server(forward="dr", way=Way(interface="servers", source=VIP))),
    ],
    ids=["ipv6", "here", "no hardware", "fullnat", "one-armed", "mark", "source is the service's"],
)
def test_nobody_is_asked_where_an_answer_would_prove_nothing(one: Service) -> None:
    assert echo_questions([one], around(vip=one.address if one.family == "ipv4" and one.address else VIP)) == []


def test_an_arp_request_has_the_form_of_rfc_826() -> None:
    request = on_the_wire._request(SERVERS, RS1, around())
    assert request.hex() == "0001080006040001020000000002" + socket.inet_aton("198.51.100.1").hex() + (
        "000000000000" + socket.inet_aton(RS1).hex()
    )
    assert on_the_wire._request(CLIENTS, "203.0.113.9", around())[14:18] == bytes(4)  # RFC 5227: an address of nobody


def test_only_answers_to_arp_count() -> None:
    answer = struct.pack(
        "!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 2, b"\2\0\0\0\0\x11", socket.inet_aton(VIP), bytes(6), bytes(4)
    )
    assert on_the_wire._claim(answer) == Claim(VIP, "02:00:00:00:00:11")
    assert on_the_wire._claim(answer[:7] + b"\1" + answer[8:]) is None
    assert on_the_wire._claim(answer[:20]) is None


def test_checksums_are_those_of_rfc_1071() -> None:
    packet = on_the_wire._packet("198.51.100.1", VIP, b"abc")
    words = struct.unpack("!10H", packet[:20])
    assert sum(words) % 0xFFFF == 0
    assert (packet[0], packet[9], len(packet)) == (0x45, 1, 23)


def reply(source: str, number: int, sequence: int) -> bytes:
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 1, 0, socket.inet_aton(source), bytes(4))
    return header + struct.pack("!BBHHH", 0, 0, 0, number, sequence)


def test_replies_are_recognised_by_their_number_and_sender() -> None:
    assert list(on_the_wire._replied(reply(VIP, 77, 3), 77)) == [3]
    assert list(on_the_wire._replied(reply(VIP, 78, 3), 77)) == []
    assert list(on_the_wire._replied(b"", 77)) == []
    assert list(on_the_wire._replied(reply(VIP, 77, 3)[:24], 77)) == []
    by_nat = EchoQuestion(RS1, VIP, interface="servers")
    assert on_the_wire._is_from(by_nat, reply(RS1, 77, 3), "servers")
    assert not on_the_wire._is_from(by_nat, reply(RS1, 77, 3), "clients")  # another way back
    assert not on_the_wire._is_from(by_nat, reply(RS2, 77, 3), "servers")
    by_dr = EchoQuestion(RS1, "198.51.100.1", VIP, "servers", "02:00:00:00:00:11")
    assert on_the_wire._is_from(by_dr, reply(VIP, 77, 3), "clients")


def test_a_refused_tunnel_is_recognised_by_what_is_quoted() -> None:
    quoted = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 60, 0, 0, 64, 47, 0, bytes(4), socket.inet_aton(RS1))
    answer = reply(RS1, 0, 0)[:20] + struct.pack("!BBHI", 3, 2, 0, 0) + quoted
    asked = EchoQuestion(RS1, "198.51.100.1", VIP, tunnel="gre")
    assert on_the_wire._refuses(answer, asked)
    assert not on_the_wire._refuses(answer, asked._replace(tunnel="ipip"))
    assert not on_the_wire._refuses(answer, asked._replace(server=RS2))
    assert not on_the_wire._refuses(answer[:30], asked)


def test_services_are_placed_in_this_hosts_network() -> None:
    """On the loopback interface, whose addresses every host has."""
    found = Around(
        (LO,), (Own("127.0.0.1", ipaddress.ip_network("127.0.0.0/8"), LO),), {(1, "x"): Entry(1, "x", "", "")}
    )
    (placed,) = located([service(server("127.0.0.1"), address="127.0.0.1")], found)
    assert placed.is_here
    assert placed.servers[0].is_here
