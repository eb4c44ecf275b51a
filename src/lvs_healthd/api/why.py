"""The endpoint that says why a server is as it is."""

from collections.abc import Callable

import msgspec
from aiohttp import web

from lvs_healthd.api.answers import is_control, json_answer, refused
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.why_values import Why

PATH = "/api/v1/why"


def add_why(app: web.Application, why: Callable[[str, str], Why]) -> None:
    """Add the endpoint to an application. The service and the server are in the path, or in the query.

    why: takes the names of a service and a server. Raises `UnknownNameError`.
    """

    async def show(request: web.Request) -> web.StreamResponse:
        if not is_control(request):
            # What servers answered to probes is for those who may see the servers' own pages.
            return refused(request, 403, "only on the control socket")
        meant = request.match_info or request.query
        try:
            found = why(meant.get("service", ""), meant.get("server", ""))
        except UnknownNameError as error:
            return refused(request, 404, str(error))
        return json_answer(msgspec.json.encode(found))

    app.router.add_get(PATH, show)
    app.router.add_get(PATH + "/{service}/{server}", show)
