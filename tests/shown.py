"""A stand-in for the view of a daemon. Tests decide what it shows."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable

import msgspec
from aiohttp import web

from lvs_healthd.api import create_app
from lvs_healthd.api.peers import Peer
from lvs_healthd.ipvs.interface import TableUnavailableError
from lvs_healthd.ipvs.records import Table
from lvs_healthd.view.director_values import DirectorValues
from lvs_healthd.view.hold_values import HoldOutcome, HoldRefusedError
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.override_values import OverrideOutcome, OverrideRequest, OverrideValues
from lvs_healthd.view.reload_values import ReloadOutcome, ReloadRequest
from lvs_healthd.view.serving import Serving, ServingAnswer
from lvs_healthd.view.status_values import Status
from lvs_healthd.view.table_values import Listing
from lvs_healthd.view.why_values import Why
from tests import statuses


class Shown(msgspec.Struct):
    """What the endpoints show; tests change it."""

    status: Status
    listing: Listing
    why: Why = msgspec.field(default_factory=statuses.why)
    serving: tuple[Serving, ...] = (
        Serving(service="web", ok=True, why="2 of 3 real servers serve"),
        Serving(service="dns", ok=False, why="no real server may serve"),
    )
    director: DirectorValues = msgspec.field(default_factory=statuses.director)
    health: str = ""
    wanted: Table = {}
    whole: list[str] = []
    """What was asked for together with the mark services of path probes."""
    connections: list[bytes] = []
    unavailable: str = ""
    """Why the connections cannot be read."""
    reloaded: ReloadOutcome = ReloadOutcome(file="config.toml")
    ordered: OverrideOutcome = OverrideOutcome()
    overrides: tuple[OverrideValues, ...] = ()
    held: HoldOutcome = HoldOutcome(held=())
    unheld: str = ""
    """Why there is nothing to release."""
    asked: list[tuple[str, int]] = []
    """What operators have asked for, and their uid; refused requests begin with "no "."""


class ShownRequests:
    """Records operators' requests, and gives a prepared answer."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    async def reload(self, request: ReloadRequest, by: Peer) -> ReloadOutcome:
        self._shown.asked.append((str(request), by.uid))
        return self._shown.reloaded

    async def order(self, request: OverrideRequest, by: Peer) -> OverrideOutcome:
        self._shown.asked.append((str(request), by.uid))
        return self._shown.ordered

    async def hold(self, which: str, reason: str, by: Peer) -> HoldOutcome:
        self._shown.asked.append((f"hold {which} {reason}".rstrip(), by.uid))
        if which == "nobody":
            raise UnknownNameError(f'no service is called "{which}" or has that address')
        return self._shown.held

    async def release(self, which: str, by: Peer) -> HoldOutcome:
        self._shown.asked.append((f"release {which}".rstrip(), by.uid))
        if self._shown.unheld:
            raise HoldRefusedError(self._shown.unheld)
        return self._shown.held

    def refused(self, request: str, by: Peer, service: str = "", servers: tuple[str, ...] = ()) -> None:
        self._shown.asked.append((f"no {request}", by.uid))


def shown_app(shown: Shown, metrics: Callable[[], AsyncIterator[bytes]]) -> web.Application:
    async def director() -> AsyncIterator[bytes]:
        yield msgspec.json.encode(shown.director)

    return create_app(ShownView(shown), metrics=metrics, director=director, requests=ShownRequests(shown))


def shown() -> Shown:
    return Shown(status=statuses.status(), listing=statuses.listing())


class ShownView:
    """A view that shows the values of `Shown`."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown

    async def status(self) -> Status:
        return self._shown.status

    def health(self) -> str:
        return self._shown.health

    def wanted(self, *, whole: bool = False) -> Table:
        self._shown.whole += ["wanted"] if whole else []
        return self._shown.wanted

    def actual(self, *, whole: bool = False) -> Table:
        return {}

    async def listing(self, which: str, *, whole: bool = False) -> AsyncGenerator[bytes, None]:
        listing = self._shown.listing
        self._shown.whole += ["listing"] if whole else []
        chosen = tuple(each for each in listing.services if which in ("", each.service, each.address))
        if which and not chosen:
            raise UnknownNameError(f'no service is called "{which}" or has that address')
        yield msgspec.json.encode(msgspec.structs.replace(listing, services=chosen))

    def overrides(self) -> tuple[OverrideValues, ...]:
        return self._shown.overrides

    def why(self, which: str, server: str) -> Why:
        servers = tuple(each for each in self._shown.why.servers if (which, server) == (each.service, each.server))
        if not servers:
            raise UnknownNameError(f'no real server of "{which}" has the address {server}')
        return msgspec.structs.replace(self._shown.why, servers=servers)

    def ok(self, which: str) -> ServingAnswer:
        found = tuple(each for each in self._shown.serving if which in ("", each.service))
        if which and not found:
            raise UnknownNameError(f'no service is called "{which}" or has that address')
        return ServingAnswer(ok=all(each.ok for each in found), services=found)

    async def connections(self, which: str) -> AsyncGenerator[bytes, None]:
        if self._shown.unavailable:
            raise TableUnavailableError(self._shown.unavailable)
        for block in self._shown.connections:
            yield b"".join(line for line in block.splitlines(keepends=True) if which.encode() in line)
        yield b""
