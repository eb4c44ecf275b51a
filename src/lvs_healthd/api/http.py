"""Sets the headers of every answer, including aiohttp's own refusals, and decides which Host headers are accepted."""

import ipaddress
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.web_protocol import RequestHandler


@dataclass(slots=True)
class Listening:
    """What the application knows of the sockets that it is served on."""

    is_loopback: bool = False
    """Whether the TCP address can be reached from this host only."""
    is_starting: bool = False
    """Whether the daemon has not read the kernel's table yet, so that nothing can be said."""
    answering: set[object] = field(default_factory=set)
    """The transports of the requests that are being answered."""


LISTENING = web.AppKey("listening", Listening)


class HttpProtocol(RequestHandler):
    """aiohttp's protocol for one connection. Its answers to malformed HTTP have our headers too."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Make the answer to a request that cannot be read, or whose handler has failed."""
        response = super().handle_error(request, status, exc, message)
        add_headers(response)
        return response


def add_headers(response: web.StreamResponse) -> None:
    """Set the headers that every answer has."""
    # A status is true only for a moment.
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    # By default this header would reveal the versions of aiohttp and Python.
    response.headers["Server"] = "lvs-healthd"


def is_local_name(host: str) -> bool:
    """Return whether a Host header is "localhost" or a literal address. No name server decides where these lead.

    With DNS rebinding, the name of a web page resolves to 127.0.0.1, so that a browser sends the page's requests to us.
    The Host header of such a request is the page's name.
    """
    bare = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    if bare.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return False
    return True
