"""Turns HTTP_GET and SSL_GET into http and https checks."""

import ipaddress
from typing import Any

from lvs_healthd.config.errors import WrongValueError
from lvs_healthd.config.patterns import answer_pattern
from lvs_healthd.importers.keepalived.records import Checker, Configuration, RealServer, Url, VirtualServer
from lvs_healthd.importers.keepalived.times import times
from lvs_healthd.importers.keepalived.told import Told

_MAX_BODY = 1 << 20
"""Bytes: how long a body with a digest may be."""

_FLAGS = {"caseless": "i", "multiline": "m", "ungreedy": "U"}
_HARMLESS = frozenset(
    [
        "auto_callout",
        "dupnames",
        "never_ucp",
        "never_utf",
        "no_auto_capture",
        "no_auto_possess",
        "no_dotstar_anchor",
        "no_start_optimize",
        "never_backslash_c",
        "alt_verbnames",
        "dotall",
        "use_offset_limit",
    ]
)
"""Options of an expression that make no difference to whether it matches, or need no flag."""


def http(
    told: Told, checker: Checker, server: RealServer, service: VirtualServer, configuration: Configuration
) -> dict[str, Any] | None:
    """Return the check. None if one of its paths is refused."""
    requests = [_request(told, url) for url in checker.urls]
    if None in requests:
        return None
    hosts = [url.host or checker.host or server.host or service.host or _own(checker) for url in checker.urls]
    for request, host in zip(requests, hosts, strict=True):
        if request is not None:
            request["host"] = host
    timeout = (checker.pace.connect_timeout or 0) * len(requests)
    check: dict[str, Any] = {"type": "http", **times(told, checker, timeout), "http_version": checker.protocol}
    if checker.kind == "SSL_GET":
        check |= {"type": "https", "verify": False, "alpn": [], **_certificate(configuration)}
        _tell_name(told, checker, hosts)
    made = [request for request in requests if request]
    if len(made) == 1:
        return check | made[0]
    told.noted(checker.node, "keepalived asks for one url in each delay_loop; here every probe asks for all")
    common = {key: value for key, value in made[0].items() if all(other.get(key) == value for other in made)}
    own = [{key: value for key, value in request.items() if key not in common} for request in made]
    return (
        check
        | {key: value for key, value in common.items() if key != "path"}
        | {"requests": [({"path": common["path"]} if "path" in common else {}) | request for request in own]}
    )


def _own(checker: Checker) -> str:
    """Return the Host header without a virtualhost: the address and always the port."""
    address = checker.address
    return f"[{address}]:{checker.port}" if address and address.version == 6 else f"{address}:{checker.port}"


def _request(told: Told, url: Url) -> dict[str, Any] | None:
    """Return the keys of one request, without its host. None if its path is refused."""
    path, mark, _fragment = url.path.partition("#")
    if not path.startswith("/"):
        told.refused(
            url.node, f"keepalived asks for {url.path!r}, which does not begin with a slash; which path is meant?"
        )
        return None
    if any(char.isspace() for char in path):
        told.refused(url.node, f"keepalived asks for {url.path!r}, which has blanks; which path is meant?")
        return None
    if mark:
        told.account.dropped(url.node.place, f"a path has no fragment, so #{_fragment} is left out")
    request: dict[str, Any] = {"path": path}
    if url.statuses:
        request["status"] = [str(first) if first == last else f"{first}-{last}" for first, last in url.statuses]
    if url.digest:
        request |= {"digest": f"md5:{url.digest}", **({} if url.regex else {"max_body": _MAX_BODY})}
    expression = _expression(told, url)
    if expression:
        request["absent_regex" if url.is_absent else "body_regex"] = expression
    return request


def _expression(told: Told, url: Url) -> str:
    """Return a regular expression that matches as keepalived's does, or "" if there is none."""
    node = url.regex_node
    if node is None:
        return ""
    unknown = sorted(url.options - _HARMLESS - frozenset(_FLAGS))
    if unknown:
        told.account.dropped(node.place, f"an expression has no such options: {', '.join(unknown)}")
    flags = "".join(flag for name, flag in _FLAGS.items() if name in url.options)
    without_newline = "" if "dotall" in url.options or "." not in url.regex else "-s"
    text = (f"(?{flags}{without_newline})" if flags or without_newline else "") + url.regex
    try:
        answer_pattern(text)
    except WrongValueError as error:
        told.account.dropped(node.place, f"it is left out: {error}")
        return ""
    return text


def _certificate(configuration: Configuration) -> dict[str, Any]:
    if not configuration.certificate:
        return {}
    key = {"client_key": configuration.key} if configuration.key else {}
    return {"client_cert": configuration.certificate, **key}


def _tell_name(told: Told, checker: Checker, hosts: list[str]) -> None:
    """Tell that a name is sent where keepalived sends none."""
    if not checker.has_sni and any(_is_name(host) for host in hosts):
        told.noted(checker.node, "without enable_sni keepalived sends no server name (SNI); here it is sent")


def _is_name(host: str) -> bool:
    try:
        ipaddress.ip_address(host.rpartition(":")[0].strip("[]") if host.count(":") else host)
    except ValueError:
        return True
    return False
