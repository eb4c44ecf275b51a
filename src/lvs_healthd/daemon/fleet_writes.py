"""Writes to etcd what an operator orders for the whole fleet, unless somebody else has ordered something meanwhile."""

import math
import uuid
from typing import NamedTuple

from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.daemon.order_changes import Change
from lvs_healthd.daemon.store_asked import client_of
from lvs_healthd.state.fleet_orders import FOLDER, ID, key_of, written
from lvs_healthd.store.client import Client, Compare, Delete, Put, prefix_end
from lvs_healthd.store.errors import StoreError, UnansweredError, UnreachedError

MOST_AT_ONCE = 3000
"""About how many servers an order may be: etcd takes it as one transaction."""

PERHAPS = "it may come into force yet: lvs-healthd status --overrides"


class Seen(NamedTuple):
    """What of etcd is in force here."""

    revision: int = 0
    """The revision at which it said so; 0 if it was not heard yet."""
    id: str = ""
    """The number by chance of its orders; "" for none yet."""


class OrdersChangedError(StoreError):
    """Raised when somebody has ordered something that is not in force here yet. Nothing was written."""


async def write(fleet: Fleet, change: Change, seen: Seen, now: float) -> int:
    """Write to whichever server answers what an order changes. Return the revision at which it is there.

    seen: what the order was made from.
    now: Unix time.

    Raises `StoreError`.
    """
    if len(change.put) + len(change.removed) > MOST_AT_ONCE:
        raise StoreError(f"an order for the whole fleet may be about {MOST_AT_ONCE} servers; order it in parts")
    client, errors = client_of(fleet), list[StoreError]()
    try:
        for _ in fleet.store:
            try:
                return await _write_to(client, f"{fleet.prefix}{FOLDER}", change, seen, now)
            except UnansweredError as error:
                errors.append(error)
                client.go_on()
    finally:
        await client.close()
    perhaps = () if all(isinstance(error, UnreachedError) for error in errors) else (PERHAPS,)
    raise StoreError("; ".join((*map(str, errors), *perhaps)))


async def _write_to(client: Client, begin: str, change: Change, seen: Seen, now: float) -> int:
    lasts_s = min((each.until - now for each in change.put if each.until is not None), default=None)
    lease = 0 if lasts_s is None else (await client.grant(max(1, math.ceil(lasts_s)))).ID
    puts = [Put(f"{begin}{key_of(each)}".encode(), written(each), lease) for each in change.put]
    if puts and not seen.id:
        puts.append(Put(f"{begin}{ID}".encode(), uuid.uuid4().hex.encode()))
    deletes = [Delete(f"{begin}{key_of(each)}".encode()) for each in change.removed]
    # An order may only take back what its operator could see.
    unchanged = Compare(begin.encode(), seen.revision, prefix_end(begin.encode()))
    done = await client.transact([unchanged], [*puts, *deletes])
    if not done.succeeded:
        raise OrdersChangedError("somebody has ordered something meanwhile: see lvs-healthd status --overrides")
    return done.header.revision
