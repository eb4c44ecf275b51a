from pathlib import Path

import pytest
import trustme

from lvs_healthd.config import http_values
from lvs_healthd.config.check_model import HttpCheck, HttpsCheck
from lvs_healthd.config.errors import WrongValueError
from tests.config.reading import checks_of, errors_of, service

STATUS = 'expected a status such as 204 or "301", or a range such as "200-299", within 100..599'
PATH = 'expected a path that starts with "/"'
ENCODE = "without blanks, control or non-ASCII characters"


def http(keys: str, kind: str = "http") -> str:
    return service(check=f'{{ type = "{kind}", {keys} }}')


def check_of(text: str) -> HttpCheck:
    [check] = checks_of(text)
    assert isinstance(check, HttpCheck)
    return check


def test_everything_of_a_request_is_read() -> None:
    keys = """method = "POST", path = "/a?b=c%20d", host = "www.example.org:8080", status = ["200-299", "301", 404],
        headers = { Accept = "text/plain", X-Empty = "" }, body_regex = 'ok\\d', max_body = 1"""
    check = check_of(http(keys.replace("\n", "")))
    assert (check.method, check.path, check.host) == ("POST", "/a?b=c%20d", "www.example.org:8080")
    assert check.status == ((200, 299), (301, 301), (404, 404))
    assert check.headers == (("Accept", "text/plain"), ("X-Empty", ""))
    assert (check.body, check.body_regex, check.max_body) == ("", r"ok\d", 1)


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ('method = "GE T"', ['method: expected an HTTP method such as GET or HEAD, got "GE T"']),
        ('method = "GET\\r\\nX"', ['method: expected an HTTP method such as GET or HEAD, got "GET\\r\\nX"']),
        (
            'method = "get"',
            ['method: expected an HTTP method such as GET or HEAD, got "get"; methods are in capitals: "GET"'],
        ),
        ('path = "healthz"', [f'path: {PATH}, got "healthz"']),
        ('path = ""', [f'path: {PATH}, got ""']),
        ('path = "/a b"', [f'path: {PATH}, {ENCODE}, got "/a b"; percent-encode them']),
        (
            'path = "/ HTTP/1.1\\r\\nX: y"',
            [f'path: {PATH}, {ENCODE}, got "/ HTTP/1.1\\r\\nX: y"; percent-encode them'],
        ),
        ('path = "/é"', [f'path: {PATH}, {ENCODE}, got "/é"; percent-encode them']),
        ('path = "/a#b"', [f'path: {PATH}, without a fragment (#…): servers never see it, got "/a#b"']),
        ('host = "a\\nb"', ['host: expected a host name or address, with or without a port, got "a\\nb"']),
        ('host = "a/b"', ['host: expected a host name or address, with or without a port, got "a/b"']),
        ('host = "[1.2.3]"', ['host: expected a host name or address, with or without a port, got "[1.2.3]"']),
        (
            'host = "bücher.example"',
            [
                (
                    "host: expected a host name or address, with or without a port, "
                    'got "bücher.example"; write an international name in its xn-- form'
                )
            ],
        ),
        ('host = "a:0"', ['host: expected a port of 1..65535 after the host, got "a:0"']),
        ("status = 200", ['status: expected a list such as ["200-299", "301"], got 200']),
        ("status = []", ['status: expected a list such as ["200-299", "301"], got an empty array']),
        (
            'status = ["2xx", 99, 600, "200-", "299-200", true, 200.0]',
            [
                f'status[0]: {STATUS}, got "2xx"',
                f"status[1]: {STATUS}, got 99",
                f"status[2]: {STATUS}, got 600",
                f'status[3]: {STATUS}, got "200-"',
                f'status[4]: {STATUS}, got "299-200"; the lower end comes first',
                f"status[5]: {STATUS}, got true",
                f"status[6]: {STATUS}, got 200.0",
            ],
        ),
        ('headers = ["a"]', ['headers: expected a table such as { Accept = "text/plain" }, got an array']),
        (
            'headers = { "a b" = "", "x:" = "c", y = 1, z = "1\\r\\nq: 2", w = "é", "" = "" }',
            [
                'headers."a b": not a header name: letters, digits and hyphens only',
                'headers."x:": not a header name: letters, digits and hyphens only',
                "headers.y: expected a string, got 1",
                'headers.z: expected printable ASCII characters on one line, got "1\\r\\nq: 2"',
                'headers.w: expected printable ASCII characters on one line, got "é"',
                'headers."": not a header name: letters, digits and hyphens only',
            ],
        ),
        (
            'headers = { Host = "a", CONNECTION = "close", Content-Length = "1", Transfer-Encoding = "chunked" }',
            [
                "headers.Host: this header cannot be set here: it has a key of its own: host",
                "headers.CONNECTION: this header cannot be set here: the probe sets it itself",
                "headers.Content-Length: this header cannot be set here: the probe sets it from send_body",
                "headers.Transfer-Encoding: this header cannot be set here: the probe sends its body whole",
            ],
        ),
        (
            'headers = { Accept = "a", accept = "b" }',
            ["headers.accept: this header is already set; capitals make no difference"],
        ),
        ('method = "HEAD", body = "ok"', ["body: the answer to HEAD has no body; use GET"]),
        ('body = "a", body_regex = "a"', ["body_regex: body and body_regex exclude each other; keep one of them"]),
        ("max_body = 16777217", ["max_body: expected 1..16777216, got 16777217"]),
        (
            'sni = "a"',
            ["sni: http checks have no such key; it belongs to https, tcp, dns and grpc checks; leave it out"],
        ),
        ('send = "a"', ["send: http checks have no such key; it belongs to tcp, udp and agent checks; leave it out"]),
    ],
)
def test_what_must_not_go_into_a_request(keys: str, messages: list[str]) -> None:
    assert errors_of(http(keys)) == [f'c.toml:4: service "web": check.{message}' for message in messages]


