"""`requests` of http and https checks: what each inherits, and what is said about their mistakes."""

import pytest

from lvs_healthd.config.check_model import HttpCheck, HttpsCheck
from lvs_healthd.config.effective import to_toml
from tests.config.reading import checks_of, errors_of, read, service


def of(keys: str, *, kind: str = "http", servers: str = '["198.51.100.11"]') -> HttpCheck:
    (check,) = checks_of(service(check=f'{{ type = "{kind}", {keys} }}', servers=servers))
    assert isinstance(check, HttpCheck)
    return check


def errors(keys: str, *, kind: str = "http", servers: str = '["198.51.100.11"]') -> list[str]:
    """Return the errors of a check, without the place of the check."""
    text = service(check=f'{{ type = "{kind}", {keys} }}', servers=servers)
    return [error.removeprefix('c.toml:4: service "web": check.') for error in errors_of(text)]


def test_each_request_inherits_the_keys_of_its_check() -> None:
    check = of('path = "/z", body = "ok", http_version = "1.0", requests = [{}, { path = "/b", body = "" }]')
    first, second = check.requests
    assert (first.path, first.body, first.http_version) == ("/z", "ok", "1.0")
    assert (second.path, second.body, second.http_version) == ("/b", "", "1.0")
    assert first.host == second.host == "192.0.2.100"
    assert {(each.name, each.address, each.port, each.requests) for each in check.requests} == {("", "", 0, ())}


def test_request_replaces_the_other_form_of_what_its_check_has() -> None:
    check = of("body = 'ok', absent_regex = 'x', requests = [{ body_regex = 'y' }, { absent = 'z' }]")
    assert [(each.body, each.body_regex) for each in check.requests] == [("", "y"), ("ok", "")]
    assert [(each.absent, each.absent_regex) for each in check.requests] == [("", "x"), ("z", "")]


def test_requests_of_an_https_check_have_its_name() -> None:
    check = of('host = "web.example", requests = [{ path = "/a" }, { host = "other.example:8443" }]', kind="https")
    assert isinstance(check, HttpsCheck)
    assert [type(each) for each in check.requests] == [HttpsCheck, HttpsCheck]
    assert [each.host for each in check.requests] == ["web.example", "other.example:8443"]
    assert check.tls.sni == "web.example"


def test_server_that_changes_a_key_changes_it_for_all_requests_that_inherit_it() -> None:
    servers = '[{ address = "198.51.100.11", check = { status = [204] } }]'
    check = of('requests = [{ path = "/a" }, { status = [404] }]', servers=servers)
    assert [each.status for each in check.requests] == [((204, 204),), ((404, 404),)]


def test_effective_configuration_shows_every_request_and_gives_the_same() -> None:
    keys = 'requests = [{ path = "/a?token=hunter2" }, { method = "POST", send_body = "x", json = { a = 1 } }]'
    config = read(service(check=f'{{ type = "https", verify = false, {keys} }}'))
    text = to_toml(config)
    assert "hunter2" not in text
    again = keys.replace("hunter2", "(hidden)")
    assert read(text) == read(service(check=f'{{ type = "https", verify = false, {again} }}'))


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        (
            "requests = []",
            ['requests: expected a list of requests such as [{ path = "/a" }, { path = "/b" }], got an empty array'],
        ),
        ('requests = ["/a"]', ['requests[0]: expected a table, got "/a"']),
        ("requests = [{}, { paht = '/' }]", ['requests[1].paht: unknown key; did you mean "path"?']),
        (
            "requests = [{ timeout = '1s' }]",
            ["requests[0].timeout: a key of the whole check, not of one of its requests"],
        ),
        (
            "requests = [{ path = 'a' }, { status = [99] }]",
            [
                'requests[0].path: expected a path that starts with "/", got "a"',
                (
                    'requests[1].status[0]: expected a status such as 204 or "301", or a range such as "200-299", '
                    "within 100..599, got 99"
                ),
            ],
        ),
        (
            "requests = [{ body = 'x', body_regex = 'x' }]",
            ["requests[0].body_regex: body and body_regex exclude each other; keep one of them"],
        ),
        (
            "requests = [{}, { send_body = 'x' }]",
            ['requests[1].send_body: GET sends no body; write method = "POST", or what the server expects'],
        ),
        ("body = 'x', requests = [{ method = 'HEAD' }]", ["requests[0]: the answer to HEAD has no body; use GET"]),
        (
            "redirects = 1, requests = [{ method = 'POST' }]",
            ["requests[0]: only GET and HEAD are redirected, and this is POST"],
        ),
        (
            "websocket = true, requests = [{}]",
            ["requests: websocket and requests exclude each other; keep one of them"],
        ),
        (
            "requests = [{ body_regex = 'x{900}', max_body = 1000000 }]",
            [
                (
                    "requests[0].body_regex: an answer of 1000000 bytes could make this expression hold up all probes; "
                    "shorten the expression, or set max_body to at most 5530"
                )
            ],
        ),
    ],
)
def test_mistake_names_the_request(keys: str, messages: list[str]) -> None:
    assert errors(keys) == messages


def test_mistake_that_a_server_makes_names_the_server_s_key() -> None:
    servers = '[{ address = "198.51.100.11", check = { method = "HEAD" } }]'
    text = service(check='{ type = "http", requests = [{ body = "x" }] }', servers=servers)
    assert errors_of(text) == ['c.toml:5: service "web": real_server[0].check: the answer to HEAD has no body; use GET']


def test_no_more_than_64_requests() -> None:
    assert errors(f"requests = [{', '.join(['{}'] * 65)}]") == ["requests[64]: more than 64 requests"]


def test_requests_belong_to_http_and_https() -> None:
    assert errors("requests = [{}]", kind="tcp") == [
        "requests: tcp checks have no such key; it belongs to http and https checks; leave it out"
    ]
