"""Parsers for the values of HTTP checks: parts of the request, and conditions on the answer (RFC 9110, RFC 9112).

Values go onto the wire as the operator wrote them, so the parsers reject anything that could end a line or a header.
"""

import ipaddress
import re
from collections.abc import Mapping

from lvs_healthd.config.basics import Endpoint
from lvs_healthd.config.errors import Problem, WrongValueError, expected, show
from lvs_healthd.config.patterns import MOST_STEPS, answer_pattern
from lvs_healthd.config.secrecy import HIDDEN, is_secret, without_secrets
from lvs_healthd.config.shapes import Shape, shaped, with_shape
from lvs_healthd.config.values import anything, listed, string

MOST_HEADER_BYTES = 65536
"""The maximum number of bytes that a probe reads besides the body. 64 KiB is enough, because common servers set lower
limits for headers (nginx 32 KiB, Apache 8 KiB)."""

MOST_REQUESTS = 64
"""The maximum number of requests of a check."""
DEFAULT_PORT = {"http": 80, "https": 443}
"""The port of each scheme, which a Host header leaves out."""
LONGEST_SERVICE = 1024
"""The longest name of a gRPC service, characters."""

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, 5.6.2
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_FIELD_VALUE = re.compile(r"[\t\x20-\x7e]*")
# A label has 1 to 63 characters (RFC 1035, 2.3.4). Python's TLS also rejects longer ones, but only at the first probe.
_NAME = r"(?=[^:]{1,253}(?::|$))[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?"
_HOST = re.compile(rf"(?:{_NAME}|\[([0-9A-Fa-f:.]+)\])(?::([0-9]{{1,5}}))?")
_DIGESTS = {"sha256": 64, "md5": 32}
"""The kinds of digests, and how many hexadecimal digits each has."""
_DIGEST = re.compile("|".join(rf"{kind}:[0-9a-f]{{{length}}}" for kind, length in _DIGESTS.items()))
_VERSIONS = ("1.1", "1.0", "2")
_STATUS_RANGE = re.compile(r"([0-9]{3})(?:-([0-9]{3}))?")
_TABLE_OF_STRINGS: dict[str, object] = {"type": "object", "additionalProperties": {"type": "string"}}
_RESERVED_HEADERS = {
    "host": "it has a key of its own: host",
    "connection": "the probe sets it itself",
    "content-length": "the probe sets it from send_body",
    "transfer-encoding": "the probe sends its body whole",
}


@shaped("an HTTP method such as GET or HEAD", type="string", pattern="^[^a-z]+$")
def method(value: object) -> str:
    """Parse a request method."""
    text = string(value)
    if not _TOKEN.fullmatch(text):
        raise expected("an HTTP method such as GET or HEAD", value)
    if text != text.upper():
        raise expected("an HTTP method such as GET or HEAD", value, f"methods are in capitals: {show(text.upper())}")
    return text


@shaped('"1.1", "1.0" or "2"', enum=list(_VERSIONS))
def http_version(value: object) -> str:
    """Parse the version of a request."""
    if not isinstance(value, str) or value not in _VERSIONS:
        known = isinstance(value, float | int) and str(value) in _VERSIONS
        raise expected('"1.1", "1.0" or "2"', value, f'in quotes: "{value}"' if known else "")
    return value


@shaped('a path that starts with "/"', type="string", pattern="^/[^#]*$")
def request_target(value: object) -> str:
    """Parse a path, with or without a query."""
    text = string(value)
    what, shown = 'a path that starts with "/"', without_secrets(text)
    if not text.startswith("/"):
        scheme, _, rest = shown.partition("://")
        only = f"only the path: {show('/' + rest.partition('/')[2])}" if scheme in {"http", "https"} else ""
        raise expected(what, shown, only)
    if not _VISIBLE.fullmatch(text):
        raise expected(f"{what}, without blanks, control or non-ASCII characters", shown, "percent-encode them")
    if "#" in text:
        raise expected(f"{what}, without a fragment (#…): servers never see it", shown)
    return text


@shaped("a host name or address, with or without a port", type="string")
def host(value: object) -> str:
    """Parse a Host header: a name or an address, with or without a port. Empty means the default."""
    text = string(value)
    what = "a host name or address, with or without a port"
    match = _HOST.fullmatch(text)
    if text and match is None:
        raise expected(what, value, "" if text.isascii() else "write an international name in its xn-- form")
    if match and match[1] is not None and not _is_ip(match[1]):
        raise expected(what, value)
    if match and match[2] is not None and not 1 <= int(match[2]) <= 65535:
        raise expected("a port of 1..65535 after the host", value)
    return text


@shaped("the name of a service", type="string", maxLength=LONGEST_SERVICE)
def grpc_service(value: object) -> str:
    """Parse the name of a service of gRPC. Empty means the server as a whole."""
    text = string(value)
    if not text.isprintable() or len(text) > LONGEST_SERVICE:
        raise expected(f"the name of a service, of at most {LONGEST_SERVICE} printable characters", value)
    return text


def host_name(host_header: str) -> str:
    """Return the host name in a Host header.

    Empty when the header has an IP address, which is not a name in TLS (RFC 6066, 3).
    """
    if host_header.startswith("["):
        return ""
    name = host_header.partition(":")[0].rstrip(".")
    return "" if _is_ip(name) else name


