"""Checks of http, https and http_proxy, as `check_http` of ldirectord does them."""

import re

from lvs_healthd.importers.ldirectord.perl import UntranslatableError, is_plain, path, pattern
from lvs_healthd.importers.ldirectord.records import bracketed
from lvs_healthd.importers.ldirectord.subject import AskError, Check, Subject

REDIRECTS = 7
"""How many redirects LWP::UserAgent follows by default."""

_HOST = re.compile(r"[\w.-]+(?::\d+)?|\[[0-9A-Fa-f:.]+\](?::\d+)?", re.ASCII)
_HEAD_OF_ANSWER = r"\AHTTP/1\.[01] 2[0-9][0-9][^\n]*\n"
_END_OF_HEAD = r"\r?\n\r?\n"


def web(subject: Subject) -> Check:
    """Return the check of a server of http or https."""
    service = subject.virtual.service
    request = subject.request
    if subject.real.request is not None and f"{service}://" in request:
        raise AskError(
            f"the request {request[1:]!r} of a real server goes to the host in it, and not to that server: write its "
            'path, such as "/index.html", and virtualhost'
        )
    check: Check = {"type": service, "path": path(request)}
    method = subject.text("httpmethod", "GET").upper()
    if method != "GET":
        check["method"] = method
    check |= {"host": _host(subject), "redirects": REDIRECTS}
    if service == "https":
        check["verify"] = False
    if subject.receive:
        if method == "HEAD":
            raise AskError(
                "an answer to HEAD has no body, so receive never matches and the servers never come up: leave out one "
                'of the two, such as check = { type = "http", path = "/" }'
            )
        check |= expectation(subject, "body")
    return check


def _host(subject: Subject) -> str:
    """Return the Host header: the virtual host, or the server's address without a port."""
    if "virtualhost" not in subject.virtual.settings:
        return bracketed(subject.real.address)
    host = subject.text("virtualhost").strip()
    if not _HOST.fullmatch(host):
        raise AskError(f"virtualhost={host!r} is not a host's name: which one was meant?")
    if subject.virtual.service == "https":
        subject.note("virtualhost", "ldirectord asks for no name in TLS; here it is asked for (SNI), as browsers do")
    return host


def expectation(subject: Subject, key: str, *, by_line: bool = False) -> Check:
    """Return what the answer must hold: a text as `key`, or an expression as `key_regex`.

    by_line: whether ldirectord looks at each line of the answer by itself.
    """
    receive = subject.receive
    if is_plain(receive):
        return {key: receive}
    try:
        return {f"{key}_regex": pattern(receive, by_line=by_line)}
    except UntranslatableError as error:
        subject.drop(
            "receive", f"the check does not look for {receive!r}, because {error}; write {key}_regex in RE2's syntax"
        )
        return {}


def proxy(subject: Subject) -> Check:
    """Return the check of a server of http_proxy: it is asked for a URL elsewhere."""
    url = subject.request[1:]
    found = re.match(r"http://([^/?#\s]+)", url)
    if found is None:
        raise AskError(
            f"http_proxy asks the server for a whole URL, and {url!r} is none, so the servers never come up: write "
            'request="http://www.example.org/", or choose a check such as check = "tcp"'
        )
    method = subject.text("httpmethod", "GET").upper()
    send = f"{method} {path(url)} HTTP/1.0\r\nHost: {found[1]}\r\n\r\n"
    steps: list[Check] = [{"send": send}, {"expect_regex": _HEAD_OF_ANSWER}]
    if subject.receive:
        found_in_body = expectation(subject, "expect")
        steps += [{"expect_regex": _END_OF_HEAD}, found_in_body] if found_in_body else []
    return {"type": "tcp", "name": "proxy", "steps": steps}
