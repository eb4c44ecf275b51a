"""Exchanges what directors say through etcd: each has one key with a lease, and follows those of the others.

A key that is there is kept alive by its director, so it is as old as the last answer of etcd. A director that ends,
hangs or is cut off loses its key with the lease. While etcd does not answer, all that the others said grows old.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping

from lvs_healthd.store.client import Access, Client
from lvs_healthd.store.directors import LARGEST, LONGEST_NAME, MOST_DIRECTORS, Heard, WrongSayingError, read
from lvs_healthd.store.errors import StoreError
from lvs_healthd.store.following import Following, Snapshot, pause_s

FOLDER = "directors/"
"""What follows the prefix in the names of the keys."""

LEASE_S = 10
"""How long a key stays if its director does not keep it alive, seconds."""

KEEP_S = 3.0
"""The time between two words to keep it alive, seconds."""

LEAST_S = 0.2
"""The least time between two writes of the key, seconds."""

BYTES_PER_S = 256 * 1024
"""How much is written to etcd at most, bytes a second, because each director of a fleet reads it."""


class ThroughEtcd:
    """An exchange through etcd.

    access: where it is, and who asks.
    prefix: how the names of its keys begin.
    name: how this director is called.
    run_id: tells this process from others with the same name.
    changed: called when another director says something else, comes or goes.
    clock: monotonic time, seconds.
    """

    def __init__(
        self,
        access: Access,
        prefix: str,
        name: str,
        run_id: str,
        *,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._access = access
        self._folder = f"{prefix}{FOLDER}".encode()
        self._key = self._folder + name.encode()
        self._name = name
        self._run_id = run_id
        self._changed = changed
        self._clock = clock
        self._content = b""
        self._is_new = asyncio.Event()
        self._lease = 0
        self._failures = 0
        """How often saying something has failed since a server took it last."""
        self._kept = 0.0
        """When the lease began last, monotonic seconds."""
        self._values: Mapping[bytes, bytes] = {}
        self._heard: float | None = None
        self._reading_error = ""
        self._writing_error = ""
        self._name_error = ""

    def publish(self, content: bytes) -> None:
        """Say this from now on."""
        if content != self._content:
            self._content = content
            self._is_new.set()

    def peers(self) -> Mapping[str, Heard]:
        """Return what the others say."""
        if self._heard is None:
            return {}
        age_s, found = self._clock() - self._heard, {}
        for key, value in self._values.items():
            name = key.removeprefix(self._folder).decode(errors="replace")
            if key != self._key and 0 < len(name) <= LONGEST_NAME and name.isprintable():
                found[name] = Heard(value, age_s)
                if len(found) >= MOST_DIRECTORS:
                    break
        return found

    @property
    def error(self) -> str:
        """Why nothing can be said or heard; "" if all is well."""
        return self._name_error or self._writing_error or self._reading_error

    async def run(self) -> None:
        """Exchange until cancelled."""
        async with asyncio.TaskGroup() as group:
            following = Following(
                Client(self._access),
                self._folder,
                take=self._take,
                heard=self._hear,
                failed=self._fail,
            )
            group.create_task(following.run(len(self._access.endpoints)), name="what directors say")
            group.create_task(self._publish(), name="what this director says")

    def _take(self, snapshot: Snapshot) -> None:
        self._values = snapshot.values
        self._name_error = self._twin(snapshot.values.get(self._key))
        self._changed()

    def _twin(self, own: bytes | None) -> str:
        """Say that another director has the same name; "" if that is not so."""
        with contextlib.suppress(WrongSayingError):
            if own is not None and own != self._content and read(own).run != self._run_id and self._lease:
                return f'another director is called "{self._name}" too; give each its own: [fleet] name'
        return ""

    def _hear(self) -> None:
        self._heard = self._clock()
        self._reading_error = ""

    def _fail(self, error: StoreError, count: int) -> None:
        if count >= len(self._access.endpoints):
            self._reading_error = str(error)

    async def _publish(self) -> None:
        client = Client(self._access)
        try:
            while True:
                await self._is_new.wait()
                try:
                    await self._say(client)
                except StoreError as error:
                    self._lease, self._writing_error = 0, str(error)
                    client.go_on()
                    self._is_new.set()
                    self._failures += 1
                    await asyncio.sleep(pause_s(self._failures, len(self._access.endpoints), random.random))
        finally:
            await client.close()

    async def _say(self, client: Client) -> None:
        """Write what is new, and keep it alive until there is something else. Raises `StoreError`."""
        self._is_new.clear()
        content = self._content
        if len(content) > LARGEST:
            raise StoreError(f"what this director would say takes {len(content)} bytes, and {LARGEST} are allowed")
        if not self._lease:
            self._lease, self._kept = (await client.grant(LEASE_S)).ID, self._clock()
        await client.put(self._key, content, self._lease)
        self._failures, self._writing_error = 0, ""
        not_before = self._clock() + max(LEAST_S, len(content) / BYTES_PER_S)
        while not self._is_new.is_set():
            await self._keep(client)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_S):
                    await self._is_new.wait()
        await asyncio.sleep(max(0.0, not_before - self._clock()))
        await self._keep(client)

    async def _keep(self, client: Client) -> None:
        """Keep the key alive if that is due. If it is gone all the same, have it written again."""
        if self._clock() - self._kept < KEEP_S:
            return
        if await client.keep_alive(self._lease):
            self._kept = self._clock()
        else:
            self._lease = 0
            self._is_new.set()

    async def withdraw(self) -> None:
        """Say nothing any more, because the daemon ends. Raises `StoreError`."""
        if not self._lease:
            return
        client = Client(self._access)
        try:
            await client.delete(self._key)
        finally:
            await client.close()
