"""The endpoint that says whether services may serve on this director."""

from collections.abc import Callable

import msgspec
from aiohttp import web

from lvs_healthd.api.answers import json_answer, refused
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.serving import ServingAnswer

PATH = "/api/v1/ok"


def add_ok(app: web.Application, ok: Callable[[str], ServingAnswer]) -> None:
    """Add the endpoint to an application.

    ok: takes the name, address or firewall mark of the services. Raises `UnknownNameError`.
    """

    async def show(request: web.Request) -> web.StreamResponse:
        try:
            found = ok(request.query.get("service", ""))
        except UnknownNameError as error:
            return refused(request, 404, str(error))
        return json_answer(msgspec.json.encode(found))

    app.router.add_get(PATH, show)
