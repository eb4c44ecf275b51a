"""Follows the keys below one folder of whichever etcd is configured."""

import asyncio
from collections.abc import Callable

from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.daemon.store_asked import client_of
from lvs_healthd.store.errors import StoreError
from lvs_healthd.store.following import Following, Snapshot


class StoreFollower:
    """Follows the keys below one folder.

    folder: what follows the prefix in their names.
    take: receives every new state of the keys.
    heard: is called whenever a server has answered.
    failed: receives every error, with how many there have been in a row.
    """

    def __init__(
        self,
        folder: str,
        *,
        take: Callable[[Snapshot], None],
        heard: Callable[[], None],
        failed: Callable[[StoreError, int], None],
    ) -> None:
        self._folder = folder
        self._take = take
        self._heard = heard
        self._failed = failed
        self._wanted = self._followed = Fleet()
        self._task: asyncio.Task[None] | None = None

    def follow(self, fleet: Fleet) -> None:
        """Follow this etcd from the next turn on, or none."""
        self._wanted = fleet

    async def turn(self) -> None:
        """Begin to follow what is wanted, unless it is followed already."""
        if self._wanted != self._followed or (self._task is not None and self._task.done()):
            await self.stop()
            self._followed = self._wanted
            if self._followed.store:
                self._task = asyncio.create_task(self._following(self._followed), name=f"following {self._folder}")

    async def _following(self, fleet: Fleet) -> None:
        def take(snapshot: Snapshot) -> None:
            if fleet == self._wanted:  # a reload may have come meanwhile
                self._take(snapshot)

        prefix = f"{fleet.prefix}{self._folder}".encode()
        follows = Following(client_of(fleet), prefix, take=take, heard=self._heard, failed=self._failed)
        await follows.run(len(fleet.store))

    async def stop(self) -> None:
        """Follow nothing. If following has failed, raise why, because it is a mistake of this program."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error
