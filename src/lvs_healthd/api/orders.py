"""The endpoint of operators' orders about servers. An order is the query of a request.

It is read strictly: a word that is not understood could be the one that was to prevent the change.
"""

from collections.abc import Callable, Iterator
from typing import Protocol
from urllib.parse import urlencode

import msgspec
from aiohttp import web
from multidict import MultiMapping

from lvs_healthd.api.answers import asking, is_control, json_answer, may_ask, may_not, refused
from lvs_healthd.api.peers import Peer
from lvs_healthd.view.override_values import OverrideOutcome, OverrideRequest, OverrideValues

PATH = "/api/v1/overrides"

_FIELDS = {
    "verb": "verb",
    "service": "service",
    "server": "servers",
    "everywhere": "everywhere",
    "weight": "weight",
    "reason": "reason",
    "until": "until",
    "deadline": "deadline",
    "force": "force",
    "fleet": "fleet",
}
"""The parameters, and the fields that they set. `server` may be there several times."""

_LONGEST_REASON = 200

_LAST_MOMENT = 253402300799
"""The end of the year 9999, Unix time."""


class OrderRequests(Protocol):
    """Carries out orders about servers."""

    async def order(self, request: OverrideRequest, by: Peer) -> OverrideOutcome:
        """Carry out an order. Return what came of it."""

    def refused(self, request: str, by: Peer, service: str = "", servers: tuple[str, ...] = ()) -> None:
        """Report that somebody has asked for a change, but may not make changes.

        service, servers: what the request names.
        """


def add_orders(
    app: web.Application, in_force: Callable[[], tuple[OverrideValues, ...]], requests: OrderRequests
) -> None:
    """Add the endpoint that lists the orders in force and takes new ones."""

    async def show(_: web.Request) -> web.StreamResponse:
        return json_answer(msgspec.json.encode(in_force()))

    async def take(request: web.Request) -> web.StreamResponse:
        if not is_control(request):
            return refused(request, 403, "only on the control socket")
        try:
            asked = override_request(request.query)
        except ValueError as error:
            return refused(request, 400, str(error))
        peer = asking(request)
        if not may_ask(request, peer):
            requests.refused(str(asked), peer, *asked.named)
            return may_not(request, peer)
        outcome = await requests.order(asked, peer)
        return json_answer(msgspec.json.encode(outcome), status=422 if outcome.refused else 200)

    app.router.add_get(PATH, show)
    app.router.add_post(PATH, take)


def override_request(query: MultiMapping[str]) -> OverrideRequest:
    """Return the order that a query asks for. Raises `ValueError` with a text for the operator."""
    fields: dict[str, object] = {}
    for name, value in query.items():
        field = _FIELDS.get(name)
        if field is None:
            raise ValueError(f'unknown parameter "{name}"; known: {", ".join(_FIELDS)}')
        if field == "servers":
            fields[field] = (*query.getall(name),)
        elif field in fields:
            raise ValueError(f'"{name}" is there twice')
        else:
            fields[field] = value
    try:
        made = msgspec.convert(fields, OverrideRequest, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(f"not an order: {error}") from None
    _check(made)
    return made


def _check(made: OverrideRequest) -> None:
    if bool(made.everywhere) == bool(made.service):
        raise ValueError("an order is about a service, or about one machine in all its services (everywhere)")
    if made.everywhere and made.servers:
        raise ValueError("everywhere already names the machine; leave server out")
    if made.weight is not None and made.verb != "weight":
        raise ValueError("only weight takes a weight")
    if made.weight is not None and not 0 <= made.weight <= 65535:  # ipvsadm's range
        raise ValueError(f"a weight is from 0 to 65535, not {made.weight}")
    if made.deadline is not None and made.verb != "drain":
        raise ValueError("only drain has a deadline")
    for name, moment in (("until", made.until), ("deadline", made.deadline)):
        if moment is not None and not 0 < moment <= _LAST_MOMENT:
            raise ValueError(f"{name} is a Unix time, not {moment:g}")
    if len(made.reason) > _LONGEST_REASON or not made.reason.isprintable():
        raise ValueError(f"a reason is one line of at most {_LONGEST_REASON} characters")


def query_of(request: OverrideRequest) -> str:
    """Return the query that asks for an order."""
    return urlencode(list(_parameters(request)))


def _parameters(request: OverrideRequest) -> Iterator[tuple[str, str]]:
    for name, field in _FIELDS.items():
        value = getattr(request, field)
        if isinstance(value, tuple):
            yield from ((name, each) for each in value)
        elif isinstance(value, bool):
            if value:
                yield name, "true"
        elif value is not None and value != "":
            yield name, str(value)
