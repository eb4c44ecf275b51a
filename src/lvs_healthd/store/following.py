"""Follows all keys below a prefix of etcd: reads them once, then watches, and asks whether the watch still lives.

Whatever ends a watch, it goes on with the next change after the last one that was seen, at the next server. What may
have been missed is read again as a whole: after a compaction, from another cluster, or from one that was restored.
"""

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from typing import NamedTuple

from lvs_healthd.store.answers import Event, Header
from lvs_healthd.store.client import Client, prefix_end
from lvs_healthd.store.errors import MissedError, StoreError

BEAT_S = 3.0
"""The time between two questions whether the server still answers, seconds."""

BEAT_ANSWER_S = 1.0
"""How long the answer may take, seconds."""

SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 10.0
"""How long to wait after every server has failed, seconds: longer each time, within these limits."""

READ_S = 20.0
"""How long reading everything may take, seconds."""


class Snapshot(NamedTuple):
    """All keys below a prefix at one time."""

    values: Mapping[bytes, bytes]
    revision: int
    """The revision of the last change that is in it, or of its reading."""
    cluster: int = 0
    """The cluster of etcd that has them; 0 if that is not of interest."""


def pause_s(failures: int, servers: int, chance: Callable[[], float]) -> float:
    """Return how long to wait before etcd is asked again, seconds. Another server that has not been tried is at once.

    failures: how often asking has failed since a server answered last.
    servers: how many servers there are to ask in turn.
    chance: returns a number between 0 and 1.
    """
    rounds = failures // servers
    if not rounds:
        return 0.0
    longest = min(LONGEST_PAUSE_S, SHORTEST_PAUSE_S * 2.0 ** min(rounds - 1, 10))
    return longest * (0.5 + 0.5 * chance())


class Following:
    """Follows all keys below a prefix.

    client: asks etcd. It is closed at the end.
    prefix: how the keys begin.
    take: receives every new state of the keys.
    heard: is called whenever a server has answered.
    failed: receives every error, with how many there have been since a server answered last.
    chance: returns a number between 0 and 1.
    """

    def __init__(
        self,
        client: Client,
        prefix: bytes,
        *,
        take: Callable[[Snapshot], None],
        heard: Callable[[], None],
        failed: Callable[[StoreError, int], None],
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._end = prefix_end(prefix)
        self._take = take
        self._heard = heard
        self._failed = failed
        self._chance = chance
        self._values: dict[bytes, bytes] = {}
        self._revision = 0
        """The last revision that is known; 0 if everything must be read."""
        self._cluster = 0
        self._failures = 0
        self._behind: tuple[int, int] | None = None
        """The count and the last revision of the keys at the last beat if they were not those that are known."""

    async def run(self, servers: int = 1) -> None:
        """Follow the keys until cancelled.

        servers: how many servers there are to ask in turn.
        """
        try:
            while True:
                try:
                    await self._follow()
                except MissedError as error:
                    self._revision = 0
                    self._fail(error)
                except StoreError as error:
                    self._fail(error)
                self._client.go_on()
                await asyncio.sleep(pause_s(self._failures, servers, self._chance))
        finally:
            await self._client.close()

    def _fail(self, error: StoreError) -> None:
        self._failures += 1
        self._failed(error, self._failures)

    async def _follow(self) -> None:
        """Read everything unless it is known, and follow it until that fails. Raises `StoreError`."""
        if not self._revision:
            await self._read()
        else:
            await self._beat()
        tasks = [asyncio.create_task(self._watch()), asyncio.create_task(self._beats())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in tasks:
                each.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        errors = [error for error in results if isinstance(error, Exception)]
        for error in sorted(errors, key=lambda each: not isinstance(each, MissedError)):
            raise error

    async def _read(self) -> None:
        found = await self._client.range(self._prefix, self._end, timeout_s=READ_S)
        if not found.header.revision:
            raise StoreError(f"{self._client.endpoint}: an answer without a revision: it is not etcd's")
        self._cluster = found.header.cluster_id
        self._values = {each.key: each.value for each in found.kvs}
        self._revision = found.header.revision
        self._is_well()
        self._take(Snapshot(dict(self._values), self._revision, self._cluster))

    async def _watch(self) -> None:
        watch = self._client.watch(self._prefix, self._end, self._revision + 1)
        async with contextlib.aclosing(watch):  # type: ignore[type-var]  # it is a generator
            async for said in watch:
                self._validate(said.header)
                for event in said.events:
                    self._apply(event)
                if said.events:
                    # Not that of the header: after a break, changes may come in several parts, of which each has it.
                    self._revision = max(self._revision, *(each.kv.mod_revision for each in said.events))
                    self._is_well()
                    self._take(Snapshot(dict(self._values), self._revision, self._cluster))

    def _apply(self, event: Event) -> None:
        if event.type == "DELETE":
            self._values.pop(event.kv.key, None)
        else:
            self._values[event.kv.key] = event.kv.value

    async def _beats(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            await self._beat()

    async def _beat(self) -> None:
        """Ask whether the server answers, and whether nothing was missed. Raises `StoreError`."""
        found = await self._client.range(self._prefix, self._end, newest_only=True, timeout_s=BEAT_ANSWER_S)
        self._validate(found.header)
        newest = max((each.mod_revision for each in found.kvs), default=0)
        state = (max(found.count, len(found.kvs)), newest)
        is_behind = state[0] != len(self._values) or newest > self._revision
        if is_behind and state == self._behind:
            self._behind = None
            raise MissedError(f"{self._client.endpoint}: the watch has not told of a change")
        self._behind = state if is_behind else None
        self._is_well()

    def _validate(self, header: Header) -> None:
        if header.cluster_id != self._cluster:
            raise MissedError(f"{self._client.endpoint}: another cluster of etcd")
        if 0 < header.revision < self._revision:
            raise MissedError(f"{self._client.endpoint}: etcd has an older state, from a backup perhaps")

    def _is_well(self) -> None:
        self._failures = 0
        self._heard()
