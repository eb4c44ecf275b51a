"""Redirects that an http check follows, and those that it does not."""

from pathlib import Path

import pytest
import trustme

from lvs_healthd.config.basics import Seconds
from lvs_healthd.config.check_model import HttpCheck, HttpsCheck, Tls
from lvs_healthd.probes import http_redirects
from lvs_healthd.probes.exchange import Step
from lvs_healthd.probes.http import http_exchanges, request_bytes
from lvs_healthd.probes.outcome import Outcome, Reason, down, unsure
from tests.probes.http_talk import PASSED, answer, check, found, pieces_of
from tests.probes.nginx import nginx


def redirect(location: str, *headers: str, status: int = 301, body: bytes = b"moved") -> bytes:
    lines = [f"HTTP/1.1 {status} Moved", f"Location: {location}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def steps(asked: HttpCheck, *pieces: bytes) -> list[Step]:
    """Return the steps of a conversation, up to the outcome and without those that wait."""
    exchange = http_exchanges(asked)()
    taken = [exchange.connected()]
    for piece in pieces:
        step = exchange.received(piece)
        if step is not None:
            taken.append(step)
        if isinstance(step, Outcome):
            break
    return taken


def last(asked: HttpCheck, *pieces: bytes) -> str:
    step = steps(asked, *pieces)[-1]
    assert isinstance(step, Outcome)
    return step.detail


def test_request_asks_to_keep_the_connection() -> None:
    assert b"\r\nConnection: keep-alive\r\n" in request_bytes(check(redirects=1))
    assert b"\r\nConnection: close\r\n" in request_bytes(check())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("size", [1, 4096])
def test_redirect_is_followed_when_all_of_it_has_arrived(status: int, size: int) -> None:
    asked = check(redirects=1, path="/a/b", headers=(("X-Key", "1"),))
    whole = redirect("/c?d=e", status=status)
    assert len(steps(asked, *pieces_of(whole[:-1], size))) == 1
    first, second, outcome = steps(asked, *pieces_of(whole, size), answer(b""))
    assert (first, second) == (request_bytes(asked), request_bytes(asked, (), "/c?d=e"))
    assert isinstance(outcome, Outcome)
    assert outcome.detail == "status 200"


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/x", "/x"),
        ("http://web.example/x#part", "/x"),
        ("HTTP://WEB.example:80", "/"),
        ("//web.example/x", "/x"),
        ("c", "/a/c"),
        ("../c/?q", "/c/?q"),
        ("?q=1", "/a/b?q=1"),
    ],
)
def test_destination_is_on_the_same_server(location: str, path: str) -> None:
    asked = check(redirects=1, path="/a/b")
    assert steps(asked, redirect(location))[1] == request_bytes(asked, (), path)


@pytest.mark.parametrize(
    "location",
    [
        "https://web.example/x",
        "http://web.example:8080/x",
        "http://other.example/x",
        "//other.example/x",
        "http://[::1/x",
        "http://web.example:x/",
        "/a b",
        "/\xe4",
        "ftp://web.example/",
        "mailto:x@web.example",
    ],
)
def test_destination_elsewhere_is_shown_and_not_followed(location: str) -> None:
    answered = redirect("LOCATION").replace(b"LOCATION", location.encode("latin-1"))
    (_, outcome) = steps(check(redirects=5), answered)
    assert isinstance(outcome, Outcome)
    assert outcome.reason is Reason.BAD_STATUS
    assert outcome.detail.startswith("status 301 to ")
    assert outcome.detail.endswith(", which is elsewhere; a probe stays with http://web.example")


def test_host_with_a_port_is_another_one_than_without() -> None:
    asked = check(redirects=1, host="192.0.2.1:8080")
    assert steps(asked, redirect("http://192.0.2.1:8080/x"))[1] == request_bytes(asked, (), "/x")
    assert last(asked, redirect("http://192.0.2.1/x")).endswith("a probe stays with http://192.0.2.1:8080")


def test_no_more_redirects_are_followed_than_allowed() -> None:
    assert last(check(redirects=2), redirect("/1"), redirect("/2"), redirect("/3")) == (
        'status 301 to "/3", after 2 redirects'
    )


def test_last_answer_is_judged_and_a_failure_says_where() -> None:
    asked = check(redirects=1, body="ok")
    assert last(asked, redirect("/x"), answer(b"ok")) == PASSED
    assert last(asked, redirect("/x"), answer(b"no")) == (
        'expected text not in the body: "no" (after a redirect to "/x")'
    )
    assert last(asked, redirect("/x"), b"HTTP/1.1 404 No\r\n\r\n") == (
        'status 404, expected 200-299 (after a redirect to "/x")'
    )


def test_chunked_body_of_a_redirect_is_drained() -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /x\r\nTransfer-Encoding: chunked\r\n\r\n"
    asked = check(redirects=1)
    assert last(asked, head, b"2\r\nok\r\n0\r", b"\n\r\n", answer(b"")) == "status 200"
    assert last(asked, head, b"zz\r\n") == 'broken HTTP body: not the size of a chunk: "zz"'


