"""The keys of dns checks: what is read and what is refused."""

import pytest

from lvs_healthd.config.check_model import Carrier, DnsCheck
from tests.config.reading import checks_of, errors_of, service


def test_keys_are_read_and_types_and_codes_are_spelled_the_usual_way() -> None:
    (found,) = checks_of(
        service(
            check='{ type = "dns", query = ".", query_type = "ns", over = "tls", rcode = ["noerror", "NXDOMAIN"], '
            'sni = "dns.example", min_answers = 13 }'
        )
    )
    assert isinstance(found, DnsCheck)
    assert (found.query, found.query_type, found.over, found.port) == (".", "NS", Carrier.TLS, 80)
    assert (found.rcode, found.tls.sni, found.min_answers) == (("NOERROR", "NXDOMAIN"), "dns.example", 13)


NO_TYPE = ".query_type: expected a type of record that can be asked for, such as A, AAAA, SOA, NS or TXT"


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ("", [': query is missing: the name to ask for, as in query = "example.org"']),
        (
            'query = "a..b"',
            ['.query: expected a domain name such as "example.org", or "." for the root, got "a..b"'],
        ),
        ('query = ""', ['.query: expected a domain name such as "example.org", or "." for the root, got ""']),
        (
            f'query = "{"a" * 64}.org"',
            [f'.query: expected a domain name such as "example.org", or "." for the root, got "{"a" * 64}.org"'],
        ),
        (
            'query = ".", query_type = "AXFR"',
            [f'{NO_TYPE}, got "AXFR"'],
        ),
        (
            'query = ".", query_type = "B"',
            [f'{NO_TYPE}, got "B"'],
        ),
        (
            'query = ".", rcode = "BADVERS"',
            ['.rcode: expected an answer code such as NOERROR or NXDOMAIN, got "BADVERS"'],
        ),
        ('query = ".", rcode = ["OK"]', ['.rcode[0]: expected an answer code such as NOERROR or NXDOMAIN, got "OK"']),
        ('query = ".", ca = ""', ['.ca: this check uses no TLS; write over = "tls"']),
        ('query = ".", over = "dot"', ['.over: expected udp, tcp or tls, got "dot"']),
        (
            'query = ".", send = "a"',
            [".send: dns checks have no such key; it belongs to tcp, udp and agent checks; leave it out"],
        ),
    ],
)
def test_dns_check_that_cannot_be(keys: str, messages: list[str]) -> None:
    expected = [f'c.toml:4: service "web": check{message}' for message in messages]
    assert errors_of(service(check=f'{{ type = "dns", {keys} }}' if keys else '{ type = "dns" }')) == [
        each.replace("check: query", "check.type: query") for each in expected
    ]


def test_query_may_come_from_the_service_s_check() -> None:
    servers = '[{ address = "198.51.100.11", check = { query_type = "SOA" } }]'
    (found,) = checks_of(service(check='{ type = "dns", query = "example.org" }', servers=servers))
    assert isinstance(found, DnsCheck)
    assert (found.query, found.query_type) == ("example.org", "SOA")


def test_over_udp_a_check_of_a_virtual_service_decides_about_itself() -> None:
    text = '[[service]]\naddress = "192.0.2.1:53"\nprotocol = "udp"\nreal_server = ["198.51.100.1"]\n'
    check = '[service.check]\ntype = "dns"\nquery = "example.org"\naddress = "192.0.2.1"\n'
    (error,) = errors_of(text + check)
    assert "decide about itself" in error
    errors_over_tcp = text + check + 'over = "tcp"\n'
    assert len(checks_of(errors_over_tcp)) == 1
