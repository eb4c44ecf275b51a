"""The endpoints that hold the table, or one service, and that release it."""

from typing import Protocol

import msgspec
from aiohttp import web

from lvs_healthd.api.answers import asking, is_control, json_answer, may_ask, may_not, refused
from lvs_healthd.api.peers import Peer
from lvs_healthd.view.hold_values import MOST_REASON, HoldOutcome, HoldRefusedError
from lvs_healthd.view.naming import UnknownNameError

_KNOWN = {"hold": {"service", "reason"}, "release": {"service"}}
"""The parameters that each endpoint knows."""


class HoldRequests(Protocol):
    """What operators may ask for here."""

    async def hold(self, which: str, reason: str, by: Peer) -> HoldOutcome:
        """Write nothing to a service, or to the whole table if `which` is "", until it is released.

        Raises `UnknownNameError` and `HoldRefusedError`.
        """

    async def release(self, which: str, by: Peer) -> HoldOutcome:
        """Write to a service again, or to everything that is held if `which` is "".

        Raises `UnknownNameError` and `HoldRefusedError`.
        """

    def refused(self, request: str, by: Peer, service: str = "", servers: tuple[str, ...] = ()) -> None:
        """Report that somebody has asked for a change, but may not make changes.

        service, servers: what the request names.
        """


def add_holds(app: web.Application, requests: HoldRequests) -> None:
    """Add the endpoints to an application."""

    async def do_hold(request: web.Request) -> web.StreamResponse:
        if not is_control(request):
            return refused(request, 403, "only on the control socket")
        verb = request.path.rpartition("/")[2]
        known = _KNOWN[verb]
        which, reason = request.query.get("service", ""), request.query.get("reason", "")
        if len(request.query) > len(known & request.query.keys()):
            # A word that is not understood could be the one that was to limit the hold.
            return refused(request, 400, f"known, each once: {', '.join(sorted(known))}")
        if len(reason) > MOST_REASON or not reason.isprintable():
            return refused(request, 400, f"reason: at most {MOST_REASON} printable characters")
        peer = asking(request)
        if not may_ask(request, peer):
            requests.refused(f"{verb} {which}".rstrip(), peer, which)
            return may_not(request, peer)
        try:
            outcome = await (requests.hold(which, reason, peer) if verb == "hold" else requests.release(which, peer))
        except UnknownNameError as error:
            return refused(request, 404, str(error))
        except HoldRefusedError as error:
            return refused(request, 409, str(error))
        return json_answer(msgspec.json.encode(outcome))

    for verb in _KNOWN:
        app.router.add_post(f"/api/v1/{verb}", do_hold)
