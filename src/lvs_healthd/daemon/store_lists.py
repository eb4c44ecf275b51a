"""Follows the keys of etcd that list real servers, for the sources that name them (see `discovery.etcd`)."""

import asyncio
from collections.abc import Mapping

from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.model import Config
from lvs_healthd.daemon.store_asked import asked
from lvs_healthd.daemon.store_follower import StoreFollower
from lvs_healthd.discovery.etcd import FOLDER, StoredLists
from lvs_healthd.discovery.listing import ListError
from lvs_healthd.store.errors import StoreError
from lvs_healthd.store.following import Snapshot

ROUNDS_UNTOLD = 2
"""Every server must have failed so often in a row before that counts. A restart of one is nothing to tell of."""


class StoreLists:
    """Follows the keys that list servers, while any service names some."""

    def __init__(self) -> None:
        self._fleet = Fleet()
        self.lists = StoredLists(self._asked)
        self._follower = StoreFollower(FOLDER, take=self._take, heard=self._hear, failed=self._lose)
        self._woken = asyncio.Event()

    def configured(self, config: Config) -> None:
        """Take over a configuration that is in force from now on, or is about to be."""
        if config.fleet != self._fleet:
            self._fleet, self.lists.prefix = config.fleet, config.fleet.prefix
            self.lists.values, self.lists.error = None, ""
        is_used = any(source.etcd for service in config.services for source in service.sources)
        self._follower.follow(config.fleet if is_used else Fleet())
        self._woken.set()

    async def run(self) -> None:
        """Follow them until cancelled."""
        try:
            while True:
                self._woken.clear()
                await self._follower.turn()
                await self._woken.wait()
        finally:
            await self._follower.stop()

    async def _asked(self) -> Mapping[str, bytes]:
        if not self._fleet.store:
            raise ListError("no etcd is configured: [fleet] store")
        try:
            stored = await asked(self._fleet, folder=FOLDER)
        except StoreError as error:
            raise ListError(str(error)) from error
        begin = f"{self._fleet.prefix}{FOLDER}"
        return {key.removeprefix(begin): value for key, value in stored.values.items()}

    def _take(self, snapshot: Snapshot) -> None:
        begin = f"{self._fleet.prefix}{FOLDER}".encode()
        values = {key.removeprefix(begin): value for key, value in snapshot.values.items()}
        self.lists.values = {name.decode("utf-8", "backslashreplace"): value for name, value in values.items()}

    def _hear(self) -> None:
        self.lists.error = ""

    def _lose(self, error: StoreError, failures: int) -> None:
        if failures >= ROUNDS_UNTOLD * len(self._fleet.store):
            self.lists.error = str(error)
