"""Carries out what operators ask of the running daemon, and logs each request with the user who made it."""

import asyncio
from collections.abc import Callable

from lvs_healthd.api.peers import Peer
from lvs_healthd.events.kinds import Event, OperatorRefused, OperatorRequest
from lvs_healthd.view.reload_values import ReloadOutcome


class ReloadRequests:
    """The reloads that somebody has asked for. A request that comes during a reload gets the next reload."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._waiting: list[asyncio.Future[ReloadOutcome]] = []

    def ask(self) -> None:
        """Ask for a reload, without waiting for it."""
        self._asked.set()

    async def outcome(self) -> ReloadOutcome:
        """Ask for a reload, wait for it, and return what it changed or why it was rejected."""
        future: asyncio.Future[ReloadOutcome] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._asked.set()
        return await future

    async def taken(self) -> list[asyncio.Future[ReloadOutcome]]:
        """Wait until somebody asks, and return the futures of all who wait for the outcome."""
        await self._asked.wait()
        self._asked.clear()
        waiting, self._waiting = self._waiting, []
        return waiting


class Requests:
    """Carries out what operators ask for over the control socket."""

    def __init__(self, reloads: ReloadRequests, emit: Callable[[Event], None]) -> None:
        self._reloads = reloads
        self._emit = emit

    async def reload(self, by: Peer) -> ReloadOutcome:
        """Reload the configuration, and return what the reload changed or why it was rejected."""
        self._emit(OperatorRequest(request="reload", uid=by.uid, pid=by.pid))
        return await self._reloads.outcome()

    def refused(self, request: str, by: Peer) -> None:
        """Report that somebody has asked for a change, but may not make changes."""
        self._emit(OperatorRefused(request=request, uid=by.uid, pid=by.pid))
