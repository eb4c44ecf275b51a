"""Values of an http or https check that do not fit together."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from lvs_healthd.config.check_model import HttpCheck
from lvs_healthd.config.errors import show
from lvs_healthd.config.json_fields import MOST_JSON_BYTES
from lvs_healthd.config.patterns import MOST_STEPS, answer_pattern

_OF_THE_BODY = ("body", "body_regex", "absent", "absent_regex", "json", "digest")
"""The fields with conditions on the answer's body."""

_SAFE = ("GET", "HEAD")
"""Methods that clients repeat at another place without asking anybody."""

WEBSOCKET_STATUS = ((101, 101),)
"""The status that opens a WebSocket: Switching Protocols (RFC 6455, section 4.1)."""

_OF_THE_HANDSHAKE = ("upgrade", "sec-websocket-key", "sec-websocket-version", "sec-websocket-extensions")
"""Headers that the probe of a WebSocket sends itself, or that would promise what it cannot do, in lower case."""

_MAX_BODY = next(field.default for field in msgspec.structs.fields(HttpCheck) if field.name == "max_body")

_OF_CONNECTIONS = ("keep-alive", "proxy-connection", "te", "upgrade")
"""Headers about one connection, which HTTP/2 does not have (RFC 9113, section 8.2.2). Others cannot be set anyway."""

_WITHOUT_CONTENT = ("GET", "HEAD", "DELETE", "CONNECT", "TRACE")
"""Methods whose requests have no content, or content without a meaning (RFC 9110, section 9.3). Some servers refuse it,
and others take it for the next request."""


def misfits(fields: Mapping[str, Any], wrong: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Yield the field and the message of every error in the combination of a check's values.

    fields: the values of the check, inherited ones too.
    wrong: the fields that were written with a wrong value. They count as set.
    """

    def has(field: str) -> bool:
        return field in wrong or bool(fields.get(field))

    yield from _credentials(fields, has("user"), has("password_file"), has("token_file"))
    method = fields.get("method", "GET")
    if has("send_body") and "method" not in wrong and method in _WITHOUT_CONTENT:
        yield "send_body", f'{method} sends no body; write method = "POST", or what the server expects'
    if has("redirects") and "method" not in wrong and method not in _SAFE:
        yield "redirects", f"only GET and HEAD are redirected, and this is {method}"
    if fields.get("http_version") == "2":
        yield from _over_http2(fields, method, has)
    largest = fields.get("max_body", 0)
    if has("json") and "max_body" not in wrong and largest > MOST_JSON_BYTES:
        yield "max_body", f"with json at most {MOST_JSON_BYTES}: decoding a larger document would hold up all probes"
    for field in _OF_THE_BODY:
        if method == "HEAD" and has(field):
            yield field, "the answer to HEAD has no body; use GET"
    if fields.get("websocket"):
        yield from _websocket(fields, method, has)
    if not wrong & {"body_regex", "absent_regex", "max_body"}:
        yield from _two_expressions(fields)


def _over_http2(fields: Mapping[str, Any], method: str, has: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    if has("requests"):
        yield "requests", 'several requests go over HTTP/1.1 only; leave http_version = "2" out'
    for name, _ in fields.get("headers", ()):
        if name.lower() in _OF_CONNECTIONS:
            yield "headers", f"HTTP/2 has no header {show(name)}, and servers refuse a request with it"
    if method == "CONNECT":
        yield "method", "over HTTP/2, CONNECT asks for a tunnel; use another method"


def _credentials(fields: Mapping[str, Any], user: bool, password: bool, token: bool) -> Iterator[tuple[str, str]]:  # noqa: FBT001
    if user and token:
        yield "user", 'a bearer token has no user: leave out token_file, or write user = ""'
    elif user and not password:
        yield "user", "without a password it does nothing; add password_file"
    elif password and not user:
        yield "password_file", "a password needs a user; add user, or use token_file for a bearer token"
    for name, _ in fields.get("headers", ()):
        if name.lower() == "authorization" and (password or token):
            key = "password_file" if password else "token_file"
            yield "headers", f"{show(name)} is already sent because of {key}; keep one of them"


def _websocket(fields: Mapping[str, Any], method: str, has: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """Yield what a check cannot have that opens a WebSocket."""
    if method != "GET":
        yield "method", f"a WebSocket is opened with GET, and this is {method}"
    if fields.get("http_version") == "2":
        yield "http_version", "WebSockets are opened over HTTP/1.1"
    elif fields.get("http_version", "1.1") != "1.1":
        yield "http_version", "HTTP/1.0 knows no WebSocket"
    if fields.get("status", WEBSOCKET_STATUS) != WEBSOCKET_STATUS:
        yield "status", 'only 101 opens a WebSocket; leave status out, or write status = ["101"]'
    for field in _OF_THE_BODY:
        if has(field):
            yield field, "the answer that opens a WebSocket has no body; expect_headers can look at its headers"
    for field in ("send_body", "redirects", "requests"):
        if has(field):
            yield field, f"websocket and {field} exclude each other; keep one of them"
    for name, _ in fields.get("headers", ()):
        if name.lower() in _OF_THE_HANDSHAKE:
            yield "headers", f"with websocket the probe decides about {show(name)} itself"


def _two_expressions(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Refuse two expressions that search the same body and together take longer than one may (see `MOST_STEPS`)."""
    written = [text for key in ("body_regex", "absent_regex") if (text := fields.get(key))]
    size = fields.get("max_body") or _MAX_BODY
    steps = sum(answer_pattern(text).size for text in written)
    if len(written) > 1 and steps * size > MOST_STEPS:
        message = f"body_regex and absent_regex together could hold up all probes with an answer of {size} bytes; "
        yield "absent_regex", f"{message}shorten them, or set max_body to at most {MOST_STEPS // steps}"
