"""Certificates of one service's servers: whom the doctor asks, what it reads, and when it takes them for trouble."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.load import parse
from lvs_healthd.config.model import Config
from lvs_healthd.doctor import handshakes
from lvs_healthd.doctor.certificates import tls_questions, with_certificates
from lvs_healthd.doctor.handshakes import TlsQuestion, presented
from lvs_healthd.doctor.judging import judge
from lvs_healthd.doctor.services import services_of
from tests.doctor.seen import RS2, director, names, only, server, service

CONFIG = """
[[service]]
name = "web"
address = "192.0.2.100:443"
{check}
real_server = ["198.51.100.11:{port}", {{ address = "198.51.100.12:{port}", weight = 0 }}, "198.51.100.13:{port}"]
fallback = ["198.51.100.99:{port}"]
"""


def asked(check: str, port: int = 443, address: str = "192.0.2.100:443") -> set[tuple[str, int, str]]:
    config = parse(CONFIG.format(check=check, port=port).replace("192.0.2.100:443", address), "config.toml")
    return {(each.address, each.port, each.sni) for each in questions(config)}


def questions(config: Config) -> list[TlsQuestion]:
    return tls_questions(services_of(config, {}, None), config)


@pytest.mark.parametrize(
    ("check", "port", "address", "expected"),
    [
        ('check = { type = "https", host = "www.example.org" }', 443, "192.0.2.100:443", (443, "www.example.org")),
        ('check = { type = "https", host = "www.example.org" }', 8443, "192.0.2.100:443", (8443, "www.example.org")),
        ('check = { type = "tcp", steps = [{ starttls = true }] }', 993, "192.0.2.100:993", (993, "")),
        ('check = "tcp"', 443, "192.0.2.100:443", (443, "")),
        ('check = "tcp"', 8443, "192.0.2.100:443", (8443, "")),
        ('check = "tcp"', 80, "192.0.2.100:80", None),
        # It speaks TLS to something else than what clients meet.
        ('check = { type = "https", port = 9443, host = "status.example.org" }', 80, "192.0.2.100:80", None),
        ('check = { type = "https", address = "192.0.2.7", host = "a.example" }', 80, "192.0.2.100:80", None),
        # TLS begins only after a greeting.
        ('check = { type = "tcp", steps = [{ expect = "220" }, { starttls = true }] }', 25, "192.0.2.100:25", None),
        ('check = "udp"\nprotocol = "udp"', 443, "192.0.2.100:443", None),
    ],
)
def test_servers_that_clients_meet_by_tls_are_asked(
    check: str, port: int, address: str, expected: tuple[int, str] | None
) -> None:
    wanted = {"198.51.100.11", "198.51.100.13"} if expected else set()
    assert asked(check, port, address) == {(each, *expected) for each in wanted if expected}


def test_servers_of_a_mark_are_asked_on_the_checks_port() -> None:
    text = """
[[service]]
name = "web"
fwmark = 7
check = { type = "https", port = 443, host = "www.example.org" }
real_server = ["198.51.100.11", "2001:db8::11"]
""".replace(', "2001:db8::11"', "")
    assert [(each.server, each.port, each.sni) for each in questions(parse(text, "config.toml"))] == [
        ("198.51.100.11", 443, "www.example.org")
    ]


def test_no_more_than_some_are_asked() -> None:
    many = ", ".join(f'"198.51.100.{number}:443"' for number in range(1, 200))
    text = f'[[service]]\nname = "web"\naddress = "192.0.2.100:443"\ncheck = "tcp"\nreal_server = [{many}]\n'
    assert len(questions(parse(text, "config.toml"))) == 64


# ---- handshakes ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def answering(authority: trustme.CA, *identities: str) -> Iterator[int]:
    """Speak TLS with one client, with a certificate for these names. Return the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*identities).configure_cert(context)
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            accepted, _ = listening.accept()
            with contextlib.suppress(OSError), context.wrap_socket(accepted, server_side=True) as speaking:
                speaking.recv(1)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        thread.join(30)


def question(port: int, sni: str = "") -> TlsQuestion:
    return TlsQuestion("web", f"127.0.0.1:{port}", "127.0.0.1", port, sni)


def test_the_names_in_certificates_are_read_and_others_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    with (
        answering(authority, "Www.example.org", "*.example.net", "192.0.2.100", "2001:db8::100") as first,
        answering(authority, "other.example.org") as second,
        socket.create_server(("127.0.0.1", 0)) as silent,
        socket.socket() as closed,
    ):
        closed.bind(("127.0.0.1", 0))
        both = question(first, "www.example.org"), question(second)
        monkeypatch.setattr(handshakes, "PATIENCE_S", 2.0)
        nobody = question(silent.getsockname()[1]), question(closed.getsockname()[1])
        found = presented([*nobody, *both])
    assert found == {
        both[0]: ("www.example.org", "*.example.net", "192.0.2.100", "2001:db8::100"),
        both[1]: ("other.example.org",),
    }


def test_a_certificate_without_names_shows_none(tmp_path: Path) -> None:
    seen = director(service(server(port=443), server(RS2, port=443)))
    (found,) = with_certificates(seen.services, {question(1): ("a.example",)})
    assert [each.certified for each in found.servers] == [(), ()]


# ---- what it means ---------------------------------------------------------------------------------------------------


def test_certificates_for_different_names_are_found() -> None:
    seen = director(
        service(
            server(port=443, certified=("www.example.org", "example.org")),
            server(RS2, port=443, certified=("localhost",)),
        )
    )
    finding = only(seen)
    assert finding.name == "certificates-differ"
    assert finding.seen == (
        "198.51.100.11:443 shows a certificate for www.example.org, example.org, 198.51.100.12:443 one for localhost"
    )
    assert finding.server == "198.51.100.12:443"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (("www.example.org",), ("www.example.org",)),
        (("www.example.org", "a.example.org"), ("b.example.org", "www.example.org")),
        (("*.example.org",), ("www.example.org",)),
        (("www.example.org",), ("*.example.org", "localhost")),
        (("www.example.org",), ()),  # it showed none
        ((), ()),
    ],
)
def test_certificates_that_share_a_name_are_no_trouble(first: tuple[str, ...], second: tuple[str, ...]) -> None:
    seen = director(service(server(port=443, certified=first), server(RS2, port=443, certified=second)))
    assert judge(seen) == []


def test_a_wildcard_stands_for_one_label() -> None:
    deep = service(server(certified=("*.example.org",)), server(RS2, certified=("a.b.example.org",)))
    assert names(director(deep)) == ["certificates-differ"]
