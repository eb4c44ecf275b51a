"""Carries out what operators ask of the running daemon, and logs each request with the user who made it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from lvs_healthd.api.peers import Peer
from lvs_healthd.daemon.operators import OperatorsHand
from lvs_healthd.events.kinds import Event, OperatorRefused, OperatorRequest
from lvs_healthd.view.hold_values import HoldOutcome, HoldRefusedError
from lvs_healthd.view.naming import UnknownNameError
from lvs_healthd.view.override_values import OverrideOutcome, OverrideRequest
from lvs_healthd.view.reload_values import ReloadOutcome, ReloadRequest

PLAIN = ReloadRequest()
"""What a signal asks for."""


class Waiting(NamedTuple):
    """Somebody who waits for a reload."""

    request: ReloadRequest
    outcome: asyncio.Future[ReloadOutcome]


class ReloadRequests:
    """The reloads that somebody has asked for. A request that comes during a reload gets the next reload."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._signalled = False
        self._lists_asked = False
        self._waiting: list[Waiting] = []

    def ask(self) -> None:
        """Ask for a reload as SIGHUP does: a real one, never forced, without waiting for it."""
        self._signalled = True
        self._asked.set()

    def ask_lists(self) -> None:
        """Ask for what sources list now to come into force. The configuration's files are not read."""
        self._lists_asked = True
        self._asked.set()

    def take_lists(self) -> bool:
        """Return whether somebody has asked for lists since this was called last."""
        asked, self._lists_asked = self._lists_asked, False
        return asked

    async def outcome(self, request: ReloadRequest = PLAIN) -> ReloadOutcome:
        """Ask for a reload, wait for it, and return what it changes or why it is rejected."""
        future: asyncio.Future[ReloadOutcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(request, future))
        self._asked.set()
        return await future

    async def taken(self) -> dict[ReloadRequest, list[asyncio.Future[ReloadOutcome]]]:
        """Wait until somebody asks. Return each request with the futures of all who wait for its outcome.

        Dry runs come first, because they ask about the configuration that is in force now. Forced reloads come last.
        """
        await self._asked.wait()
        self._asked.clear()
        waiting, self._waiting = self._waiting, []
        signalled, self._signalled = self._signalled, False
        asked: dict[ReloadRequest, list[asyncio.Future[ReloadOutcome]]] = {PLAIN: []} if signalled else {}
        for each in waiting:
            asked.setdefault(each.request, []).append(each.outcome)
        return dict(sorted(asked.items(), key=lambda item: (not item[0].dry_run, item[0].force)))


class Holds(Protocol):
    """Holds the table, or one service; implemented by `Holding`."""

    async def hold(self, which: str, reason: str, by: Peer) -> HoldOutcome:
        """Write nothing to a service, or to the whole table, from now on."""

    async def release(self, which: str, by: Peer) -> HoldOutcome:
        """Write to a service again, or to everything that is held."""


class Requests:
    """Carries out what operators ask for over the control socket."""

    def __init__(
        self, reloads: ReloadRequests, operators: OperatorsHand, holds: Holds, emit: Callable[[Event], None]
    ) -> None:
        self._reloads = reloads
        self._operators = operators
        self._holds = holds
        self._emit = emit

    async def reload(self, request: ReloadRequest, by: Peer) -> ReloadOutcome:
        """Reload the configuration, or say what that would change. Return the changes, or why it is rejected."""
        self._emit(OperatorRequest(request=str(request), uid=by.uid, pid=by.pid))
        return await self._reloads.outcome(request)

    async def order(self, request: OverrideRequest, by: Peer) -> OverrideOutcome:
        """Carry out an order about servers. Return what came of it."""
        self._emit(OperatorRequest(request=str(request), uid=by.uid, pid=by.pid))
        outcome = await self._operators.order(request, by)
        if outcome.refused:
            self._refuse(str(request), by, outcome.refused, *request.named)
        return outcome

    async def hold(self, which: str, reason: str, by: Peer) -> HoldOutcome:
        """Write nothing to a service, or to the whole table if `which` is "", until it is released.

        Raises `UnknownNameError` and `HoldRefusedError`.
        """
        request = f"hold {which}".rstrip()
        self._emit(OperatorRequest(request=request, uid=by.uid, pid=by.pid))
        return await self._or_refuse(self._holds.hold(which, reason, by), request, by, which)

    async def release(self, which: str, by: Peer) -> HoldOutcome:
        """Write to a service again, or to everything that is held if `which` is "".

        Raises `UnknownNameError` and `HoldRefusedError`.
        """
        request = f"release {which}".rstrip()
        self._emit(OperatorRequest(request=request, uid=by.uid, pid=by.pid))
        return await self._or_refuse(self._holds.release(which, by), request, by, which)

    async def _or_refuse(self, answer: Awaitable[HoldOutcome], request: str, by: Peer, which: str) -> HoldOutcome:
        try:
            return await answer
        except (UnknownNameError, HoldRefusedError) as error:
            self._refuse(request, by, str(error), which)
            raise

    def refused(self, request: str, by: Peer, service: str = "", servers: tuple[str, ...] = ()) -> None:
        """Report that somebody has asked for a change, but may not make changes.

        service, servers: what the request names.
        """
        self._refuse(request, by, "this user may change nothing", service, servers)

    def _refuse(self, request: str, by: Peer, why: str, service: str = "", servers: tuple[str, ...] = ()) -> None:
        self._emit(OperatorRefused(request=request, uid=by.uid, pid=by.pid, why=why, service=service, servers=servers))