@pytest.mark.parametrize(
    ("kind", "address", "servers", "host"),
    [
        ("http", 'address = "192.0.2.100:80"', '["198.51.100.11"]', "192.0.2.100"),
        ("http", 'address = "192.0.2.100:443"', '["198.51.100.11"]', "192.0.2.100:443"),
        ("https", 'address = "192.0.2.100:443"', '["198.51.100.11"]', "192.0.2.100"),
        ("https", 'address = "192.0.2.100:80"', '["198.51.100.11"]', "192.0.2.100:80"),
        ("http", 'address = "[2001:db8::1]:80"', '["[2001:db8::2]"]', "[2001:db8::1]"),
        ("http", 'address = "[2001:db8::1]:8080"', '["[2001:db8::2]"]', "[2001:db8::1]:8080"),
        ("http", "fwmark = 7", '["198.51.100.11"]', "198.51.100.11:8080"),
    ],
)
def test_host_is_what_a_client_would_send(kind: str, address: str, servers: str, host: str) -> None:
    check = f'{{ type = "{kind}", port = 8080 }}'
    assert check_of(service(address, check=check, servers=servers)).host == host


@pytest.mark.parametrize(
    ("keys", "sni"),
    [
        ('host = "www.example.org"', "www.example.org"),
        ('host = "www.example.org.:8443"', "www.example.org"),
        ('host = "www.example.org", sni = "a.example"', "a.example"),
        ('host = "www.example.org", sni = "203.0.113.1"', "203.0.113.1"),
        ('host = "192.0.2.1:8443"', ""),
        ('host = "[2001:db8::1]"', ""),
        ("", ""),
    ],
)
def test_server_name_is_the_hosts_where_that_is_a_name(keys: str, sni: str) -> None:
    check = check_of(http(keys, "https"))
    assert isinstance(check, HttpsCheck)
    assert (check.tls.sni, check.tls.verify, check.tls.ca) == (sni, True, "")


@pytest.mark.parametrize("name", ["a:443", "a.", "a b", "[::1]"])
def test_wrong_server_name(name: str) -> None:
    assert errors_of(http(f'sni = "{name}"', "https")) == [
        f'c.toml:4: service "web": check.sni: expected a host name without a port, got "{name}"'
    ]


def test_ca_file_is_looked_into(tmp_path: Path) -> None:
    good, empty, garbage = tmp_path / "ca.pem", tmp_path / "empty.pem", tmp_path / "garbage.pem"
    trustme.CA().cert_pem.write_to_path(str(good))
    empty.touch()
    garbage.write_bytes(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    check = check_of(http(f'ca = "{good}"', "https"))
    assert isinstance(check, HttpsCheck)
    assert check.tls.ca == str(good)
    for path, message in (
        (empty, f"no PEM certificate in {empty}"),
        (garbage, f"no PEM certificate in {garbage}"),
        (tmp_path / "none", f"cannot read {tmp_path}/none: No such file or directory"),
        (tmp_path, f"cannot read {tmp_path}: Is a directory"),
        ("ca.pem", 'expected an absolute path, got "ca.pem"'),
    ):
        assert errors_of(http(f'ca = "{path}"', "https")) == [f'c.toml:4: service "web": check.ca: {message}']


@pytest.mark.parametrize(
    "name", ["www..example.com", ".example.com", "a" * 64 + ".example", ".".join(["a" * 60] * 5), "example..", "a b"]
)
def test_names_that_tls_cannot_take_are_refused_before_the_daemon_tries_them(name: str) -> None:
    """Python's TLS rejects these names at the first probe, long after the file was accepted."""
    with pytest.raises(WrongValueError):
        http_values.server_name(name)
    with pytest.raises(WrongValueError):
        http_values.host(name)
    for good in ("www.example.com", "a" * 63 + ".example", "xn--bcher-kva.example", "under_score.example"):
        assert http_values.server_name(good) == good
        assert http_values.host(f"{good}:8443") == f"{good}:8443"
