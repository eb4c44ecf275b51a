"""Short answers of the endpoints, and who asks for a change."""

import msgspec
from aiohttp import web

from lvs_healthd.api.peers import Peer, may_change, peer_of


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request is refused, or has failed."""

    error: str
    path: str
    """What was asked for."""


def json_answer(body: bytes, *, status: int = 200) -> web.Response:
    """Return an answer whose body is JSON."""
    return web.Response(body=body, status=status, content_type="application/json")


def refused(request: web.Request, status: int, why: str) -> web.Response:
    """Return an answer that says why a request is refused."""
    return json_answer(msgspec.json.encode(Refusal(error=why, path=request.path)), status=status)


def is_control(request: web.Request) -> bool:
    """Return whether the request came over the control socket.

    The name of a Unix socket is a string, and that of a TCP socket is a tuple.
    """
    return request.transport is not None and isinstance(request.transport.get_extra_info("sockname"), str)


def asking(request: web.Request) -> Peer:
    """Return who has made a request over the control socket."""
    assert request.transport is not None  # noqa: S101  # is_control has looked at it
    return peer_of(request.transport)


def may_ask(request: web.Request, peer: Peer) -> bool:
    """Return whether the peer that has made a request over the control socket may change anything."""
    return request.transport is not None and may_change(peer, request.transport.get_extra_info("sockname"))


def may_not(request: web.Request, peer: Peer) -> web.Response:
    """Return the answer to somebody who may change nothing."""
    return refused(request, 403, f"user {peer.uid} may look at everything, but change nothing")
