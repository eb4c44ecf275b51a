"""Keys of http and https checks that do not fit together, and what is said about them."""

import pytest

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.effective import to_toml
from tests.config.reading import checks_of, errors_of, read, service


def errors(keys: str, *, kind: str = "http", defaults: str = "") -> list[str]:
    """Return the errors of a check, without the place of the check."""
    text = (f"[defaults.check]\n{defaults}\n" if defaults else "") + service(check=f'{{ type = "{kind}", {keys} }}')
    line = 6 if defaults else 4
    return [error.removeprefix(f'c.toml:{line}: service "web": check.') for error in errors_of(text)]


@pytest.mark.parametrize("key", ["body", "body_regex", "absent", "absent_regex", "json", "digest"])
def test_answer_to_head_has_no_body(key: str) -> None:
    value = {"json": "{ x = 1 }", "digest": f'"md5:{"0" * 32}"'}.get(key, '"x"')
    assert errors(f'method = "HEAD", {key} = {value}') == [f"{key}: the answer to HEAD has no body; use GET"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "TRACE", "CONNECT"])
def test_body_is_sent_only_by_methods_that_have_one(method: str) -> None:
    message = f'send_body: {method} sends no body; write method = "POST", or what the server expects'
    assert errors(f'method = "{method}", send_body = "x"') == [message]
    assert errors('send_body = "x"', defaults=f'method = "{method}"') == [message]


@pytest.mark.parametrize("method", ["POST", "OPTIONS"])
def test_only_get_and_head_are_redirected(method: str) -> None:
    message = f"redirects: only GET and HEAD are redirected, and this is {method}"
    assert errors(f'method = "{method}", redirects = 1') == [message]


def test_length_of_the_body_is_not_for_the_headers() -> None:
    assert errors('method = "POST", send_body = "x", headers = { Content-Length = "1" }') == [
        "headers.Content-Length: this header cannot be set here: the probe sets it from send_body"
    ]


WRONG_HEADERS = """expect_headers = { "a b" = "x", A = 1, Host = "x", host = "x", B = "a\\nb" }"""


@pytest.mark.parametrize(
    ("keys", "messages"),
    [
        ('expect_headers = "x"', ['expect_headers: expected a table such as { X-Ready = "yes" }, got "x"']),
        (
            WRONG_HEADERS,
            [
                'expect_headers."a b": not a header name: letters, digits and hyphens only',
                "expect_headers.A: expected a string, got 1",
                "expect_headers.host: this header is already set; capitals make no difference",
                'expect_headers.B: expected printable ASCII characters on one line, got "a\\nb"',
            ],
        ),
        (
            "expect_headers_regex = { A = '(', B = 'x{900}', C = 'ok' }",
            [
                "expect_headers_regex.A: not a regular expression: missing ): (",
                (
                    "expect_headers_regex.B: this expression could hold up all probes while it searches the headers of "
                    "an answer; shorten it"
                ),
            ],
        ),
    ],
)
def test_headers_of_the_answer_that_no_answer_can_have(keys: str, messages: list[str]) -> None:
    assert errors(keys) == messages


DIGEST = 'digest: expected "sha256:" and 64 hexadecimal digits, or "md5:" and 32, got '


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("sha1:" + "0" * 40, ""),
        ("md5:" + "0" * 31, ""),
        ("md5:" + "g" * 32, ""),
        ("0A" * 16, f'; write "md5:{"0a" * 16}"'),
        ("0" * 64, f'; write "sha256:{"0" * 64}"'),
    ],
)
def test_digest_that_is_none(value: str, message: str) -> None:
    assert errors(f'digest = "{value}"') == [f'{DIGEST}"{value}"{message}']


@pytest.mark.parametrize(
    ("value", "got"),
    [('"3"', '"3"'), ("1.0", '1.0; in quotes: "1.0"'), ('"HTTP/1.0"', '"HTTP/1.0"'), ("2", '2; in quotes: "2"')],
)
def test_version_that_no_request_has(value: str, got: str) -> None:
    assert errors(f"http_version = {value}") == [f'http_version: expected "1.1", "1.0" or "2", got {got}']


