"""Remembers what was found in each service, so that a reload looks only into those that have changed."""

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from lvs_healthd.config.model import Service

_Found = TypeVar("_Found")


class PerService(Generic[_Found]):
    """What `find` returns for each service of the last configuration that was looked into.

    A service that has not changed is the same object over a reload (see `reuse`), and is known by that.

    find: looks into one service. The result depends on nothing else.
    """

    def __init__(self, find: Callable[[Service], _Found]) -> None:
        self._find = find
        self._known: dict[int, tuple[Service, _Found]] = {}
        """By the identity of the service, which is kept so that no other object can have it."""

    def of(self, services: Iterable[Service]) -> Iterator[_Found]:
        """Return what is found in each of these services. All others are forgotten."""
        known = self._known
        self._known = {id(each): known.get(id(each)) or (each, self._find(each)) for each in services}
        return (found for _, found in self._known.values())