@shaped("a host name without a port", type="string")
def server_name(value: object) -> str:
    """Parse the server name to request and verify with TLS. Empty means the default."""
    text = string(value)
    match = _HOST.fullmatch(text)
    if text and not _is_ip(text) and (match is None or ":" in text or text.endswith(".")):
        raise expected("a host name without a port", value)
    return text


@shaped('a table such as { Accept = "text/plain" }', **_TABLE_OF_STRINGS)
def headers(value: object) -> tuple[tuple[str, str], ...]:
    """Parse a table of request headers."""
    return _header_table(value, 'a table such as { Accept = "text/plain" }', _RESERVED_HEADERS)


@shaped('a table such as { X-Ready = "yes" }', **_TABLE_OF_STRINGS)
def expect_headers(value: object) -> tuple[tuple[str, str], ...]:
    """Parse a table of headers that the answer must have, and their values."""
    return _header_table(value, 'a table such as { X-Ready = "yes" }', {})


@shaped("a table such as { Server = '^nginx/' }", **_TABLE_OF_STRINGS)
def expect_headers_regex(value: object) -> tuple[tuple[str, str], ...]:
    """Parse a table of headers that the answer must have, and regular expressions for their values."""
    table = _header_table(value, "a table such as { Server = '^nginx/' }", {}, is_sent=False)
    problems = []
    for name, text in table:
        try:
            steps = answer_pattern(text).size * MOST_HEADER_BYTES
        except WrongValueError as error:
            problems += [Problem((name, *problem.at), problem.message) for problem in error.problems]
            continue
        if steps > MOST_STEPS:
            message = "this expression could hold up all probes while it searches the headers of an answer; shorten it"
            problems.append(Problem((name,), message))
    if problems:
        raise WrongValueError(*problems)
    return table


def _header_table(
    value: object, what: str, reserved: Mapping[str, str], *, is_sent: bool = True
) -> tuple[tuple[str, str], ...]:
    """Parse a table of headers.

    what: what to expect, for the error message.
    reserved: the headers that the table may not have, in lower case, and the reason.
    is_sent: whether the values are those on the wire, and not expressions.
    """
    if not isinstance(value, dict):
        raise expected(what, value)
    problems, names = [], set()
    for name, content in value.items():
        lower = name.lower()
        shown = HIDDEN if is_secret(name) else content
        if not _TOKEN.fullmatch(name):
            problems.append(Problem((name,), "not a header name: letters, digits and hyphens only"))
        elif lower in reserved:
            problems.append(Problem((name,), f"this header cannot be set here: {reserved[lower]}"))
        elif lower in names:
            problems.append(Problem((name,), "this header is already set; capitals make no difference"))
        if not isinstance(content, str):
            problems += expected("a string", shown, at=(name,)).problems
        elif is_sent and not _FIELD_VALUE.fullmatch(content):
            problems += expected("printable ASCII characters on one line", shown, at=(name,)).problems
        names.add(lower)
    if problems:
        raise WrongValueError(*problems)
    return tuple(value.items())


@shaped("a user name", type="string", pattern="^[^:]*$")
def user(value: object) -> str:
    """Parse a user name for Basic authentication. Empty means none."""
    text = string(value)
    if ":" in text or not text.isprintable():
        raise expected("a user name without colons and control characters", value)
    return text


@shaped('"sha256:" and 64 hexadecimal digits, or "md5:" and 32', type="string")
def digest(value: object) -> str:
    """Parse the digest of a body, and return it in lower case. Empty means none."""
    text = string(value).lower()
    if text and not _DIGEST.fullmatch(text):
        kind = next((kind for kind, length in _DIGESTS.items() if re.fullmatch(rf"[0-9a-f]{{{length}}}", text)), "")
        raise expected(
            '"sha256:" and 64 hexadecimal digits, or "md5:" and 32',
            value,
            f"write {show(f'{kind}:{text}')}" if kind else "",
        )
    return text


def _status_range(value: object) -> tuple[int, int]:
    what = 'a status such as 204 or "301", or a range such as "200-299", within 100..599'
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1000 else value
    match = _STATUS_RANGE.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise expected(what, value)
    first = int(match[1])
    last = int(match[2] or match[1])
    if not 100 <= first <= last <= 599:
        raise expected(what, value, "the lower end comes first" if first > last else "")
    return first, last


with_shape(
    _status_range,
    Shape(
        schema={
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": f"^{_STATUS_RANGE.pattern}$"},
            ]
        },
        words='a status such as 204, or a range such as "200-299"',
        write=lambda span: f"{span[0]}-{span[1]}" if span[0] < span[1] else str(span[0]),
    ),
)

status = listed(_status_range, 'a list such as ["200-299", "301"]')
"""Parse a list of accepted status codes and ranges."""


@shaped("a list of requests", type="array", minItems=1, maxItems=MOST_REQUESTS)
def request_list(value: object) -> tuple[object, ...]:
    """Parse a list of requests, but not the requests themselves."""
    found = listed(anything, 'a list of requests such as [{ path = "/a" }, { path = "/b" }]')(value)
    if len(found) > MOST_REQUESTS:
        raise WrongValueError(Problem((MOST_REQUESTS,), f"more than {MOST_REQUESTS} requests"))
    return found


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_header(endpoint: Endpoint, default_port: int) -> str:
    """Format an endpoint as a Host header: without the port when it is the scheme's default (RFC 9110, 7.2)."""
    bare = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    return bare if endpoint.port == default_port else str(endpoint)