@pytest.mark.parametrize("name", ["TE", "Upgrade", "keep-alive"])
def test_headers_that_http_2_does_not_have(name: str) -> None:
    headers = f'headers = {{ {name} = "x" }}'
    assert errors(f'http_version = "2", {headers}') == [
        f'headers: HTTP/2 has no header "{name}", and servers refuse a request with it'
    ]
    assert errors('http_version = "2", requests = [{}]') == [
        'requests: several requests go over HTTP/1.1 only; leave http_version = "2" out'
    ]
    assert errors('http_version = "2", method = "CONNECT"')[0].startswith("method: over HTTP/2, CONNECT asks for")


def test_text_and_expression_exclude_each_other() -> None:
    assert errors('absent = "x", absent_regex = "y"') == [
        "absent_regex: absent and absent_regex exclude each other; keep one of them"
    ]


def test_two_expressions_together_must_not_hold_up_the_probes() -> None:
    """Each of them alone is allowed."""
    expression = "x{150}"
    size = 20000
    for key in ("body_regex", "absent_regex"):
        assert errors(f'{key} = "{expression}", max_body = {size}, rise = 0')[0].startswith("rise: ")
    (error,) = errors(f'body_regex = "{expression}", absent_regex = "{expression}", max_body = {size}')
    assert error.startswith(
        "absent_regex: body_regex and absent_regex together could hold up all probes with an answer of 20000 bytes; "
        "shorten them, or set max_body to at most "
    )


@pytest.mark.parametrize("key", ["body", "body_regex", "absent", "absent_regex", "json", "digest"])
def test_answer_that_opens_a_websocket_has_no_body(key: str) -> None:
    value = {"json": "{ x = 1 }", "digest": f'"md5:{"0" * 32}"'}.get(key, '"x"')
    message = f"{key}: the answer that opens a WebSocket has no body; expect_headers can look at its headers"
    assert errors(f"websocket = true, {key} = {value}") == [message]
    assert checks_of(service(check=f'{{ type = "http", websocket = false, {key} = {value} }}'))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('method = "POST"', "method: a WebSocket is opened with GET, and this is POST"),
        ('http_version = "1.0"', "http_version: HTTP/1.0 knows no WebSocket"),
        ('http_version = "2"', "http_version: WebSockets are opened over HTTP/1.1"),
        ("status = [200]", 'status: only 101 opens a WebSocket; leave status out, or write status = ["101"]'),
        ("redirects = 1", "redirects: websocket and redirects exclude each other; keep one of them"),
        (
            'headers = { Sec-WebSocket-Key = "x" }',
            'headers: with websocket the probe decides about "Sec-WebSocket-Key" itself',
        ),
        ('headers = { Upgrade = "h2c" }', 'headers: with websocket the probe decides about "Upgrade" itself'),
    ],
)
def test_check_that_opens_a_websocket_has_a_request_and_a_status_of_its_own(keys: str, message: str) -> None:
    assert errors(f"websocket = true, {keys}") == [message]
    assert errors(f"websocket = true, {keys}", kind="https") == [message]
    assert checks_of(service(check=f'{{ type = "http", {keys} }}'))


def test_websocket_belongs_to_http_and_https() -> None:
    assert errors("websocket = true", kind="tcp") == [
        "websocket: tcp checks have no such key; it belongs to http and https checks; leave it out"
    ]
    assert errors("websocket = 1") == ["websocket: expected true or false, got 1"]


@pytest.mark.parametrize("more", ["", ', status = ["101"]'])
def test_status_of_a_websocket_is_101(more: str) -> None:
    config = read(service(check=f'{{ type = "http", websocket = true{more} }}'))
    (check,) = config.services[0].real_servers[0].checks
    assert isinstance(check, HttpCheck)
    assert check.status == ((101, 101),)
    assert read(to_toml(config)) == config