def test_answer_to_head_has_no_body_to_drain() -> None:
    assert last(check(redirects=1, method="HEAD"), redirect("/x", body=b"")[:-2] + b"\r\n", answer(b"")) == "status 200"
    announced = redirect("/x").removesuffix(b"moved")
    assert last(check(redirects=1, method="HEAD"), announced, answer(b"")) == "status 200"


@pytest.mark.parametrize(
    "answered",
    [
        redirect("/x", "Connection: Close"),
        redirect("/x", "Connection: upgrade,close"),
        b"HTTP/1.0 301 Moved\r\nLocation: /x\r\n\r\nmoved",
    ],
)
def test_server_that_closes_the_connection_ends_the_probe(answered: bytes) -> None:
    assert last(check(redirects=1), answered) == (
        'status 301 to "/x", and the server closes the connection, which ends a probe; set path to "/x"'
    )


def test_server_that_closes_without_a_word_ends_the_probe() -> None:
    exchange = http_exchanges(check(redirects=1))()
    assert isinstance(exchange.received(redirect("/x")), bytes)
    outcome = exchange.closed()
    assert (outcome.reason, outcome.detail) == (
        Reason.CLOSED_EARLY,
        'connection closed after a redirect to "/x"; set path to "/x"',
    )


def test_redirect_that_breaks_off() -> None:
    exchange = http_exchanges(check(redirects=1))()
    assert exchange.received(redirect("/x")[:-1]) is None
    assert exchange.closed().detail == "connection closed within an answer that redirects"
    assert exchange.expired("1s").detail == "an answer that redirects is incomplete after 1s"
    reset = down(Reason.RESET, "reset")
    assert exchange.failed(reset).detail == "the connection was reset within an answer that redirects"
    ours = unsure(Reason.LOCAL_NETWORK, "no carrier")
    assert exchange.failed(ours) == ours
    exchange.end()


@pytest.mark.parametrize("coding", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
def test_body_of_a_redirect_has_the_limit_of_other_bodies(coding: str) -> None:
    head = f"HTTP/1.1 302 Found\r\nLocation: /x\r\n{coding}\r\n\r\n1000000;".encode()
    assert last(check(redirects=1, max_body=4096), head, *[b"x" * 512] * 9) == (
        "the body of a redirect is longer than max_body"
    )


def test_what_is_no_redirect_is_judged_as_ever() -> None:
    asked = check(redirects=1)
    assert last(asked, b"HTTP/1.1 301 Moved\r\n\r\n") == "status 301, expected 200-299"
    assert last(asked, b"HTTP/1.1 304 Same\r\nLocation: /x\r\n\r\n") == "status 304, expected 200-299"
    assert last(asked, b"HTTP/1.1 500 No\r\nLocation: /x\r\n\r\n") == "status 500, expected 200-299"
    assert last(check(redirects=1, status=((301, 301),)), redirect("/x")) == "status 301"
    assert last(check(), redirect("/x")) == "status 301, expected 200-299"


def test_secrets_in_a_destination_are_hidden() -> None:
    asked = check(redirects=1, path="/?token=hunter2secret")
    assert last(asked, redirect("http://other/?token=abc")).startswith('status 301 to "http://other/?token=(hidden)"')
    assert last(asked, redirect("http://other/hunter2secret")).startswith('status 301 to "http://other/(hidden)"')


def test_only_the_beginning_of_a_destination_is_searched_for_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search takes time that grows with the square of the length: most of a second for the 60 KB of this one."""
    searched: list[int] = []

    def search(destination: str) -> str:
        searched.append(len(destination))
        return destination

    monkeypatch.setattr(http_redirects, "without_secrets", search)
    assert last(check(redirects=1), redirect("http://other/?" + "token" * 12_000)).endswith("with http://web.example")
    assert max(searched) < 1000


END = 'the connection, which ends a probe; set path to "/third"'
LOCATIONS = """
    location = / { return 302 /second; }
    location = /second { return 301 http://$http_host/third; }
    location = /third { return 200 ok; }
    location = /away { return 301 https://elsewhere.example/; }
    location = /closing { keepalive_timeout 0; return 301 /third; }
"""


async def test_real_server(tmp_path: Path) -> None:
    with nginx(tmp_path, LOCATIONS) as port:
        host = f"127.0.0.1:{port}"
        asked = [check(port=port, host=host, redirects=count, body="ok") for count in (2, 1)]
        asked += [check(port=port, host=host, redirects=2, path=path) for path in ("/away", "/closing")]
        details = await found(*asked)
    assert details == [
        PASSED,
        f'status 301 to "http://{host}/third", after 1 redirects',
        f'status 301 to "https://elsewhere.example/", which is elsewhere; a probe stays with http://{host}',
        f'status 301 to "http://{host}/third", and the server closes {END}',
    ]


async def test_real_server_over_tls(tmp_path: Path) -> None:
    trustme.CA().issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    keys = f"ssl_certificate {tmp_path}/server.pem; ssl_certificate_key {tmp_path}/server.pem;"
    with nginx(tmp_path, f"{keys} {LOCATIONS.replace('http:', 'https:')}", listen="ssl") as port:
        https = HttpsCheck(
            name="https",
            timeout=Seconds(10.0),
            address="127.0.0.1",
            port=port,
            host=f"127.0.0.1:{port}",
            tls=Tls(verify=False),
            redirects=2,
            body="ok",
        )
        assert await found(https) == [PASSED]
