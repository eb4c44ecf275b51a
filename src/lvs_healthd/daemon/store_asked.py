"""Asks etcd what it says of services, and reads the configuration with that at the start."""

import contextlib
import socket
from collections.abc import Awaitable
from pathlib import Path
from typing import NamedTuple

from lvs_healthd.config.errors import ConfigError
from lvs_healthd.config.fleet_model import Fleet
from lvs_healthd.config.load import about_store, read_files, relist
from lvs_healthd.config.model import Config
from lvs_healthd.config.reuse import LastReading
from lvs_healthd.config.secret_files import read_password
from lvs_healthd.config.stored import FOLDER, Stored
from lvs_healthd.daemon.relisting import READ_S
from lvs_healthd.runtime.threads import HungError, in_thread
from lvs_healthd.state.safe_file import StateFileError
from lvs_healthd.state.stored import SavedStore, read_store, store_beside
from lvs_healthd.store.client import Access, Client, prefix_end
from lvs_healthd.store.errors import StoreError, UnansweredError
from lvs_healthd.store.following import Snapshot

FIRST_S = 5.0
"""How long a start or a reload waits for etcd if nothing is known of what it says, seconds."""


def name_of(fleet: Fleet) -> str:
    """Return how this director is called among others."""
    return fleet.name or socket.gethostname()


def access_of(fleet: Fleet) -> Access:
    """Return where a fleet's etcd is, and who asks."""
    return Access(fleet.store, fleet.ca, fleet.user, lambda: read_password(fleet.password_file))


def client_of(fleet: Fleet) -> Client:
    """Return a client of a fleet's etcd."""
    return Client(access_of(fleet))


async def asked(fleet: Fleet, timeout_s: float = FIRST_S, *, folder: str = FOLDER) -> Stored:
    """Ask etcd once what it says now, one server after the other. Raises `StoreError`.

    folder: what follows the prefix in the names of the keys.
    timeout_s: how long that may take, seconds.
    """
    client, prefix = client_of(fleet), f"{fleet.prefix}{folder}".encode()
    errors: list[StoreError] = []
    try:
        for _ in fleet.store:
            try:
                found = await client.range(prefix, prefix_end(prefix), timeout_s=timeout_s / len(fleet.store))
            except StoreError as error:
                errors.append(error)
                client.go_on()
            else:
                values = {each.key: each.value for each in found.kvs}
                return stored_of(fleet.prefix, Snapshot(values, found.header.revision))
    finally:
        await client.close()
    kind = UnansweredError if all(isinstance(error, UnansweredError) for error in errors) else StoreError
    raise kind("; ".join(map(str, errors)))


def stored_of(prefix: str, snapshot: Snapshot) -> Stored:
    """Return what the keys of etcd say."""
    values = {key.decode("utf-8", "backslashreplace"): value for key, value in snapshot.values.items()}
    return Stored(prefix, dict(sorted(values.items())), snapshot.revision)


class Beginning(NamedTuple):
    """The configuration with which the daemon starts."""

    config: Config
    stored: Stored | None = None
    """What etcd says in it; None if nothing is known, or there is no etcd."""
    changed: float = 0.0
    """Since when that is in force, Unix time, if it was so before the start; 0 for now."""
    error: str = ""
    """Why what it said before could not be read; "" if it could."""


async def beginning(file: Path, memory: LastReading) -> Beginning:
    """Read the configuration for a start, with what etcd said before, or else with what it says now.

    If etcd does not answer and nothing is known, the daemon starts with what is in its files.

    Raises `ConfigError`, or `HungError` when a file system hangs.
    """
    files = await in_thread(read_files, file, timeout_s=READ_S, what=f"reading {file}")

    async def with_stored(stored: Stored | None) -> Config:
        return await in_thread(relist, files, memory, {}, stored, timeout_s=READ_S, what=f"reading {file}")

    fleet, daemon = about_store(files)
    if not fleet.store:
        return Beginning(await with_stored(None))
    saved, error = await _saved(fleet, store_beside(daemon.state))
    wrong: ConfigError | None = None
    if saved is not None:
        try:
            return Beginning(await with_stored(saved.stored), saved.stored, saved.changed)
        except ConfigError as mistake:  # the files are others, and what etcd says may be too
            wrong = mistake
    try:
        stored = await asked(fleet)
    except StoreError as away:
        if wrong is not None:
            raise ConfigError((*wrong.errors, f"what etcd says now is not known: {away}")) from away
        return Beginning(await _alone(with_stored(None), away), error=error)
    if not stored.services:
        with contextlib.suppress(ConfigError):
            # An etcd that has lost its data says the same as a new one. `Desired` decides, which knows what was ours.
            return Beginning(await with_stored(None), error=error)
    try:
        return Beginning(await with_stored(stored), stored, error=error)
    except ConfigError as mistake:
        if wrong is not None:
            raise
        try:
            return Beginning(await with_stored(None), error=error)  # and `Desired` tells what is wrong with it
        except ConfigError:
            raise mistake from None


async def _alone(reading: Awaitable[Config], away: StoreError) -> Config:
    try:
        return await reading
    except ConfigError as error:
        raise ConfigError((*error.errors, f"what etcd says is not known: {away}")) from away


async def _saved(fleet: Fleet, path: Path) -> tuple[SavedStore | None, str]:
    """Return what etcd said before the start, and why that cannot be read."""
    try:
        saved = await in_thread(read_store, path, timeout_s=READ_S, what=f"reading {path}")
    except (StateFileError, HungError) as error:
        return None, str(error)
    return (saved if saved is not None and saved.stored.prefix == fleet.prefix else None), ""
